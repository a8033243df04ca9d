"""Every position of a scan clustered by its pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from stem4d_panel.cluster.linkage import average_tree
from stem4d_panel.cluster.polar import correlate, norms, spectra, to_polar
from stem4d_panel.cluster.positions import Positions, position_steps
from stem4d_panel.cluster.similarity import pairwise
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.runtime.progress import finish

N, CENTRE = 40, (19.5, 19.5)
KY, KX = np.mgrid[:N, :N] - 19.5
MASK = (np.hypot(KY, KX) >= 3) & (np.hypot(KY, KX) <= 19)
Y, X = np.mgrid[:24, :30]
TURNS = (5.0, 48.0, 200.0, 100.0, 0.0, 320.0)
KINDS = (0, 0, 1, 1, 2, 2)
STRUCTURES = (
    ((6, 0, 1.0), (13, 80, 0.8), (15, 200, 0.7)),
    ((9, 0, 1.0), (9, 120, 0.6), (17, 250, 0.9)),
    ((12, 0, 1.0), (16, 150, 0.7), (7, 290, 0.9)),
)


def unit(image: np.ndarray) -> np.ndarray:
    image = np.where(MASK, image, 0)
    return image / image.sum()


def crystal(kind: int, turn: float) -> np.ndarray:
    image = np.zeros((N, N))
    for radius, angle, height in STRUCTURES[kind]:
        phi = np.deg2rad(angle + turn)
        image += height * np.exp(-((KY - radius * np.sin(phi)) ** 2 + (KX - radius * np.cos(phi)) ** 2) / 4)
    return unit(image)


GLASS = unit(np.exp(-((np.hypot(KY, KX) - 11) ** 2) / 10))
PLACES = ((5, 5), (5, 15), (5, 25), (18, 5), (18, 15), (18, 25))
CHORD = np.array([np.sqrt(np.maximum(1 - ((Y - y) ** 2 + (X - x) ** 2) / 16, 0)) for y, x in PLACES])
MAPS = np.concatenate([CHORD, [1.5 - 0.8 * CHORD.sum(axis=0)]]).astype(np.float32)
PATTERNS = np.array([*(crystal(k, t) for k, t in zip(KINDS, TURNS, strict=True)), GLASS], np.float32)
INSIDE = CHORD.max(axis=0) > 0.4
OWNER = CHORD.argmax(axis=0)


def found(maps: np.ndarray = MAPS, patterns: np.ndarray = PATTERNS, **options: Any) -> Positions:
    return finish(position_steps(maps, patterns, MASK, CENTRE, **options))


def apart(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Distances of angles in degrees."""
    return np.abs((np.asarray(a) - b + 180) % 360 - 180)


def check_truth(positions: Positions, tolerance: float, ari: float) -> None:
    labels, rotations = positions.at(0.25)
    assert adjusted_rand_score(np.array(KINDS)[OWNER][INSIDE], labels[INSIDE]) >= ari
    assert (labels[CHORD.max(axis=0) == 0] == -1).all()
    for one, other in ((0, 1), (2, 3), (4, 5)):  # the pairs of one lattice
        a, b = (rotations[INSIDE & (OWNER == i)] for i in (one, other))
        between = np.angle(np.exp(1j * np.deg2rad(b)).mean() / np.exp(1j * np.deg2rad(a)).mean(), deg=True)
        assert apart(between, TURNS[other] - TURNS[one]) < tolerance
        assert max(apart(a, a[0]).max(), apart(b, b[0]).max()) < 10 * tolerance


def test_three_lattices_and_their_rotations_are_found() -> None:
    positions = found(background=[6])
    assert positions.at(0.25)[0].max() == 2
    check_truth(positions, 0.5, 1.0)
    assert np.isnan(positions.at(0.25)[1][positions.nearest < 0]).all()


def test_measured_frames_are_clustered_likewise() -> None:
    expected = np.tensordot(np.moveaxis(MAPS, 0, 2), PATTERNS, 1)
    frames = np.random.default_rng(0).poisson(3000 * expected).astype(np.float32) / 3000
    check_truth(found(background=[6], frames=frames, rounds=3), 1.0, 0.95)


def test_a_position_is_compared_as_its_pattern_would_be() -> None:
    positions = found(background=[6])
    y, x = 5, 6
    model = np.tensordot(MAPS[:6, y, x], PATTERNS[:6], 1)
    polar = to_polar(model[None], MASK, CENTRE)
    spectrum = spectra(polar, "ring")[0]
    kept = spectrum[None, : positions.spectra.shape[1]]
    each = [correlate(r, kept, positions.angles) for r in positions.spectra]
    best = int(np.argmax([s[0] for s, _ in each]))
    assert positions.nearest[y, x] == best
    assert positions.similarity[y, x] == pytest.approx(each[best][0][0], abs=1e-3)
    assert apart(positions.turns[y, x], each[best][1][0]) < 0.1
    whole = to_polar(np.tensordot(MAPS[:, y, x], PATTERNS, 1)[None], MASK, CENTRE)
    share = norms(spectrum[None], positions.angles) / norms(spectra(whole, "none"), positions.angles)
    assert positions.share[y, x] == pytest.approx(share[0], rel=1e-3)
    np.testing.assert_allclose(norms(positions.spectra, positions.angles), 1, rtol=1e-4)


def test_a_field_of_glass_has_no_class() -> None:
    only = np.array([unit(GLASS * (1 + 0.1 * np.cos(2 * np.arctan2(KY, KX)))), GLASS], np.float32)
    for background in ((), (0, 1)):
        positions = found(np.ones((2, 24, 30), np.float32), only, background=background)
        labels, rotations = positions.at(0.25)
        assert (labels == -1).all()
        assert np.isnan(rotations).all()
        assert positions.merges.shape == (0, 7)
        assert len(positions.spectra) == 0


def test_one_position_is_one_class() -> None:
    positions = found(np.ones((1, 1, 1), np.float32), PATTERNS[:1])
    labels, rotations = positions.at(0.25)
    assert labels.tolist() == [[0]]
    assert apart(rotations[0, 0], 0) < 0.1
    assert positions.merges.shape == (0, 7)


def test_empty_positions_are_left_out() -> None:
    maps = MAPS.copy()
    maps[:, 5, 5] = 0
    assert found(maps, background=[6]).nearest[5, 5] == -1
    nothing = found(np.zeros_like(MAPS))
    assert (nothing.nearest == -1).all()
    assert (nothing.share == 0).all()


def test_the_same_seed_gives_the_same_result_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    one = found(background=[6], seed=3)
    monkeypatch.setenv("STEM4D_THREADS", "1")
    two = found(background=[6], seed=3)
    for name in ("nearest", "turns", "spectra", "merges"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert adjusted_rand_score(one.at(0.25)[0].ravel(), found(background=[6], seed=4).at(0.25)[0].ravel()) == 1


def test_counts_and_the_limit_on_representatives_hold() -> None:
    positions = found(background=[6], near=0.999, most=20)
    assert positions.size <= 20
    assert positions.counts.sum() == (positions.nearest >= 0).sum()
    np.testing.assert_array_equal(positions.counts, np.bincount(positions.nearest[positions.nearest >= 0]))
    assert (np.diff(positions.counts) <= 0).all()
    assert positions.at(2.0)[0].max() == 0


def test_the_tree_is_average_linkage_over_all_that_the_patterns_stand_for() -> None:
    rng = np.random.default_rng(0)
    images = np.array([crystal(k % 3, rng.uniform(0, 360)) + 0.002 * rng.random((N, N)) for k in range(7)])
    polar = to_polar(images, MASK, CENTRE)
    spectrum, angles = spectra(polar, "ring"), polar.values.shape[2]
    spectrum = spectrum / norms(spectrum, angles).astype(np.float32)[:, None, None]
    counts = np.array([3, 2, 2, 1, 1, 1, 1])
    merges = average_tree(spectrum, counts, angles)
    distances = np.maximum(1 - pairwise(spectrum, angles)[0], 0)
    each = np.repeat(np.arange(7), counts)
    full = hierarchy.linkage(squareform(distances[np.ix_(each, each)], checks=False), "average")
    np.testing.assert_allclose(merges[:, 2], full[len(each) - 7 :, 2], atol=1e-9)  # the first join copies, at 0
    assert merges[-1, 3] == 7
    assert (np.diff(merges[:, 2]) >= 0).all()
    assert sorted(merges[:, :2].ravel()) == list(range(12))
    assert (merges[:, 5:] == 0).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"^patterns: "):
        found(MAPS, PATTERNS[:3])
    with pytest.raises(DataError, match=r"^frames: "):
        found(frames=np.zeros((2, 2, N, N), np.float32))
    with pytest.raises(SettingError, match=r"^background: \(7,\).*0 to 6"):
        found(background=[7])
    with pytest.raises(SettingError, match=r"^most: 0"):
        found(most=0)
