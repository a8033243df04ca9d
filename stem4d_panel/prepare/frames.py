"""Frames: the prepared matrix and all that is needed to fold factors back into maps and patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.prepare.centre import Descan
from stem4d_panel.prepare.ellipse import Ellipse
from stem4d_panel.prepare.hotpixels import BadPixels
from stem4d_panel.prepare.masks import Masks
from stem4d_panel.prepare.survey import Survey
from stem4d_panel.scan.calibration import Calibration
from stem4d_panel.scan.scan import Axis


@dataclass(frozen=True, eq=False)
class Look:
    """What is known before any frame is made.

    Attributes
    ----------
    survey : Survey
    bad : BadPixels
    masks : Masks
        Raw pixels left out, and why.
    descan : Descan
    mean : ndarray, shape (ky, kx), float32
        Mean of the raw scan, bad pixels repaired.
    inner, outer : float
        Radii kept, detector pixels about the common centre.
    beam_radius : float or None
        Radius of the direct beam, px; None where none was found.
    ellipse : Ellipse or None
        As measured on the glass ring; None where there is no ring.
    undistort : tuple of float or None
        Ratio and angle that are corrected; None where nothing is.
    warnings : tuple of str
    """

    survey: Survey
    bad: BadPixels
    masks: Masks
    descan: Descan
    mean: np.ndarray
    inner: float
    outer: float
    beam_radius: float | None
    ellipse: Ellipse | None
    undistort: tuple[float, float] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Frames:
    """The prepared scan.

    Attributes
    ----------
    matrix : ndarray, shape (positions kept, pixels kept), float32
        Counts divided by ``row_scale`` and ``column_scale``; never negative.
        A `numpy.memmap` where it is larger than the memory it may take, `RemoteRows` where workers hold it.
    row_scale, column_scale : ndarray, float32
        Noise scaling; ones where there is none.
    virtual : ndarray, shape (y, x), float32
        Sum of each prepared frame before the noise scaling.
    square, total : float
        Squared norm and sum of the matrix.
    positions : ndarray, shape (y, x), bool
        Positions that are rows of the matrix; those without a count are not.
    mask : ndarray, shape (ky, kx), bool
        Binned pixels that are columns of the matrix; those left out are absent from it.
    axes : tuple of Axis
        y, x, ky, kx, the last two binned with their zero at the centre.
    centre : tuple of float
        Direct beam (ky, kx) in binned pixels.
    smooth : float
        Standard deviation of the scan smoothing, px.
    resolution : float
        Standard deviation of the blur of the maps by probe and smoothing, px (the probe's part only where it is known).
    probe : float
        Standard deviation of the probe, px; where it is unknown, the one for which the smoothing would be chosen, 0
        without smoothing.
    bin : int
        Detector pixels summed along each axis.
    is_counts : bool
        Whether the matrix still holds counts (no smoothing, background, scaling or normalisation).
    linear : bool
        Whether preparing was linear in the counts (no square root, no background).
    mean : ndarray, shape (ky, kx), float32
        Mean aligned and binned pattern, zero where masked.
    warnings : tuple of str
        What was masked, clipped, guessed.
    """

    matrix: Any
    row_scale: np.ndarray
    column_scale: np.ndarray
    virtual: np.ndarray
    square: float
    total: float
    positions: np.ndarray
    mask: np.ndarray
    axes: tuple[Axis, Axis, Axis, Axis]
    centre: tuple[float, float]
    smooth: float
    resolution: float
    probe: float
    bin: int
    is_counts: bool
    linear: bool
    mean: np.ndarray
    look: Look
    calibration: Calibration
    warnings: tuple[str, ...]

    @property
    def in_memory(self) -> bool:
        """Whether the matrix lies in the memory of this process, rather than in a file or on workers."""
        return isinstance(self.matrix, np.ndarray) and not isinstance(self.matrix, np.memmap)

    @property
    def scan_shape(self) -> tuple[int, int]:
        """Sizes (y, x)."""
        return self.positions.shape

    @property
    def detector_shape(self) -> tuple[int, int]:
        """Binned sizes (ky, kx)."""
        return self.mask.shape

    @property
    def largest_rank(self) -> int:
        """The largest rank the matrix allows."""
        return int(min(self.matrix.shape))

    def unfolded(self) -> np.ndarray:
        """The frames as an array (y, x, ky, kx), float32, noise scaling undone; zero where nothing was kept.

        Raises
        ------
        DataError
            If they do not lie in memory, where they had no room.
        """
        if not self.in_memory:
            raise DataError("frames: are larger than the memory they may take; take the patterns of the model")
        out = np.zeros((*self.scan_shape, *self.detector_shape), np.float32)
        rows = np.zeros((len(self.matrix), *self.detector_shape), np.float32)
        rows[:, self.mask] = self.matrix * self.row_scale[:, None] * self.column_scale
        out[self.positions] = rows
        return out

    def fold_maps(self, W: np.ndarray) -> np.ndarray:
        """Coefficients (positions kept, k) as maps (k, y, x), noise scaling undone."""
        maps = np.zeros((W.shape[1], *self.scan_shape), np.float32)
        maps[:, self.positions] = (W * self.row_scale[:, None]).T
        return maps

    def fold_patterns(self, H: np.ndarray) -> np.ndarray:
        """Components (k, pixels kept) as patterns (k, ky, kx), noise scaling undone, zero where masked."""
        patterns = np.zeros((H.shape[0], *self.detector_shape), np.float32)
        patterns[:, self.mask] = H * self.column_scale
        return patterns
