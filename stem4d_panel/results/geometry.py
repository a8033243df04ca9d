"""Where the parts of a figure stand, in its own coordinates: the same on the screen and on paper."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stem4d_panel.cluster.classes import Classes
    from stem4d_panel.cluster.tree import Tree
    from stem4d_panel.scan.scan import Axis

Box = tuple[float, float, float, float]
ABOVE = "#8a8a8a"  # of a merge above the threshold
_DIRECTIONS = np.deg2rad(np.arange(7.5, 360, 15))
_TURN = np.linspace(0, 2 * np.pi, 121)


def bounds(y: Axis, x: Axis) -> Box:
    """Extents (left, bottom, right, top) of an image whose row 0 is drawn on top: rows count downwards from 0 as -y."""
    left = x.offset - x.scale / 2
    top = -(y.offset - y.scale / 2)
    return left, top - y.size * y.scale, left + x.size * x.scale, top


def circle(radius: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """A circle as a path."""
    return np.stack([x + radius * np.cos(_TURN), y + radius * np.sin(_TURN)], axis=1)


def label_places(radii: list[float], spots: np.ndarray) -> np.ndarray:
    """A place (x, y) on each circle, as far as can be from spots (n, 2) and the labels before it."""
    taken, ways = spots, np.stack([np.cos(_DIRECTIONS), np.sin(_DIRECTIONS)], axis=1)
    out = []
    for radius in radii:
        free = np.hypot(*(radius * ways[:, None] - taken[None]).T).min(axis=0)
        out.append(radius * ways[int(free.argmax())])
        taken = np.concatenate([taken, out[-1:]])
    return np.array(out).reshape(-1, 2)


def junctions(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Where every id is drawn, x and height; parts of one crystal are joined by a bar at the foot."""
    x, height = np.zeros(2 * tree.size - 1), tree.heights
    x[list(tree.order)] = np.arange(tree.size)
    bar = 0.015 * max(0.3, float(height.max()))
    for i, row in enumerate(tree.merges):
        x[tree.size + i] = (x[int(row[0])] + x[int(row[1])]) / 2
        if tree.kind[i] == "place":
            height[tree.size + i] = bar
    return x, height


def branches(tree: Tree, classes: Classes, colours: list[str]) -> list[tuple[float, float, float, float, str]]:
    """Each merge as three segments (x0, y0, x1, y1, colour): in the colour of its class, or grey above the threshold."""
    x, height = junctions(tree)
    below, out = tree.leaves(), []
    for i, row in enumerate(tree.merges):
        a, b, new = int(row[0]), int(row[1]), tree.size + i
        labels = set(classes.labels[below[new]].tolist())
        colour = colours[labels.pop()] if len(labels) == 1 else ABOVE
        corners = ((x[a], height[a]), (x[a], height[new]), (x[b], height[new]), (x[b], height[b]))
        out += [(*p, *q, colour) for p, q in pairwise(corners)]
    return out
