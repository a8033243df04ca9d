"""The papers' solvers and the divergence of counts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import decomposition
from sklearn.exceptions import ConvergenceWarning

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import SettingError
from stem4d_panel.factorize import NMF
from stem4d_panel.factorize.blocks import MemoryBlocks
from stem4d_panel.factorize.classic import als_steps, mu_steps
from stem4d_panel.factorize.hals import Fit
from stem4d_panel.factorize.kl import divergence, kl_steps
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.scan import Scan


def counts(n: int = 400, m: int = 150, k: int = 5, dose: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.poisson(dose * rng.gamma(0.4, 1, (n, k)) @ rng.gamma(0.4, 1, (k, m))).astype(np.float32)


def random_fit(X: np.ndarray, k: int) -> Fit:
    rng = np.random.default_rng(0)
    return Fit(rng.random((len(X), k), dtype=np.float32), rng.random((X.shape[1], k), dtype=np.float32))


def test_multiplicative_updates_never_raise_the_error_and_are_lee_and_seungs() -> None:
    X, k = counts(), 4
    fit = random_fit(X, k)
    found = finish(mu_steps(MemoryBlocks(X), fit, iterations=100, tol=0))
    assert np.diff(found.error_curve).max() <= 1e-6
    W, H = fit.W.astype(np.float64), fit.Ht.T.astype(np.float64)
    for _ in range(100):
        W *= (X @ H.T) / (W @ H @ H.T)
        H *= (W.T @ X) / (W.T @ W @ H)
    np.testing.assert_allclose(found.W @ found.H, W @ H, atol=1e-3 * (W @ H).max())


def test_alternating_least_squares_first_step_is_the_clipped_solution() -> None:
    X, k = counts(), 4
    fit = random_fit(X, k)
    found = finish(als_steps(MemoryBlocks(X), fit, iterations=1, tol=0))
    W = np.maximum(np.linalg.lstsq(fit.Ht.astype(np.float64), X.T.astype(np.float64), rcond=None)[0].T, 0)
    np.testing.assert_allclose(found.W, W, rtol=1e-3, atol=1e-4)
    H = np.maximum(np.linalg.lstsq(W, X.astype(np.float64), rcond=None)[0], 0)
    np.testing.assert_allclose(found.H, H, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver", ["mu", "als"])
def test_the_papers_solvers_come_near_the_default_one(solver: str) -> None:
    X = counts(dose=5)
    best = NMF(5).fit(X).reconstruction_err_
    assert best * (1 - 1e-4) <= NMF(5, solver=solver, max_iter=500).fit(X).reconstruction_err_ <= 1.03 * best


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_the_divergence_is_scikit_learns_and_no_higher(form: type) -> None:
    X = counts()
    ours = NMF(5, solver="kl", max_iter=200, tol=1e-7)
    W = ours.fit_transform(form(X))
    theirs = decomposition.NMF(5, solver="mu", beta_loss="kullback-leibler", init="nndsvda", max_iter=200, tol=1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X)
    model = W.astype(np.float64) @ ours.components_
    plain = (
        np.where(X > 0, X * np.log(np.where(X > 0, X, 1) / np.maximum(model, 1e-12)), 0).sum() - X.sum() + model.sum()
    )
    assert ours.reconstruction_err_ == pytest.approx(np.sqrt(2 * plain), rel=1e-4)
    assert ours.reconstruction_err_ <= theirs.reconstruction_err_ * (1 + 1e-3)


def test_the_divergence_falls_with_every_pass() -> None:
    X = counts()
    found = finish(kl_steps(MemoryBlocks(X), random_fit(X, 5), iterations=60, tol=0))
    assert np.diff(found.error_curve)[1:].max() <= 1e-5  # the first pass mixes factors of different age
    np.testing.assert_allclose(found.H.sum(axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(found.W.sum(), X.sum(), rtol=1e-3)
    assert found.error_curve[-1] * X.sum() == pytest.approx(divergence(MemoryBlocks(X), found.W, found.H), rel=0.01)


@pytest.mark.parametrize("fill", [0.0, 3.0])
@pytest.mark.parametrize("solver", ["mu", "als", "kl"])
def test_even_data_are_no_trouble(solver: str, fill: float) -> None:
    model = NMF(2, solver=solver).fit(np.full((20, 15), fill, np.float32))
    assert np.isfinite(model.components_).all()
    assert model.reconstruction_err_ <= 1e-2 * 20 * 15


def test_frames_that_are_no_counts_are_refused_by_name(small: Scan) -> None:
    with pytest.raises(SettingError, match=r"^factorize\.solver: kl needs frames that are still counts: set prepare"):
        _ = Analysis(small, cache=Cache(), rank=4, factorize__solver="kl").factors


@pytest.mark.parametrize("solver", ["mu", "als", "kl"])
def test_the_chain_runs_with_every_solver(small: Scan, solver: str) -> None:
    raw = {"prepare__noise": "off", "prepare__smooth": 0.0, "factorize__solver": solver, "factorize__max_iter": 50}
    analysis = Analysis(small, cache=Cache(), rank=4, **raw)
    assert analysis.frames.is_counts
    hals = Analysis(small, cache=Cache(), rank=4, prepare__noise="off", prepare__smooth=0.0, factorize__holes=0.0)
    assert analysis.factors.relative_error == pytest.approx(hals.factors.relative_error, rel=0.1)
