"""Correlation curves of positions of a scan with representatives, from the model or from measured frames.

The model's pattern at a position is a sum of components, and so is its azimuthal spectrum. Correlation curves of a
position with a representative are therefore the same sum of the components' curves: one matrix product, no transform.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy import fft

from stem4d_panel.cluster.polar import ANGLES, norms, scalar_products, scaled, vertices
from stem4d_panel.cluster.radial import band_limit, compressed, directions, powers
from stem4d_panel.cluster.similarity import HARMONICS, between
from stem4d_panel.runtime.threads import map_blocks

BLOCK = 512  # positions that a thread holds at a time
FRAME_RADII = 16  # radial directions that are kept of measured frames, which holds back their noise
FRAME_SAMPLE = 256  # frames from which these are found


class Source(Protocol):
    """Spectra of positions in coordinates that keep correlations, shape (n, harmonics, coordinates)."""

    angles: int

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Spectra of some positions."""

    def compare(self, representatives: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Similarities and rotations of positions against representatives, shape (p, n)."""

    def whole(self, spectrum: np.ndarray) -> np.ndarray:
        """Spectra on all radii."""


class Model:
    """Positions as sums of components: weights (n, k) times spectra (k, harmonics, radii)."""

    def __init__(self, weights: np.ndarray, spectrum: np.ndarray, angles: int) -> None:
        self.angles = angles
        self.weights = np.ascontiguousarray(weights, np.float32)
        kept = spectrum[:, : band_limit(powers(spectrum, angles))]
        basis, factor = np.linalg.qr(kept.transpose(1, 2, 0))  # radii enter only through the components' directions
        self.basis, self.parts = basis, np.ascontiguousarray(factor.transpose(2, 0, 1))  # (m, radii, q), (k, m, q)
        self.products = scalar_products(self.parts, angles)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Spectra, in the coordinates of the components."""
        return np.asarray(np.tensordot(self.weights[rows].astype(np.complex64), self.parts, 1))

    def compare(self, representatives: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Similarities and rotations, from sums of the components' curves."""
        cross = representatives.conj().transpose(1, 0, 2) @ self.parts.transpose(1, 2, 0)
        tables = fft.irfft(cross.transpose(1, 2, 0), n=self.angles, axis=2)  # (p, k, angles)
        weights = self.weights[rows]
        heights, turns = np.empty((2, len(tables), len(rows)))

        def work(start: int, stop: int) -> None:
            for p, table in enumerate(tables):
                heights[p, start:stop], turns[p, start:stop] = vertices(weights[start:stop] @ table)

        map_blocks(work, len(rows), BLOCK)
        sizes = lengths(weights, self.products) * norms(representatives, self.angles)[:, None]
        return scaled(heights, sizes), turns

    def whole(self, spectrum: np.ndarray) -> np.ndarray:
        """Spectra on all radii."""
        return np.ascontiguousarray((spectrum.transpose(1, 0, 2) @ self.basis.transpose(0, 2, 1)).transpose(1, 0, 2))


class Measured:
    """Positions as measured frames, compressed to few harmonics and radial directions."""

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], count: int, angles: int, seed: int) -> None:
        self.angles = ANGLES
        sample = read(np.sort(np.random.default_rng(seed).permutation(count)[:FRAME_SAMPLE]))
        self.basis = directions(sample[:, :HARMONICS], norms(sample, angles))[:, -FRAME_RADII:]
        kept = min(HARMONICS, sample.shape[1])
        self.values = np.empty((count, kept, self.basis.shape[1]), np.complex64)

        def work(start: int, stop: int) -> None:
            self.values[start:stop] = compressed(read(np.arange(start, stop)), self.basis, kept)

        map_blocks(work, count, 32)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Spectra, as compressed."""
        return np.asarray(self.values[rows])

    def compare(self, representatives: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Similarities and rotations, each from its own curve."""
        found = [
            between(representatives, self.values[rows[i : i + BLOCK]], self.angles) for i in range(0, len(rows), BLOCK)
        ]
        return np.concatenate([s for s, _ in found], axis=1), np.concatenate([t for _, t in found], axis=1)

    def whole(self, spectrum: np.ndarray) -> np.ndarray:
        """Spectra on all radii, without what the compression left out."""
        return np.asarray(spectrum @ self.basis.T.astype(np.complex64))


def lengths(weights: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Norms (n,) of sums of components with weights (n, k) from the components' scalar products (k, k)."""
    double = weights.astype(np.float64)
    return np.asarray(np.sqrt(np.maximum(((double @ products) * double).sum(axis=1), 0)))
