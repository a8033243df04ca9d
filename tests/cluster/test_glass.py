"""What is set apart as glass: coherence of maps, anisotropy without the part that is noise, and the zone between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from stem4d_panel.analysis import Analysis
from stem4d_panel.cluster.glass import anisotropy, finest, map_coherence, set_apart
from stem4d_panel.cluster.grow import blur
from stem4d_panel.cluster.patterns import PatternSet
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

from .made import FIELD, SQUARE, A, N, X, Y, drawn, halo, particle, pattern, set_of, unit


def raw(images: list[np.ndarray], variance: np.ndarray | None = None) -> PatternSet:
    return set_of(images, variance, "none")


def test_a_particle_is_coherent_and_noise_is_not() -> None:
    grain = particle(18, 30, 4.0)
    noise = np.random.default_rng(0).random(FIELD)
    assert map_coherence(grain, 3) > 0.8
    assert abs(map_coherence(noise, 3)) < 0.1
    assert map_coherence(grain, 3) > map_coherence(grain + noise, 3) > map_coherence(noise, 3)
    assert map_coherence(1e-6 * grain, 3) == pytest.approx(map_coherence(grain, 3))
    assert map_coherence(grain + 5, 3) == pytest.approx(map_coherence(grain, 3))


def test_coherence_is_the_autocorrelation_at_the_distance() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(160, 170)), 2.0, mode="wrap")
    for distance in (2.0, 4.0, 6.0):
        # blurred white noise: the kernel's own autocorrelation; the ring of pixels is an average over about a pixel
        assert map_coherence(noise, distance) == pytest.approx(np.exp(-(distance**2) / 16), abs=0.06)


def test_an_even_map_has_no_coherence() -> None:
    for image in (np.zeros((8, 9)), np.full((8, 9), 7.3), np.ones((1, 1)), np.ones((1, 12))):
        assert map_coherence(image, 2) == 0


def test_anisotropy_is_none_for_a_halo_near_one_for_spots_and_known_for_a_mixture() -> None:
    assert anisotropy(raw([halo(), halo(7, 2)])).max() < 0.01
    assert anisotropy(raw([pattern(A)])) > 0.95
    spots, ring = unit(pattern(A)), unit(halo())
    both = raw([spots, ring, 0.3 * spots + 0.7 * ring])
    left = 0.3 * np.linalg.norm(both.spectrum[0, 1:]) * np.sqrt(2)
    mean = np.linalg.norm(0.3 * both.spectrum[0, 0] + 0.7 * both.spectrum[1, 0])
    assert anisotropy(both)[2] == pytest.approx(left / np.hypot(left, mean), abs=0.01)
    assert anisotropy(raw([np.zeros((N, N))])) == 0


@pytest.mark.parametrize(("counts", "most", "as_counted"), [(3000, 0.15, 0.4), (1000, 0.2, 0.6), (300, 0.3, 0.8)])
def test_noise_alone_makes_no_anisotropy(counts: float, most: float, as_counted: float) -> None:
    rng = np.random.default_rng(2)
    draws = [drawn(halo(), counts, rng) for _ in range(40)]
    images, variance = [image for image, _ in draws], np.array([v for _, v in draws])
    assert anisotropy(raw(images, variance)).mean() < most
    assert anisotropy(raw(images)).mean() > as_counted  # where the noise is not taken off


@pytest.mark.parametrize("spots", [SQUARE, A], ids=["lattice", "four spots"])
def test_spots_keep_their_anisotropy_under_noise(spots: list[tuple[float, float, float]]) -> None:
    rng = np.random.default_rng(3)
    clean = float(anisotropy(raw([pattern(spots)]))[0])
    for counts in (3000, 1000):
        draws = [drawn(pattern(spots), counts, rng) for _ in range(30)]
        found = anisotropy(raw([image for image, _ in draws], np.array([v for _, v in draws])))
        assert found.mean() == pytest.approx(clean, abs=0.03)


def mixtures() -> PatternSet:
    """Anisotropies below the limit, twice between the limits, and above both."""
    spots, ring = unit(pattern(A)), unit(halo())
    return raw([part * spots + (1 - part) * ring for part in (0.08, 0.2, 0.2, 0.8)])


def test_between_the_limits_the_map_decides_and_outside_it_does_not() -> None:
    patterns = mixtures()
    values = anisotropy(patterns)
    assert values[0] < 0.5 < values[1] == values[2] < 0.75 < values[3]
    speckle = np.random.default_rng(4).random(FIELD)
    grain = particle(20, 20, 4.0)
    found = set_apart(patterns, np.stack([grain, speckle, grain, speckle]), 1.0, 0.5, 0.5)
    np.testing.assert_array_equal(found.apart, [True, True, False, False])
    np.testing.assert_array_equal(found.anisotropy, values)
    assert found.coherence[[0, 2]].min() > 0.5 > found.coherence[[1, 3]].max()
    # the limits are the ones that are given
    assert not set_apart(patterns, np.stack([grain] * 4), 1.0, float(values[0]) - 0.01, 0.5).apart.any()
    assert set_apart(patterns, np.stack([grain] * 4), 1.0, 0.99, 0.5).apart.all()
    assert not set_apart(patterns, np.stack([speckle] * 4), 1.0, 0.5, -1.0).apart[1:].any()


def test_coherence_is_taken_at_three_times_the_resolution() -> None:
    one = raw([pattern(A)])
    fine = 1 + np.cos(2 * np.pi * X / 12) * np.cos(2 * np.pi * Y / 12)
    for resolution in (0.2, 1.0, 1.5):
        found = set_apart(one, fine[None], resolution, 0.5, 0.5).coherence[0]
        assert found == pytest.approx(map_coherence(fine, max(2.0, 3 * resolution)))
    assert set_apart(one, fine[None], 0.2, 0.5, 0.5).coherence > set_apart(one, fine[None], 1.5, 0.5, 0.5).coherence


@pytest.mark.parametrize("sigma", [1.0, 1.6, 3.0])
def test_the_finest_map_tells_the_blur(sigma: float) -> None:
    noise = np.random.default_rng(3).normal(size=(128, 128))
    maps = np.array([ndimage.gaussian_filter(noise, s, mode="wrap") for s in (sigma, 2 * sigma)])
    assert finest(maps) == pytest.approx(sigma, rel=0.08)


def test_an_unknown_probe_is_that_which_was_assumed_if_no_map_is_finer(small: Scan) -> None:
    known = Analysis(small, Settings.make({"rank": 3}), cache=Cache())
    assert blur(known.factors, known.frames) == known.frames.resolution > known.frames.smooth
    unknown = Analysis(Scan.from_array(np.asarray(small.data)), Settings.make({"rank": 3}), cache=Cache())
    frames, maps = unknown.frames, unknown.factors.maps
    assert frames.resolution == frames.smooth == 1.0
    noise = np.random.default_rng(5).normal(size=(3, 200, 200))
    for sigma, wanted in ((0.3, 1.0), (1.2, pytest.approx(1.2, rel=0.08)), (4.0, float(np.hypot(1.0, frames.probe)))):
        fine = ndimage.gaussian_filter(noise, (0, sigma, sigma), mode="wrap").astype(maps.dtype)
        assert blur(replace(unknown.factors, maps=fine), frames) == wanted


def test_the_halo_of_few_counts_is_glass_and_spots_of_few_counts_are_not() -> None:
    rng = np.random.default_rng(5)
    maps = np.stack([np.random.default_rng(6).random(FIELD), particle(20, 20, 4.0)])
    for counts in (2000, 700):
        draws = [drawn(halo(), counts, rng), drawn(pattern(SQUARE), counts, rng)]
        images, variance = [image for image, _ in draws], np.array([v for _, v in draws])
        np.testing.assert_array_equal(set_apart(raw(images, variance), maps, 1.0, 0.5, 0.5).apart, [True, False])
