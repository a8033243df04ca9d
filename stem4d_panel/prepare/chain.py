"""The preparation chain: from the scan and the look at it to frames (the matrix)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from stem4d_panel.errors import SettingError
from stem4d_panel.prepare.align import NO_PIXELS, Resampler, covered
from stem4d_panel.prepare.ellipse import undistorting_grid
from stem4d_panel.prepare.frames import Frames, Look
from stem4d_panel.prepare.matrix import Filling, Scaled
from stem4d_panel.prepare.remote import Finish, remote_steps
from stem4d_panel.prepare.rolling import Rolling
from stem4d_panel.prepare.rows import RowMaker
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.calibration import Calibration
from stem4d_panel.scan.scan import Axis, Scan
from stem4d_panel.settings import PrepareSettings

VERSION = 3  # of all modules of this stage; part of the cache key: raise it when a result changes

PROBE_PART = 0.8  # smoothing against the probe's own width


def choose_bin(settings: PrepareSettings, shape: tuple[int, int]) -> int:
    """The binning factor: the user's, or the least that leaves at most 64 pixels across.

    Raises
    ------
    SettingError
        If a bin is larger than the detector.
    """
    if settings.bin is None:
        return max(1, -(-max(shape) // 64))
    if settings.bin > min(shape):
        raise SettingError(f"prepare.bin: {settings.bin} is above the detector of {shape[0]} × {shape[1]} pixels")
    return int(settings.bin)


def probe_sigma(calibration: Calibration) -> float | None:
    """Standard deviation of the probe in scan pixels, None where probe or step is unknown."""
    step = calibration.scan_step[1]
    if calibration.probe_size.value is None or step.unit == "px" or not step.value:
        return None
    return calibration.probe_size.value / 2.3548 / step.value


def choose_smooth(settings: PrepareSettings, calibration: Calibration) -> tuple[float, str | None]:
    """Standard deviation of the scan smoothing in px, and a note where it was assumed."""
    if settings.smooth is not None:
        return float(settings.smooth), None
    probe = probe_sigma(calibration)
    if probe is None:
        return 1.0, "probe or scan step unknown: maps smoothed by 1 px; prepare.smooth sets it"
    sigma = PROBE_PART * probe
    return (0.0 if sigma < 0.3 else float(min(sigma, 20.0))), None


def _pixel_mask(
    look: Look, scan: Scan, factor: int, shifts: np.ndarray, form: str, grid: np.ndarray | None
) -> np.ndarray:
    """Binned pixels to keep."""
    shape = scan.detector_shape
    centres = [
        (np.arange(n // factor) * factor + (factor - 1) / 2 - c) for n, c in zip(shape, look.descan.centre, strict=True)
    ]
    radius = np.hypot(centres[0][:, None], centres[1][None, :])
    readable = covered(shape, shifts, factor, form, look.masks.out, grid)
    return np.asarray((radius >= look.inner) & (radius <= look.outer) & readable)


def take_background(
    cube: np.ndarray, mask: np.ndarray, centre: tuple[float, float], factor: int, percentile: float
) -> None:
    """Subtract, in place, the percentile of each ring from each pattern; what falls below zero becomes zero.

    Parameters
    ----------
    cube : ndarray, shape (y, x, m), float32
        The kept pixels of each pattern.
    mask : ndarray, shape (ky, kx), bool
        Which they are.
    centre : tuple of float
        Direct beam (ky, kx), detector pixels.
    factor : int
        The binning; a ring is one binned pixel wide.
    percentile : float
        Of the ring's pixels, 0 to 100.
    """
    ky, kx = np.nonzero(mask)
    middle = [(c - (factor - 1) / 2) / factor for c in centre]
    ring = np.round(np.hypot(ky - middle[0], kx - middle[1])).astype(int)
    for r in np.unique(ring):
        at = np.flatnonzero(ring == r)
        for row in cube:
            values = row[:, at]
            low = np.percentile(values, percentile, axis=1, keepdims=True)
            row[:, at] = np.maximum(values - low, 0)


def prepare_steps(
    scan: Scan, look: Look, calibration: Calibration, settings: PrepareSettings, client: Any = None
) -> Steps[Frames]:
    """Align, bin, mask, smooth and scale; on the workers of a Dask cluster, which keep the matrix, where one is given.

    Raises
    ------
    SettingError
        If the masks leave no pixel, or a bin is larger than the detector.
    """
    ny, nx = scan.scan_shape
    factor = choose_bin(settings, scan.detector_shape)
    warnings = list(look.warnings)
    shifts = (look.descan.fitted - np.array(look.descan.centre, np.float32)[:, None, None]).reshape(2, -1).T
    shifts = np.ascontiguousarray(shifts if settings.centre != "off" else np.zeros_like(shifts), np.float32)
    grid = undistorting_grid(scan.detector_shape, look.descan.centre, *look.undistort) if look.undistort else None
    form = settings.align if shifts.any() or grid is not None else "integer"  # what does not move is not interpolated
    mask = _pixel_mask(look, scan, factor, shifts, form, grid)
    if not mask.any():
        raise SettingError(
            f"prepare.mask_inner: {look.inner:g} px and prepare.mask_outer {look.outer:g} px leave no pixel of the detector"
        )
    kept = np.flatnonzero(mask)
    sigma, assumed = choose_smooth(settings, calibration)
    if assumed:
        warnings.append(assumed)
    make = RowMaker(
        resample=Resampler(scan.detector_shape, factor, form, kept, grid),
        shifts=shifts,
        unsound=look.bad.mask(scan.detector_shape),
        mended=look.bad.all if settings.hot_pixels == "repair" else NO_PIXELS,
        binned=mask.shape,
        normalise=settings.normalise == "position",
    )
    background = None
    if settings.background == "radial":
        background = partial(
            take_background,
            mask=mask,
            centre=look.descan.centre,
            factor=factor,
            percentile=settings.background_percentile,
        )
        warnings.append("radial background taken off: values are not counts, maps and patterns not additive")
    if client is not None:
        scaled, binned = yield from remote_steps(client, scan, make, sigma, settings.noise, background)
    else:
        scaled, binned = yield from _filled_steps(scan, make, sigma, settings.noise, background)
    if isinstance(scaled.matrix, np.memmap):
        warnings.append("the prepared frames are larger than the memory they may take: they lie in a file of the cache")
    mean = binned / (ny * nx)
    return _frames(scaled, mask, mean, sigma, factor, scan, look, calibration, settings, warnings)


def _filled_steps(
    scan: Scan, make: RowMaker, sigma: float, noise: str, finish: Finish | None
) -> Steps[tuple[Scaled, np.ndarray]]:
    """The matrix, filled here block by block, and the sum of all moved and binned frames; see `remote_steps`."""
    ny, nx = scan.scan_shape
    m = len(make.resample.kept)
    filling, rolling = Filling(ny * nx, m), Rolling(scan.scan_shape, sigma)
    sums, total = np.zeros(ny * nx), np.zeros(make.binned)
    for rows, raw in scan.blocks():
        yield Progress("prepare", rows.start, ny, "row")
        at = rows.start * nx
        flat, sums[at : rows.stop * nx], part = make.rows(raw.reshape(-1, *scan.detector_shape), at)
        total += part
        ready, values = rolling.push(flat.reshape(-1, nx, m))
        if finish is not None:
            finish(values)
        filling.put(ready.start * nx, values.reshape(-1, m))
    return (yield from filling.scaled_steps(noise, make.gain(sums))), total


def _frames(
    scaled: Scaled,
    mask: np.ndarray,
    mean: np.ndarray,
    sigma: float,
    factor: int,
    scan: Scan,
    look: Look,
    calibration: Calibration,
    settings: PrepareSettings,
    warnings: list[str],
) -> Frames:
    """The matrix and all that folds it back."""
    if not scaled.scale.rows.all():
        warnings.append(f"{int((~scaled.scale.rows).sum())} positions without counts left out")
    if not scaled.scale.columns.all():
        warnings.append(f"{int((~scaled.scale.columns).sum())} detector pixels without counts left out")
        mask = mask.copy()
        mask[mask] = scaled.scale.columns
    if settings.noise == "sqrt":
        warnings.append("square root of the data: maps and patterns are not additive")
    middle = tuple((c - (factor - 1) / 2) / factor for c in look.descan.centre)
    steps = [(q.value or 1.0) * factor for q in calibration.detector_step]
    ky, kx = (
        Axis(a.name, n, scale=step, offset=-step * c, units=q.unit, origin=q.origin)
        for a, n, q, step, c in zip(scan.axes[2:], mask.shape, calibration.detector_step, steps, middle, strict=True)
    )
    y, x = (
        replace(a, scale=q.value or 1.0, units=q.unit, origin=q.origin, offset=a.offset if q.origin != "user" else 0.0)
        for a, q in zip(scan.axes[:2], calibration.scan_step, strict=True)
    )
    plain = sigma == 0 and (settings.noise, settings.normalise, settings.background) == ("off", "off", "off")
    return Frames(
        matrix=scaled.matrix,
        row_scale=scaled.scale.row_scale,
        column_scale=scaled.scale.column_scale,
        virtual=scaled.sums.reshape(scan.scan_shape).astype(np.float32),
        square=scaled.square,
        total=scaled.total,
        positions=scaled.scale.rows.reshape(scan.scan_shape),
        mask=mask,
        axes=(y, x, ky, kx),
        centre=(middle[0], middle[1]),
        smooth=sigma,
        resolution=float(np.hypot(sigma, probe_sigma(calibration) or 0.0)),
        probe=probe_sigma(calibration) or sigma / PROBE_PART,
        bin=factor,
        is_counts=plain and scan.dtype.kind in "iu",
        linear=settings.noise != "sqrt" and settings.background == "off",
        mean=np.where(mask, mean, 0).astype(np.float32),
        look=look,
        calibration=calibration,
        warnings=tuple(warnings),
    )
