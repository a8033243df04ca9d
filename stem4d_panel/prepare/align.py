"""Bilinear alignment and binning in one go: each binned pixel is a sum of `bin` + 1 taps along either axis."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, fastmath=True)
def align_and_bin(frames: np.ndarray, shifts: np.ndarray, factor: int, out: np.ndarray) -> None:
    """Read each frame at `shifts` beyond its grid and sum `factor` × `factor` pixels into one.

    Parameters
    ----------
    frames : ndarray, shape (n, ky, kx), float32
    shifts : ndarray, shape (n, 2), float32
        A frame's centre less the common centre, detector pixels.
    factor : int
        Pixels summed along each axis.
    out : ndarray, shape (n, ky // factor, kx // factor), float32
        Written; what would be read beyond the edge counts as zero.
    """
    n, ny, nx = frames.shape
    row = np.empty(nx, np.float32)
    for i in range(n):
        fy, fx = np.floor(shifts[i, 0]), np.floor(shifts[i, 1])
        iy, ix = int(fy), int(fx)
        ty, tx = np.float32(shifts[i, 0] - fy), np.float32(shifts[i, 1] - fx)
        for oy in range(out.shape[1]):
            row[:] = 0
            for a in range(factor + 1):
                y = oy * factor + iy + a
                if 0 <= y < ny:
                    weight = np.float32(1) - ty if a == 0 else (ty if a == factor else np.float32(1))
                    for x in range(nx):
                        row[x] += weight * frames[i, y, x]
            for ox in range(out.shape[2]):
                total = np.float32(0)
                for a in range(factor + 1):
                    x = ox * factor + ix + a
                    if 0 <= x < nx:
                        weight = np.float32(1) - tx if a == 0 else (tx if a == factor else np.float32(1))
                        total += weight * row[x]
                out[i, oy, ox] = total


def covered(shape: tuple[int, int], shifts: np.ndarray, factor: int) -> np.ndarray:
    """Binned pixels that lie on the detector at every position, shape (ky // factor, kx // factor), bool.

    Parameters
    ----------
    shape : tuple of int
        Detector pixels (ky, kx).
    shifts : ndarray, shape (n, 2)
    """
    sides = []
    for axis in (0, 1):
        first = np.arange(shape[axis] // factor) * factor
        low, high = float(shifts[:, axis].min()), float(shifts[:, axis].max())
        sides.append((first + low >= 0) & (first + factor - 1 + high <= shape[axis] - 1))
    return np.logical_and.outer(sides[0], sides[1])
