"""Passes over the data: the products are right, dense and sparse, and do not depend on the threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from stem4d_panel.factorize.blocks import MemoryBlocks, padded
from stem4d_panel.factorize.lowrank import compress_steps
from stem4d_panel.factorize.sparse import SparseRows
from stem4d_panel.runtime.progress import finish

FORMS = [np.asarray, SparseRows.from_dense, lambda X: SparseRows.from_scipy(sparse.csr_array(X))]
SHAPES = [(1, 1), (3, 50), (500, 7), (1500, 90)]


def data(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return (
        rng.poisson(0.7, (n, m)).astype(np.float32),
        rng.random((m, 19), dtype=np.float32),
        rng.random((n, 19), dtype=np.float32),
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_and_norms_are_those_of_the_matrix(shape: tuple[int, int], form: Any) -> None:
    X, right, left = data(*shape)
    blocks = MemoryBlocks(form(X))
    np.testing.assert_allclose(blocks.times(right)[:, :19], X @ right, rtol=1e-5)
    np.testing.assert_allclose(blocks.transposed_times(left)[:, :19], X.T @ left, rtol=1e-5)
    np.testing.assert_allclose(blocks.gram_times(right)[:, :19], X.T @ (X @ right), rtol=1e-5)
    assert blocks.reads == 3
    assert blocks.square == pytest.approx(float((X.astype(np.float64) ** 2).sum()), rel=1e-6)
    assert blocks.mean == pytest.approx(float(X.mean(dtype=np.float64)), rel=1e-6)
    assert blocks.reads == 4


@pytest.mark.parametrize("form", FORMS)
def test_both_products_of_an_iteration_come_from_one_read(form: Any) -> None:
    X, right, left = data(1500, 90)
    blocks = MemoryBlocks(form(X))
    (new, same), product = blocks.half_steps(right, lambda A, w: (A[:, :19] + w, w), left)
    assert blocks.reads == 1
    np.testing.assert_allclose(new, X @ right + left, rtol=1e-5)
    np.testing.assert_array_equal(same, left)
    np.testing.assert_allclose(product, X.T @ new, rtol=1e-5)


def test_sums_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _, left = data(4000, 90)
    found = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("STEM4D_THREADS", threads)
        found.append(MemoryBlocks(X).transposed_times(left))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("form", FORMS)
def test_parts_hold_every_row_once(form: Any) -> None:
    X, right, _ = data(500, 7)
    parts = MemoryBlocks(form(X)).split(8)
    assert sum(part.shape[0] for part in parts) == 500
    np.testing.assert_allclose(sum(part.gram_times(right) for part in parts)[:, :19], X.T @ (X @ right), rtol=1e-4)


@pytest.mark.parametrize("k", [1, 7, 8, 16, 17, 40])
def test_padding_adds_only_zeros(k: int) -> None:
    thin = np.random.default_rng(0).random((5, k))
    wide = padded(thin, np.dtype(np.float32))
    np.testing.assert_array_equal(wide[:, :k], thin.astype(np.float32))
    assert (wide[:, k:] == 0).all()


def test_compression_holds_the_leading_singular_vectors() -> None:
    rng = np.random.default_rng(1)
    X = (rng.gamma(0.4, 4, (700, 6)) @ rng.gamma(0.4, 3, (6, 300)) + 0.1 * rng.random((700, 300))).astype(np.float32)
    low = finish(compress_steps(MemoryBlocks(X), 12, 0))
    u, s, _ = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(low.values[:6], s[:6], rtol=1e-5)
    np.testing.assert_allclose(low.right.T @ low.right, np.eye(12), atol=1e-4)
    assert np.linalg.norm(X - low.left @ low.right.T) <= 1.02 * np.sqrt((s[12:] ** 2).sum())
    np.testing.assert_allclose(np.abs((low.left[:, :6] / low.values[:6] * u[:, :6]).sum(axis=0)), 1, rtol=1e-3)
    right = rng.random((300, 4), dtype=np.float32)
    np.testing.assert_allclose(low.times(right)[:, :4], low.left @ (low.right.T @ right), rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (5, 5), (3, 40)])
def test_compression_of_a_small_matrix_loses_nothing(shape: tuple[int, int]) -> None:
    X = np.random.default_rng(0).random(shape)
    low = finish(compress_steps(MemoryBlocks(X), 30, 0))
    np.testing.assert_allclose(low.left @ low.right.T, X, atol=1e-8)
