"""Patterns, maps and factors of known structure, which the tests of the tree share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stem4d_panel.cluster.grow import grow_steps
from stem4d_panel.cluster.patterns import PatternSet, pattern_set
from stem4d_panel.cluster.polar import ring_means, to_polar
from stem4d_panel.cluster.tree import Tree
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.runtime.progress import finish
from stem4d_panel.settings import ClusterSettings, Settings

N, CENTRE = 48, (23.5, 23.5)
KY, KX = np.mgrid[:N, :N] - 23.5
RADIUS = np.hypot(KY, KX)
MASK = (RADIUS >= 3) & (RADIUS <= 23)
FIELD = (40, 48)
Y, X = np.mgrid[: FIELD[0], : FIELD[1]]
Spot = tuple[float, float, float]  # radius, angle in degrees from +kx towards +ky, height
A: list[Spot] = [(9, 0, 1.0), (15, 100, 0.8), (20, 215, 0.9), (12, 290, 0.5)]
B: list[Spot] = [(11, 20, 1.0), (17, 80, 0.9), (17, 200, 0.6), (21, 310, 0.8)]
METHODS = ("reintegrate", "average", "complete", "single")


def pattern(spots: Sequence[Spot], turn: float = 0.0, mirrored: bool = False) -> np.ndarray:
    """Spots, mirrored at the kx axis where asked for, then turned."""
    image = np.zeros((N, N))
    for radius, angle, height in spots:
        phi = np.deg2rad((-angle if mirrored else angle) + turn)
        image += height * np.exp(-((KY - radius * np.sin(phi)) ** 2 + (KX - radius * np.cos(phi)) ** 2) / 3)
    return np.where(MASK, image, 0)


def lattice(first: float, second: float, angle: float, outer: float = 21.0) -> list[Spot]:
    """All spots of a lattice inside a radius, weaker outwards."""
    a, b = np.array([first, 0.0]), second * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    points = [h * a + k * b for h in range(-5, 6) for k in range(-5, 6) if (h, k) != (0, 0)]
    return [
        (float(np.hypot(x, y)), float(np.rad2deg(np.arctan2(y, x))), float(np.exp(-np.hypot(x, y) / 20)))
        for x, y in points
        if 4 < np.hypot(x, y) < outer
    ]


SQUARE, HEXAGONAL, OBLIQUE = lattice(9.3, 9.3, 90), lattice(11.5, 11.5, 60), lattice(8.0, 13.0, 78)


def halo(radius: float = 12.0, width: float = 4.0) -> np.ndarray:
    return np.where(MASK, np.exp(-((RADIUS - radius) ** 2) / (2 * width**2)), 0)


def unit(image: np.ndarray) -> np.ndarray:
    """A pattern of unit sum."""
    return np.asarray(image / image.sum())


def blob(y: float, x: float, field: tuple[int, int] = (24, 30)) -> np.ndarray:
    """A lopsided particle, so that its shift is plain."""
    v, u = np.mgrid[: field[0], : field[1]]
    return np.asarray(
        np.exp(-((v - y) ** 2 + (u - x) ** 2) / 8) + 0.5 * np.exp(-((v - y - 3) ** 2 + (u - x - 1) ** 2) / 4)
    )


def particle(y: float, x: float, width: float = 2.5) -> np.ndarray:
    return np.asarray(np.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * width**2)))


def made(
    patterns: Sequence[np.ndarray],
    totals: Sequence[float] | np.ndarray | None = None,
    maps: Sequence[np.ndarray] | None = None,
    mask: np.ndarray = MASK,
) -> Factors:
    """Factors with these patterns, intensities and maps."""
    stack = np.array(patterns, np.float32)
    sums = stack.sum((1, 2), keepdims=True)
    stack = stack / np.where(sums > 0, sums, 1)
    weights = np.arange(len(stack), 0, -1.0) if totals is None else np.array(totals, float)
    images = np.array([blob(11, 14)] * len(stack) if maps is None else maps, float)
    sums = images.sum((1, 2), keepdims=True)
    images = images / np.where(sums > 0, sums, 1) * weights[:, None, None]
    return Factors(images.astype(np.float32), stack, mask, 0.1, np.ones(1, np.float32), 1, True, ())


def settings_of(**changes: Any) -> ClusterSettings:
    return Settings.make({f"cluster.{name}": value for name, value in changes.items()}).cluster


def grown(factors: Factors, variance: np.ndarray | None = None, **changes: Any) -> Tree:
    """A tree with the default settings but for the changes; `variance` is that of the patterns' pixels."""
    return finish(grow_steps(factors, CENTRE, settings_of(**changes), variance))


def grow(factors: Factors, method: str = "reintegrate", **changes: Any) -> Tree:
    """Patterns alone, as the seed compares them; nothing set apart."""
    return grown(factors, **({"similarity": "patterns", "centring": "ring", "glass": 0.0, "method": method} | changes))


def set_of(
    patterns: Sequence[np.ndarray] | np.ndarray,
    variance: np.ndarray | None = None,
    centring: str = "equal",
    **changes: Any,
) -> PatternSet:
    """Patterns ready to be compared, with the variance of their pixels."""
    stack = np.array(patterns, np.float32)
    polar = to_polar(stack, MASK, CENTRE)
    noise = ring_means(np.zeros(stack.shape) if variance is None else variance, MASK, CENTRE, polar.radii)
    return pattern_set(polar, noise, settings_of(**changes), centring)


def drawn(image: np.ndarray, counts: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A pattern of unit sum with the noise of this many counts, and the variance of its pixels."""
    expected = unit(image)
    return rng.poisson(expected * counts) / counts, expected / counts


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def apart(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Distances of angles in degrees."""
    return np.abs((np.asarray(a) - b + 180) % 360 - 180)


def parts(spots: Sequence[Spot], seed: int = 1) -> tuple[list[Spot], list[Spot]]:
    """Two complementary halves of a lattice's spots, neither whole nor the other turned."""
    first = np.random.default_rng(seed).permutation(len(spots)) < len(spots) // 2
    return [s for s, f in zip(spots, first, strict=True) if f], [s for s, f in zip(spots, first, strict=True) if not f]


def scene(
    turn: float = 0.0, move: tuple[int, int] = (0, 0), traces: float = 0.1, order: Sequence[int] | None = None
) -> Factors:
    """Two kinds of glass; a crystal in two parts, the same structure turned by 37 elsewhere; another, 0 and 26 turned.

    All patterns can be turned by `turn`, and all particles moved by `move` (from -3 to 3 px, so that none is cut).
    """
    one, other = parts(SQUARE)
    patterns = [
        halo(),
        halo(15, 3),
        pattern(one, turn),
        pattern(other, turn),
        pattern(SQUARE, turn + 37),
        pattern(OBLIQUE, turn + 5),
        pattern(OBLIQUE, turn + 31),
    ]
    patterns = [unit(p) + (traces * unit(halo()) if i > 1 else 0) for i, p in enumerate(patterns)]
    dy, dx = move
    places = [(10, 10), (10.6, 10.8), (27, 11), (11, 35), (28, 37)]
    maps = [1 + 0.05 * np.sin(X / 9), np.exp(-X / 30), *(particle(y + dy, x + dx, 2.0) for y, x in places)]
    totals = np.array([400.0, 300, 30, 28, 50, 60, 40])
    wanted = range(7) if order is None else order
    return made([patterns[i] for i in wanted], totals[list(wanted)], [maps[i] for i in wanted])
