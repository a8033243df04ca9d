"""Virtual detectors: the counts that fall, at each position, on a part of the detector that moves with the direct beam.

They answer a hand that moves, beside the compute thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.prepare.frames import Frames, Look
from stem4d_panel.prepare.masks import inside
from stem4d_panel.runtime.compiled import compiled
from stem4d_panel.runtime.threads import spread

_DRAFT = 2**24  # pixels at all positions that a draft sums


@dataclass(frozen=True)
class Detector:
    """A disc or a ring, in detector pixels from the direct beam.

    Attributes
    ----------
    ky, kx : float
        Its centre.
    inner, outer : float
        Radii; a disc has an inner radius of 0.
    """

    ky: float
    kx: float
    inner: float
    outer: float

    def covers(self, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """Which points, in detector pixels from the direct beam, lie on it."""
        radius = np.hypot(ky - self.ky, kx - self.kx)
        return np.asarray((radius >= self.inner) & (radius <= self.outer))

    def moved(self, ky: float, kx: float) -> Detector:
        """The same one elsewhere."""
        return replace(self, ky=self.ky + ky, kx=self.kx + kx)

    def __str__(self) -> str:
        what = "disc" if self.inner == 0 else "ring"
        size = f"radius {self.outer:.1f}" if self.inner == 0 else f"{self.inner:.1f} to {self.outer:.1f}"
        return f"{what} at ky {self.ky:.1f}, kx {self.kx:.1f} px, {size} px"


@dataclass(frozen=True)
class Outline:
    """What lies in a closed line, in detector pixels from the direct beam.

    Attributes
    ----------
    corners : tuple of (float, float)
        As (ky, kx).
    """

    corners: tuple[tuple[float, float], ...]

    def covers(self, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """Which points, in detector pixels from the direct beam, lie on it."""
        return inside(np.array(self.corners), ky, kx)

    def moved(self, ky: float, kx: float) -> Outline:
        """The same one elsewhere."""
        return Outline(tuple((y + ky, x + kx) for y, x in self.corners))

    def __str__(self) -> str:
        ky, kx = np.mean(self.corners, axis=0)
        return f"outline around ky {ky:.1f}, kx {kx:.1f} px"


@compiled()
def _sums(data, cy, cx, rows, first, last, good, step):  # type: ignore[no-untyped-def]
    """Sums over runs of pixels (row, first to last, from the centre) around the centre of positions in equal steps."""
    ny, nx, nky, nkx = data.shape
    out = np.zeros(((ny - 1) // step + 1, (nx - 1) // step + 1), np.float32)
    for i in range(out.size):
        v, u = i // out.shape[1], i % out.shape[1]
        y, x = v * step, u * step
        total = 0.0
        for r in range(len(rows)):
            ky = cy[y, x] + rows[r]
            if ky < 0 or ky >= nky:
                continue
            for kx in range(max(0, cx[y, x] + first[r]), min(nkx, cx[y, x] + last[r] + 1)):
                if good[ky, kx]:
                    total += data[y, x, ky, kx]
        out[v, u] = total
    return out


@compiled()
def _weighted(matrix, rows, columns, weights):  # type: ignore[no-untyped-def]
    """Weighted sums of some columns of some rows."""
    out = np.zeros(len(rows), np.float32)
    for i in range(len(rows)):
        total = 0.0
        for j in range(len(columns)):
            total += matrix[rows[i], columns[j]] * weights[j]
        out[i] = total
    return out


@lru_cache(maxsize=2)  # a step of a drag asks for the same ones several times
def _runs(detector: Detector | Outline, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs of pixels that a detector covers: row, first and last column, from the direct beam's pixel."""
    ky, kx = (np.arange(-n, n + 1) for n in shape)
    on = np.pad(detector.covers(ky[:, None], kx[None]), ((0, 0), (1, 1)))
    edges = np.diff(on.astype(np.int8), axis=1)
    rows, first = np.nonzero(edges == 1)
    last = np.nonzero(edges == -1)[1] - 1
    return ky[rows], kx[first], kx[last]


def draft_step(detector: Detector | Outline, shape: tuple[int, int, int, int]) -> int:
    """Step between the positions of a draft of a virtual image that keeps up with a hand.

    Parameters
    ----------
    detector : Detector or Outline
    shape : (int, int, int, int)
        Of the scan, (y, x, ky, kx).

    Returns
    -------
    int
        1 where the whole image does: below some 16 million pixels at all positions.
    """
    _, first, last = _runs(detector, shape[2:])
    pixels = shape[0] * shape[1] * int((last - first + 1).sum())
    return max(1, math.ceil(math.sqrt(pixels / _DRAFT)))


def virtual_image(
    detector: Detector | Outline, data: Any, look: Look, frames: Frames | None = None, step: int = 1
) -> np.ndarray:
    """What a virtual detector sees at each position, shape (y, x), float32, in counts.

    The detector follows the fitted direct beam in whole pixels; hot, dead and masked pixels are left out. Data that do not
    lie in memory are taken from the prepared frames, which hold only what the mask keeps.

    Parameters
    ----------
    detector : Detector or Outline
    data : array-like, shape (y, x, ky, kx)
        The scan's own.
    look : Look
    frames : Frames, optional
        Needed where `data` is no array of NumPy.
    step : int
        From 2 on, only the positions [::step, ::step] are looked at, and the image has as many.

    Raises
    ------
    DataError
        If neither the data nor the frames can be reached fast.
    """
    if isinstance(data, np.ndarray) and data.dtype.isnative:
        cy, cx = (np.round(look.descan.fitted[i]).astype(np.int64) for i in (0, 1))
        good = ~(look.masks.out | look.bad.mask(data.shape[2:]))
        runs = _runs(detector, data.shape[2:])

        def some(start: int, stop: int) -> np.ndarray:
            part = slice(start * step, stop * step)
            return np.asarray(_sums(data[part], cy[part], cx[part], *runs, good, step))

        return np.concatenate(spread(some, -(-len(data) // step)))
    if frames is None or not isinstance(frames.matrix, np.ndarray):
        raise DataError("virtual detector: needs the scan or its prepared frames in memory")
    ky, kx = ((np.arange(n) - c) * frames.bin for n, c in zip(frames.detector_shape, frames.centre, strict=True))
    columns = np.flatnonzero(detector.covers(ky[:, None], kx[None])[frames.mask])
    seen = frames.positions[::step, ::step]
    rows = (np.cumsum(frames.positions.ravel()) - 1).reshape(frames.scan_shape)[::step, ::step][seen]
    out = np.zeros(seen.shape, np.float32)
    out[seen] = _weighted(frames.matrix, rows, columns, frames.column_scale[columns]) * frames.row_scale[rows]
    return out
