"""Each crystalline class looked at closely: what its pattern says, and how large its particles are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.cluster.classes import Classes
from stem4d_panel.factorize.factors import PROBE_PART, Factors
from stem4d_panel.measure.findings import Findings
from stem4d_panel.measure.reading import Reading, d_spacing, read_pattern
from stem4d_panel.measure.sizes import Particle, SizeStatistics, find_steps, measure_map, size_statistics
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.units import wavelength_nm
from stem4d_panel.settings import FactorizeSettings, MeasureSettings

VERSION = 2  # part of the cache key: raise it when a result changes


@dataclass(frozen=True, eq=False)
class ClassDetail:
    """One crystalline class.

    Attributes
    ----------
    label : int
    reading : Reading
        Of the rotation-corrected pattern.
    particles : tuple of Particle
        Found in the class's located map; lengths in scan pixels.
    sizes : SizeStatistics or None
        Of those particles; None where there are none.
    mean_particle : Particle or None
        Of the shift-corrected mean map.
    """

    label: int
    reading: Reading
    particles: tuple[Particle, ...]
    sizes: SizeStatistics | None
    mean_particle: Particle | None


@dataclass(frozen=True, eq=False)
class Details:
    """All crystalline classes, and what their sizes rest on.

    Attributes
    ----------
    classes : tuple of ClassDetail
    blur : float
        Standard deviation in scan pixels that was removed from the maps.
    shape : str
        Shape that was fitted.
    step : float or None
        nm a scan pixel; None where it is not known.
    reciprocal_step : float or None
        1/nm a pixel of the patterns; None where it is not known and does not follow from mrad and the voltage.
    """

    classes: tuple[ClassDetail, ...]
    blur: float
    shape: str
    step: float | None
    reciprocal_step: float | None

    def of(self, label: int) -> ClassDetail | None:
        """The detail of a class, if it is crystalline."""
        return next((d for d in self.classes if d.label == label), None)

    def diameter(self, label: int) -> str | None:
        """Mean ± spread, unit and number of a class's particles as text; None where nothing could be measured."""
        found = self.of(label)
        if found is None or found.sizes is None or found.sizes.mean is None:
            return None
        step, unit = (self.step, "nm") if self.step else (1.0, "px")
        spread = f" ± {found.sizes.spread * step:.1f}" if found.sizes.spread is not None else ""
        return f"{found.sizes.mean * step:.1f}{spread} {unit} ({found.sizes.count})"


def map_blur(frames: Frames, settings: FactorizeSettings) -> float:
    """Standard deviation of all that blurs the maps, px: probe, smoothing of the frames, and the maps' constraint.

    The constraint makes maps of a kernel as wide as part of the probe (``PROBE_PART``), by its strength.
    """
    kernel = PROBE_PART * frames.probe * float(np.sqrt(settings.resolution))
    return float(np.hypot(frames.resolution, kernel))


def detail_steps(
    factors: Factors,
    classes: Classes,
    findings: Findings,
    frames: Frames,
    factorize: FactorizeSettings,
    settings: MeasureSettings,
) -> Steps[Details]:
    """Read each crystalline class's pattern and measure its particles.

    Parameters
    ----------
    factors : Factors
    classes : Classes
    findings : Findings
    frames : Frames
    factorize : FactorizeSettings
        The strength of the maps' constraint is used.
    settings : MeasureSettings
        ``shape`` is used.
    """
    blur = map_blur(frames, factorize)
    crystalline = [c.label for c in findings.classes if c.crystalline]
    out = []
    for done, label in enumerate(crystalline):
        yield Progress("details", done, len(crystalline), "class")
        reading = read_pattern(classes.patterns[label], factors.mask, frames.centre)
        members = classes.members(label)
        particles = yield from find_steps(
            factors.maps[members], blur, settings.shape, label=label, members=tuple(int(i) for i in members)
        )
        sizes = next(iter(size_statistics(particles)), None)
        out.append(
            ClassDetail(label, reading, particles, sizes, measure_map(classes.maps[label], blur, settings.shape))
        )
    x, kx = frames.axes[1], frames.axes[3]
    volts = frames.calibration.voltage.value
    wavelength = wavelength_nm(volts) if volts is not None else None
    first = d_spacing(1.0, kx.scale, kx.units, wavelength)
    step = x.scale if x.units == "nm" else None
    return Details(tuple(out), blur, settings.shape, step, 1 / first if first else None)
