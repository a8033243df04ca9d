"""Factors: maps and patterns of a prepared scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.errors import SettingError
from stem4d_panel.factorize.blocks import Blocks, MemoryBlocks
from stem4d_panel.factorize.classic import als_steps, mu_steps
from stem4d_panel.factorize.constraints import NoHoles, Resolution
from stem4d_panel.factorize.dask_blocks import DaskBlocks
from stem4d_panel.factorize.fit import (
    Plan,
    Solution,
    compressed_steps,
    direct_steps,
    full_error,
    polish_steps,
    preview_steps,
)
from stem4d_panel.factorize.hals import Constraints, Fit, hals_steps
from stem4d_panel.factorize.kl import kl_steps
from stem4d_panel.factorize.lowrank import OVERSAMPLING, LowRank, compress_steps
from stem4d_panel.factorize.start import initial_factors
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.prepare.remote import RemoteRows
from stem4d_panel.runtime.progress import Steps
from stem4d_panel.settings import FactorizeSettings

VERSION = 2  # part of the cache key: raise it when a result changes
EVIDENCE_VERSION = 1

PROBE_PART = 0.8  # width of the maps' point-spread function against the probe's; the truth scans bear 0.5 to 1
PREVIEW = 10  # iterations of a first look
_LEAST_SIGMA = 0.3  # px; a narrower Gaussian does nothing on the grid of positions


@dataclass(frozen=True, eq=False)
class Compression:
    """The data in both forms that the factorisation uses, from which every rank comes."""

    blocks: Blocks
    low: LowRank


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
        Relative error after each iteration, those on the compressed matrix first.
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


def compression_steps(frames: Frames, settings: FactorizeSettings, rank: int) -> Steps[Compression]:
    """Compress prepared frames for all ranks up to the larger of `rank` and ``factorize.rank_max``."""
    blocks = _blocks(frames)
    size = 2 * max(settings.rank_max, rank) if max(settings.rank_max, rank) < 100 else rank + OVERSAMPLING
    low = yield from compress_steps(blocks, size, settings.seed)
    return Compression(blocks, low)


def _blocks(frames: Frames) -> Blocks:
    moments = frames.square, frames.total
    if isinstance(frames.matrix, RemoteRows):
        remote = frames.matrix
        return DaskBlocks(remote.client, remote.parts, remote.rows, remote.shape[1], moments=moments)
    return MemoryBlocks(frames.matrix, moments)


def constraints_of(frames: Frames, settings: FactorizeSettings) -> tuple[Constraints, list[str]]:
    """The constraints that the settings ask for, and what could not be done."""
    notes, maps, patterns = [], None, None
    if settings.resolution > 0:
        sigma = PROBE_PART * frames.probe
        if sigma >= _LEAST_SIGMA:
            maps = Resolution(frames.positions, sigma, frames.row_scale, settings.resolution)
        elif frames.probe == 0:
            notes.append("maps not limited in resolution: neither probe size nor smoothing is known")
    if settings.holes > 0:
        patterns = NoHoles(_rings(frames), frames.column_scale, settings.holes)
    return Constraints(maps, patterns), notes


def _rings(frames: Frames) -> np.ndarray:
    """Ring, one pixel wide, of each pixel that is a column."""
    ky, kx = np.indices(frames.mask.shape)
    radius = np.hypot(ky - frames.centre[0], kx - frames.centre[1])
    return np.asarray(np.round(radius[frames.mask]).astype(np.int64))


def choose_rank(frames: Frames, settings: FactorizeSettings, clamp: bool) -> tuple[int, list[str]]:
    """The rank to use, with a warning where a default was lowered to what the matrix allows.

    Raises
    ------
    SettingError
        If a rank that was stated is above what the matrix allows.
    """
    rank, most = settings.rank, frames.largest_rank
    if rank <= most:
        return rank, []
    if clamp:
        return most, [f"rank {most} in place of the default {rank}: the scan allows no more"]
    n, m = frames.matrix.shape
    raise SettingError(f"factorize.rank: {rank} is above {most}, the most that {n} positions × {m} pixels allow")


def factorise_steps(
    frames: Frames, settings: FactorizeSettings, clamp: bool = False, compression: Compression | None = None
) -> Steps[Factors]:
    """Factorise prepared frames.

    Parameters
    ----------
    frames : Frames
    settings : FactorizeSettings
    clamp : bool
        Lower a rank that is above what the matrix allows, with a warning, in place of an error.
    compression : Compression, optional
        From :func:`compression_steps` with the same settings; made where absent.

    Raises
    ------
    SettingError
        If the rank is above what the matrix allows, or the solver cannot be used on these frames.
    """
    rank, warnings = choose_rank(frames, settings, clamp)
    if compression is None:
        compression = yield from compression_steps(frames, settings, rank)
    if settings.solver == "hals":
        constraints, notes = constraints_of(frames, settings)
        warnings += notes
        solution = yield from _solve_steps(compression, settings, rank, constraints)
    else:
        solution = yield from _other_steps(frames, compression, settings, rank)
    factors = fold(frames, solution.W, solution.H.T, solution.error, solution.error_curve, solution.converged, warnings)
    return factors


def _plan(settings: FactorizeSettings, rank: int, constraints: Constraints) -> Plan:
    held = bool(constraints) and settings.compress == "on"  # then the compressed data say nearly all there is to say
    return Plan(
        rank,
        settings.start,
        settings.starts,
        settings.seed,
        settle=settings.max_iter if held else 60,
        polish=settings.polish if held else settings.max_iter,
        tol=settings.tol,
        constraints=constraints,
    )


def _solve_steps(
    compression: Compression, settings: FactorizeSettings, rank: int, constraints: Constraints
) -> Steps[Solution]:
    plan = _plan(settings, rank, constraints)
    if settings.compress == "off":
        return (yield from direct_steps(compression.blocks, compression.low, plan))
    if not constraints:
        return (yield from compressed_steps(compression.blocks, compression.low, plan))
    fit = yield from preview_steps(compression.low, compression.low, plan)
    return (yield from polish_steps(compression.blocks, fit, plan))


def _other_steps(frames: Frames, compression: Compression, settings: FactorizeSettings, rank: int) -> Steps[Solution]:
    W, Ht = initial_factors(compression.low, rank, settings.start, settings.seed)
    fit, limits = Fit(W, Ht), {"iterations": settings.max_iter, "tol": settings.tol}
    if settings.solver == "mu":
        return (yield from mu_steps(compression.blocks, fit, **limits))
    if settings.solver == "als":
        return (yield from als_steps(compression.blocks, fit, **limits))
    if not frames.is_counts:
        raise SettingError(
            "factorize.solver: kl needs frames that are still counts: set prepare.noise=off, prepare.smooth=0 and prepare.normalise=off"
        )
    return (yield from kl_steps(compression.blocks, fit, **limits))


def preview_factors_steps(
    frames: Frames, settings: FactorizeSettings, compression: Compression, clamp: bool = False
) -> Steps[Factors]:
    """A first look at a rank: a few iterations on the compressed data from one start, and the error of that on the full."""
    rank, warnings = choose_rank(frames, settings, clamp)
    W, Ht = initial_factors(compression.low, rank, settings.start, settings.seed)
    rng = np.random.default_rng(settings.seed)
    fit = yield from hals_steps(compression.low, W, Ht, PREVIEW, tol=0, rng=rng)
    notes = [*warnings, "a preview from the compressed data"]
    error = full_error(compression.blocks, fit.W, fit.Ht)
    return fold(frames, fit.W, fit.Ht, error, np.array(fit.errors), True, notes)


def fold(
    frames: Frames, W: np.ndarray, Ht: np.ndarray, error: float, curve: np.ndarray, converged: bool, warnings: list[str]
) -> Factors:
    """Factors of the matrix as maps and patterns, noise scaling undone, patterns of unit sum, sorted."""
    maps, patterns = frames.fold_maps(W), frames.fold_patterns(np.ascontiguousarray(Ht.T))
    sums = patterns.sum(axis=(1, 2))
    scale = np.where(sums > 0, sums, 1)
    patterns /= scale[:, None, None]
    maps *= scale[:, None, None]
    order = np.argsort(-maps.sum(axis=(1, 2)), kind="stable")
    notes = list(warnings)
    if not converged:
        notes.append(f"not converged after {len(curve)} iterations")
    empty = int((maps.sum(axis=(1, 2)) == 0).sum())
    if empty:
        notes.append(f"{empty} of {len(maps)} components are empty")
    return Factors(
        maps=maps[order],
        patterns=patterns[order],
        mask=frames.mask,
        relative_error=float(error),
        error_curve=np.asarray(curve, np.float32),
        iterations=len(curve),
        converged=converged,
        warnings=tuple(notes),
    )
