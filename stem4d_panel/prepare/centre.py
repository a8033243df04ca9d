"""The direct beam: where it is in the mean pattern and how it moves over the scan (descan)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from stem4d_panel.prepare.centre_kernels import add_moved, window_means
from stem4d_panel.prepare.passes import each_block
from stem4d_panel.prepare.surface import Surface, fit_surface, shared_part
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.runtime.threads import map_blocks
from stem4d_panel.scan.scan import Scan

_SPAN = 256  # frames that one thread measures at a time


@dataclass(frozen=True)
class Beam:
    """The direct beam in the mean pattern: centre (ky, kx) and radius at half its height, in detector pixels."""

    centre: tuple[float, float]
    radius: float


@dataclass(frozen=True, eq=False)
class Descan:
    """Position of the direct beam over the scan.

    Attributes
    ----------
    measured : ndarray, shape (2, y, x), float32
        Centre of mass (ky, kx) of the direct beam in detector pixels; NaN where it could not be measured.
    fitted : ndarray, shape (2, y, x), float32
        The surface along which patterns are aligned.
    centre : tuple of float
        The one centre (ky, kx) they are brought to.
    residual : float
        Standard deviation of measured about fitted, pixels; NaN where nothing was measured.
    expected_residual : float
        What the counting noise alone would leave.
    shared : float
        What neighbouring positions share of the rest (rms, pixels): what the surface cannot follow; 0 where it could be
        noise.
    mean : ndarray, shape (ky, kx)
        Mean of the frames brought to the one centre by whole pixels; NaN where unknown.
    """

    measured: np.ndarray
    fitted: np.ndarray
    centre: tuple[float, float]
    residual: float
    expected_residual: float
    shared: float
    mean: np.ndarray

    @property
    def is_poor(self) -> bool:
        """Whether the surface leaves movement that matters."""
        return self.shared > 0.07 or self.residual > 3 * self.expected_residual + 0.2


def find_beam(mean: np.ndarray) -> Beam | None:
    """The direct beam as the largest bright patch of the mean pattern (hot pixels repaired), or None if none stands out.

    Parameters
    ----------
    mean : ndarray, shape (ky, kx)
    """
    smooth = ndimage.gaussian_filter(mean.astype(np.float64), 1.0)
    peak = smooth.max()
    if not peak > 3 * max(float(np.median(smooth)), 0.0):
        return None
    labels, _ = ndimage.label(smooth > peak / 2)
    disc = labels == labels.flat[int(smooth.argmax())]
    radius = float(np.sqrt(disc.sum() / np.pi))
    centre = np.array(ndimage.center_of_mass(smooth, disc.astype(int), 1))
    sound = np.zeros(mean.shape, bool)
    for _ in range(10):
        centre = centre + _window_mean(mean[None], sound, centre[None], 1.5 * radius + 1)[0][0]
    return Beam((float(centre[0]), float(centre[1])), radius)


def _window_mean(
    frames: np.ndarray, bad: np.ndarray, centres: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets (n, 2), variances (n) and counts (n) of the intensity about `centres` (n, 2); see `window_means`."""
    offset, spread, counts = np.empty((len(frames), 2)), np.empty(len(frames)), np.empty(len(frames))
    window_means(frames, bad, centres, radius, offset, spread, counts)
    return offset, spread, counts


def descan_steps(
    scan: Scan, beam: Beam, bad: np.ndarray, surface: Surface, out: np.ndarray | None = None, client: Any = None
) -> Steps[Descan]:
    """Measure the direct beam at every position, on the workers of a Dask cluster where one is given; fit `surface` through it.

    Two rounds: a wide window about the mean centre, then a narrow one that follows the first fit, so that the tail of the
    window cuts the beam alike everywhere.

    Parameters
    ----------
    bad : ndarray, shape (b, 2)
        Pixels (ky, kx) that are read as the mean of their sound neighbours.
    out : ndarray, shape (ky, kx), bool, optional
        Pixels left out, read like bad ones; they do not count in the aligned mean.
    """
    ny, nx = scan.scan_shape
    fitted = np.broadcast_to(np.array(beam.centre)[:, None, None], (2, ny, nx)).copy()
    measured = np.full((2, ny, nx), np.nan, np.float32)
    noise = np.zeros(ny * nx)
    unsound = np.zeros(scan.detector_shape, bool)
    unsound[tuple(bad.T)] = True
    if out is not None:
        unsound |= out
    aligned = _MovedMean(~unsound)
    narrow = 1.5 * beam.radius + 1
    for turn, radius in enumerate((narrow + 2, narrow)):
        arguments = partial(_of_rows, fitted, (fitted.mean(axis=(1, 2)), unsound, radius, turn == 1))
        yield Progress("descan", turn * ny, 2 * ny, "row")
        for rows, found in each_block(scan, _follow, arguments, client):
            yield Progress("descan", turn * ny + rows.stop, 2 * ny, "row")
            at = slice(rows.start * nx, rows.stop * nx)
            measured.reshape(2, -1)[:, at], noise[at] = found.measured.T, found.noise
            aligned.add(found)
        if not np.isfinite(measured).any():
            break
        fitted = fit_surface(measured, surface)
    off = measured - fitted
    residual = float(np.std(off[np.isfinite(off)])) if np.isfinite(off).any() else float("nan")
    centre = (float(fitted[0].mean()), float(fitted[1].mean()))
    if surface == "off":
        fitted = np.broadcast_to(np.array(centre)[:, None, None], fitted.shape)
    return Descan(
        measured, fitted.astype(np.float32), centre, residual, float(np.sqrt(noise.mean())), shared_part(off),
        aligned.mean(),
    )  # fmt: skip


def _of_rows(fitted: np.ndarray, more: tuple[Any, ...], rows: slice) -> tuple[Any, ...]:
    """What `_follow` needs for some rows."""
    return (np.ascontiguousarray(fitted[:, rows].reshape(2, -1).T), *more)


@dataclass(frozen=True, eq=False)
class _Followed:
    """The beam in some frames: its places (n, 2), their variances (n), and, once wanted, the sum of the frames brought to one centre.

    `moves` are the whole pixels by which they were moved, and how many frames by each.
    """

    measured: np.ndarray
    noise: np.ndarray
    total: np.ndarray | None
    moves: Counter[tuple[int, int]]


def _follow(
    raw: np.ndarray, centres: np.ndarray, middle: np.ndarray, unsound: np.ndarray, radius: float, moved: bool
) -> _Followed:
    """Measure the beam in frames (rows, x, ky, kx) within `radius` of `centres` (n, 2); sum them if they are to be `moved`."""
    frames = raw.reshape(-1, *raw.shape[2:])
    moves = np.round(centres - middle).astype(np.int64)
    measured, noise = np.empty((len(frames), 2), np.float32), np.empty(len(frames))

    def work(start: int, stop: int) -> np.ndarray | None:
        offset, spread, counts = _window_mean(frames[start:stop], unsound, centres[start:stop], radius)
        measured[start:stop] = np.where((counts > 0)[:, None], centres[start:stop] + offset, np.nan)
        noise[start:stop] = spread / np.maximum(counts, 1)
        if not moved:
            return None
        part = np.zeros(unsound.shape)
        add_moved(frames[start:stop], ~unsound, moves[start:stop], part)
        return part

    parts = [part for part in map_blocks(work, len(frames), _SPAN) if part is not None]
    if not parts:
        return _Followed(measured, noise, None, Counter())
    return _Followed(measured, noise, np.asarray(sum(parts)), Counter(zip(*moves.T.tolist(), strict=True)))


class _MovedMean:
    """Mean of the frames brought to one centre by whole pixels; `good` (ky, kx) are the pixels that count."""

    def __init__(self, good: np.ndarray) -> None:
        self.good = good
        self.total = np.zeros(good.shape)
        self.moves: Counter[tuple[int, int]] = Counter()

    def add(self, found: _Followed) -> None:
        """Take in sums, and the moves they were made with."""
        if found.total is not None:
            self.total += found.total
            self.moves.update(found.moves)

    def mean(self) -> np.ndarray:
        """The mean, shape (ky, kx), float64; NaN where no frame holds a good pixel."""
        seen, one = np.zeros(self.good.shape), self.good[None].astype(np.float32)
        for move, count in self.moves.items():
            part = np.zeros(self.good.shape)
            add_moved(one, self.good, np.array([move]), part)
            seen += count * part
        return np.where(seen > 0, self.total / np.maximum(seen, 1), np.nan)
