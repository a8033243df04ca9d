"""Similarities of many patterns with one another over the rotation angle: exact, and as a fast preview.

For every harmonic the cross-spectra of a tile of pairs are one matrix product (patterns × radii) · (radii × patterns);
an inverse transform over the harmonics turns them into correlation curves, whose maxima are refined by a parabola as in
`polar.correlate`. Only tiles on and above the diagonal are computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from stem4d_panel.cluster.polar import scaled, vertices
from stem4d_panel.cluster.radial import SAMPLE, band_limit, compressed, directions, powers, reduced
from stem4d_panel.errors import SettingError
from stem4d_panel.runtime.progress import Progress, Steps, finish
from stem4d_panel.runtime.threads import map_blocks

MANY = 500  # patterns from which finding fewer radial coordinates takes less time than it saves
EDGE = 64  # patterns that are compared with as many at a time; a thread holds 12 MB of their cross-spectra
PAD = 8  # values by which rows of cross-spectra are longer, or many of them would share lines of the cache
LINES = 512  # curves that are transformed at a time; few, so that they stay in the processor's cache
LIMIT = 2**30  # bytes of the two matrices
HARMONICS, RANK = 91, 32  # of the preview; fewer than 61 harmonics change clusterings
COARSE = 240  # angles of the preview; a parabola makes good for the rest
CHECKED = 64  # patterns on which the preview is held against the exact values


@dataclass(frozen=True, eq=False)
class Preview:
    """Approximate similarities and how far they are from the exact ones.

    Attributes
    ----------
    similarity : ndarray, shape (k, k)
    rotations : ndarray, shape (k, k)
        Degrees by which pattern j is turned against pattern i.
    error : float
        Largest difference from the exact similarity among the pairs that were checked.
    checked : int
        Number of these pairs: all those of a random subset of the patterns.
    """

    similarity: np.ndarray
    rotations: np.ndarray
    error: float
    checked: int


def _tile(first: list[np.ndarray], second: list[np.ndarray], angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Heights and rotations, shape (a, b), of all pairs of two sets.

    Each set is a list of runs of harmonics, of shapes (harmonics, a, radii) and (harmonics, b, radii).
    """
    shape, harmonics = (first[0].shape[1], second[0].shape[1]), sum(len(run) for run in first)
    pairs, done = shape[0] * shape[1], 0
    cross = np.empty((harmonics, pairs + PAD), np.complex64)[:, :pairs]
    for one, other in zip(first, second, strict=True):
        out = cross[done : done + len(one)].reshape(len(one), *shape)  # a view
        np.matmul(one.conj(), other.transpose(0, 2, 1), out=out)
        done += len(one)
    heights, turns = np.empty((2, pairs))
    lines = np.zeros((LINES, angles // 2 + 1), np.complex64)
    for i in range(0, pairs, LINES):
        some = cross[:, i : i + LINES].T
        lines[: len(some), :harmonics] = some
        curves = fft.irfft(lines[: len(some)], n=angles, axis=1, workers=1)
        heights[i : i + LINES], turns[i : i + LINES] = vertices(curves)
    return heights.reshape(shape), turns.reshape(shape)


def _some(runs: list[np.ndarray], rows: slice) -> list[np.ndarray]:
    return [run[:, rows] for run in runs]


def between(first: np.ndarray, second: np.ndarray, angles: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact similarities of one set of patterns with another.

    Parameters
    ----------
    first, second : ndarray, shape (a, harmonics, radii) and (b, harmonics, radii), complex64
    angles : int
        Samples over the full turn.

    Returns
    -------
    similarity, rotations : ndarray, shape (a, b)
        As `polar.correlate` gives for each row.
    """
    one, other = (np.sqrt(powers(s, angles).sum(axis=1)) for s in (first, second))
    left, right = [first.transpose(1, 0, 2)], [second.transpose(1, 0, 2)]
    spans = [(i, j) for i in range(0, len(first), EDGE) for j in range(0, len(second), EDGE)]
    heights, turns = np.empty((2, len(first), len(second)))

    def work(start: int, stop: int) -> None:
        for i, j in spans[start:stop]:
            here = slice(i, i + EDGE), slice(j, j + EDGE)
            heights[here], turns[here] = _tile(_some(left, here[0]), _some(right, here[1]), angles)

    map_blocks(work, len(spans), 1)
    return scaled(heights, one[:, None] * other), turns


def pairwise_steps(spectrum: np.ndarray, angles: int, limit: int = LIMIT) -> Steps[tuple[np.ndarray, np.ndarray]]:
    """`pairwise`, tile by tile."""
    fits(len(spectrum), limit)
    yield Progress("similarity", 0, len(spectrum), "pattern")
    power = powers(spectrum, angles)
    if len(spectrum) < MANY:
        runs = [np.ascontiguousarray(spectrum[:, : band_limit(power)].transpose(1, 0, 2))]
    else:
        runs = reduced(spectrum, power, angles)
    return (yield from _matrix_steps(runs, np.sqrt(power.sum(axis=1)), angles))


def pairwise(spectrum: np.ndarray, angles: int, limit: int = LIMIT) -> tuple[np.ndarray, np.ndarray]:
    """Exact similarities and rotations of all pairs.

    Equal to `polar.correlate` row by row, to 1e-5: high harmonics and, of many patterns, radial coordinates are left
    out that hold in sum at most 1e-6 of any pattern's power. No point of a correlation curve changes by more.

    Parameters
    ----------
    spectrum : ndarray, shape (k, harmonics, radii), complex64
        Azimuthal spectra of `polar.spectra`.
    angles : int
        Samples over the full turn.
    limit : int
        Bytes that the two matrices may take.

    Returns
    -------
    similarity : ndarray, shape (k, k), float64
        Symmetric; 1 on the diagonal, 0 where a pattern is empty.
    rotations : ndarray, shape (k, k), float64
        Degrees in [0, 360) by which pattern j is turned against pattern i; 0 on the diagonal.

    Raises
    ------
    SettingError
        If the matrices do not fit into `limit`.
    """
    return finish(pairwise_steps(spectrum, angles, limit))


def fits(count: int, limit: int) -> None:
    """Raise a SettingError if two matrices of `count` × `count` float64 take more than `limit` bytes."""
    most = int((limit / 16) ** 0.5)
    if count > most:
        raise SettingError(
            f"patterns: {count} are too many to compare all with all; a limit of {limit / 1e6:g} MB takes {most}"
        )


def _matrix_steps(runs: list[np.ndarray], sizes: np.ndarray, angles: int) -> Steps[tuple[np.ndarray, np.ndarray]]:
    count = len(sizes)
    spans = [(i, j) for i in range(0, count, EDGE) for j in range(i, count, EDGE)]
    similarity, rotations = np.empty((2, count, count))

    batch = 16  # tiles between two looks at whether to go on
    for done in range(0, len(spans), batch):
        yield Progress("similarity", done, len(spans), "tile")
        now = spans[done : done + batch]

        def work(start: int, stop: int, now: list[tuple[int, int]] = now) -> None:
            for i, j in now[start:stop]:
                rows, columns = slice(i, i + EDGE), slice(j, j + EDGE)
                heights, turns = _tile(_some(runs, rows), _some(runs, columns), angles)
                if i == j:
                    below = np.tril_indices(len(heights), -1)
                    heights[below], turns[below] = heights.T[below], -turns.T[below] % 360 % 360
                found = scaled(heights, sizes[rows, None] * sizes[columns])
                similarity[columns, rows], rotations[columns, rows] = found.T, -turns.T % 360 % 360
                similarity[rows, columns], rotations[rows, columns] = found, turns

        map_blocks(work, len(now), 1)
    np.fill_diagonal(similarity, sizes > 0)  # where a lattice has several equal maxima, rounding would choose one
    np.fill_diagonal(rotations, 0)
    return similarity, rotations


def preview(
    spectrum: np.ndarray,
    angles: int,
    harmonics: int = HARMONICS,
    rank: int = RANK,
    seed: int = 0,
    limit: int = LIMIT,
) -> Preview:
    """Approximate similarities of all pairs: fewer harmonics and angles, radii compressed.

    The radii are replaced by their leading `rank` directions, common to all patterns and harmonics (principal
    directions of the uncentred spectra). Similarities are divided by the whole norms, so that what was left out can
    only be missing from them.

    Parameters
    ----------
    spectrum : ndarray, shape (k, harmonics, radii), complex64
    angles : int
        Samples over the full turn of the exact correlation.
    harmonics, rank : int
        How many harmonics (at most 120) and radial directions are kept.
    seed : int
        Of the subset that is checked.
    limit : int
        Bytes that the two matrices may take.

    Raises
    ------
    SettingError
        If the matrices do not fit into `limit`.
    """
    fits(len(spectrum), limit)
    sizes, kept = np.sqrt(powers(spectrum, angles).sum(axis=1)), min(harmonics, COARSE // 2)
    every = max(1, len(spectrum) // SAMPLE)
    basis = directions(spectrum[::every, :kept], sizes[::every])[:, -rank:]
    low = np.ascontiguousarray(compressed(spectrum, basis, kept).transpose(1, 0, 2))
    coarse = min(angles, COARSE)
    similarity, rotations = finish(_matrix_steps([low], sizes * (angles / coarse) ** 0.5, coarse))
    subset = np.sort(np.random.default_rng(seed).permutation(len(spectrum))[:CHECKED])
    exact = between(spectrum[subset], spectrum[subset], angles)[0]
    error = np.abs(exact - similarity[np.ix_(subset, subset)])[np.triu_indices(len(subset), 1)]
    return Preview(similarity, rotations, float(error.max(initial=0.0)), len(error))
