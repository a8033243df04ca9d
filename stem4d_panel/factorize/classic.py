"""The two solvers of the seed papers, to compare and to teach: multiplicative updates and alternating least squares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stem4d_panel.factorize.blocks import Arrays, Blocks
from stem4d_panel.factorize.fit import Solution, full_error
from stem4d_panel.factorize.hals import CHECK, Fit, relative_error
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.runtime.threads import blas_threads

Update = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # (X Hᵀ, W, H Hᵀ) -> new W


def multiplicative(product: np.ndarray, W: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """W ∘ (X Hᵀ) / (W H Hᵀ) (Lee & Seung 2001); a zero stays a zero."""
    return np.asarray(W * product / np.maximum(W @ gram, 1e-12))


def least_squares(product: np.ndarray, W: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """X Hᵀ (H Hᵀ)⁻¹, negative values set to zero (Paatero & Tapper 1994)."""
    ridge = np.eye(len(gram)) * max(float(np.trace(gram)), 1e-30) * 1e-9
    inverse = np.linalg.inv(gram.astype(np.float64) + ridge).astype(W.dtype)
    return np.asarray(np.maximum(product @ inverse, 0))


def mu_steps(blocks: Blocks, fit: Fit, *, iterations: int, tol: float) -> Steps[Solution]:
    """Multiplicative updates: the error never rises, and falls slowly; one read an iteration."""
    return (yield from _alternate(blocks, fit, multiplicative, iterations, tol))


def als_steps(blocks: Blocks, fit: Fit, *, iterations: int, tol: float) -> Steps[Solution]:
    """Alternating least squares: fast at first, but the clipping may let the error rise; one read an iteration."""
    return (yield from _alternate(blocks, fit, least_squares, iterations, tol))


def _alternate(blocks: Blocks, fit: Fit, update: Update, iterations: int, tol: float) -> Steps[Solution]:
    W, Ht, k = fit.W, fit.Ht, fit.W.shape[1]
    errors: list[float] = []
    converged = blocks.square == 0
    best = (np.inf, W, Ht)
    while not converged and len(errors) < iterations:
        gram = Ht.T @ Ht

        def rows(product: np.ndarray, part: np.ndarray, gram: np.ndarray = gram) -> Arrays:
            return (update(product[:, :k], part, gram),)

        with blas_threads(1):
            (W,), product = blocks.half_steps(Ht, rows, W)
            gram_w = W.T @ W
            Ht = update(product, Ht, gram_w)
            cross = float(np.einsum("ij,ij->", product, Ht, dtype=np.float64))
            errors.append(relative_error(blocks.square, cross, gram_w, Ht.T @ Ht))
        if errors[-1] < best[0]:
            best = (errors[-1], W, Ht)
        if len(errors) > CHECK and len(errors) % CHECK == 0:
            converged = abs(errors[-1 - CHECK] - errors[-1]) <= tol * errors[-1 - CHECK]
        yield Progress("factorise", len(errors), iterations, "iteration", f"error {errors[-1]:.4f}")
    _, W, Ht = best
    curve = np.array(errors, np.float32)
    return Solution(W, np.ascontiguousarray(Ht.T), full_error(blocks, W, Ht), curve, len(errors), bool(converged))
