"""Compiled inner loops: the sweep of HALS over one row's components, and the expected counts of expectation maximisation."""

from __future__ import annotations

import numpy as np

from stem4d_panel.runtime.compiled import compiled
from stem4d_panel.runtime.threads import map_blocks

TILE = 64  # rows side by side, so that the inner loops run over them and not over the few components


@compiled(fastmath=True)
def sweep_block(W: np.ndarray, A: np.ndarray, G: np.ndarray, sweeps: int, tol: float) -> None:
    """:func:`sweep` of some rows in the calling thread; A may have more columns than W."""
    n, k = W.shape
    zero = W.dtype.type(0)
    least = zero  # below it a component is as good as dead, and dividing by it would overflow
    for j in range(k):
        least = max(least, G[j, j])
    least *= W.dtype.type(1e-12)
    w, a, rest = np.empty((k, TILE), W.dtype), np.empty((k, TILE), W.dtype), np.empty(TILE, W.dtype)
    for start in range(0, n, TILE):
        height = min(TILE, n - start)
        for i in range(height):
            for j in range(k):
                w[j, i], a[j, i] = W[start + i, j], A[start + i, j]
        for j in range(k):
            for i in range(height, TILE):
                w[j, i], a[j, i] = zero, zero
        first = zero
        for turn in range(sweeps):
            gained = zero
            for j in range(k):
                g = G[j, j]
                if g > least:
                    for i in range(TILE):
                        rest[i] = a[j, i]
                    for c in range(k):
                        f = G[j, c]
                        for i in range(TILE):
                            rest[i] -= f * w[c, i]
                    inverse, moved = 1 / g, zero
                    for i in range(TILE):
                        new = max(zero, w[j, i] + rest[i] * inverse)
                        moved += (new - w[j, i]) ** 2
                        w[j, i] = new
                    gained += g * moved
            if turn == 0:
                first = gained
            if gained <= tol * first:
                break
        for i in range(height):
            for j in range(k):
                W[start + i, j] = w[j, i]


def sweep(W: np.ndarray, A: np.ndarray, G: np.ndarray, sweeps: int, tol: float = 0.01) -> None:
    """Improve ``min ||X - W H||`` over W >= 0 in place, from the products A = X Hᵀ and G = H Hᵀ.

    Parameters
    ----------
    W : ndarray, shape (n, k), float32 or float64, C order
        Changed in place; rows in tiles, each by at most `sweeps` rounds of exact coordinate descent (HALS), fewer when
        a round gains less than `tol` of the first (Gillis & Glineur 2012).
    A : ndarray, shape (n, k), C order
    G : ndarray, shape (k, k)
        Components whose diagonal is zero, or below 10⁻¹² of the largest, are left as they are.
    """
    rows = max(256, -(-len(W) // 16 // TILE) * TILE)  # whole tiles: the split does not depend on the threads
    map_blocks(lambda start, stop: sweep_block(W[start:stop], A[start:stop], G, sweeps, tol), len(W), rows)


@compiled(fastmath=True)
def expect(
    data: np.ndarray,
    indices: np.ndarray,
    starts: np.ndarray,
    W: np.ndarray,
    Ht: np.ndarray,
    new: np.ndarray,
    counts: np.ndarray,
    turns: int,
) -> float:
    """Expectation maximisation over CSR rows, for H of unit sums.

    Each row of W takes `turns` steps; the last writes it to `new` (n, k) and adds the counts expected of each component
    to `counts` (m, k). Returns Σ x log(x / model) - x of that step.
    """
    n, k = W.shape
    least = W.dtype.type(1e-20)
    w, gained = np.empty(k, W.dtype), np.empty(k, W.dtype)
    total = 0.0
    for i in range(n):
        for c in range(k):
            w[c] = W[i, c]
        for turn in range(turns):
            last = turn == turns - 1
            for c in range(k):
                gained[c] = 0
            for p in range(starts[i], starts[i + 1]):
                x, j = data[p], indices[p]
                if x > 0:
                    model = W.dtype.type(0)
                    for c in range(k):
                        model += w[c] * Ht[j, c]
                    ratio = x / max(model, least)
                    if last:
                        total += x * np.log(ratio) - x
                        for c in range(k):
                            part = ratio * w[c] * Ht[j, c]
                            gained[c] += part
                            counts[j, c] += part
                    else:
                        for c in range(k):
                            gained[c] += ratio * w[c] * Ht[j, c]
            for c in range(k):
                w[c] = gained[c]
        for c in range(k):
            new[i, c] = w[c]
    return total


@compiled()
def renew(expected: np.ndarray, held: np.ndarray, counts: np.ndarray, Ht: np.ndarray) -> None:
    """Put `counts` (m, k) in the place of `held` in the sum `expected`, and make Hᵀ of it, columns of unit sum."""
    m, k = expected.shape
    sums = np.zeros(k)
    for j in range(m):
        for c in range(k):
            expected[j, c] += counts[j, c] - held[j, c]
            held[j, c] = counts[j, c]
            sums[c] += max(expected[j, c], 0.0)
    for c in range(k):
        sums[c] = 1 / sums[c] if sums[c] > 0 else 1.0
    for j in range(m):
        for c in range(k):
            Ht[j, c] = max(expected[j, c], 0.0) * sums[c]


@compiled(fastmath=True)
def csr_times(data: np.ndarray, indices: np.ndarray, starts: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """Add CSR rows times `right` (m, k) to `out` (n, k)."""
    k = right.shape[1]
    for i in range(len(out)):
        row = out[i]
        for p in range(starts[i], starts[i + 1]):
            x, other = data[p], right[indices[p]]
            for c in range(k):
                row[c] += x * other[c]


@compiled(fastmath=True)
def csr_transposed_times(
    data: np.ndarray, indices: np.ndarray, starts: np.ndarray, left: np.ndarray, out: np.ndarray
) -> None:
    """Add transposed CSR rows times `left` (n, k) to `out` (m, k)."""
    k = left.shape[1]
    for i in range(len(left)):
        row = left[i]
        for p in range(starts[i], starts[i + 1]):
            x, other = data[p], out[indices[p]]
            for c in range(k):
                other[c] += x * row[c]


@compiled()
def count_filled(X: np.ndarray, counts: np.ndarray) -> None:
    """Entries of each row that are not zero."""
    for i in range(len(X)):
        found = 0
        for j in range(X.shape[1]):
            if X[i, j] != 0:
                found += 1
        counts[i] = found


@compiled()
def gather_filled(X: np.ndarray, starts: np.ndarray, data: np.ndarray, indices: np.ndarray) -> None:
    """Values and columns of the entries that are not zero."""
    for i in range(len(X)):
        p = starts[i]
        for j in range(X.shape[1]):
            if X[i, j] != 0:
                data[p] = X[i, j]
                indices[p] = j
                p += 1
