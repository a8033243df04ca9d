"""What an analysis will need of memory, told from shapes alone, before anything is read."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.memory import free_memory, in_bytes, limits
from stem4d_panel.scan.scan import Scan, block_bytes
from stem4d_panel.settings import Settings

_ACROSS = 64  # pixels that are left across a pattern where prepare.bin is empty
_PER_BLOCK = 16  # bytes beside a raw value of the block that is worked on: four arrays of float32
_MANY, _BESIDE = 100, 16  # ranks from which the compressed form has so many vectors more, below that twice as many


@dataclass(frozen=True)
class Memory:
    """Bytes: `scan` of the values as stored, `block` while a part is read, `frames` once prepared, `factors` at the stated rank.

    `in_file` tells whether the frames go to a file of the cache. `needed` is the most memory at one time; `free` what
    data may fill, or what the machine has left, None where neither is known.
    """

    scan: int
    block: int
    frames: int
    factors: int
    in_file: bool
    needed: int
    free: int | None

    @property
    def fits(self) -> bool | None:
        """Whether the analysis fits the machine; None where that is not known."""
        return None if self.free is None else self.needed <= self.free

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "fits": self.fits, "text": str(self)}

    def __str__(self) -> str:
        where = " in a file of the cache" if self.in_file else ""
        parts = f"scan {in_bytes(self.scan)}, prepared frames {in_bytes(self.frames)}{where}, factors {in_bytes(self.factors)}"
        free = "what is free is not known" if self.free is None else f"{in_bytes(self.free)} are free"
        verdict = {True: ": it fits", False: ": it does not fit", None: ""}[self.fits]
        return f"{parts}; at most {in_bytes(self.needed)} at one time, {free}{verdict}"


def estimate(shape: tuple[int, int, int, int], dtype: np.dtype[Any], settings: Settings) -> Memory:
    """What the analysis of a scan will need, at most: masks and sparse data need less.

    Parameters
    ----------
    shape : tuple of int
        Of the scan, (y, x, ky, kx).
    dtype : dtype
        Of its values.
    settings : Settings
        Of which the binning and the rank count.
    """
    ny, nx, nky, nkx = shape
    bins = settings.prepare.bin or max(1, -(-max(nky, nkx) // _ACROSS))
    pixels, positions = max(1, nky // bins) * max(1, nkx // bins), ny * nx
    row = nx * nky * nkx
    values = min(max(row, block_bytes() // dtype.itemsize), positions * nky * nkx)  # whole rows, one at least
    block = values * (dtype.itemsize + _PER_BLOCK) + 8 * nky * nkx * 4  # and the statistics of each pixel
    frames = positions * pixels * 4
    rank = min(settings.factorize.rank, positions, pixels)
    most = max(rank, min(settings.factorize.rank_max, positions, pixels))
    vectors = 2 * most if most < _MANY else most + _BESIDE
    factors = 4 * (positions + pixels) * (rank * settings.factorize.starts + vectors)
    in_file = not limits.holds(frames)
    needed = block + factors + (0 if in_file else frames)
    free = free_memory() if limits.memory is None else limits.memory
    return Memory(math.prod(shape) * dtype.itemsize, block, frames, factors, in_file, needed, free)


def check_analysable(scan: Scan, settings: Settings) -> None:
    """Refuse an analysis that cannot be, before anything is read.

    Raises
    ------
    DataError
        If it needs more memory than there is, or the detector has one pixel.
    """
    if scan.detector_shape == (1, 1):
        raise DataError(f"{scan.name}: a detector of 1 × 1 pixel has no patterns to tell apart")
    memory = estimate(scan.shape, scan.dtype, settings)
    if memory.fits is False and memory.free is not None:
        raise DataError(
            f"{scan.name}: its analysis needs {in_bytes(memory.needed)} of memory, {in_bytes(memory.free)} are free; prepare.bin makes it smaller"
        )
