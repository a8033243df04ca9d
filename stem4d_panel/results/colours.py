"""Colours: one per class everywhere, safe for colour-blind eyes; what pictures are painted with, on the screen and on paper."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stem4d_panel.measure.findings import ClassFinding, Findings

# Okabe & Ito's palette without black and grey, then Tol's muted one
CRYSTALLINE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2",
    "#88CCEE", "#44AA99", "#DDCC77", "#CC6677", "#AA4499", "#999933", "#882255",
)  # fmt: skip
OTHER = ("#9A9A9A", "#C4C4C4", "#6E6E6E", "#B0A090", "#7F8C9A", "#D6D0C4")
INK = "#1d2430"  # of text and lines; a colour of its own, so that a page can put its own in its place
UNASSIGNED = "#404040"
WHEEL = 1.9  # half the width of the wheel's figure, in radii of the wheel


def class_colours(findings: Findings) -> list[str]:
    """A colour for each class: hues for crystalline ones, greys for glass and background."""
    hues = iter(CRYSTALLINE * (1 + len(findings.classes) // len(CRYSTALLINE)))
    greys = iter(OTHER * (1 + len(findings.classes) // len(OTHER)))
    return [next(hues) if c.crystalline else next(greys) for c in findings.classes]


def rgb(colour: str) -> np.ndarray:
    """A #rrggbb colour as three values of 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def scaled(image: np.ndarray, how: str) -> np.ndarray:
    """Intensities on the scale they are shown in: ``linear``, ``root`` (square root) or ``log``."""
    image = np.maximum(np.nan_to_num(image), 0)
    if how == "root":
        return np.asarray(np.sqrt(image), np.float32)
    if how == "log":
        positive = image[image > 0]
        floor = float(np.percentile(positive, 5)) if positive.size else 1.0
        return np.asarray(np.log10(1 + image / max(floor, 1e-30)), np.float32)
    return np.asarray(image, np.float32)


def limits(image: np.ndarray, low: float = 0.0, high: float = 99.8) -> tuple[float, float]:
    """Percentile limits of an image for display, never equal."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        return 0.0, 1.0
    lo, hi = (float(v) for v in np.percentile(finite, (low, high)))
    return (lo, hi) if hi > lo else (lo, lo + max(abs(lo), 1.0) * 1e-3)


def limits_of_each(images: np.ndarray, low: float = 0.0, high: float = 99.8) -> tuple[np.ndarray, np.ndarray]:
    """As `limits`, of finite images (k, y, x), each its own: two arrays (k, 1, 1)."""
    lo, hi = np.percentile(images, (low, high), axis=(1, 2), keepdims=True)
    return lo, np.where(hi > lo, hi, lo + np.maximum(np.abs(lo), 1.0) * 1e-3)


def over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """One RGBA picture over an opaque other, shape (y, x, 4), uint8."""
    alpha = above[..., 3:].astype(np.float32) / 255
    out = below.copy()
    out[..., :3] = below[..., :3] * (1 - alpha) + above[..., :3] * alpha
    return out


def strengths(located: np.ndarray) -> np.ndarray:
    """Class maps (c, y, x) each as a part of its own upper end, 0 to 1, what is weak left out; float32."""
    tops = np.maximum(np.percentile(located, 99.8, axis=(1, 2), keepdims=True), 1e-30)
    return np.asarray(np.clip((np.clip(located / tops, 0, 1) - 0.12) / 0.88, 0, 1), np.float32)


def class_overlay(strength: np.ndarray, colours: list[str]) -> np.ndarray:
    """Strengths of classes (c, y, x) in their colours, shape (y, x, 4), uint8: hue by class, opacity by strength."""
    alpha = strength.sum(axis=0)
    total = np.tensordot(strength, np.array([rgb(c) for c in colours], np.float32).reshape(-1, 3), axes=(0, 0))
    hue = total / np.maximum(alpha, 1e-6)[..., None]
    return np.dstack([hue * 255, np.clip(alpha, 0, 1) * 235]).astype(np.uint8)


def period(c: ClassFinding) -> float:
    """Degrees after which the orientations of a class come again."""
    return 360 / c.fold


def periods(findings: Findings) -> np.ndarray:
    """The period of the class of each position, shape (y, x)."""
    each = np.array([*(period(c) for c in findings.classes), 360.0])
    return np.asarray(each[findings.position_labels])  # -1: the last


def orientation_overlay(orientation: np.ndarray, period: float | np.ndarray) -> np.ndarray:
    """Angles (degrees, NaN where there is none) as RGBA on a cyclic map of even lightness, shape (y, x, 4), uint8.

    All colours are passed once in each `period` (degrees, one for all or one for each angle).
    """
    known = np.isfinite(orientation)
    angle = np.nan_to_num(orientation) / period * 2 * np.pi
    waves = [0.55 + 0.4 * np.cos(angle - phase) for phase in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    return np.dstack([*(np.clip(w, 0, 1) * 255 for w in waves), known * 235]).astype(np.uint8)


@lru_cache(maxsize=8)  # there are five periods
def wheel(period: float, size: int) -> np.ndarray:
    """A wheel of colours as RGBA (size, size, 4), transparent around it."""
    y, x = (np.mgrid[:size, :size] + 0.5) * (2 * WHEEL / size) - WHEEL
    angle, radius = np.rad2deg(np.arctan2(y, x)) % 360, np.hypot(y, x)
    inside = (radius > 0.4) & (radius < 1)
    out = orientation_overlay(np.where(inside, angle % period, np.nan), period)
    out[inside & (angle > period), 3] = 70
    return out
