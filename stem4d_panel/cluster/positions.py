"""Clustering every position of the scan, without a matrix of all positions with all.

Comparing all positions with some hundreds of representatives exactly costs seconds (see `curves`), so that no
descriptor that ignores the angle is needed to choose neighbours; such magnitudes would also call mirror images equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stem4d_panel.cluster.curves import BLOCK, Measured, Model, Source, lengths
from stem4d_panel.cluster.linkage import average_tree
from stem4d_panel.cluster.polar import norms, scalar_products, spectra, to_polar
from stem4d_panel.cluster.similarity import between
from stem4d_panel.cluster.tree import cut
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.runtime.progress import Progress, Steps

LEVEL = 0.5  # as for components: what a glass's own ring means leave stays below
LEVEL_WITHOUT_GLASS = 0.2  # in the built-in sample glass stays below .17 (95 %), a nanometre of crystal gives .28
NEAR = 0.9  # similarity at which a position needs no representative of its own
MOST = 300  # representatives
BATCH = 16  # leaders that are tried at a time


@dataclass(frozen=True, eq=False)
class Positions:
    """Positions and the representatives that they were assigned to.

    Attributes
    ----------
    nearest : ndarray, shape (y, x), int32
        Representative of each position; -1 where there is too little anisotropy.
    similarity : ndarray, shape (y, x), float32
        To the representative; NaN where there is none.
    turns : ndarray, shape (y, x), float32
        Degrees in [0, 360) by which the position's pattern is turned against the representative's; NaN likewise.
    share : ndarray, shape (y, x), float32
        Norm of the pattern, glass left out and ring means removed, in parts of the norm of all that is there.
    spectra : ndarray, shape (r, harmonics, radii), complex64
        Azimuthal spectra of the representatives (rotation-corrected means), unit norm, up to the band limit.
    radii : ndarray, shape (radii,)
        In pixels.
    angles : int
        Samples over the full turn to which the spectra belong.
    counts : ndarray, shape (r,), int
        Positions of each representative, the largest first.
    merges : ndarray, shape (r - 1, 7), float64
        As `Tree.merges`, of representatives: first, second, height, size (representatives), rotation, 0, 0. The heights
        are average linkage over positions, so they do not invert.
    """

    nearest: np.ndarray
    similarity: np.ndarray
    turns: np.ndarray
    share: np.ndarray
    spectra: np.ndarray
    radii: np.ndarray
    angles: int
    counts: np.ndarray
    merges: np.ndarray

    @property
    def size(self) -> int:
        """Number of representatives."""
        return len(self.counts)

    def at(
        self, threshold: float, roots: Callable[[np.ndarray, float], list[int]] = cut
    ) -> tuple[np.ndarray, np.ndarray]:
        """Classes and rotations of all positions at a pseudo-distance.

        Parameters
        ----------
        threshold : float
        roots : callable
            Takes the merges and the threshold, returns the ids of the classes' branches.

        Returns
        -------
        labels : ndarray, shape (y, x), int32
            The class with most positions is 0; -1 where there is none.
        rotations : ndarray, shape (y, x), float32
            Degrees in [0, 360) against the class's largest representative; NaN where there is no class.
        """
        labels, turns = np.full(self.size + 1, -1, np.int32), np.full(self.size + 1, np.nan)  # the last stands for -1
        branches = [self._below(root) for root in (roots(self.merges, threshold) if self.size else [])]
        branches.sort(key=lambda leaves: (-sum(int(self.counts[i]) for i in leaves), min(leaves)))
        for label, leaves in enumerate(branches):
            for i, angle in leaves.items():
                labels[i], turns[i] = label, angle - leaves[min(leaves)]
        return labels[self.nearest], ((self.turns + turns[self.nearest]) % 360 % 360).astype(np.float32)

    def _below(self, root: int) -> dict[int, float]:
        """Representatives below an id, each with its rotation against the id's reference."""
        leaves, open_ids = {}, [(root, 0.0)]
        while open_ids:
            i, angle = open_ids.pop()
            if i < self.size:
                leaves[i] = angle
            else:
                row = self.merges[i - self.size]
                open_ids += [(int(row[0]), angle), (int(row[1]), angle + row[4])]
        return leaves


def _leader_steps(source: Source, count: int, near: float, most: int, seed: int) -> Steps[np.ndarray]:
    """Spectra of positions such that every other is within `near` of one, or `most` of them, taken at random."""
    left = np.random.default_rng(seed).permutation(count)
    leaders: list[np.ndarray] = []
    while len(left) and len(leaders) < most:
        yield Progress("positions", count - len(left), count, "position", f"{len(leaders)} representatives")
        batch = source.take(left[: min(BATCH, most - len(leaders))])
        alike = np.tril(between(batch, batch, source.angles)[0], -1) >= near
        chosen: list[int] = []
        for i in range(len(batch)):
            if not alike[i, chosen].any():
                chosen.append(i)
        leaders.extend(batch[chosen])
        similarity = source.compare(batch[chosen], left)[0]
        similarity[:, : len(batch)] = 1  # those that were tried are leaders or near one
        left = left[similarity.max(axis=0) < near]
    return np.array(leaders)


def _assign_steps(source: Source, count: int, representatives: np.ndarray) -> Steps[tuple[np.ndarray, ...]]:
    """Nearest representative, similarity and rotation of every position."""
    best, index, turn = np.full(count, -2.0), np.zeros(count, np.int64), np.zeros(count)
    rows = np.arange(count)
    for start in range(0, len(representatives), BATCH):
        yield Progress("positions", start, len(representatives), "representative")
        similarity, turns = source.compare(representatives[start : start + BATCH], rows)
        top = similarity.argmax(axis=0)
        better = similarity[top, rows] > best
        best, turn = np.where(better, similarity[top, rows], best), np.where(better, turns[top, rows], turn)
        index = np.where(better, start + top, index)
    return index, best, turn


def _mean(source: Source, index: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Rotation-corrected sum of the positions of each representative that has any, the largest first, unit norm."""
    counts = np.bincount(index)
    out = []
    for p in sorted(np.flatnonzero(counts), key=lambda p: (-counts[p], p)):
        total: Any = 0
        members = np.flatnonzero(index == p)
        for i in range(0, len(members), BLOCK):
            rows = members[i : i + BLOCK]
            spectrum = source.take(rows)
            phases = np.exp(1j * np.outer(np.deg2rad(turn[rows]), np.arange(spectrum.shape[1]))).astype(np.complex64)
            total = total + np.einsum("nm,nmq->mq", phases, spectrum)
        out.append(total / max(float(norms(total[None], source.angles)[0]), 1e-30))
    return np.array(out, np.complex64)


def position_steps(
    maps: np.ndarray,
    patterns: np.ndarray,
    mask: np.ndarray,
    centre: tuple[float, float],
    *,
    background: Sequence[int] = (),
    frames: np.ndarray | None = None,
    level: float | None = None,
    near: float = NEAR,
    most: int = MOST,
    rounds: int = 1,
    seed: int = 0,
) -> Steps[Positions]:
    """Cluster all positions of a scan by their patterns, whatever their rotation.

    Representatives are found by leader clustering in a random order, replaced `rounds` times by the rotation-corrected
    mean of the positions nearest to them, and joined by average linkage. Every comparison is the exact correlation of
    `polar.correlate`, ring means removed.

    Parameters
    ----------
    maps : ndarray, shape (k, y, x)
    patterns : ndarray, shape (k, ky, kx)
    mask : ndarray, shape (ky, kx), bool
        Pixels that hold data.
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    background : sequence of int
        Components that are glass: left out of the sum that is clustered, but not of the norm that `level` refers to.
    frames : ndarray, shape (y, x, ky, kx), optional
        Prepared frames, which are compared instead of the model's patterns; the glass is subtracted from them, and the
        model still says which positions take part.
    level : float, optional
        Least `Positions.share`; .5, or .2 where glass is left out.
    near : float
        Similarity at which a position needs no representative of its own.
    most : int
        Most representatives.
    rounds : int
        How often representatives are replaced by means.
    seed : int

    Raises
    ------
    DataError
        If the shapes of maps, patterns and frames do not fit each other.
    SettingError
        If `background` names a component that does not exist, or `most` is below 1.
    """
    k, scan = len(maps), maps.shape[1:]
    if patterns.shape != (k, *mask.shape):
        raise DataError(f"patterns: have the shape {patterns.shape}; {k} maps and the mask need {(k, *mask.shape)}")
    if frames is not None and frames.shape != (*scan, *mask.shape):
        raise DataError(f"frames: have the shape {frames.shape}; maps and mask need {(*scan, *mask.shape)}")
    if not all(0 <= i < k for i in background):
        raise SettingError(f"background: {tuple(background)} is not allowed; it takes components from 0 to {k - 1}")
    if most < 1:
        raise SettingError(f"most: {most} is not allowed; it takes a whole number from 1")
    polar = to_polar(patterns, mask, centre)
    angles, centred = polar.values.shape[2], spectra(polar, "ring")
    weights = maps.reshape(k, -1).T
    front = np.setdiff1d(np.arange(k), background)
    all_norms = lengths(weights, scalar_products(spectra(polar, "none"), angles))
    front_norms = lengths(weights[:, front], scalar_products(centred[front], angles))
    share = np.where(all_norms > 0, front_norms / np.where(all_norms > 0, all_norms, 1), 0)
    least = level if level is not None else LEVEL_WITHOUT_GLASS if len(background) else LEVEL
    inside = np.flatnonzero((share >= least) & (share > 0))

    def read(rows: np.ndarray) -> np.ndarray:
        assert frames is not None  # noqa: S101 - only then is it called
        y, x = np.unravel_index(inside[rows], scan)
        glass = np.tensordot(
            weights[inside[rows]][:, list(background)].astype(np.complex64), centred[list(background)], 1
        )
        return np.asarray(spectra(to_polar(frames[y, x], mask, centre), "ring") - glass)

    nearest, similarity, turns = np.full(len(share), -1, np.int32), *np.full((2, len(share)), np.nan, np.float32)
    found, counts = np.zeros((0, *centred.shape[1:]), np.complex64), np.zeros(0, int)
    if len(inside):
        source: Source = (
            Model(weights[inside][:, front], centred[front], angles)
            if frames is None
            else Measured(read, len(inside), angles, seed)
        )
        angles = source.angles
        representatives = yield from _leader_steps(source, len(inside), near, most, seed)
        for _ in range(rounds):
            index, best, turn = yield from _assign_steps(source, len(inside), representatives)
            representatives = _mean(source, index, turn)
        index, best, turn = yield from _assign_steps(source, len(inside), representatives)
        counts = np.bincount(index, minlength=len(representatives))
        order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
        counts = counts[order]
        place = np.zeros(len(representatives), np.int32)
        place[order] = np.arange(len(order))
        nearest[inside], similarity[inside], turns[inside] = place[index], best, turn
        found = source.whole(representatives[order])
        found /= np.maximum(norms(found, angles), 1e-30).astype(np.float32)[:, None, None]
    return Positions(
        nearest.reshape(scan),
        similarity.reshape(scan),
        turns.reshape(scan),
        share.reshape(scan).astype(np.float32),
        found,
        polar.radii,
        angles,
        counts,
        average_tree(found, counts, angles),
    )
