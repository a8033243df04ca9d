"""Cutting the tree into classes, and the rotation- and shift-corrected products of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stem4d_panel.by_hand import Moves
from stem4d_panel.cluster.shift import best_shift, shifted
from stem4d_panel.cluster.tree import Tree, cut
from stem4d_panel.cluster.turn import Turner
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.settings import ClusterSettings

VERSION = 4  # part of the cache key: raise it when a result changes
_KEPT = 64  # classes changed by hand that are kept, since a threshold is dragged to and fro


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
    moved : tuple of int
        Components that a move by hand holds elsewhere than the tree does.
    warnings : tuple of str
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
    moved: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

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
    settings : ClusterSettings, optional
        ``mirror`` and ``overlap`` are used, for components that are moved by hand.
    """

    def __init__(
        self, factors: Factors, tree: Tree, centre: tuple[float, float], settings: ClusterSettings | None = None
    ) -> None:
        self.factors, self.tree, self.centre = factors, tree, centre
        self._settings = ClusterSettings() if settings is None else settings
        self._totals, self._below, self._placed = factors.totals, tree.leaves(), _placed(tree)
        self._part_of = tree.crystal_of()
        self._turner = Turner(factors.patterns, factors.mask, centre)
        self._made: dict[int, _Class] = {}
        self._changed: dict[tuple[int, tuple[int, ...]], _Class] = {}  # by root and members

    def at(self, threshold: float | None, moves: Moves | None = None) -> Classes:
        """Classes at a pseudo-distance, None meaning the suggested one, after moves by hand.

        A move that was made at another rank is left out with a warning.

        Raises
        ------
        SettingError
            If a component that is moved, or whose class is the target, does not exist.
        """
        at = self.tree.suggestion.threshold if threshold is None else threshold
        k = self.tree.size
        moves, warnings = (Moves() if moves is None else moves).at(k)
        roots = cut(self.tree.merges, at)
        of = {i: root for root in roots for i in self._below[root]}
        home = self._homes(of, moves)
        groups: dict[int, list[int]] = {root: [i for i in self._below[root] if home[i] == root] for root in roots}
        moved = tuple(i for i in range(k) if home[i] != of[i])
        for i in moved:  # the class of a component alone is the branch of its own id
            groups.setdefault(home[i], []).append(i)
        filled = [(root, members) for root, members in groups.items() if members]
        filled.sort(key=lambda group: -float(self._totals[group[1]].sum()))
        made = [self._class(root, members) for root, members in filled]
        labels, rotations = np.empty(k, int), np.zeros(k)
        mirrored, shifts = np.zeros(k, bool), np.zeros((k, 2))
        for label, one in enumerate(made):
            for i, place in zip(one.members, one.places, strict=True):
                labels[i], rotations[i], mirrored[i], shifts[i] = label, place.rotation, place.mirrored, place.shift
        patterns, maps, located, curves = (
            np.stack([getattr(one, name) for one in made])
            for name in ("pattern", "mean_map", "located", "autocorrelation")
        )
        return Classes(
            at, threshold is None, labels, rotations, mirrored, shifts, patterns, maps, located, curves, moved, warnings
        )

    def branch(self, root: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """Mean pattern (ky, kx) of the branch with an id, turned as its strongest member lies; its members, that one first."""
        one = self._branch(root)
        return one.pattern, tuple(one.members)

    def turn_between(self, root: int, first: int, second: int) -> tuple[float, bool]:
        """By how much the merges up to an id have turned a component against another, degrees, and whether mirrored."""
        places = self._placed[root]
        place = places[second].after(places[first].inverse())
        return place.rotation % 360 % 360, place.mirrored

    def _homes(self, of: Mapping[int, int], moves: Moves) -> dict[int, int]:
        """The branch that each component goes to, from those `of` the tree."""
        home = dict(of)
        for i in moves.of:
            end = moves.end(i)
            assert end is not None  # noqa: S101 - circles are refused when moves are read
            home[i] = end if end in moves.of else of[end]
        return home

    def _class(self, root: int, members: Sequence[int]) -> _Class:
        """A branch with other members than the tree's where the hand has changed them."""
        own = set(self._below[root])
        if own == set(members):
            return self._branch(root)
        key = root, tuple(sorted(members))
        found = self._changed.get(key)  # once: sessions share the maker, and another thread may clear it
        if found is None:
            whole = self._branch(root)
            placed = {i: p for i, p in zip(whole.members, whole.places, strict=True) if i in members}
            found = self._integrate(self._joined(placed, [i for i in members if i not in own]))
            if len(self._changed) >= _KEPT:
                self._changed.clear()
            self._changed[key] = found
        return found

    def _branch(self, root: int) -> _Class:
        if root not in self._made:
            self._made[root] = self._integrate(self._placed[root])
        return self._made[root]

    def _joined(self, placed: Mapping[int, _Place], new: Sequence[int]) -> dict[int, _Place]:
        """Places of components that join a class, as their patterns and maps correlate with it; the strongest join first.

        Parts of one crystal are turned and shifted together. What joins glass lies as it is, as in the tree.
        """
        old = list(placed)
        out = dict(placed)
        if self.tree.apart[old].all():
            return out | {i: _Place(0.0, np.zeros(2), False) for i in new}
        crystals: dict[int, list[int]] = {}
        for i in new:
            crystals.setdefault(int(self._part_of[i]), []).append(i)
        at_home = {int(self._part_of[i]): place for i, place in placed.items()}
        strongest_first = sorted(crystals, key=lambda crystal: -float(self._totals[crystals[crystal]].sum()))
        for crystal in strongest_first:
            place = at_home.get(crystal) or self._match(out, crystals[crystal])
            out.update(dict.fromkeys(crystals[crystal], place))
        return out

    def _match(self, placed: Mapping[int, _Place], parts: list[int]) -> _Place:
        """How parts of one crystal lie against the class of what is placed."""
        rotation, mirrored = self._turner.match(
            list(placed),
            [p.rotation for p in placed.values()],
            [p.mirrored for p in placed.values()],
            parts,
            self._totals,
            self._settings.mirror == "allowed",
        )
        mean_map, image = self._mean_map(placed), self.factors.maps[parts].sum(axis=0)
        there = image.any() and mean_map.any()
        shift = best_shift(mean_map, image, self._settings.overlap) if there else (0.0, 0.0)
        return _Place(rotation, np.array(shift), mirrored)

    def _mean_map(self, placed: Mapping[int, _Place]) -> np.ndarray:
        total = np.zeros(self.factors.maps.shape[1:], np.float32)
        for i, place in placed.items():
            image = self.factors.maps[i]
            total += shifted(image, (-place.shift[0], -place.shift[1])) if place.shift.any() else image
        return total / len(placed)

    def _integrate(self, placed: Mapping[int, _Place]) -> _Class:
        members = sorted(placed, key=lambda i: -float(self._totals[i]))
        back = placed[members[0]].inverse()
        places = [placed[i].after(back) for i in members]
        places = self._refined(members, places)
        places = [_Place(p.rotation % 360 % 360, p.shift, p.mirrored) for p in places]  # -1e-17 rounds to 360 at first
        weight = self._totals[members]
        turns, mirrors = [p.rotation for p in places], [p.mirrored for p in places]
        pattern = np.tensordot(weight, self._turner.back(members, turns, mirrors), 1)
        autocorrelation = self._turner.autocorrelation(members, self._totals, turns, mirrors)
        mean_map = self._mean_map(dict(zip(members, places, strict=True)))
        located = self.factors.maps[members].sum(axis=0)
        pattern = (pattern / max(float(pattern.sum()), 1e-30)).astype(np.float32)
        return _Class(members, places, pattern, mean_map, located, autocorrelation)

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


def classify(
    factors: Factors,
    tree: Tree,
    centre: tuple[float, float],
    threshold: float | None,
    moves: Moves | None = None,
    settings: ClusterSettings | None = None,
) -> Classes:
    """Cut the tree and integrate each class; see :class:`ClassMaker`, which keeps what it has integrated."""
    return ClassMaker(factors, tree, centre, settings).at(threshold, moves)
