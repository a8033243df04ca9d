"""What follows from a class's pattern and maps by itself: the symmetrised pattern, its polar form, soft membership."""

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
