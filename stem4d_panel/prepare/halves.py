"""Two independent halves of the counts, prepared alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stem4d_panel.prepare.chain import prepare_steps
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import PrepareSettings


def is_thinnable(scan: Scan, frames: Frames) -> bool:
    """Whether the scan holds counts and preparing them was linear."""
    return scan.dtype.kind in "iu" and frames.look.survey.n_negative == 0 and frames.linear


def halves_steps(
    scan: Scan, frames: Frames, settings: PrepareSettings, seed: int
) -> Steps[tuple[np.ndarray, np.ndarray]]:
    """The prepared matrices of two independent halves of the raw counts (Neufeld et al., JMLR 25 (2024)).

    Every electron falls into one half or the other by chance, before anything is prepared; Poisson counts then give two
    independent Poisson scans of half the dose. Both go through the preparation of the whole, its scaling included.

    Parameters
    ----------
    scan : Scan
        Counts; see :func:`is_thinnable`.
    frames : Frames
        The whole scan, prepared.
    settings : PrepareSettings
        Those that `frames` were made with.
    seed : int

    Returns
    -------
    first, second : ndarray, shape (positions kept, pixels kept), float32
        Without normalisation their sum is the matrix of `frames`, to rounding.
    """
    rng = np.random.default_rng(seed)
    thinned = np.empty(scan.shape, scan.dtype)
    for rows, raw in scan.blocks():
        yield Progress("evidence", rows.start, scan.shape[0], "row", "thinning")
        thinned[rows] = rng.binomial(raw, 0.5)
    plain = PrepareSettings(**{**settings.as_dict(), "noise": "off"})
    first = yield from _prepared_steps(replace(scan, data=thinned), frames, plain)
    for rows, raw in scan.blocks():
        thinned[rows] = raw - thinned[rows]
    second = yield from _prepared_steps(replace(scan, data=thinned), frames, plain)
    return first, second


def _prepared_steps(half: Scan, frames: Frames, settings: PrepareSettings) -> Steps[np.ndarray]:
    found = yield from prepare_steps(half, frames.look, frames.calibration, settings)
    matrix = np.zeros(frames.matrix.shape, np.float32)
    rows, columns = found.positions[frames.positions], found.mask[frames.mask]  # a half may have empty ones more
    matrix[np.ix_(rows, columns)] = found.matrix[frames.positions[found.positions]][:, frames.mask[found.mask]]
    matrix /= frames.row_scale[:, None]
    matrix /= frames.column_scale
    return matrix
