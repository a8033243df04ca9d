"""One pass over the raw scan: the mean, variance and maximum pattern, and counts of values that need a word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.scan import Scan


@dataclass(frozen=True, eq=False)
class Survey:
    """Statistics of the raw scan over all positions, shape (ky, kx) each unless said otherwise.

    Attributes
    ----------
    mean, variance, maximum : ndarray, float32
        In the scan's own units (counts); values that are not finite are taken as zero.
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
    nonfinite: np.ndarray
    n_nonfinite: int
    n_negative: int
    n_saturated: int
    first_nonfinite: tuple[int, int, int, int] | None
    total: np.ndarray


def survey_steps(scan: Scan) -> Steps[Survey]:
    """Survey a scan block by block.

    Raises
    ------
    DataError
        If a block cannot be read.
    """
    ny, nx, nky, nkx = scan.shape
    n = ny * nx
    top = np.iinfo(scan.dtype).max if scan.dtype.kind in "iu" and scan.dtype.itemsize <= 2 else None
    total = np.zeros((ny, nx), np.float32)
    sums, squares = np.zeros(nky * nkx), np.zeros(nky * nkx)
    maximum = np.full(nky * nkx, -np.inf, np.float32)
    nonfinite = np.zeros(nky * nkx, bool)
    n_nonfinite = n_negative = n_saturated = 0
    first: tuple[int, int, int, int] | None = None
    for rows, raw in scan.blocks():
        yield Progress("survey", rows.start, ny, "row")
        flat = raw.reshape(-1, nky * nkx)
        if raw.dtype.kind == "f":
            bad = ~np.isfinite(flat)
            if bad.any():
                n_nonfinite += int(bad.sum())
                nonfinite |= bad.any(axis=0)
                if first is None:
                    row, pixel = np.argwhere(bad)[0]
                    first = (rows.start + int(row) // nx, int(row) % nx, int(pixel) // nkx, int(pixel) % nkx)
                flat = np.where(bad, 0, flat)
        if raw.dtype.kind in "if":
            n_negative += int((flat < 0).sum())
        highest = flat.max(axis=0)
        if top is not None and highest.max() == top:
            n_saturated += int((flat == top).sum())
        maximum = np.maximum(maximum, highest.astype(np.float32))
        values = flat.astype(np.float32)
        total[rows] = values.sum(axis=1).reshape(-1, nx)
        sums += values.sum(axis=0, dtype=np.float64)
        squares += np.einsum("ij,ij->j", values, values, dtype=np.float64)
    yield Progress("survey", ny, ny, "row")
    mean = sums / n
    shape = (nky, nkx)
    return Survey(
        mean=mean.astype(np.float32).reshape(shape),
        variance=np.maximum(squares / n - mean**2, 0).astype(np.float32).reshape(shape),
        maximum=maximum.reshape(shape),
        nonfinite=nonfinite.reshape(shape),
        n_nonfinite=n_nonfinite,
        n_negative=n_negative,
        n_saturated=n_saturated,
        first_nonfinite=first,
        total=total,
    )
