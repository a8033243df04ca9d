"""The way from data to factors: compress, try several starts where that is cheap, finish on the full data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stem4d_panel.factorize.blocks import Blocks
from stem4d_panel.factorize.hals import FREE, RAMP, Constraints, Fit, Matrix, hals_steps, relative_error, solve_weights
from stem4d_panel.factorize.lowrank import LowRank, compress_steps, reference_steps
from stem4d_panel.factorize.start import initial_factors
from stem4d_panel.runtime.progress import Steps

TRIAL = 20  # iterations after which the starts are compared
# plain iterations that lead into scikit-learn's minimum, and by what the tolerance of the others is divided
_FOLLOWED, _FOLLOWED_CHEAP = (10, 3), (80, 10)
_DEAR = 2  # reads that cost more than this many of the compressed form are spent on one way alone


@dataclass(frozen=True)
class Plan:
    """How to factorise.

    Attributes
    ----------
    rank : int
    start : {"nndsvda", "nndsvd", "random"}
        The first start; the others are random.
    starts : int
        Starts that are tried on the compressed data.
    seed : int
    settle : int
        Most iterations of the best one.
    polish : int
        Most iterations on the full data.
    tol : float
        Ends a run of iterations when the relative error falls by less than this part of itself over five of them.
    constraints : Constraints
    """

    rank: int
    start: str = "nndsvda"
    starts: int = 3
    seed: int = 0
    settle: int = 60
    polish: int = 300
    tol: float = 1e-5
    constraints: Constraints = FREE


@dataclass(frozen=True, eq=False)
class Solution:
    """Factors of a matrix.

    Attributes
    ----------
    W : ndarray, shape (n, k)
    H : ndarray, shape (k, m)
    error : float
        ||X - W H|| / ||X|| (Frobenius) on the full data.
    error_curve : ndarray, shape (iterations,)
        Relative error after each iteration: on the compressed data (against the norm of the full ones), then on the full.
    iterations : int
    converged : bool
        Whether the last run of iterations reached its tolerance.
    """

    W: np.ndarray
    H: np.ndarray
    error: float
    error_curve: np.ndarray
    iterations: int
    converged: bool


def starts_steps(low: Matrix, first: LowRank, plan: Plan) -> Steps[list[Fit]]:
    """Several starts after a few iterations, the best first.

    Parameters
    ----------
    low : Matrix
        What is iterated on, most often the compressed data.
    first : LowRank
        The decomposition that gives the initial factors.
    plan : Plan
    """
    fits = []
    for turn in range(plan.starts):
        start, seed = (plan.start, plan.seed) if turn == 0 else ("random", plan.seed + turn)
        W, Ht = initial_factors(first, plan.rank, start, seed)
        rng = np.random.default_rng(seed)
        fit = yield from hals_steps(low, W, Ht, TRIAL, tol=0, rng=rng, constraints=plan.constraints, ramp=TRIAL)
        fits.append(fit)
    # at the end of a trial nothing is extrapolated and every constraint counts in full
    return sorted(fits, key=lambda fit: fit.errors[-1] if fit.errors else 0.0)


def preview_steps(low: Matrix, first: LowRank, plan: Plan) -> Steps[Fit]:
    """Factors of the compressed matrix: the best of several starts, settled; see :func:`starts_steps`."""
    best = (yield from starts_steps(low, first, plan))[0]
    return (yield from _settle_steps(low, best, plan))


def _settle_steps(low: Matrix, fit: Fit, plan: Plan) -> Steps[Fit]:
    rng = np.random.default_rng(plan.seed)
    settled = yield from hals_steps(
        low, fit.W, fit.Ht, plan.settle, tol=plan.tol, rng=rng, constraints=plan.constraints, ramp=1
    )
    return Fit(settled.W, settled.Ht, fit.errors + settled.errors, settled.converged, settled.best)


def polish_steps(blocks: Blocks, fit: Fit, plan: Plan, ramp: int = 1, plain: int = 0) -> Steps[Solution]:
    """Finish on the full data: iterations, the first `plain` of which are not accelerated, then the weights.

    Without constraints the weights are the exact non-negative least squares for H; with them, those of the last iteration.
    """
    rng = np.random.default_rng(plan.seed)
    done = yield from hals_steps(
        blocks, fit.W, fit.Ht, plan.polish, tol=plan.tol, rng=rng, constraints=plan.constraints, ramp=ramp, plain=plain
    )
    W, Ht = done.W, done.Ht
    if not plan.constraints:
        W = solve_weights(blocks, Ht)
        error = full_error(blocks, W, Ht)
    else:
        error = done.errors[-1] if done.errors else 0.0
    curve = np.array((*fit.errors, *done.errors), np.float32)
    converged = done.converged or (bool(plan.constraints) and fit.converged)
    return Solution(W, np.ascontiguousarray(Ht.T), error, curve, len(curve), converged)


def lowest_steps(blocks: Blocks, size: int, plan: Plan, seed: int) -> Steps[Solution]:
    """To scikit-learn's minimum, and where reads cost little to the lower of that and others; without constraints.

    Parameters
    ----------
    blocks : Blocks
    size : int
        Singular vectors of the compressed form.
    plan : Plan
        Its `start` is ``nndsvda``.
    seed : int
        The ``random_state`` that scikit-learn is given.
    """
    cost = _cost(blocks, size)
    plain, finer = _FOLLOWED if cost >= 1 else _FOLLOWED_CHEAP
    followed = yield from followed_steps(blocks, replace(plan, tol=plan.tol / finer), seed, plain)
    if cost > _DEAR:
        return followed
    low = yield from compress_steps(blocks, size, plan.seed)
    other = yield from compressed_steps(blocks, low, plan)
    return min(followed, other, key=lambda found: found.error)


def followed_steps(blocks: Blocks, plan: Plan, seed: int, plain: int) -> Steps[Solution]:
    """To the minimum that scikit-learn finds from the same seed, and further down into it; without constraints.

    Many minima lie near each other, and which one is reached is decided by the start and the first iterations: so these
    are scikit-learn's own, and only then is it accelerated.

    Parameters
    ----------
    blocks : Blocks
    plan : Plan
    seed : int
        The ``random_state`` that scikit-learn is given.
    plain : int
        Iterations before the acceleration.
    """
    low = yield from reference_steps(blocks, plan.rank, seed)
    first = Fit(*initial_factors(low, plan.rank, "nndsvda", seed, fill=low.mean))
    return (yield from polish_steps(blocks, first, plan, plain=plain))


def compressed_steps(blocks: Blocks, low: LowRank, plan: Plan) -> Steps[Solution]:
    """The whole way to the lowest error, without constraints.

    The compressed data know nothing of the noise outside their subspace, which a fit to all of the data takes in, and
    many minima lie near each other: so compressed starts and the plain one are tried on the full data, and the best of
    these are finished. Where the data are so empty that an iteration on them costs less than a compressed one, more
    starts are tried, and only there.
    """
    cost = _cost(blocks, len(low.values))
    if cost < 1:
        plan = replace(plan, tol=plan.tol / 10)
        tried = yield from starts_steps(blocks, low, replace(plan, starts=2 * plan.starts))
    else:
        tried = []
        for fit in (yield from starts_steps(low, low, plan))[:2]:
            settled = yield from _settle_steps(low, fit, plan)
            tried.append((yield from _trial_steps(blocks, settled, plan)))
        plain = Fit(*initial_factors(low, plan.rank, plan.start, plan.seed))
        tried.append((yield from _trial_steps(blocks, plain, plan)))
    finished = 1 if cost > _DEAR else max(2, len(tried) - 1)
    first, *others = sorted(tried, key=lambda fit: fit.best)[:finished]
    best = yield from polish_steps(blocks, first, plan)
    for fit in others:
        solution = yield from polish_steps(blocks, fit, plan)
        best = min(best, solution, key=lambda found: found.error)
    return best


def _cost(blocks: Blocks, size: int) -> float:
    """What a read of the data costs against one of the compressed form, whose sweeps weigh as much as its products."""
    return 2 * blocks.filled / (size * sum(blocks.shape))


def _trial_steps(blocks: Blocks, fit: Fit, plan: Plan) -> Steps[Fit]:
    rng = np.random.default_rng(plan.seed)
    done = yield from hals_steps(blocks, fit.W, fit.Ht, min(TRIAL, plan.polish), tol=plan.tol, rng=rng)
    return Fit(done.W, done.Ht, fit.errors + done.errors, done.converged, done.best)


def full_error(blocks: Blocks, W: np.ndarray, Ht: np.ndarray) -> float:
    """||X - W H|| / ||X||; one read."""
    cross = float(np.einsum("ij,ij->", blocks.times(Ht)[:, : W.shape[1]], W, dtype=np.float64))
    return relative_error(blocks.square, cross, W.T @ W, Ht.T @ Ht)


def direct_steps(blocks: Blocks, first: LowRank, plan: Plan) -> Steps[Solution]:
    """Without compression: one start, all iterations on the full data."""
    W, Ht = initial_factors(first, plan.rank, plan.start, plan.seed)
    return (yield from polish_steps(blocks, Fit(W, Ht), plan, RAMP))
