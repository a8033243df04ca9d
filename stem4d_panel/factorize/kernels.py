"""The inner sweep of HALS: exact coordinate descent over one row's components, rows independent of each other."""

from __future__ import annotations

import numba
import numpy as np

from stem4d_panel.runtime.threads import map_blocks


@numba.njit(nogil=True, cache=True, fastmath=True)
def _sweep(W: np.ndarray, A: np.ndarray, G: np.ndarray, sweeps: int, tol: float) -> None:
    n, k = W.shape
    for i in range(n):
        first = np.float32(0)
        for turn in range(sweeps):
            moved = np.float32(0)
            for j in range(k):
                g = G[j, j]
                if g > 0:
                    dot = np.float32(0)
                    for c in range(k):
                        dot += W[i, c] * G[j, c]
                    new = max(np.float32(0), W[i, j] + (A[i, j] - dot) / g)
                    change = new - W[i, j]
                    moved += g * change * change
                    W[i, j] = new
            if turn == 0:
                first = moved
            if moved <= tol * first:
                break


def sweep(W: np.ndarray, A: np.ndarray, G: np.ndarray, sweeps: int, tol: float = 0.01) -> None:
    """Improve ``min ||X - W H||`` over W >= 0 in place, from the products A = X Hᵀ and G = H Hᵀ.

    Parameters
    ----------
    W : ndarray, shape (n, k), float32, C order
        Changed in place; each row by at most `sweeps` rounds of exact coordinate descent (HALS), fewer when a round
        gains less than `tol` of the first (Gillis & Glineur 2012).
    A : ndarray, shape (n, k), float32
    G : ndarray, shape (k, k), float32
        Components whose diagonal is zero are left as they are.
    """
    map_blocks(lambda start, stop: _sweep(W[start:stop], A[start:stop], G, sweeps, tol), len(W), max(256, len(W) // 8))
