"""One merge of a tree looked at: the patterns of its two branches, the second turned back onto the first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.cluster.classes import ClassMaker
from stem4d_panel.cluster.turn import Turner


@dataclass(frozen=True, eq=False)
class Joined:
    """What a merge has joined.

    Attributes
    ----------
    first, second : ndarray, shape (ky, kx)
        Mean patterns of the branches, the second's turned back (and mirrored back) onto the first's.
    members : tuple of two tuples of int
        Components of each branch, its strongest first.
    rotation : float
        Degrees in [0, 360) by which the second's strongest pattern is turned against the first's.
    mirrored : bool
        Whether it is mirrored at the kx axis before it is turned.
    """

    first: np.ndarray
    second: np.ndarray
    members: tuple[tuple[int, ...], tuple[int, ...]]
    rotation: float
    mirrored: bool


def joined(maker: ClassMaker, row: int) -> Joined:
    """The branches of one merge.

    Parameters
    ----------
    maker : ClassMaker
    row : int
        Of ``maker.tree.merges``.
    """
    tree = maker.tree
    (first, a), (second, b) = (maker.branch(int(i)) for i in tree.merges[row, :2])
    rotation, mirrored = maker.turn_between(tree.size + row, a[0], b[0])
    back = Turner(second[None], maker.factors.mask, maker.centre).back([0], [rotation], [mirrored])[0]
    return Joined(first, back, (a, b), rotation, mirrored)
