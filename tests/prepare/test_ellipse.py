"""The ellipse of the glass ring: measured, told, corrected on the way, and what that restores."""

from __future__ import annotations

import numpy as np
import pytest
from distorted import sample_with_ellipse

from stem4d_panel.analysis import Analysis
from stem4d_panel.measure.recovery import recovery
from stem4d_panel.prepare.ellipse import measure_ellipse, stretch, undistorting_grid
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.sample import sample_scan

MIDDLE = (31.2, 32.7)


def ring(ratio: float, angle: float, spots: float = 0.0) -> np.ndarray:
    """A ring of radius 17 px on a falling background, stretched, with strong spots near the ring that are not."""
    y, x = np.tensordot(np.linalg.inv(stretch(ratio, angle)), np.indices((64, 66)) - np.array(MIDDLE)[:, None, None], 1)
    radius = np.hypot(y, x)
    image = np.exp(-(((radius - 17) / 3) ** 2)) + 3 * np.exp(-radius / 4) + 0.1
    for turn, distance in ((20, 15.5), (200, 15.5), (75, 18.5), (255, 18.5), (130, 16.0)):
        v, u = distance * np.sin(np.deg2rad(turn)), distance * np.cos(np.deg2rad(turn))
        ky, kx = np.indices(image.shape)
        image += spots * np.exp(-((ky - MIDDLE[0] - v) ** 2 + (kx - MIDDLE[1] - u) ** 2) / 2)
    return image


def away(angle: float, other: float) -> float:
    """Difference of two directions, degrees."""
    return abs((angle - other + 90) % 180 - 90)


@pytest.mark.parametrize("spots", [0.0, 1.0])
@pytest.mark.parametrize("angle", [0.0, 33.0, 90.0, 150.0])
@pytest.mark.parametrize("ratio", [1.01, 1.03, 1.1])
def test_ratio_and_direction_of_a_ring_are_found(ratio: float, angle: float, spots: float) -> None:
    found = measure_ellipse(ring(ratio, angle, spots), MIDDLE, 6.0)
    assert found is not None
    assert found.ratio == pytest.approx(ratio, abs=0.004 if spots else 0.001)
    assert away(found.angle, angle) < (12 if spots and ratio < 1.02 else 4 if spots else 2)
    assert found.radius == pytest.approx(17, abs=0.6)


def test_a_masked_sector_does_not_matter() -> None:
    image = ring(1.04, 60.0)
    image[28:35, :32] = np.nan  # a beam stop from one side
    image[:, :3] = np.nan
    found = measure_ellipse(image, MIDDLE, 6.0)
    assert found is not None
    assert found.ratio == pytest.approx(1.04, abs=0.002)
    assert away(found.angle, 60) < 2


def test_without_a_ring_nothing_is_measured() -> None:
    y, x = np.indices((64, 66))
    falling = np.exp(-np.hypot(y - MIDDLE[0], x - MIDDLE[1]) / 8)
    assert measure_ellipse(falling, MIDDLE, 6.0) is None
    assert measure_ellipse(np.full((64, 66), 2.0), MIDDLE, 6.0) is None
    assert measure_ellipse(np.full((9, 9), np.nan), (4, 4), 1.0) is None


def test_a_stretch_keeps_areas_and_lengthens_along_its_angle() -> None:
    matrix = stretch(1.21, 30.0)
    assert np.linalg.det(matrix) == pytest.approx(1)
    along = np.array([np.sin(np.deg2rad(30)), np.cos(np.deg2rad(30))])
    np.testing.assert_allclose(matrix @ along, 1.1 * along)
    grid = undistorting_grid((9, 9), (4.0, 4.0), 1.21, 0.0)
    np.testing.assert_allclose(grid[:, 4, 4], 4)
    np.testing.assert_allclose(grid[:, 4, 8], [4, 8.4], rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_sample_has_no_ellipse_and_is_left_alone(seed: int) -> None:
    look = Analysis(sample_scan(seed)).look
    assert look.ellipse is not None
    assert look.ellipse.ratio < 1.005
    assert look.undistort is None
    assert not any("ellipse" in w for w in look.warnings)


@pytest.mark.parametrize(("seed", "angle", "electrons"), [(0, 25, 400), (1, 110, 400), (2, 165, 100), (3, 70, 400)])
def test_an_ellipse_of_three_percent_is_found(
    monkeypatch: pytest.MonkeyPatch, seed: int, angle: float, electrons: float
) -> None:
    scan = sample_with_ellipse(monkeypatch, 1.03, angle, seed, electrons)
    look = Analysis(scan).look
    assert look.ellipse is not None
    assert look.ellipse.ratio == pytest.approx(1.03, abs=0.005)
    assert away(look.ellipse.angle, angle) < 6
    assert look.undistort == (look.ellipse.ratio, look.ellipse.angle)
    assert any("axis ratio" in w and "corrected" in w for w in look.warnings)
    kept = Analysis(scan, prepare__ellipse="off").look
    assert kept.undistort is None
    assert any("not corrected" in w for w in kept.warnings)
    stated = Analysis(scan, prepare__ellipse="given", prepare__ellipse_ratio=1.05, prepare__ellipse_angle=7.0).look
    assert stated.undistort == (1.05, 7.0)


def test_correcting_a_large_ellipse_restores_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = sample_with_ellipse(monkeypatch, 1.1, 70.0, 0)
    assert scan.truth is not None
    score = {}
    for way in ("off", "auto"):
        analysis = Analysis(scan, cache=Cache(), rank=14, prepare__ellipse=way)
        found = recovery(analysis.factors.maps, analysis.classes.labels, analysis.classes.rotations, scan.truth)
        assert found.ari_crystal is not None
        assert found.rotation_err_deg is not None
        score[way] = (found.ari_crystal, found.rotation_err_deg)
    assert score["auto"][0] == 1.0
    assert score["off"][0] < 0.95  # .88 seen
    assert score["auto"][1] < score["off"][1]
