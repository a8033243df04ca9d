"""Smoothing rows as they come in: the same as a filter over the whole."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from stem4d_panel.prepare.rolling import Rolling, smooth_over_scan

CUBE = np.random.default_rng(0).random((23, 17, 5)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5, 40.0])
@pytest.mark.parametrize("step", [1, 3, 10, 23])
def test_blocks_give_what_the_whole_gives(sigma: float, step: int) -> None:
    rolling, out, order = Rolling((23, 17), sigma), np.full_like(CUBE, np.nan), []
    for i in range(0, 23, step):
        rows, values = rolling.push(CUBE[i : i + step])
        assert len(values) == rows.stop - rows.start
        out[rows] = values
        order += list(range(rows.start, rows.stop))
    assert order == list(range(23))
    np.testing.assert_allclose(out, smooth_over_scan(CUBE, sigma), rtol=1e-5)


def test_in_the_middle_it_is_a_gaussian_filter_and_a_constant_stays() -> None:
    found = smooth_over_scan(CUBE, 1.2)
    wanted = ndimage.gaussian_filter(CUBE, (1.2, 1.2, 0), truncate=6)
    np.testing.assert_allclose(found[6:-6, 6:-6], wanted[6:-6, 6:-6], atol=2e-4)
    np.testing.assert_allclose(smooth_over_scan(np.ones_like(CUBE), 3.0), 1, rtol=1e-5)


def test_rows_are_given_on_as_soon_as_the_filter_allows() -> None:
    rolling, behind = Rolling((200, 4), 1.0), []
    for i in range(0, 200, 2):
        rows, _ = rolling.push(np.ones((2, 4, 3), np.float32))
        behind.append(i + 2 - rows.stop)
    assert max(behind) <= 6  # the kernel ends at 4.3 sigma; a block may bring one row too few
    assert behind[-1] == 0


def test_without_a_width_rows_pass_as_they_are() -> None:
    rows, values = Rolling((23, 17), 0.0).push(CUBE)
    assert rows == slice(0, 23)
    assert values is CUBE
