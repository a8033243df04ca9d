"""The tree of merges and the classes that it is cut into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from stem4d_panel.cluster.classes import Classes, classify
from stem4d_panel.cluster.tree import Suggestion, Tree, cut
from stem4d_panel.factorize.factors import Factors

from .made import CENTRE, MASK, METHODS, A, B, N, apart, blob, grow, made, partition, pattern


def bare(rows: Sequence[Sequence[float]]) -> Tree:
    """A tree of these merges alone."""
    merges = np.array(rows, float)
    n, k = len(merges), len(merges) + 1
    none = np.zeros(k)
    return Tree(
        merges, ("rotation",) * n, np.zeros((k, k)), np.zeros((k, k)), none, none, np.zeros(k, bool), np.zeros(n),
        np.zeros(n, bool), np.full(n, np.nan), tuple(range(k)), Suggestion(0.35, 0.0, 1.0, ""),
    )  # fmt: skip


def classes_of(factors: Factors, threshold: float | None = None, method: str = "reintegrate") -> Classes:
    return classify(factors, grow(factors, method), CENTRE, threshold)


def mixture(seed: int = 0) -> Factors:
    """Ten components: turned copies of two structures with noise, and three that are alone."""
    rng = np.random.default_rng(seed)
    images = [pattern(A, t) for t in (0, 40, 95, 260)] + [pattern(B, t) for t in (0, 150, 222)]
    images += [pattern([(r, 360 * i / n + 5, 1.0) for i in range(n)]) for r, n in ((14, 4), (19, 6), (8, 3))]
    return made([i + 0.05 * np.where(MASK, rng.random((N, N)), 0) for i in images], rng.uniform(1, 20, 10))


def inverting() -> Factors:
    """Three structures where the sum of the closest two is nearer to the third than they are to each other.

    Each is a row of spots along one direction, so that their correlation is the product of the heights: .5 for the
    first two, .48 with the third, and .96 / √3 = .55 of the third with the sum.
    """
    heights = np.sqrt([[0.48, 0.02, 0.5, 0, 0], [0.48, 0.02, 0, 0.5, 0], [0.48, 0, 0, 0, 0.52]])
    radii = (5, 9, 13, 17, 21)
    # equal energy in the correlation, which weighs by the radius, counts once more as spots are narrower in angle
    return made(
        [pattern([(r, 0, h) for r, h in zip(radii, row, strict=True)]) / np.linalg.norm(row) for row in heights],
        (1.0, 1.0, 0.9),
    )


def test_the_reintegrating_tree_inverts_where_the_sum_is_nearer() -> None:
    tree = grow(inverting())
    assert set(tree.merges[0, :2]) == {0, 1}
    assert tree.merges[0, 2] == pytest.approx(0.5, abs=0.05)
    assert tree.merges[1, 2] < tree.merges[0, 2] - 0.02
    assert tree.inversions == 1
    assert grow(inverting(), "average").inversions == 0


def test_an_inverted_tree_is_cut_by_the_highest_merge_inside() -> None:
    tree = grow(inverting())
    low, high = tree.merges[1, 2], tree.merges[0, 2]
    between = (low + high) / 2
    assert sorted(cut(tree.merges, between)) == [0, 1, 2]  # the root lies below, but a merge inside does not
    assert cut(tree.merges, high) == [4]
    assert cut(tree.merges, low - 1e-6) == [2, 1, 0]


def test_a_cut_takes_the_largest_branches_that_stay_below() -> None:
    rows = [(0, 1, 0.3), (2, 3, 0.1), (5, 6, 0.2), (7, 4, 0.6)]  # the third lies below its child
    tree = bare([[a, b, h, 0, 0, 0, 0] for a, b, h in rows])
    merges = tree.merges
    assert set(cut(merges, 0.05)) == {0, 1, 2, 3, 4}
    assert set(cut(merges, 0.25)) == {0, 1, 6, 4}
    assert set(cut(merges, 0.3)) == {7, 4}
    assert set(cut(merges, 0.6)) == {8}
    for threshold in (0.05, 0.15, 0.25, 0.35, 0.7):
        linkage = np.column_stack([merges[:, :3], [2, 2, 4, 5]])
        expected = partition(hierarchy.fcluster(linkage, threshold, "distance"))
        assert {frozenset(tree.leaves()[i]) for i in cut(merges, threshold)} == expected


@pytest.mark.parametrize("method", ["single", "complete", "average"])
def test_fixed_linkages_are_scipys_on_the_same_matrix(method: str) -> None:
    tree = grow(mixture(), method)
    expected = hierarchy.linkage(squareform(tree.distances), method)
    np.testing.assert_array_equal(np.sort(tree.merges[:, :2], axis=1), np.sort(expected[:, :2], axis=1))
    np.testing.assert_allclose(tree.merges[:, 2:4], expected[:, 2:])
    for threshold in (0.1, 0.25, 0.5, 0.9):
        labels = classify(mixture(), tree, CENTRE, threshold).labels
        assert partition(labels) == partition(hierarchy.fcluster(expected, threshold, "distance"))


@pytest.mark.parametrize("method", METHODS)
def test_the_table_of_merges_is_a_tree(method: str) -> None:
    factors = mixture()
    tree = grow(factors, method)
    assert tree.merges.shape == (9, 7)
    assert len(tree.kind) == 9
    assert sorted(tree.merges[:, :2].ravel()) == list(range(18))
    below, totals = tree.leaves(), factors.totals
    for i, (first, second, height, size, rotation, *_) in enumerate(tree.merges):
        assert max(first, second) < 10 + i
        assert size == len(below[10 + i])
        assert height >= 0
        assert 0 <= rotation < 360
        assert totals[below[int(first)]].sum() >= totals[below[int(second)]].sum() * (1 - 1e-6)
    assert sorted(tree.order) == list(range(10))
    np.testing.assert_array_equal(tree.distances, tree.distances.T)
    assert (np.diag(tree.distances) == 0).all()
    assert (apart(tree.rotations + tree.rotations.T, 0)[tree.distances < 0.2] < 0.5).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_classes_are_those_that_were_made(method: str) -> None:
    assert partition(classes_of(mixture(), method=method).labels) == {
        frozenset({0, 1, 2, 3}),
        frozenset({4, 5, 6}),
        frozenset({7}),
        frozenset({8}),
        frozenset({9}),
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_components_does_not_matter(method: str) -> None:
    factors = mixture()
    order = np.random.default_rng(3).permutation(10)
    other = Factors(factors.maps[order], factors.patterns[order], MASK, 0.1, np.ones(1), 1, True, ())
    one, two = grow(factors, method), grow(other, method)
    np.testing.assert_allclose(one.merges[:, 2], two.merges[:, 2], rtol=1e-4, atol=1e-6)
    for threshold in (0.1, 0.25, 0.6):
        labels = np.empty(10, int)
        labels[order] = classify(other, two, CENTRE, threshold).labels
        assert partition(labels) == partition(classify(factors, one, CENTRE, threshold).labels)


def test_scaling_a_components_intensity_does_not_change_distances() -> None:
    factors = mixture()
    scaled = Factors(
        factors.maps * np.where(np.arange(10) == 3, 1e4, 1)[:, None, None].astype(np.float32), *vars_after_maps(factors)
    )
    np.testing.assert_allclose(grow(scaled).distances, grow(factors).distances, atol=1e-6)


def vars_after_maps(factors: Factors) -> tuple:
    return (
        factors.patterns,
        factors.mask,
        factors.relative_error,
        factors.error_curve,
        factors.iterations,
        factors.converged,
        factors.warnings,
    )


@pytest.mark.parametrize("unit", [1e-18, 1e12])
def test_the_unit_of_the_counts_does_not_matter(unit: float) -> None:
    factors = mixture()
    scaled = Factors(factors.maps * np.float32(unit), *vars_after_maps(factors))
    np.testing.assert_allclose(grow(scaled).merges, grow(factors).merges, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_rotating_a_pattern_leaves_its_class(method: str) -> None:
    one, two = [pattern(A, t) for t in (0, 40)] + [pattern(B)], [pattern(A, t) for t in (0, 167)] + [pattern(B)]
    first, second = classes_of(made(one), method=method), classes_of(made(two), method=method)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.labels.tolist() == [0, 0, 1]
    assert apart(second.rotations[1] - first.rotations[1], 127) < 0.5


def test_shifting_a_map_leaves_its_class() -> None:
    images = [pattern(A), pattern(A, 40), pattern(B)]
    labels = [
        classes_of(made(images, maps=[blob(11, 14), blob(*p), blob(5, 20)])).labels.tolist()
        for p in ((11, 14), (6, 22))
    ]
    assert labels[0] == labels[1] == [0, 0, 1]


def test_one_component_is_one_class() -> None:
    factors = made([pattern(A)])
    tree = grow(factors)
    assert tree.merges.shape == (0, 7)
    found = classify(factors, tree, CENTRE, None)
    assert found.labels.tolist() == [0]
    assert found.rotations.tolist() == [0]
    np.testing.assert_array_equal(found.patterns[0], factors.patterns[0])
    assert tree.order == (0,)


@pytest.mark.parametrize("method", METHODS)
def test_two_equal_components_are_one_class_at_no_distance(method: str) -> None:
    factors = made([pattern(A)] * 2)
    tree = grow(factors, method)
    assert tree.merges[0, 2] == pytest.approx(0, abs=1e-5)
    found = classify(factors, tree, CENTRE, 0.01)
    assert found.count == 1
    np.testing.assert_allclose(apart(found.rotations, 0), 0, atol=1e-3)
    np.testing.assert_allclose(found.shifts, 0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_pattern_stands_alone(method: str) -> None:
    factors = made([pattern(A), pattern(A, 30), np.zeros((N, N))], (2.0, 1.0, 1.0))
    found = classes_of(factors, 0.5, method)
    assert partition(found.labels) == {frozenset({0, 1}), frozenset({2})}
    assert np.isfinite(found.patterns).all()
    assert (found.patterns[found.labels[2]] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_rotations_and_shifts_compose_over_many_merges(method: str) -> None:
    rng = np.random.default_rng(7)
    turns = np.array([12.0, 200.5, 77.3, 341.0, 128.8, 259.0, 3.3])
    moves = rng.uniform(-3, 3, (7, 2)).round(2)
    totals = np.array([3.0, 5.0, 4.0, 11.0, 6.0, 2.0, 7.0])
    images = [pattern(A, t) + 0.04 * np.where(MASK, rng.random((N, N)), 0) for t in turns]
    found = classes_of(made(images, totals, [blob(10 + dy, 14 + dx) for dy, dx in moves]), method=method)
    assert found.count == 1
    np.testing.assert_allclose(apart(found.rotations, turns - turns[3]), 0, atol=0.5)
    np.testing.assert_allclose(found.shifts, moves - moves[3], atol=0.3)
    assert found.rotations[3] == 0
    assert found.shifts[3].tolist() == [0, 0]
    assert ((found.rotations >= 0) & (found.rotations < 360)).all()
    assert np.corrcoef(found.maps[0].ravel(), blob(10 + moves[3][0], 14 + moves[3][1]).ravel())[0, 1] > 0.98
    assert np.corrcoef(found.patterns[0].ravel(), pattern(A, turns[3]).ravel())[0, 1] > 0.98


def test_rotations_stay_below_360_whatever_the_rounding() -> None:
    factors = made([pattern(A)] * 4, (1.0, 1.0, 5.0, 4.0))
    for a, b in ((0.1, 0.2), (0.7, 0.1), (0.0, 1e-17), (359.9, 0.2), (1 / 3, 1 / 7)):
        row = [(2, 3, 0.0, 2, 0.3, 0, 0), (0, 1, 0.0, 2, a, 0, 0), (5, 4, 0.0, 4, b, 0, 0)]
        rotations = classify(factors, bare(row), CENTRE, 1.0).rotations
        assert ((rotations >= 0) & (rotations < 360)).all()


def test_two_turned_copies_integrate_to_the_reference() -> None:
    factors = made([pattern(A), pattern(A, 137)], (2.0, 1.9))
    found = classes_of(factors)
    assert found.count == 1
    assert np.corrcoef(found.patterns[0].ravel(), pattern(A).ravel())[0, 1] > 0.99
    assert found.patterns[0].sum() == pytest.approx(1, rel=1e-5)
    assert (found.patterns[0][~MASK] == 0).all()


def test_a_class_pattern_is_weighted_by_intensity() -> None:
    factors = made([pattern(A), pattern(B)], (9.0, 1.0))
    found = classes_of(factors, 2.0)
    assert found.count == 1
    fit = np.linalg.lstsq(
        np.stack([factors.patterns[0].ravel(), turned_like(factors, found).ravel()], 1),
        found.patterns[0].ravel(),
        rcond=None,
    )[0]
    assert fit == pytest.approx([0.9, 0.1], abs=0.01)


def turned_like(factors: Factors, found: Classes) -> np.ndarray:
    """The second pattern of B as the class has turned it, by its analytic form."""
    image = pattern(B, -found.rotations[1])
    return image / image.sum()


def test_located_maps_add_where_they_lie_and_class_maps_where_the_strongest_does() -> None:
    maps = [blob(8, 8), blob(14, 20)]
    factors = made([pattern(A), pattern(A, 50)], (2.0, 1.0), maps)
    found = classes_of(factors)
    np.testing.assert_allclose(found.located[0], factors.maps.sum(axis=0), rtol=1e-5)
    assert np.unravel_index(found.maps[0].argmax(), found.maps[0].shape) == (8, 8)
    assert found.maps[0].sum() == pytest.approx(factors.totals.mean(), rel=0.02)


def test_classes_fall_in_intensity_and_the_threshold_is_told() -> None:
    factors = mixture()
    found = classes_of(factors)
    sums = [factors.totals[found.members(label)].sum() for label in range(found.count)]
    assert sums == sorted(sums, reverse=True)
    suggested = grow(factors).suggestion.threshold
    assert (found.threshold, found.suggested) == (suggested, True)
    stated = classes_of(factors, suggested)
    assert (stated.threshold, stated.suggested) == (suggested, False)
    np.testing.assert_array_equal(stated.labels, found.labels)


def test_a_higher_threshold_never_gives_more_classes() -> None:
    factors = mixture()
    tree = grow(factors)
    counts = [classify(factors, tree, CENTRE, t).count for t in np.linspace(0, 2, 21)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1
