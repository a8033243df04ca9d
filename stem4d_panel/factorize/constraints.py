"""What maps and patterns obey beside being non-negative (Kimoto et al., Sci. Rep. 15 (2025) 39143)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.prepare.rolling import smooth_over_scan


@dataclass(frozen=True, eq=False)
class Resolution:
    """Maps no finer than a point-spread function: map = G ∗ z with z >= 0, so non-negative and smooth by construction.

    The form is ours: the paper names the limit, and its supplement could not be read.

    Parameters
    ----------
    positions : ndarray, shape (y, x), bool
        Positions that are rows of the data.
    sigma : float
        Standard deviation of G in scan pixels.
    row_scale : ndarray, shape (n,), optional
        Noise scaling of the rows; the true maps, not the scaled ones, are limited.
    strength : float
        1 replaces a map by its blurred form, 0 leaves it.
    """

    positions: np.ndarray
    sigma: float
    row_scale: np.ndarray | None = None
    strength: float = 1.0

    def __call__(self, W: np.ndarray, ramp: float = 1.0) -> np.ndarray:
        """W, shape (n, k), limited; `ramp` from 0 to 1 is the part of the strength that counts."""
        part = self.strength * ramp
        if self.sigma <= 0 or part <= 0:
            return W
        scale = np.ones(len(W), W.dtype) if self.row_scale is None else self.row_scale
        maps = np.zeros((*self.positions.shape, W.shape[1]), np.float32)
        maps[self.positions] = W * scale[:, None]
        maps = smooth_over_scan(maps, self.sigma)
        if not self.positions.all():  # a position that is missing gives nothing
            there = smooth_over_scan(self.positions[:, :, None].astype(np.float32), self.sigma)
            maps /= np.maximum(there, 1e-6)
        limited = maps[self.positions] / scale[:, None]
        return np.ascontiguousarray(W + W.dtype.type(part) * (limited.astype(W.dtype) - W))


@dataclass(frozen=True, eq=False)
class NoHoles:
    """Patterns without dark holes: on each ring about the direct beam no pixel is below a quantile of that ring.

    A halo is even around its ring, so a hole where another component has its spots is filled; a crystal's ring is dark
    between the spots, its quantile is zero, and nothing happens to it. The form is ours, chosen among four by the recovery
    of a known truth (the paper names downward-convex peaks; its procedure could not be read).

    Parameters
    ----------
    rings : ndarray, shape (m,), int
        Ring of each pixel that is a column of the data.
    column_scale : ndarray, shape (m,), optional
        Noise scaling of the columns; the true patterns, not the scaled ones, are filled.
    strength : float
        1 lifts a pixel to the quantile, 0 leaves it.
    quantile : float
    """

    rings: np.ndarray
    column_scale: np.ndarray | None = None
    strength: float = 1.0
    quantile: float = 0.4

    def __call__(self, Ht: np.ndarray, ramp: float = 1.0) -> np.ndarray:
        """Hᵀ, shape (m, k), filled; `ramp` from 0 to 1 is the part of the strength that counts."""
        part = self.strength * ramp
        if part <= 0:
            return Ht
        scale = np.ones(len(Ht), Ht.dtype) if self.column_scale is None else self.column_scale
        patterns = Ht * scale[:, None]
        floor = np.zeros_like(patterns)
        for ring in range(int(self.rings.max()) + 1):
            pixels = np.flatnonzero(self.rings == ring)
            if len(pixels) >= 8:  # fewer have no quantile worth the name
                place = int(self.quantile * (len(pixels) - 1))
                floor[pixels] = np.partition(patterns[pixels], place, axis=0)[place]
        lifted = np.maximum(patterns, floor) / scale[:, None]
        return np.ascontiguousarray(Ht + Ht.dtype.type(part) * (lifted.astype(Ht.dtype) - Ht))
