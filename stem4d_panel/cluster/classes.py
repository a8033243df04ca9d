"""Cutting the tree into classes, and the rotation- and shift-corrected products of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.cluster.shift import shifted
from stem4d_panel.cluster.tree import Tree, cut
from stem4d_panel.cluster.turn import Turner
from stem4d_panel.factorize.factors import Factors

VERSION = 3  # part of the cache key: raise it when a result changes


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
    mirrored : ndarray, shape (k,), bool
        Patterns that are their class's mirrored at the kx axis, then turned (``cluster.mirror``).
    shifts : ndarray, shape (k, 2)
        (dy, dx) in scan pixels by which each map is displaced against its class's; (0, 0) for the strongest member.
    patterns : ndarray, shape (c, ky, kx), float32
        Rotation-corrected mean patterns, weighted by intensity, unit sum.
    maps : ndarray, shape (c, y, x), float32
        Shift-corrected mean maps.
    located : ndarray, shape (c, y, x), float32
        Sums of the maps where they lie.
    autocorrelation : ndarray, shape (c, angles)
        Correlation of each pattern with itself over the angle of a turn, ring means removed; 1 at no turn.
    """

    threshold: float
    suggested: bool
    labels: np.ndarray
    rotations: np.ndarray
    mirrored: np.ndarray
    shifts: np.ndarray
    patterns: np.ndarray
    maps: np.ndarray
    located: np.ndarray
    autocorrelation: np.ndarray

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.patterns)

    def members(self, label: int) -> np.ndarray:
        """Components of a class."""
        return np.flatnonzero(self.labels == label)


@dataclass(frozen=True)
class _Place:
    """How a component lies against a reference: turned by degrees (after a mirror at kx), shifted by (dy, dx) px."""

    rotation: float
    shift: np.ndarray
    mirrored: bool

    def after(self, first: _Place) -> _Place:
        """The place against another reference, against which its own lies as `first`."""
        turn = -first.rotation if self.mirrored else first.rotation
        return _Place(self.rotation + turn, self.shift + first.shift, self.mirrored != first.mirrored)

    def inverse(self) -> _Place:
        """How the reference lies against the component."""
        return _Place(self.rotation if self.mirrored else -self.rotation, -self.shift, self.mirrored)


def _placed(tree: Tree) -> list[dict[int, _Place]]:
    """For every id, how each component below it lies against that id's reference, by composition."""
    out: list[dict[int, _Place]] = [{i: _Place(0.0, np.zeros(2), False)} for i in range(tree.size)]
    for row, mirrored in zip(tree.merges, tree.mirrored, strict=True):
        second = _Place(float(row[4]), row[5:7], bool(mirrored))
        merged = dict(out[int(row[0])])
        merged.update({i: place.after(second) for i, place in out[int(row[1])].items()})
        out.append(merged)
    return out


@dataclass(frozen=True, eq=False)
class _Class:
    """One branch, integrated."""

    members: list[int]
    places: list[_Place]
    pattern: np.ndarray
    mean_map: np.ndarray
    located: np.ndarray
    autocorrelation: np.ndarray


class ClassMaker:
    """Integrates the branches of one tree; each branch once, so that a threshold that moves costs what is new.

    Parameters
    ----------
    factors : Factors
    tree : Tree
    centre : tuple of float
        Direct beam (ky, kx) in pixels of the patterns.
    """

    def __init__(self, factors: Factors, tree: Tree, centre: tuple[float, float]) -> None:
        self.factors, self.tree, self.centre = factors, tree, centre
        self._totals, self._below, self._placed = factors.totals, tree.leaves(), _placed(tree)
        self._part_of = tree.crystal_of()
        self._turner = Turner(factors.patterns, factors.mask, centre)
        self._made: dict[int, _Class] = {}

    def at(self, threshold: float | None) -> Classes:
        """Classes at a pseudo-distance; None means the suggested one."""
        at = self.tree.suggestion.threshold if threshold is None else threshold
        roots = sorted(cut(self.tree.merges, at), key=lambda i: -float(self._totals[self._below[i]].sum()))
        made = [self._class(root) for root in roots]
        k = self.tree.size
        labels, rotations = np.empty(k, int), np.zeros(k)
        mirrored, shifts = np.zeros(k, bool), np.zeros((k, 2))
        for label, one in enumerate(made):
            for i, place in zip(one.members, one.places, strict=True):
                labels[i], rotations[i], mirrored[i], shifts[i] = label, place.rotation, place.mirrored, place.shift
        stacks = (
            np.stack([getattr(one, name) for one in made])
            for name in ("pattern", "mean_map", "located", "autocorrelation")
        )
        return Classes(at, threshold is None, labels, rotations, mirrored, shifts, *stacks)

    def branch(self, root: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """Mean pattern (ky, kx) of the branch with an id, turned as its strongest member lies; its members, that one first."""
        one = self._class(root)
        return one.pattern, tuple(one.members)

    def turn_between(self, root: int, first: int, second: int) -> tuple[float, bool]:
        """By how much the merges up to an id have turned a component against another, degrees, and whether mirrored."""
        places = self._placed[root]
        place = places[second].after(places[first].inverse())
        return place.rotation % 360 % 360, place.mirrored

    def _class(self, root: int) -> _Class:
        if root not in self._made:
            self._made[root] = self._integrate(root)
        return self._made[root]

    def _integrate(self, root: int) -> _Class:
        members = sorted(self._below[root], key=lambda i: -float(self._totals[i]))
        back = self._placed[root][members[0]].inverse()
        places = [self._placed[root][i].after(back) for i in members]
        places = self._refined(members, places)
        places = [_Place(p.rotation % 360 % 360, p.shift, p.mirrored) for p in places]  # -1e-17 rounds to 360 at first
        weight = self._totals[members]
        turns, mirrors = [p.rotation for p in places], [p.mirrored for p in places]
        pattern = np.tensordot(weight, self._turner.back(members, turns, mirrors), 1)
        autocorrelation = self._turner.autocorrelation(members, self._totals, turns, mirrors)
        mean_map = np.zeros(self.factors.maps.shape[1:], np.float32)
        for i, place in zip(members, places, strict=True):
            image = self.factors.maps[i]
            mean_map += shifted(image, (-place.shift[0], -place.shift[1])) if place.shift.any() else image
        pattern = (pattern / max(float(pattern.sum()), 1e-30)).astype(np.float32)
        located = self.factors.maps[members].sum(axis=0)
        return _Class(members, places, pattern, mean_map / len(members), located, autocorrelation)

    def _refined(self, members: list[int], places: list[_Place]) -> list[_Place]:
        """Rotations fitted again to the mean of the others, a few degrees about where the merges have put them."""
        groups: dict[int, list[int]] = {}
        for n, i in enumerate(members):  # parts of one crystal are turned alike
            groups.setdefault(int(self._part_of[i]), []).append(n)
        if len(groups) < 3 or self.tree.apart[members].any():
            return places
        chosen = list(groups.values())
        turns = self._turner.refine(
            [[members[n] for n in group] for group in chosen],
            self._totals,
            [places[group[0]].rotation for group in chosen],
            [places[group[0]].mirrored for group in chosen],
        )
        out = list(places)
        for group, turn in zip(chosen, turns, strict=True):
            for n in group:
                out[n] = _Place(turn, places[n].shift, places[n].mirrored)
        return out


def classify(factors: Factors, tree: Tree, centre: tuple[float, float], threshold: float | None) -> Classes:
    """Cut the tree and integrate each class; see :class:`ClassMaker`, which keeps what it has integrated."""
    return ClassMaker(factors, tree, centre).at(threshold)
