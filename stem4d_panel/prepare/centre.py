"""The direct beam: where it is in the mean pattern and how it moves over the scan (descan)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from stem4d_panel.prepare.centre_kernels import add_moved, window_means
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
    scan: Scan, beam: Beam, bad: np.ndarray, surface: Surface, out: np.ndarray | None = None
) -> Steps[Descan]:
    """Measure the direct beam at every position and fit `surface` through it.

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
        for rows, raw in scan.blocks():
            yield Progress("descan", turn * ny + rows.start, 2 * ny, "row")
            frames = raw.reshape(-1, *scan.detector_shape)
            centres = np.ascontiguousarray(fitted[:, rows].reshape(2, -1).T)
            moves = np.round(centres - fitted.mean(axis=(1, 2))).astype(np.int64)
            at = rows.start * nx

            def work(
                start: int, stop: int, frames: np.ndarray = frames, centres: np.ndarray = centres, at: int = at,
                moves: np.ndarray = moves, radius: float = radius, last: bool = turn == 1,
            ) -> np.ndarray | None:  # fmt: skip
                offset, spread, counts = _window_mean(frames[start:stop], unsound, centres[start:stop], radius)
                found = np.where((counts > 0)[:, None], centres[start:stop] + offset, np.nan)
                measured.reshape(2, -1)[:, at + start : at + stop] = found.T
                noise[at + start : at + stop] = spread / np.maximum(counts, 1)
                return aligned.part(frames[start:stop], moves[start:stop]) if last else None

            parts = map_blocks(work, len(frames), _SPAN)
            if turn == 1:
                aligned.add(parts, moves)
        if not np.isfinite(measured).any():
            break
        fitted = fit_surface(measured, surface)
    yield Progress("descan", 2 * ny, 2 * ny, "row")
    off = measured - fitted
    residual = float(np.std(off[np.isfinite(off)])) if np.isfinite(off).any() else float("nan")
    centre = (float(fitted[0].mean()), float(fitted[1].mean()))
    if surface == "off":
        fitted = np.broadcast_to(np.array(centre)[:, None, None], fitted.shape)
    return Descan(
        measured, fitted.astype(np.float32), centre, residual, float(np.sqrt(noise.mean())), shared_part(off),
        aligned.mean(),
    )  # fmt: skip


class _MovedMean:
    """Mean of the frames brought to one centre by whole pixels; `good` (ky, kx) are the pixels that count."""

    def __init__(self, good: np.ndarray) -> None:
        self.good = good
        self.total = np.zeros(good.shape)
        self.moves: Counter[tuple[int, int]] = Counter()

    def part(self, frames: np.ndarray, moves: np.ndarray) -> np.ndarray:
        """Sum of some frames (n, ky, kx), read `moves` (n, 2) beyond their grid."""
        part = np.zeros(self.good.shape)
        add_moved(frames, self.good, moves, part)
        return part

    def add(self, parts: list[np.ndarray | None], moves: np.ndarray) -> None:
        """Take in sums, and the moves they were made with."""
        for part in parts:
            self.total += 0.0 if part is None else part
        found, counts = np.unique(moves, axis=0, return_counts=True)
        self.moves.update({(int(y), int(x)): int(n) for (y, x), n in zip(found, counts, strict=True)})

    def mean(self) -> np.ndarray:
        """The mean, shape (ky, kx), float64; NaN where no frame holds a good pixel."""
        seen, one = np.zeros(self.good.shape), self.good[None].astype(np.float32)
        for move, count in self.moves.items():
            part = np.zeros(self.good.shape)
            add_moved(one, self.good, np.array([move]), part)
            seen += count * part
        return np.where(seen > 0, self.total / np.maximum(seen, 1), np.nan)
