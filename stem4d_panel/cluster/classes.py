"""Cutting the tree into classes, and the rotation- and shift-corrected products of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.cluster.polar import rotate_pattern
from stem4d_panel.cluster.shift import shifted
from stem4d_panel.cluster.thresholds import SUGGESTED
from stem4d_panel.cluster.tree import Tree
from stem4d_panel.factorize.factors import Factors


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes of components, sorted by total intensity.

    Attributes
    ----------
    threshold : float
        Pseudo-distance at which the tree was cut.
    suggested : bool
        Whether the threshold is the suggested one.
    labels : ndarray, shape (k,), int
        Class of each component, 0 to c - 1.
    rotations : ndarray, shape (k,)
        Degrees in [0, 360) by which each pattern is turned against its class's, from +kx towards +ky; 0 for the
        strongest member.
    shifts : ndarray, shape (k, 2)
        (dy, dx) in scan pixels by which each map is displaced against its class's; (0, 0) for the strongest member.
    patterns : ndarray, shape (c, ky, kx), float32
        Rotation-corrected mean patterns, weighted by intensity, unit sum.
    maps : ndarray, shape (c, y, x), float32
        Shift-corrected mean maps.
    located : ndarray, shape (c, y, x), float32
        Sums of the maps where they lie.
    """

    threshold: float
    suggested: bool
    labels: np.ndarray
    rotations: np.ndarray
    shifts: np.ndarray
    patterns: np.ndarray
    maps: np.ndarray
    located: np.ndarray

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.patterns)

    def members(self, label: int) -> np.ndarray:
        """Components of a class."""
        return np.flatnonzero(self.labels == label)


def cut(tree: Tree, threshold: float) -> list[int]:
    """Ids of the branches all of whose merges lie at or below the threshold and whose parent's do not."""
    highest = np.concatenate([np.full(tree.size, -np.inf), tree.merges[:, 2]])
    for i, row in enumerate(tree.merges):
        highest[tree.size + i] = max(row[2], highest[int(row[0])], highest[int(row[1])])
    roots = []
    below: set[int] = set()
    for i in reversed(range(2 * tree.size - 1)):
        if i in below or highest[i] <= threshold:
            if i not in below:
                roots.append(i)
            if i >= tree.size:
                below.update(int(c) for c in tree.merges[i - tree.size, :2])
    return roots


def _placed(tree: Tree) -> list[dict[int, tuple[float, np.ndarray]]]:
    """For every id, rotation and shift of each component below it against that id's reference, by composition."""
    out: list[dict[int, tuple[float, np.ndarray]]] = [{i: (0.0, np.zeros(2))} for i in range(tree.size)]
    for row in tree.merges:
        merged = dict(out[int(row[0])])
        merged.update({i: (angle + row[4], shift + row[5:7]) for i, (angle, shift) in out[int(row[1])].items()})
        out.append(merged)
    return out


def classify(factors: Factors, tree: Tree, centre: tuple[float, float], threshold: float | None) -> Classes:
    """Cut the tree and integrate each class.

    Parameters
    ----------
    factors : Factors
    tree : Tree
    centre : tuple of float
        Direct beam (ky, kx) in pixels of the patterns.
    threshold : float or None
        Pseudo-distance; None means the suggested one.
    """
    at = SUGGESTED if threshold is None else threshold
    totals, below, placed = factors.totals, tree.leaves(), _placed(tree)
    roots = sorted(cut(tree, at), key=lambda i: -float(totals[below[i]].sum()))
    labels = np.empty(tree.size, int)
    rotations, shifts = np.zeros(tree.size), np.zeros((tree.size, 2))
    patterns, maps, located = [], [], []
    for label, root in enumerate(roots):
        members = sorted(below[root], key=lambda i: -float(totals[i]))
        angle0, shift0 = placed[root][members[0]]
        pattern, mean_map = np.zeros(factors.mask.shape, np.float32), np.zeros(factors.maps.shape[1:], np.float32)
        for i in members:
            angle, shift = placed[root][i]
            labels[i], rotations[i], shifts[i] = label, (angle - angle0) % 360 % 360, shift - shift0
            turn = -rotations[i]  # twice % above: a hair below zero rounds to 360 at first
            pattern += totals[i] * (
                rotate_pattern(factors.patterns[i], factors.mask, centre, turn) if turn else factors.patterns[i]
            )
            mean_map += shifted(factors.maps[i], (-shifts[i, 0], -shifts[i, 1])) if shifts[i].any() else factors.maps[i]
        patterns.append(pattern / max(float(pattern.sum()), 1e-30))
        maps.append(mean_map / len(members))
        located.append(factors.maps[members].sum(axis=0))
    return Classes(
        at, threshold is None, labels, rotations, shifts, np.stack(patterns), np.stack(maps), np.stack(located)
    )
