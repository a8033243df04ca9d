"""How well a decomposition recovers what is known to be in a simulated scan.

Each component is compared with each crystal's thickness, blurred as the probe blurs it. The rest follows from these
correlations: which component stands for which crystal, which class a component truly belongs to, and, from there, how
well labels and rotations agree with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stem4d_panel.errors import DataError

if TYPE_CHECKING:
    from stem4d_panel.scan.truth import Truth

PROBE_SIGMA = 0.45  # nm
BELONGS = 0.4  # correlation above which a component belongs to a crystal
FOUND = 0.7  # correlation above which a crystal counts as found

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Recovery:
    """Scores against a known truth; None where a score is not defined.

    Attributes
    ----------
    rank, classes : int
        Number of components and of different labels among them.
    found, of : int
        Crystals whose component correlates above 0.7, of all.
    map_corr, iou : float or None
        Means over the best one-to-one assignment of crystals to components: Pearson correlation with the blurred
        thickness, and intersection over union with the crystal's outline at the map's best threshold. With fewer
        components than crystals, the crystals left over do not count.
    ari, ari_crystal : float or None
        Adjusted Rand index of the labels against the true classes, over all components, and over those that belong to
        a crystal (None below two of these).
    crystal_with_glass : int
        Components of crystals that share their label with a component that belongs to none.
    rotation_err_deg : float or None
        Largest error of the rotation between two found crystals of one kind that share a label, modulo the symmetry.
    """

    rank: int
    classes: int
    found: int
    of: int
    map_corr: float | None
    iou: float | None
    ari: float | None
    ari_crystal: float | None
    crystal_with_glass: int
    rotation_err_deg: float | None


def recovery(maps: ArrayLike, labels: ArrayLike, rotations: ArrayLike, truth: Truth) -> Recovery:
    """Score maps, labels and rotations against the truth.

    Parameters
    ----------
    maps : array-like, shape (k, y, x)
    labels : array-like of int, shape (k,)
        The class of each component; -1 is a class like any other.
    rotations : array-like, shape (k,)
        In degrees from +kx towards +ky.
    truth : Truth

    Raises
    ------
    DataError
        If the shapes do not fit each other or the truth.
    """
    images = _checked(maps, truth)
    given, turns = np.asarray(labels).astype(np.int64), np.asarray(rotations, np.float64)
    if given.shape != (len(images),) or turns.shape != (len(images),):
        raise DataError(f"labels, rotations: have shapes {given.shape}, {turns.shape}; each needs ({len(images)},)")
    corr = _correlations(images, truth)
    owner = _assign(corr)
    true = _classes_of(corr, truth)
    belongs = true > 0
    scores = {crystal: float(corr[k, crystal]) for crystal, k in owner.items()}
    outlines = [_best_iou(images[k], truth.masks[crystal]) for crystal, k in owner.items()]
    return Recovery(
        rank=len(images),
        classes=len(np.unique(given)),
        found=sum(score > FOUND for score in scores.values()),
        of=len(truth.crystals),
        map_corr=float(np.mean(list(scores.values()))) if scores else None,
        iou=float(np.mean(outlines)) if outlines else None,
        ari=adjusted_rand(true, given) if len(true) else None,
        ari_crystal=adjusted_rand(true[belongs], given[belongs]) if belongs.sum() > 1 else None,
        crystal_with_glass=int(np.isin(given[belongs], given[~belongs]).sum()),
        rotation_err_deg=_rotation_error({c: k for c, k in owner.items() if scores[c] > FOUND}, given, turns, truth),
    )


def true_classes(maps: ArrayLike, truth: Truth) -> Integers:
    """Find the true class of each component, shape (k,).

    The kind of the crystal that its map correlates with best, counted from 1 in alphabetical order; 0 (glass,
    background, mixture) where no correlation exceeds 0.4.

    Parameters
    ----------
    maps : array-like, shape (k, y, x)
    truth : Truth

    Raises
    ------
    DataError
        If the maps do not have the scan's shape.
    """
    return _classes_of(_correlations(_checked(maps, truth), truth), truth)


def cut_by_order(merges: ArrayLike, n: int) -> Integers:
    """Label the n parts that are left when the last n - 1 merges of a tree are undone.

    By the order of the merges, whatever their heights, since these may invert.

    Parameters
    ----------
    merges : array-like, shape (k - 1, 2 or more)
        In the first columns the two parts that are joined, numbered as in SciPy's linkage: row i makes part k + i.
    n : int
        From 1 to k.

    Returns
    -------
    ndarray of int, shape (k,)
        0 to n - 1, in the order of the parts' numbers.

    Raises
    ------
    DataError
        If n lies outside its limits.
    """
    rows = np.asarray(merges, np.float64)
    k = len(rows) + 1
    if not 1 <= n <= k:
        raise DataError(f"merges: {k} components cannot be cut into {n} classes")
    part = np.arange(k)
    for made, row in enumerate(rows[: k - n], start=k):
        part[np.isin(part, row[:2].astype(np.int64))] = made
    return np.unique(part, return_inverse=True)[1].astype(np.int64)


def adjusted_rand(first: ArrayLike, second: ArrayLike) -> float:
    """Compute the adjusted Rand index of two labellings: 1 for the same partition, about 0 by chance.

    Source: Hubert and Arabie, Journal of Classification 2 (1985) 193. Two trivial partitions (one part, or all parts
    single, in both) agree: 1.
    """
    rows, columns = (np.unique(np.asarray(labels), return_inverse=True)[1] for labels in (first, second))
    table = np.zeros((rows.max(initial=-1) + 1, columns.max(initial=-1) + 1))
    np.add.at(table, (rows, columns), 1)

    def pairs(counts: Doubles) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    both, in_first, in_second = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    every = pairs(np.array([len(rows)], float))
    chance = in_first * in_second / every if every else 0.0
    most = (in_first + in_second) / 2
    return 1.0 if most == chance else (both - chance) / (most - chance)


def _checked(maps: ArrayLike, truth: Truth) -> Doubles:
    images = np.asarray(maps, np.float64)
    if images.ndim != 3 or images.shape[1:] != truth.chord.shape[1:]:
        raise DataError(f"maps: have the shape {images.shape}, the truth (n, y, x) = {truth.chord.shape}")
    return images


def _correlations(images: Doubles, truth: Truth) -> Doubles:
    """Pearson correlation of every map with every crystal's blurred thickness, shape (k, n); 0 for an even map."""
    from scipy.ndimage import gaussian_filter

    sigma = PROBE_SIGMA / truth.scan_step
    blurred = gaussian_filter(truth.chord.astype(np.float64), (0, sigma, sigma)) if len(truth.chord) else truth.chord
    flat = [_centred(stack) for stack in (images, blurred)]
    product: Doubles = flat[0] @ flat[1].T
    return product


def _centred(stack: NDArray[np.floating]) -> Doubles:
    """Rows of zero mean and unit norm, shape (n, positions)."""
    rows = stack.reshape(len(stack), int(np.prod(stack.shape[1:]))).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Doubles = np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)
    return unit


def _assign(corr: Doubles) -> dict[int, int]:
    """Choose a component for each crystal, one to one, with the largest sum of correlations."""
    from scipy.optimize import linear_sum_assignment

    components, crystals = linear_sum_assignment(corr, maximize=True)
    return dict(zip(crystals.tolist(), components.tolist(), strict=True))


def _classes_of(corr: Doubles, truth: Truth) -> Integers:
    if not truth.crystals:
        return np.zeros(len(corr), np.int64)
    kinds = np.unique([c.class_name for c in truth.crystals], return_inverse=True)[1] + 1
    return np.where(corr.max(axis=1) > BELONGS, kinds[corr.argmax(axis=1)], 0).astype(np.int64)


def _best_iou(image: Doubles, mask: NDArray[np.bool_]) -> float:
    """Largest intersection over union of a mask with the map cut at a tenth to nine tenths of its maximum."""
    best = 0.0
    for part in np.linspace(0.1, 0.9, 33):
        above = image > part * image.max()
        best = max(best, float((above & mask).sum() / max(1, (above | mask).sum())))
    return best


def _rotation_error(owner: dict[int, int], labels: Integers, rotations: Doubles, truth: Truth) -> float | None:
    errors = []
    for i, j in combinations(sorted(owner), 2):
        first, second = truth.crystals[i], truth.crystals[j]
        a, b = owner[i], owner[j]
        if first.class_name != second.class_name or labels[a] != labels[b]:
            continue
        period = 360 / first.fold
        off = (rotations[a] - rotations[b]) - (first.rotation - second.rotation)
        errors.append(float(abs((off + period / 2) % period - period / 2)))
    return max(errors, default=None)
