"""The direct beam is found and followed over the scan."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.prepare.centre import Beam, Descan, descan_steps, find_beam
from stem4d_panel.prepare.hotpixels import NO_BAD_PIXELS
from stem4d_panel.prepare.surface import Surface, fit_surface
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.scan import Scan

NY, NX, K = 14, 17, 40
V, U = np.meshgrid(np.linspace(-1, 1, NY), np.linspace(-1, 1, NX), indexing="ij")
PLANE = np.stack([19 + 1.3 * V - 0.8 * U, 20.4 - 0.5 * V + 1.6 * U])
QUADRATIC = PLANE + np.stack([0.9 * V * V - 0.7 * U * V, 0.8 * U * U + 0.5 * V * U])


def disc(centre: np.ndarray, radius: float = 4.0) -> np.ndarray:
    """Soft discs at centres (2, ...), shape (..., K, K)."""
    k = np.arange(K)
    distance = np.hypot(k[:, None] - centre[0][..., None, None], k - centre[1][..., None, None])
    return 1 / (1 + np.exp(4 * (distance - radius)))


def moving(surface: np.ndarray, crystals: bool = False) -> Scan:
    """Poisson counts of a disc that follows `surface`, with a halo, and crystals that spread spots beside the disc."""
    expected = 40 * disc(surface) + 0.1
    if crystals:
        for block, (dy, dx), height in (
            (np.s_[2:6, 3:8], (9, 3), 40),
            (np.s_[8:13, 9:15], (-4, 9), 60),
            (np.s_[1:4, 11:16], (8, -5), 40),
        ):
            spot = surface + np.array([dy, dx])[:, None, None]
            expected[block] += height * disc(spot, 2.5)[block]
    return Scan.from_array(np.random.default_rng(2).poisson(expected).astype(np.uint16))


def follow(scan: Scan, surface: Surface) -> Descan:
    beam = find_beam(scan.data.mean((0, 1)))
    assert beam is not None
    return finish(descan_steps(scan, beam, NO_BAD_PIXELS.all, surface))


def rms(descan: Descan, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((descan.fitted - truth) ** 2)))


@pytest.mark.parametrize("centre", [(20.0, 20.0), (17.3, 22.8), (12.45, 25.1)])
def test_the_beam_is_found_in_the_mean_pattern(centre: tuple[float, float]) -> None:
    image = 50 * disc(np.array(centre)) + 0.2
    beam = find_beam(image)
    assert beam is not None
    np.testing.assert_allclose(beam.centre, centre, atol=0.03)
    assert beam.radius == pytest.approx(4, abs=0.5)


def test_no_beam_is_seen_where_none_is() -> None:
    assert find_beam(np.full((K, K), 3.0)) is None
    assert find_beam(np.zeros((K, K))) is None
    assert find_beam(np.random.default_rng(0).poisson(30, (K, K)).astype(float)) is None


@pytest.mark.parametrize("crystals", [False, True])
@pytest.mark.parametrize(("surface", "truth"), [("plane", PLANE), ("quadratic", PLANE), ("quadratic", QUADRATIC)])
def test_descan_is_recovered(surface: Surface, truth: np.ndarray, crystals: bool) -> None:
    found = follow(moving(truth, crystals), surface)
    assert rms(found, truth) < 0.05
    np.testing.assert_allclose(found.centre, truth.mean((1, 2)), atol=0.03)


def test_noise_alone_leaves_the_expected_residual() -> None:
    found = follow(moving(QUADRATIC), "quadratic")
    assert found.residual == pytest.approx(found.expected_residual, rel=0.25)


def test_a_surface_that_cannot_follow_shows_in_the_residual() -> None:
    found = follow(moving(QUADRATIC), "plane")
    assert found.residual > 3 * found.expected_residual
    assert rms(found, QUADRATIC) > 0.2


@pytest.mark.parametrize("surface", ["constant", "off"])
def test_a_constant_centre_moves_nothing(surface: Surface) -> None:
    found = follow(moving(PLANE), surface)
    assert np.ptp(found.fitted, axis=(1, 2)).max() == 0
    np.testing.assert_allclose(found.centre, PLANE.mean((1, 2)), atol=0.1)
    assert np.nanmax(np.abs(found.measured - PLANE)) < 1  # what was measured is still told


def test_positions_without_counts_do_not_pull_the_surface() -> None:
    scan = moving(PLANE)
    scan.data[4:7, 5:9] = 0
    found = follow(scan, "plane")
    assert np.isnan(found.measured[:, 5, 6]).all()
    assert rms(found, PLANE) < 0.05


def test_outliers_do_not_pull_the_surface() -> None:
    measured = QUADRATIC + np.random.default_rng(0).normal(0, 0.02, QUADRATIC.shape)
    measured[:, 2:5, 2:6] += 3
    measured[:, 9, 9] = np.nan
    assert np.sqrt(np.mean((fit_surface(measured, "quadratic") - QUADRATIC) ** 2)) < 0.03


def test_a_beam_as_large_as_the_detector_is_still_measured() -> None:
    k = np.arange(14)
    image = 50 / (1 + np.exp(4 * (np.hypot(k[:, None] - 6.5, k - 6.5) - 4)))
    scan = Scan.from_array(np.broadcast_to(image, (3, 3, 14, 14)).astype(np.float32))
    found = finish(descan_steps(scan, Beam((6.5, 6.5), 4.0), NO_BAD_PIXELS.all, "constant"))
    np.testing.assert_allclose(found.measured, 6.5, atol=0.02)
