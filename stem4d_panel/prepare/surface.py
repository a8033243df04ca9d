"""Surfaces through the direct beam's position over the scan, and a judgement of what they leave."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Surface = Literal["quadratic", "plane", "constant", "smooth", "off"]
Doubles = NDArray[np.float64]

_TERMS = {"off": 1, "constant": 1, "plane": 3, "quadratic": 6, "smooth": 6}
_WIDTHS = (1.5, 3.0, 6.0, 12.0, 24.0)  # px, standard deviations tried for the smoothed rest
_STILL = 1e-6  # px, by which a fit may still change
_SURE = 5.0  # standard deviations from which a shared rest is taken for real


def fit_surface(measured: np.ndarray, surface: Surface) -> Doubles:
    """Robust least-squares surface through centres over the scan (Huber weights, so that crystals do not pull it).

    Parameters
    ----------
    measured : ndarray, shape (2, y, x)
        NaN where unknown; at least one is known.
    surface : {"quadratic", "plane", "constant", "smooth", "off"}
        "smooth" adds to the quadratic surface what neighbouring positions share beyond it: an offset of each row where
        rows jump, and a smoothed rest as wide as predicts left-out positions best.

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
        weight, coefficients = known.astype(float), np.zeros(design.shape[1])
        for _ in range(8):
            before, coefficients = coefficients, _least_squares(design, np.where(known, values, 0), weight)
            if np.abs(coefficients - before).max() < _STILL:
                break
            residual = np.abs(values - design @ coefficients)
            width = 1.4826 * float(np.median(residual[known])) + 1e-9
            weight = np.where(known, np.sqrt(np.minimum(1, 1.5 * width / np.maximum(residual, 1e-12))), 0)
        out[axis] = design @ coefficients
    fitted = out.reshape(measured.shape)
    if surface == "smooth":
        for axis in (0, 1):
            rest = measured[axis] - fitted[axis]
            fitted[axis] += _row_offsets(rest)[:, None]
            fitted[axis] += _smoothed(measured[axis] - fitted[axis])
    return fitted


def shared_part(residual: np.ndarray) -> float:
    """What neighbouring positions share of the residual, rms in px; 0 where it could be noise.

    Counting noise is independent from position to position, a form that the surface lacks is not. Values beyond three
    (robust) standard deviations are drawn in, so that a few crystals that pull the beam count little.

    Parameters
    ----------
    residual : ndarray, shape (2, y, x)
        Measured less fitted, px; NaN where unknown.
    """
    found = 0.0
    for one in residual:
        known = np.isfinite(one)
        if known.sum() < 9:
            continue
        rest = np.where(known, one - np.median(one[known]), 0)
        width = 1.4826 * float(np.median(np.abs(rest[known])))
        rest = np.clip(rest, -3 * width, 3 * width)
        for first, second in ((rest[:, 1:], rest[:, :-1]), (rest[1:], rest[:-1])):
            if first.size > 1:
                shared = abs(float((first * second).mean()))
                noise = float((rest**2).mean()) / np.sqrt(first.size)
                if shared > _SURE * noise:
                    found = max(found, float(np.sqrt(shared)))
    return found


def _design(shape: tuple[int, int], terms: int) -> Doubles:
    rows, columns = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    y, x = rows.ravel(), columns.ravel()
    return np.stack([np.ones_like(y), y, x, y * y, x * y, x * x], axis=1)[:, :terms]


def _least_squares(design: Doubles, values: Doubles, weight: Doubles) -> Doubles:
    """Coefficients by the normal equations: six terms between -1 and 1 lose nothing that matters there."""
    weighted = design * (weight**2)[:, None]
    return np.asarray(np.linalg.lstsq(weighted.T @ design, weighted.T @ values, rcond=1e-12)[0])


def _row_offsets(rest: np.ndarray) -> Doubles:
    """Offset of each row from its neighbours, shape (y,); zeros where rows do not jump beyond the noise of their medians."""
    known = np.isfinite(rest)
    counted = known.sum(axis=1)
    none = np.zeros(len(rest))
    if len(rest) < 4 or counted.min() < 4:
        return none
    offsets = np.nanmedian(rest, axis=1)
    within = rest - offsets[:, None]
    noise = 1.2533 * 1.4826 * float(np.median(np.abs(within[known]))) / np.sqrt(counted.mean())
    jumps = np.diff(offsets)
    # differences of independent medians have twice their variance; a smooth rest hardly changes from row to row
    if np.mean(jumps**2) <= 2 * noise**2 * (1 + _SURE * np.sqrt(3 / len(jumps))):
        return none
    return np.asarray(offsets - ndimage.gaussian_filter1d(offsets, max(_WIDTHS), mode="nearest"))


def _smoothed(rest: np.ndarray) -> Doubles:
    """The rest smoothed over the scan, outliers left out; zeros where that predicts left-out positions no better."""
    known = np.isfinite(rest)
    values = np.where(known, rest, 0)
    width = 1.4826 * float(np.median(np.abs(values[known]))) + 1e-9
    smooth = best = np.zeros(rest.shape)
    least = _loss(values[known], width)
    for sigma in (s for s in reversed(_WIDTHS) if s <= max(rest.shape) / 2):
        wider = smooth
        for _ in range(6):  # from wide to narrow, so that a crystal is far off before the width could follow it
            off = np.abs(values - smooth)
            spread = 1.4826 * float(np.median(off[known])) + 1e-9
            weight = known * np.maximum(0, 1 - (off / (4.7 * spread)) ** 2) ** 2  # Tukey's weights
            total = ndimage.gaussian_filter(weight, sigma, mode="constant")
            summed = ndimage.gaussian_filter(weight * values, sigma, mode="constant")
            smooth = (summed + 1e-3 * wider) / (total + 1e-3)  # the wider one where nothing is near
        own = _own_weight(sigma)
        others = (summed - own * weight * values) / np.maximum(total - own * weight, 1e-3)
        loss = _loss((values - others)[known], width)
        if loss < 0.99 * least:
            best, least = smooth, loss
    return best


def _own_weight(sigma: float) -> float:
    """What a position adds to its own smoothed value."""
    point = np.zeros(8 * int(np.ceil(sigma)) + 9)
    point[len(point) // 2] = 1
    return float(ndimage.gaussian_filter1d(point, sigma).max() ** 2)


def _loss(values: np.ndarray, width: float) -> float:
    """Mean of Huber's loss: squares up to 1.5 widths, straight beyond."""
    size = np.abs(values)
    return float(np.where(size <= 1.5 * width, size**2, 3 * width * size - 2.25 * width**2).mean())
