"""Turning patterns back, fitting their turns to a mean, and how well a turn is found again at low counts."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.cluster.patterns import compare
from stem4d_panel.cluster.turn import Turner

from .made import CENTRE, MASK, SQUARE, A, B, N, apart, drawn, halo, parts, pattern, set_of, unit

TURNS = np.array([0.0, 33.3, 120.9, 275.2, 90.0, 181.7])
FLIPS = np.array([False, True, False, True, True, False])


def turner(images: list[np.ndarray]) -> Turner:
    return Turner(np.array(images, np.float32), MASK, CENTRE)


def test_turning_back_undoes_a_known_turn_and_mirror() -> None:
    images = [pattern(A, t, m) for t, m in zip(TURNS, FLIPS, strict=True)]
    back = turner(images).back(range(6), TURNS, FLIPS)
    assert back.dtype == np.float32
    for image in back:
        assert np.abs(image - pattern(A))[MASK].max() < 0.03  # of a height of 1
        assert np.corrcoef(image[MASK], pattern(A)[MASK])[0, 1] > 0.999
        assert image.sum() == pytest.approx(pattern(A).sum(), rel=0.01)
        assert (image[~MASK] == 0).all()
        assert (image >= 0).all()
    np.testing.assert_array_equal(back[0], np.array(images[0], np.float32))  # what is not turned stays as it is


def test_turned_the_wrong_way_or_not_mirrored_it_is_another_pattern() -> None:
    back = turner([pattern(A, 40, True)] * 3).back([0, 1, 2], [-40.0, 40.0, 40.0], [True, False, True])
    alike = [np.corrcoef(image[MASK], pattern(A)[MASK])[0, 1] for image in back]
    assert max(alike[:2]) < 0.6
    assert alike[2] > 0.999


def test_members_are_chosen_in_the_order_asked_for() -> None:
    many = turner([pattern(A), pattern(B, 20), pattern(SQUARE)])
    back = many.back([1, 0], [20.0, 0.0], [False, False])
    assert np.corrcoef(back[0][MASK], pattern(B)[MASK])[0, 1] > 0.999
    np.testing.assert_array_equal(back[1], np.array(pattern(A), np.float32))


def refined(images: list[np.ndarray], starts: np.ndarray, flips: np.ndarray, weights: np.ndarray) -> np.ndarray:
    groups = [[i] for i in range(len(images))]
    return np.array(turner(images).refine(groups, weights, list(starts), list(flips)))


def worst(n: int, most: float) -> float:
    """Largest error in degrees after the fit, the starts up to `most` off, over turns, mirrors and weights at random."""
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        turns, flips = np.append(0, rng.uniform(0, 360, n - 1)), np.append(False, rng.random(n - 1) < 0.5)
        off = np.append(0, rng.uniform(-1, 1, n - 1))
        images = [pattern(A, t, m) for t, m in zip(turns, flips, strict=True)]
        found = refined(images, turns + off * most / np.abs(off).max(), flips, rng.uniform(1, 5, n))
        assert found[0] == 0
        errors.append(apart(found, turns).max())
    return float(max(errors))


def test_turns_are_fitted_from_a_degree_or_two_off() -> None:
    assert worst(6, 1.0) < 0.15
    assert worst(6, 2.0) < 0.3
    assert worst(3, 1.0) < 0.6


@pytest.mark.parametrize(("n", "most"), [(6, 4.0), (3, 2.0)])
def test_turns_are_fitted_to_a_fifth_of_a_degree(n: int, most: float) -> None:
    assert worst(n, most) < 0.2


def test_the_first_keeps_its_turn_and_the_others_follow_it() -> None:
    images = [pattern(A, t) for t in (10, 50, 200, 310)]
    found = refined(images, np.array([11.0, 50.0, 200.0, 310.0]), np.zeros(4, bool), np.ones(4))
    assert found[0] == 11
    assert apart(found, [11, 51, 201, 311]).max() < 0.2


def test_noisy_turns_are_better_for_the_fit() -> None:
    rng = np.random.default_rng(5)
    before, after = [], []
    for _ in range(8):
        turns = np.concatenate([[0.0], rng.uniform(0, 360, 7)])
        images = [drawn(pattern(SQUARE, t), 600, rng)[0] for t in turns]
        patterns = set_of(images, np.array([unit(pattern(SQUARE, t)) / 600 for t in turns]))
        pairs = compare(patterns[[0]], patterns)[1]
        pairs[0] = 0
        fitted = refined(images, pairs, np.zeros(8, bool), np.ones(8))
        for out, found in ((before, pairs), (after, fitted)):
            error = apart(4 * (found - turns), 0) / 4
            # against their mean, since the first is as noisy as any
            signed = ((found - turns + 45) % 90) - 45
            out.append(np.std(signed))
            assert error.max() < 4
    assert np.mean(after) < 0.85 * np.mean(before)


def test_parts_of_one_crystal_are_turned_alike_and_fitted_together() -> None:
    one, other = parts(SQUARE)
    images = [pattern(SQUARE), pattern(one, 30), pattern(other, 30), pattern(SQUARE, 71), pattern(SQUARE, 200)]
    found = turner(images).refine([[0], [1, 2], [3], [4]], np.ones(5), [0.0, 32.0, 70.5, 200.0], [False] * 4)
    assert len(found) == 4
    assert apart(np.array(found), [0, 30, 71, 200]).max() < 0.3
    alone = refined(images[:3], np.array([0.0, 30.0, 30.0]), np.zeros(3, bool), np.ones(3))
    assert apart(alone, [0, 30, 30]).max() < 0.1


def test_where_there_is_no_maximum_near_the_start_is_kept() -> None:
    images = [pattern(A), pattern(A, 40), pattern(A, 90), pattern(A, 200)]
    found = refined(images, np.array([0.0, 40.0, 90.0, 225.0]), np.zeros(4, bool), np.ones(4))
    assert apart(found[:3], [0, 40, 90]).max() < 0.2
    assert abs(found[3] - 225) < 5.5
    nothing = [pattern(A), np.zeros((N, N)), np.zeros((N, N))]
    assert refined(nothing, np.array([5.0, 10, 20]), np.zeros(3, bool), np.ones(3)).tolist() == [5, 10, 20]


def test_the_autocorrelation_is_that_of_the_pattern_whatever_its_members_turns() -> None:
    images = [pattern(SQUARE, t, m) for t, m in zip(TURNS, FLIPS, strict=True)]
    alone = turner(images).autocorrelation([0], np.ones(6), [0.0], [False])
    assert alone[0] == pytest.approx(1)
    assert alone.max() <= 1 + 1e-6
    degrees = len(alone) // 360
    np.testing.assert_allclose(alone[[90 * degrees, 180 * degrees, 270 * degrees]], 1, atol=0.01)
    assert alone[45 * degrees] < 0.5
    together = turner(images).autocorrelation(range(6), np.arange(1.0, 7), list(TURNS), list(FLIPS))
    np.testing.assert_allclose(together, alone, atol=0.01)
    assert not turner([np.zeros((N, N))]).autocorrelation([0], np.ones(1), [0.0], [False]).any()


# -- how well a turn is found again


def test_the_turn_of_a_clean_pattern_is_found_to_a_twentieth_of_a_degree() -> None:
    rng = np.random.default_rng(6)
    for spots, fold in ((A, 1), (SQUARE, 4)):
        turns = rng.uniform(0, 360, 12)
        patterns = set_of([pattern(spots), *(pattern(spots, t) for t in turns)])
        assert (apart(fold * compare(patterns[[0]], patterns[1:])[1], fold * turns) / fold).max() < 0.05


@pytest.mark.parametrize(("counts", "most"), [(3000, 0.5), (300, 3.5)])
def test_nine_turns_in_ten_are_found_at_low_counts(counts: float, most: float) -> None:
    assert np.quantile(errors_at(counts), 0.9) < most


def errors_at(counts: float) -> list[float]:
    """Errors for a lattice of twenty spots on 15 % of halo, both of so many counts, modulo its fourfold symmetry."""
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(60):
        turn = rng.uniform(0, 90)
        draws = [drawn(0.85 * unit(pattern(SQUARE, t)) + 0.15 * unit(halo()), counts, rng) for t in (0.0, turn)]
        pair = set_of([image for image, _ in draws], np.array([variance for _, variance in draws]))
        errors.append(float(apart(4 * compare(pair[[0]], pair[[1]])[1][0], 4 * turn)) / 4)
    return errors


def test_at_a_hundred_counts_half_of_the_turns_are_still_found() -> None:
    errors = errors_at(100)
    assert np.median(errors) < 5
    assert np.quantile(errors, 0.9) < 40  # of 45 at most: one in ten has caught another spot
