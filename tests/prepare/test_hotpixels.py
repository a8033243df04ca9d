"""Hot and dead pixels: those that are there are found, none is invented, and a repair is the mean of sound neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.prepare.hotpixels import find_bad_pixels, repair

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
