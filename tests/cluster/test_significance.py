"""Chance, and the suggested threshold."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.cluster.patterns import PatternSet, compare, pattern_set
from stem4d_panel.cluster.polar import to_polar
from stem4d_panel.cluster.significance import FALLBACK, chance_of, friedel_spread, null_similarities, suggest
from stem4d_panel.settings import Settings

N, CENTRE = 48, (23.5, 23.5)
KY, KX = np.mgrid[:N, :N] - 23.5
MASK = (np.hypot(KY, KX) >= 4) & (np.hypot(KY, KX) <= 23)


def patterns(images: list[np.ndarray]) -> PatternSet:
    polar = to_polar(np.array(images), MASK, CENTRE)
    return pattern_set(polar, np.zeros((len(images), len(polar.radii))), Settings.make().cluster)


def lattice(rng: np.random.Generator, turn: float = 0.0) -> np.ndarray:
    """Friedel pairs of spots on random radii and angles, the same from the same state, then turned."""
    image = np.zeros((N, N))
    for radius, angle in zip(rng.uniform(6, 21, 7), rng.uniform(0, 180, 7), strict=True):
        for phi in np.deg2rad([angle + turn, angle + turn + 180]):
            image += np.exp(-((KY - radius * np.sin(phi)) ** 2 + (KX - radius * np.cos(phi)) ** 2) / 3)
    return np.where(MASK, image, 0)


def test_unrelated_patterns_are_rarely_called_significant() -> None:
    found = patterns([lattice(np.random.default_rng(i)) for i in range(24)])
    p = [
        chance_of(found[[i]], found[[j]], float(compare(found[[i]], found[[j]])[0][0]))
        for i in range(24)
        for j in range(i)
    ]
    assert np.mean(np.array(p) <= 0.05) < 0.12
    assert 0.3 < np.mean(p) < 0.7


def test_equal_patterns_have_the_least_p() -> None:
    found = patterns([lattice(np.random.default_rng(0), turn) for turn in (0, 37)])
    likeness = float(compare(found[[0]], found[[1]])[0][0])
    assert likeness > 0.98
    assert chance_of(found[[0]], found[[1]], likeness) == pytest.approx(0.01)


def test_turning_annuli_keeps_what_lies_on_one_ring() -> None:
    ring = np.zeros((N, N))
    for phi in np.deg2rad(np.arange(0, 360, 60)):
        ring += np.exp(-((KY - 14 * np.sin(phi)) ** 2 + (KX - 14 * np.cos(phi)) ** 2) / 3)
    found = patterns([np.where(MASK, ring, 0), lattice(np.random.default_rng(3))])
    rng = np.random.default_rng(0)
    assert (
        np.median(null_similarities(found[[0]], found[[0]], rng, 50)) > 0.45
    )  # an annulus holds it whole, or two cut it
    assert np.median(null_similarities(found[[1]], found[[1]], rng, 50)) < 0.45


def test_the_suggestion_lies_between_what_is_equal_and_chance() -> None:
    found = patterns([lattice(np.random.default_rng(i)) for i in range(6)])
    assert friedel_spread(found).max() < 0.05
    said = suggest(found)
    assert said.equal < said.threshold < said.chance < 1
    assert said.threshold == pytest.approx((said.equal + said.chance) / 2)
    assert suggest(found) == said


def test_patterns_without_a_centre_do_not_raise_the_threshold_to_chance() -> None:
    half = np.where(KX > 0, 1.0, 0.0)
    said = suggest(patterns([lattice(np.random.default_rng(i)) * half for i in range(6)]))
    assert said.equal > 0.75 * said.chance
    assert said.threshold == pytest.approx(0.875 * said.chance)
    assert "differ too much" in said.reason


def test_patterns_of_one_ring_get_a_fixed_threshold() -> None:
    rng = np.random.default_rng(7)
    angles = np.array([0.0, 70, 180, 250])
    images = []
    for turn in rng.uniform(0, 360, 4):
        image = np.zeros((N, N))
        for phi in np.deg2rad(angles + turn):
            image += np.exp(-((KY - 14 * np.sin(phi)) ** 2 + (KX - 14 * np.cos(phi)) ** 2) / 3)
        images.append(np.where(MASK, image, 0))
    found = patterns(images)
    said = suggest(found)
    assert said.chance < 0.1
    assert said.threshold == FALLBACK
    assert "fixed threshold" in said.reason


@pytest.mark.parametrize("count", [0, 1])
def test_with_nothing_to_compare_it_says_so(count: int) -> None:
    said = suggest(patterns([lattice(np.random.default_rng(0))]) if count else None)
    assert (said.equal, said.chance) == (0, 1)
    assert "nothing to" in said.reason


def spots_on(rings: tuple[float, ...], rng: np.random.Generator, count: int = 2) -> np.ndarray:
    """So many spots at random angles and heights on each ring."""
    image = np.zeros((N, N))
    for radius in np.repeat(rings, count):
        phi, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1)
        image += height * np.exp(-((KY - radius * np.sin(phi)) ** 2 + (KX - radius * np.cos(phi)) ** 2) / 3)
    return np.where(MASK, image, 0)


def chances(found: PatternSet, mirror: bool = False) -> np.ndarray:
    """p-values of the first half of the patterns with the second."""
    half = len(found) // 2
    pairs = [(found[[i]], found[[half + i]]) for i in range(half)]
    return np.array([chance_of(one, two, float(compare(one, two, mirror)[0][0]), mirror) for one, two in pairs])


@pytest.mark.parametrize("mirror", [False, True])
def test_p_is_uniform_where_annuli_have_nothing_to_do_with_each_other(mirror: bool) -> None:
    rng = np.random.default_rng(1)
    spectrum = np.zeros((400, 181, 36), np.complex64)
    spread = np.exp(-(np.arange(1, 181) ** 2) / 300)[:, None]
    for first in (3, 15, 27):  # in the midst of annuli, whether 3 or 6 px wide
        angles = rng.uniform(0, 2 * np.pi, (400, 2))  # two spots each
        phases = np.exp(-1j * np.arange(1, 181)[:, None, None] * angles.T[None])
        spectrum[:, 1:, first : first + 3] = (phases.sum(axis=1).T * spread[:, 0])[:, :, None]
    p = chances(PatternSet(spectrum, np.zeros((400, 36)), 360, True), mirror)
    assert np.mean(p <= 0.05) <= 0.1
    assert np.mean(p <= 0.25) == pytest.approx(0.25, abs=0.1)
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)


def test_p_is_not_small_where_rings_lie_on_the_edges_of_annuli() -> None:
    rng = np.random.default_rng(2)
    p = chances(patterns([spots_on((10, 16), rng, 3) for _ in range(160)]))
    assert np.mean(p <= 0.05) <= 0.12


def test_unrelated_patterns_rarely_come_nearer_than_the_chance_that_is_said() -> None:
    rng = np.random.default_rng(3)
    for rings in ((6, 9, 12, 15, 18, 21), (6, 12, 18)):
        found = patterns([spots_on(rings, rng) for _ in range(14)])
        near = [1 - compare(found[[i]], found[slice(0, i)])[0] for i in range(1, 14)]
        assert np.mean(np.concatenate(near) < suggest(found).chance) < 0.12


def test_mirrors_are_equal_only_where_they_are_allowed() -> None:
    image = spots_on((7, 11, 15, 19), np.random.default_rng(4), 1)
    found = patterns([image, image[::-1]])  # the centre lies in the middle
    for mirror in (False, True):
        likeness, _, mirrored = compare(found[[0]], found[[1]], mirror)
        p = chance_of(found[[0]], found[[1]], float(likeness[0]), mirror)
        assert mirrored[0] == mirror
        assert (p == pytest.approx(0.01)) == mirror
        assert (likeness[0] > 0.999) == mirror


def test_chance_is_nearer_where_mirrors_are_allowed() -> None:
    rng = np.random.default_rng(5)
    found = patterns([spots_on((7, 11, 15, 19), rng) for _ in range(8)])
    plain, mirrored = suggest(found), suggest(found, mirror=True)
    assert mirrored.chance < plain.chance
    assert mirrored.equal == plain.equal
    assert mirrored.threshold < plain.threshold
    for one, other in ((0, 1), (2, 3), (4, 5)):
        pair = found[[one]], found[[other]]
        few, many = (null_similarities(*pair, np.random.default_rng(0), 200, mirror) for mirror in (False, True))
        assert many.mean() > few.mean()


def test_an_empty_pattern_is_never_significant() -> None:
    found = patterns([np.zeros((N, N)), spots_on((7, 15), np.random.default_rng(6))])
    assert chance_of(found[[0]], found[[1]], 0.0) == 1
    assert suggest(found).chance == 1
