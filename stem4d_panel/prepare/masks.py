"""Which detector pixels are left out, and why: one mask of raw pixels that every later step reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from stem4d_panel.errors import SettingError
from stem4d_panel.prepare.survey import Survey

_SMALLEST_SHADOW = 8  # connected pixels; fewer are noise or single bad pixels
_LOWEST_CLIP = 15  # counts; below it pixels share their maximum by chance
_AT_CLIP = 4  # pixels that share a clip level


@dataclass(frozen=True, eq=False)
class Masks:
    """Raw detector pixels left out.

    Attributes
    ----------
    out : ndarray, shape (ky, kx), bool
        True where a pixel is left out for any reason.
    counts : dict of str to int
        Pixels left out for each reason; a pixel may have several.
    """

    out: np.ndarray
    counts: dict[str, int]

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Masks:
        """Nothing left out."""
        return cls(np.zeros(shape, bool), {})

    def also(self, reason: str, pixels: np.ndarray) -> Masks:
        """With `pixels` (ky, kx, bool) left out, too."""
        count = int(pixels.sum())
        return Masks(self.out | pixels, {**self.counts, reason: count}) if count else self


def saturated_pixels(survey: Survey, top: float | None, positions: int) -> tuple[np.ndarray, float | None]:
    """Pixels at the top of their data type, or at a clip level below it, with that level (None where there is neither).

    A clip level is a highest value that several pixels share and each meets again and again: without clipping, the
    largest of many counts is met once or twice.

    Parameters
    ----------
    survey : Survey
    top : float or None
        Largest value of the data type, None where saturation there means nothing.
    positions : int
        Number of patterns.
    """
    level = float(survey.maximum.max())
    at_level = survey.maximum == level
    if top is not None and level == top:
        return at_level, level
    often = at_level & (survey.at_maximum >= max(5, 0.002 * positions))
    if level >= _LOWEST_CLIP and often.sum() >= _AT_CLIP:
        return at_level, level
    return np.zeros(survey.maximum.shape, bool), None


def inside(corners: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which points lie in a polygon with these corners, shape (n, 2) as (y, x), by the even-odd rule."""
    out = np.zeros(np.broadcast_shapes(y.shape, x.shape), bool)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            out ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return out


def polygons(text: str) -> list[np.ndarray]:
    """Corners (n, 2) as (ky, kx) in pixels of each polygon of a beam-stop setting; none of one that states a level."""
    if not text or text.startswith("below"):
        return []
    return [np.array([[float(v) for v in point.split(",")] for point in part.split(" ")]) for part in text.split("; ")]


def polygon_pixels(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies in a polygon of a beam-stop setting, by the even-odd rule.

    Raises
    ------
    SettingError
        If a corner lies outside the detector, or a polygon holds no pixel.
    """
    y, x = np.indices(shape)
    out = np.zeros(shape, bool)
    for part, corners in zip(text.split("; "), polygons(text), strict=True):
        if (corners > np.array(shape)).any():
            raise SettingError(
                f"prepare.beam_stop: {part[:60]!r} leaves the detector of {shape[0]} × {shape[1]} pixels"
            )
        pixels = inside(corners, y, x)
        if not pixels.any():
            raise SettingError(f"prepare.beam_stop: {part[:60]!r} holds no pixel")
        out |= pixels
    return out


def shadow_pixels(mean: np.ndarray, centre: tuple[float, float], part: float, positions: int) -> np.ndarray:
    """Connected pixels whose mean lies below `part` of the upper quartile of their ring, widened by one pixel.

    By more than three standard deviations of counts: where hardly a count falls, nothing tells a shadow.

    Parameters
    ----------
    mean : ndarray, shape (ky, kx)
        Mean pattern, bad pixels repaired.
    centre : tuple of float
        Direct beam (ky, kx).
    part : float
    positions : int
        Number of patterns in the mean.
    """
    y, x = np.indices(mean.shape)
    ring = np.round(np.hypot(y - centre[0], x - centre[1])).astype(int)
    bright = np.array([np.percentile(mean[ring == r], 75) if (ring == r).any() else 0 for r in range(ring.max() + 1)])
    limit = part * bright[ring]
    labels, count = ndimage.label(mean < limit - 3 * np.sqrt(limit / positions))
    sizes = ndimage.sum_labels(np.ones(mean.shape), labels, np.arange(count + 1))
    sizes[0] = 0
    return np.asarray(ndimage.binary_dilation((sizes >= _SMALLEST_SHADOW)[labels]))
