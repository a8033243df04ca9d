"""The next moves and names, from those there are and what a user does to the classes that are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from stem4d_panel.by_hand import Moves, Names, check_name
from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.tree import Tree, cut


def move(moves: Moves, classes: Classes, tree: Tree, totals: np.ndarray, component: int, label: int | None) -> Moves:
    """Moves after one more, by which no other component changes its class at the present threshold.

    Parameters
    ----------
    moves : Moves
        Those that made `classes`.
    classes : Classes
    tree : Tree
    totals : ndarray, shape (k,)
        Intensity of each component.
    component : int
    label : int or None
        Class into which it goes; None for one of its own. Back where the tree has it, it is not moved any more.
    """
    here = _others(classes, totals, int(classes.labels[component]), component)
    if label == classes.labels[component] or (label is None and not here):
        return moves
    of = dict(moves.of)
    followers = [i for i in here if of.get(i) == component]
    if followers:  # they went where it went, and stay now where they are
        heir = _anchor(here, of)
        heir = followers[0] if heir is None else heir
        of.update(dict.fromkeys(followers, heir))
        if heir in followers:
            of[heir] = None
    leaves = tree.leaves()
    branch = next(leaves[root] for root in cut(tree.merges, classes.threshold) if component in leaves[root])
    at_home = {i for i in branch if i != component and i not in classes.moved}
    there = [] if label is None else _others(classes, totals, label, component)
    if at_home & set(there) or not (at_home or there):
        of.pop(component, None)
    else:
        of[component] = _anchor(there, of)
    return Moves(of, moves.rank)


def name(names: Names, classes: Classes, totals: np.ndarray, label: int, text: str) -> Names:
    """Names after a class was named by its strongest member; an empty text takes its names away.

    Raises
    ------
    RefusedError
        If the name is refused; see `by_hand.check_name`.
    """
    members = _others(classes, totals, label)
    if text.strip():
        return Names({**names.of, members[0]: check_name(text)}, names.rank)
    return Names({i: one for i, one in names.of.items() if i not in members}, names.rank)


def _others(classes: Classes, totals: np.ndarray, label: int, component: int | None = None) -> list[int]:
    """Members of a class but one, the strongest first."""
    return sorted((int(i) for i in classes.members(label) if i != component), key=lambda i: -float(totals[i]))


def _anchor(members: Sequence[int], of: Mapping[int, int | None]) -> int | None:
    """The strongest member with which others stay in the class: one that is not moved, else one in a class of its own."""
    free = [i for i in members if i not in of] or [i for i in members if of[i] is None]
    return free[0] if free else None
