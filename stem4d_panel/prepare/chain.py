"""The preparation chain: Scan -> Look (statistics, bad pixels, centres, radii) -> Frames (the matrix)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.prepare.align import align_and_bin, covered
from stem4d_panel.prepare.centre import Beam, Descan, descan_steps, find_beam
from stem4d_panel.prepare.frames import Frames, Look
from stem4d_panel.prepare.hotpixels import NO_BAD_PIXELS, find_bad_pixels, repair
from stem4d_panel.prepare.survey import Survey
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.runtime.threads import map_blocks
from stem4d_panel.scan.calibration import Calibration
from stem4d_panel.scan.scan import Axis, Scan
from stem4d_panel.settings import PrepareSettings

VERSION = 1  # part of the cache key: raise it when a result changes


PROBE_PART = 0.8  # smoothing against the probe's own width


def _checked(scan: Scan, survey: Survey, settings: PrepareSettings) -> list[str]:
    """Refuse or note values that are not finite, negative or saturated."""
    notes = []
    if survey.n_nonfinite:
        y, x, ky, kx = survey.first_nonfinite or (0, 0, 0, 0)
        where = f"{survey.n_nonfinite} values are not finite, the first at y={y}, x={x}, ky={ky}, kx={kx}"
        if settings.nonfinite == "refuse":
            raise DataError(f"{scan.name}: {where}; prepare.nonfinite=mask leaves out the pixels that have any")
        notes.append(f"{where}; {int(survey.nonfinite.sum())} detector pixels left out")
    if survey.n_negative:
        if settings.negative == "refuse":
            raise DataError(
                f"{scan.name}: {survey.n_negative} values are below zero; prepare.negative=clip sets them to zero"
            )
        notes.append(f"{survey.n_negative} values below zero set to zero")
    if survey.n_saturated:
        notes.append(
            f"{survey.n_saturated} values at the top of {scan.dtype}: probably clipped by the detector or the file"
        )
    if not survey.total.max() > 0:
        raise DataError(f"{scan.name}: holds no counts")
    return notes


def radial_median(image: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Median over the azimuth at each whole radius in pixels, from 0 to the inscribed circle."""
    y, x = np.indices(image.shape)
    radius = np.hypot(y - centre[0], x - centre[1])
    last = int(min(*centre, image.shape[0] - 1 - centre[0], image.shape[1] - 1 - centre[1]))
    whole = np.round(radius).astype(int)
    return np.array([np.median(image[whole == r]) if (whole == r).any() else 0.0 for r in range(max(1, last + 1))])


def guess_inner_radius(mean: np.ndarray, beam: Beam) -> float:
    """Where the direct beam has fallen into the scattering around it: the median profile stops losing 30 % a pixel."""
    profile = radial_median(mean, beam.centre)
    start = int(np.ceil(beam.radius)) + 1
    for r in range(start, len(profile) - 1):
        if profile[r + 1] >= 0.7 * profile[r]:
            return float(r)
    return float(min(start + 1, max(0, len(profile) - 2)))


def look_steps(scan: Scan, survey: Survey, settings: PrepareSettings) -> Steps[Look]:
    """Bad pixels, the direct beam over the scan and the radii of the mask, all of which can be shown before frames exist.

    Raises
    ------
    DataError
        If the scan's values are refused.
    SettingError
        If a radius or a centre lies outside the detector.
    """
    warnings = _checked(scan, survey, settings)
    shape = scan.detector_shape
    bad = NO_BAD_PIXELS
    if settings.hot_pixels != "off":
        bad = find_bad_pixels(survey.mean, int(np.prod(scan.scan_shape)), settings.hot_ratio)
    mean = np.maximum(survey.mean, 0)[None].copy()
    repair(mean, bad.all)
    mean = mean[0]
    for name, value, size in (("centre_ky", settings.centre_ky, shape[0]), ("centre_kx", settings.centre_kx, shape[1])):
        if value is not None and value > size - 1:
            raise SettingError(f"prepare.{name}: {value:g} lies outside the detector, whose last pixel is {size - 1}")
    beam = find_beam(mean)
    stated = (settings.centre_ky, settings.centre_kx)
    given = stated != (None, None)

    def or_stated(found: tuple[float, float]) -> tuple[float, float]:
        return (found[0] if stated[0] is None else stated[0], found[1] if stated[1] is None else stated[1])

    if beam is None:
        if None in stated:
            warnings.append(
                "no direct beam found: the middle of the detector was taken as centre; prepare.centre_ky and centre_kx set it"
            )
        centre = or_stated(((shape[0] - 1) / 2, (shape[1] - 1) / 2))
        flat = np.broadcast_to(np.array(centre, np.float32)[:, None, None], (2, *scan.scan_shape))
        descan = Descan(np.full(flat.shape, np.nan, np.float32), flat, centre, float("nan"), float("nan"))
    else:
        if given:
            beam = Beam(or_stated(beam.centre), beam.radius)
        descan = yield from descan_steps(scan, beam, bad.all, settings.centre)
        if given:  # the user's word is the mean centre; the fit gives only the movement about it
            centre = or_stated(descan.centre)
            move = np.array(centre) - np.array(descan.centre)
            fitted = (descan.fitted + move[:, None, None]).astype(np.float32)
            descan = replace(descan, fitted=fitted, centre=centre)
        if settings.centre != "off" and descan.residual > 3 * descan.expected_residual + 0.2:
            warnings.append(
                f"the direct beam is {descan.residual:.2f} px (rms) off the {settings.centre} surface, {descan.expected_residual:.2f} px expected from noise: the fit is poor"
            )
    inner = settings.mask_inner
    if inner is None:
        inner = guess_inner_radius(mean, Beam(descan.centre, beam.radius)) if beam is not None else 0.0
    reach = np.abs(descan.fitted - np.array(descan.centre)[:, None, None]).max(axis=(1, 2))
    cy, cx = descan.centre
    free = min(cy - reach[0], shape[0] - 1 - cy - reach[0], cx - reach[1], shape[1] - 1 - cx - reach[1])
    outer = settings.mask_outer if settings.mask_outer is not None else max(float(np.floor(free)), inner + 1)
    if outer <= inner:
        raise SettingError(f"prepare.mask_outer: {outer:g} px is not above prepare.mask_inner, {inner:g} px")
    return Look(survey, bad, descan, mean, float(inner), float(outer), beam.radius if beam else None, tuple(warnings))


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


def gaussian_matrix(n: int, sigma: float) -> np.ndarray:
    """Matrix of a Gaussian filter along an axis of `n`, each row of unit sum (no counts from beyond the edge)."""
    i = np.arange(n)
    kernel = np.exp(-0.5 * ((i[:, None] - i) / sigma) ** 2)
    kernel[kernel < 1e-4] = 0
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True), np.float32)


def smooth_over_scan(cube: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian filter over the scan of an array (y, x, pixels), as two matrix products."""
    ny, nx, m = cube.shape
    out = (gaussian_matrix(ny, sigma) @ cube.reshape(ny, nx * m)).reshape(ny, nx, m)
    return np.asarray(np.matmul(gaussian_matrix(nx, sigma), out))


def _pixel_mask(look: Look, scan: Scan, factor: int, shifts: np.ndarray, settings: PrepareSettings) -> np.ndarray:
    """Binned pixels to keep."""
    shape = scan.detector_shape
    centres = [
        (np.arange(n // factor) * factor + (factor - 1) / 2 - c) for n, c in zip(shape, look.descan.centre, strict=True)
    ]
    radius = np.hypot(centres[0][:, None], centres[1][None, :])
    keep = (radius >= look.inner) & (radius <= look.outer) & covered(shape, shifts, factor)
    out = look.survey.nonfinite | (look.bad.mask(shape) if settings.hot_pixels == "mask" else False)
    low, high = np.floor(shifts.min(axis=0)).astype(int), np.ceil(shifts.max(axis=0)).astype(int)
    for y, x in np.argwhere(out):  # a bad pixel is read by every bin that it passes on its way
        ys = slice(max(0, (y - high[0]) // factor), max(0, (y - low[0]) // factor + 1))
        xs = slice(max(0, (x - high[1]) // factor), max(0, (x - low[1]) // factor + 1))
        keep[ys, xs] = False
    return np.asarray(keep)


def prepare_steps(scan: Scan, look: Look, calibration: Calibration, settings: PrepareSettings) -> Steps[Frames]:
    """Align, bin, mask, smooth and scale.

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
    mask = _pixel_mask(look, scan, factor, shifts, settings)
    if not mask.any():
        raise SettingError(
            f"prepare.mask_inner: {look.inner:g} px and prepare.mask_outer {look.outer:g} px leave no pixel of the detector"
        )
    shape = mask.shape
    cube = np.empty((ny, nx, int(mask.sum())), np.float32)
    binned_mean = np.zeros(shape)
    fix = look.bad.all if settings.hot_pixels == "repair" else np.zeros((0, 2), int)
    for rows, raw in scan.blocks():
        yield Progress("prepare", rows.start, ny, "row")
        block = raw.reshape(-1, *scan.detector_shape)
        first = rows.start * nx
        out = np.empty((len(block), *shape), np.float32)

        def work(start: int, stop: int, block: np.ndarray = block, out: np.ndarray = out, first: int = first) -> None:
            frames = np.array(block[start:stop], np.float32)
            if look.survey.n_nonfinite:
                np.nan_to_num(frames, copy=False, nan=0, posinf=0, neginf=0)
            if look.survey.n_negative:
                np.maximum(frames, 0, out=frames)
            repair(frames, fix)
            align_and_bin(frames, shifts[first + start : first + stop], factor, out[start:stop])

        map_blocks(work, len(block), 64)
        binned_mean += out.sum(axis=0, dtype=np.float64)
        cube[rows] = out[:, mask].reshape(-1, nx, cube.shape[2])
    yield Progress("prepare", ny, ny, "row", "scaling")
    sigma, assumed = choose_smooth(settings, calibration)
    if assumed:
        warnings.append(assumed)
    if settings.normalise == "position":
        total = cube.sum(axis=2, keepdims=True)
        np.divide(cube, total, out=cube, where=total > 0)
        cube *= np.float32(total[total > 0].mean())
    if sigma > 0:
        cube = smooth_over_scan(cube, sigma)
    return _frames(cube, mask, binned_mean / (ny * nx), sigma, factor, scan, look, calibration, settings, warnings)


def _frames(
    cube: np.ndarray,
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
    """Leave out empty rows and columns, scale, and gather everything."""
    matrix = cube.reshape(-1, cube.shape[2])
    rows, columns = matrix.mean(axis=1, dtype=np.float64), matrix.mean(axis=0, dtype=np.float64)
    row_ok, column_ok = rows > 0, columns > 0
    if not row_ok.any():
        raise SettingError(f"prepare.mask_inner: {look.inner:g} px leaves no counts")
    if not row_ok.all():
        warnings.append(f"{int((~row_ok).sum())} positions without counts left out")
    if not column_ok.all():
        warnings.append(f"{int((~column_ok).sum())} detector pixels without counts left out")
        mask = mask.copy()
        mask[mask] = column_ok
    if not (row_ok.all() and column_ok.all()):
        matrix = matrix[np.ix_(row_ok, column_ok)]
    row_scale = np.ones(matrix.shape[0], np.float32)
    column_scale = np.ones(matrix.shape[1], np.float32)
    if settings.noise == "keenan-kotula":
        # Keenan & Kotula 2004: divide by the roots of the row and column means, so that Poisson noise is even
        row_scale = np.sqrt(rows[row_ok] / rows[row_ok].mean()).astype(np.float32)
        column_scale = np.sqrt(columns[column_ok]).astype(np.float32)
        matrix /= row_scale[:, None]
        matrix /= column_scale
    elif settings.noise == "sqrt":
        np.sqrt(matrix, out=matrix)
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
    plain = sigma == 0 and settings.noise == "off" and settings.normalise == "off"
    return Frames(
        matrix=np.ascontiguousarray(matrix),
        row_scale=row_scale,
        column_scale=column_scale,
        positions=row_ok.reshape(scan.scan_shape),
        mask=mask,
        axes=(y, x, ky, kx),
        centre=(middle[0], middle[1]),
        smooth=sigma,
        resolution=float(np.hypot(sigma, probe_sigma(calibration) or 0.0)),
        probe=probe_sigma(calibration) or sigma / PROBE_PART,
        bin=factor,
        is_counts=plain and scan.dtype.kind in "iu",
        linear=settings.noise != "sqrt",
        mean=np.where(mask, mean, 0).astype(np.float32),
        look=look,
        calibration=calibration,
        warnings=tuple(warnings),
    )
