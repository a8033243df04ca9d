"""Components that lie on one place: which maps do, and which pairs must not come together."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.cluster.patterns import unrotated
from stem4d_panel.cluster.place import centrosymmetry, map_correlation, places, two_lattices

from .made import HEXAGONAL, OBLIQUE, SQUARE, A, N, Spot, Y, particle, parts, pattern, set_of


def symmetry(*images: np.ndarray) -> np.ndarray:
    return centrosymmetry(set_of(images).spectrum)


def test_lattices_are_centrosymmetric_and_spots_without_mates_are_not() -> None:
    turned = [pattern(spots, 17.3) for spots in (SQUARE, HEXAGONAL, OBLIQUE)]
    np.testing.assert_allclose(symmetry(*turned), 1, atol=0.01)
    alone: list[Spot] = [(6.0, 10.0, 1.0), (12.0, 70.0, 1.0), (18.0, 200.0, 1.0)]
    assert abs(symmetry(pattern(alone))[0]) < 0.15
    assert abs(symmetry(pattern(A))[0]) < 0.15
    assert symmetry(np.zeros((N, N)))[0] == 0


@pytest.mark.parametrize("weak", [1.0, 0.5, 0.2])
def test_centrosymmetry_is_the_correlation_with_the_pattern_turned_by_180(weak: float) -> None:
    mates = pattern([(14.0, 30.0, 1.0), (14.0, 210.0, weak), (9.0, 80.0, 1.0), (9.0, 260.0, weak)])
    assert symmetry(mates)[0] == pytest.approx(2 * weak / (1 + weak**2), abs=0.07)  # the rings' means are gone
    centred = set_of([mates]).spectrum[0]
    half_turned = set_of([mates[::-1, ::-1]]).spectrum[0]  # the centre lies in the middle
    product = (centred.conj() * half_turned).real.sum() / (np.abs(centred) ** 2).sum()
    assert symmetry(mates)[0] == pytest.approx(product, abs=1e-4)


def test_map_correlation_is_pearsons_and_none_with_an_even_map() -> None:
    maps = np.random.default_rng(0).random((4, 9, 11)) * [[[1]], [[3]], [[1e-9]], [[1e9]]] + 0.1
    maps[1] += maps[0]
    np.testing.assert_allclose(map_correlation(maps), np.corrcoef(maps.reshape(4, -1)), atol=1e-7)
    maps[2] = 5
    found = map_correlation(maps)
    np.testing.assert_array_equal(found[2], 0)
    assert found[0, 1] > 0.2


def test_two_whole_lattices_are_kept_apart_and_parts_or_likenesses_are_not() -> None:
    one, other = parts(SQUARE)
    patterns = set_of(
        [pattern(SQUARE), pattern(OBLIQUE, 20), pattern(SQUARE, 45), pattern(one), pattern(other), pattern(SQUARE, 2)]
    )
    together, whole = unrotated(patterns), np.ones(6)
    found = two_lattices(together, whole, centrosymmetry(patterns.spectrum))
    np.testing.assert_array_equal(found, found.T)
    expected = np.zeros((6, 6), bool)
    for a, b in ((0, 1), (0, 2), (1, 2), (1, 5), (2, 5)):  # whole, and little in common as they lie
        expected[a, b] = expected[b, a] = True
    np.testing.assert_array_equal(found, expected)
    assert not two_lattices(together, np.array([1, 0.5, 0.5, 1, 1, 0.5]), centrosymmetry(patterns.spectrum)).any()


def none(k: int) -> np.ndarray:
    return np.zeros((k, k), bool)


def test_a_place_is_judged_by_all_that_lies_on_it() -> None:
    two = [particle(20, 21, 2.0), particle(20, 24, 2.0)]
    wide = particle(20, 22.5, 11.0)
    maps = np.stack([*two, wide])
    alike = map_correlation(np.stack([*maps, sum(two)]))
    least = (max(alike[0, 2], alike[1, 2]) + alike[2, 3]) / 2
    assert alike[0, 2] < least < alike[2, 3] < alike[0, 1]  # alone neither reaches the limit, their sum does
    found = places(maps, np.array([1.0, 2.0, 5.0]), none(3), float(least))
    assert [(a, b) for a, b, _ in found] == [(1, 0), (2, 3)]  # the stronger is named first
    assert [c for *_, c in found] == pytest.approx([alike[0, 1], alike[2, 3]])
    assert places(maps, np.ones(3), none(3), float(alike[2, 3]) + 0.01) == [(0, 1, pytest.approx(alike[0, 1]))]
    assert places(maps, np.ones(3), none(3), 0.999) == []


def test_the_most_alike_come_first_and_far_ones_never() -> None:
    maps = np.stack([particle(10, 10), particle(10.3, 10), particle(28, 30), particle(28, 31), particle(10, 38)])
    found = places(maps, np.array([1.0, 3.0, 2.0, 2.0, 9.0]), none(5), 0.4)
    assert [(a, b) for a, b, _ in found] == [(1, 0), (2, 3)]
    assert found[0][2] > found[1][2] > 0.4


def test_what_must_stay_apart_does_not_come_together_by_way_of_a_third() -> None:
    maps = np.stack([particle(20, 20), particle(20, 20.5), particle(20, 21.0), particle(8, 40)])
    assert len(places(maps, np.ones(4), none(4), 0.4)) == 2  # without a guard all three are one place
    guard = none(4)
    guard[0, 2] = guard[2, 0] = True
    for totals in ([1.0, 2, 3, 4], [3.0, 2, 1, 4], [1.0, 5, 1, 1]):
        found = places(maps, np.array(totals), guard, 0.4)
        assert len(found) == 1
        assert 1 in found[0][:2]
        assert not {0, 2} <= set(found[0][:2])
    guard[0, 1] = guard[1, 0] = True  # the best pair is forbidden, the next is made
    assert {frozenset(pair[:2]) for pair in places(maps, np.ones(4), guard, 0.4)} == {frozenset({1, 2})}


def test_even_and_empty_maps_lie_on_no_place() -> None:
    maps = np.stack([np.zeros(Y.shape), np.ones(Y.shape), particle(20, 20), np.zeros(Y.shape)])
    assert places(maps, maps.sum(axis=(1, 2)), none(4), 0.2) == []
    assert places(maps[:1], np.zeros(1), none(1), 0.2) == []
