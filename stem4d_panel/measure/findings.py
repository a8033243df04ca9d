"""What the classes say of the sample: which position belongs to which, how it is turned, how much of the area it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.polar import anisotropy, spectra, to_polar
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.settings import MeasureSettings

VERSION = 1  # part of the cache key: raise it when a result changes
FOLDS = (6, 4, 3, 2)
SYMMETRIC = 0.6  # least autocorrelation under every turn of a symmetry


@dataclass(frozen=True)
class ClassFinding:
    """One class in numbers.

    Attributes
    ----------
    label : int
    members : tuple of int
        Components, the strongest first.
    share : float
        Part of all fitted intensity.
    fraction : float
        Part of the positions that belong to it.
    anisotropy : float
        Part of the pattern's norm left when the mean of every radius is removed.
    coherence : float
        Autocorrelation of a map at three times the resolution, the highest of the members'.
    crystalline : bool
        Whether both reach ``measure.anisotropy`` and ``measure.coherence``.
    fold : int
        Highest rotation symmetry (6, 4, 3, 2; 1 for none) under which the pattern correlates above 0.6 with itself.
    """

    label: int
    members: tuple[int, ...]
    share: float
    fraction: float
    anisotropy: float
    coherence: float
    crystalline: bool
    fold: int


@dataclass(frozen=True, eq=False)
class Findings:
    """Findings of all classes.

    Attributes
    ----------
    classes : tuple of ClassFinding
    position_labels : ndarray, shape (y, x), int
        Class of each position; -1 where it was left out.
    orientation : ndarray, shape (y, x), float32
        Degrees, rotation of the strongest crystalline member modulo 360 / fold; NaN where there is none.
    """

    classes: tuple[ClassFinding, ...]
    position_labels: np.ndarray
    orientation: np.ndarray


def map_coherence(image: np.ndarray, distance: float) -> float:
    """Autocorrelation of a map (y, x) at a distance in px, mean removed, averaged over directions; 0 for an even map."""
    ny, nx = image.shape
    size = (2 * ny, 2 * nx)
    pairs = fft.irfft2(np.abs(fft.rfft2(np.ones_like(image), size)) ** 2, size)
    products = fft.irfft2(np.abs(fft.rfft2(image - image.mean(), size)) ** 2, size) / np.maximum(pairs, 1)
    radius = np.hypot(fft.fftfreq(2 * ny)[:, None] * 2 * ny, fft.fftfreq(2 * nx) * 2 * nx)
    ring = (np.abs(radius - min(distance, max(ny, nx) / 2)) < 0.6) & (pairs > 0.5)
    if products[0, 0] <= 1e-12 * float((image**2).mean()) or not ring.any():
        return 0.0
    return float(products[ring].mean() / products[0, 0])


def fold_of(spectrum: np.ndarray, angles: int) -> int:
    """Highest rotation symmetry of a pattern, from its autocorrelation over the angle.

    Parameters
    ----------
    spectrum : ndarray, shape (harmonics, radii)
        Azimuthal spectrum, ring means removed.
    """
    power = (np.abs(spectrum) ** 2).sum(axis=1)
    curve = np.fft.irfft(power, n=angles)
    if curve[0] <= 0:
        return 1
    for fold in FOLDS:
        turns = (np.arange(1, fold) * angles) // fold
        if (curve[turns] / curve[0]).min() >= SYMMETRIC:
            return fold
    return 1


def measure(
    factors: Factors, classes: Classes, centre: tuple[float, float], resolution: float, settings: MeasureSettings
) -> Findings:
    """Assign positions and orientations, and put each class into numbers.

    Parameters
    ----------
    factors : Factors
    classes : Classes
    centre : tuple of float
        Direct beam (ky, kx) in pixels of the patterns.
    resolution : float
        Standard deviation of the blur of the maps, scan pixels.
    settings : MeasureSettings

    Notes
    -----
    A position belongs to the crystalline class whose located map is highest there in parts of its own maximum, if it
    reaches ``measure.level``; else to the strongest of the other classes.
    """
    polar = to_polar(classes.patterns, factors.mask, centre)
    angles = polar.values.shape[2]
    aniso, spectrum = anisotropy(polar), spectra(polar, "ring")
    distance = max(2.0, 3 * resolution)
    coherence = np.array(
        [max(map_coherence(factors.maps[i], distance) for i in classes.members(c)) for c in range(classes.count)]
    )
    crystalline = (aniso >= settings.anisotropy) & (coherence >= settings.coherence)
    peak = classes.located.max(axis=(1, 2), keepdims=True)
    relative = np.where(peak > 0, classes.located / np.where(peak > 0, peak, 1), 0) * crystalline[:, None, None]
    best = relative.argmax(axis=0)
    inside = (relative.max(axis=0) >= settings.level) & (relative.max(axis=0) > 0)
    rest = np.where(crystalline[:, None, None], -1.0, classes.located)
    others = np.where(crystalline.all(), best, rest.argmax(axis=0))
    position_labels = np.where(inside, best, others)
    position_labels[factors.maps.sum(axis=0) <= 0] = -1
    folds = [fold_of(s, angles) if c else 1 for s, c in zip(spectrum, crystalline, strict=True)]
    orientation = np.full(position_labels.shape, np.nan, np.float32)
    totals = factors.totals
    rows = []
    for label in range(classes.count):
        members = sorted(classes.members(label), key=lambda i: -float(totals[i]))
        here = inside & (position_labels == label)
        if crystalline[label]:
            strongest = np.asarray(members)[factors.maps[members].argmax(axis=0)]
            turns = classes.rotations[strongest].astype(np.float32) % np.float32(360 / folds[label])
            orientation[here] = turns[here]
        rows.append(
            ClassFinding(
                label=label,
                members=tuple(int(i) for i in members),
                share=float(totals[members].sum() / max(float(totals.sum()), 1e-30)),
                fraction=float((position_labels == label).mean()),
                anisotropy=float(aniso[label]),
                coherence=float(coherence[label]),
                crystalline=bool(crystalline[label]),
                fold=folds[label],
            )
        )
    return Findings(tuple(rows), position_labels.astype(np.int32), orientation)
