"""Accelerated, extrapolated HALS: two products an iteration in one read, several cheap sweeps after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from stem4d_panel.factorize.blocks import Arrays
from stem4d_panel.factorize.kernels import sweep, sweep_block
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.runtime.threads import blas_threads

SWEEPS = 4  # inner sweeps after a product; more gain little (Gillis & Glineur 2012)
CHECK = 5  # iterations between tests of convergence
RAMP = 30  # iterations over which a constraint grows to its strength
_FIRST, _GROWTH, _CEILING, _DROP = 0.5, 1.05, 1.01, 1.5  # extrapolation as in Ang & Gillis 2019, section 3.4
_ASTRAY = 1e-3  # smaller rises find better minima when they are let be


class Matrix(Protocol):
    """What HALS needs of the data: :class:`~stem4d_panel.factorize.blocks.Blocks` or a compressed form of it."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (n, m)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""

    @property
    def square(self) -> float:
        """Squared norm of the full data."""

    def times(self, right: np.ndarray) -> np.ndarray:
        """X @ right."""

    def transposed_times(self, left: np.ndarray) -> np.ndarray:
        """Xᵀ @ left."""

    def half_steps(
        self, right: np.ndarray, update: Callable[..., Arrays], *rows: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """Both products of an iteration."""


Constraint = Callable[[np.ndarray, float], np.ndarray]  # factor and strength from 0 to 1 -> a factor that obeys


@dataclass(frozen=True)
class Constraints:
    """What the factors must obey beside being non-negative: functions of W, shape (n, k), and of Hᵀ, shape (m, k)."""

    maps: Constraint | None = None
    patterns: Constraint | None = None

    def __bool__(self) -> bool:
        return self.maps is not None or self.patterns is not None


FREE = Constraints()


@dataclass(frozen=True, eq=False)
class Fit:
    """Factors on their way.

    Attributes
    ----------
    W : ndarray, shape (n, k)
    Ht : ndarray, shape (m, k)
    errors : tuple of float
        ||X - W H|| / ||X|| of the matrix that was iterated on, after each iteration.
    converged : bool
    """

    W: np.ndarray
    Ht: np.ndarray
    errors: tuple[float, ...] = ()
    converged: bool = False
    best: float = field(default=np.inf)


def relative_error(square: float, cross: float, gram_w: np.ndarray, gram_h: np.ndarray) -> float:
    """||X - W H|| / ||X|| from ||X||², <X, W H> and the two Gram matrices; 0 for a zero matrix."""
    if square == 0:
        return 0.0
    rest = square - 2 * cross + float(np.einsum("ij,ij->", gram_w, gram_h, dtype=np.float64))
    return float(np.sqrt(max(rest, 0.0) / square))


def hals_steps(
    data: Matrix,
    W: np.ndarray,
    Ht: np.ndarray,
    iterations: int,
    *,
    tol: float,
    rng: np.random.Generator,
    constraints: Constraints = FREE,
    ramp: int = RAMP,
    plain: int = 0,
    stage: str = "factorise",
) -> Steps[Fit]:
    """Improve factors of a non-negative matrix.

    Parameters
    ----------
    data : Matrix
        X, shape (n, m), or a compressed form of it.
    W, Ht : ndarray, shapes (n, k), (m, k)
        Initial factors; not changed.
    iterations : int
        Most iterations.
    tol : float
        Stops when the relative error falls by less than this part of itself over five iterations.
    rng : Generator
        For new starts of components that died.
    constraints : Constraints
        Applied after each half step, in full after `ramp` iterations.
    ramp : int
    plain : int
        First iterations that are plain coordinate descent: one sweep after each product, nothing extrapolated.
    stage : str
        Name for the progress.

    Notes
    -----
    Cichocki & Phan 2009 (HALS); Gillis & Glineur 2012 (several sweeps per product); Ang & Gillis 2019 (extrapolation
    with restarts). The error is that of the extrapolated W with the new H, which costs nothing. Without constraints the
    pair of the lowest error is returned, else the last.
    """
    W, Ht = _balanced(W, Ht)
    if data.square == 0:
        return Fit(np.zeros_like(W), Ht, (), True, 0.0)
    w_last, h_last, w_next, h_next = W, Ht, W, Ht
    beta, limit, revived = _FIRST, 1.0, 0
    errors: list[float] = []
    best = (np.inf, W, Ht)
    converged = False
    while len(errors) < iterations and not converged:
        strength = min(1.0, (len(errors) + 1) / max(1, ramp))
        held = len(errors) < plain
        sweeps = 1 if held else SWEEPS
        with blas_threads(1):
            step = 0.0 if constraints or held or len(errors) == iterations - 1 else beta
            (w_far, w_new), product = _left(data, h_next, w_next, w_last, step, sweeps, constraints.maps, strength)
            gram_w = w_far.T @ w_far
            h_new = h_next.copy()
            sweep(h_new, np.ascontiguousarray(product), gram_w, sweeps)
            if constraints.patterns is not None:
                h_new = constraints.patterns(h_new, strength)
            gram_h = h_new.T @ h_new
            cross = float(np.einsum("ij,ij->", product, h_new, dtype=np.float64))
        error = relative_error(data.square, cross, gram_w, gram_h)
        rose = bool(errors) and error > errors[-1]
        errors.append(error)
        if error < best[0] or constraints:
            best = (error, w_far, h_new)
        dead = _dead(gram_w) | _dead(gram_h)
        revived_now = bool(dead.any()) and not dead.all() and revived < 3 and not held
        if revived_now:
            revived += 1
            w_new, h_new = _revived(w_new, h_new, dead, rng)
        if constraints or held or revived_now:  # a constraint does not bear extrapolation
            w_next, h_next = w_new, h_new
        elif rose:  # begin to extrapolate anew, and more slowly; from the best pair where the step went far astray
            if error > best[0] * (1 + _ASTRAY):
                w_new, h_new = best[1], best[2]
            w_next, h_next, beta, limit = w_new, h_new, beta / _DROP, beta
        else:
            w_next = w_far
            h_next = np.maximum(h_new + h_new.dtype.type(beta) * (h_new - h_last), 0)
            beta, limit = min(limit, _GROWTH * beta), min(1.0, _CEILING * limit)
        w_last, h_last = w_new, h_new
        if len(errors) > CHECK + plain and len(errors) % CHECK == 0 and len(errors) > (ramp if constraints else 0):
            last = errors[-1 - CHECK :]  # its spread: a step too far, taken back later, is no convergence
            converged = max(last) - min(last) <= tol * last[0]
        yield Progress(stage, len(errors), iterations, "iteration", f"error {error:.4f}")
    return Fit(best[1], best[2], tuple(errors), converged, best[0])


def _left(
    data: Matrix,
    right: np.ndarray,
    W: np.ndarray,
    last: np.ndarray,
    step: float,
    sweeps: int,
    constrain: Constraint | None,
    strength: float,
) -> tuple[Arrays, np.ndarray]:
    """New W, extrapolated and not, and Xᵀ times the extrapolated one."""
    gram, by = np.ascontiguousarray(right.T @ right), W.dtype.type(step)
    if constrain is None:

        def update(product: np.ndarray, rows: np.ndarray, rows_last: np.ndarray) -> Arrays:
            new = rows.copy()
            sweep_block(new, product, gram, sweeps, 0.01)
            return (np.maximum(new + by * (new - rows_last), 0) if by else new), new

        found, product = data.half_steps(right, update, W, last)
        return found, product
    new = W.copy()
    sweep(new, data.times(right), gram, sweeps)
    new = constrain(new, strength)
    far = np.maximum(new + by * (new - last), 0)
    return (far, new), data.transposed_times(far)[:, : W.shape[1]]


def _balanced(W: np.ndarray, Ht: np.ndarray) -> Arrays:
    """Both factors of a component with one norm."""
    a, b = np.linalg.norm(W, axis=0), np.linalg.norm(Ht, axis=0)
    factor = np.sqrt(np.where((a > 0) & (b > 0), b / np.where(a > 0, a, 1), 1)).astype(W.dtype)
    return np.ascontiguousarray(W * factor), np.ascontiguousarray(Ht / factor)


def _dead(gram: np.ndarray) -> np.ndarray:
    """Components that the sweeps leave alone."""
    norms = np.diag(gram)
    return np.asarray(norms <= 1e-12 * norms.max())


def _revived(W: np.ndarray, Ht: np.ndarray, dead: np.ndarray, rng: np.random.Generator) -> Arrays:
    """Small random starts for components that have died."""
    W, Ht, alive = W.copy(), Ht.copy(), ~dead
    W[:, dead] = rng.random((len(W), int(dead.sum()))) * 1e-2 * W[:, alive].mean()
    Ht[:, dead] = rng.random((len(Ht), int(dead.sum()))) * Ht[:, alive].mean()
    return W, Ht


def solve_weights(data: Matrix, Ht: np.ndarray, max_sweeps: int = 500) -> np.ndarray:
    """Non-negative least squares for W with H fixed, to convergence: shape (n, k); one read.

    Starts from the clipped unconstrained solution, so the result depends on X and H alone.
    """
    with blas_threads(1):
        k = Ht.shape[1]
        norms = np.linalg.norm(Ht.astype(np.float64), axis=0)
        unit = (Ht / np.where(norms > 0, norms, 1)).astype(data.dtype)
        gram = np.ascontiguousarray(unit.T @ unit)
        A = np.ascontiguousarray(data.times(unit)[:, :k])
        ridge = np.eye(k, dtype=np.float64) * 1e-7
        W = np.linalg.solve(gram.astype(np.float64) + ridge, A.T.astype(np.float64)).T
        W = np.ascontiguousarray(np.maximum(W, 0), dtype=data.dtype)
        W[:, norms <= 0] = 0
        sweep(W, A, gram, max_sweeps, tol=1e-8)
        W /= np.where(norms > 0, norms, 1).astype(data.dtype)
    return W
