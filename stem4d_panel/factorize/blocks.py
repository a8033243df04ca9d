"""How every algorithm sees the data: passes over blocks of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from stem4d_panel.errors import Cancelled
from stem4d_panel.factorize.sparse import SparseRows
from stem4d_panel.runtime.progress import still_wanted
from stem4d_panel.runtime.threads import map_blocks

Arrays = tuple[np.ndarray, ...]
Work = Callable[..., tuple[Arrays, Arrays]]

_BLOCK_BYTES = 4 << 20  # a block stays in a cache between the two products that use it
_BLOCK_FILLED = 20_000  # entries of a sparse block
_GROUPS = 8  # sums are gathered in this many parts whatever the threads, and added in order
_LANES = 16  # BLAS is up to 1.5 times faster when the thin side of a product is a multiple of this


class Blocks(ABC):
    """A non-negative matrix X, shape (n, m), read in passes over blocks of its rows.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        float32 or float64.
    filled : int
        Entries that a product has to visit: all of them, or those of a sparse form.
    reads : int
        Passes over all of the data so far.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    filled: int
    reads: int

    @abstractmethod
    def reduce_blocks(self, work: Work, *rows: np.ndarray) -> tuple[Arrays, Arrays]:
        """One pass over the data.

        Parameters
        ----------
        work : callable
            ``work(block, *parts) -> (row_results, sums)``, without side effects: `block` holds some rows of X (a dense
            array or :class:`~stem4d_panel.factorize.sparse.SparseRows`), `parts` the same rows of `rows`.
        *rows : ndarray, shape (n, ...)
            Arrays that stay with their rows.

        Returns
        -------
        row_results : tuple of ndarray, shape (n, ...)
        sums : tuple of ndarray
            Added over the blocks, in an order that does not depend on the number of threads.
        """

    @abstractmethod
    def split(self, count: int) -> list[Blocks]:
        """Every `count`-th row, from each of the first `count`: parts that each stand for the whole."""

    def times(self, right: np.ndarray) -> np.ndarray:
        """X @ right, shape (n, k); one read."""
        right = padded(right, self.dtype)
        (found,), _ = self.reduce_blocks(lambda block: ((np.asarray(block @ right),), ()))
        return found

    def transposed_times(self, left: np.ndarray) -> np.ndarray:
        """Xᵀ @ left, shape (m, k); one read."""
        left = padded(left, self.dtype)
        _, (found,) = self.reduce_blocks(lambda block, part: ((), (np.asarray(block.T @ part),)), left)
        return found

    def gram_times(self, right: np.ndarray) -> np.ndarray:
        """Xᵀ (X @ right), shape (m, k); one read."""
        right = padded(right, self.dtype)
        _, (found,) = self.reduce_blocks(lambda block: ((), (np.asarray(block.T @ np.asarray(block @ right)),)))
        return found

    def half_steps(
        self, right: np.ndarray, update: Callable[..., Arrays], *rows: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """Both products of an iteration in one read.

        ``update(X_b @ right, *parts)`` gives new rows, the first of which meet the block again.

        Returns
        -------
        row_results : tuple of ndarray, shape (n, ...)
        product : ndarray, shape (m, k)
            Xᵀ @ row_results[0].
        """
        k, dtype = right.shape[1], self.dtype  # not `self`: the work may travel to other processes
        right = padded(right, dtype)

        def work(block: Any, *parts: np.ndarray) -> tuple[Arrays, Arrays]:
            new = update(np.asarray(block @ right), *parts)
            return new, (np.asarray(block.T @ padded(new[0], dtype)),)

        found, (product,) = self.reduce_blocks(work, *rows)
        return found, product[:, :k]

    @cached_property
    def square(self) -> float:
        """Squared Frobenius norm of X; the first use costs a read."""
        return self._moments[0]

    @cached_property
    def mean(self) -> float:
        """Mean of X; the first use costs a read."""
        return self._moments[1] / max(1, self.shape[0] * self.shape[1])

    @cached_property
    def _moments(self) -> tuple[float, float]:
        def work(block: Any) -> tuple[Arrays, Arrays]:
            if not isinstance(block, np.ndarray):
                block = block.values.astype(np.float64)[None]
            # short sums in the data's own type, then in double precision: casting all of it takes ten times longer
            squares, totals = np.einsum("ij,ij->i", block, block), block.sum(axis=1)
            return (), (squares.sum(dtype=np.float64), totals.sum(dtype=np.float64))

        _, (square, total) = self.reduce_blocks(work)
        return float(square), float(total)


def padded(thin: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """A thin matrix with columns of zeros up to a multiple of 16, C order."""
    n, k = thin.shape
    wide = -(-k // _LANES) * _LANES
    if k == wide or k < _LANES // 2:
        return np.ascontiguousarray(thin, dtype)
    out = np.zeros((n, wide), dtype)
    out[:, :k] = thin
    return out


class MemoryBlocks(Blocks):
    """A matrix in memory.

    Parameters
    ----------
    X : ndarray or SparseRows, shape (n, m), float32 or float64
        A map of a file (`numpy.memmap`) is read through block by block.
    moments : tuple of float, optional
        Squared norm and sum of the matrix, where they are known.
    """

    def __init__(self, X: np.ndarray | SparseRows, moments: tuple[float, float] | None = None) -> None:
        self.X = X
        self.shape = (int(X.shape[0]), int(X.shape[1]))
        self.dtype = np.dtype(X.dtype)
        self.filled = X.size if isinstance(X, np.ndarray) else len(X.values)
        self.reads = 0
        if moments is not None:
            self._moments = moments
        n = self.shape[0]
        # sparse rows gain nothing from a cache; each block of them makes a full sum, and must be worth a thread's turn
        rows = _BLOCK_BYTES * n // max(1, X.nbytes) if isinstance(X, np.ndarray) else n
        least = 64 if isinstance(X, np.ndarray) else _BLOCK_FILLED * n // max(1, self.filled)
        self._rows = int(max(64, least, -(-min(rows, -(-n // _GROUPS)) // 64) * 64))

    def reduce_blocks(self, work: Work, *rows: np.ndarray) -> tuple[Arrays, Arrays]:
        """See :meth:`Blocks.reduce_blocks`."""
        self.reads += 1
        n, step = self.shape[0], self._rows
        blocks, wanted = -(-n // step), still_wanted()

        def group(first: int, last: int) -> tuple[list[Arrays], list[np.ndarray]]:
            results: list[Arrays] = []
            sums: list[np.ndarray] = []
            for start in range(first * step, min(last * step, n), step):
                if not wanted():
                    raise Cancelled("cancelled")
                stop = min(start + step, n)
                new, adds = work(self.X[start:stop], *(r[start:stop] for r in rows))
                results.append(new)
                sums = [s + a for s, a in zip(sums, adds, strict=True)] if sums else list(adds)
            return results, sums

        groups = map_blocks(group, blocks, -(-blocks // _GROUPS))
        parts = [new for results, _ in groups for new in results]
        total = list(groups[0][1])
        for _, sums in groups[1:]:
            total = [t + s for t, s in zip(total, sums, strict=True)]
        return tuple(np.concatenate(same) for same in zip(*parts, strict=True)), tuple(total)

    def split(self, count: int) -> list[Blocks]:
        """See :meth:`Blocks.split`; a dense matrix is not copied."""
        return [MemoryBlocks(self.X[first::count]) for first in range(count)]
