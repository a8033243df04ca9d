"""Factorisation of counts: the Kullback-Leibler divergence, by incremental expectation maximisation over parts of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from stem4d_panel.factorize.blocks import Arrays, Blocks, padded
from stem4d_panel.factorize.fit import Solution, full_error
from stem4d_panel.factorize.hals import Fit
from stem4d_panel.factorize.kernels import expect, renew
from stem4d_panel.factorize.sparse import SparseRows
from stem4d_panel.runtime.progress import Progress, Steps

PARTS = 16  # H is brought up to date after each
_PART_FILLED = 40_000  # entries below which a part is not worth an update of H
TURNS = 3  # steps of the weights a visit; the entries are at hand
_FLOOR = 1e-6  # of the mean; a zero could never be left again


def _visit(block: Any, W: np.ndarray, Ht: np.ndarray, turns: int) -> tuple[Arrays, Arrays]:
    """New W of some rows, their expected counts (m, k), and x log(x / model) - x summed, for H of unit sums."""
    new, counts = np.empty_like(W), np.zeros_like(Ht)
    rows = block if isinstance(block, SparseRows) else SparseRows.from_dense(block)
    total = expect(rows.data, rows.indices, rows.indptr, W, Ht, new, counts, turns)
    return (new,), (counts, np.asarray(total))


def divergence(blocks: Blocks, W: np.ndarray, H: np.ndarray) -> float:
    """Σ x log(x / (W H)) - x + W H; one read."""
    sums = H.sum(axis=1)
    Ht = np.ascontiguousarray((H / np.where(sums > 0, sums, 1)[:, None]).T, blocks.dtype)
    scaled = np.ascontiguousarray(W * sums, blocks.dtype)
    _, (_, total) = blocks.reduce_blocks(lambda block, part: _visit(block, part, Ht, 1), scaled)
    return float(total) + float(scaled.sum(dtype=np.float64))


def kl_steps(blocks: Blocks, fit: Fit, *, iterations: int, tol: float) -> Steps[Solution]:
    """Minimise the Kullback-Leibler divergence of counts.

    Parameters
    ----------
    blocks : Blocks
        Counts, dense or CSR.
    fit : Fit
        Initial factors; zeros are lifted to a floor.
    iterations : int
        Most passes over the data.
    tol : float
        Stops when the divergence falls by less than this part of itself in five passes.

    Returns
    -------
    Solution
        Its `error` is the relative Frobenius error, its curve the divergence per count.

    Notes
    -----
    Incremental expectation maximisation (Neal & Hinton 1998): each part of the rows brings its own expected counts up to
    date, and H follows at once. One pass is one read.
    """
    k = fit.W.shape[1]
    parts = blocks.split(int(np.clip(blocks.filled // _PART_FILLED, 1, min(PARTS, blocks.shape[0]))))
    total = max(blocks.mean * blocks.shape[0] * blocks.shape[1], 1e-30)
    floor = _FLOOR * blocks.mean
    Ht = np.maximum(fit.Ht, floor)
    sums = Ht.sum(axis=0)
    Ht = padded(Ht / np.where(sums > 0, sums, 1), blocks.dtype)  # columns of zeros stay zero
    W = padded(np.maximum(fit.W * sums, floor), blocks.dtype)
    rows = [np.ascontiguousarray(W[first :: len(parts)]) for first in range(len(parts))]
    held = [np.zeros_like(Ht) for _ in parts]
    expected = np.zeros(Ht.shape, np.float64)
    errors: list[float] = []
    converged = blocks.mean == 0
    while not converged and len(errors) < iterations:
        value = 0.0
        for g, part in enumerate(parts):
            used = Ht
            (rows[g],), (counts, added) = part.reduce_blocks(
                lambda block, w, used=used: _visit(block, w, used, TURNS), rows[g]
            )
            value += float(added) + float(rows[g].sum(dtype=np.float64))
            Ht = np.empty_like(used)
            renew(expected, held[g], counts, Ht)
            if not errors and g < len(parts) - 1:  # not before every part has been heard
                Ht = used
        blocks.reads += 1
        errors.append(value / total)
        if len(errors) > 5 and len(errors) % 5 == 0:
            converged = errors[-6] - errors[-1] <= tol * abs(errors[-6])
        yield Progress("factorise", len(errors), iterations, "pass", f"divergence {errors[-1]:.4f} per count")
    for first, part_rows in enumerate(rows):
        W[first :: len(parts)] = part_rows
    W, Ht = np.ascontiguousarray(W[:, :k]), np.ascontiguousarray(Ht[:, :k])
    error = full_error(blocks, W, Ht)
    curve = np.array(errors, np.float32)
    return Solution(W, np.ascontiguousarray(Ht.T), error, curve, len(errors), bool(converged))
