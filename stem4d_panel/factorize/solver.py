"""Accelerated HALS: two large products an iteration, several cheap sweeps after each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.factorize.kernels import sweep
from stem4d_panel.factorize.start import initial_factors
from stem4d_panel.runtime.progress import Progress, Steps

SWEEPS = 4  # inner sweeps after a product; more gain little (Gillis & Glineur 2012)
CHECK = 5  # iterations between tests of convergence


@dataclass(frozen=True, eq=False)
class Solution:
    """Factors of a matrix.

    Attributes
    ----------
    W : ndarray, shape (n, k)
    H : ndarray, shape (k, m)
    error_curve : ndarray, shape (iterations,)
        Relative error ||X - W H|| / ||X|| (Frobenius) after each iteration.
    iterations : int
    converged : bool
        Whether the tolerance was reached before the last iteration allowed.
    """

    W: np.ndarray
    H: np.ndarray
    error_curve: np.ndarray
    iterations: int
    converged: bool


def relative_error(X: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
    """||X - W H|| / ||X|| without forming the product; 0 for a zero matrix."""
    norm2 = float(np.einsum("ij,ij->", X, X, dtype=np.float64))
    cross = float(np.einsum("ij,ij->", X @ H.T, W, dtype=np.float64))
    return _error(norm2, cross, W.T @ W, H @ H.T)


def _error(norm2: float, cross: float, gram_w: np.ndarray, gram_h: np.ndarray) -> float:
    if norm2 == 0:
        return 0.0
    square = norm2 - 2 * cross + float(np.einsum("ij,ij->", gram_w, gram_h, dtype=np.float64))
    return float(np.sqrt(max(square, 0.0) / norm2))


def hals_steps(X: np.ndarray, rank: int, *, start: str, seed: int, max_iter: int, tol: float) -> Steps[Solution]:
    """Factorise a non-negative matrix by accelerated HALS.

    Parameters
    ----------
    X : ndarray, shape (n, m), float32 or float64, non-negative
    rank : int
        Number of components.
    start, seed :
        See :func:`~stem4d_panel.factorize.start.initial_factors`.
    max_iter : int
    tol : float
        Stops when the relative error falls by less than this part of itself over five iterations.

    Notes
    -----
    Cichocki & Phan 2009 (HALS); Gillis & Glineur 2012 (several sweeps per product). The order of the sums does not
    depend on the number of threads but for BLAS's own, to the rounding of the data type.
    """
    yield Progress("factorise", 0, max_iter, "iteration", "initial factors")
    W, H = initial_factors(X, rank, start, seed)
    W, Ht = np.ascontiguousarray(W), np.ascontiguousarray(H.T)
    norm2 = float(np.einsum("ij,ij->", X, X, dtype=np.float64))
    errors: list[float] = []
    converged = norm2 == 0
    rng = np.random.default_rng(seed)
    while not converged and len(errors) < max_iter:
        sweep(W, X @ Ht, Ht.T @ Ht, SWEEPS)
        _balance(W, Ht, rng)
        B, gram_w = X.T @ W, W.T @ W
        sweep(Ht, B, gram_w, SWEEPS)
        cross = float(np.einsum("ij,ij->", B, Ht, dtype=np.float64))
        errors.append(_error(norm2, cross, gram_w, Ht.T @ Ht))
        if len(errors) > CHECK and len(errors) % CHECK == 0:
            converged = errors[-1 - CHECK] - errors[-1] <= tol * errors[-1 - CHECK]
        yield Progress("factorise", len(errors), max_iter, "iteration", f"error {errors[-1]:.4f}")
    H = np.ascontiguousarray(Ht.T)
    return Solution(W, H, np.array(errors, np.float32), len(errors), bool(converged))


def _balance(W: np.ndarray, Ht: np.ndarray, rng: np.random.Generator) -> None:
    """Give both factors of a component one norm, and a component that has died a small random start."""
    norms_w, norms_h = np.linalg.norm(W, axis=0), np.linalg.norm(Ht, axis=0)
    alive = (norms_w > 0) & (norms_h > 0)
    factor = np.where(alive, np.sqrt(norms_h / np.where(alive, norms_w, 1)), 1).astype(W.dtype)
    W *= factor
    Ht /= factor
    if not alive.all() and alive.any():
        dead = np.flatnonzero(~alive)
        W[:, dead] = rng.random((len(W), len(dead))) * 1e-2 * W[:, alive].mean()
        Ht[:, dead] = rng.random((len(Ht), len(dead))) * Ht[:, alive].mean()


def solve_weights(X: np.ndarray, H: np.ndarray, max_sweeps: int = 500) -> np.ndarray:
    """Non-negative least squares for W with H fixed, to convergence: shape (n, k).

    Starts from the clipped unconstrained solution, so the result depends on X and H alone.
    """
    G = np.asarray(H @ H.T)
    A = np.ascontiguousarray(X @ H.T)
    ridge = np.eye(len(G), dtype=np.float64) * max(float(np.trace(G)), 1e-30) * 1e-7 / len(G)
    W = np.linalg.solve(G.astype(np.float64) + ridge, A.T.astype(np.float64)).T
    W = np.ascontiguousarray(np.maximum(W, 0), dtype=X.dtype)
    W[:, np.diag(G) <= 0] = 0
    sweep(W, A, np.ascontiguousarray(G), max_sweeps, tol=1e-8)
    return W
