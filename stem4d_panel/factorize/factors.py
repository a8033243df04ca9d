"""Factors: maps and patterns of a prepared scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.errors import SettingError
from stem4d_panel.factorize.solver import hals_steps, relative_error, solve_weights
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.runtime.progress import Steps
from stem4d_panel.settings import FactorizeSettings

VERSION = 1  # part of the cache key: raise it when a result changes


@dataclass(frozen=True, eq=False)
class Factors:
    """Maps and patterns of one rank, sorted by total intensity.

    Attributes
    ----------
    maps : ndarray, shape (k, y, x), float32
        Counts of each component at each position.
    patterns : ndarray, shape (k, ky, kx), float32
        Unit sum; zero where masked.
    mask : ndarray, shape (ky, kx), bool
        Pixels that were factorised.
    relative_error : float
        ||X - W H|| / ||X|| on the full prepared matrix.
    error_curve : ndarray, shape (iterations,)
    iterations : int
    converged : bool
    warnings : tuple of str
    """

    maps: np.ndarray
    patterns: np.ndarray
    mask: np.ndarray
    relative_error: float
    error_curve: np.ndarray
    iterations: int
    converged: bool
    warnings: tuple[str, ...]

    @property
    def rank(self) -> int:
        """Number of components."""
        return len(self.maps)

    @property
    def totals(self) -> np.ndarray:
        """Total intensity of each component, shape (k,)."""
        return np.asarray(self.maps.sum(axis=(1, 2)))

    def model(self, y: int, x: int) -> np.ndarray:
        """The model's pattern at a position, shape (ky, kx)."""
        return np.tensordot(self.maps[:, y, x], self.patterns, axes=1)


def factorise_steps(frames: Frames, settings: FactorizeSettings, clamp: bool = False) -> Steps[Factors]:
    """Factorise prepared frames.

    Parameters
    ----------
    frames : Frames
    settings : FactorizeSettings
    clamp : bool
        Lower a rank that is above what the matrix allows, with a warning, in place of an error.

    Raises
    ------
    SettingError
        If the rank is above what the matrix allows.
    """
    rank, warnings = settings.rank, []
    if rank > frames.largest_rank and clamp:
        rank = frames.largest_rank
        warnings.append(f"rank {rank} in place of the default {settings.rank}: the scan allows no more")
    if rank > frames.largest_rank:
        n, m = frames.matrix.shape
        raise SettingError(
            f"factorize.rank: {settings.rank} is above {frames.largest_rank}, the most that {n} positions × {m} pixels allow"
        )
    X = frames.matrix
    found = yield from hals_steps(
        X, rank, start=settings.start, seed=settings.seed, max_iter=settings.max_iter, tol=settings.tol
    )
    W = solve_weights(X, found.H)
    maps, patterns = frames.fold_maps(W), frames.fold_patterns(found.H)
    sums = patterns.sum(axis=(1, 2))
    scale = np.where(sums > 0, sums, 1)
    patterns /= scale[:, None, None]
    maps *= scale[:, None, None]
    order = np.argsort(-maps.sum(axis=(1, 2)), kind="stable")
    if not found.converged:
        warnings.append(f"not converged after {found.iterations} iterations; factorize.max_iter sets the limit")
    empty = int((maps.sum(axis=(1, 2)) == 0).sum())
    if empty:
        warnings.append(f"{empty} of {rank} components are empty")
    return Factors(
        maps=maps[order],
        patterns=patterns[order],
        mask=frames.mask,
        relative_error=relative_error(X, W, found.H),
        error_curve=found.error_curve,
        iterations=found.iterations,
        converged=found.converged,
        warnings=tuple(warnings),
    )
