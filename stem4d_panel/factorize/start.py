"""Initial factors."""

from __future__ import annotations

import numpy as np

from stem4d_panel.factorize.lowrank import LowRank


def initial_factors(
    low: LowRank, rank: int, start: str, seed: int, fill: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Initial W and Hᵀ.

    Parameters
    ----------
    low : LowRank
        The compressed matrix, of shape (n, m).
    rank : int
    start : {"nndsvd", "nndsvda", "random"}
        From the singular value decomposition (Boutsidis & Gallopoulos 2008), its zeros filled for ``nndsvda`` with the
        size that makes an even product of X's mean (the mean itself, as is usual, would make the start depend on the
        unit of X); or half-normal random numbers. Components beyond the singular vectors at hand are random.
    seed : int
    fill : float or None
        Another value for the zeros of ``nndsvda``.

    Returns
    -------
    W : ndarray, shape (n, rank)
    Ht : ndarray, shape (m, rank)
    """
    n, m = low.shape
    rng = np.random.default_rng(seed)
    scale = np.sqrt(max(low.mean, 0) / rank)
    # what the decomposition cannot give is random; an empty matrix has nothing to give
    known = 0 if start == "random" or low.mean <= 0 else min(rank, int((low.values > 0).sum()))
    W, Ht = np.zeros((n, rank)), np.zeros((m, rank))
    for j in range(known):
        u, v = low.left[:, j].astype(np.float64) / low.values[j], low.right[:, j].astype(np.float64)
        if j == 0:
            u, v = np.abs(u), np.abs(v)
        sides = []
        for sign in (1, -1):
            a, b = np.maximum(sign * u, 0), np.maximum(sign * v, 0)
            sides.append((np.linalg.norm(a) * np.linalg.norm(b), a, b))
        size, a, b = max(sides, key=lambda side: side[0])
        if size > 0:
            factor = np.sqrt(low.values[j] * size)
            W[:, j], Ht[:, j] = factor * a / np.linalg.norm(a), factor * b / np.linalg.norm(b)
    if start == "nndsvda":
        W[W <= 1e-12 * W.max()] = scale if fill is None else fill
        Ht[Ht <= 1e-12 * Ht.max()] = scale if fill is None else fill
    W[:, known:] = np.abs(rng.standard_normal((n, rank - known))) * scale
    Ht[:, known:] = np.abs(rng.standard_normal((m, rank - known))) * scale
    return W.astype(low.dtype), Ht.astype(low.dtype)
