"""The scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from stem4d_panel.factorize.solver import hals_steps, relative_error, solve_weights
from stem4d_panel.runtime.progress import finish

_STARTS = ("nndsvda", "nndsvd", "random")


class NMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Non-negative matrix factorisation by accelerated HALS, X ≈ W H.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components; None means the smaller side of X.
    init : {"nndsvda", "nndsvd", "random"}, default="nndsvda"
        Initial factors.
    max_iter : int, default=300
        Most iterations.
    tol : float, default=1e-5
        Stops when the relative error falls by less than this part of itself over five iterations.
    random_state : int, RandomState or None, default=0
        Seed of the singular value decomposition and of random starts.

    Attributes
    ----------
    components_ : ndarray, shape (n_components, n_features)
        H, the patterns.
    reconstruction_err_ : float
        Frobenius norm of X - W H on the training data.
    n_iter_ : int
        Iterations done.
    converged_ : bool
        Whether the tolerance was reached.

    Notes
    -----
    `fit_transform` ends on the same non-negative least-squares solve as `transform`, so both give the same W.
    float32 stays float32.

    References
    ----------
    A. Cichocki, A.-H. Phan, IEICE Trans. E92-A (2009) 708; N. Gillis, F. Glineur, Neural Comput. 24 (2012) 1085.
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        init: str = "nndsvda",
        max_iter: int = 300,
        tol: float = 1e-5,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.init = init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit to X, shape (n_samples, n_features), non-negative.

        Raises
        ------
        ValueError
            If X has negative or non-finite values, or a parameter is outside its limits.
        """
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit to X and return W, shape (n_samples, n_components)."""
        X = validate_data(self, X, dtype=[np.float32, np.float64], order="C")
        check_non_negative(X, "NMF.fit")
        if self.init not in _STARTS:
            raise ValueError(f"init: {self.init!r} is not one of {', '.join(_STARTS)}")
        rank = min(X.shape) if self.n_components is None else self.n_components
        if not isinstance(rank, (int, np.integer)) or isinstance(rank, bool) or rank < 1:
            raise ValueError(f"n_components: {rank!r} is not a whole number from 1")
        if self.max_iter < 1 or self.tol < 0:
            raise ValueError(f"max_iter: {self.max_iter!r} must be at least 1 and tol: {self.tol!r} at least 0")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        found = finish(hals_steps(X, int(rank), start=self.init, seed=seed, max_iter=self.max_iter, tol=self.tol))
        W = solve_weights(X, found.H)
        self.components_ = found.H
        self.n_components_ = len(found.H)
        self.n_iter_ = found.iterations
        self.converged_ = found.converged
        norm = float(np.linalg.norm(X.astype(np.float64)))
        self.reconstruction_err_ = relative_error(X, W, found.H) * norm
        return W

    def transform(self, X: Any) -> np.ndarray:
        """W for X with the fitted components, by non-negative least squares: shape (n_samples, n_components)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], order="C", reset=False)
        check_non_negative(X, "NMF.transform")
        return solve_weights(X, self.components_.astype(X.dtype, copy=False))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """W H for weights W, shape (n_samples, n_features)."""
        check_is_fitted(self)
        return np.asarray(np.asarray(X) @ self.components_)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags
