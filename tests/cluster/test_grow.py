"""Growing the tree: what must not change it, what is joined where, and what is defined at the edges."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.cluster import hierarchy

from stem4d_panel.analysis import Analysis
from stem4d_panel.cluster.classes import Classes, classify
from stem4d_panel.cluster.grow import grow_from_frames_steps, grow_steps
from stem4d_panel.cluster.noise import pattern_noise
from stem4d_panel.cluster.patterns import compare
from stem4d_panel.cluster.tree import KINDS, Tree, cut
from stem4d_panel.factorize.factors import Factors, fold
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

from .made import (
    CENTRE,
    HEXAGONAL,
    MASK,
    METHODS,
    OBLIQUE,
    RADIUS,
    SQUARE,
    A,
    B,
    N,
    X,
    Y,
    apart,
    drawn,
    grown,
    halo,
    made,
    particle,
    partition,
    parts,
    pattern,
    scene,
    set_of,
    settings_of,
)

THRESHOLDS = (0.05, 0.15, 0.3, 0.5, 0.8)
GLASS, FIRST, SECOND = {0, 1}, {2, 3, 4}, {5, 6}  # of `scene`


def checked(tree: Tree, factors: Factors) -> Tree:
    """A tree whose every part is defined."""
    k = factors.rank
    assert tree.merges.shape == (k - 1, 7)
    assert np.isfinite(tree.merges).all()
    assert sorted(tree.merges[:, :2].ravel()) == list(range(2 * k - 2))
    if k > 1:
        assert hierarchy.is_valid_linkage(tree.merges[:, :4].copy())
    assert len(tree.kind) == len(tree.similarity) == len(tree.mirrored) == len(tree.p_values) == k - 1
    assert set(tree.kind) <= set(KINDS)
    below, totals = tree.leaves(), factors.totals
    for row, kind, p in zip(tree.merges, tree.kind, tree.p_values, strict=True):
        assert 0 <= row[4] < 360
        assert totals[below[int(row[0])]].sum() >= totals[below[int(row[1])]].sum() * (1 - 1e-6)
        assert (0 < p <= 1) if kind == "rotation" else np.isnan(p)
    assert np.isfinite(tree.similarity).all()
    assert tree.distances.shape == tree.rotations.shape == (k, k)
    assert np.isfinite(tree.distances).all()
    assert np.isfinite(tree.rotations).all()
    assert (tree.distances >= 0).all()
    np.testing.assert_array_equal(tree.distances, tree.distances.T)
    assert not np.diag(tree.distances).any()
    for values in (tree.anisotropy, tree.coherence):
        assert values.shape == (k,)
        assert np.isfinite(values).all()
    assert sorted(tree.order) == list(range(k))
    assert 0 <= tree.suggestion.threshold < 1
    return tree


def classes(factors: Factors, tree: Tree, threshold: float | None = None) -> Classes:
    found = classify(factors, tree, CENTRE, threshold)
    for values in (found.rotations, found.shifts, found.patterns, found.maps, found.located):
        assert np.isfinite(values).all()
    return found


def sets(tree: Tree, threshold: float | None = None) -> list[set[int]]:
    """Members of the classes at a threshold; None means the suggested one."""
    below = tree.leaves()
    at = tree.suggestion.threshold if threshold is None else threshold
    return sorted((set(below[i]) for i in cut(tree.merges, at)), key=min)


def labels(tree: Tree) -> list[list[set[int]]]:
    return [sets(tree, t) for t in (*THRESHOLDS, None)]


def noise_of(factors: Factors, per_unit: float = 50.0) -> np.ndarray:
    """Variance of the pixels of unit-sum patterns where a map of sum 1 stands for this many counts."""
    return factors.patterns / np.maximum(factors.totals * per_unit, 1)[:, None, None]


# -- what must not change the tree


def kinds_of_patterns(turns: np.ndarray) -> Factors:
    kinds = [A, A, [(r, a, h**2) for r, a, h in A], B, B, SQUARE, HEXAGONAL, HEXAGONAL]
    return made([pattern(spots, turn) for spots, turn in zip(kinds, turns, strict=True)])


@pytest.mark.parametrize(
    ("method", "centring"), [*((m, "equal") for m in (*METHODS, "ward")), ("reintegrate", "ring"), ("complete", "none")]
)
def test_turning_one_pattern_changes_nothing_where_patterns_alone_count(method: str, centring: str) -> None:
    rng = np.random.default_rng(2)
    turns = rng.uniform(0, 360, 8)
    factors = kinds_of_patterns(turns)
    wanted: dict[str, Any] = {"similarity": "patterns", "method": method, "centring": centring, "glass": 0.0}
    tree = checked(grown(factors, **wanted), factors)
    for i in rng.permutation(8)[:2]:
        other = turns.copy()
        other[i] += rng.uniform(20, 340)
        again = kinds_of_patterns(other)
        turned = grown(again, **wanted)
        np.testing.assert_allclose(turned.merges[:, 2], tree.merges[:, 2], atol=0.006)
        assert labels(turned) == labels(tree)


def kinds_of_maps(moves: np.ndarray) -> Factors:
    def two(y: float, x: float, dy: float, dx: float, height: float) -> np.ndarray:
        return particle(y, x, 2.0) + height * particle(y + dy, x + dx, 1.5)

    forms = [(5, 3, 0.8), (5, 3, 0.8), (5, 3, 0.7), (-4, 6, 1.0), (-4, 6, 1.0), (0, 9, 0.6)]
    maps = [two(19 + dy, 22 + dx, *form) for form, (dy, dx) in zip(forms, moves, strict=True)]
    return made([pattern(A, 10 * i) for i in range(6)], maps=maps)


@pytest.mark.parametrize("method", ["reintegrate", "average"])
def test_moving_one_map_changes_nothing_where_maps_alone_count(method: str) -> None:
    rng = np.random.default_rng(3)
    moves = rng.integers(-4, 5, (6, 2)).astype(float)
    factors = kinds_of_maps(moves)
    wanted: dict[str, Any] = {"similarity": "maps", "method": method, "glass": 0.0}
    tree = checked(grown(factors, **wanted), factors)
    assert sets(tree, 0.05) == [{0, 1, 2}, {3, 4}, {5}]
    for i in (1, 2, 4):
        for move, tolerance in (((5, -6), 0.002), ((2.5, 3.3), 0.03)):  # between pixels maps are not resampled
            other = moves.copy()
            other[i] = move
            again = kinds_of_maps(other)
            moved = grown(again, **wanted)
            np.testing.assert_allclose(moved.merges[:, 2], tree.merges[:, 2], atol=tolerance)
            assert labels(moved) == labels(tree)


@pytest.mark.parametrize("noisy", [False, True])
def test_turning_all_patterns_or_moving_all_maps_leaves_the_bimodal_tree(noisy: bool) -> None:
    factors = scene()
    noise = noise_of(factors) if noisy else None
    tree = checked(grown(factors, noise), factors)
    quarter = Factors(factors.maps, np.rot90(factors.patterns, 1, (2, 1)).copy(), MASK, 0.1, np.ones(1), 1, True, ())
    for other, tolerance in ((quarter, 1e-4), (scene(turn=71.3), 0.01), (scene(move=(2, -3)), 0.001)):
        again = grown(other, noise_of(other) if noisy else None)
        assert again.kind == tree.kind
        np.testing.assert_allclose(again.merges[:, 2], tree.merges[:, 2], atol=tolerance)
        assert labels(again) == labels(tree)
        np.testing.assert_array_equal(again.apart, tree.apart)
        assert apart(
            classes(other, again, 0.3).rotations * 4, classes(factors, tree, 0.3).rotations * 4
        ) == pytest.approx(0, abs=2)


WAYS = [("bimodal", method) for method in (*METHODS, "ward")]
WAYS += [(form, method) for form in ("patterns", "maps") for method in ("reintegrate", "ward")]


@cache
def tree_of(form: str, method: str) -> Tree:
    factors = scene()
    return checked(grown(factors, noise_of(factors, 1e4), similarity=form, method=method), factors)


@pytest.mark.parametrize(("form", "method"), WAYS)
def test_the_order_of_the_components_changes_nothing_but_names(form: str, method: str) -> None:
    order = np.random.default_rng(4).permutation(7)
    other = scene(order=order)
    one = tree_of(form, method)
    two = checked(grown(other, noise_of(other, 1e4), similarity=form, method=method), other)
    assert one.kind == two.kind
    np.testing.assert_allclose(two.merges[:, 2], one.merges[:, 2], atol=1e-4)
    np.testing.assert_array_equal(two.apart, one.apart[order])
    np.testing.assert_allclose(two.distances, one.distances[np.ix_(order, order)], atol=1e-5)
    for threshold in THRESHOLDS:
        named = [{int(order[i]) for i in members} for members in sets(two, threshold)]
        assert sorted(named, key=min) == sets(one, threshold)


def test_the_order_does_not_matter_where_noise_takes_similarities_above_one() -> None:
    images = [pattern(A), pattern([(r, a, h**1.3) for r, a, h in A], 40), pattern(A[:3], 111)]
    factors = made(images, (3.0, 2.0, 1.0))
    heights = []
    for order in ([0, 1, 2], [2, 1, 0]):
        other = made([images[i] for i in order], factors.totals[order])
        variance = other.patterns / 300
        tree = grown(other, variance, similarity="patterns", glass=0.0)
        assert (tree.distances == 0).all()
        heights.append({frozenset(order[int(i)] for i in tree.merges[0, :2])})
    assert heights[0] == heights[1]


def test_a_pattern_scaled_up_and_its_map_scaled_down_changes_nothing(small: Scan) -> None:
    analysis = Analysis(small, cache=Cache(), rank=6)
    frames = analysis.frames
    rng = np.random.default_rng(0)
    W = rng.random((frames.matrix.shape[0], 6)).astype(np.float32) ** 4
    Ht = rng.random((frames.matrix.shape[1], 6)).astype(np.float32) ** 4
    scale = np.float32(10.0) ** np.array([-3, 2, 0, 1, -1, 3], np.float32)
    settings = settings_of()
    one, two = (
        finish(grow_from_frames_steps(fold(frames, w, h, 0.1, np.ones(1), True, []), frames, settings))
        for w, h in ((W, Ht), (W / scale, Ht * scale))
    )
    assert one.kind == two.kind
    np.testing.assert_allclose(two.merges, one.merges, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(two.distances, one.distances, atol=1e-5)


@pytest.mark.parametrize("gain", [1e-12, 7.0, 1e9])
def test_the_unit_of_the_counts_changes_nothing(gain: float) -> None:
    factors = scene()
    scaled = Factors(factors.maps * np.float32(gain), factors.patterns, MASK, 0.1, np.ones(1), 1, True, ())
    noise, of_scaled = pattern_noise(factors, 1.0, 1.3), pattern_noise(scaled, 1.0, 1.3 * gain)
    np.testing.assert_allclose(of_scaled, noise, rtol=1e-4)
    for form in ("bimodal", "maps"):
        one, two = grown(factors, noise, similarity=form), grown(scaled, of_scaled, similarity=form)
        np.testing.assert_allclose(two.merges, one.merges, rtol=1e-4, atol=1e-3)
        assert one.kind == two.kind


# -- what is joined, and in which order


@pytest.mark.parametrize(("form", "method"), WAYS)
def test_rows_come_as_places_then_glass_then_crystals_and_at_last_both(form: str, method: str) -> None:
    tree = tree_of(form, method)
    places = ["place"] if form == "bimodal" else []
    rotations = ["rotation"] * (3 if form == "bimodal" else 4)
    assert list(tree.kind) == [*places, "glass", *rotations, "glass"]
    assert (tree.merges[np.array(tree.kind) == "place", 2] == 0).all()
    assert (tree.merges[np.array(tree.kind) != "rotation", 4:] == 0).all()  # neither turned nor moved
    assert tree.merges[-1, 2] >= max(1, tree.merges[:-1, 2].max())
    assert set(tree.leaves()[7 + len(places)]) == GLASS


@pytest.mark.parametrize("form", ["bimodal", "patterns"])
@pytest.mark.parametrize("per_unit", [None, 1000.0, 50.0, 10.0])
def test_no_class_at_the_suggested_threshold_mixes_glass_with_crystal(form: str, per_unit: float | None) -> None:
    rng = np.random.default_rng(5)
    factors = scene()
    noise = None if per_unit is None else noise_of(factors, per_unit)
    if per_unit is not None:
        counts = factors.totals * per_unit
        draws = [drawn(p, c, rng)[0] for p, c in zip(factors.patterns.astype(float), counts, strict=True)]
        factors = made(draws, factors.totals, list(factors.maps))
    tree = checked(grown(factors, noise, similarity=form), factors)
    assert set(np.flatnonzero(tree.apart)) == GLASS
    for threshold in (None, 0.2, 0.9):
        for members in sets(tree, threshold):
            assert members <= GLASS or not members & GLASS
    assert sets(tree, 2.0) == [set(range(7))]


def test_parts_of_one_crystal_are_joined_where_they_lie_and_crystals_under_rotation() -> None:
    factors = scene()
    tree = grown(factors)
    assert {int(i) for row, kind in zip(tree.merges, tree.kind, strict=True) if kind == "place" for i in row[:2]} == {
        2,
        3,
    }
    assert [s for s in sets(tree) if not s & GLASS] == [FIRST, SECOND]
    found = classes(factors, tree)
    assert found.rotations[2] == found.rotations[3]
    assert apart(4 * (found.rotations[4] - found.rotations[2]), 4 * 37) == pytest.approx(0, abs=1)  # fourfold
    assert apart(2 * (found.rotations[6] - found.rotations[5]), 2 * 26) == pytest.approx(0, abs=0.5)
    mean = found.patterns[found.labels[4]]
    whole = pattern(SQUARE, 37 - found.rotations[4])
    assert np.corrcoef(mean[MASK], whole[MASK])[0, 1] > 0.97
    # the same components by their patterns alone
    alone = [s for s in sets(grown(factors, similarity="patterns")) if not s & GLASS]
    assert FIRST not in alone
    assert SECOND in alone


def test_two_lattices_on_one_place_are_not_joined_there() -> None:
    maps = [particle(19, 22), particle(19.3, 22.4), particle(8, 9), np.ones(Y.shape)]
    patterns = [pattern(SQUARE, 12), pattern(OBLIQUE, 40), pattern(SQUARE, 60), halo()]
    factors = made(patterns, (30.0, 20.0, 25.0, 300.0), maps)
    tree = checked(grown(factors), factors)
    assert "place" not in tree.kind
    assert sets(tree) == [{0, 2}, {1}, {3}]
    one, other = parts(SQUARE)  # where one is the rest of the same lattice, they are
    factors = made([pattern(one, 12), pattern(other, 12), *patterns[2:]], (30.0, 20.0, 25.0, 300.0), maps)
    assert sets(grown(factors)) == [{0, 1, 2}, {3}]


def test_glass_on_a_crystals_place_becomes_a_part_of_it_and_half_on_it_a_class_by_itself() -> None:
    def tree_with(offset: float) -> tuple[Factors, Tree]:
        maps = [particle(19, 22), particle(19, 22 + offset), np.ones(Y.shape), np.exp(-Y / 50)]
        factors = made([pattern(SQUARE), halo(13), halo(), halo(11)], (30.0, 10.0, 300.0, 200.0), maps)
        return factors, checked(grown(factors), factors)

    _, tree = tree_with(1.0)
    assert tree.kind[0] == "place"
    assert tree.apart.tolist() == [False, False, True, True]
    assert sets(tree) == [{0, 1}, {2, 3}]
    _, tree = tree_with(5.0)  # correlates by .38, below the limit of .41
    assert "place" not in tree.kind
    assert tree.apart.tolist() == [False, True, True, True]
    assert sets(tree) == [{0}, {1}, {2, 3}]
    assert tree.merges[tree.merges[:, :2].tolist().index([2, 3]) + 1 :, 2].min() >= 0.7  # above any usual threshold
    _, tree = tree_with(12.0)
    assert sets(tree) == [{0}, {1, 2, 3}]


def test_of_two_that_lie_half_on_a_crystal_the_nearer_joins_the_glass_last() -> None:
    maps = [particle(19, 22), particle(19, 27.2), particle(24.0, 22), np.ones(Y.shape), np.exp(-Y / 50)]
    factors = made([pattern(SQUARE), halo(13), halo(12.5), halo(), halo(11)], (30.0, 10.0, 10.0, 300.0, 200.0), maps)
    tree = grown(factors)
    joins = [int(np.flatnonzero((tree.merges[:, :2] == i).any(axis=1))[0]) for i in (1, 2)]
    assert joins[0] < joins[1]
    assert 0.7 <= tree.merges[joins[0], 2] <= tree.merges[joins[1], 2]


def test_with_maps_compared_the_threshold_does_not_rest_on_patterns() -> None:
    factors = made([pattern(SQUARE), pattern(SQUARE, 20), halo()], (3.0, 2.0, 30.0))
    said = grown(factors, similarity="maps").suggestion
    assert (said.equal, said.chance) == (0, 1)
    assert "maps are compared" in said.reason


# -- options


def chiral(seed: int) -> tuple[Factors, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    turns, flips = rng.uniform(0, 360, 7), np.array([0, 1, 1, 0, 1, 0, 0], bool)[rng.permutation(7)]
    totals = rng.permutation(np.arange(7) + 3.0)
    images = [
        pattern(A, t, m) + 0.03 * np.where(MASK, rng.random((N, N)), 0) for t, m in zip(turns, flips, strict=True)
    ]
    return made(images, totals), turns, flips, totals


@pytest.mark.parametrize(("seed", "method"), [(0, "reintegrate"), (1, "reintegrate"), (2, "average"), (3, "ward")])
def test_mirrored_patterns_join_where_allowed_and_the_right_ones_are_named(seed: int, method: str) -> None:
    factors, turns, flips, totals = chiral(seed)
    wanted: dict[str, Any] = {"similarity": "patterns", "glass": 0.0, "method": method}
    tree = checked(grown(factors, mirror="allowed", **wanted), factors)
    found = classes(factors, tree, 0.2)
    assert found.count == 1
    top = int(totals.argmax())
    np.testing.assert_array_equal(found.mirrored, flips != flips[top])
    # turned by t after a flip: against a top that is flipped itself the sense of the turn is the other way
    np.testing.assert_allclose(
        apart(found.rotations, np.where(flips == flips[top], turns - turns[top], turns + turns[top])), 0, atol=0.6
    )
    truth = pattern(A, turns[top], bool(flips[top]))
    assert np.corrcoef(found.patterns[0][MASK], truth[MASK])[0, 1] > 0.985
    plain = checked(grown(factors, **wanted), factors)
    assert not plain.mirrored.any()
    assert partition(classes(factors, plain, 0.2).labels) == {
        frozenset(np.flatnonzero(flips).tolist()),
        frozenset(np.flatnonzero(~flips).tolist()),
    }
    assert not classes(factors, plain, 0.2).mirrored.any()


def test_a_pattern_with_a_mirror_line_is_not_called_mirrored() -> None:
    factors = made([pattern(SQUARE), pattern(SQUARE, 20), pattern(HEXAGONAL, 3), pattern(HEXAGONAL, 44)])
    tree = grown(factors, similarity="patterns", mirror="allowed")
    assert not classes(factors, tree, 0.2).mirrored.any()


def test_folding_makes_friedel_mates_equal() -> None:
    flipped = [(r, a + 180 * (i % 2), h) for i, (r, a, h) in enumerate(A)]  # no turn makes it A again
    factors = made([pattern(A), pattern(A, 180), pattern(flipped), pattern(A, 90)])
    wanted: dict[str, Any] = {"similarity": "patterns", "glass": 0.0}
    plain, folded = grown(factors, **wanted), grown(factors, friedel="fold", **wanted)
    assert apart(plain.rotations[0, 1], 180) < 0.1
    assert plain.distances[0, 2] > 0.3
    assert folded.distances.max() < 0.003
    assert apart(2 * folded.rotations[0], [0, 0, 0, 180]) == pytest.approx(0, abs=0.2)
    spectrum = set_of(factors.patterns, friedel="fold").spectrum
    for i in (1, 2):
        np.testing.assert_allclose(spectrum[i], spectrum[0], atol=0.003 * np.abs(spectrum[0]).max())


@pytest.mark.parametrize("centring", ["equal", "ring"])
def test_branches_are_integrated_with_the_stated_weights(centring: str) -> None:
    common = [(8.0, 0.0, 1.0), (15.0, 140.0, 1.0)]
    patterns = [
        pattern([*common, (20, 60, 1.0)]),
        pattern([*common, (20, 220, 1.0)]),
        pattern([(12, 0, 1), (20, 60, 1)]),
    ]
    maps = [particle(10, 10, 4.0), particle(10, 10, 1.3), particle(30, 30, 2.0)]
    factors = made(patterns, (5.0, 4.0, 1.0), maps)
    energy = (factors.maps.astype(float) ** 2).sum((1, 2))
    weights = {"sum": factors.totals, "mean": np.ones(3), "energy": energy}
    heights = {}
    for name, weight in weights.items():
        tree = grown(factors, integrate=name, similarity="patterns", glass=0.0, centring=centring)
        assert set(tree.merges[0, :2]) == {0, 1}
        assert apart(tree.merges[0, 4], 0) < 0.1
        joined = np.tensordot(weight[:2], factors.patterns[:2], 1)
        both = set_of([joined, factors.patterns[2]], centring=centring)
        heights[name] = tree.merges[1, 2]
        assert heights[name] == pytest.approx(1 - compare(both[[0]], both[[1]])[0][0], abs=0.002)
    values = sorted(heights.values())
    assert min(np.diff(values)) > 0.004  # so that a wrong weight would have been seen


def test_the_first_height_of_ward_is_the_pseudo_distance() -> None:
    for spots in (B, [(r, a, h**2) for r, a, h in A], SQUARE):
        factors = made([pattern(A), pattern(spots, 25)])
        tree = grown(factors, similarity="patterns", method="ward", glass=0.0)
        assert tree.merges[0, 2] == pytest.approx(tree.distances[0, 1], rel=1e-9)
        assert tree.merges[0, 2] == pytest.approx(1 - tree.similarity[0], abs=1e-6)


# -- edges


FORMS = [{"similarity": "bimodal", "method": "reintegrate"}, {"similarity": "patterns", "method": "ward"}]
FORMS += [{"similarity": "maps", "method": "reintegrate"}]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: "-".join(f.values()))
@pytest.mark.parametrize("noisy", [False, True])
def test_few_empty_and_masked_components_are_defined(form: dict[str, str], noisy: bool) -> None:
    ring = MASK & ((RADIUS < 11) | (RADIUS > 14))
    even, spot = np.ones(Y.shape), particle(19, 22)
    zero, nothing = np.zeros((N, N)), np.zeros(Y.shape)
    cases = {
        "a crystal": made([pattern(A)], maps=[spot]),
        "glass": made([halo()], maps=[even]),
        "two equal crystals": made([pattern(A)] * 2, maps=[spot] * 2),
        "two equal far apart": made([pattern(A)] * 2, maps=[spot, particle(8, 8)]),
        "two kinds of glass": made([halo(), halo(15)], maps=[even, np.exp(-X / 20)]),
        "an empty pattern": made([pattern(A), pattern(A, 30), zero], maps=[spot, particle(8, 8), even]),
        "an empty map": made([pattern(A), pattern(B), pattern(A, 9)], (2.0, 1.0, 0.0), [spot, even, nothing]),
        "an empty map of glass": made([pattern(A), halo()], (2.0, 0.0), [spot, nothing]),
        "empty components": made([pattern(A), zero, zero], (2.0, 0.0, 0.0), [spot, nothing, nothing]),
        "nothing at all": made([zero, zero], (0.0, 0.0), [nothing, nothing]),
        "a masked ring": made(
            [pattern(A) * ring, pattern(A, 30) * ring, halo() * ring], maps=[spot, spot, even], mask=ring
        ),
        "a single ring": made([pattern(A) * ~ring * MASK, halo() * ~ring * MASK], maps=[spot, even], mask=~ring & MASK),
    }
    for name, factors in cases.items():
        noise = pattern_noise(factors, 1.0) if noisy else None
        if noise is not None:
            assert np.isfinite(noise).all(), name
            assert (noise >= 0).all(), name
        tree = checked(grown(factors, noise, **form), factors)
        for threshold in (None, 2.0):
            found = classes(factors, tree, threshold)
            assert (found.patterns[:, ~factors.mask] == 0).all()
        assert found.count == 1, name


def test_two_equal_crystals_are_one_class_and_two_kinds_of_glass_no_crystal() -> None:
    factors = made([pattern(A)] * 2, maps=[particle(19, 22), particle(8, 8)])
    tree = grown(factors)
    assert tree.kind == ("rotation",)
    assert tree.merges[0, 2] == pytest.approx(0, abs=1e-5)
    assert sets(tree) == [{0, 1}]
    factors = made([halo(), halo(15)], maps=[np.ones(Y.shape), np.exp(-X / 20)])
    tree = grown(factors)
    assert tree.kind == ("glass",)
    assert tree.apart.all()
    assert 0 < tree.merges[0, 2] < 1
    assert "no crystalline component" in tree.suggestion.reason


def test_an_empty_pattern_is_like_nothing_and_stands_alone() -> None:
    factors = made(
        [pattern(A), pattern(A, 30), np.zeros((N, N))], maps=[particle(19, 22), particle(8, 8), np.ones(Y.shape)]
    )
    for glass in (0.0, 0.5):
        tree = grown(factors, glass=glass)
        assert sets(tree) == [{0, 1}, {2}]
        assert (tree.distances[2, :2] == 1).all()


def test_a_masked_ring_is_not_a_likeness() -> None:
    ring = MASK & ((RADIUS < 11) | (RADIUS > 14))
    maps = [particle(19, 22), particle(8, 8), particle(30, 8)]
    images = [pattern(A) * ring, pattern(A, 30) * ring, pattern(SQUARE) * ring]
    factors = made(images, maps=maps, mask=ring)
    assert sets(grown(factors)) == [{0, 1}, {2}]


def test_progress_counts_the_merges() -> None:
    steps = list(grow_steps(scene(), CENTRE, Settings.make().cluster))
    done = [p.done for p in steps]
    assert done == sorted(done)
    assert all(p.total == 6 for p in steps)
    assert done[-1] >= 5


def test_without_noise_correction_the_noise_is_not_used() -> None:
    factors = scene()
    plain, unused = grown(factors), grown(factors, noise_of(factors, 10.0), noise="none")
    np.testing.assert_array_equal(unused.distances, plain.distances)
    np.testing.assert_array_equal(unused.anisotropy, plain.anisotropy)
    assert not np.array_equal(grown(factors, noise_of(factors, 10.0)).distances, plain.distances)
