"""NMF as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from stem4d_panel.factorize import NMF


@parametrize_with_checks([NMF(max_iter=100)])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def counts(n: int = 60, m: int = 40, k: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.5, 4, (n, k)) @ rng.gamma(0.5, 2, (k, m))).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fitting_and_transforming_give_the_same_weights(dtype: type) -> None:
    X = counts().astype(dtype)
    model = NMF(4)
    W = model.fit_transform(X)
    np.testing.assert_array_equal(W, model.transform(X))
    np.testing.assert_array_equal(W, NMF(4).fit(X).transform(X))
    assert W.dtype == model.components_.dtype == model.inverse_transform(W).dtype == dtype
    assert (W >= 0).all()
    assert (model.components_ >= 0).all()


def test_the_stated_error_is_that_of_the_reconstruction() -> None:
    X = counts().astype(np.float64)
    model = NMF(4)
    W = model.fit_transform(X)
    assert model.reconstruction_err_ == pytest.approx(np.linalg.norm(X - model.inverse_transform(W)), rel=1e-6)


def test_new_rows_get_the_weights_they_had_among_the_others() -> None:
    X = counts(200)
    model = NMF(4)
    W = model.fit_transform(X)
    np.testing.assert_allclose(model.transform(X[17:19]), W[17:19], rtol=1e-3, atol=1e-4)


def test_names_of_the_features_that_come_out() -> None:
    assert NMF(3).fit(counts()).get_feature_names_out().tolist() == ["nmf0", "nmf1", "nmf2"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_components": 0}, "n_components: 0"),
        ({"n_components": True}, "n_components: True"),
        ({"n_components": 2.0}, "n_components: 2.0"),
        ({"n_components": "auto"}, "n_components: 'auto'"),
        ({"init": "nndsvdar"}, "init: 'nndsvdar'"),
        ({"max_iter": 0}, "max_iter: 0"),
        ({"tol": -1.0}, "tol: -1.0"),
    ],
)
def test_bad_parameters_are_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        NMF(**options).fit(counts())


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_bad_values_are_refused(value: float) -> None:
    X = counts()
    X[3, 4] = value
    with pytest.raises(ValueError, match=r"NaN|infinity|[Nn]egative"):
        NMF(3).fit(X)
    with pytest.raises(ValueError, match=r"NaN|infinity|[Nn]egative"):
        NMF(3).fit(counts()).transform(X)


def test_the_seed_decides_a_random_start() -> None:
    X = counts()
    first, again, other = (NMF(6, init="random", random_state=s, max_iter=5).fit(X).components_ for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other, rtol=1e-2)
