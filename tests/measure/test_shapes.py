"""Shapes: blurred profiles are right, and diameters of known shapes come back with honest errors, apart from the probe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import simpson
from scipy.ndimage import gaussian_filter

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.measure.shapes import SHAPES, Fit, blurred_profile, draw, fit_particle

FINE = 5  # samples a scan pixel; odd, so that one lies on the position
FWHM = math.sqrt(8 * math.log(2))
SIGMA = 1.6
CENTRE = (15.4, 17.6)  # lies on a fine sample
SIZE = (32, 34)


def thickness(shape: str, diameter: float, r: np.ndarray) -> np.ndarray:
    if shape == "disc":
        return np.clip((diameter / 2 - r) * FINE + 0.5, 0, 1)  # a soft rim of one sample
    if shape == "gaussian":
        return np.exp(-4 * math.log(2) * (r / diameter) ** 2)
    return np.maximum(1 - (2 * r / diameter) ** 2, 0) ** (0.5 if shape == "sphere" else 1)


def particle(diameter: float, shape: str = "sphere", sigma: float = SIGMA) -> np.ndarray:
    """Map of one particle, made on a fine grid and blurred there."""
    margin = 8
    y, x = (np.arange(-margin * FINE, (n + margin) * FINE) / FINE - c for n, c in zip(SIZE, CENTRE, strict=True))
    field = gaussian_filter(thickness(shape, diameter, np.hypot(y[:, None], x)), sigma * FINE, truncate=5)
    return np.asarray(field[::FINE, ::FINE][margin:-margin, margin:-margin])


def noisy(image: np.ndarray, level: float, seed: int, smooth: float = 0.0) -> np.ndarray:
    """Noise of a standard deviation `level` times the range, white or smoothed."""
    noise = np.random.default_rng(seed).normal(size=(image.shape[0] + 16, image.shape[1] + 16))
    if smooth:
        noise = gaussian_filter(noise, smooth)
        noise /= noise.std()
    return np.asarray(image + level * np.ptp(image) * noise[8:-8, 8:-8])


def fit(image: np.ndarray, shape: str = "sphere", sigma: float = SIGMA) -> Fit:
    found = fit_particle(image, np.ones(image.shape, bool), sigma, shape)
    assert found is not None
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [0.0, 0.3, 2.0, 8.0, 40.0])
def test_a_blurred_shape_keeps_its_integral_and_adds_its_variance(shape: str, radius: float) -> None:
    end = radius * (4 if shape == "gaussian" else 1) + 9
    r = np.linspace(0, end, 801)
    ring = 2 * np.pi * r * blurred_profile(r, radius, shape)[0]
    # mean square distance in squared radii
    own = {"sphere": 2 / 5, "disc": 1 / 2, "gaussian": 2 * (2 / FWHM) ** 2, "sphere-squared": 1 / 3}[shape]
    assert simpson(ring, x=r) == pytest.approx(1, rel=1e-5)
    assert simpson(ring * r**2, x=r) == pytest.approx(2 + own * radius**2, rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [0.4, 3.0, 12.0])
def test_the_derivative_by_the_radius_is_one(shape: str, radius: float) -> None:
    r, step = np.linspace(0, 20, 81), 1e-4
    up, down = (blurred_profile(r, radius + s, shape)[0] for s in (step, -step))
    slope = blurred_profile(r, radius, shape)[1]
    assert np.allclose(slope, (up - down) / (2 * step), rtol=1e-4, atol=1e-7 * np.abs(slope).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("diameter", "sigma"), [(4.0, 1.6), (12.5, 1.66), (13.0, 0.8)])
def test_a_diameter_comes_back(shape: str, diameter: float, sigma: float) -> None:
    image = particle(diameter, shape, sigma)
    found = fit(image + 0.2, shape, sigma)
    assert found.diameter == pytest.approx(diameter, rel=0.01)
    assert found.centre == pytest.approx(CENTRE, abs=0.03)
    assert found.background == pytest.approx(0.2, abs=0.01)
    assert found.residual < 0.01
    assert not found.at_probe_limit
    y, x = (g.ravel() for g in np.indices(SIZE))
    assert np.abs(draw(found, y, x, sigma, shape) - image.ravel()).max() < 0.03


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_under_noise_it_is_unbiased_and_its_error_honest(shape: str, smooth: float) -> None:
    diameter = 9.0
    clean = particle(diameter, shape)
    found = [fit(noisy(clean, 0.04, seed, smooth), shape) for seed in range(16)]
    off = np.array([f.diameter for f in found]) - diameter
    errors = off / [f.uncertainty for f in found]
    assert abs(off.mean()) < 0.02 * diameter
    assert 0.7 < errors.std() < 1.4
    assert abs(errors.mean()) < 0.6


def test_blurs_add_in_quadrature_and_one_left_out_is_read_as_size() -> None:
    probe, smooth, limit = 1.3, 1.0, 1.0
    for diameter in (5.0, 12.0):
        image = gaussian_filter(particle(diameter, sigma=probe), math.hypot(smooth, limit), truncate=6)
        assert fit(image, sigma=math.hypot(probe, smooth, limit)).diameter == pytest.approx(diameter, rel=0.01)
        assert fit(image, sigma=math.hypot(probe, smooth)).diameter > 1.01 * diameter
    point = gaussian_filter(particle(0.4, sigma=probe), limit)
    assert not fit(point, sigma=probe).at_probe_limit
    assert fit(point, sigma=math.hypot(probe, limit)).at_probe_limit


@pytest.mark.parametrize("shape", SHAPES)
def test_a_particle_below_half_the_width_of_the_probe_is_at_its_limit(shape: str) -> None:
    probe = FWHM * SIGMA
    below = 0.3 if shape == "gaussian" else 0.5
    for part, limit in [(0.02, True), (0.25, True), (below, True), (1.5, False), (3.0, False)]:
        clean = particle(part * probe, shape)
        for seed in range(2):
            found = fit(noisy(clean, 0.01, seed), shape)
            assert found.at_probe_limit == limit, (part, seed, found)
            size, error = found.diameter, found.uncertainty
            one = (size + error) ** 2 - size**2  # errors are even in the square
            assert abs(size**2 - (part * probe) ** 2) < 4 * one


def test_what_noise_hides_is_at_the_limit_though_its_best_size_is_not() -> None:
    clean = particle(3.5)
    assert not fit(clean).at_probe_limit
    assert any(fit(noisy(clean, 0.1, seed)).at_probe_limit for seed in range(6))


def test_the_right_shape_leaves_the_least() -> None:
    for true in SHAPES:
        image = noisy(particle(13.0, true, 1.0), 0.01, 3)
        left = {shape: fit(image, shape, 1.0).residual for shape in SHAPES}
        assert min(left, key=lambda s: left[s]) == true


def test_where_the_intensity_goes_with_the_square_of_the_thickness_a_sphere_reads_low() -> None:
    for diameter in (8.0, 13.0):
        assert fit(particle(diameter, "sphere-squared")).diameter == pytest.approx(0.89 * diameter, rel=0.02)


def test_unit_offset_and_orientation_of_the_map_do_not_matter() -> None:
    image = noisy(particle(10.0), 0.02, 1)
    plain = fit(image)
    for changed in (image * 1e6, image * 1e-9, image + 5, image.T, image[::-1]):
        other = fit(changed)
        assert other.diameter == pytest.approx(plain.diameter, rel=1e-3)
        assert other.uncertainty == pytest.approx(plain.uncertainty, rel=1e-2)
    assert fit(image * 1e6).total == pytest.approx(plain.total * 1e6, rel=1e-3)
    assert fit(image.T).centre == pytest.approx(plain.centre[::-1], abs=0.01)


def test_only_the_window_counts() -> None:
    image = particle(8.0)
    window = np.hypot(*(np.indices(SIZE) - np.reshape(CENTRE, (2, 1, 1)))) < 11
    found = fit_particle(np.where(window, image, 7.0), window, SIGMA)
    assert found is not None
    assert found.diameter == pytest.approx(8, rel=0.01)


def test_a_probe_of_no_width_is_taken_for_a_scan_pixel() -> None:
    image = particle(12, sigma=0.3)
    assert fit(image, sigma=0.0).diameter == pytest.approx(12, rel=0.02)
    assert fit(image, sigma=0.0) == fit(image, sigma=12**-0.5)


@pytest.mark.parametrize("image", [np.zeros((20, 20)), np.full((20, 20), 3.7), np.eye(3), np.zeros((0, 5))])
def test_an_even_map_or_too_few_positions_give_no_fit(image: np.ndarray) -> None:
    assert fit_particle(image, np.ones(image.shape, bool), SIGMA) is None


def test_what_cannot_be_fitted_is_refused() -> None:
    image = particle(8)
    for sigma in (-1.0, math.nan, math.inf):
        with pytest.raises(SettingError, match="probe_sigma"):
            fit(image, sigma=sigma)
    with pytest.raises(SettingError, match=r"'cube'; one of sphere, disc, gaussian, sphere-squared"):
        fit(image, "cube")
    for wrong in (np.where(image > 0.5, np.nan, image), image[None]):
        with pytest.raises(DataError, match="finite"):
            fit(wrong)
    with pytest.raises(DataError, match="window"):
        fit_particle(image, np.ones((3, 3), bool), SIGMA)
