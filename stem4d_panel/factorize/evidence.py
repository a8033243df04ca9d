"""How many components the data bear: a range of ranks, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from stem4d_panel.factorize.blocks import MemoryBlocks
from stem4d_panel.factorize.fit import Plan, preview_steps
from stem4d_panel.factorize.hals import Constraints, Fit
from stem4d_panel.factorize.lowrank import LowRank, compress_steps
from stem4d_panel.runtime.progress import Progress, Steps

_ERRORS = 2.0  # standard errors within which two ranks are alike
_PART = 0.02  # of what the best rank gains over the first; a high dose proves effects that nobody calls a component


@dataclass(frozen=True, eq=False)
class Evidence:
    """What speaks for each rank.

    Attributes
    ----------
    ranks : ndarray, shape (r,), int
        In rising order.
    held_out : ndarray, shape (r,)
        Squared error of one half's model on the other half, less that of the best rank, per position, mean of both ways.
    held_out_error : ndarray, shape (r,)
        Standard error of that difference, neighbouring positions counted as one where smoothing joined them.
    stability : ndarray, shape (r,)
        Mean cosine of the patterns found in the two halves from different seeds, matched one to one.
    scree : ndarray, shape (l,)
        Singular values of the whole, which is only a ceiling.
    lowest, highest : int
        The range of ranks that predict as well as the best, to two standard errors or 2 % of what it gains.
    best : int
        Rank of the lowest held-out error.
    reason : str
        One sentence.
    """

    ranks: np.ndarray
    held_out: np.ndarray
    held_out_error: np.ndarray
    stability: np.ndarray
    scree: np.ndarray
    lowest: int
    highest: int
    best: int
    reason: str


def evidence_steps(
    halves: tuple[np.ndarray, np.ndarray],
    whole: LowRank,
    ranks: Sequence[int],
    seed: int,
    *,
    joined: float = 1.0,
    constraints: Constraints | None = None,
) -> Steps[Evidence]:
    """Fit every rank to each half of the counts and hold it against the other half.

    Parameters
    ----------
    halves : tuple of ndarray, shape (n, m)
        Two independent, equally prepared halves; see :func:`~stem4d_panel.prepare.halves.halves_steps`.
    whole : LowRank
        The whole, compressed; for the scree.
    ranks : sequence of int
    seed : int
    joined : float
        Positions that smoothing makes into one independent one.
    constraints : Constraints, optional

    Notes
    -----
    The noise of the other half adds the same to the error of every model, so differences between ranks are those of the
    distance to the expectation: the lowest is best, also where preparing left no counts. Fits are those of the compressed
    halves.
    """
    ranks = sorted({int(r) for r in ranks})
    blocks = [MemoryBlocks(half) for half in halves]
    lows = []
    for turn, half in enumerate(blocks):
        lows.append((yield from compress_steps(half, 2 * max(ranks), seed + turn)))
    per_position, stability = [], []
    for done, rank in enumerate(ranks):
        yield Progress("evidence", done, len(ranks), "rank")
        fits = []
        for turn, low in enumerate(lows):
            plan = Plan(rank, seed=seed + turn, constraints=constraints or Constraints())
            fits.append((yield from preview_steps(low, low, plan)))
        errors = [_errors(blocks[1 - turn], fit) for turn, fit in enumerate(fits)]
        per_position.append((errors[0] + errors[1]) / 2)
        stability.append(_agreement(fits[0].Ht, fits[1].Ht))
    errors_ = np.array(per_position)
    best = int(errors_.mean(axis=1).argmin())
    difference = errors_ - errors_[best]
    mean = difference.mean(axis=1)
    independent = max(2.0, errors_.shape[1] / max(1.0, joined))
    spread = difference.std(axis=1) / np.sqrt(independent)
    alike = mean <= np.maximum(_ERRORS * spread, _PART * mean[0])
    # without a gap about the best one
    first = next((i + 1 for i in range(best, -1, -1) if not alike[i]), 0)
    last = next((i - 1 for i in range(best, len(ranks)) if not alike[i]), len(ranks) - 1)
    lowest, highest = ranks[first], ranks[last]
    return Evidence(
        ranks=np.array(ranks),
        held_out=mean,
        held_out_error=spread,
        stability=np.array(stability),
        scree=whole.values,
        lowest=lowest,
        highest=highest,
        best=ranks[best],
        reason=_reason(lowest, highest, ranks),
    )


def _errors(blocks: MemoryBlocks, fit: Fit) -> np.ndarray:
    """Squared error of a model on other data, each row by itself."""
    k, gram = fit.W.shape[1], (fit.Ht.T @ fit.Ht).astype(np.float64)
    cross = (blocks.times(fit.Ht)[:, :k] * fit.W).sum(axis=1, dtype=np.float64)
    # |x|² is the same for every rank; it is left out
    return np.asarray(np.einsum("ij,jk,ik->i", fit.W, gram, fit.W, optimize=True) - 2 * cross)


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Mean cosine of the best one-to-one match of columns."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=0), 1e-30) for x in (first, second))
    cosine = a.T @ b
    return float(cosine[linear_sum_assignment(-cosine)].mean())


def _reason(lowest: int, highest: int, ranks: Sequence[int]) -> str:
    if lowest <= 1:
        return (
            "no evidence for more than one component: with more, a model of one half of the counts predicts the other "
            "half no better"
        )
    what = "fewer components predict a held-out half of the counts worse"
    if highest == ranks[-1]:
        return f"rank {lowest} or more: {what}, and more do no harm up to {highest}"
    return (
        f"rank {lowest} to {highest}: {what}, and so do more"
        if lowest < highest
        else f"rank {lowest}: {what}, and so do more"
    )
