"""Whether branches are found again by other factorisations of the same data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stem4d_panel.cluster.place import map_correlation
from stem4d_panel.cluster.tree import Tree
from stem4d_panel.factorize.factors import Factors


def branch_maps(factors: Factors, tree: Tree) -> np.ndarray:
    """Sum of the maps below every id of a tree, where they lie, shape (2 k - 1, y, x)."""
    return np.stack([factors.maps[members].sum(axis=0) for members in tree.leaves()])


def branch_stability(factors: Factors, tree: Tree, others: Sequence[tuple[Factors, Tree]]) -> np.ndarray:
    """How well each branch is found again, shape (2 k - 1,), components first.

    The located map of a branch is correlated with that of every branch of another tree; the best one counts, and the
    mean over the others is returned: 1 where every other factorisation has a branch on just these places, whatever its
    components are. 0 for an even map.

    Parameters
    ----------
    factors, tree :
        Whose branches are judged.
    others : sequence of (Factors, Tree)
        At least one, of the same scan: other seeds, or other draws of the counts.
    """
    mine = branch_maps(factors, tree)
    n = len(mine)
    found = [map_correlation(np.concatenate([mine, branch_maps(*other)]))[:n, n:].max(axis=1) for other in others]
    return np.asarray(np.mean(found, axis=0))
