"""Elliptical distortion, measured on the ring of the glass in the mean pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Doubles = NDArray[np.float64]

_SECTORS = 36
_IN_SECTOR = 8  # directions whose median stands for the sector, so that a spot does not
_STEP = 0.5  # px between the radii that are read
_CLEAR = 5.0  # standard deviations from which an ellipse is taken for real
_LEAST = 1.006  # axis ratio below which a correction is not worth its blur


@dataclass(frozen=True)
class Ellipse:
    """The ellipse that the glass ring is.

    Attributes
    ----------
    ratio : float
        Long axis over short axis.
    angle : float
        Direction of the long axis in degrees from +kx towards +ky, [0, 180).
    radius : float
        Mean radius of the ring, detector pixels.
    error : float
        Standard deviation of the ratio, from the scatter over the azimuth.
    """

    ratio: float
    angle: float
    radius: float
    error: float

    @property
    def is_clear(self) -> bool:
        """Whether the ratio stands out of its error and is large enough to be worth a correction."""
        return self.ratio - 1 > _CLEAR * self.error and self.ratio > _LEAST


def stretch(ratio: float, angle: float) -> Doubles:
    """The matrix, in (ky, kx), that takes a circle to the ellipse, areas kept."""
    turn = np.deg2rad(angle)
    along = np.array([np.sin(turn), np.cos(turn)])
    across = np.array([np.cos(turn), -np.sin(turn)])
    matrix: Doubles = np.sqrt(ratio) * np.outer(along, along) + np.outer(across, across) / np.sqrt(ratio)
    return matrix


def undistorting_grid(shape: tuple[int, int], centre: tuple[float, float], ratio: float, angle: float) -> np.ndarray:
    """Where each pixel of the undistorted pattern lies on the detector, shape (2, ky, kx), float32."""
    middle = np.array(centre)[:, None, None]
    places = np.indices(shape) - middle
    return np.asarray(np.tensordot(stretch(ratio, angle), places, 1) + middle, np.float32)


def measure_ellipse(mean: np.ndarray, centre: tuple[float, float], inner: float) -> Ellipse | None:
    """Measure the ring of the glass; None where the mean pattern shows no ring beyond `inner` px.

    Each sector's profile is compared with the median profile of all: how much farther out does the ring lie there? The
    second harmonic of that, fitted so that sectors which a spot disturbs count little, is the ellipse. The pattern is
    read anew along the ellipse found until it settles.

    Parameters
    ----------
    mean : ndarray, shape (ky, kx)
        Aligned mean pattern; NaN where unknown.
    centre : tuple of float
        Direct beam (ky, kx).
    inner : float
    """
    turns = 2 * np.pi * (np.arange(_SECTORS * _IN_SECTOR) + 0.5) / (_SECTORS * _IN_SECTOR)
    middle = turns.reshape(_SECTORS, -1).mean(axis=1)
    harmonics = np.stack(
        [np.ones_like(middle), np.cos(middle), np.sin(middle), np.cos(2 * middle), np.sin(2 * middle)], axis=1
    )
    last = min(*centre, mean.shape[0] - 1 - centre[0], mean.shape[1] - 1 - centre[1])
    radii = np.arange(inner + 1, last, _STEP)
    if len(radii) < 12:
        return None
    found, error, radius = np.zeros(2), 0.0, 0.0
    for _ in range(6):
        polar = _read(mean, centre, radii, turns, found)
        median = _median(polar)
        if not np.isfinite(median).all():  # masked all around from here on
            radii = radii[: int(np.isfinite(median).argmin())]
            if len(radii) < 12:
                return None
            polar, median = polar[: len(radii)], median[: len(radii)]
        profile = ndimage.gaussian_filter1d(median, 1.0)
        window = _ring(profile)
        if window is None:
            return None
        radius = float(radii[window[0] + int(profile[window[0] : window[1]].argmax())])
        sectors = _median(polar.reshape(len(radii), _SECTORS, -1))
        farther = _farther(sectors, profile, radii, window)
        if farther is None:
            return None
        coefficients, errors = _robust(harmonics, farther)
        found = found + coefficients[3:]
        error = float(np.hypot(*errors[3:]) / np.sqrt(2))
        if np.hypot(*coefficients[3:]) < 1e-5:
            break
    strength = min(float(np.hypot(*found)), 0.3)
    angle = float(np.rad2deg(np.arctan2(found[1], found[0])) / 2 % 180)
    return Ellipse((1 + strength) / (1 - strength), angle, radius, 2 * error)


def _read(mean: np.ndarray, centre: tuple[float, float], radii: Doubles, turns: Doubles, found: Doubles) -> Doubles:
    """The pattern along ellipses, shape (radii, turns); NaN where unknown."""
    strength = min(float(np.hypot(*found)), 0.3)
    matrix = stretch((1 + strength) / (1 - strength), float(np.rad2deg(np.arctan2(found[1], found[0])) / 2))
    directions = matrix @ np.stack([np.sin(turns), np.cos(turns)])
    places = np.array(centre)[:, None, None] + directions[:, None, :] * radii[:, None]
    read: Doubles = ndimage.map_coordinates(mean, places, order=1, mode="constant", cval=np.nan)
    return read


def _median(values: Doubles) -> Doubles:
    """Median over the last axis of what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=-1)  # NaN last
    known = np.isfinite(values).sum(axis=-1, keepdims=True)
    middle = [np.take_along_axis(ordered, np.maximum(known - more, 0) // 2, axis=-1) for more in (1, 0)]
    return np.asarray(np.where(known > 0, (middle[0] + middle[1]) / 2, np.nan)[..., 0])


def _ring(profile: Doubles) -> tuple[int, int] | None:
    """First and last index about the highest maximum that has a trough before it, to where it has fallen by half."""
    trough = np.minimum.accumulate(profile)
    rise = np.where(profile > 1.05 * trough, profile - trough, 0)
    if not rise.max() > 0:
        return None
    peak = int(rise.argmax())
    high = profile > trough[peak] + 0.3 * (profile[peak] - trough[peak])
    start = peak - int(high[peak::-1].argmin()) if not high[: peak + 1].all() else 0
    stop = peak + int(high[peak:].argmin()) if not high[peak:].all() else len(profile)
    return (start, stop) if stop - start >= 6 and peak + 3 < len(profile) else None


def _farther(sectors: Doubles, profile: Doubles, radii: Doubles, window: tuple[int, int]) -> Doubles | None:
    """By which part of its radius the ring lies farther out in each sector, shape (sectors,); NaN where unknown."""
    part = slice(*window)
    ring, slope = profile[part], np.gradient(profile, radii)[part]
    weight = np.sqrt(radii[part] / np.maximum(ring, 1e-9))  # even noise of counts over an area
    design = np.stack([ring, -radii[part] * slope], axis=1) * weight[:, None]
    values = sectors[part] * weight[:, None]
    known = np.isfinite(values).all(axis=0)
    if known.sum() < _SECTORS // 2:
        return None
    solution = np.linalg.lstsq(design, values[:, known], rcond=None)[0]
    out = np.full(sectors.shape[1], np.nan)
    out[known] = solution[1] / np.maximum(solution[0], 1e-9)  # strength of the sector, and its shift
    return out


def _robust(design: Doubles, values: Doubles) -> tuple[Doubles, Doubles]:
    """Coefficients and their standard deviations, outliers left out by Tukey's weights."""
    known = np.isfinite(values)
    design, values = design[known], values[known]
    weight: Doubles = np.ones(len(values))
    coefficients: Doubles = np.zeros(design.shape[1])
    for turn in range(12):
        scaled = design * np.sqrt(weight)[:, None]
        coefficients = np.asarray(np.linalg.lstsq(scaled, values * np.sqrt(weight), rcond=None)[0], np.float64)
        off = np.abs(values - design @ coefficients)
        width = 1.4826 * float(np.median(off)) + 1e-9
        if turn < 4:
            weight = np.minimum(1, 1.5 * width / np.maximum(off, 1e-12))
        else:
            weight = np.maximum(0, 1 - (off / (4.7 * width)) ** 2) ** 2
    errors: Doubles = np.sqrt(np.diag(np.linalg.pinv((design * weight[:, None]).T @ design))) * width
    return coefficients, errors
