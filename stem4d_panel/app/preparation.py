"""What preparing found, as pictures: patterns before and after, the beam's movement over the scan and what the fit leaves."""

from __future__ import annotations

import warnings

import numpy as np

from stem4d_panel.app.figures import Paint
from stem4d_panel.app.palette import plain
from stem4d_panel.app.pattern_figure import detector_axes
from stem4d_panel.app.showing import Shown
from stem4d_panel.results.geometry import circle
from stem4d_panel.scan.scan import Axis

MEAN, READ, PREPARED = "mean pattern", "mean as read", "mean, prepared"
MAXIMUM, VARIANCE = "maximum", "variance"
WHOLE = [MEAN, READ, PREPARED, MAXIMUM, VARIANCE]  # patterns of all positions together
MOVED, LEFT = "beam movement", "beam residual"
BEAM = [MOVED, LEFT]
_ARROWS = 12  # along the longer side of the scan
_MARKED = 200  # bad pixels, at most


def whole_pattern(shown: Shown, mode: str) -> tuple[str, np.ndarray, tuple[Axis, Axis]]:
    """A pattern of all positions: what the caption says of it, the image (ky, kx), its axes."""
    look = shown.look
    if look is None:  # a saved result holds no other
        return "mean of all positions, as prepared", np.asarray(shown.mean_pattern), shown.axes[2:]
    field, bad = detector_axes(shown), len(look.bad.all)
    marked = f", {bad} hot or dead pixels marked" if bad else ""
    if mode == PREPARED and shown.frames is not None:
        bin_ = f", bin {shown.frames.bin}" if shown.frames.bin > 1 else ""
        return f"mean of all positions, aligned and masked{bin_}", shown.frames.mean, shown.axes[2:]
    if mode == READ:
        return f"mean of all positions as read{marked}", look.survey.mean, field
    if mode == MAXIMUM:
        return f"largest value at any position{marked}", look.survey.maximum, field
    if mode == VARIANCE:
        return f"variance over the positions{marked}", look.survey.variance, field
    return "mean of all positions, repaired, with the mask's circles and the centre", look.mean, field


def bad_pixels(shown: Shown, mode: str) -> list[np.ndarray]:
    """Circles around hot and dead pixels, where a pattern shows them."""
    if shown.look is None or mode not in (READ, MAXIMUM, VARIANCE):
        return []
    y, x = detector_axes(shown)
    at = shown.look.bad.all[:_MARKED]
    return [circle(2 * x.scale, x.offset + x.scale * kx, -(y.offset + y.scale * ky)) for ky, kx in at]


def beam(shown: Shown, mode: str) -> tuple[str, Paint, np.ndarray, list[np.ndarray]]:
    """The beam's movement over the scan, or what the fit leaves: caption, how to paint, the image (y, x), arrows."""
    descan = shown.look.descan
    if not np.isfinite(descan.measured).any():
        flat = np.zeros(descan.fitted.shape[1:], np.float32)
        return "no direct beam was found: nothing is followed", plain(flat, "inferno"), flat, []
    if mode == MOVED:
        field = descan.fitted - np.array(descan.centre, np.float32)[:, None, None]
        text = f"movement of the beam, as fitted: up to {np.hypot(*field).max():.2f} px from its mean"
    else:
        field = descan.measured - descan.fitted
        text = f"beam measured less fitted: {descan.residual:.2f} px (rms), {descan.expected_residual:.2f} px expected from noise"
        text += "; the fit is poor" if descan.is_poor else ""
    arrows, longest = _arrows(field, *shown.axes[:2])
    size = np.asarray(np.hypot(*field), np.float32)
    return f"{text}; longest arrow {longest:.2g} px", plain(size, "inferno"), size, arrows


def _arrows(field: np.ndarray, y: Axis, x: Axis) -> tuple[list[np.ndarray], float]:
    """Means of a vector field (2, y, x) over square cells as arrows in the figure's coordinates, and the longest, px.

    The longest fills its cell: directions can be read whatever the size.
    """
    ny, nx = field.shape[1:]
    cell = max(1, -(-max(ny, nx) // _ARROWS))
    at, means = [], []
    for top in range(0, ny, cell):
        for left in range(0, nx, cell):
            part = field[:, top : top + cell, left : left + cell].reshape(2, -1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a cell in which nothing is known
                mean = np.nanmean(part, axis=1)
            if np.isfinite(mean).all():
                at.append((min(top + (cell - 1) / 2, ny - 1), min(left + (cell - 1) / 2, nx - 1)))
                means.append(mean)
    longest = max((float(np.hypot(*m)) for m in means), default=0.0)
    if longest == 0:
        return [], 0.0
    scale = 0.95 * cell / longest
    return [_arrow(y.scale * a[0] + y.offset, x.scale * a[1] + x.offset, m * scale * (y.scale, x.scale)) for a, m in zip(at, means, strict=True)], longest  # fmt: skip


def _arrow(y: float, x: float, vector: np.ndarray) -> np.ndarray:
    """An arrow whose middle is at a position, as a path (n, 2) in figure coordinates, where rows count downwards as -y."""
    along = np.array([vector[1], -vector[0]])
    across = np.array([-along[1], along[0]])
    tip, tail = np.array([x, -y]) + along / 2, np.array([x, -y]) - along / 2
    wings = [tip - 0.3 * along + side * 0.18 * across for side in (1, -1)]
    return np.array([tail, tip, wings[0], tip, wings[1]])
