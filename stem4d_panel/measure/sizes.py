"""Diameters of particles from their maps, with the blur of the probe taken off.

A width read off at half maximum is no diameter: the profile of a sphere has one of .866 of the diameter before any
blur. So a blurred shape is fitted instead; the widths stand beside it, raw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.measure.blobs import Blob, autocorrelation_width, background, blob, label_particles, width_at_half
from stem4d_panel.measure.shapes import Fit, blur_of, draw, fit_particle
from stem4d_panel.runtime.progress import Progress, Steps, finish

SWEEPS = 4  # over particles that overlap, each fitted with the others taken off
RESTED = 0.01  # px: a diameter that moved less needs no further sweep
POOR = 0.2  # part of the contrast that a fit may leave; glass and mixtures leave more, crystals up to .13
MEMBER = 0.1  # part of a particle's intensity that makes a component its member


@dataclass(frozen=True)
class Particle:
    """One particle in numbers; lengths in scan pixels, times the scan step for nm.

    Attributes
    ----------
    label : int
        Its class.
    members : tuple of int
        Components that make it, the strongest first.
    centre : tuple of float
        (y, x): of the fit, or of the highest position where there is none.
    diameter, uncertainty, residual : float or None
        As in `Fit`; None where none could be made. Where the residual is above .2 the shape is not that of the particle,
        and it has no diameter.
    fwhm : float or None
        Full width at half maximum of the azimuthal average; None where it does not fall to half.
    autocorrelation : float or None
        The same of the map's autocorrelation, divided by the root of 2 (exact for a Gaussian).
    equivalent : float
        Diameter of the circle with the area above half of the particle's height.
    at_probe_limit : bool
        The fit cannot tell the size from the blur.
    touches_edge : bool
        Part of it lies outside the scan.
    shape : str
        The shape that was fitted.
    """

    label: int
    members: tuple[int, ...]
    centre: tuple[float, float]
    diameter: float | None
    uncertainty: float | None
    residual: float | None
    fwhm: float | None
    autocorrelation: float | None
    equivalent: float
    at_probe_limit: bool
    touches_edge: bool
    shape: str


@dataclass(frozen=True, eq=False)
class SizeStatistics:
    """Sizes of the particles of one class; lengths in scan pixels.

    Attributes
    ----------
    label : int
    shape : str
        Fitted shape.
    count, at_edge, at_probe_limit, unfitted : int
        All particles, and those left out: cut by the edge, else at the probe's limit, else without a fit.
    diameters : ndarray, shape (count less those left out,)
    mean, spread : float or None
        Mean and standard deviation (n - 1) of these; None below one and two.
    """

    label: int
    shape: str
    count: int
    at_edge: int
    at_probe_limit: int
    unfitted: int
    diameters: np.ndarray
    mean: float | None
    spread: float | None


def find_steps(
    maps: np.ndarray,
    probe_sigma: float,
    shape: str = "sphere",
    *,
    label: int = 0,
    members: Sequence[int] | None = None,
    level: float = 0.3,
    prominence: float = 0.1,
) -> Steps[tuple[Particle, ...]]:
    """Find and measure the particles in the sum of some maps, the highest first.

    Parameters
    ----------
    maps : ndarray, shape (m, y, x)
        Maps of the components of one class, or of those that lie on one one.
    probe_sigma : float
        Standard deviation of all that blurred the maps, scan pixels, as in `fit_particle`.
    shape : {"sphere", "disc", "gaussian", "sphere-squared"}
    label : int
        Class written into the particles.
    members : sequence of int, optional
        Numbers of the components; 0 to m - 1 where not given. One belongs to a particle if it makes a tenth of it.
    level, prominence : float
        As in `label_particles`.

    Raises
    ------
    SettingError, DataError
        As `fit_particle` and `label_particles`.

    Notes
    -----
    Each particle is fitted in its own basin and the background around it, with the fits of its neighbours taken off;
    neighbours in turn, until none moves. The raw widths are read with the neighbours taken off, too.
    """
    if maps.ndim != 3 or not len(maps):
        raise DataError(f"maps: have the shape {maps.shape}; needs at least one map, (m, y, x)")
    blur = blur_of(probe_sigma, shape)
    image = maps.astype(np.float64).sum(axis=0)
    labels = label_particles(image, level, prominence)
    floor, _ = background(image)
    blobs = [blob(image, labels, i, floor, 4 * blur + 1) for i in range(1, int(labels.max()) + 1)]
    fits = yield from _fit_steps(image, blobs, blur, shape)
    numbers = range(len(maps)) if members is None else members
    out = []
    for one, (fit, alone) in zip(blobs, fits, strict=True):
        clean = np.where(one.window, alone - (floor if fit is None else fit.background), 0)
        y, x = centre = one.top if fit is None else fit.centre
        shares = maps[:, *one.box][:, one.core].sum(axis=1)
        sound = fit if fit is not None and fit.residual <= POOR else None
        order = [k for k in np.argsort(-shares, kind="stable") if shares[k] >= MEMBER * shares.sum()]
        out.append(
            Particle(
                label=label,
                members=tuple(int(numbers[k]) for k in order),
                centre=centre,
                diameter=None if sound is None else sound.diameter,
                uncertainty=None if sound is None else sound.uncertainty,
                residual=None if fit is None else fit.residual,
                fwhm=width_at_half(clean, one.window, (y - one.box[0].start, x - one.box[1].start)),
                autocorrelation=autocorrelation_width(clean),
                equivalent=2 * math.sqrt(float(one.core.sum()) / math.pi),
                at_probe_limit=sound is not None and sound.at_probe_limit,
                touches_edge=one.cut or (fit is not None and _cut(fit, image.shape)),
                shape=shape,
            )
        )
    return tuple(out)


def find_particles(
    maps: np.ndarray,
    probe_sigma: float,
    shape: str = "sphere",
    *,
    label: int = 0,
    members: Sequence[int] | None = None,
    level: float = 0.3,
    prominence: float = 0.1,
) -> tuple[Particle, ...]:
    """`find_steps` in one go."""
    return finish(
        find_steps(maps, probe_sigma, shape, label=label, members=members, level=level, prominence=prominence)
    )


def measure_map(image: np.ndarray, probe_sigma: float, shape: str = "sphere", label: int = 0) -> Particle | None:
    """Measure the highest particle of one map, such as the shift-corrected mean map of a class; None where there is none.

    Parameters
    ----------
    image : ndarray, shape (y, x)
    probe_sigma, shape, label
        As in `find_steps`.

    Notes
    -----
    A mean map has the spread of its particles' sizes and shifts in it, so its diameter lies a little above their mean.
    """
    found = find_particles(image[None], probe_sigma, shape, label=label)
    return found[0] if found else None


def size_statistics(particles: Sequence[Particle]) -> tuple[SizeStatistics, ...]:
    """Count, mean and spread of the diameters of each class and shape, in the order of the labels."""
    out = []
    for label, shape in sorted({(p.label, p.shape) for p in particles}):
        own = [p for p in particles if (p.label, p.shape) == (label, shape)]
        whole = [p for p in own if not p.touches_edge]
        resolved = [p for p in whole if not p.at_probe_limit]
        diameters = np.array([p.diameter for p in resolved if p.diameter is not None], np.float64)
        out.append(
            SizeStatistics(
                label=label,
                shape=shape,
                count=len(own),
                at_edge=len(own) - len(whole),
                at_probe_limit=len(whole) - len(resolved),
                unfitted=len(resolved) - len(diameters),
                diameters=diameters,
                mean=float(diameters.mean()) if len(diameters) else None,
                spread=float(diameters.std(ddof=1)) if len(diameters) > 1 else None,
            )
        )
    return tuple(out)


def _fit_steps(
    image: np.ndarray, blobs: Sequence[Blob], blur: float, shape: str
) -> Steps[list[tuple[Fit | None, np.ndarray]]]:
    """Fit each particle, and give with it the part of the image in its box less its neighbours' fits."""
    fits: list[Fit | None] = [None] * len(blobs)
    alone = [image[b.box] for b in blobs]
    moved = [math.inf] * len(blobs)  # by the last fit; px
    for sweep in range(SWEEPS):
        for i, one in enumerate(blobs):
            yield Progress("measure", sweep * len(blobs) + i, SWEEPS * len(blobs), "particle")
            near = {j: f for j, f in enumerate(fits) if j != i and f is not None and _reaches(f, one.box, blur)}
            if sweep and all(moved[j] < RESTED for j in near):
                moved[i] = 0.0
                continue
            top, left = (s.start for s in one.box)
            y, x = np.indices(alone[i].shape)
            gone = [draw(f, (y + top).ravel(), (x + left).ravel(), blur, shape) for f in near.values()]
            alone[i] = image[one.box] - sum(gone, np.zeros(y.size)).reshape(y.shape)
            old, new = fits[i], fit_particle(alone[i], one.window, blur, shape)
            if new is not None:
                new = replace(new, centre=(new.centre[0] + top, new.centre[1] + left))
            moved[i] = math.inf if old is None or new is None else abs(new.diameter - old.diameter)
            fits[i] = new
    return list(zip(fits, alone, strict=True))


def _reaches(fit: Fit, box: tuple[slice, slice], blur: float) -> bool:
    """Whether a fit gives anything inside a box."""
    off = [max(s.start - c, c - s.stop, 0) for s, c in zip(box, fit.centre, strict=True)]
    return math.hypot(*off) <= fit.diameter + 4 * blur  # a Gaussian is no shape with an end


def _cut(fit: Fit, size: tuple[int, ...]) -> bool:
    """Whether a fit leaves the map by more than half a position."""
    return any(min(c, n - 1 - c) < fit.diameter / 2 - 0.5 for c, n in zip(fit.centre, size, strict=True))
