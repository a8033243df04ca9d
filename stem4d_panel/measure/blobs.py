"""Blobs of a map: the regions of its particles, found by flooding it from the top down, and their raw widths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from stem4d_panel.errors import DataError, SettingError

LOWEST = 0.1  # of the map's height: down to it the map is flooded


@dataclass(frozen=True, eq=False)
class Blob:
    """Where one particle lies.

    Attributes
    ----------
    box : tuple of slice
        Rows and columns of the map around it; they leave a margin wherever the map does not end.
    core, window : ndarray, bool
        In the box: what reaches half of its height; the particle and the background around it.
    top : tuple of float
        Its highest position, (y, x).
    """

    box: tuple[slice, slice]
    core: np.ndarray
    window: np.ndarray
    top: tuple[float, float]

    @property
    def cut(self) -> bool:
        """Whether its core meets the edge of the map."""
        core = self.core
        return bool(core[0].any() or core[-1].any() or core[:, 0].any() or core[:, -1].any())


def background(image: np.ndarray) -> tuple[float, float]:
    """Level and noise of a map's background.

    The background is what lies below the middle between lower quartile and maximum; its level is the median, its noise
    1.48 times the median absolute deviation.

    Parameters
    ----------
    image : ndarray, shape (y, x)
    """
    low = image[image <= (image.max() + np.quantile(image, 0.25)) / 2]
    level = float(np.median(low))
    return level, 1.4826 * float(np.median(np.abs(low - level)))


def label_particles(image: np.ndarray, level: float = 0.3, prominence: float = 0.1) -> np.ndarray:
    """Regions of the particles of a map, shape (y, x), int64: 1 for the highest particle and so on, 0 outside.

    All heights count from the background. The map is flooded from its top down to a tenth of its height (and three
    times the noise). Where two basins meet, the lower one is a particle of its own if its top stands above the pass by
    `prominence` of its height (and five times the noise); else it is part of the higher. Particles are kept that reach
    `level` of the map's height (and stand above the last flood by five times the noise); the basins of others are -1.

    Parameters
    ----------
    image : ndarray, shape (y, x)
    level, prominence : float
        Between 0 and 1.

    Raises
    ------
    SettingError
        If the level or the prominence lies outside its limits.
    DataError
        If the image is no finite (y, x) array.
    """
    if image.ndim != 2 or not image.size or not np.isfinite(image).all():
        raise DataError(f"image: has the shape {image.shape}; needs finite values, (y, x)")
    for name, part in (("level", level), ("prominence", prominence)):
        if not 0 < part < 1:
            raise SettingError(f"{name}: is {part}; between 0 and 1")
    floor, noise = background(image)
    heights = np.pad(image.astype(np.float64) - floor, 1, constant_values=-np.inf)
    highest = float(heights.max())
    labels = np.zeros(heights.shape, np.int64)
    if highest > 1e-9 * float(np.abs(image).max()):
        least = max(LOWEST * highest, 3 * noise)
        tops = _flooded(heights, least, prominence, 5 * noise)
        labels[tops > 0] = -1
        kept = [t for t in np.unique(tops) if heights.flat[t] >= max(level * highest, least + 5 * noise)]
        for number, top in enumerate(sorted(kept, key=lambda t: -heights.flat[t]), start=1):
            labels[tops == top] = number
    return labels[1:-1, 1:-1]


def _flooded(heights: np.ndarray, least: float, prominence: float, margin: float) -> np.ndarray:
    """Top of the basin of each position by its place in the flat array, 0 below the flood; the rim is never reached."""
    flat = heights.ravel()
    around = [dy * heights.shape[1] + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    basin: dict[int, int] = {}  # position -> the top of its basin when it was flooded
    above: dict[int, int] = {}  # top -> the higher top that took it in, or itself

    def top(at: int) -> int:
        while above[at] != at:
            at = above[at]
        return at

    for at in np.argsort(-flat, kind="stable")[: int((flat >= least).sum())].tolist():
        met = {top(basin[at + step]) for step in around if at + step in basin}
        first = basin[at] = max(met, key=lambda t: (flat[t], -t), default=at)
        above.setdefault(first, first)
        for other in met - {first}:
            if flat[other] - flat[at] < max(prominence * flat[other], margin):
                above[other] = first
    tops = np.zeros(flat.shape, np.int64)
    for at, first in basin.items():
        tops[at] = top(first)
    return tops.reshape(heights.shape)


def blob(image: np.ndarray, labels: np.ndarray, number: int, level: float, reach: float) -> Blob:
    """One particle: its core, and around that as far as `reach` its basin and the background, without other basins.

    Parameters
    ----------
    image, labels : ndarray, shape (y, x)
        As in `label_particles`.
    number : int
    level : float
        Of the background.
    reach : float
        Scan pixels, above 0.
    """
    top = ndimage.maximum_position(image, labels, number)
    core = (labels == number) & (image >= (image[top] + level) / 2)
    ((rows, columns),) = ndimage.find_objects(core.astype(np.int8))
    margin = math.ceil(reach)
    box = (
        slice(max(0, rows.start - margin), rows.stop + margin),
        slice(max(0, columns.start - margin), columns.stop + margin),
    )
    core, basin = core[box], labels[box]
    window = ((basin == number) | (basin == 0)) & (ndimage.distance_transform_edt(~core) <= reach)
    return Blob(box, core, window, (float(top[0]), float(top[1])))


def width_at_half(image: np.ndarray, known: np.ndarray, centre: tuple[float, float]) -> float | None:
    """Full width at half maximum of the azimuthal average about a centre; None where it does not fall to half.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Without background.
    known : ndarray, shape (y, x), bool
        Positions that count.
    centre : tuple of float
        (y, x).
    """
    radii = np.arange(0, max(known.shape), 0.25)
    phi = np.arange(32) * (np.pi / 16)
    at = [centre[0] + radii[:, None] * np.sin(phi), centre[1] + radii[:, None] * np.cos(phi)]
    weight, total = (
        ndimage.map_coordinates(field, at, order=1, mode="constant").sum(axis=1)
        for field in (known.astype(np.float64), np.where(known, image, 0.0))
    )
    profile = np.divide(total, weight, out=np.zeros_like(total), where=weight > 1)
    below = np.flatnonzero((profile < profile[0] / 2) & (weight > 1))
    if profile[0] <= 0 or not len(below):
        return None
    after = int(below[0])
    last, first = profile[after - 1], profile[after]
    return float(2 * (radii[after - 1] + 0.25 * (last - profile[0] / 2) / (last - first)))


def autocorrelation_width(image: np.ndarray) -> float | None:
    """Full width at half maximum of an image's autocorrelation over the root of 2; None where the image is empty.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Without background.
    """
    size = [2 * n + 2 for n in image.shape]
    product = fft.fftshift(fft.irfft2(np.abs(fft.rfft2(image, size)) ** 2, size))
    width = width_at_half(product, np.ones(size, bool), (size[0] // 2, size[1] // 2))
    return None if width is None else width / math.sqrt(2)
