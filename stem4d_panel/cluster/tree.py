"""From components to a tree of merges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from stem4d_panel.cluster.polar import Polar, anisotropy, correlate, spectra, to_polar, turned
from stem4d_panel.cluster.shift import best_shift, shifted
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.settings import ClusterSettings

VERSION = 1  # part of the cache key: raise it when a result changes


@dataclass(frozen=True, eq=False)
class Tree:
    """Merges of components, in the order in which they were made.

    Attributes
    ----------
    merges : ndarray, shape (k - 1, 7), float64
        First, second, height, size, rotation, dy, dx. Ids as in scipy's linkage: components are 0 to k - 1 and row i
        makes id k + i. Rotation (degrees) and shift (px) are those of the second against the first, which is the
        stronger. Heights may invert with the re-integrating method.
    kind : tuple of str
        What each row joined.
    distances : ndarray, shape (k, k)
        Pseudo-distances 1 - similarity of the components.
    rotations : ndarray, shape (k, k)
        ``rotations[i, j]``: degrees by which pattern j is turned against pattern i.
    anisotropy : ndarray, shape (k,)
        Part of each pattern's norm left when the mean of every radius is removed.
    """

    merges: np.ndarray
    kind: tuple[str, ...]
    distances: np.ndarray
    rotations: np.ndarray
    anisotropy: np.ndarray

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.merges) + 1

    @property
    def inversions(self) -> int:
        """Merges that lie below one of those they join."""
        heights = self.heights
        return int(sum(heights[int(i)] > row[2] for row in self.merges for i in row[:2]))

    @property
    def heights(self) -> np.ndarray:
        """Height of every id, shape (2 k - 1,); components at 0."""
        return np.concatenate([np.zeros(self.size), self.merges[:, 2]])

    def leaves(self) -> list[list[int]]:
        """Components below every id, the first branch's before the second's."""
        out = [[i] for i in range(self.size)]
        for row in self.merges:
            out.append(out[int(row[0])] + out[int(row[1])])
        return out

    @property
    def leaf_order(self) -> list[int]:
        """Components in the order in which the tree is drawn."""
        return self.leaves()[-1]


def compare(polar: Polar, centring: str) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and rotations of all pairs, shape (k, k) each; ``rotations[i, j]`` turns i's frame onto j."""
    spectrum, angles = spectra(polar, centring), polar.values.shape[2]
    rows = [correlate(one, spectrum, angles) for one in spectrum]
    return np.array([r[0] for r in rows]), np.array([r[1] for r in rows])


def grow_steps(factors: Factors, centre: tuple[float, float], settings: ClusterSettings) -> Steps[Tree]:
    """Agglomerate the components of a factorisation.

    ``reintegrate`` merges the closest pair, turns the weaker pattern onto the stronger, adds them by intensity, and
    correlates the sum again with all others (read from the dendrogram of Kimoto et al. 2024, whose heights invert). The
    other methods take the order and heights of a fixed linkage; rotations and shifts follow in the same way.

    Parameters
    ----------
    factors : Factors
    centre : tuple of float
        Direct beam (ky, kx) in pixels of the patterns.
    """
    k = factors.rank
    polar = to_polar(factors.patterns, factors.mask, centre)
    angles = polar.values.shape[2]
    yield Progress("cluster", 0, max(1, k - 1), "merge", "correlating")
    similarity, rotations = compare(polar, settings.centring)
    distances = np.maximum(1 - (similarity + similarity.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    fixed = None
    if settings.method != "reintegrate" and k > 1:
        fixed = hierarchy.linkage(squareform(distances, checks=False), settings.method)
    totals = {i: float(t) for i, t in enumerate(factors.totals)}
    spectrum = {i: s * np.float32(totals[i]) for i, s in enumerate(spectra(polar, settings.centring))}
    maps = dict(enumerate(factors.maps))
    members = dict.fromkeys(range(k), 1)
    near = {(i, j): float(distances[i, j]) for i in range(k) for j in range(i)}
    merges = np.empty((max(0, k - 1), 7))
    for step in range(k - 1):
        if fixed is None:
            a, b = min(near, key=lambda pair: (near[pair], pair))
            height = near[a, b]
        else:
            a, b, height = int(fixed[step, 0]), int(fixed[step, 1]), float(fixed[step, 2])
        first, second = (a, b) if (totals[a], -a) >= (totals[b], -b) else (b, a)
        angle = float(correlate(spectrum[first], spectrum[second][None], angles)[1][0])
        dy, dx = best_shift(maps[first], maps[second])
        new = k + step
        spectrum[new] = spectrum.pop(first) + turned(spectrum.pop(second), -angle)
        maps[new] = maps.pop(first) + shifted(maps.pop(second), (-dy, -dx))
        totals[new] = totals.pop(first) + totals.pop(second)
        members[new] = members[first] + members[second]
        merges[step] = (first, second, height, members[new], angle, dy, dx)
        if fixed is None:
            near = {pair: d for pair, d in near.items() if not {first, second} & set(pair)}
            others = [i for i in spectrum if i != new]
            if others:
                found = correlate(spectrum[new], np.stack([spectrum[i] for i in others]), angles)[0]
                near.update({(new, i): max(0.0, 1 - float(s)) for i, s in zip(others, found, strict=True)})
        yield Progress("cluster", step + 1, k - 1, "merge")
    return Tree(merges, ("rotation",) * max(0, k - 1), distances, rotations, anisotropy(polar))
