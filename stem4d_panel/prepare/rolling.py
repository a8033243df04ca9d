"""Smoothing over the scan while its rows still come in, so that no second copy of the frames is needed."""

from __future__ import annotations

import numpy as np


def gaussian_matrix(n: int, sigma: float) -> np.ndarray:
    """Matrix of a Gaussian filter along an axis of `n`, each row of unit sum (no counts from beyond the edge)."""
    i = np.arange(n)
    kernel = np.exp(-0.5 * ((i[:, None] - i) / sigma) ** 2)
    kernel[kernel < 1e-4] = 0
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), np.float32)


def smooth_over_scan(cube: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian filter over the scan of an array (y, x, pixels), as two matrix products."""
    ny, nx, m = cube.shape
    out = (gaussian_matrix(ny, sigma) @ cube.reshape(ny, nx * m)).reshape(ny, nx, m)
    return np.asarray(np.matmul(gaussian_matrix(nx, sigma), out))


class Rolling:
    """Gaussian filter over the scan of rows that come in order; each is given on once the rows after it are there.

    Parameters
    ----------
    scan_shape : tuple of int
        (y, x).
    sigma : float
        Standard deviation in scan px; 0 hands the rows on as they are.
    """

    def __init__(self, scan_shape: tuple[int, ...], sigma: float) -> None:
        self._sigma, self._came, self._gone = sigma, 0, 0  # rows that have come in, and been given on
        if sigma <= 0:
            return
        self._along_y, self._along_x = (gaussian_matrix(n, sigma) for n in scan_shape)
        reach = [np.flatnonzero(row) for row in self._along_y]
        self._first, self._last = (np.array([r[i] for r in reach]) for i in (0, -1))
        self._held = np.zeros((0, 0, 0), np.float32)  # rows that are still needed, then room for those that come
        self._count = 0

    def push(self, values: np.ndarray) -> tuple[slice, np.ndarray]:
        """Take in the next rows; returns which rows are ready, and their filtered values.

        Parameters
        ----------
        values : ndarray, shape (rows, x, pixels), float32
        """
        start = self._came
        self._came += len(values)
        if self._sigma <= 0:
            return slice(start, self._came), values
        held = self._with(values)
        start = self._came - len(held)
        gone, ready = self._gone, int(np.searchsorted(self._last, self._came - 1, side="right"))
        part = self._along_y[gone:ready, start : self._came] @ held.reshape(len(held), -1)
        out = np.matmul(self._along_x, part.reshape(ready - gone, *held.shape[1:]))
        self._gone = ready
        keep = int(self._first[ready]) - start if ready < len(self._first) else len(held)
        self._count = len(held) - keep
        self._held[: self._count] = held[keep:]
        return slice(gone, ready), np.asarray(out, np.float32)

    def _with(self, values: np.ndarray) -> np.ndarray:
        """The rows that are held and the new ones behind them."""
        count = self._count + len(values)
        if len(self._held) < count:
            more = np.empty((count, *values.shape[1:]), np.float32)
            if self._count:
                more[: self._count] = self._held[: self._count]
            self._held = more
        self._held[self._count : count] = values
        return self._held[:count]
