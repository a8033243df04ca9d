"""Compression: the data seen through a few right singular vectors, on which an iteration costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stem4d_panel.factorize.blocks import Arrays, Blocks, MemoryBlocks
from stem4d_panel.runtime.progress import Progress, Steps

OVERSAMPLING = 16  # singular vectors beyond the largest rank


@dataclass(frozen=True, eq=False)
class LowRank:
    """X ≈ left @ right.T.

    Attributes
    ----------
    left : ndarray, shape (n, l)
        X @ right; its columns are orthogonal, in falling order.
    right : ndarray, shape (m, l)
        Orthonormal columns.
    values : ndarray, shape (l,), float64
        Singular values.
    square : float
        Squared norm of the whole of X.
    mean : float
        Mean of X.
    """

    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    square: float
    mean: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (n, m) of the matrix it stands for."""
        return len(self.left), len(self.right)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Type of the values."""
        return self.left.dtype

    @cached_property
    def _rows(self) -> Blocks:
        return MemoryBlocks(self.left)

    def times(self, right: np.ndarray) -> np.ndarray:
        """X @ right, shape (n, k)."""
        return self._rows.times(self.right.T @ right)

    def transposed_times(self, left: np.ndarray) -> np.ndarray:
        """Xᵀ @ left, shape (m, k)."""
        return np.asarray(self.right @ self._rows.transposed_times(left))

    def half_steps(
        self, right: np.ndarray, update: Callable[..., Arrays], *rows: np.ndarray
    ) -> tuple[Arrays, np.ndarray]:
        """See :meth:`~stem4d_panel.factorize.blocks.Blocks.half_steps`."""
        found, product = self._rows.half_steps(self.right.T @ right, update, *rows)
        return found, np.asarray(self.right @ product)


def reference_steps(blocks: Blocks, rank: int, seed: int) -> Steps[LowRank]:
    """The decomposition that scikit-learn's NMF begins with, random numbers and all; nine reads, or six for a high rank.

    Its last components lie in the noise, where not even seven power iterations settle them: only the same numbers, put
    through the same products, give the same ones.

    Parameters
    ----------
    blocks : Blocks
    rank : int
        Ten singular vectors more are kept.
    seed : int
        The ``random_state`` that scikit-learn is given.
    """
    n, m = blocks.shape
    size = min(rank + 10, n, m)
    turns = 7 if rank < 0.1 * min(n, m) else 4
    thin = np.random.RandomState(seed).normal(size=(min(n, m), size)).astype(blocks.dtype)
    yield Progress("compress", 0, turns + 2, "read")
    right = thin if n >= m else np.linalg.qr(blocks.transposed_times(thin)[:, :size])[0]
    for turn in range(turns):
        right = np.linalg.qr(blocks.gram_times(right)[:, :size])[0]
        yield Progress("compress", turn + 1, turns + 2, "read")
    left = blocks.times(right)[:, :size]
    if n >= m:  # projected from the longer side
        left = np.linalg.qr(left)[0]
        right = blocks.transposed_times(left)[:, :size]
    # the side that is orthonormal is turned by the decomposition of the other
    whole, base = (right, left) if n >= m else (left, right)
    vectors, values, turn_ = np.linalg.svd(whole, full_matrices=False)
    turned = base @ turn_.T
    left, right = (turned * values, vectors) if n >= m else (vectors * values, turned)
    return LowRank(
        left=np.ascontiguousarray(left),
        right=np.ascontiguousarray(right),
        values=values.astype(np.float64),
        square=blocks.square,
        mean=blocks.mean,
    )


def compress_steps(blocks: Blocks, size: int, seed: int, reads: int = 3) -> Steps[LowRank]:
    """Randomised range finder with power iterations, each of which costs one read (Halko, Martinsson & Tropp 2011).

    Parameters
    ----------
    blocks : Blocks
    size : int
        Singular vectors to keep; held to the smaller side of the matrix.
    seed : int
    reads : int
        Passes over the data, the last of which projects them. Two are the least that keep weak components.
    """
    n, m = blocks.shape
    size = min(size, n, m)
    right = np.random.default_rng(seed).standard_normal((m, size)).astype(blocks.dtype)
    for turn in range(reads - 1):
        yield Progress("compress", turn, reads, "read")
        right = np.linalg.qr(blocks.gram_times(right)[:, :size])[0]
    yield Progress("compress", reads - 1, reads, "read")
    left = blocks.times(right)[:, :size]
    # the small Gram matrix in double precision turns both sides onto the singular vectors
    values, turn_ = np.linalg.eigh(left.T.astype(np.float64) @ left)
    order = np.argsort(-values)
    turned = turn_[:, order].astype(blocks.dtype)
    return LowRank(
        left=np.ascontiguousarray(left @ turned),
        right=np.ascontiguousarray(right @ turned),
        values=np.sqrt(np.maximum(values[order], 0)),
        square=blocks.square,
        mean=blocks.mean,
    )
