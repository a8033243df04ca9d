"""Alignment and binning against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from stem4d_panel.prepare.align import align_and_bin, covered


def aligned(frames: np.ndarray, shifts: np.ndarray, factor: int) -> np.ndarray:
    n, ny, nx = frames.shape
    out = np.empty((n, ny // factor, nx // factor), np.float32)
    align_and_bin(frames.astype(np.float32), shifts.astype(np.float32), factor, out)
    return out


def reference(frames: np.ndarray, shifts: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear shift by SciPy, then a sum over blocks."""
    n, ny, nx = frames.shape
    moved = np.stack(
        [
            ndimage.shift(f, -s, order=1, mode="grid-constant", prefilter=False)
            for f, s in zip(frames, shifts, strict=True)
        ]
    )
    moved = moved[:, : ny // factor * factor, : nx // factor * factor]
    return moved.reshape(n, ny // factor, factor, nx // factor, factor).sum((2, 4))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_equals_a_shift_and_a_block_sum(factor: int) -> None:
    rng = np.random.default_rng(factor)
    frames = rng.poisson(20, (12, 17, 14)).astype(np.float64)
    shifts = rng.uniform(-4, 4, (12, 2)).astype(np.float32).astype(np.float64)
    shifts[0], shifts[1], shifts[2] = 0, (-1, 2), (1.5, -2)
    np.testing.assert_allclose(aligned(frames, shifts, factor), reference(frames, shifts, factor), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_counts_inside_are_conserved(factor: int) -> None:
    rng = np.random.default_rng(3)
    frames = np.zeros((6, 18, 18))
    frames[:, 6:12, 6:12] = rng.poisson(50, (6, 6, 6))
    shifts = rng.uniform(-3, 3, (6, 2))
    np.testing.assert_allclose(aligned(frames, shifts, factor).sum((1, 2)), frames.sum((1, 2)), rtol=1e-5)


def test_a_frame_is_brought_back_by_its_own_displacement() -> None:
    y, x = np.mgrid[:24, :20]

    def blob(dy: float, dx: float) -> np.ndarray:
        return np.exp(-((y - 12 - dy) ** 2 + (x - 9 - dx) ** 2) / 18)

    out = aligned(np.stack([blob(2, -1)]), np.array([[2.0, -1.0]]), 1)[0]
    np.testing.assert_allclose(out[3:-3, 3:-3], blob(0, 0)[3:-3, 3:-3], atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("reach", [0.0, 0.4, 2.7])
def test_covered_pixels_are_those_that_miss_no_count(factor: int, reach: float) -> None:
    rng = np.random.default_rng(1)
    shifts = rng.uniform(-reach, reach, (9, 2))
    shifts[0] = 0
    full = aligned(np.ones((9, 16, 13)), shifts, factor) > factor**2 - 1e-3
    np.testing.assert_array_equal(covered((16, 13), shifts, factor), full.all(axis=0))


def test_whole_shifts_lose_only_whole_pixels() -> None:
    assert covered((8, 8), np.array([[1.0, 0.0], [0.0, -2.0]]), 1).sum() == 7 * 6
