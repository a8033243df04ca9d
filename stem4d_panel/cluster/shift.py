"""Maps compared over a shift."""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage


def best_shift(reference: np.ndarray, image: np.ndarray, overlap: float = 0.25) -> tuple[float, float]:
    """Shift (dy, dx) in pixels by which `image` is displaced against `reference`.

    Maximum of the zero-padded cross-correlation, normalised by the energies inside the overlap, over shifts that leave
    at least `overlap` of the field in common; refined between the pixels by parabolas.

    Parameters
    ----------
    reference, image : ndarray, shape (y, x)
    """
    ny, nx = reference.shape
    size = (fft.next_fast_len(2 * ny - 1, real=True), fft.next_fast_len(2 * nx - 1, real=True))

    def spectrum(values: np.ndarray) -> np.ndarray:
        return np.asarray(fft.rfft2(values.astype(np.float64), size))

    def back(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        full = np.asarray(fft.irfft2(a.conj() * b, size))
        return np.roll(full, (ny - 1, nx - 1), (0, 1))[: 2 * ny - 1, : 2 * nx - 1]

    ones = spectrum(np.ones((ny, nx)))
    product = back(spectrum(reference), spectrum(image))
    energy = back(spectrum(reference**2), ones) * back(ones, spectrum(image**2))
    area = back(ones, ones)
    limit = 1e-9 * max(float(energy.max()), 1e-300)
    score = np.where((area >= overlap * ny * nx) & (energy > limit), product / np.sqrt(np.maximum(energy, limit)), -1.0)
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    return _vertex(score[:, x], int(y)) - (ny - 1), _vertex(score[y], int(x)) - (nx - 1)


def _vertex(line: np.ndarray, top: int) -> float:
    if not 0 < top < len(line) - 1:
        return float(top)
    left, middle, right = line[top - 1 : top + 2]
    bend = left - 2 * middle + right
    return float(top + (0.5 * (left - right) / bend if bend < 0 and min(left, right) > -1 else 0.0))


def shifted(image: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Image displaced by (dy, dx) pixels, bilinear, zero where it comes from outside."""
    return np.asarray(ndimage.shift(image.astype(np.float32), shift, order=1, mode="constant", prefilter=False))
