"""Maps no finer than the probe, patterns without holes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stem4d_panel.factorize.constraints import NoHoles, Resolution
from stem4d_panel.prepare.rolling import gaussian_matrix


def test_the_blur_is_a_gaussian_that_keeps_an_even_map() -> None:
    matrix = gaussian_matrix(40, 1.5)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    point = np.zeros(40)
    point[20] = 1
    np.testing.assert_allclose(matrix @ point, gaussian_filter(point, 1.5, truncate=6), atol=1e-3)


def test_a_limited_map_holds_nothing_beyond_the_resolution() -> None:
    maps = np.random.default_rng(0).random((32 * 40, 3), dtype=np.float32)
    limited = Resolution(np.ones((32, 40), bool), 2.0)(maps)
    assert limited.min() >= 0
    spectrum = np.abs(np.fft.rfft2(limited.T.reshape(3, 32, 40)))
    q = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(40)[None])
    assert spectrum[:, q > 0.3].max() < 0.01 * spectrum[:, q < 0.02].max()
    raw = np.abs(np.fft.rfft2(maps.T.reshape(3, 32, 40)))
    assert raw[:, q > 0.3].max() > 5 * spectrum[:, q > 0.3].max()


@pytest.mark.parametrize("part", [0.0, 0.3, 1.0])
def test_strength_and_ramp_mix_the_limited_and_the_free_map(part: float) -> None:
    maps = np.random.default_rng(0).random((8 * 9, 2), dtype=np.float32)
    shape = np.ones((8, 9), bool)
    full = Resolution(shape, 1.0)(maps)
    for found in (Resolution(shape, 1.0, strength=part)(maps), Resolution(shape, 1.0)(maps, part)):
        np.testing.assert_allclose(found, maps + part * (full - maps), rtol=1e-5)


def test_a_noise_scaling_does_not_change_what_is_limited() -> None:
    rng = np.random.default_rng(0)
    maps, scale = rng.random((8 * 9, 2), dtype=np.float32), rng.uniform(0.5, 2, 72).astype(np.float32)
    shape = np.ones((8, 9), bool)
    found = Resolution(shape, 1.0, scale)(maps / scale[:, None]) * scale[:, None]
    np.testing.assert_allclose(found, Resolution(shape, 1.0)(maps), rtol=1e-5)


def test_a_missing_position_takes_and_gives_nothing() -> None:
    positions = np.ones((9, 9), bool)
    positions[4, 4] = False
    np.testing.assert_allclose(Resolution(positions, 1.5)(np.ones((80, 1), np.float32)), 1, rtol=1e-5)


def ring_pattern() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices((41, 41)) - 20
    radius = np.hypot(y, x)
    rings = np.round(radius).astype(int).ravel()
    return rings, np.exp(-(((radius - 12) / 4) ** 2)).ravel().astype(np.float32)


def test_a_hole_in_a_halo_is_filled_to_its_ring() -> None:
    rings, halo = ring_pattern()
    dark = halo.copy()
    hole = np.flatnonzero(rings == 12)[5:9]
    dark[hole] *= 0.2
    filled = NoHoles(rings)(dark[:, None])[:, 0]
    np.testing.assert_allclose(filled[hole], halo[hole], rtol=0.1)
    kept = np.ones(len(halo), bool)
    kept[hole] = False
    np.testing.assert_allclose(filled[kept], halo[kept], atol=0.1)  # a ring is a pixel wide, and this halo steep


def test_the_dark_between_the_spots_of_a_crystal_stays() -> None:
    rings, _ = ring_pattern()
    spots = np.zeros((len(rings), 1), np.float32)
    spots[np.flatnonzero(rings == 12)[::12]] = 1
    np.testing.assert_array_equal(NoHoles(rings)(spots), spots)


def test_filling_lowers_nothing_and_does_not_depend_on_the_scaling() -> None:
    rings, _ = ring_pattern()
    rng = np.random.default_rng(0)
    patterns, scale = rng.random((len(rings), 3), dtype=np.float32), rng.uniform(0.5, 2, len(rings)).astype(np.float32)
    filled = NoHoles(rings)(patterns)
    assert (filled >= patterns).all()
    assert (filled > patterns).any()
    scaled = NoHoles(rings, scale)(patterns / scale[:, None]) * scale[:, None]
    np.testing.assert_allclose(scaled, filled, rtol=1e-5)
    np.testing.assert_array_equal(NoHoles(rings, strength=0.0)(patterns), patterns)
