"""Recovery scores on maps made from a known truth."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stem4d_panel.errors import DataError
from stem4d_panel.measure.recovery import adjusted_rand, cut_by_order, recovery, true_classes
from stem4d_panel.scan.truth import Crystal, Truth

STEP = 0.5
KINDS = [
    ("b", 10.0, 4, (4.0, 4.0)),
    ("a", 20.0, 2, (4.0, 12.0)),
    ("b", 75.0, 4, (12.0, 4.0)),
    ("a", 150.0, 2, (12.0, 12.0)),
]


@pytest.fixture(scope="module")
def truth():
    crystals = tuple(Crystal(name, rotation, fold, 5.0, centre) for name, rotation, fold, centre in KINDS)
    y, x = np.indices((30, 34)) * STEP
    chord = np.array(
        [2 * np.sqrt(np.maximum(6.25 - (y - c.centre[0]) ** 2 - (x - c.centre[1]) ** 2, 0)) for c in crystals]
    )
    return Truth(crystals, chord, np.zeros((2, 30, 34)), np.zeros((0, 2), int), STEP)


@pytest.fixture(scope="module")
def perfect(truth):
    """Maps (glass first), labels and rotations that are right; one rotation in the equivalent form of its symmetry."""
    crystals = np.array([gaussian_filter(c, 0.45 / STEP) for c in truth.chord])
    maps = np.concatenate([(10 - crystals.sum(0))[None], 3 * crystals])
    return maps, np.array([2, 0, 1, 0, 1]), np.array([0, 10.0 + 90 - 10, 20 - 20, 75 - 10, 150 - 20.0])


def test_perfect_maps_score_one(perfect, truth):
    score = recovery(*perfect, truth)
    assert (score.rank, score.classes, score.found, score.of, score.crystal_with_glass) == (5, 3, 4, 4, 0)
    assert score.map_corr == pytest.approx(1)
    assert score.iou > 0.9
    assert (score.ari, score.ari_crystal) == (1, 1)
    assert score.rotation_err_deg == pytest.approx(0, abs=1e-9)


def test_order_and_names_of_components_do_not_matter(perfect, truth):
    maps, labels, rotations = perfect
    order = np.array([3, 0, 4, 2, 1])
    moved = recovery(maps[order], np.array([7, -1, 3])[labels][order], rotations[order], truth)
    assert asdict(moved) == pytest.approx(asdict(recovery(maps, labels, rotations, truth)))  # sums in another order


def test_true_classes_count_kinds_in_alphabetical_order(perfect, truth):
    assert true_classes(perfect[0], truth).tolist() == [0, 2, 1, 2, 1]


@pytest.mark.parametrize(("turn", "error"), [(7, 7), (-83, 7), (90, 0), (45, 45)])
def test_rotation_errors_are_taken_modulo_the_symmetry(perfect, truth, turn, error):
    maps, labels, rotations = perfect
    wrong = rotations.copy()
    wrong[1] += turn  # fourfold
    assert recovery(maps, labels, wrong, truth).rotation_err_deg == pytest.approx(error, abs=1e-9)


def test_rotation_needs_a_shared_label_and_a_found_pair(perfect, truth):
    maps, labels, rotations = perfect
    assert recovery(maps, np.arange(5), rotations, truth).rotation_err_deg is None
    noisy = maps + np.random.default_rng(0).normal(0, 60, maps.shape)
    lost = recovery(noisy, labels, rotations, truth)
    assert (lost.found, lost.rotation_err_deg) == (0, None)


def test_wrong_labels_lower_the_index_and_count_crystals_with_glass(perfect, truth):
    maps, _, rotations = perfect
    score = recovery(maps, [0, 0, 1, 0, 1], rotations, truth)
    assert score.crystal_with_glass == 2
    assert score.ari < 1
    assert score.ari_crystal == 1


def test_fewer_components_than_crystals(perfect, truth):
    maps, labels, rotations = perfect
    score = recovery(maps[:2], labels[:2], rotations[:2], truth)
    assert (score.rank, score.found, score.of, score.ari_crystal, score.rotation_err_deg) == (2, 1, 4, None, None)
    assert -1 < score.map_corr < 1


def test_no_crystals_and_even_maps(perfect, truth):
    maps, labels, rotations = perfect
    glass = replace(truth, crystals=(), chord=truth.chord[:0])
    score = recovery(maps, labels, rotations, glass)
    assert (score.found, score.of, score.map_corr, score.iou, score.ari_crystal) == (0, 0, None, None, None)
    even = recovery(np.ones((3, 30, 34)), [0, 0, 0], [0, 0, 0], truth)
    assert (even.found, even.map_corr) == (0, 0)


def test_shapes_that_do_not_fit_are_refused(perfect, truth):
    maps, labels, rotations = perfect
    with pytest.raises(DataError, match="maps"):
        recovery(maps.transpose(0, 2, 1), labels, rotations, truth)
    with pytest.raises(DataError, match="labels"):
        recovery(maps, labels[:-1], rotations, truth)


def test_the_tree_is_cut_by_order_although_heights_invert():
    merges = [[0, 1, 0.5, 2], [2, 3, 0.2, 2], [4, 5, 0.1, 4]]
    cuts = {n: cut_by_order(merges, n).tolist() for n in (1, 2, 3, 4)}
    assert cuts == {1: [0, 0, 0, 0], 2: [0, 0, 1, 1], 3: [2, 2, 0, 1], 4: [0, 1, 2, 3]}
    assert cut_by_order(np.zeros((0, 7)), 1).tolist() == [0]
    with pytest.raises(DataError, match="merges"):
        cut_by_order(merges, 5)


def test_adjusted_rand_agrees_with_scikit_learn():
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(3)
    for _ in range(20):
        first, second = rng.integers(0, 4, 12), rng.integers(-1, 3, 12)
        assert adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first, second))
    for first, second in (([0, 0], [1, 1]), ([0, 1], [5, 3]), ([0, 0, 0], [0, 1, 2]), ([0], [0])):
        assert adjusted_rand(first, second) == adjusted_rand_score(first, second)
