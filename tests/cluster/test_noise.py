"""How much of a pattern is noise: against refits of many draws, through the whole chain, and in a similarity."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.cluster.noise import dispersion, pattern_noise
from stem4d_panel.cluster.patterns import compare, ring_power, unrotated
from stem4d_panel.cluster.place import centrosymmetry, two_lattices
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.prepare.rolling import smooth_over_scan
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan

from .made import MASK, OBLIQUE, SQUARE, A, drawn, halo, pattern, set_of, unit

DRAWS = 1500


def factors_of(maps: np.ndarray, patterns: np.ndarray, mask: np.ndarray) -> Factors:
    return Factors(maps.astype(np.float32), patterns.astype(np.float32), mask, 0.1, np.ones(1), 1, True, ())


def small_factors() -> Factors:
    """An even map and two particles that overlap, with patterns of random pixels around a masked middle."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:12, :14]
    mask = np.hypot(*(np.mgrid[:9, :9] - 4)) >= 1.5
    patterns = rng.random((3, 9, 9)) ** 2 * mask
    patterns /= patterns.sum((1, 2), keepdims=True)
    particles = [60 * np.exp(-((y - v) ** 2 + (x - u) ** 2) / 8) for v, u in ((4, 5), (7, 8))]
    return factors_of(np.array([20.0 + 0 * y, *particles]), patterns, mask)


def refitted(factors: Factors, smooth: float, gain: int = 1, maps: np.ndarray | None = None) -> np.ndarray:
    """Variance of the pixels over least-squares fits of many draws of the counts, shape (k, pixels)."""
    rng = np.random.default_rng(1)
    fitted = factors.maps if maps is None else maps
    expected = np.einsum("kyx,kp->yxp", factors.maps.astype(float), factors.patterns[:, factors.mask])
    solve = np.linalg.pinv(fitted.reshape(len(fitted), -1).T.astype(float))
    found = []
    for _ in range(DRAWS):
        counts = (gain * rng.poisson(expected / gain)).astype(np.float32)
        frames = smooth_over_scan(counts, smooth) if smooth > 0 else counts
        found.append(solve @ frames.reshape(solve.shape[1], -1))
    return np.asarray(np.var(found, axis=0, ddof=1))


@pytest.mark.parametrize(("smooth", "gain"), [(0.0, 1), (0.0, 4), (0.8, 1)])
def test_the_variance_is_that_of_refits_of_many_draws(smooth: float, gain: int) -> None:
    factors = small_factors()
    ratio = refitted(factors, smooth, gain) / pattern_noise(factors, smooth, gain)[:, factors.mask]
    chance = np.sqrt(2 / DRAWS)  # standard error of a variance
    assert ratio.mean(axis=1) == pytest.approx(1, abs=0.02)
    assert ratio.std() < 1.2 * chance
    assert np.abs(ratio - 1).max() < 5 * chance


def test_the_variance_holds_for_maps_that_bear_the_blur() -> None:
    factors = small_factors()
    maps = smooth_over_scan(factors.maps.transpose(1, 2, 0), 0.8).transpose(2, 0, 1)
    found = refitted(factors, 0.8, maps=maps).sum(axis=1)
    expected = pattern_noise(factors_of(maps, factors.patterns, factors.mask), 0.8).sum(axis=(1, 2))
    assert found / expected == pytest.approx(1, abs=0.08)  # the counts' expectation is taken to be blurred, too


def test_masked_pixels_have_no_noise_and_an_empty_component_does_not_touch_the_others() -> None:
    factors = small_factors()
    assert not pattern_noise(factors)[:, ~factors.mask].any()
    maps = factors.maps.copy()
    maps[1] = 0
    noise = pattern_noise(factors_of(maps, factors.patterns, factors.mask), 1.0)
    assert np.isfinite(noise).all()
    alone = pattern_noise(factors_of(maps[[0, 2]], factors.patterns[[0, 2]], factors.mask), 1.0)
    np.testing.assert_allclose(noise[[0, 2]], alone, rtol=1e-6)


def test_components_whose_maps_are_alike_are_noisier_than_those_apart() -> None:
    factors = small_factors()
    maps = factors.maps.copy()
    maps[2] = 0.9 * maps[1] + 0.1 * maps[2]
    alike = pattern_noise(factors_of(maps, factors.patterns, factors.mask)).sum(axis=(1, 2))
    assert (alike[1:] > 10 * pattern_noise(factors).sum(axis=(1, 2))[1:]).all()


# -- the dispersion of the counts


@cache
def counted(gain: int, structure: bool = False) -> Scan:
    """Poisson counts of a halo, a beam and two crystals, 18 × 22 × 32 × 32, times `gain`; or of what no rank holds."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:18, :22]
    ky, kx = np.mgrid[:32, :32] - 15.5
    radius = np.hypot(ky, kx)
    expected = np.full((18, 22, 32, 32), 0.1) + 2 * np.exp(-((radius - 9) ** 2) / 8)
    expected += 900 / (1 + np.exp(3 * (radius - 2.5)))
    for v, u, fold, length, turn in ((5, 5, 4, 8.0, 10), (12, 15, 6, 11.0, 25)):
        grain = np.clip(1 - np.hypot(y - v, x - u) / 4, 0, None)[..., None, None]
        for phi in np.deg2rad(turn + np.arange(fold) * 360 / fold):
            expected += 60 * grain * np.exp(-((ky - length * np.sin(phi)) ** 2 + (kx - length * np.cos(phi)) ** 2) / 2)
    if structure:
        expected *= rng.uniform(0.4, 1.6, expected.shape)
    data = (gain * rng.poisson(expected)).astype(np.uint16)
    return Scan.from_array(data, scan_step=0.5, detector_step=0.3, voltage=300, convergence=1.5, name=f"counted {gain}")


def found_dispersion(scan: Scan, **changes: Any) -> float:
    analysis = Analysis(scan, cache=Cache(), **({"prepare__centre": "off", "rank": 4} | changes))
    return dispersion(analysis.factors, analysis.frames)


@pytest.mark.parametrize("changes", [{}, {"prepare__smooth": 0.0}, {"prepare__noise": "off"}])
def test_the_dispersion_of_poisson_counts_is_one_and_of_multiplied_ones_the_factor(changes: dict[str, Any]) -> None:
    one = found_dispersion(counted(1), **changes)
    assert one == pytest.approx(0.96, abs=0.05)  # the fit takes a part of the noise with it
    assert found_dispersion(counted(4), **changes) == pytest.approx(4 * one, rel=0.01)


def test_resampling_lowers_the_dispersion_and_what_no_component_holds_raises_it(small: Scan) -> None:
    moved = {"prepare__centre": "quadratic", "rank": 6}  # by parts of a pixel
    assert 0.5 < found_dispersion(small, prepare__align="bilinear", **moved) < 0.8
    assert 0.2 < found_dispersion(small, prepare__align="even", **moved) < 0.5
    assert found_dispersion(counted(1, structure=True), prepare__smooth=0.0) > 1.08


# -- in a similarity


def test_the_power_of_noise_on_the_rings_is_the_expected_one() -> None:
    rng = np.random.default_rng(0)
    for image in (np.where(MASK, 1.0, 0.0), halo()):
        draws = [drawn(image, 3000, rng) for _ in range(60)]
        patterns = set_of([image for image, _ in draws], np.array([variance for _, variance in draws]))
        power = ring_power(patterns.spectrum, patterns.angles)
        assert power.sum() / patterns.noise.sum() == pytest.approx(1, abs=0.05)


@cache
def equal_pairs(counts: float) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of a lattice and itself turned, both of so many counts: with the noise known, and without."""
    rng = np.random.default_rng(3)
    known, unknown = np.empty(40), np.empty(40)
    for i in range(40):
        images = [0.85 * unit(pattern(SQUARE, turn)) + 0.15 * unit(halo()) for turn in (0, rng.uniform(0, 90))]
        one, two = (drawn(image, counts, rng) for image in images)
        for out, variance in ((known, np.array([one[1], two[1]])), (unknown, None)):
            pair = set_of([one[0], two[0]], variance)
            out[i] = compare(pair[[0]], pair[[1]])[0][0]
    return known, unknown


@pytest.mark.parametrize(("counts", "most_uncorrected"), [(1e5, 0.995), (3000, 0.85), (1000, 0.65)])
def test_equal_patterns_are_alike_at_any_dose(counts: float, most_uncorrected: float) -> None:
    known, unknown = equal_pairs(counts)
    assert known.mean() == pytest.approx(1, abs=0.16)
    assert np.minimum(known, 1).mean() > 0.97
    assert unknown.mean() < most_uncorrected


def test_the_mean_similarity_of_equal_patterns_is_one() -> None:
    for counts in (3000, 1000):
        assert equal_pairs(counts)[0].mean() == pytest.approx(1, abs=0.03)


def test_noise_is_not_corrected_into_a_likeness() -> None:
    rng = np.random.default_rng(4)
    for counts in (3000, 300):
        draws = [drawn(halo(), counts, rng) for _ in range(30)]
        patterns = set_of([image for image, _ in draws], np.array([variance for _, variance in draws]))
        assert np.median(compare(patterns[[0]], patterns[1:])[0]) < 0.5


def test_noise_does_not_make_a_symmetric_pattern_a_mirrored_one() -> None:
    rng = np.random.default_rng(8)
    for counts in (300, 3000):
        for spots, flip in ((SQUARE, False), (A, True)):
            wrong = 0
            for _ in range(15):
                images = [0.85 * unit(pattern(spots, t, m)) + 0.15 * unit(halo()) for t, m in ((0, False), (35, flip))]
                draws = [drawn(image, counts, rng) for image in images]
                pair = set_of([image for image, _ in draws], np.array([variance for _, variance in draws]))
                wrong += int(compare(pair[[0]], pair[[1]], mirror=True)[2][0] != flip)
            assert wrong == 0


def test_two_lattices_are_told_apart_at_low_counts_too() -> None:
    rng = np.random.default_rng(9)
    images = [pattern(SQUARE, 12), pattern(OBLIQUE, 40)]
    kept = raw = 0
    for _ in range(10):
        draws = [drawn(image, 600, rng) for image in images]
        pair = set_of([image for image, _ in draws], np.array([variance for _, variance in draws]))
        symmetry = centrosymmetry(pair.spectrum)
        together = unrotated(pair)
        raw += int(two_lattices(together, np.ones(2), symmetry)[0, 1])
        kept += int(two_lattices(together, np.ones(2), symmetry / pair.signal())[0, 1])
    assert kept == 10
    assert raw < 5
