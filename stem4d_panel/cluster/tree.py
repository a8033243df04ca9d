"""A tree of merges of components, and what is read from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("place", "rotation", "glass")


@dataclass(frozen=True)
class Suggestion:
    """A threshold, and what it rests on.

    Attributes
    ----------
    threshold : float
        Pseudo-distance.
    equal : float
        Pseudo-distance of patterns known to be equal: of a pattern and itself turned by 180 degrees (median).
    chance : float
        Pseudo-distance that unrelated patterns reach by chance (5 of 100 lie below); what merges above it is noise.
    reason : str
        One sentence.
    """

    threshold: float
    equal: float
    chance: float
    reason: str


@dataclass(frozen=True, eq=False)
class Tree:
    """Merges of components, in the order in which they were made.

    Attributes
    ----------
    merges : ndarray, shape (k - 1, 7), float64
        First, second, height, size, rotation, dy, dx. Ids as in scipy's linkage: components are 0 to k - 1 and row i
        makes id k + i. Rotation (degrees) and shift (px) are those of the second against the first, which is the
        stronger. Heights are pseudo-distances; parts of one crystal are joined at 0, glass and crystals last, at 1 or
        more. Heights may invert with the re-integrating method.
    kind : tuple of str
        What each row joined: ``place`` parts of one crystal, ``rotation`` crystals of one structure, ``glass`` what was
        set apart, with itself and at last with the rest.
    distances : ndarray, shape (k, k)
        Pseudo-distances 1 - similarity of the components.
    rotations : ndarray, shape (k, k)
        ``rotations[i, j]``: degrees by which pattern j is turned against pattern i.
    anisotropy, coherence : ndarray, shape (k,)
        Part of each pattern's norm left when the mean of every radius is removed, and the map's autocorrelation at
        three times the resolution.
    apart : ndarray, shape (k,), bool
        Components set apart as glass, background or mixture.
    similarity : ndarray, shape (k - 1,)
        Correlation of the two maps (place), patterns (rotation) or radial profiles (glass).
    mirrored : ndarray, shape (k - 1,), bool
        Whether the second is the first mirrored at the kx axis, then turned.
    p_values : ndarray, shape (k - 1,)
        How often unrelated patterns with the same rings correlate as well; NaN where patterns were not compared.
    order : tuple of int
        Components in the order in which the tree is drawn, similar ones together.
    suggestion : Suggestion
    """

    merges: np.ndarray
    kind: tuple[str, ...]
    distances: np.ndarray
    rotations: np.ndarray
    anisotropy: np.ndarray
    coherence: np.ndarray
    apart: np.ndarray
    similarity: np.ndarray
    mirrored: np.ndarray
    p_values: np.ndarray
    order: tuple[int, ...]
    suggestion: Suggestion

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

    def crystal_of(self) -> np.ndarray:
        """Number of the crystal that each component is a part of, shape (k,): equal for components of one place."""
        part = np.arange(self.size)
        for i, members in enumerate(self.leaves()[self.size :]):
            if self.kind[i] == "place":
                part[members] = members[0]
        return part

    def leaves(self) -> list[list[int]]:
        """Components below every id, the first branch's before the second's."""
        return leaves_of(self.merges)


def leaves_of(merges: np.ndarray, k: int | None = None) -> list[list[int]]:
    """Components below every id of a table of merges, the first branch's before the second's.

    Parameters
    ----------
    merges : ndarray, shape (n, 2 or more)
    k : int, optional
        Number of components where the table is not finished; else one more than its rows.
    """
    out = [[i] for i in range(len(merges) + 1 if k is None else k)]
    for row in merges:
        out.append(out[int(row[0])] + out[int(row[1])])
    return out


def cut(merges: np.ndarray, threshold: float) -> list[int]:
    """Ids of the branches all of whose merges lie at or below the threshold and whose parent's do not."""
    k = len(merges) + 1
    highest = np.concatenate([np.full(k, -np.inf), merges[:, 2]])
    for i, row in enumerate(merges):
        highest[k + i] = max(row[2], highest[int(row[0])], highest[int(row[1])])
    roots = []
    below: set[int] = set()
    for i in reversed(range(2 * k - 1)):
        if i in below or highest[i] <= threshold:
            if i not in below:
                roots.append(i)
            if i >= k:
                below.update(int(c) for c in merges[i - k, :2])
    return roots
