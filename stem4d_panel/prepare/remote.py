"""The matrix made and held by the workers of a Dask cluster: each reads its own rows of the scan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stem4d_panel.prepare.matrix import Scale, Scaled
from stem4d_panel.prepare.passes import raw_rows, spans
from stem4d_panel.prepare.rolling import gaussian_matrix
from stem4d_panel.prepare.rows import RowMaker
from stem4d_panel.runtime.cluster import results, two
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.scan import Scan

Finish = Callable[[np.ndarray], None]


@dataclass(frozen=True, eq=False)
class RemoteRows:
    """Stands for a matrix whose rows lie on workers.

    Attributes
    ----------
    client : distributed.Client
    parts : tuple of Future
        Of arrays of the shape (rows, m), in order.
    rows : tuple of int
        Rows of each.
    shape : tuple of int
        (n, m).
    """

    client: Any
    parts: tuple[Any, ...]
    rows: tuple[int, ...]
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """Values."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]


def remote_steps(
    client: Any, scan: Scan, make: RowMaker, sigma: float, noise: str, finish: Finish | None
) -> Steps[tuple[Scaled, np.ndarray]]:
    """Make the matrix on the workers.

    A part that is lost with its worker is made again from the file, since nothing but tasks was sent.

    Parameters
    ----------
    client : distributed.Client
    scan : Scan
        Of a file that the workers can read under the same path, or a Dask array.
    make : RowMaker
    sigma : float
        Standard deviation of the smoothing over the scan, px.
    noise : str
        See `Scale`.
    finish : callable, optional
        Changes smoothed rows (y, x, m) in place.

    Returns
    -------
    scaled : Scaled
        With `RemoteRows` as its matrix.
    total : ndarray, shape (ky, kx)
        Sum of all moved and binned frames; zero where nothing is kept.

    Raises
    ------
    DataError
        If the scan lies in the memory of this process, or the scheduler is lost.
    """
    ny, nx = scan.scan_shape
    along_y = gaussian_matrix(ny, sigma) if sigma > 0 else np.eye(ny, dtype=np.float32)
    along_x = gaussian_matrix(nx, sigma) if sigma > 0 else None
    blocks = [(rows.start, rows.stop) for rows in spans(scan)]
    made = []
    for first, last in blocks:
        reach = np.flatnonzero(along_y[first:last].any(axis=0))
        low, high = int(reach[0]), int(reach[-1]) + 1
        raw = raw_rows(client, scan, slice(low, high))
        own = along_y[first:last, low:high]
        made.append(two(client, _made, raw, make, (low, high, first, last), own, along_x, finish))
    sums, row_sums, column_sums = np.zeros(ny * nx), np.zeros(ny * nx), np.zeros(len(make.resample.kept))
    total = np.zeros(make.binned)
    for (first, last), (own_sums, rows, columns, binned) in zip(
        blocks, results(client, [told for _, told in made]), strict=True
    ):
        yield Progress("prepare", first, ny, "row", "on the workers")
        at = slice(first * nx, last * nx)
        sums[at], row_sums[at] = own_sums, rows
        column_sums += columns
        total += binned
    gain = make.gain(sums)
    scale = Scale.of(noise, row_sums, column_sums, gain)
    scaled: list[tuple[Any, Any]] = []
    sizes: list[int] = []
    for (first, last), (part, _) in zip(blocks, made, strict=True):
        rows = scale.rows[first * nx : last * nx]
        own = scale.row_scale[sum(sizes) : sum(sizes) + int(rows.sum())]
        scaled.append(two(client, _scaled, part, scale, rows, own))
        sizes.append(len(own))
    moments = np.array(list(results(client, [told for _, told in scaled])))
    matrix = RemoteRows(
        client, tuple(part for part, _ in scaled), tuple(sizes), (len(scale.row_scale), len(scale.column_scale))
    )
    square, whole = (float(v) for v in moments.sum(axis=0))
    return Scaled(matrix, scale, gain * row_sums, square, whole), total


def _made(
    raw: np.ndarray,
    make: RowMaker,
    span: tuple[int, int, int, int],
    along_y: np.ndarray,
    along_x: np.ndarray | None,
    finish: Finish | None,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Rows `first` to `last` of the matrix from the raw ones `low` to `high`; and what is summed over them."""
    low, high, first, last = span
    nx, frame = raw.shape[1], raw.shape[2:]
    pieces = [
        make.rows(raw[start - low : stop - low].reshape(-1, *frame), start * nx)
        for start, stop in ((low, first), (first, last), (last, high))  # its own rows, and those that reach into them
    ]
    _, sums, binned = pieces[1]
    flat = np.concatenate([rows for rows, _, _ in pieces])
    cube = (along_y @ flat.reshape(high - low, -1)).reshape(last - first, nx, -1)
    if along_x is not None:
        cube = np.matmul(along_x, cube)
    if finish is not None:
        finish(cube)
    rows = np.ascontiguousarray(cube.reshape(-1, cube.shape[2]), np.float32)
    return rows, (sums, rows.sum(axis=1, dtype=np.float64), rows.sum(axis=0, dtype=np.float64), binned)


def _scaled(
    part: np.ndarray, scale: Scale, rows: np.ndarray, row_scale: np.ndarray
) -> tuple[np.ndarray, tuple[float, float]]:
    block = np.array(part[rows][:, scale.columns])
    return block, scale.apply(block, row_scale)
