"""Random pairs of lattices: what radius by radius tells apart, and what shared rings do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from stem4d_panel.cluster.patterns import PatternSet, compare, pattern_set
from stem4d_panel.cluster.polar import correlate, norms, to_polar
from stem4d_panel.settings import Settings

N, OUTER, WIDTH = 112, 52.0, 2.4  # px; the width is that of a spot at half its height
MIDDLE = (N - 1) / 2
KY, KX = np.mgrid[:N, :N] - MIDDLE
MASK = (np.hypot(KY, KX) >= 5) & (np.hypot(KY, KX) <= OUTER)


@dataclass(frozen=True)
class Lattice:
    """A plane lattice of spots: lengths in px, the angle between them and the turn in degrees, the last ring in px."""

    first: float
    second: float
    angle: float
    turn: float
    last: float

    def spots(self) -> np.ndarray:
        """Offsets (ky, kx) of the spots, shape (n, 2)."""
        a, b = np.deg2rad([self.turn, self.turn + self.angle])
        h, k = (i.ravel() for i in np.mgrid[-6:7, -6:7])
        points = np.stack(
            [
                h * self.first * np.sin(a) + k * self.second * np.sin(b),
                h * self.first * np.cos(a) + k * self.second * np.cos(b),
            ],
            axis=1,
        )
        radius = np.hypot(*points.T)
        return np.asarray(points[(radius > 6) & (radius <= self.last)])

    def rings(self) -> np.ndarray:
        return np.unique(np.hypot(*self.spots().T).round(3))

    def image(self) -> np.ndarray:
        """Weaker outwards."""
        out = np.zeros((N, N))
        sigma = WIDTH / 2.3548
        for y, x in self.spots():
            out += np.exp(-np.hypot(y, x) / 25 - ((KY - y) ** 2 + (KX - x) ** 2) / (2 * sigma**2))
        return np.where(MASK, out, 0)


def drawn(rng: np.random.Generator) -> Lattice:
    first = rng.uniform(12, 30)
    return Lattice(
        first,
        first * rng.uniform(1, 1.6),
        rng.uniform(60, 90),
        rng.uniform(0, 360),
        float(np.clip(first * rng.uniform(1.1, 3), first, OUTER - 3)),
    )


def likeness(pairs: list[tuple[Lattice, Lattice]]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the pairs with the default settings: radius by radius, and summed over the radius first."""
    images = np.array([lattice.image() for pair in pairs for lattice in pair])
    polar = to_polar(images, MASK, (MIDDLE, MIDDLE))
    found = pattern_set(polar, np.zeros((len(images), len(polar.radii))), Settings.make().cluster)
    by_radius = [compare(found[[i]], found[[i + 1]])[0][0] for i in range(0, len(images), 2)]
    return np.array(by_radius), summed_first(found)


def summed_first(found: PatternSet) -> np.ndarray:
    shaped, _ = found.shaped()
    flat = shaped.sum(axis=2, keepdims=True)
    assert (norms(flat, found.angles) > 0).all()
    return np.array([correlate(flat[i], flat[[i + 1]], found.angles)[0][0] for i in range(0, len(flat), 2)])


@cache
def random_pairs() -> tuple[list[tuple[Lattice, Lattice]], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pairs = [(drawn(rng), drawn(rng)) for _ in range(200)]
    return pairs, *likeness(pairs)


def apart(one: Lattice, other: Lattice) -> float:
    """Least distance of a ring of one from a ring of the other, in widths of a spot."""
    return float(np.abs(one.rings()[:, None] - other.rings()).min() / WIDTH)


def test_radius_by_radius_lies_below_the_sum_over_the_radius_first() -> None:
    _, by_radius, summed = random_pairs()
    assert np.mean(by_radius < summed) >= 0.95


def test_lattices_that_share_no_ring_are_not_alike() -> None:
    rng = np.random.default_rng(1)
    pairs: list[tuple[Lattice, Lattice]] = []
    while len(pairs) < 40:
        one, other = drawn(rng), drawn(rng)
        if apart(one, other) > 3:
            pairs.append((one, other))
    by_radius, summed = likeness(pairs)
    assert by_radius.max() < 0.35
    assert np.median(summed) > 0.35  # the trap: whoever sums first calls half of them alike


def test_shared_rings_make_lattices_alike_and_the_curve_shows_where() -> None:
    ratios = np.append(np.arange(1, 2.5, 0.05), [np.sqrt(3), 2])
    scores = hexagonal(ratios)
    print("\nspacing ratio and score of two hexagonal lattices:")  # see it with pytest -s
    print("  ".join(f"{q:.2f} {s:.2f}" for q, s in sorted(zip(ratios, scores, strict=True))))
    between = (ratios > 1.15) & (ratios < 1.55)
    assert scores[0] > 0.98
    assert scores[between].max() < 0.3
    assert scores[-2:].min() > 0.4  # every ring of the wider lattice is one of the other's


def hexagonal(ratios: np.ndarray) -> np.ndarray:
    """Scores of a hexagonal lattice with a wider one, for ratios of their spacings."""
    pairs = [(Lattice(14, 14, 60, 0, OUTER - 3), Lattice(14 * q, 14 * q, 60, 17, OUTER - 3)) for q in ratios]
    return likeness(pairs)[0]
