"""What is known to be in a simulated scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Crystal:
    """One simulated crystal.

    `rotation` in degrees from +kx towards +ky, meaningful modulo 360/`fold`; `centre` (y, x) and `diameter` in nm.
    """

    class_name: str
    rotation: float
    fold: int
    diameter: float
    centre: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth of a simulated scan.

    Attributes
    ----------
    crystals : tuple of Crystal
    chord : ndarray, shape (n, y, x)
        Projected thickness of each crystal in nm.
    descan : ndarray, shape (2, y, x)
        Position (ky, kx) of the direct beam less (N - 1)/2, in detector pixels.
    hot_pixels : ndarray, shape (h, 2)
        Detector pixels (ky, kx).
    scan_step : float
        In nm.
    """

    crystals: tuple[Crystal, ...]
    chord: np.ndarray
    descan: np.ndarray
    hot_pixels: np.ndarray
    scan_step: float

    @property
    def masks(self) -> np.ndarray:
        """Where each crystal lies, shape (n, y, x), bool."""
        return self.chord > 0
