"""Initial factors."""

from __future__ import annotations

import numpy as np
from sklearn.utils.extmath import randomized_svd


def initial_factors(X: np.ndarray, rank: int, start: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Initial W and H for a matrix.

    Parameters
    ----------
    X : ndarray, shape (n, m), non-negative
    rank : int
    start : {"nndsvd", "nndsvda", "random"}
        From a singular value decomposition (Boutsidis & Gallopoulos 2008), its zeros filled for ``nndsvda`` with the
        size that makes an even product of X's mean (the mean itself, as is usual, would make the start depend on the
        unit of X); or half-normal random numbers.
    seed : int

    Returns
    -------
    W : ndarray, shape (n, rank)
    H : ndarray, shape (rank, m)
    """
    n, m = X.shape
    mean = float(X.mean())
    rng = np.random.default_rng(seed)
    scale = np.sqrt(max(mean, 0) / rank)
    if start == "random" or rank > min(n, m) or mean == 0:
        W = np.abs(rng.standard_normal((n, rank))) * scale
        H = np.abs(rng.standard_normal((rank, m))) * scale
        return W.astype(X.dtype), H.astype(X.dtype)
    U, s, Vt = randomized_svd(X, rank, n_iter=3, power_iteration_normalizer="QR", random_state=seed)
    W, H = np.zeros((n, rank)), np.zeros((rank, m))
    W[:, 0], H[0] = np.sqrt(s[0]) * np.abs(U[:, 0]), np.sqrt(s[0]) * np.abs(Vt[0])
    for j in range(1, rank):
        u, v = U[:, j].astype(np.float64), Vt[j].astype(np.float64)
        sides = []
        for sign in (1, -1):
            a, b = np.maximum(sign * u, 0), np.maximum(sign * v, 0)
            sides.append((np.linalg.norm(a) * np.linalg.norm(b), a, b))
        size, a, b = max(sides, key=lambda side: side[0])
        if size > 0:
            factor = np.sqrt(s[j] * size)
            W[:, j], H[j] = factor * a / np.linalg.norm(a), factor * b / np.linalg.norm(b)
    if start == "nndsvda":
        W[W <= 1e-12 * W.max()] = scale
        H[H <= 1e-12 * H.max()] = scale
    return W.astype(X.dtype), H.astype(X.dtype)
