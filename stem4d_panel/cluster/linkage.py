"""Average linkage over patterns that stand for many."""

from __future__ import annotations

import numpy as np

from stem4d_panel.cluster.polar import correlate, turned
from stem4d_panel.cluster.similarity import pairwise


def average_tree(spectrum: np.ndarray, counts: np.ndarray, angles: int) -> np.ndarray:
    """Average linkage over patterns that stand for `counts` each, rows as `Tree.merges`.

    Distances are updated as (n_a d_a + n_b d_b) / (n_a + n_b) with n the positions (Lance and Williams 1967). Rotations
    are those of the rotation-corrected sums, the second branch against the first, which has more positions.

    Parameters
    ----------
    spectrum : ndarray, shape (r, harmonics, radii)
        Unit norms.
    counts : ndarray, shape (r,)
    """
    size = len(spectrum)
    distances = np.maximum(1 - pairwise(spectrum, angles)[0], 0)
    np.fill_diagonal(distances, np.inf)
    ids, weights, leaves = np.arange(size), counts.astype(np.float64), np.ones(size)
    sums = spectrum * weights.astype(np.float32)[:, None, None]
    merges = np.zeros((max(0, size - 1), 7))
    for step in range(size - 1):
        i, j = np.unravel_index(int(distances.argmin()), distances.shape)
        a, b = (int(i), int(j)) if (weights[i], -i) >= (weights[j], -j) else (int(j), int(i))
        height = distances[a, b]
        angle = float(correlate(sums[a], sums[b][None], angles)[1][0])
        merges[step, :5] = (ids[a], ids[b], height, leaves[a] + leaves[b], angle)
        sums[a] += turned(sums[b], -angle)
        joined = (weights[a] * distances[a] + weights[b] * distances[b]) / (weights[a] + weights[b])
        distances[a], distances[:, a] = joined, joined
        distances[b], distances[:, b], distances[a, a] = np.inf, np.inf, np.inf
        weights[a], leaves[a], ids[a] = weights[a] + weights[b], leaves[a] + leaves[b], size + step
    return merges
