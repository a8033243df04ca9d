"""Raw frames as rows of the matrix, before they are smoothed over the scan: here, or wherever the frames are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.prepare.align import Resampler
from stem4d_panel.prepare.kernels import add_sums
from stem4d_panel.runtime.threads import map_blocks

_SPAN = 64  # frames that one thread moves and bins at a time


@dataclass(frozen=True, eq=False)
class RowMaker:
    """What a row of the matrix is made with.

    Attributes
    ----------
    resample : Resampler
    shifts : ndarray, shape (positions, 2), float32
        Centre of each frame less the common one, detector pixels.
    unsound : ndarray, shape (ky, kx), bool
        Pixels from which no other is mended.
    mended : ndarray, shape (b, 2)
        Pixels that are mended from their neighbours.
    binned : tuple of int
        Shape (ky, kx) of a binned pattern.
    normalise : bool
        Whether each row is divided by its sum.
    """

    resample: Resampler
    shifts: np.ndarray
    unsound: np.ndarray
    mended: np.ndarray
    binned: tuple[int, int]
    normalise: bool

    def rows(self, raw: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows of frames that follow each other.

        Parameters
        ----------
        raw : ndarray, shape (n, ky, kx)
        first : int
            Position of the first of them.

        Returns
        -------
        rows : ndarray, shape (n, m), float32
        sums : ndarray, shape (n,)
            Of each row, before it was normalised.
        total : ndarray, shape (ky, kx), float64
            Sum of the moved and binned frames; zero where nothing is kept.
        """
        out = np.empty((len(raw), len(self.resample.kept)), np.float32)
        sums = np.empty(len(raw))

        def work(start: int, stop: int) -> np.ndarray:
            total = np.zeros(self.binned)
            span = slice(first + start, first + stop)
            self.resample.write(raw[start:stop], self.shifts[span], out[start:stop], total, self.unsound, self.mended)
            add_sums(out[start:stop], sums[start:stop], np.zeros(out.shape[1]))
            return total

        total = np.asarray(sum(map_blocks(work, len(raw), _SPAN)))
        if self.normalise:
            np.divide(out, sums[:, None], out=out, where=sums[:, None] > 0, casting="same_kind")
        return out, sums, total

    def gain(self, sums: np.ndarray) -> float:
        """What rows that were divided by their `sums` are multiplied with in the end, so that they stay counts."""
        return float(sums[sums > 0].mean()) if self.normalise and (sums > 0).any() else 1.0
