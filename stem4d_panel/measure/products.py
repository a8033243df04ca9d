"""What follows from a class's pattern and maps by itself: the symmetrised pattern, its polar form, ring means, membership."""

from __future__ import annotations

import numpy as np

from stem4d_panel.cluster.polar import Polar, rotate_pattern, to_polar
from stem4d_panel.errors import SettingError


def symmetrised(pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float], fold: int) -> np.ndarray:
    """Mean of a pattern and itself turned by each multiple of 360 / fold degrees, shape (ky, kx), float32.

    Where the structure has that symmetry, noise falls by the root of `fold`; tilt and what breaks the symmetry are
    averaged away, so compare it with the pattern itself.

    Parameters
    ----------
    pattern : ndarray, shape (ky, kx)
    mask : ndarray, shape (ky, kx), bool
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    fold : int
        Such as ``ClassFinding.fold``; 1 gives the pattern itself.

    Raises
    ------
    SettingError
        If `fold` is below 1.
    """
    if fold < 1:
        raise SettingError(f"fold: {fold}; needs a whole number from 1")
    turned = [rotate_pattern(pattern, mask, centre, 360 * i / fold) for i in range(1, fold)]
    return np.asarray((np.where(mask, pattern, 0) + sum(turned, np.zeros(mask.shape))) / fold, np.float32)


def polar_form(pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> Polar:
    """A pattern over angle and radius, as patterns are compared; ``values`` has the shape (1, radii, angles).

    Parameters
    ----------
    pattern : ndarray, shape (ky, kx)
    mask : ndarray, shape (ky, kx), bool
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    """
    return to_polar(pattern[None], mask, centre)


def memberships(located: np.ndarray) -> np.ndarray:
    """Part of the fitted intensity of each position that each class makes, shape (c, y, x), float32.

    Sums to 1 over the classes; 0 where nothing was fitted. The hard assignment is ``Findings.position_labels``.

    Parameters
    ----------
    located : ndarray, shape (c, y, x)
        Maps of the classes where they lie (``Classes.located``).
    """
    total = located.sum(axis=0)
    return np.asarray(np.where(total > 0, located / np.where(total > 0, total, 1), 0), np.float32)


def ring_means(
    pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radii in px, and mean and standard deviation of the kept pixels in rings one pixel wide; quick and plain.

    `read_pattern` gives finer ones, with the rings and spots found in them. Only rings that lie on the detector whole.

    Parameters
    ----------
    pattern : ndarray, shape (ky, kx)
    mask : ndarray, shape (ky, kx), bool
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    """
    y, x = np.indices(mask.shape)
    ring = np.round(np.hypot(y - centre[0], x - centre[1])).astype(int)
    whole = min(*centre, *(n - 1 - c for n, c in zip(mask.shape, centre, strict=True)))
    kept = mask & (ring <= whole)
    count = np.bincount(ring[kept])
    radii = np.flatnonzero(count)
    sums, squares = (np.bincount(ring[kept], np.asarray(pattern[kept], np.float64) ** power) for power in (1, 2))
    mean = sums[radii] / count[radii]
    return radii.astype(float), mean, np.sqrt(np.maximum(squares[radii] / count[radii] - mean**2, 0))
