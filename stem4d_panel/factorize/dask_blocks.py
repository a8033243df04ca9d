"""The same passes over a matrix whose rows are held by the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stem4d_panel.factorize.blocks import Arrays, Blocks, Work
from stem4d_panel.runtime.cluster import results, two

_FAN = 8  # sums that one task adds; in a tree, so that they never meet on one machine


class DaskBlocks(Blocks):
    """A matrix in parts on workers.

    A part that is lost with its worker is made again from the task that made it, so the parts should be results of
    tasks, not data that were sent.

    Parameters
    ----------
    client : distributed.Client
    parts : sequence of Future
        Of arrays of the shape (rows, m), in the order of the rows.
    rows : sequence of int
        Rows of each part.
    pixels : int
        Columns, m.
    dtype : dtype
    moments : tuple of float, optional
        Squared norm and sum of the matrix, where they are known.
    """

    def __init__(
        self,
        client: Any,
        parts: Sequence[Any],
        rows: Sequence[int],
        pixels: int,
        dtype: Any = np.float32,
        moments: tuple[float, float] | None = None,
    ) -> None:
        self.client, self.parts = client, list(parts)
        self._edges = [0, *np.cumsum(rows).tolist()]
        self.shape = (self._edges[-1], pixels)
        self.dtype = np.dtype(dtype)
        self.filled = self.shape[0] * pixels
        self.reads = 0
        if moments is not None:
            self._moments = moments

    def reduce_blocks(self, work: Work, *rows: np.ndarray) -> tuple[Arrays, Arrays]:
        """See :meth:`Blocks.reduce_blocks`. Rows go out with the tasks and come back; sums are added on the workers."""
        self.reads += 1
        found = [
            two(self.client, work, part, *(np.ascontiguousarray(r[a:b]) for r in rows))
            for part, a, b in zip(self.parts, self._edges, self._edges[1:], strict=False)
        ]
        sums = [adds for _, adds in found]
        while len(sums) > 1:
            sums = [self.client.submit(_add, *sums[i : i + _FAN], pure=False) for i in range(0, len(sums), _FAN)]
        *parts, total = results(self.client, [*(kept for kept, _ in found), *sums])
        return tuple(np.concatenate(same) for same in zip(*parts, strict=True)), tuple(total)

    def split(self, count: int) -> list[Blocks]:
        """See :meth:`Blocks.split`; each part's rows are taken where they lie."""
        out: list[Blocks] = []
        for first in range(count):
            offsets = [(first - edge) % count for edge in self._edges[:-1]]
            parts = [
                self.client.submit(_every, p, o, count, pure=False) for p, o in zip(self.parts, offsets, strict=True)
            ]
            sizes = [
                len(range(o, b - a, count)) for o, a, b in zip(offsets, self._edges, self._edges[1:], strict=False)
            ]
            out.append(DaskBlocks(self.client, parts, sizes, self.shape[1], self.dtype))
        return out


def _add(*sums: Arrays) -> Arrays:
    total = sums[0]
    for other in sums[1:]:
        total = tuple(a + b for a, b in zip(total, other, strict=True))
    return total


def _every(part: np.ndarray, first: int, step: int) -> np.ndarray:
    return np.ascontiguousarray(part[first::step])
