"""Maps compared over a shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage


@dataclass(frozen=True, eq=False)
class _Padded:
    """Spectra of a zero-padded map, and its energy inside the overlap for every shift, as the first and as the second."""

    spectrum: np.ndarray
    as_first: np.ndarray
    as_second: np.ndarray


class _Frame:
    """What all pairs of maps of one shape (y, x) share."""

    def __init__(self, shape: tuple[int, ...], overlap: float) -> None:
        ny, nx = shape
        self.shape = (ny, nx)
        self.size = (fft.next_fast_len(2 * ny - 1, real=True), fft.next_fast_len(2 * nx - 1, real=True))
        self.ones = self._forward(np.ones(shape))
        self.allowed = self._back(self.ones, self.ones) >= overlap * ny * nx - 1e-6

    def _forward(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(fft.rfft2(values.astype(np.float64), self.size))

    def _back(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        ny, nx = self.shape
        full = np.asarray(fft.irfft2(a.conj() * b, self.size))
        return np.roll(full, (ny - 1, nx - 1), (0, 1))[: 2 * ny - 1, : 2 * nx - 1]

    def padded(self, image: np.ndarray) -> _Padded:
        squares = self._forward(image.astype(np.float64) ** 2)
        return _Padded(self._forward(image), self._back(squares, self.ones), self._back(self.ones, squares))

    def score(self, first: _Padded, second: _Padded) -> np.ndarray:
        """Correlation for every shift, -1 where it does not count."""
        energy = first.as_first * second.as_second
        limit = 1e-9 * max(float(energy.max()), 1e-300)
        product = self._back(first.spectrum, second.spectrum)
        return np.where(self.allowed & (energy > limit), product / np.sqrt(np.maximum(energy, limit)), -1.0)


def best_shift(reference: np.ndarray, image: np.ndarray, overlap: float = 0.25) -> tuple[float, float]:
    """Shift (dy, dx) in pixels by which `image` is displaced against `reference`.

    Maximum of the zero-padded cross-correlation, normalised by the energies inside the overlap, over shifts that leave
    at least `overlap` of the field in common; refined between the pixels by parabolas.

    Parameters
    ----------
    reference, image : ndarray, shape (y, x)
    """
    ny, nx = reference.shape
    frame = _Frame(reference.shape, overlap)
    score = frame.score(frame.padded(reference), frame.padded(image))
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    return _vertex(score[:, x], int(y)) - (ny - 1), _vertex(score[y], int(x)) - (nx - 1)


def map_similarity(maps: np.ndarray, overlap: float = 0.25, first_only: bool = False) -> np.ndarray:
    """Correlation of maps at their best shift, 0 to 1, shape (k, k), or (1, k) for the first map alone.

    As :func:`best_shift`; 0 with an empty map.

    Parameters
    ----------
    maps : ndarray, shape (k, y, x)
    """
    frame = _Frame(maps.shape[1:], overlap)
    ready = [frame.padded(m) for m in maps]
    rows = 1 if first_only else len(maps)
    out = np.zeros((rows, len(maps)))
    for i in range(rows):
        for j in range(i, len(maps)):
            if maps[i].any() and maps[j].any():
                out[i, j] = np.clip(frame.score(ready[i], ready[j]).max(), 0, 1)
                if j < rows:
                    out[j, i] = out[i, j]
    return out


def _vertex(line: np.ndarray, top: int) -> float:
    if not 0 < top < len(line) - 1:
        return float(top)
    left, middle, right = line[top - 1 : top + 2]
    bend = left - 2 * middle + right
    return float(top + (0.5 * (left - right) / bend if bend < 0 and min(left, right) > -1 else 0.0))


def shifted(image: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Image displaced by (dy, dx) pixels, bilinear, zero where it comes from outside."""
    return np.asarray(ndimage.shift(image.astype(np.float32), shift, order=1, mode="constant", prefilter=False))
