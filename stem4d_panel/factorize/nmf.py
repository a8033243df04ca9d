"""The scikit-learn estimator."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from stem4d_panel.factorize.blocks import MemoryBlocks
from stem4d_panel.factorize.classic import als_steps, mu_steps
from stem4d_panel.factorize.fit import (
    Plan,
    Solution,
    compressed_steps,
    direct_steps,
    full_error,
    lowest_steps,
    polish_steps,
    preview_steps,
)
from stem4d_panel.factorize.hals import FREE, Constraints, Fit, solve_weights
from stem4d_panel.factorize.kl import divergence, kl_steps
from stem4d_panel.factorize.lowrank import compress_steps
from stem4d_panel.factorize.sparse import SparseRows
from stem4d_panel.factorize.start import initial_factors
from stem4d_panel.runtime.progress import Steps, finish

_STARTS = ("nndsvda", "nndsvd", "random")
_SOLVERS = ("hals", "mu", "als", "kl")
_FACTOR = 2  # singular vectors a component; more bring the compressed optimum nearer to the full one, and cost a little
_SMALL = 2  # a matrix whose smaller side is below this many times the singular vectors is not compressed
_SPARSE = 0.2  # filled part below which a sparse copy is faster and still small


class NMF(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Non-negative matrix factorisation, X ≈ W H.

    Parameters
    ----------
    n_components : int or None, default=None
        Number of components; None means the smaller side of X.
    solver : {"hals", "mu", "als", "kl"}, default="hals"
        Accelerated, extrapolated HALS; the seed papers' multiplicative updates and alternating least squares; or the
        Kullback-Leibler divergence, for counts.
    init : {"nndsvda", "nndsvd", "random"}, default="nndsvda"
        Initial factors.
    constraints : Constraints or None, default=None
        What the factors obey beside being non-negative (``solver="hals"`` only).
    starts : int, default=2
        Starts that HALS tries on the compressed data; the first is `init`, the others are random. From ``nndsvda`` without
        constraints a large matrix is taken to scikit-learn's minimum, and to others only if it is nearly empty.
    compress : bool, default=True
        Iterate on the leading singular vectors first where X is large (``solver="hals"`` only).
    max_iter : int, default=300
        Most iterations on the full data.
    tol : float, default=1e-5
        Stops when the relative error falls by less than this part of itself over five iterations.
    random_state : int, RandomState or None, default=0
        Seed of every random number; with the same whole number scikit-learn's ``nndsvda`` starts from the same factors.

    Attributes
    ----------
    components_ : ndarray, shape (n_components, n_features)
        H, the patterns.
    reconstruction_err_ : float
        Frobenius norm of X - W H on the training data; for ``solver="kl"`` the root of twice the divergence.
    n_iter_ : int
        Iterations done, those on compressed data among them.
    n_reads_ : int
        Passes over all of X.
    converged_ : bool
        Whether the tolerance was reached.

    Notes
    -----
    Without constraints and but for ``solver="kl"``, `fit_transform` ends on the same non-negative least-squares solve as
    `transform`, so both give the same W. float32 stays float32. A matrix that is nearly empty is iterated on as CSR.

    References
    ----------
    A. Cichocki, A.-H. Phan, IEICE Trans. E92-A (2009) 708; N. Gillis, F. Glineur, Neural Comput. 24 (2012) 1085;
    A. M. S. Ang, N. Gillis, Neural Comput. 31 (2019) 417; N. Halko et al., SIAM Rev. 53 (2011) 217.
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        solver: str = "hals",
        init: str = "nndsvda",
        constraints: Constraints | None = None,
        starts: int = 2,
        compress: bool = True,
        max_iter: int = 300,
        tol: float = 1e-5,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.solver = solver
        self.init = init
        self.constraints = constraints
        self.starts = starts
        self.compress = compress
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
        """Fit to X, dense or CSR, and return W, shape (n_samples, n_components)."""
        X = validate_data(self, X, dtype=[np.float32, np.float64], order="C", accept_sparse="csr")
        check_non_negative(X, "NMF.fit")
        rank = self._checked(X)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        blocks = MemoryBlocks(_thin(X))
        found = finish(self._steps(blocks, rank, seed))
        W = found.W
        if self.solver in ("mu", "als"):
            W = solve_weights(blocks, np.ascontiguousarray(found.H.T))
        self.components_ = found.H
        self.n_components_ = len(found.H)
        self.n_iter_ = found.iterations
        self.converged_ = found.converged
        if self.solver == "kl":
            self.reconstruction_err_ = float(np.sqrt(2 * max(divergence(blocks, W, found.H), 0.0)))
        elif self.solver == "hals":
            self.reconstruction_err_ = found.error * float(np.sqrt(blocks.square))
        else:
            self.reconstruction_err_ = full_error(blocks, W, found.H.T) * float(np.sqrt(blocks.square))
        self.n_reads_ = blocks.reads
        return W

    def _checked(self, X: Any) -> int:
        """The rank, after a look at every parameter."""
        if self.init not in _STARTS:
            raise ValueError(f"init: {self.init!r} is not one of {', '.join(_STARTS)}")
        if self.solver not in _SOLVERS:
            raise ValueError(f"solver: {self.solver!r} is not one of {', '.join(_SOLVERS)}")
        if self.constraints and self.solver != "hals":
            raise ValueError(f"constraints: only solver='hals' takes them, not {self.solver!r}")
        rank = min(X.shape) if self.n_components is None else self.n_components
        for name, value in (("n_components", rank), ("starts", self.starts), ("max_iter", self.max_iter)):
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name}: {value!r} is not a whole number from 1")
        if not self.tol >= 0:
            raise ValueError(f"tol: {self.tol!r} must be at least 0")
        return int(rank)

    def _steps(self, blocks: MemoryBlocks, rank: int, seed: int) -> Steps[Solution]:
        plan = Plan(
            rank, self.init, self.starts, seed, polish=self.max_iter, tol=self.tol, constraints=self.constraints or FREE
        )
        size = _FACTOR * rank + 4
        large = self.compress and min(blocks.shape) >= _SMALL * size
        if large and self.solver == "hals" and self.init == "nndsvda" and not self.constraints:
            same = int(self.random_state) if isinstance(self.random_state, Integral) else seed
            return (yield from lowest_steps(blocks, size, plan, same))
        low = yield from compress_steps(blocks, size, seed)
        if self.solver == "hals":
            if not large:
                return (yield from direct_steps(blocks, low, plan))
            if not self.constraints:
                return (yield from compressed_steps(blocks, low, plan))
            fit = yield from preview_steps(low, low, plan)
            return (yield from polish_steps(blocks, fit, plan))
        W, Ht = initial_factors(low, rank, self.init, seed)
        steps = {"mu": mu_steps, "als": als_steps, "kl": kl_steps}[self.solver]
        return (yield from steps(blocks, Fit(W, Ht), iterations=self.max_iter, tol=self.tol))

    def transform(self, X: Any) -> np.ndarray:
        """W for X with the fitted components, by non-negative least squares: shape (n_samples, n_components)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], order="C", accept_sparse="csr", reset=False)
        check_non_negative(X, "NMF.transform")
        return solve_weights(MemoryBlocks(_thin(X)), np.ascontiguousarray(self.components_.T, X.dtype))

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
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags


def _thin(X: Any) -> np.ndarray | SparseRows:
    """Sparse rows where their products are faster: those of a large matrix that is mostly empty."""
    if not isinstance(X, np.ndarray):
        return SparseRows.from_scipy(X)
    some = X[:: max(1, len(X) // 64)]
    if X.size < 1 << 20 or np.count_nonzero(some) > _SPARSE * some.size:
        return X
    return SparseRows.from_dense(X)
