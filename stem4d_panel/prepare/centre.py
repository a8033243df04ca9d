"""The direct beam: where it is in the mean pattern, how it moves over the scan (descan), and a smooth surface for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from stem4d_panel.prepare.hotpixels import repair
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.scan import Scan

Surface = Literal["quadratic", "plane", "constant", "off"]
_TERMS = {"off": 1, "constant": 1, "plane": 3, "quadratic": 6}


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
    """

    measured: np.ndarray
    fitted: np.ndarray
    centre: tuple[float, float]
    residual: float
    expected_residual: float


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
    for _ in range(10):
        centre = centre + _window_mean(mean[None], centre[None], 1.5 * radius + 1)[0][0]
    return Beam((float(centre[0]), float(centre[1])), radius)


def _window_mean(frames: np.ndarray, centres: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean offset of the intensity from `centres` within `radius`, with its variance and the counts it rests on.

    `frames` (n, ky, kx), `centres` (n, 2). The window has a soft edge so that it moves smoothly with its centre.
    """
    ny, nx = frames.shape[1:]
    reach = int(np.ceil(radius)) + 1
    corner = np.clip(np.round(centres).astype(int) - reach, 0, [max(0, ny - 2 * reach - 1), max(0, nx - 2 * reach - 1)])
    y = np.minimum(corner[:, :1] + np.arange(2 * reach + 1), ny - 1)
    x = np.minimum(corner[:, 1:] + np.arange(2 * reach + 1), nx - 1)
    patch = frames[np.arange(len(frames))[:, None, None], y[:, :, None], x[:, None, :]].astype(np.float32)
    dy = (y - centres[:, :1])[:, :, None]
    dx = (x - centres[:, 1:])[:, None, :]
    weight = patch * np.clip(radius + 0.5 - np.hypot(dy, dx), 0, 1)
    counts = weight.sum((1, 2))
    safe = np.maximum(counts, 1e-12)
    offset = np.stack([(weight * dy).sum((1, 2)), (weight * dx).sum((1, 2))], axis=1) / safe[:, None]
    spread = (weight * (dy**2 + dx**2)).sum((1, 2)) / safe / 2
    return offset, spread, counts


def _design(shape: tuple[int, int], terms: int) -> np.ndarray:
    rows, columns = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    y, x = rows.ravel(), columns.ravel()
    return np.stack([np.ones_like(y), y, x, y * y, x * y, x * x], axis=1)[:, :terms]


def fit_surface(measured: np.ndarray, surface: Surface) -> np.ndarray:
    """Robust least-squares surface through centres over the scan (Huber weights, so that crystals do not pull it).

    Parameters
    ----------
    measured : ndarray, shape (2, y, x)
        NaN where unknown.
    surface : {"quadratic", "plane", "constant", "off"}

    Returns
    -------
    ndarray, shape (2, y, x), float64
    """
    shape = measured.shape[1:]
    design = _design((shape[0], shape[1]), _TERMS[surface])
    out = np.empty((2, design.shape[0]))
    for axis in (0, 1):
        values = measured[axis].ravel().astype(np.float64)
        known = np.isfinite(values)
        weight = known.astype(float)
        for _ in range(8):
            scaled = design * weight[:, None]
            coefficients = np.linalg.lstsq(scaled, np.where(known, values, 0) * weight, rcond=None)[0]
            residual = np.abs(values - design @ coefficients)
            width = 1.4826 * float(np.median(residual[known])) + 1e-9
            weight = np.where(known, np.sqrt(np.minimum(1, 1.5 * width / np.maximum(residual, 1e-12))), 0)
        out[axis] = design @ coefficients
    return out.reshape(measured.shape)


def descan_steps(scan: Scan, beam: Beam, bad: np.ndarray, surface: Surface) -> Steps[Descan]:
    """Measure the direct beam at every position and fit `surface` through it.

    Two rounds: a wide window about the mean centre, then a narrow one that follows the first fit, so that the tail of the
    window cuts the beam alike everywhere.
    """
    ny, nx = scan.scan_shape
    fitted = np.broadcast_to(np.array(beam.centre)[:, None, None], (2, ny, nx)).copy()
    measured = np.full((2, ny, nx), np.nan, np.float32)
    noise = np.zeros((ny, nx))
    spread_limit = 1.5 * beam.radius + 1
    for turn, radius in enumerate((spread_limit + 2, spread_limit)):
        for rows, raw in scan.blocks():
            yield Progress("descan", turn * ny + rows.start, 2 * ny, "row")
            frames = np.nan_to_num(raw.reshape(-1, *scan.detector_shape), posinf=0, neginf=0, copy=True)
            frames = np.maximum(frames, 0)
            repair(frames, bad)
            centres = fitted[:, rows].reshape(2, -1).T
            offset, spread, counts = _window_mean(frames, centres, radius)
            found = np.where((counts > 0)[:, None], centres + offset, np.nan)
            measured[:, rows] = found.T.reshape(2, -1, nx)
            noise[rows] = (spread / np.maximum(counts, 1)).reshape(-1, nx)
        if not np.isfinite(measured).any():
            break
        fitted = fit_surface(measured, surface)
    yield Progress("descan", 2 * ny, 2 * ny, "row")
    known = np.isfinite(measured)
    residual = float(np.std((measured - fitted)[known])) if known.any() else float("nan")
    centre = (float(fitted[0].mean()), float(fitted[1].mean()))
    if surface == "off":
        fitted = np.broadcast_to(np.array(centre)[:, None, None], fitted.shape)
    return Descan(measured, fitted.astype(np.float32), centre, residual, float(np.sqrt(noise.mean())))
