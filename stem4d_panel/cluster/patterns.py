"""Patterns ready to be compared under rotation: azimuthal spectra, what of them is noise, and how rings are weighed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.cluster.polar import KEPT_BY_SPLINES, Polar, correlate, multiplicity, scalar_products, spectra
from stem4d_panel.cluster.similarity import between
from stem4d_panel.settings import ClusterSettings

_DAMPING = (
    0.1  # of the mean power of a pattern's rings, added to each: a ring with nothing in it must not count in full
)
# by which a mirrored match must be better: 1e-3, and of what noise can do to a correlation, root(1 - reliabilities), a
# tenth, four standard deviations of the difference for symmetric patterns of 300 to 100,000 counts
_MIRRORED = 1e-3, 0.1
_LEAST = 0.2  # reliability is taken to be at least this, so that noise is not corrected into a likeness


@dataclass(frozen=True, eq=False)
class PatternSet:
    """Azimuthal spectra of patterns.

    Attributes
    ----------
    spectrum : ndarray, shape (k, harmonics, radii), complex64
        Weighted by the root of the radius; a ring's mean removed where `centring` asks for it.
    noise : ndarray, shape (k, radii)
        Power of each ring that is counting noise.
    angles : int
        Azimuthal samples.
    equal : bool
        Whether rings are brought to equal strength before they are compared.
    """

    spectrum: np.ndarray
    noise: np.ndarray
    angles: int
    equal: bool

    def __len__(self) -> int:
        return len(self.spectrum)

    def __getitem__(self, index: list[int] | slice | np.ndarray) -> PatternSet:
        return PatternSet(self.spectrum[index], self.noise[index], self.angles, self.equal)

    def signal(self) -> np.ndarray:
        """Part of each pattern's power that is not noise, shape (k,), between 0.2 and 1."""
        power = ring_power(self.spectrum, self.angles).sum(axis=1)
        return np.asarray(np.clip(1 - self.noise.sum(axis=1) / np.where(power > 0, power, 1), _LEAST, 1))

    def shaped(self) -> tuple[np.ndarray, np.ndarray]:
        """Spectra with each ring weighed, and how much of each pattern's power is then signal.

        Rings of equal strength make the places of the spots count above their intensities, which tilt and thickness
        change; a ring counts by the part of its power that is not noise.

        Returns
        -------
        spectrum : ndarray, shape (k, harmonics, radii), complex64
        reliability : ndarray, shape (k,)
            Between 0.2 and 1.
        """
        power = ring_power(self.spectrum, self.angles)
        signal = np.maximum(power - self.noise, 0)
        weight = np.ones_like(power)
        if self.equal:
            mean = power.mean(axis=1, keepdims=True)
            safe = np.where(power > 0, power, 1)
            weight = (signal / safe) / np.maximum(power + _DAMPING * mean, 1e-300)
        total, kept = (weight * power).sum(axis=1), (weight * signal).sum(axis=1)
        reliability = np.clip(kept / np.where(total > 0, total, 1), _LEAST, 1)
        return self.spectrum * np.sqrt(weight)[:, None, :].astype(np.float32), reliability


def ring_power(spectrum: np.ndarray, angles: int) -> np.ndarray:
    """Power of each ring summed over the harmonics of both signs, shape (k, radii)."""
    power = np.abs(spectrum.astype(np.complex128)) ** 2
    return np.asarray(np.einsum("kmr,m->kr", power, multiplicity(spectrum.shape[1], angles)))


def pattern_set(polar: Polar, noise: np.ndarray, settings: ClusterSettings, centring: str | None = None) -> PatternSet:
    """Patterns as the settings want them compared.

    Parameters
    ----------
    polar : Polar
    noise : ndarray, shape (k, radii)
        Variance of the pixels on each ring; see :func:`ring_means`.
    settings : ClusterSettings
        ``centring``, ``friedel`` and ``noise`` are used.
    centring : {"equal", "ring", "none"}, optional
        In place of that of the settings.
    """
    centring = settings.centring if centring is None else centring
    angles = polar.values.shape[2]
    spectrum = spectra(polar, "none" if centring == "none" else "ring")
    power = np.zeros(noise.shape) if settings.noise == "none" else noise * polar.radii * angles**2 * KEPT_BY_SPLINES
    if settings.friedel == "fold":
        spectrum[:, 1::2] = 0
        power = power / 2
    return PatternSet(spectrum, power, angles, centring == "equal")


def compare(one: PatternSet, others: PatternSet, mirror: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity of one pattern with others over the rotation angle, noise accounted for.

    The correlation is divided by what counting noise leaves of the correlation of equal patterns, the root of the
    product of their reliabilities (Spearman, Am. J. Psychol. 15 (1904) 72), so that equal patterns reach about 1 at
    any dose.

    Returns
    -------
    similarity : ndarray, shape (n,)
        About 1 for equal patterns; noise takes it a little above or below.
    rotation : ndarray, shape (n,)
        Degrees in [0, 360) by which each of `others` is turned against `one`; see `mirrored`.
    mirrored : ndarray, shape (n,), bool
        Where true, the other is `one` mirrored at the kx axis, then turned by `rotation`.
    """
    (first, sure), (second, as_sure) = one.shaped(), others.shaped()
    return compare_shaped(first[0], sure[0], second, as_sure, one.angles, mirror)


def compare_shaped(
    one: np.ndarray, sure: float, others: np.ndarray, as_sure: np.ndarray, angles: int, mirror: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As :func:`compare`, of spectra that are weighed already."""
    matches = correlate(one, others, angles), correlate(one, others.conj(), angles) if mirror else None
    known = sure * as_sure
    similarity, rotation, mirrored = _better(*matches, known)
    return np.asarray(similarity / np.sqrt(known)), rotation, mirrored


def _better(
    match: tuple[np.ndarray, np.ndarray], reflected: tuple[np.ndarray, np.ndarray] | None, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a match and one with the mirrored patterns, each (correlation, rotation), the better; and which are mirrored.

    `known` is the product of the reliabilities.
    """
    if reflected is None:
        return *match, np.zeros(match[0].shape, bool)
    mirrored = reflected[0] > match[0] + np.maximum(_MIRRORED[0], _MIRRORED[1] * np.sqrt(1 - known))
    return np.where(mirrored, reflected[0], match[0]), np.where(mirrored, -reflected[1] % 360, match[1]), mirrored


def all_pairs(patterns: PatternSet, mirror: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and rotations of all pairs, shape (k, k) each; ``rotations[i, j]`` turns i's frame onto j."""
    shaped, sure = patterns.shaped()
    reflected = between(shaped, shaped.conj(), patterns.angles) if mirror else None
    known = sure[:, None] * sure
    similarity, rotations, _ = _better(between(shaped, shaped, patterns.angles), reflected, known)
    return similarity / np.sqrt(known), rotations


def unrotated(patterns: PatternSet) -> np.ndarray:
    """Correlations of all pairs as they lie, noise accounted for, shape (k, k)."""
    shaped, sure = patterns.shaped()
    products = scalar_products(shaped, patterns.angles)
    size = np.sqrt(np.maximum(np.diag(products), 0) * sure)
    safe = np.where(size > 0, size, 1)
    return np.where((size > 0)[:, None] & (size > 0), products / safe / safe[:, None], 0.0)
