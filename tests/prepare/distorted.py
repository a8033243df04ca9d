"""The built-in sample with what its instrument does not do: descan of another form, an elliptical distortion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from stem4d_panel.prepare.ellipse import stretch
from stem4d_panel.scan import sample
from stem4d_panel.scan.scan import Scan

N = sample.DETECTOR


def sample_with_descan(
    patch: pytest.MonkeyPatch,
    extra: Callable[[np.ndarray, np.ndarray], np.ndarray],
    seed: int,
    electrons: float = 400.0,
) -> Scan:
    """The sample with `extra` (2, y, x) px, made from the indices y and x, added to its descan."""
    plain = sample._descan

    def descan(rng: np.random.Generator) -> np.ndarray:
        return plain(rng) + extra(*np.indices((sample.SCAN, sample.SCAN)))

    with patch.context() as within:
        within.setattr(sample, "_descan", descan)
        return sample.sample_scan(seed, electrons=electrons)


def sample_with_ellipse(
    patch: pytest.MonkeyPatch, ratio: float, angle: float, seed: int, electrons: float = 400.0
) -> Scan:
    """The sample with the expectation of all that is scattered stretched about the beam before counts are drawn."""
    read = _reader(np.linalg.inv(stretch(ratio, angle)))
    plain = sample._shifted

    def shifted(patterns: np.ndarray, descan: np.ndarray) -> np.ndarray:
        flat = patterns.reshape(len(patterns), -1)
        return plain(np.ascontiguousarray((read @ flat.T).T, np.float32).reshape(patterns.shape), descan)

    with patch.context() as within:
        within.setattr(sample, "_shifted", shifted)
        return sample.sample_scan(seed, electrons=electrons)


def _reader(matrix: np.ndarray) -> sparse.csr_array:
    """Cubic interpolation at `matrix` times each pixel's place about the middle, as a sparse matrix."""
    middle = (N - 1) / 2
    places = np.tensordot(matrix, np.indices((N, N)) - middle, 1) + middle
    first = np.floor(places).astype(int) - 1
    t = places - np.floor(places)
    taps = np.stack(
        [(-t + 2 * t**2 - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2, (t + 4 * t**2 - 3 * t**3) / 2, (t**3 - t**2) / 2]
    )
    rows, columns, values = [], [], []
    for a in range(4):
        for b in range(4):
            y, x = first[0] + a, first[1] + b
            inside = (y >= 0) & (y < N) & (x >= 0) & (x < N)
            rows.append(np.arange(N * N).reshape(N, N)[inside])
            columns.append((y * N + x)[inside])
            values.append((taps[a, 0] * taps[b, 1])[inside])
    shape = (N * N, N * N)
    return sparse.csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
