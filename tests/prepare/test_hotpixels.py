"""Hot and dead pixels: those that are there are found, none is invented, and a repair is the mean of sound neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.prepare.hotpixels import BadPixels, find_bad_pixels, repair
from stem4d_panel.prepare.survey import survey_steps
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.sample import sample_scan
from stem4d_panel.scan.scan import Scan

POSITIONS = 600


def counted(expected: np.ndarray, seed: int) -> np.ndarray:
    """Mean of Poisson patterns with this expectation."""
    return np.random.default_rng(seed).poisson(expected * POSITIONS) / POSITIONS


def spots() -> np.ndarray:
    """Sharp spots on a ring, a beam and a faint background."""
    y, x = np.mgrid[:48, :48] - 23.5
    image = 0.02 + 40 / (1 + np.exp(4 * (np.hypot(y, x) - 3)))
    for angle in np.arange(6) * np.pi / 3 + 0.2:
        image += 3 * np.exp(-((y - 14 * np.sin(angle)) ** 2 + (x - 14 * np.cos(angle)) ** 2) / (2 * 0.8**2))
    return image


IMAGES = {
    "flat": np.full((48, 48), 5.0),
    "empty": np.zeros((48, 48)),
    "sparse": np.full((48, 48), 0.003),
    "spots": spots(),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", IMAGES)
def test_no_bad_pixel_is_invented(kind: str, seed: int) -> None:
    assert find_bad_pixels(counted(IMAGES[kind], seed), POSITIONS, 2.0).all.size == 0


@pytest.mark.parametrize("kind", ["flat", "sparse", "spots"])
def test_hot_pixels_are_found_wherever_they_lie(kind: str) -> None:
    mean = counted(IMAGES[kind], 0)
    planted = [(0, 0), (0, 20), (47, 47), (30, 8), (11, 37)]
    for y, x in planted:
        mean[y, x] = 10 * max(1.0, mean[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].max())
    found = find_bad_pixels(mean, POSITIONS, 2.0)
    assert {tuple(p) for p in found.hot.tolist()} == set(planted)
    assert found.dead.size == 0  # their neighbours stay sound


def test_dead_pixels_are_found_beside_a_hot_one() -> None:
    mean = counted(IMAGES["flat"], 0)
    mean[20, 20], mean[21, 20], mean[5, 47] = 0, 90, 0.5
    found = find_bad_pixels(mean, POSITIONS, 2.0)
    assert found.hot.tolist() == [[21, 20]]
    assert found.dead.tolist() == [[5, 47], [20, 20]]
    assert np.argwhere(found.mask(mean.shape)).tolist() == [[5, 47], [20, 20], [21, 20]]


def test_the_ratio_is_what_it_says() -> None:
    mean = np.full((20, 20), 100.0)
    mean[10, 10] = 290
    assert find_bad_pixels(mean, 10**6, 3.0).hot.size == 0
    assert find_bad_pixels(mean, 10**6, 2.8).hot.tolist() == [[10, 10]]


def test_a_repaired_pixel_is_the_mean_of_its_sound_neighbours() -> None:
    frames = np.arange(2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6) ** 2
    before = frames.copy()
    bad = np.array([[2, 2], [2, 3], [0, 0]])
    repair(frames, bad)
    sound = [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2), (3, 3)]
    np.testing.assert_allclose(frames[:, 2, 2], np.mean([before[:, y, x] for y, x in sound], axis=0), rtol=1e-6)
    np.testing.assert_allclose(frames[:, 0, 0], (before[:, 0, 1] + before[:, 1, 0] + before[:, 1, 1]) / 3, rtol=1e-6)
    untouched = np.ones((5, 6), bool)
    untouched[tuple(bad.T)] = False
    np.testing.assert_array_equal(frames[:, untouched], before[:, untouched])


def test_a_pixel_without_a_sound_neighbour_becomes_zero() -> None:
    frames = np.ones((1, 5, 5), np.float32)
    repair(frames, np.argwhere(np.ones((3, 3))) + 1)
    assert frames[0, 2, 2] == 0
    assert frames[0, 1, 1] == 1


def judged(counts: np.ndarray) -> BadPixels:
    survey = finish(survey_steps(Scan.from_array(counts)))
    return find_bad_pixels(survey.mean, counts.shape[0] * counts.shape[1], 2.0, survey)


def frames(kind: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(np.broadcast_to(IMAGES[kind], (20, 30, 48, 48))).astype(np.uint16)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", IMAGES)
def test_variances_invent_no_bad_pixel(kind: str, seed: int) -> None:
    assert judged(frames(kind, seed)).all.size == 0


def test_noisy_and_stuck_pixels_are_seen_by_their_variance() -> None:
    counts = frames("flat")
    counts[:, :, 10, 12] = np.where(np.random.default_rng(0).random((20, 30)) < 0.02, 200, counts[:, :, 10, 12])
    counts[:, :, 30, 40] = 5
    found = judged(counts)
    assert found.hot.tolist() == [[10, 12]]
    assert found.dead.tolist() == [[30, 40]]
    assert find_bad_pixels(counts.mean((0, 1)), POSITIONS, 2.0).all.size == 0  # the mean alone does not show them


def test_a_cosmic_ray_makes_no_hot_pixel() -> None:
    counts = frames("flat")
    counts[3, 4, 20, 20] = 60000
    counts[3, 4, 20, 21] = 900
    assert not [p for p in judged(counts).all.tolist() if p != [20, 20]]
    counts[3, 4, 20, 20] = 900  # not enough to move the mean
    assert judged(counts).all.size == 0


def test_a_crystal_at_a_few_positions_makes_no_hot_pixel() -> None:
    counts = frames("flat")
    ky, kx = np.indices((48, 48))
    spot = 400 * np.exp(-((ky - 14) ** 2 + (kx - 30) ** 2) / (2 * 0.8**2))
    counts[4:7, 5:9] += np.random.default_rng(1).poisson(spot, (3, 4, 48, 48)).astype(np.uint16)
    assert judged(counts).all.size == 0


@pytest.mark.parametrize("electrons", [30, 400, 5000])
def test_the_samples_hot_pixels_are_found_and_hardly_another(electrons: float) -> None:
    scan = sample_scan(4, electrons=electrons)
    assert scan.truth is not None
    bad = Analysis(scan).look.bad
    found, true = ({tuple(p) for p in pixels.tolist()} for pixels in (bad.all, scan.truth.hot_pixels))
    assert found >= true
    assert len(found - true) < 0.001 * 96 * 96


@pytest.mark.shared
@pytest.mark.parametrize("name", ["glass-a.hspy", "glass-a.blo"])
def test_the_hot_pixels_of_glass_a_are_found_and_no_other(shared_data: Path, name: str) -> None:
    true = np.load(shared_data / "glass-a" / "truth.npz")["hot_pixels"]
    assert sorted(Analysis(shared_data / "glass-a" / name).look.bad.all.tolist()) == sorted(true.tolist())
