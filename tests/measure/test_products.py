"""Products that follow from a class's pattern and maps."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.errors import SettingError
from stem4d_panel.measure.products import memberships, polar_form, ring_means, symmetrised

N, MIDDLE = 48, (23.5, 23.5)
KY, KX = np.mgrid[:N, :N] - 23.5
MASK = (np.hypot(KY, KX) >= 3) & (np.hypot(KY, KX) <= 22)


def spots(fold: int, radius: float = 14.0, turn: float = 11.0) -> np.ndarray:
    image = np.zeros((N, N))
    for phi in np.deg2rad(turn + np.arange(fold) * 360 / fold):
        image += np.exp(-((KY - radius * np.sin(phi)) ** 2 + (KX - radius * np.cos(phi)) ** 2) / 3)
    return np.where(MASK, image, 0)


@pytest.mark.parametrize("fold", [2, 3, 4, 6])
def test_a_symmetric_pattern_stays_what_it_is_and_one_spot_becomes_all(fold: int) -> None:
    whole = symmetrised(spots(fold), MASK, MIDDLE, fold)
    np.testing.assert_allclose(whole, spots(fold), atol=0.03)
    np.testing.assert_allclose(symmetrised(spots(1), MASK, MIDDLE, fold), spots(fold) / fold, atol=0.03)
    assert whole.sum() == pytest.approx(spots(fold).sum(), rel=0.01)


def test_noise_falls_by_the_root_of_the_fold() -> None:
    rng = np.random.default_rng(0)
    noise = np.where(MASK, rng.normal(size=(N, N)), 0) + 10
    found = symmetrised(noise, MASK, MIDDLE, 4)[MASK]  # four quarter turns keep the grid of pixels
    assert found.std() == pytest.approx(noise[MASK].std() / 2, rel=0.05)


def test_one_fold_is_the_pattern_and_none_is_refused() -> None:
    np.testing.assert_array_equal(symmetrised(spots(3), MASK, MIDDLE, 1), spots(3).astype(np.float32))
    with pytest.raises(SettingError, match="fold: 0"):
        symmetrised(spots(3), MASK, MIDDLE, 0)


def test_the_polar_form_has_the_spots_at_their_radius_and_angle() -> None:
    polar = polar_form(spots(4), MASK, MIDDLE)
    radius, angle = np.unravel_index(int(polar.values[0].argmax()), polar.values[0].shape)
    assert polar.radii[radius] == pytest.approx(14, abs=0.5)
    assert (angle * 360 / polar.values.shape[2]) % 90 == pytest.approx(11, abs=1)


def test_memberships_sum_to_one_where_anything_was_fitted() -> None:
    located = np.random.default_rng(1).random((3, 5, 6)).astype(np.float32)
    located[:, 2, 3] = 0
    found = memberships(located)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), np.where(np.arange(30).reshape(5, 6) == 15, 0, 1), atol=1e-6)
    assert (found.argmax(axis=0) == located.argmax(axis=0)).all()


def test_ring_means_are_those_of_the_kept_pixels_of_whole_rings() -> None:
    y, x = np.indices((21, 25))
    radius = np.hypot(y - 10, x - 12)
    mask = radius > 2.6
    radii, mean, spread = ring_means(np.where(mask, 3 * np.round(radius), 1e6), mask, (10.0, 12.0))
    np.testing.assert_array_equal(radii, np.arange(3, 11))
    np.testing.assert_allclose(mean, 3 * radii)
    np.testing.assert_allclose(spread, 0, atol=1e-4)
