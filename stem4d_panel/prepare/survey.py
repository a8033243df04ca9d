"""One pass over the raw scan: the mean, variance and maximum pattern, and counts of values that need a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stem4d_panel.prepare.passes import each_block
from stem4d_panel.prepare.survey_kernels import survey_frames
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.runtime.threads import map_blocks
from stem4d_panel.scan.scan import Scan

_SPAN = 512  # frames whose sums are made by one thread


@dataclass(frozen=True, eq=False)
class Survey:
    """Statistics of the raw scan over all positions, shape (ky, kx) each unless said otherwise.

    Attributes
    ----------
    mean, variance, maximum : ndarray, float32
        In the scan's own units (counts); values that are not finite are taken as zero.
    at_maximum : ndarray, int32
        At how many positions each pixel meets its maximum.
    nonfinite : ndarray, bool
        Pixels with at least one value that is not finite.
    n_nonfinite, n_negative, n_saturated : int
        Values that are not finite, below zero, at the top of their integer type.
    first_nonfinite : tuple of int or None
        (y, x, ky, kx) of the first value that is not finite.
    total : ndarray, shape (y, x), float32
        Sum of each pattern.
    """

    mean: np.ndarray
    variance: np.ndarray
    maximum: np.ndarray
    at_maximum: np.ndarray
    nonfinite: np.ndarray
    n_nonfinite: int
    n_negative: int
    n_saturated: int
    first_nonfinite: tuple[int, int, int, int] | None
    total: np.ndarray


def survey_steps(scan: Scan, client: Any = None) -> Steps[Survey]:
    """Survey a scan block by block, on the workers of a Dask cluster where one is given.

    Raises
    ------
    DataError
        If a block cannot be read.
    """
    ny, nx, nky, nkx = scan.shape
    pixels = nky * nkx
    top = type_top(scan)
    totals = np.zeros(ny * nx)
    whole = _Sums(pixels)
    yield Progress("survey", 0, ny, "row")
    for rows, (part, own) in each_block(scan, _survey, lambda rows: (rows.start * nx,), client):
        yield Progress("survey", rows.stop, ny, "row")
        whole.add(part)
        totals[rows.start * nx : rows.stop * nx] = own
    mean = whole.sums / (ny * nx)
    shape = (nky, nkx)
    n_nonfinite, n_negative, first = (int(v) for v in whole.counts)
    n_saturated = 0 if top is None else int(whole.at_maximum[whole.maximum == top].sum())
    return Survey(
        mean=mean.astype(np.float32).reshape(shape),
        variance=np.maximum(whole.squares / (ny * nx) - mean**2, 0).astype(np.float32).reshape(shape),
        maximum=whole.maximum.reshape(shape),
        at_maximum=whole.at_maximum.reshape(shape),
        nonfinite=whole.nonfinite.reshape(shape),
        n_nonfinite=n_nonfinite,
        n_negative=n_negative,
        n_saturated=n_saturated,
        first_nonfinite=tuple(int(i) for i in np.unravel_index(first, scan.shape)) if n_nonfinite else None,  # type: ignore[arg-type] # four
        total=totals.astype(np.float32).reshape(ny, nx),
    )


def type_top(scan: Scan) -> float | None:
    """The largest value of a narrow integer type, at which a detector or a file clips; None for wide types."""
    return float(np.iinfo(scan.dtype).max) if scan.dtype.kind in "iu" and scan.dtype.itemsize <= 2 else None


def _lowest(dtype: np.dtype[Any]) -> Any:
    """The least value of a type, as a scalar of it."""
    return dtype.type(np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf)


class _Sums:
    """What is summed over frames; see `survey_frames`."""

    def __init__(self, pixels: int) -> None:
        self.sums, self.squares = np.zeros(pixels), np.zeros(pixels)
        self.maximum = np.full(pixels, -np.inf, np.float32)
        self.at_maximum = np.zeros(pixels, np.int32)
        self.nonfinite = np.zeros(pixels, bool)
        self.counts = np.array([0, 0, -1])

    def add(self, other: _Sums) -> None:
        """Take in the sums of frames that come later."""
        self.sums += other.sums
        self.squares += other.squares
        self.at_maximum = np.where(
            self.maximum == other.maximum,
            self.at_maximum + other.at_maximum,
            np.where(self.maximum > other.maximum, self.at_maximum, other.at_maximum),
        )
        self.maximum = np.maximum(self.maximum, other.maximum)
        self.nonfinite |= other.nonfinite
        if self.counts[2] < 0:
            self.counts[2] = other.counts[2]
        self.counts[:2] += other.counts[:2]


def _survey(raw: np.ndarray, start: int) -> tuple[_Sums, np.ndarray]:
    """What is summed over frames (rows, x, ky, kx) of which the first is at position `start`, and the sum of each."""
    pixels = raw.shape[2] * raw.shape[3]
    flat, lowest = raw.reshape(-1, pixels), _lowest(raw.dtype)
    totals, whole = np.zeros(len(flat)), _Sums(pixels)

    def work(first: int, last: int) -> _Sums:
        part = _Sums(pixels)
        highest, often = np.full(pixels, lowest), np.zeros(pixels, np.float32)
        survey_frames(
            flat[first:last], lowest, part.sums, part.squares, highest, often, part.nonfinite, totals[first:last],
            part.counts,
        )  # fmt: skip
        part.at_maximum = often.astype(np.int32)
        part.maximum = np.where(part.nonfinite, np.maximum(highest, 0), highest).astype(np.float32)
        if part.counts[0]:
            part.counts[2] += (start + first) * pixels
        return part

    for part in map_blocks(work, len(flat), _SPAN):
        whole.add(part)
    return whole, totals
