"""Azimuthal spectra in fewer harmonics and radial coordinates, which leave scalar products of patterns as they are.

Rings are half a pixel apart and a high harmonic lives on the outer ones alone, so the radii hold less than their number
says. Harmonics and coordinates are orthogonal: by Cauchy and Schwarz, what is left out of two patterns changes no
correlation by more than the part of their power that it holds.
"""

from __future__ import annotations

import numpy as np

from stem4d_panel.cluster.polar import multiplicity
from stem4d_panel.runtime.threads import map_blocks

NEGLECTED = 1e-6  # part of a pattern's power that may be left out, and so the most it can cost
SAMPLE = 200  # patterns, about, from which radial directions are found
RUN = 8  # neighbouring harmonics that share their directions


def powers(spectrum: np.ndarray, angles: int) -> np.ndarray:
    """Square of the norm that each harmonic holds of each pattern, shape (k, harmonics), float64.

    Parameters
    ----------
    spectrum : ndarray, shape (k, harmonics, radii), complex64
    angles : int
        Samples over the full turn.
    """

    def rows(start: int, stop: int) -> np.ndarray:
        parts = np.ascontiguousarray(spectrum[start:stop]).view(np.float32)
        return np.asarray(np.einsum("kmr,kmr->km", parts, parts), np.float64)

    out = np.concatenate(map_blocks(rows, len(spectrum), 16)) if len(spectrum) else np.zeros(spectrum.shape[:2])
    return np.asarray(out * (multiplicity(spectrum.shape[1], angles) / angles))


def band_limit(power: np.ndarray, neglected: float = NEGLECTED) -> int:
    """Number of harmonics to keep so that those above hold at most `neglected` of any pattern's power.

    Parameters
    ----------
    power : ndarray, shape (k, harmonics)
    """
    tail = np.cumsum(power[:, ::-1], axis=1)[:, ::-1]
    return max(1, int((tail > neglected * tail[:, :1]).any(axis=0).sum()))


def directions(spectrum: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Principal directions of the radii, common to some harmonics, shape (radii, radii), float32, the least first.

    Parameters
    ----------
    spectrum : ndarray, shape (k, harmonics, radii), complex64
    sizes : ndarray, shape (k,)
        Norms; every pattern that is not empty counts alike.
    """
    scale = _inverse(sizes)

    def gram(start: int, stop: int) -> np.ndarray:
        rows = (spectrum[start:stop] * scale[start:stop, None, None]).reshape(-1, spectrum.shape[2])
        real, imaginary = np.ascontiguousarray(rows.real), np.ascontiguousarray(rows.imag)
        return np.asarray(real.T @ real + imaginary.T @ imaginary, np.float64)

    total = sum(map_blocks(gram, len(spectrum), 32), np.zeros((spectrum.shape[2],) * 2))
    return np.asarray(np.linalg.eigh(total)[1], np.float32)


def _inverse(sizes: np.ndarray) -> np.ndarray:
    return np.where(sizes > 0, 1 / np.where(sizes > 0, sizes, 1), 0).astype(np.float32)


def compressed(spectrum: np.ndarray, basis: np.ndarray, harmonics: int) -> np.ndarray:
    """The first `harmonics` of a spectrum (k, harmonics, radii) in a real radial basis (radii, rank)."""
    kept = min(harmonics, spectrum.shape[1])
    out = np.empty((len(spectrum), kept, basis.shape[1]), np.complex64)

    def work(start: int, stop: int) -> None:
        out[start:stop] = spectrum[start:stop, :kept] @ basis.astype(np.complex64)

    map_blocks(work, len(spectrum), 16)
    return out


def reduced(spectrum: np.ndarray, power: np.ndarray, angles: int, neglected: float = NEGLECTED) -> list[np.ndarray]:
    """Spectra in as few radial coordinates as the patterns need, for runs of neighbouring harmonics.

    Coordinates are found from a sample. What they miss is then measured on every pattern, and those of which they miss
    more than `neglected` of the power join the sample, until there are none.

    Parameters
    ----------
    spectrum : ndarray, shape (k, harmonics, radii), complex64
    power : ndarray, shape (k, harmonics)
        As of `powers`.
    angles : int
        Samples over the full turn.
    neglected : float
        Part of a pattern's power.

    Returns
    -------
    list of ndarray, each of shape (harmonics, k, coordinates), complex64
        The runs in order. The highest harmonics are absent where nothing of them is kept.
    """
    count, harmonics = power.shape
    total, weights = power.sum(axis=1), multiplicity(harmonics, angles) / angles
    sample = np.arange(count) % max(1, count // SAMPLE) == 0
    while True:
        # half, so that rounding cannot make a pattern of the sample miss more than it may
        bases = _bases(spectrum[sample], np.sqrt(total[sample]), weights, neglected / 2)

        def work(run: int, _: int, bases: list[np.ndarray] = bases) -> tuple[np.ndarray, np.ndarray]:
            here = slice(run * RUN, (run + 1) * RUN)
            out = spectrum[:, here].transpose(1, 0, 2) @ bases[run].astype(np.complex64)
            parts = out.view(np.float32)
            return out, weights[here] @ np.einsum("mkr,mkr->mk", parts, parts).astype(np.float64)

        runs = map_blocks(work, len(bases), 1)
        missed = total - sum((held for _, held in runs), np.zeros(count)) > neglected * total
        if not (missed & ~sample).any():
            return [out for out, _ in runs]
        sample |= missed


def _bases(spectrum: np.ndarray, sizes: np.ndarray, weights: np.ndarray, neglected: float) -> list[np.ndarray]:
    """Real radial bases (radii, coordinates) of the runs of harmonics, up to the last that is needed.

    The coordinates that matter least are left out, of all runs together: as many as hold, in sum, at most `neglected`
    of any pattern's power.
    """
    harmonics, radii = spectrum.shape[1:]

    def work(run: int, _: int) -> tuple[np.ndarray, np.ndarray]:
        here = slice(run * RUN, (run + 1) * RUN)
        basis = directions(spectrum[:, here], sizes)
        scale = _inverse(sizes)[:, None] * np.sqrt(weights[here]).astype(np.float32)
        turned = (spectrum[:, here] * scale[:, :, None]) @ basis.astype(np.complex64)
        return basis, np.sum(turned.real**2 + turned.imag**2, axis=1)

    runs = map_blocks(work, -(-harmonics // RUN), 1)
    shares = np.concatenate([share for _, share in runs], axis=1)
    order = np.argsort(shares.max(axis=0), kind="stable")
    lost = np.cumsum(shares[:, order], axis=1).max(axis=0)
    kept = np.ones((len(runs), radii), bool)
    kept.flat[order[: np.searchsorted(lost, neglected, side="right")]] = False
    needed = max(1, int(np.flatnonzero(kept.any(axis=1)).max(initial=0)) + 1)
    return [basis[:, here] for (basis, _), here in zip(runs[:needed], kept[:needed], strict=True)]
