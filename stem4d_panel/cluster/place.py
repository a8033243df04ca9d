"""Components that lie on one place: parts of one crystal, joined without rotation before any pattern is turned."""

from __future__ import annotations

import numpy as np

_WHOLE = 0.7  # anisotropy and centrosymmetry from which a pattern is that of a whole lattice by itself
_COMMON = 0.4  # correlation of two whole patterns as they lie, from which they may be one lattice


def centrosymmetry(spectrum: np.ndarray) -> np.ndarray:
    """Correlation of each pattern with itself turned by 180 degrees, shape (k,); 0 for an empty one.

    Parameters
    ----------
    spectrum : ndarray, shape (k, harmonics, radii)
        Ring means removed.
    """
    power = (np.abs(spectrum.astype(np.complex128)) ** 2).sum(axis=2)
    power[:, 1:] *= 2
    total = power.sum(axis=1)
    sign = 1 - 2 * (np.arange(power.shape[1]) % 2)
    return np.asarray((power * sign).sum(axis=1) / np.where(total > 0, total, 1))


def map_correlation(maps: np.ndarray) -> np.ndarray:
    """Pearson correlation of all pairs of maps as they lie, shape (k, k); 0 with an even map."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1)
    flat /= np.where(norm > 0, norm, 1)[:, None]
    return np.asarray(flat @ flat.T)


def two_lattices(together: np.ndarray, anisotropy: np.ndarray, symmetry: np.ndarray) -> np.ndarray:
    """Pairs that must not be taken for parts of one crystal, shape (k, k), bool.

    Two crystals above each other have maps alike as well. Each of their patterns is then whole, anisotropic and
    centrosymmetric, and as they lie they have little in common; parts of one lattice are incomplete, or share spots.

    Parameters
    ----------
    together : ndarray, shape (k, k)
        Correlations of the patterns as they lie.
    anisotropy, symmetry : ndarray, shape (k,)
        Anisotropy and centrosymmetry of each.
    """
    whole = np.minimum(anisotropy, symmetry) >= _WHOLE
    return np.asarray(whole[:, None] & whole & (together < _COMMON))


def places(maps: np.ndarray, totals: np.ndarray, apart: np.ndarray, least: float) -> list[tuple[int, int, float]]:
    """Merges of maps that lie on one place, the most alike first.

    After each merge the maps are added and compared again, so a place is judged by all that lies on it.

    Parameters
    ----------
    maps : ndarray, shape (k, y, x)
    totals : ndarray, shape (k,)
        Intensities; the stronger of a pair is named first.
    apart : ndarray, shape (k, k), bool
        Pairs that may not come together, not even by way of a third.
    least : float
        Least correlation of maps on one place.

    Returns
    -------
    list of (first, second, correlation)
        Ids as in scipy's linkage, the i-th merge making id k + i.
    """
    k = len(maps)
    images = {i: m.astype(np.float64) for i, m in enumerate(maps)}
    weight = {i: float(t) for i, t in enumerate(totals)}
    members = {i: [i] for i in range(k)}
    near = _pairs(list(range(k)), map_correlation(maps))
    made: list[tuple[int, int, float]] = []
    while near:
        (a, b), found = max(near.items(), key=lambda item: (item[1], -item[0][0], -item[0][1]))
        if found < least:
            break
        if apart[np.ix_(members[a], members[b])].any():
            del near[a, b]
            continue
        first, second = (a, b) if (weight[a], -a) >= (weight[b], -b) else (b, a)
        new = k + len(made)
        made.append((first, second, found))
        images[new] = images.pop(first) + images.pop(second)
        weight[new] = weight.pop(first) + weight.pop(second)
        members[new] = members.pop(first) + members.pop(second)
        near = {pair: c for pair, c in near.items() if not {a, b} & set(pair)}
        others = [i for i in images if i != new]
        if others:
            row = map_correlation(np.stack([images[new]] + [images[i] for i in others]))[0, 1:]
            near.update({(new, i): float(c) for i, c in zip(others, row, strict=True)})
    return made


def _pairs(ids: list[int], matrix: np.ndarray) -> dict[tuple[int, int], float]:
    return {(i, j): float(matrix[i, j]) for i in ids for j in ids if i > j}
