"""Which components are glass, background or mixtures of them, set apart before crystals are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from stem4d_panel.cluster.patterns import PatternSet, ring_power

_PLAIN = 0.75  # anisotropy from which a pattern is a crystal's whatever its map looks like


@dataclass(frozen=True, eq=False)
class Apart:
    """What tells crystals from the rest, shape (k,) each.

    Attributes
    ----------
    anisotropy : ndarray
        Part of the pattern's norm left when the mean of every radius is removed, the noise taken off both.
    coherence : ndarray
        Autocorrelation of the map at three times the resolution.
    apart : ndarray, bool
        Set apart: little anisotropy, or a middling one on a map without coherence.
    """

    anisotropy: np.ndarray
    coherence: np.ndarray
    apart: np.ndarray


def anisotropy(raw: PatternSet) -> np.ndarray:
    """Part of each pattern's norm left when the mean of every radius is removed, noise taken off, shape (k,), 0 to 1.

    Parameters
    ----------
    raw : PatternSet
        Spectra with the rings' means still in them.
    """
    power = ring_power(raw.spectrum, raw.angles)
    mean = np.abs(raw.spectrum[:, 0].astype(np.complex128)) ** 2
    left = np.maximum((power - mean - raw.noise).sum(axis=1), 0)
    whole = left + mean.sum(axis=1)
    return np.asarray(np.sqrt(left / np.where(whole > 0, whole, 1)))


def map_coherence(image: np.ndarray, distance: float) -> float:
    """Autocorrelation of a map (y, x) at a distance in px, mean removed, averaged over directions; 0 for an even map."""
    ny, nx = image.shape
    size = (2 * ny, 2 * nx)
    pairs = fft.irfft2(np.abs(fft.rfft2(np.ones_like(image), size)) ** 2, size)
    products = fft.irfft2(np.abs(fft.rfft2(image - image.mean(), size)) ** 2, size) / np.maximum(pairs, 1)
    radius = np.hypot(fft.fftfreq(2 * ny)[:, None] * 2 * ny, fft.fftfreq(2 * nx) * 2 * nx)
    ring = (np.abs(radius - min(distance, max(ny, nx) / 2)) < 0.6) & (pairs > 0.5)
    if products[0, 0] <= 1e-12 * float((image**2).mean()) or not ring.any():
        return 0.0
    return float(products[ring].mean() / products[0, 0])


def finest(maps: np.ndarray) -> float:
    """Standard deviation, px, of the blur that the finest of some maps (k, y, x) can have been given.

    White noise that a Gaussian has blurred correlates with itself at a distance r by exp(-r² / 4σ²); read at 2 px.
    """
    at = [map_coherence(image.astype(np.float64), 2.0) for image in maps]
    return float(1 / np.sqrt(-np.log(np.clip(min(at), 1e-6, 0.99))))


def set_apart(raw: PatternSet, maps: np.ndarray, resolution: float, least: float, coherent: float) -> Apart:
    """Tell glass, background and mixtures from crystals.

    Counting noise alone makes a weak pattern anisotropic, so it is taken off first. What is then below `least` is set
    apart; between `least` and .75 the map decides, since glass with traces of a neighbouring crystal lies there too.

    Parameters
    ----------
    raw : PatternSet
        Spectra with the rings' means still in them.
    maps : ndarray, shape (k, y, x)
    resolution : float
        Standard deviation of the blur of the maps, px.
    least, coherent : float
        Least anisotropy, and least coherence of the map in doubt.
    """
    found = anisotropy(raw)
    distance = max(2.0, 3 * resolution)
    coherence = np.array([map_coherence(image.astype(np.float64), distance) for image in maps])
    return Apart(found, coherence, (found < least) | ((found < max(least, _PLAIN)) & (coherence < coherent)))
