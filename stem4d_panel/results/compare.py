"""Classes of several results side by side: which are the same structure, whatever the scan, its scale and its rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from stem4d_panel.cluster.patterns import PatternSet, all_pairs
from stem4d_panel.cluster.polar import filled, spectra, to_polar
from stem4d_panel.cluster.significance import suggest
from stem4d_panel.errors import DataError
from stem4d_panel.results.result import Result

_LEAST = 8  # pixels of the common patterns from the beam to their edge, at least


@dataclass(frozen=True)
class Member:
    """A crystalline class of one of the results.

    Attributes
    ----------
    result : int
        Which result.
    label : int
        Which of its classes.
    """

    result: int
    label: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """Crystalline classes of several results compared under rotation.

    Attributes
    ----------
    members : tuple of Member
    similarity : ndarray, shape (n, n)
        Correlation of the classes' patterns over the rotation angle, rings brought to equal strength.
    rotations : ndarray, shape (n, n)
        Degrees by which the second class's pattern is turned against the first's.
    groups : ndarray, shape (n,), int
        Classes of one number are taken for one structure; numbered by how many results hold it, then by likeness.
    threshold : float
        Pseudo-distance (1 - similarity) up to which classes were joined, average linkage.
    reason : str
        Where the threshold comes from.
    unit : str
        Of reciprocal space in which patterns were brought onto one scale: ``1/nm``, ``mrad`` or ``px``.
    warnings : tuple of str
    """

    members: tuple[Member, ...]
    similarity: np.ndarray
    rotations: np.ndarray
    groups: np.ndarray
    threshold: float
    reason: str
    unit: str
    warnings: tuple[str, ...]

    def of(self, group: int) -> list[int]:
        """Indices of the classes of one group."""
        return [int(i) for i in np.flatnonzero(self.groups == group)]


def compare(results: Sequence[Result], threshold: float | None = None) -> Comparison:
    """Match the crystalline classes of several results by the correlation of their patterns over the rotation angle.

    Patterns are brought onto one scale of reciprocal space first, the coarsest of them, and cut to the radii that all of
    them hold; their rings are brought to equal strength, as between the components of one scan.

    Parameters
    ----------
    results : sequence of Result
    threshold : float, optional
        Pseudo-distance up to which classes are joined; None takes the one that follows from the patterns, see
        `cluster.significance.suggest`.

    Raises
    ------
    DataError
        If there are fewer than two results, or their patterns have no range of radii in common.
    """
    if len(results) < 2:
        raise DataError(f"results: {len(results)} given; a comparison takes 2 or more")
    members = tuple(Member(i, c.label) for i, r in enumerate(results) for c in r.findings.classes if c.crystalline)
    steps, unit, warnings = _steps(results)
    if not members:
        empty = np.zeros((0, 0))
        return Comparison((), empty, empty, np.zeros(0, int), 0.0, "no crystalline class", unit, warnings)
    patterns = _patterns(results, members, steps)
    similarity, rotations = all_pairs(patterns)
    found = suggest(patterns)
    if threshold is None:
        threshold, reason = found.threshold, found.reason
    else:
        reason = "as given"
    return Comparison(
        members, similarity, rotations, _groups(members, similarity, threshold), threshold, reason, unit, warnings
    )


def _steps(results: Sequence[Result]) -> tuple[list[float], str, tuple[str, ...]]:
    """Size of a pattern's pixel for each result in one unit, the unit, and what to say of it."""
    known = [r.details.reciprocal_step for r in results]
    if None not in known:
        return [float(k) for k in known if k is not None], "1/nm", ()
    units = {r.axes[3].units for r in results}
    if units == {"mrad"}:
        return (
            [r.axes[3].scale for r in results],
            "mrad",
            ("compared in mrad, as if all had one voltage: not all are known",),
        )
    missing = ", ".join(r.name for r, k in zip(results, known, strict=True) if k is None)
    return [1.0] * len(results), "px", (f"compared in binned pixels: the scale of {missing} is not known in 1/nm",)


def _patterns(results: Sequence[Result], members: tuple[Member, ...], steps: list[float]) -> PatternSet:
    """Patterns of the classes on one grid of the coarsest step, ready to be compared."""
    step = max(steps)
    reach = min(_reach(r) * s for r, s in zip(results, steps, strict=True)) / step
    size = int(reach)
    if size < _LEAST:
        raise DataError(
            f"results: their patterns have {size} px from the beam to the edge in common; {_LEAST} are needed"
        )
    images, masks = [], []
    for i, (result, own) in enumerate(zip(results, steps, strict=True)):
        grid = [c + np.arange(-size, size + 1) * (step / own) for c in result.centre]
        at = np.stack(np.meshgrid(*grid, indexing="ij"))
        masks.append(ndimage.map_coordinates(result.mask.astype(float), at, order=1, mode="constant") > 0.99)
        ky, kx = np.indices(result.mask.shape)
        radius = np.hypot(ky - result.centre[0], kx - result.centre[1])
        for member in members:
            if member.result == i:
                whole = filled(result.classes.patterns[member.label].astype(np.float64), result.mask, radius)
                blurred = ndimage.gaussian_filter(whole, 0.5 * np.sqrt((step / own) ** 2 - 1)) if step > own else whole
                images.append(ndimage.map_coordinates(blurred, at, order=3, mode="nearest"))
    polar = to_polar(np.array(images, np.float32), np.all(masks, axis=0), (float(size), float(size)))
    if not len(polar.radii):
        raise DataError("results: the masks of their patterns leave no radius in common")
    spectrum = spectra(polar, "ring")
    return PatternSet(spectrum, np.zeros((len(images), len(polar.radii))), polar.values.shape[2], True)


def _reach(result: Result) -> float:
    """Pixels from the direct beam to the nearest edge of the patterns."""
    (cy, cx), (ny, nx) = result.centre, result.mask.shape
    return float(min(cy, cx, ny - 1 - cy, nx - 1 - cx))


def _groups(members: tuple[Member, ...], similarity: np.ndarray, threshold: float) -> np.ndarray:
    """Number of the structure of each class."""
    if len(members) == 1:
        return np.zeros(1, int)
    distance = np.clip(1 - similarity, 0, None)
    np.fill_diagonal(distance, 0)
    tree = hierarchy.average(squareform((distance + distance.T) / 2, checks=False))
    found = hierarchy.fcluster(tree, threshold, "distance")
    held = {g: len({m.result for m, f in zip(members, found, strict=True) if f == g}) for g in set(found.tolist())}
    first = {g: int(np.flatnonzero(found == g)[0]) for g in held}
    order = {g: n for n, g in enumerate(sorted(held, key=lambda g: (-held[g], first[g])))}
    return np.array([order[int(g)] for g in found])
