"""The matrix, filled row block by row block and scaled in place; in a file where it is larger than the memory it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stem4d_panel.errors import SettingError
from stem4d_panel.prepare.kernels import add_sums
from stem4d_panel.runtime.memory import file_array, limits
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.runtime.threads import map_blocks

_SPAN = 256  # rows that one thread writes at a time
_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class Scale:
    """By what a matrix is divided, and what of it is kept.

    Attributes
    ----------
    noise : str
        ``keenan-kotula``: division by the roots of the row and column means, so that Poisson noise is even (Keenan &
        Kotula, Surf. Interface Anal. 36 (2004) 203); ``sqrt``: square root of the values; ``off``: nothing.
    gain : float
        Factor of all values, first.
    rows, columns : ndarray, bool
        Those that hold counts.
    row_scale, column_scale : ndarray, float32
        Of those that are kept.
    """

    noise: str
    gain: float
    rows: np.ndarray
    columns: np.ndarray
    row_scale: np.ndarray
    column_scale: np.ndarray

    @classmethod
    def of(cls, noise: str, row_sums: np.ndarray, column_sums: np.ndarray, gain: float = 1.0) -> Scale:
        """From the sums of the rows and columns.

        Raises
        ------
        SettingError
            If nothing is left.
        """
        rows, columns = row_sums > 0, column_sums > 0
        if not rows.any():
            raise SettingError("prepare.mask_inner, prepare.mask_outer: no counts lie between them")
        row_scale, column_scale = (np.ones(int(kept.sum()), np.float32) for kept in (rows, columns))
        if noise == "keenan-kotula":
            means = row_sums[rows]
            row_scale = np.sqrt(means / means.mean()).astype(np.float32)
            column_scale = np.sqrt(gain * column_sums[columns] / len(rows)).astype(np.float32)
        return cls(noise, gain, rows, columns, row_scale, column_scale)

    def apply(self, block: np.ndarray, row_scale: np.ndarray) -> tuple[float, float]:
        """Scale rows in place, of which only kept columns are left; returns their squared norm and sum."""
        if self.gain != 1:
            block *= np.float32(self.gain)
        if self.noise == "keenan-kotula":
            block /= row_scale[:, None]
            block /= self.column_scale
        elif self.noise == "sqrt":
            np.sqrt(block, out=block)
        squares = np.einsum("ij,ij->i", block, block)
        return float(squares.sum(dtype=np.float64)), float(block.sum(axis=1).sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Scaled:
    """A matrix without empty rows and columns, its noise scaled.

    Attributes
    ----------
    matrix : ndarray or RemoteRows, shape (rows kept, columns kept), float32
        A `numpy.memmap` where it lies in a file.
    scale : Scale
    sums : ndarray
        Of all rows, before they were scaled.
    square, total : float
        Squared norm and sum of the scaled matrix.
    """

    matrix: Any
    scale: Scale
    sums: np.ndarray
    square: float
    total: float


class Filling:
    """A matrix that is being filled.

    Parameters
    ----------
    rows, columns : int

    Raises
    ------
    DataError
        If it needs a file and the disk has no room for it.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.matrix = _room(rows, columns)
        self._row_sums, self._column_sums = np.zeros(rows), np.zeros(columns)

    @property
    def in_file(self) -> bool:
        """Whether it is larger than the memory it may take."""
        return isinstance(self.matrix, np.memmap)

    def put(self, start: int, values: np.ndarray) -> None:
        """Write rows from `start` on, shape (rows, columns)."""

        def work(first: int, last: int) -> np.ndarray:
            rows, columns = slice(start + first, start + last), np.zeros(values.shape[1])
            self.matrix[rows] = values[first:last]
            add_sums(values[first:last], self._row_sums[rows], columns)
            return columns

        for columns in map_blocks(work, len(values), _SPAN):
            self._column_sums += columns

    def scaled_steps(self, noise: str, gain: float = 1.0) -> Steps[Scaled]:
        """Leave out what is empty, and scale; see `Scale`.

        Raises
        ------
        SettingError
            If nothing is left.
        """
        scale = Scale.of(noise, self._row_sums, self._column_sums, gain)
        n, m = len(scale.row_scale), len(scale.column_scale)
        whole = scale.rows.all() and scale.columns.all()
        out = self.matrix if whole else _room(n, m)
        kept, square, total = np.flatnonzero(scale.rows), 0.0, 0.0
        step = max(1, _BLOCK_BYTES // (4 * m))
        turn = step * 64
        for begin in range(0, n, turn):
            yield Progress("prepare", begin, n, "position", "scaling")
            end = min(begin + turn, n)

            def work(start: int, stop: int, begin: int = begin) -> tuple[float, float]:
                span = slice(begin + start, begin + stop)
                block = out[span]
                if not whole:
                    block[:] = self.matrix[kept[span]][:, scale.columns]
                return scale.apply(block, scale.row_scale[span])

            sums = map_blocks(work, end - begin, step)
            square, total = square + sum(s for s, _ in sums), total + sum(t for _, t in sums)
        return Scaled(out, scale, gain * self._row_sums, square, total)


def _room(rows: int, columns: int) -> np.ndarray:
    if limits.holds(4 * rows * columns):
        return np.empty((rows, columns), np.float32)
    return file_array((rows, columns))
