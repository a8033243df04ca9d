"""Maps compared over a shift."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.cluster.shift import best_shift, shifted

Y, X = np.mgrid[:32, :40]


def blob(y: float, x: float, width: float = 2.5) -> np.ndarray:
    return np.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * width**2)) + 0.4 * np.exp(
        -((Y - y - 3) ** 2 + (X - x + 5) ** 2) / (2 * width**2)
    )


@pytest.mark.parametrize("move", [(0, 0), (3, -2), (2.3, -1.6), (-5.5, 7.25), (0.4, 0.0)])
def test_the_shift_has_the_sign_and_size_of_the_displacement(move: tuple[float, float]) -> None:
    found = best_shift(blob(15, 20), blob(15 + move[0], 20 + move[1]))
    assert found == pytest.approx(move, abs=0.15)


def test_a_far_shift_is_not_wrapped_around() -> None:
    assert best_shift(blob(7, 10, 1.5), blob(21, 28, 1.5)) == pytest.approx((14, 18), abs=0.3)


def test_a_shift_leaves_the_least_overlap() -> None:
    one, other = np.zeros((2, 20, 20))
    one[0, 0], other[19, 19] = 1, 1
    dy, dx = best_shift(one, other)
    assert (20 - abs(dy)) * (20 - abs(dx)) >= 0.25 * 400 - 20


def test_the_size_of_the_values_does_not_matter() -> None:
    one, other = blob(15, 20), blob(17.3, 16.1)
    assert best_shift(one * 1e6, other * 1e-6) == pytest.approx(best_shift(one, other), abs=1e-6)


def test_empty_maps_have_a_finite_shift() -> None:
    assert np.isfinite(best_shift(np.zeros((8, 9)), np.zeros((8, 9)))).all()
    assert np.isfinite(best_shift(np.zeros((32, 40)), blob(15, 20))).all()
    assert np.isfinite(best_shift(np.ones((1, 1)), np.ones((1, 1)))).all()


def test_shifting_an_image_moves_it_by_that_much() -> None:
    moved = shifted(blob(15, 20, 4), (2.5, -3.25))
    np.testing.assert_allclose(moved[5:-5, 5:-5], blob(17.5, 16.75, 4)[5:-5, 5:-5], atol=0.03)
    assert best_shift(blob(15, 20, 4), moved) == pytest.approx((2.5, -3.25), abs=0.15)
    assert (shifted(np.ones((6, 6)), (2, 0))[:2] == 0).all()
