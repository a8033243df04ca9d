"""The solver: the objective falls, what can be recovered is, and the weights solve their own problem."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, nnls
from sklearn import decomposition
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import randomized_svd

from stem4d_panel.factorize import NMF
from stem4d_panel.factorize.blocks import MemoryBlocks
from stem4d_panel.factorize.fit import Plan, Solution, direct_steps, full_error, polish_steps, preview_steps
from stem4d_panel.factorize.hals import Fit, hals_steps
from stem4d_panel.factorize.hals import solve_weights as weights_of
from stem4d_panel.factorize.lowrank import LowRank, compress_steps, reference_steps
from stem4d_panel.factorize.start import initial_factors
from stem4d_panel.runtime.progress import finish

STARTS = ("nndsvda", "nndsvd", "random")


def compressed(X: np.ndarray, size: int, seed: int = 0) -> LowRank:
    return finish(compress_steps(MemoryBlocks(X), size, seed))


def solve(
    X: np.ndarray, rank: int, start: str = "nndsvda", seed: int = 0, max_iter: int = 300, tol: float = 1e-5
) -> Solution:
    """Without compression."""
    plan = Plan(rank, start, seed=seed, polish=max_iter, tol=tol)
    return finish(direct_steps(MemoryBlocks(X), compressed(X, rank, seed), plan))


def solve_weights(X: np.ndarray, H: np.ndarray) -> np.ndarray:
    return weights_of(MemoryBlocks(X), np.ascontiguousarray(H.T, X.dtype))


def counts(n: int = 300, m: int = 120, k: int = 5) -> np.ndarray:
    """A Poisson matrix about sparse non-negative factors."""
    rng = np.random.default_rng(1)
    return rng.poisson(rng.gamma(0.4, 4, (n, k)) @ rng.gamma(0.4, 3, (k, m))).astype(np.float32)


def separable(k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Factors with a pure row and a pure column for each component: their product has no others."""
    rng = np.random.default_rng(2)
    W, H = rng.uniform(0.2, 1, (50, k)), rng.uniform(0.2, 1, (k, 40))
    for j in range(k):
        W[3 * j : 3 * j + 2], H[:, 4 * j : 4 * j + 2] = np.eye(k)[j] * 2, np.eye(k)[:, j : j + 1] * 2
    return W, H


def error(X: np.ndarray, found: Solution) -> float:
    X = X.astype(np.float64)
    return float(np.linalg.norm(X - found.W.astype(np.float64) @ found.H) / np.linalg.norm(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("rank", [1, 5, 12])
def test_the_stated_error_is_true_and_no_worse_than_on_the_way(rank: int, start: str, dtype: type) -> None:
    X = counts().astype(dtype)
    found = solve(X, rank, start, max_iter=40, tol=0)
    assert len(found.error_curve) == found.iterations <= 40
    assert found.error <= found.error_curve.min() + 1e-6
    assert found.error_curve[-1] < found.error_curve[0]
    assert found.error == pytest.approx(error(X, found), abs=1e-5)
    assert (found.W >= 0).all()
    assert (found.H >= 0).all()
    assert found.W.dtype == found.H.dtype == dtype


@pytest.mark.parametrize("start", STARTS)
def test_more_components_than_there_are_do_no_harm(start: str) -> None:
    X = np.kron(np.eye(3), np.ones((20, 10)))
    found = solve(X, 9, start, max_iter=40, tol=0)
    assert found.error < 0.01
    assert np.isfinite(found.W).all()
    assert np.isfinite(found.H).all()


def test_a_dead_component_comes_back_to_use() -> None:
    X = counts()
    W, Ht = initial_factors(compressed(X, 5), 5, "nndsvda", 0)
    W[:, 2], Ht[:, 2] = 0, 0
    found = finish(polish_steps(MemoryBlocks(X), Fit(W, Ht), Plan(5, polish=300)))
    assert (np.linalg.norm(found.H, axis=1) > 0).all()
    assert found.error == pytest.approx(solve(X, 5, max_iter=300).error, rel=5e-3)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_matrix_with_exact_factors_gives_them_back(start: str, dtype: type) -> None:
    W, H = separable()
    found = solve((W @ H).astype(dtype), 4, start, max_iter=4000, tol=0)
    for true, got in ((W.T, found.W.T), (H, found.H)):
        cosine = (true / np.linalg.norm(true, axis=1, keepdims=True)) @ (
            got / np.linalg.norm(got, axis=1, keepdims=True)
        ).T
        assert cosine[linear_sum_assignment(-cosine)].min() > 0.999
    assert error(W @ H, found) < 2e-3


def test_rank_one_is_the_dominant_singular_pair() -> None:
    X = counts().astype(np.float64)
    u, s, vt = np.linalg.svd(X, full_matrices=False)
    found = solve(X, 1, max_iter=1000, tol=1e-12)
    np.testing.assert_allclose(found.W @ found.H, s[0] * np.outer(u[:, 0], vt[0]), atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 30), (30, 6), (7, 7)])
def test_the_largest_rank_fits_everything_from_some_start(shape: tuple[int, int]) -> None:
    X = np.random.default_rng(0).uniform(0, 1, shape)
    errors = [error(X, solve(X, min(shape), "random", seed, max_iter=3000, tol=1e-6)) for seed in range(5)]
    assert min(errors) < 0.01
    assert max(errors) < 0.1


def test_zero_rows_and_columns_get_zeros() -> None:
    X = counts()
    X[[3, 77]], X[:, [5, 6]] = 0, 0
    found = solve(X, 4)
    W = solve_weights(X, found.H)
    assert (W[[3, 77]] == 0).all()
    np.testing.assert_allclose((W @ found.H)[:, [5, 6]], 0, atol=1e-6)


def test_equal_rows_get_equal_weights() -> None:
    X = counts()
    X[10:15] = X[200]
    W = solve_weights(X, solve(X, 5).H)
    np.testing.assert_array_equal(W[10:15], np.broadcast_to(W[200], (5, 5)))


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("start", STARTS)
def test_a_constant_matrix_is_fitted(start: str, rank: int) -> None:
    X = np.full((20, 15), 7, np.float32)
    found = solve(X, rank, start)
    np.testing.assert_allclose(found.W @ found.H, X, rtol=5e-3)


@pytest.mark.parametrize("start", STARTS)
def test_one_row_is_fitted(start: str) -> None:
    X = counts()[:1]
    found = solve(X, 1, start)
    np.testing.assert_allclose(found.W @ found.H, X, rtol=1e-3, atol=1e-3)


def test_a_zero_matrix_ends_at_once() -> None:
    found = solve(np.zeros((8, 9), np.float32), 3)
    assert found.converged
    assert found.iterations == 0
    assert found.error == 0


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_unit_of_the_data_does_not_matter(scale: float) -> None:
    X = counts()
    plain, scaled = solve(X, 5, max_iter=30, tol=0), solve(X * np.float32(scale), 5, max_iter=30, tol=0)
    np.testing.assert_allclose(scaled.error_curve, plain.error_curve, rtol=1e-3)


@pytest.mark.parametrize("start", STARTS)
def test_the_number_of_threads_does_not_change_the_result(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X = counts(n=1500)
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("STEM4D_THREADS", threads)
        found = solve(X, 5, start, max_iter=50, tol=0)
        results.append((found.error, found.W @ found.H))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    assert np.linalg.norm(results[0][1] - results[1][1]) < 1e-4 * np.linalg.norm(results[0][1])


def test_fits_no_worse_than_scikit_learn_from_the_same_start() -> None:
    X = counts(k=8)
    W, Ht = initial_factors(compressed(X, 8), 8, "nndsvda", 0)
    other = decomposition.NMF(8, init="custom", solver="cd", tol=1e-6, max_iter=400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = other.fit_transform(X, W=W.copy(), H=np.ascontiguousarray(Ht.T))
    expected = np.linalg.norm(X - theirs @ other.components_) / np.linalg.norm(X)
    assert solve(X, 8).error <= expected * (1 + 1e-3)


def test_says_when_it_has_not_converged() -> None:
    assert not solve(counts(), 5, max_iter=1).converged
    assert solve(counts(), 5, max_iter=1000, tol=1e-3).converged


def _gradient(X: np.ndarray, H: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Of half the squared error over W, in units of its size at W = 0."""
    return (W @ (H @ H.T) - X @ H.T) / np.abs(X @ H.T).max()


def test_weights_meet_the_conditions_of_optimality() -> None:
    X = counts().astype(np.float64)
    H = solve(X, 6).H
    W = solve_weights(X, H)
    gradient = _gradient(X, H, W)
    assert (W >= 0).all()
    assert gradient.min() > -1e-5
    assert np.abs(gradient[W > 0]).max() < 1e-5


def test_weights_are_those_of_scipys_nnls() -> None:
    X = counts().astype(np.float64)
    H = solve(X, 6).H
    expected = np.array([nnls(H.T, row)[0] for row in X])
    np.testing.assert_allclose(solve_weights(X, H), expected, atol=1e-3 * expected.max())


def test_weights_of_nearly_equal_components_still_fit_best() -> None:
    X = counts().astype(np.float64)
    H = solve(X, 4).H
    H = np.vstack([H, H[0] + 1e-3 * H[1], H[2]])
    best = sum(nnls(H.T, row)[1] ** 2 for row in X)
    assert np.linalg.norm(X - solve_weights(X, H) @ H) ** 2 <= best * (1 + 1e-4)


def test_weights_of_an_empty_component_are_zero() -> None:
    X = counts()
    H = np.vstack([solve(X, 3).H, np.zeros((1, X.shape[1]), np.float32)])
    W = solve_weights(X, H)
    assert (W[:, 3] == 0).all()
    np.testing.assert_allclose(W[:, :3], solve_weights(X, H[:3]), rtol=1e-3, atol=1e-4)


def test_the_error_of_given_factors_is_that_of_their_product() -> None:
    X = counts()
    found = solve(X, 4, max_iter=5)
    W = found.W * 0.7
    expected = np.linalg.norm(X - W @ found.H) / np.linalg.norm(X)
    assert full_error(MemoryBlocks(X), W, np.ascontiguousarray(found.H.T)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_compressed_way_ends_as_low_as_the_direct_one(seed: int) -> None:
    X = counts(n=600, m=400, k=8)
    plan = Plan(8, seed=seed)
    low = compressed(X, 20, seed)
    fit = finish(preview_steps(low, low, plan))
    polished = finish(polish_steps(MemoryBlocks(X), fit, plan))
    assert polished.error <= solve(X, 8, seed=seed).error * (1 + 1e-3)
    assert polished.error < fit.errors[-1] * (1 + 1e-6)


@pytest.mark.parametrize("tall", [True, False])
@pytest.mark.parametrize("rank", [8, 45])
def test_the_reference_decomposition_is_scikit_learns_down_into_the_noise(rank: int, tall: bool) -> None:
    X = counts(n=600, m=400, k=8).astype(np.float64)
    X = X if tall else np.ascontiguousarray(X.T)
    blocks = MemoryBlocks(X)
    low = finish(reference_steps(blocks, rank, 3))
    U, values, V = randomized_svd(X, rank, random_state=3)
    np.testing.assert_allclose(low.values[:rank], values, rtol=1e-9)
    for j in range(rank):
        expected = values[j] * np.outer(U[:, j], V[j])
        np.testing.assert_allclose(np.outer(low.left[:, j], low.right[:, j]), expected, atol=1e-6 * values[j])
    assert blocks.reads == (10 if rank == 8 else 7)  # the norm's among them


def plain_fit(X: np.ndarray, rank: int, seed: int, **options: float) -> np.ndarray:
    """scikit-learn's W H."""
    other = decomposition.NMF(rank, init="nndsvda", random_state=seed, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(other.fit_transform(X) @ other.components_)


@pytest.mark.parametrize("tall", [True, False])
def test_plain_iterations_are_those_of_scikit_learn(tall: bool) -> None:
    X = counts(n=600, m=400, k=8).astype(np.float64)
    X = X if tall else np.ascontiguousarray(X.T)
    blocks = MemoryBlocks(X)
    low = finish(reference_steps(blocks, 12, 3))
    W, Ht = initial_factors(low, 12, "nndsvda", 3, fill=low.mean)
    for n in (1, 10):
        found = finish(hals_steps(blocks, W, Ht, n, tol=0, rng=np.random.default_rng(0), plain=n))
        expected = plain_fit(X, 12, 3, max_iter=n, tol=0)
        assert np.linalg.norm(found.W @ found.Ht.T - expected) < 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("shape", "mean"), [(0.1, 0.5), (0.3, 5.0)])
def test_the_default_call_is_never_above_scikit_learn(shape: float, mean: float, seed: int) -> None:
    rng = np.random.default_rng(seed)  # fewer components than there are: many minima, up to 10⁻² apart
    expected = rng.gamma(shape, 1, (600, 20)) @ rng.gamma(shape, 1, (20, 400))
    X = rng.poisson(mean * expected / expected.mean()).astype(np.float32)
    model = NMF(12, random_state=seed).fit(X)
    theirs = np.linalg.norm(X - plain_fit(X, 12, seed, max_iter=400)) ** 2
    assert model.reconstruction_err_**2 <= theirs * (1 + 1e-5)


def test_an_iteration_costs_one_read() -> None:
    X = counts()
    blocks = MemoryBlocks(X)
    low = finish(compress_steps(blocks, 12, 0))
    assert blocks.reads == 4  # two power iterations, the projection, and the norm
    finish(preview_steps(low, low, Plan(5)))
    assert blocks.reads == 4
    W, Ht = initial_factors(low, 5, "nndsvda", 0)
    finish(hals_steps(blocks, W, Ht, 7, tol=0, rng=np.random.default_rng(0)))
    assert blocks.reads == 11


def test_cancelling_takes_effect_within_an_iteration() -> None:
    X = counts()
    steps = direct_steps(MemoryBlocks(X), compressed(X, 5), Plan(5, polish=100, tol=0))
    assert [next(steps).done for _ in range(3)] == [1, 2, 3]
    steps.close()  # what a cancelled job does
    with pytest.raises(StopIteration):
        next(steps)
