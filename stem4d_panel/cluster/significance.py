"""What noise and chance do to correlations, and the threshold that follows."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import fft

from stem4d_panel.cluster.patterns import PatternSet, ring_power
from stem4d_panel.cluster.place import centrosymmetry
from stem4d_panel.cluster.polar import RADIAL_STEP, norms, vertices
from stem4d_panel.cluster.tree import Suggestion

DRAWS = 99  # of shuffled patterns a merge is compared with
_ANNULUS = 3.5  # px; least width of an annulus, about that of a spot; it is at most three times as wide
_PAIRS = 40  # of patterns that chance is drawn from, at most
_SEED = 0  # draws that do not depend on the settings of the factorisation
FALLBACK = 0.35
_TELLING = 0.1  # least distance of unrelated patterns from which a threshold follows
_EQUAL = 0.75  # of the distance of unrelated patterns, to which that of patterns known to be equal is believed


def chance_of(one: PatternSet, other: PatternSet, similarity: float, mirror: bool = False) -> float:
    """How often unrelated patterns with the same rings correlate as well as `similarity`; at least 1 in 100.

    Parameters
    ----------
    one, other : PatternSet
        Of one pattern each.
    """
    found = null_similarities(one, other, np.random.default_rng(_SEED), DRAWS, mirror)
    return float((1 + (found >= similarity).sum()) / (1 + DRAWS))


def null_similarities(
    one: PatternSet, other: PatternSet, rng: np.random.Generator, draws: int, mirror: bool = False
) -> np.ndarray:
    """Similarities of a pattern with another whose annuli are each turned at random, shape (draws,).

    The rings stay what they are and nothing is left of how they lie to each other. Annuli end where the two patterns
    have least in common: halves of a spot that is cut agree less than spots do, and chance would seem rarer than it
    is. To turn an annulus is to turn its part of the correlation curve, so the curves are computed once.
    """
    (first, sure), (second, as_sure) = one.shaped(), other.shaped()
    size = float(norms(first, one.angles)[0] * norms(second, one.angles)[0] * np.sqrt(sure[0] * as_sure[0]))
    starts = _annuli(ring_power(np.concatenate([first, second]), one.angles))
    best = np.full(draws, -np.inf)
    for spectrum in (second[0], second[0].conj())[: 2 if mirror else 1]:
        cross = np.add.reduceat(first[0].conj() * spectrum, starts, axis=1)
        curves = fft.irfft(cross.T, n=one.angles, axis=1)
        turns = rng.integers(one.angles, size=(draws, len(starts), 1))
        at = (np.arange(one.angles) + turns) % one.angles
        total = curves[np.arange(len(starts))[:, None], at].sum(axis=1)
        best = np.maximum(best, vertices(total)[0])
    return np.clip(best / size, -1, 1) if size > 0 else np.zeros(draws)


def _annuli(power: np.ndarray) -> np.ndarray:
    """First rings of the annuli of two patterns, from the power of their rings, shape (2, radii)."""
    common = power[0] * power[1]
    least = round(_ANNULUS / RADIAL_STEP)
    lower = (common[1:-1] < common[:-2]) & (common[1:-1] <= common[2:])
    gaps: list[int] = []
    for at in sorted(1 + np.flatnonzero(lower), key=lambda at: common[at]):  # the deepest first
        if all(abs(at - other) >= least for other in gaps):
            gaps.append(int(at))
    edges = [0, *sorted(gaps), len(common)]
    starts: list[int] = []
    for start, end in itertools.pairwise(edges):
        starts.append(start)
        while end - starts[-1] > 3 * least:  # no gap for long
            ahead = common[starts[-1] + least : starts[-1] + 2 * least]
            starts.append(starts[-1] + least + int(ahead.argmin()))
    return np.array(starts)


def friedel_spread(patterns: PatternSet) -> np.ndarray:
    """Pseudo-distance of each pattern from itself turned by 180 degrees, as it lies, noise accounted for, shape (k,).

    By Friedel's law the two are equal for a thin crystal on its zone axis; tilt and bending part them as they part
    crystals of one structure.
    """
    shaped, sure = patterns.shaped()
    return np.asarray(np.maximum(0, 1 - centrosymmetry(shaped) / sure))


def suggest(patterns: PatternSet | None, mirror: bool = False) -> Suggestion:
    """Threshold half-way between patterns known to be equal and unrelated ones.

    Parameters
    ----------
    patterns : PatternSet or None
        The crystals' patterns, parts of one already integrated.

    Notes
    -----
    Known to be equal are a pattern and itself turned by 180 degrees; their median distance counts, up to three quarters
    of that of unrelated patterns, since a structure without a centre breaks Friedel's law. Unrelated patterns are made
    by turning the annuli of a pattern at random, so that the same rings remain.
    """
    if patterns is None or len(patterns) == 0:
        return Suggestion(FALLBACK, 0.0, 1.0, "no crystalline component: there is nothing to join or to separate")
    if len(patterns) == 1:
        return Suggestion(FALLBACK, 0.0, 1.0, "one crystalline component: there is nothing to compare it with")
    rng = np.random.default_rng(_SEED)
    pairs = np.stack(np.triu_indices(len(patterns), 1), 1)
    if len(pairs) > _PAIRS:
        pairs = pairs[np.sort(rng.choice(len(pairs), _PAIRS, replace=False))]
    by_chance = np.concatenate([null_similarities(patterns[[i]], patterns[[j]], rng, 19, mirror) for i, j in pairs])
    equal, chance = float(np.median(friedel_spread(patterns))), 1 - float(np.quantile(by_chance, 0.95))
    if chance < _TELLING:
        reason = (
            f"patterns of so few rings are equal by chance ({chance:.2f}): what is joined rests on a fixed threshold"
        )
        return Suggestion(FALLBACK, equal, chance, reason)
    most = _EQUAL * chance
    reason = (
        f"half-way between the two halves of one pattern ({equal:.2f}) and unrelated patterns by chance ({chance:.2f})"
        if equal <= most
        else f"seven eighths of the way to unrelated patterns by chance ({chance:.2f}); "
        f"the two halves of one pattern differ too much ({equal:.2f}) to show what is equal"
    )
    return Suggestion((min(equal, most) + chance) / 2, equal, chance, reason)
