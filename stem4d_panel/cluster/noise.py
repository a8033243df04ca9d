"""How much of a pattern is counting noise, from the maps that it was fitted with."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stem4d_panel.factorize.factors import Factors
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.runtime.threads import blas_threads

_RIDGE = 1e-9  # of the mean of the maps' products, so that equal maps can be told apart at all


def pattern_noise(factors: Factors, smooth: float = 0.0, dispersion: float = 1.0) -> np.ndarray:
    """Variance of each pattern's pixels if the counts are independent, shape (k, ky, kx).

    With the maps given, patterns are linear in the frames: ``H = A X``, ``A = (WᵀW)⁻¹ Wᵀ``. The frames are the counts
    blurred over the scan, so the counts enter with ``B = A`` blurred; their variance is `dispersion` times their
    expectation ``W H``, and the patterns' variance is ``dispersion · (B² W) H``. Since the fit is non-negative, this is
    an upper bound where a component is mostly zero.

    Parameters
    ----------
    factors : Factors
    smooth : float
        Standard deviation of the blur of the frames over the scan, px.
    dispersion : float
        Variance over mean of the counts; 1 for Poisson.
    """
    k = factors.rank
    W = factors.maps.reshape(k, -1).astype(np.float64)
    scale = W.sum(axis=1, keepdims=True)  # so that the unit of the counts does not matter
    scale[scale == 0] = 1
    W = W / scale
    with blas_threads(1):  # small products: waiting for a second thread costs more
        products = W @ W.T
        products[np.diag_indices(k)] += _RIDGE * (float(np.trace(products)) / k or 1.0)
        A = np.linalg.solve(products, W).reshape(factors.maps.shape)
    if smooth > 0:
        A = ndimage.gaussian_filter(A, (0, smooth, smooth), mode="nearest")
    # the patterns have unit sum; those fitted with maps of unit sum are larger by `scale`
    out = np.zeros(factors.patterns.shape)
    with blas_threads(1):
        mixing = (A.reshape(k, -1) ** 2 @ W.T) * scale.T / scale**2
        out[:, factors.mask] = dispersion * mixing @ factors.patterns[:, factors.mask].astype(np.float64)
    return out


def dispersion(factors: Factors, frames: Frames) -> float:
    """Variance over mean of the counts, as the residual of the fit shows it.

    The residual of the scaled frames is compared with what Poisson counts would leave after the blur over the scan.
    Resampling lowers it as it lowers the patterns' noise, and structure that no component holds raises it.

    Parameters
    ----------
    factors : Factors
    frames : Frames
        Those that were factorised.
    """
    H = factors.patterns[:, frames.mask].astype(np.float64)
    W = factors.maps[:, frames.positions].astype(np.float64)
    expected = float((W / frames.row_scale**2).sum(axis=1) @ (H / frames.column_scale**2).sum(axis=1))
    residual = factors.relative_error**2 * frames.square
    return residual / max(expected * _kept_by_blur(frames.smooth), 1e-300)


def _kept_by_blur(sigma: float) -> float:
    """Part of the variance of independent values that a Gaussian blur in two directions leaves."""
    if sigma <= 0:
        return 1.0
    line = np.zeros(2 * int(6 * sigma + 2) + 1)
    line[len(line) // 2] = 1
    return float((ndimage.gaussian_filter1d(line, sigma) ** 2).sum() ** 2)
