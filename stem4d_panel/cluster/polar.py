"""Patterns in polar coordinates about the direct beam, and their correlation over the rotation angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

ANGLES = 360  # azimuthal samples; more where eight per pixel of the outer radius need it
RADIAL_STEP = 0.5  # pixels
# part of the variance of independent pixels that cubic splines leave between them: (∫ L²)² of the cardinal spline L
KEPT_BY_SPLINES = 0.764


@dataclass(frozen=True, eq=False)
class Polar:
    """Polar patterns and what they rest on.

    Attributes
    ----------
    values : ndarray, shape (k, radii, angles), float32
        Angle counted from +kx towards +ky.
    radii : ndarray, shape (radii,)
        In pixels; rings of which less than half is kept by the mask are absent.
    """

    values: np.ndarray
    radii: np.ndarray


def ring_means(images: np.ndarray, mask: np.ndarray, centre: tuple[float, float], radii: np.ndarray) -> np.ndarray:
    """Means over the kept pixels of each ring, interpolated to `radii` in px, shape (k, radii).

    Parameters
    ----------
    images : ndarray, shape (k, ky, kx)
    mask : ndarray, shape (ky, kx), bool
    centre : tuple of float
    """
    y, x = np.indices(mask.shape)
    whole = np.round(np.hypot(y - centre[0], x - centre[1])).astype(int)[mask]
    kept = np.bincount(whole)
    known = np.flatnonzero(kept)
    if not len(known):
        return np.zeros((len(images), len(radii)))
    profiles = [np.bincount(whole, weights=image[mask])[known] / kept[known] for image in images]
    return np.array([np.interp(radii, known, profile) for profile in profiles]).reshape(len(images), len(radii))


def filled(pattern: np.ndarray, mask: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Pattern with masked pixels filled by the mean of the kept ones at the same radius."""
    whole = np.round(radius).astype(int)
    kept = np.bincount(whole[mask], minlength=whole.max() + 1)
    sums = np.bincount(whole[mask], weights=pattern[mask], minlength=whole.max() + 1)
    known = np.flatnonzero(kept)
    profile = np.interp(np.arange(len(kept)), known, sums[known] / kept[known])
    return np.where(mask, pattern, profile[whole])


def to_polar(patterns: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> Polar:
    """Resample patterns on rings about the centre (cubic splines).

    Parameters
    ----------
    patterns : ndarray, shape (k, ky, kx)
    mask : ndarray, shape (ky, kx), bool
        Pixels that hold data; nothing outside the inscribed circle or inside masked rings is used.
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    """
    ny, nx = mask.shape
    y, x = np.indices(mask.shape)
    radius = np.hypot(y - centre[0], x - centre[1])
    inscribed = max(1.0, min(centre[0], centre[1], ny - 1 - centre[0], nx - 1 - centre[1]))
    outer = min(inscribed, float(radius[mask].max())) if mask.any() else 1.0
    radii = np.arange(RADIAL_STEP, outer + 1e-9, RADIAL_STEP)
    angles = ANGLES * max(1, -(-int(8 * outer) // ANGLES))
    phi = np.arange(angles) * (2 * np.pi / angles)
    ky = centre[0] + radii[:, None] * np.sin(phi)
    kx = centre[1] + radii[:, None] * np.cos(phi)
    nearest = mask[np.clip(np.round(ky).astype(int), 0, ny - 1), np.clip(np.round(kx).astype(int), 0, nx - 1)]
    rings = nearest.mean(axis=1) >= 0.5
    coordinates = np.stack([ky[rings], kx[rings]])
    values = np.empty((len(patterns), int(rings.sum()), angles), np.float32)
    for k, pattern in enumerate(patterns):
        whole = filled(pattern.astype(np.float64), mask, radius)
        ndimage.map_coordinates(whole, coordinates, output=values[k], order=3, mode="nearest")
    return Polar(values, radii[rings])


def spectra(polar: Polar, centring: str) -> np.ndarray:
    """Azimuthal spectra weighted by the root of the radius, shape (k, harmonics, radii), complex64.

    Parameters
    ----------
    polar : Polar
    centring : {"ring", "none"}
        ``ring`` removes the mean of every radius.
    """
    weighted = polar.values * np.sqrt(polar.radii)[:, None].astype(np.float32)
    out = fft.rfft(weighted, axis=2)
    if centring == "ring":
        out[:, :, 0] = 0
    return np.ascontiguousarray(out.transpose(0, 2, 1))


def multiplicity(harmonics: int, angles: int) -> np.ndarray:
    """How often each harmonic of a real pattern counts in its power: twice, but for the first and the Nyquist one."""
    m = np.arange(harmonics)
    return np.where((m == 0) | (2 * m == angles), 1.0, 2.0)


def norms(spectrum: np.ndarray, angles: int) -> np.ndarray:
    """Euclidean norm of each (weighted) polar pattern from its spectrum, shape (k,)."""
    power = (np.abs(spectrum) ** 2).sum(axis=2, dtype=np.float64)
    return np.asarray(np.sqrt(power @ multiplicity(spectrum.shape[1], angles) / angles))


def scalar_products(spectrum: np.ndarray, angles: int) -> np.ndarray:
    """Scalar products (k, k) of patterns from their spectra, as `norms` measures."""
    weights = np.sqrt(multiplicity(spectrum.shape[1], angles) / angles)
    flat = (spectrum * weights[:, None]).reshape(len(spectrum), spectrum.shape[1] * spectrum.shape[2])
    return np.asarray((flat.conj() @ flat.T).real)


def vertices(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights and places (degrees in [0, 360)) of the maxima of correlation curves (n, angles), by parabolas."""
    angles = curves.shape[1]
    best = curves.argmax(axis=1)
    rows, flat = np.arange(len(curves)) * angles, curves.reshape(-1)
    places = ((best - 1) % angles, best, (best + 1) % angles)
    left, top, right = (flat[rows + i].astype(np.float64) for i in places)
    bend = left - 2 * top + right
    offset = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1), 0.0)
    return top - 0.25 * (left - right) * offset, ((best + offset) * (360 / angles)) % 360 % 360


def scaled(heights: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Similarities from correlations and the products of the norms; 0 where a pattern is empty."""
    return np.clip(np.where(sizes > 0, heights / np.where(sizes > 0, sizes, 1), 0.0), -1, 1)


def correlate(one: np.ndarray, others: np.ndarray, angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Best correlation of one pattern with others over the rotation angle.

    The cross-spectra are multiplied radius by radius and summed over the radius afterwards, so that where the rings lie
    counts; summing over the radius first would call two lattices of different spacing equal.

    Parameters
    ----------
    one : ndarray, shape (harmonics, radii)
    others : ndarray, shape (n, harmonics, radii)

    Returns
    -------
    similarity : ndarray, shape (n,)
        1 for patterns equal but for a rotation; 0 where a pattern is empty.
    rotation : ndarray, shape (n,)
        Degrees in [0, 360) by which each of `others` is turned against `one`, from +kx towards +ky, refined between
        the samples by a parabola.
    """
    cross = np.einsum("mr,nmr->nm", one.conj(), others)
    heights, turns = vertices(fft.irfft(cross, n=angles, axis=1))
    return scaled(heights, norms(others, angles) * norms(one[None], angles)[0]), turns


def turned(spectrum: np.ndarray, degrees: float) -> np.ndarray:
    """Spectrum (harmonics, radii) of a pattern turned by `degrees` from +kx towards +ky."""
    m = np.arange(len(spectrum))
    return np.asarray(spectrum * np.exp(-1j * m * np.deg2rad(degrees))[:, None].astype(np.complex64))


def turned_back(spectrum: np.ndarray, degrees: float, mirrored: bool) -> np.ndarray:
    """Spectrum of a pattern that was mirrored at the kx axis where `mirrored`, then turned, brought back."""
    return turned(spectrum.conj(), degrees) if mirrored else turned(spectrum, -degrees)


def rotate_pattern(pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float], degrees: float) -> np.ndarray:
    """Pattern turned by `degrees` from +kx towards +ky about the centre, masked pixels zero.

    Masked pixels are filled by their ring's mean first, so that no edge of the mask is turned into the pattern.
    """
    y, x = np.indices(mask.shape)
    whole = filled(pattern.astype(np.float64), mask, np.hypot(y - centre[0], x - centre[1]))
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]])  # output offset (ky, kx) -> where it was before the turn
    c = np.array(centre)
    out = ndimage.affine_transform(whole, matrix, offset=c - matrix @ c, order=3, mode="nearest")
    return np.where(mask, np.maximum(out, 0), 0).astype(np.float32)
