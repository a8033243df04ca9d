"""Growing the tree: glass set apart, parts of one crystal joined where they lie, crystals joined under rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from stem4d_panel.cluster.glass import Apart, finest, set_apart
from stem4d_panel.cluster.noise import dispersion, pattern_noise
from stem4d_panel.cluster.patterns import PatternSet, all_pairs, compare, pattern_set, unrotated
from stem4d_panel.cluster.place import centrosymmetry, map_correlation, places, two_lattices
from stem4d_panel.cluster.polar import ring_means, to_polar, turned_back
from stem4d_panel.cluster.shift import best_shift, map_similarity, shifted
from stem4d_panel.cluster.significance import FALLBACK, chance_of, suggest
from stem4d_panel.cluster.tree import Suggestion, Tree, leaves_of
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.settings import ClusterSettings

VERSION = 4  # part of the cache key: raise it when a result changes
_BLUR = 0.6  # of the resolution: maps are compared on one place a little smoothed
_MIXED = 0.8  # of the correlation on one place, from which a component lies half on a crystal
_MIXED_HEIGHT = 0.7  # at least, at which such a component joins the glass: above any usual threshold
FIXED = ("average", "complete", "single", "ward")


@dataclass(frozen=True, eq=False)
class _Branch:
    """What is integrated so far: pattern, map, intensity and weight, in the frame of its strongest component."""

    id: int
    pattern: PatternSet
    map: np.ndarray
    total: float
    weight: float
    size: int


@dataclass(frozen=True)
class _Merge:
    first: int
    second: int
    height: float
    size: int
    rotation: float
    shift: tuple[float, float]
    kind: str
    similarity: float
    mirrored: bool = False
    p_value: float = float("nan")


class _Table:
    """Merges made so far."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.made: list[_Merge] = []

    def add(self, merge: _Merge) -> int:
        """Take in a merge; returns the id that it makes."""
        self.made.append(merge)
        return self.k + len(self.made) - 1

    def rows(self) -> np.ndarray:
        """As `Tree.merges`."""
        return np.array(
            [(m.first, m.second, m.height, m.size, m.rotation, *m.shift) for m in self.made], np.float64
        ).reshape(-1, 7)


def grow_from_frames_steps(factors: Factors, frames: Frames, settings: ClusterSettings) -> Steps[Tree]:
    """As :func:`grow_steps`, with the noise that counting leaves in the patterns."""
    noise = None
    if settings.noise == "corrected" and frames.linear:
        noise = pattern_noise(factors, frames.smooth, dispersion(factors, frames))
    return (yield from grow_steps(factors, frames.centre, settings, noise, blur(factors, frames)))


def blur(factors: Factors, frames: Frames) -> float:
    """Standard deviation of the blur of the maps, px.

    Where the probe is not known, that which the preparation assumed, if no map is finer: with too small a blur, speckle
    looks coherent, and glass is taken for crystals.
    """
    if frames.resolution > frames.smooth:
        return frames.resolution
    return max(frames.smooth, min(float(np.hypot(frames.smooth, frames.probe)), finest(factors.maps)))


def grow_steps(
    factors: Factors,
    centre: tuple[float, float],
    settings: ClusterSettings,
    noise: np.ndarray | None = None,
    resolution: float = 1.0,
) -> Steps[Tree]:
    """Agglomerate the components of a factorisation into one tree.

    First what is glass, background or a mixture is set apart. In the bimodal form components whose maps lie on one
    place are then integrated as they lie. At last patterns are compared under rotation: ``reintegrate`` merges the
    closest pair, turns the weaker pattern onto the stronger, adds them, and correlates the sum again with all others
    (read from the dendrogram of Kimoto et al., Sci. Rep. 14 (2024) 2901, whose heights invert). The other methods take
    the order and heights of a fixed linkage; rotations and shifts follow in the same way.

    Parameters
    ----------
    factors : Factors
    centre : tuple of float
        Direct beam (ky, kx) in pixels of the patterns.
    settings : ClusterSettings
    noise : ndarray, shape (k, ky, kx), optional
        Variance of the patterns' pixels; none when it is not known.
    resolution : float
        Standard deviation of the blur of the maps, px.
    """
    k = factors.rank
    yield Progress("cluster", 0, max(1, k - 1), "merge", "correlating")
    polar = to_polar(factors.patterns, factors.mask, centre)
    noise = np.zeros(factors.patterns.shape) if noise is None else noise
    variance = ring_means(noise, factors.mask, centre, polar.radii)
    patterns, raw = pattern_set(polar, variance, settings), pattern_set(polar, variance, settings, "none")
    apart = set_apart(raw, factors.maps, resolution, settings.glass, settings.coherence)
    table = _Table(k)
    weights = _weights(factors, settings.integrate)
    branches = {
        i: _Branch(i, patterns[[i]], factors.maps[i], float(factors.totals[i]), float(weights[i]), 1) for i in range(k)
    }
    glass = apart.apart if settings.glass > 0 else np.zeros(k, bool)
    near = np.zeros(k)
    if settings.similarity == "bimodal":
        smoothed = ndimage.gaussian_filter(factors.maps.astype(np.float64), (0, *(2 * [_BLUR * resolution])))
        glass = _join_places(table, branches, smoothed, glass, patterns, apart, settings)
        near = _nearness(smoothed, glass, table)
    set_aside = _join_glass(table, branches, np.flatnonzero(glass), raw, near, settings.place)
    distances, rotations = _first_distances(patterns, factors.maps, settings)
    distances = np.maximum(distances, 0)
    crystals = [b for i, b in branches.items() if i != set_aside]
    suggestion = _suggestion(crystals, settings)
    yield Progress("cluster", len(table.made), max(1, k - 1), "merge")
    root = yield from _join_rotated(table, crystals, settings)
    if set_aside is not None and root is not None:
        first, second = _stronger_first(root, branches[set_aside])
        height = max([1.0, *(m.height for m in table.made)])
        table.add(_Merge(first.id, second.id, height, k, 0.0, (0.0, 0.0), "glass", 0.0))
    merges = table.rows()
    return Tree(
        merges,
        tuple(m.kind for m in table.made),
        distances,
        rotations,
        apart.anisotropy,
        apart.coherence,
        glass,
        np.array([m.similarity for m in table.made]),
        np.array([m.mirrored for m in table.made], bool),
        np.array([m.p_value for m in table.made]),
        _leaf_order(merges, distances, glass),
        suggestion,
    )


def _weights(factors: Factors, integrate: str) -> np.ndarray:
    """Weight of each unit-sum pattern in a sum of patterns."""
    if integrate == "mean":
        return np.ones(factors.rank)
    if integrate == "energy":
        return np.asarray((factors.maps.astype(np.float64) ** 2).sum(axis=(1, 2)))
    return factors.totals.astype(np.float64)


def _stack(branches: Sequence[_Branch]) -> PatternSet:
    """The patterns of at least one branch."""
    parts = [b.pattern for b in branches]
    return PatternSet(
        np.concatenate([p.spectrum for p in parts]), np.concatenate([p.noise for p in parts]), parts[0].angles,
        parts[0].equal,
    )  # fmt: skip


def _stronger_first(one: _Branch, other: _Branch) -> tuple[_Branch, _Branch]:
    return (one, other) if (one.total, -one.id) >= (other.total, -other.id) else (other, one)


def _added(
    new: int, first: _Branch, second: _Branch, rotation: float, mirrored: bool, shift: tuple[float, float]
) -> _Branch:
    """The second turned and shifted onto the first, and both integrated by weight."""
    spectrum = turned_back(second.pattern.spectrum[0], rotation, mirrored)
    share = second.weight / max(first.weight + second.weight, 1e-300)
    a, b = np.float32(1 - share), np.float32(share)
    summed = PatternSet(
        (a * first.pattern.spectrum + b * spectrum).astype(np.complex64),
        (1 - share) ** 2 * first.pattern.noise + share**2 * second.pattern.noise,
        first.pattern.angles,
        first.pattern.equal,
    )
    moved = shifted(second.map, (-shift[0], -shift[1])) if any(shift) else second.map
    return _Branch(
        new,
        summed,
        first.map + moved,
        first.total + second.total,
        first.weight + second.weight,
        first.size + second.size,
    )


def _join_places(
    table: _Table,
    branches: dict[int, _Branch],
    maps: np.ndarray,
    glass: np.ndarray,
    patterns: PatternSet,
    apart: Apart,
    settings: ClusterSettings,
) -> np.ndarray:
    """Join parts of one crystal; returns what stays set apart: what lies on one place with a crystal does not."""
    k = table.k
    symmetry = centrosymmetry(patterns.spectrum) / patterns.signal()
    separate = two_lattices(unrotated(patterns), apart.anisotropy, symmetry)
    found = places(maps, np.array([branches[i].total for i in range(k)]), separate, settings.place)
    below = [[i] for i in range(k)]
    for first, second, _ in found:
        below.append(below[first] + below[second])
    joined = {i for first, second, _ in found for i in (first, second)}
    crystals = [i for i in range(len(below)) if i not in joined and not glass[below[i]].all()]
    wanted = set().union(*(_down(i, found, k) for i in crystals))
    glass, ids = glass.copy(), {i: i for i in range(k)}
    for i, (first, second, correlation) in enumerate(found, start=k):
        if i in wanted:
            glass[below[i]] = False
            a, b = branches.pop(ids[first]), branches.pop(ids[second])
            new = table.add(_Merge(a.id, b.id, 0.0, a.size + b.size, 0.0, (0.0, 0.0), "place", correlation))
            branches[new] = _added(new, a, b, 0.0, False, (0.0, 0.0))
            ids[i] = new
    return glass


def _down(i: int, found: Sequence[tuple[int, int, float]], n: int) -> set[int]:
    """An id and all merges below it."""
    if i < n:
        return set()
    first, second, _ = found[i - n]
    return {i} | _down(first, found, n) | _down(second, found, n)


def _nearness(maps: np.ndarray, glass: np.ndarray, table: _Table) -> np.ndarray:
    """Best correlation of each component's map with that of a crystal, shape (k,); 0 for the crystals' own."""
    k = len(maps)
    leaves = leaves_of(table.rows(), k)
    inside = {i for m in table.made for i in (m.first, m.second)}
    crystals = [leaves[i] for i in range(len(leaves)) if i not in inside and not glass[leaves[i]].any()]
    if not crystals or not glass.any():
        return np.zeros(k)
    images = np.concatenate([maps, [maps[members].sum(axis=0) for members in crystals]])
    best = map_correlation(images)[:k, k:].max(axis=1)
    return np.where(glass, best, 0.0)


def _join_glass(
    table: _Table, branches: dict[int, _Branch], glass: np.ndarray, raw: PatternSet, near: np.ndarray, place: float
) -> int | None:
    """Join what was set apart by its radial profiles, average linkage; returns the id of all of it.

    What lies half on a crystal is neither glass nor a part of the crystal: it joins the glass last, the farther from
    the crystal the earlier, and is a class by itself at any usual threshold.
    """
    mixed = [int(i) for i in glass if near[i] >= place * _MIXED]
    plain = np.array([i for i in glass if near[i] < place * _MIXED], int)
    root: int | None = int(plain[0]) if len(plain) else None
    if len(plain) > 1:
        profiles = np.abs(raw.spectrum[plain, 0]).astype(np.float64)
        norm = np.linalg.norm(profiles, axis=1)
        profiles /= np.where(norm > 0, norm, 1)[:, None]
        distances = 1 - np.clip(profiles @ profiles.T, 0, 1)
        np.fill_diagonal(distances, 0)
        ids = [int(i) for i in plain]
        for a, b, height, _ in hierarchy.linkage(squareform(distances, checks=False), "average"):
            ids.append(_join_as_glass(table, branches, ids[int(a)], ids[int(b)], float(height), 1 - float(height)))
        root = ids[-1]
    height = max([_MIXED_HEIGHT, *(m.height for m in table.made if m.kind == "glass")])
    for i in sorted(mixed, key=lambda i: float(near[i])):
        height = max(height, 1 - float(near[i]))
        root = i if root is None else _join_as_glass(table, branches, root, i, height, float(near[i]))
    return root


def _join_as_glass(
    table: _Table, branches: dict[int, _Branch], a: int, b: int, height: float, similarity: float
) -> int:
    first, second = _stronger_first(branches.pop(a), branches.pop(b))
    size = first.size + second.size
    new = table.add(_Merge(first.id, second.id, height, size, 0.0, (0.0, 0.0), "glass", similarity))
    branches[new] = _added(new, first, second, 0.0, False, (0.0, 0.0))
    return new


def _first_distances(
    patterns: PatternSet, maps: np.ndarray, settings: ClusterSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-distances of all pairs, shape (k, k), symmetric, a little below 0 where noise says so; and rotations."""
    similarity, rotations = all_pairs(patterns, settings.mirror == "allowed")
    if settings.similarity == "maps":
        similarity = map_similarity(maps, settings.overlap)
    distances = 1 - (similarity + similarity.T) / 2
    np.fill_diagonal(distances, 0)
    return distances, rotations


def _suggestion(crystals: Sequence[_Branch], settings: ClusterSettings) -> Suggestion:
    if settings.similarity == "maps":
        return Suggestion(FALLBACK, 0.0, 1.0, "maps are compared: what unrelated maps have in common is not known")
    return suggest(_stack(crystals) if crystals else None, settings.mirror == "allowed")


def _join_rotated(table: _Table, crystals: list[_Branch], settings: ClusterSettings) -> Steps[_Branch | None]:
    """Join branches under rotation (or under a shift of their maps) until one is left."""
    if not crystals:
        return None
    live = {b.id: b for b in crystals}
    mirror = settings.mirror == "allowed"
    ids = sorted(live)
    distances, _ = _first_distances(_stack([live[i] for i in ids]), np.stack([live[i].map for i in ids]), settings)
    near = {(ids[i], ids[j]): float(distances[i, j]) for i in range(len(ids)) for j in range(i)}
    fixed = _linkage(np.maximum(distances, 0), settings.method) if settings.method in FIXED and len(ids) > 1 else None
    for step in range(len(ids) - 1):
        if fixed is None:
            a, b = min(near, key=lambda pair: (near[pair], pair))
            height = max(0.0, near[a, b])
        else:
            a, b, height = ids[int(fixed[step, 0])], ids[int(fixed[step, 1])], float(fixed[step, 2])
        first, second = _stronger_first(live[a], live[b])
        likeness, rotation, mirrored = compare(first.pattern, second.pattern, mirror)
        shift = best_shift(first.map, second.map, settings.overlap)
        alike = min(1.0, float(likeness[0]))
        p = chance_of(first.pattern, second.pattern, alike, mirror)
        size = first.size + second.size
        turn, mirrored_too = float(rotation[0]), bool(mirrored[0])
        merge = _Merge(first.id, second.id, height, size, turn, shift, "rotation", alike, mirrored_too, p)
        new = table.add(merge)
        del live[a], live[b]
        ids.append(new)
        live[new] = _added(new, first, second, turn, mirrored_too, shift)
        if fixed is None:
            near = {pair: d for pair, d in near.items() if not {a, b} & set(pair)}
            near.update(_near(live[new], [live[i] for i in live if i != new], settings))
        yield Progress("cluster", len(table.made), max(1, table.k - 1), "merge")
    return next(iter(live.values()))


def _near(one: _Branch, others: Sequence[_Branch], settings: ClusterSettings) -> dict[tuple[int, int], float]:
    """Pseudo-distances of a branch to others."""
    if not others:
        return {}
    if settings.similarity == "maps":
        stack = np.stack([one.map, *(b.map for b in others)])
        similarity = map_similarity(stack, settings.overlap, first_only=True)[0, 1:]
    else:
        similarity = compare(one.pattern, _stack(others), settings.mirror == "allowed")[0]
    return {(max(one.id, b.id), min(one.id, b.id)): 1 - float(s) for b, s in zip(others, similarity, strict=True)}


def _linkage(distances: np.ndarray, method: str) -> np.ndarray:
    """Fixed linkage of the branches. Ward takes chords on the sphere, so that its first heights are pseudo-distances."""
    condensed = squareform(distances, checks=False)
    if method != "ward":
        return np.asarray(hierarchy.linkage(condensed, method))
    linkage = np.asarray(hierarchy.linkage(np.sqrt(2 * condensed), "ward"))
    linkage[:, 2] = linkage[:, 2] ** 2 / 2
    return linkage


def _leaf_order(merges: np.ndarray, distances: np.ndarray, glass: np.ndarray) -> tuple[int, ...]:
    """Leaves so that neighbours are alike (Bar-Joseph et al., Bioinformatics 17 (2001) S22)."""
    if len(merges) < 2:
        return tuple(leaves_of(merges)[-1])
    between = distances + 10.0 * (glass[:, None] != glass)
    linkage = np.ascontiguousarray(merges[:, :4])
    ordered = hierarchy.optimal_leaf_ordering(linkage, squareform(between, checks=False))
    return tuple(int(i) for i in hierarchy.leaves_list(ordered))
