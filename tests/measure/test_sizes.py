"""Sizes: particles of a map are measured apart from their neighbours, and counted once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.measure.shapes import SHAPES, Fit, draw
from stem4d_panel.measure.sizes import Particle, find_particles, find_steps, measure_map, size_statistics
from stem4d_panel.runtime.progress import Progress, finish

FWHM = math.sqrt(8 * math.log(2))
SIGMA = 1.6
SIZE = (40, 44)


def particles(
    *parts: tuple[float, float, float], heights: tuple[float, ...] = (1, 1, 1), shape: str = "sphere"
) -> np.ndarray:
    """Map of blurred particles (y, x, diameter); the heights are those before the blur."""
    y, x = (g.ravel() for g in np.indices(SIZE))
    image = np.zeros(y.size)
    for (v, u, diameter), height in zip(parts, heights, strict=False):
        volume = height * math.pi * diameter**2 / 6
        image += draw(Fit((v, u), diameter, 0, volume, 0, 0, at_probe_limit=False), y, x, SIGMA, shape)
    return image.reshape(SIZE)


def only(image: np.ndarray, shape: str = "sphere") -> Particle:
    found = find_particles(image[None], SIGMA, shape)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_particle_in_numbers(shape: str) -> None:
    found = only(particles((19.3, 22.6, 9.0), shape=shape) + 0.2, shape)
    assert found.diameter == pytest.approx(9, rel=0.01)
    assert found.centre == pytest.approx((19.3, 22.6), abs=0.03)
    assert found.residual is not None
    assert found.residual < 0.01
    assert (found.shape, found.at_probe_limit, found.touches_edge) == (shape, False, False)
    assert found.fwhm is not None
    assert found.equivalent == pytest.approx(found.fwhm, rel=0.03)
    if shape == "gaussian":
        blurred = math.hypot(9.0, FWHM * SIGMA)
        assert found.fwhm == pytest.approx(blurred, rel=0.02)
        assert found.autocorrelation == pytest.approx(blurred, rel=0.05)


def test_a_width_less_the_probe_in_quadrature_reads_low_where_the_fit_does_not() -> None:
    found = only(particles((20, 22, 12.5)))
    assert found.fwhm is not None
    plain = math.sqrt(found.fwhm**2 - (FWHM * SIGMA) ** 2)
    assert 0.7 < plain / 12.5 < 0.8
    assert found.diameter == pytest.approx(12.5, rel=0.01)


def test_the_floor_of_a_factorisation_does_not_spoil_a_diameter() -> None:
    """Cut off at zero, more than half of it zero, the rest small and smooth."""
    for seed in range(5):
        waves = gaussian_filter(np.random.default_rng(seed).normal(size=SIZE), 1.0)
        floor = 0.04 * np.maximum(waves / waves.std() - 0.3, 0)
        assert only(particles((20, 22, 10)) + floor).diameter == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(("second", "height"), [(12.0, 1.0), (9.0, 0.7), (12.0, 0.5)])
@pytest.mark.parametrize("gap", [4.0, 0.0])
def test_touching_particles_are_told_apart_and_do_not_spoil_each_other(
    second: float, height: float, gap: float
) -> None:
    away = 6 + second / 2 + gap
    image = particles((13, 13, 12), (13 + 0.6 * away, 13 + 0.8 * away, second), heights=(1, height))
    noise = np.random.default_rng(2).normal(scale=0.01, size=SIZE)
    found = find_particles((image + noise)[None], SIGMA)
    found = tuple(sorted(found, key=lambda p: p.centre))
    assert [p.diameter for p in found] == pytest.approx([12, second], rel=0.03)
    assert found[1].centre == pytest.approx((13 + 0.6 * away, 13 + 0.8 * away), abs=0.2)


def test_what_is_no_sphere_has_no_diameter() -> None:
    y, x = np.indices(SIZE)
    cross = np.where(
        (np.abs(y - 20) < 2) & (np.abs(x - 22) < 12) | (np.abs(x - 22) < 2) & (np.abs(y - 20) < 12), 1.0, 0.0
    )
    found = find_particles(gaussian_filter(cross, SIGMA)[None], SIGMA)
    assert all(p.residual is not None and p.residual > 0.2 for p in found)
    assert [(p.diameter, p.uncertainty, p.at_probe_limit) for p in found] == [(None, None, False)] * len(found)
    assert size_statistics(found)[0].unfitted == len(found) > 0


def test_particles_cut_by_the_edge_are_known_and_left_out_of_the_mean() -> None:
    parts = ((20.0, 14.0, 10.0), (1.0, 35.0, 10.0), (33.0, 32.0, 12.0))
    found = find_particles(particles(*parts)[None], SIGMA, label=3)
    assert sorted((round(p.centre[0]), p.touches_edge) for p in found) == [(1, True), (20, False), (33, False)]
    (numbers,) = size_statistics(found)
    assert (numbers.label, numbers.shape, numbers.count, numbers.at_edge) == (3, "sphere", 3, 1)
    assert numbers.mean == pytest.approx(11, rel=0.01)
    assert numbers.spread == pytest.approx(math.sqrt(2), rel=0.05)


def particle(label: int, diameter: float | None, *, limit: bool = False, edge: bool = False) -> Particle:
    return Particle(label, (0,), (0.0, 0.0), diameter, 0.1, 0.1, 5.0, 5.0, 5.0, limit, edge, "sphere")


def test_statistics_count_every_particle_once() -> None:
    given = [
        particle(1, 4.0),
        particle(0, 8.0),
        particle(1, 6.0),
        particle(1, 0.5, limit=True),
        particle(1, 0.5, limit=True, edge=True),
        particle(1, None),
        particle(2, None, edge=True),
    ]
    first, second, third = size_statistics(given)
    assert (first.count, first.mean, first.spread) == (1, 8.0, None)
    assert (second.count, second.at_edge, second.at_probe_limit, second.unfitted) == (5, 1, 1, 1)
    assert second.diameters.tolist() == [4.0, 6.0]
    assert (second.mean, second.spread) == (5.0, pytest.approx(math.sqrt(2)))
    assert (third.count, third.at_edge, third.mean, third.spread, len(third.diameters)) == (1, 1, None, None, 0)
    assert size_statistics([]) == ()


def test_components_belong_to_the_particles_they_make() -> None:
    core, rim = particles((12, 12, 6)), particles((12, 12, 12)) * 0.7
    far = particles((28, 32, 12)) + 0.02 * particles((12, 12, 12))
    glass = np.full(core.shape, 0.01)
    found = find_particles(np.stack([core, far, rim, glass]), SIGMA, members=(7, 2, 9, 4))
    assert sorted(p.members for p in found) in ([(2,), (7, 9)], [(2,), (9, 7)])
    assert {p.members for p in find_particles(np.stack([core, far]), SIGMA)} == {(0,), (1,)}


def test_the_search_tells_how_far_it_is_and_can_be_left() -> None:
    maps = particles((12, 12, 10), (28, 32, 10))[None]
    steps = find_steps(maps, SIGMA)
    first, second = next(steps), next(steps)
    assert (first.done, second.done, first.total) == (0, 1, second.total)
    steps.close()
    reports: list[Progress] = []
    assert finish(find_steps(maps, SIGMA), reports.append) == find_particles(maps, SIGMA)
    assert all(0 <= r.done < r.total for r in reports)


def test_a_mean_map_is_measured_by_its_highest_particle() -> None:
    image = particles((12, 12, 10), (28, 32, 10), heights=(1, 0.5))
    found = measure_map(image, SIGMA, label=2)
    assert found == find_particles(image[None], SIGMA, label=2)[0]
    assert found is not None
    assert found.diameter == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("image", [np.zeros((20, 20)), np.full((20, 20), 3.7), np.zeros((1, 1)), np.full((3, 3), -2.0)])
def test_an_even_map_holds_no_particle(image: np.ndarray) -> None:
    assert measure_map(image, SIGMA) is None
    assert find_particles(image[None], SIGMA) == ()


def test_too_few_positions_for_a_fit_leave_the_raw_widths() -> None:
    image = np.zeros((3, 3))
    image[1, 1] = 1
    found = measure_map(image, SIGMA)
    assert found is not None
    assert (found.diameter, found.uncertainty, found.residual) == (None, None, None)
    assert (found.centre, found.at_probe_limit, found.touches_edge) == ((1.0, 1.0), False, False)
    assert found.equivalent == pytest.approx(2 / math.sqrt(math.pi))


def test_a_single_bright_position_gives_no_size() -> None:
    image = np.zeros((30, 30))
    image[12, 17] = 100
    found = find_particles(image[None], SIGMA)
    assert len(found) == 1
    assert found[0].centre == pytest.approx((12, 17), abs=0.1)
    assert size_statistics(found)[0].mean is None


def test_what_cannot_be_measured_is_refused() -> None:
    image = particles((20, 22, 8))
    for sigma in (-1.0, math.nan, math.inf):
        with pytest.raises(SettingError, match="probe_sigma"):
            measure_map(image, sigma)
    with pytest.raises(SettingError, match=r"'cube'; one of sphere, disc, gaussian"):
        measure_map(image, SIGMA, "cube")
    with pytest.raises(DataError, match="finite"):
        measure_map(np.where(image > 0.5, np.nan, image), SIGMA)
    with pytest.raises(DataError, match="maps"):
        find_particles(image, SIGMA)
    with pytest.raises(DataError, match="maps"):
        find_particles(np.zeros((0, 5, 5)), SIGMA)
