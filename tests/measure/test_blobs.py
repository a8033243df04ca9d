"""Blobs: particles are told from each other and from noise, and their widths are read as they stand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.measure.blobs import autocorrelation_width, background, blob, label_particles, width_at_half

FWHM = math.sqrt(8 * math.log(2))
Y, X = np.mgrid[:40.0, :44.0]


def bump(y: float, x: float, sigma: float = 3.0, height: float = 1.0) -> np.ndarray:
    return np.asarray(height * np.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * sigma**2)))


def test_the_background_is_read_beside_particles() -> None:
    noise = np.random.default_rng(0).normal(scale=0.02, size=Y.shape)
    level, spread = background(3 + bump(12, 12) + bump(28, 30) + noise)
    assert level == pytest.approx(3, abs=0.02)
    assert spread == pytest.approx(0.02, rel=0.5)


def test_a_dip_in_a_particle_does_not_split_it() -> None:
    dip = 0.05 * np.exp(-((X - 22) ** 2) / 2)
    assert label_particles(bump(20, 22) * (1 - dip)).max() == 1
    assert label_particles(bump(20, 22) * (1 - 8 * dip)).max() == 2
    assert label_particles(bump(20, 22) * (1 - 8 * dip), prominence=0.8).max() == 1


def test_the_floor_of_a_factorisation_holds_no_particles() -> None:
    """Cut off at zero, more than half of it zero, the rest small and smooth."""
    for seed in range(5):
        waves = gaussian_filter(np.random.default_rng(seed).normal(size=Y.shape), 1.0)
        assert label_particles(bump(20, 22) + 0.04 * np.maximum(waves / waves.std() - 0.3, 0)).max() == 1


def test_white_noise_alone_holds_no_particle() -> None:
    for seed in range(10):
        noise = np.random.default_rng(seed).normal(size=(60, 60))
        assert label_particles(noise).max() == 0


@pytest.mark.parametrize("image", [np.zeros((20, 20)), np.full((20, 20), 3.7), np.zeros((1, 1)), np.full((3, 3), -2.0)])
def test_an_even_map_holds_no_particle(image: np.ndarray) -> None:
    assert label_particles(image).tolist() == np.zeros(image.shape).tolist()


def test_labels_number_the_particles_from_the_highest() -> None:
    image = bump(10, 10, height=0.6) + bump(28, 30) + bump(10, 32, height=0.2)
    labels = label_particles(image)
    assert (labels[28, 30], labels[10, 10], labels[10, 32], labels[39, 0]) == (1, 2, -1, 0)
    assert label_particles(image, level=0.1)[10, 32] == 3
    assert np.array_equal(label_particles(image * 1e-9 + 5e-9), labels)


def test_a_blob_holds_its_basin_and_background_without_other_basins() -> None:
    image = bump(15, 15) + bump(15, 26, height=0.8)
    labels = label_particles(image)
    found = blob(image, labels, 2, background(image)[0], reach=6.5)
    window, core = np.zeros((2, *image.shape), bool)
    window[found.box], core[found.box] = found.window, found.core
    assert found.top == (15, 26)
    assert not found.cut
    assert core[15, 26]
    assert core[15, 29]
    assert not core[15, 30]  # its half width is 3.5
    assert not (window & (labels == 1)).any()
    assert (core & window).sum() == core.sum()
    assert window[15, 35]
    assert not window[15, 37]


def test_a_blob_that_the_edge_cuts_is_known() -> None:
    for y, x, cut in ((1, 20, True), (20, 43, True), (4, 20, False)):
        image = bump(y, x)
        assert blob(image, label_particles(image), 1, 0.0, reach=5).cut == cut


def test_the_raw_widths() -> None:
    everywhere = np.ones(Y.shape, bool)
    gauss = bump(19.6, 22.3)
    assert width_at_half(gauss, everywhere, (19.6, 22.3)) == pytest.approx(3 * FWHM, rel=0.02)
    assert width_at_half(np.where(X < 24, gauss, 9), X < 24, (19.6, 22.3)) == pytest.approx(3 * FWHM, rel=0.02)
    assert autocorrelation_width(gauss) == pytest.approx(3 * FWHM, rel=0.02)
    sphere = np.sqrt(np.maximum(1 - ((Y - 20) ** 2 + (X - 22) ** 2) / 100, 0))
    assert width_at_half(sphere, everywhere, (20, 22)) == pytest.approx(0.866 * 20, rel=0.02)


def test_what_does_not_fall_to_half_has_no_width() -> None:
    assert width_at_half(1 + bump(20, 22), np.ones(Y.shape, bool), (20, 22)) is None
    assert width_at_half(-bump(20, 22), np.ones(Y.shape, bool), (20, 22)) is None
    assert autocorrelation_width(np.zeros((8, 9))) is None


def test_what_cannot_be_labelled_is_refused() -> None:
    image = bump(20, 22)
    for name in ("level", "prominence"):
        for part in (0.0, 1.0, math.nan):
            with pytest.raises(SettingError, match=name):
                label_particles(image, **{name: part})
    for wrong in (np.where(image > 0.5, np.nan, image), image[None], np.zeros((0, 5))):
        with pytest.raises(DataError, match="finite"):
            label_particles(wrong)
