"""What can be known before any frame is made: bad pixels, masks, the direct beam over the scan, the ellipse, the radii."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.prepare.centre import Beam, Descan, descan_steps, find_beam
from stem4d_panel.prepare.ellipse import Ellipse, measure_ellipse
from stem4d_panel.prepare.frames import Look
from stem4d_panel.prepare.hotpixels import NO_BAD_PIXELS, BadPixels, find_bad_pixels, repair
from stem4d_panel.prepare.masks import Masks, polygon_pixels, saturated_pixels, shadow_pixels
from stem4d_panel.prepare.survey import Survey, type_top
from stem4d_panel.runtime.progress import Steps
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import PrepareSettings


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


def _masks(scan: Scan, survey: Survey, bad: BadPixels, settings: PrepareSettings) -> Masks:
    """What is left out before the centre is known, and not read to find it."""
    shape = scan.detector_shape
    masks = Masks.none(shape).also("not finite", survey.nonfinite)
    if settings.hot_pixels == "mask":
        masks = masks.also("hot or dead", bad.mask(shape))
    if settings.beam_stop is not None and not settings.beam_stop.startswith("below"):
        masks = masks.also("beam stop", polygon_pixels(settings.beam_stop, shape))
    return masks


def _without_clipped(masks: Masks, scan: Scan, survey: Survey, settings: PrepareSettings, warnings: list[str]) -> Masks:
    """Notes what is clipped, and leaves it out where that is wanted; the beam's own core still tells where the beam is."""
    clipped, level = saturated_pixels(survey, type_top(scan), int(np.prod(scan.scan_shape)))
    if level is not None:
        at_top = survey.n_saturated > 0
        what = (
            f"{survey.n_saturated} values at the top of {scan.dtype}"
            if at_top
            else f"many values at {level:g}, none above"
        )
        done = "left out" if settings.saturated == "mask" else "kept; prepare.saturated=mask leaves them out"
        warnings.append(f"{what}: probably clipped by the detector or the file; {int(clipped.sum())} pixels {done}")
        if settings.saturated == "mask":
            return masks.also("saturated", clipped)
    return masks


def _undistort(ellipse: Ellipse | None, settings: PrepareSettings, warnings: list[str]) -> tuple[float, float] | None:
    """Ratio and angle to correct; notes what was found or done."""
    if settings.align == "fourier" and settings.ellipse != "off":
        if settings.ellipse == "given" or (ellipse is not None and ellipse.is_clear):
            warnings.append("prepare.align=fourier only moves frames: the elliptical distortion stays")
        return None
    if settings.ellipse == "given":
        return (settings.ellipse_ratio, settings.ellipse_angle) if settings.ellipse_ratio > 1 else None
    if ellipse is None or not ellipse.is_clear:
        return None
    found = f"the glass ring is an ellipse: axis ratio {ellipse.ratio:.3f} ± {ellipse.error:.3f}, long axis at {ellipse.angle:.0f}°"
    warnings.append(f"{found}; {'corrected' if settings.ellipse == 'auto' else 'not corrected (prepare.ellipse)'}")
    return (ellipse.ratio, ellipse.angle) if settings.ellipse == "auto" else None


def look_steps(scan: Scan, survey: Survey, settings: PrepareSettings, client: Any = None) -> Steps[Look]:
    """Bad pixels, the direct beam over the scan and the radii of the mask, all of which can be shown before frames exist.

    The beam is followed on the workers of a Dask cluster where one is given.

    Raises
    ------
    DataError
        If the scan's values are refused.
    SettingError
        If a radius or a centre lies outside the detector.
    """
    warnings = _checked(scan, survey, settings)
    shape, positions = scan.detector_shape, int(np.prod(scan.scan_shape))
    bad = NO_BAD_PIXELS
    if settings.hot_pixels != "off":
        bad = find_bad_pixels(survey.mean, positions, settings.hot_ratio, survey)
    mean = np.maximum(survey.mean, 0)[None].copy()
    repair(mean, bad.all)
    mean = mean[0]
    for name, value, size in (("centre_ky", settings.centre_ky, shape[0]), ("centre_kx", settings.centre_kx, shape[1])):
        if value is not None and value > size - 1:
            raise SettingError(f"prepare.{name}: {value:g} lies outside the detector, whose last pixel is {size - 1}")
    masks = _masks(scan, survey, bad, settings)
    beam = find_beam(np.where(masks.out, 0, mean))
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
        descan = Descan(np.full(flat.shape, np.nan, np.float32), flat, centre, float("nan"), float("nan"), 0.0, mean)
    else:
        if given:
            beam = Beam(or_stated(beam.centre), beam.radius)
        descan = yield from descan_steps(scan, beam, bad.all, settings.centre, masks.out, client)
        if given:  # the user's word is the mean centre; the fit gives only the movement about it
            centre = or_stated(descan.centre)
            move = np.array(centre) - np.array(descan.centre)
            fitted = (descan.fitted + move[:, None, None]).astype(np.float32)
            descan = replace(descan, fitted=fitted, centre=centre)
        if settings.centre != "off" and descan.is_poor:
            shared = f", {descan.shared:.2f} px of it shared by neighbours" if descan.shared > 0 else ""
            warnings.append(
                f"the direct beam is {descan.residual:.2f} px (rms) off the {settings.centre} surface{shared}, {descan.expected_residual:.2f} px expected from noise: the fit is poor"
            )
    masks = _without_clipped(masks, scan, survey, settings, warnings)
    if settings.beam_stop is not None and settings.beam_stop.startswith("below"):
        masks = masks.also(
            "beam stop", shadow_pixels(mean, descan.centre, float(settings.beam_stop.split()[1]), positions)
        )
    inner = settings.mask_inner
    if inner is None:
        inner = guess_inner_radius(mean, Beam(descan.centre, beam.radius)) if beam is not None else 0.0
    ellipse = measure_ellipse(descan.mean, descan.centre, inner) if beam is not None else None
    undistort = _undistort(ellipse, settings, warnings)
    reach = np.abs(descan.fitted - np.array(descan.centre)[:, None, None]).max(axis=(1, 2))
    cy, cx = descan.centre
    free = min(cy - reach[0], shape[0] - 1 - cy - reach[0], cx - reach[1], shape[1] - 1 - cx - reach[1])
    free /= np.sqrt(undistort[0]) if undistort is not None else 1.0
    outer = settings.mask_outer if settings.mask_outer is not None else max(float(np.floor(free)), inner + 1)
    if outer <= inner:
        raise SettingError(f"prepare.mask_outer: {outer:g} px is not above prepare.mask_inner, {inner:g} px")
    return Look(
        survey=survey,
        bad=bad,
        masks=masks,
        descan=descan,
        mean=mean,
        inner=float(inner),
        outer=float(outer),
        beam_radius=beam.radius if beam else None,
        ellipse=ellipse,
        undistort=undistort,
        warnings=tuple(warnings),
    )
