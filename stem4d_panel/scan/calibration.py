"""Calibration: what is known of steps, voltage and probe, from the file and from the user, each with its origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stem4d_panel.scan.scan import Origin, Scan
from stem4d_panel.scan.units import wavelength_nm
from stem4d_panel.settings import CalibrationSettings


@dataclass(frozen=True)
class Quantity:
    """A value with its unit and where it comes from; `value` is None where it is not known."""

    value: float | None
    unit: str
    origin: Origin = "none"

    def __str__(self) -> str:
        return "unknown" if self.value is None else f"{self.value:.4g} {self.unit}"


@dataclass(frozen=True)
class Calibration:
    """Resolved calibration of a scan.

    `scan_step` (y, x) in nm or px, `detector_step` (ky, kx) in 1/nm, mrad or px, a pixel; `probe_size` is a FWHM in nm.
    """

    scan_step: tuple[Quantity, Quantity]
    detector_step: tuple[Quantity, Quantity]
    voltage: Quantity
    convergence: Quantity
    probe_size: Quantity

    @property
    def calibrated(self) -> bool:
        """Whether both spaces have units."""
        return self.scan_step[0].unit != "px" and self.detector_step[0].unit != "px"

    def reciprocal_step(self) -> float | None:
        """Detector step along kx in 1/nm, if it is known or follows from mrad and the voltage."""
        step = self.detector_step[1]
        if step.value is None or step.unit == "px":
            return None
        if step.unit == "1/nm":
            return step.value
        return None if self.voltage.value is None else step.value * 1e-3 / wavelength_nm(self.voltage.value)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        named = {
            "scan_step_y": self.scan_step[0],
            "scan_step_x": self.scan_step[1],
            "detector_step_ky": self.detector_step[0],
            "detector_step_kx": self.detector_step[1],
            "voltage": self.voltage,
            "convergence": self.convergence,
            "probe_size": self.probe_size,
        }
        return {name: {"value": q.value, "unit": q.unit, "origin": q.origin} for name, q in named.items()}


def calibrate(scan: Scan, settings: CalibrationSettings) -> Calibration:
    """What is known of a scan: the user's word first, then the file's.

    Notes
    -----
    The probe's FWHM, where nobody states it, is that of the Airy disc, 0.51 wavelength / semi-angle.
    """
    y, x, ky, kx = scan.axes

    def stated(value: float | None, unit: str, name: str) -> Quantity:
        if value is not None:
            return Quantity(value, unit, "user")
        found = scan.instrument.get(name)
        return Quantity(found, unit, "file") if found is not None and found > 0 else Quantity(None, unit)

    voltage = stated(settings.voltage, "kV", "voltage")
    convergence = stated(settings.convergence, "mrad", "convergence")
    probe = stated(settings.probe_size, "nm", "probe_size")
    if probe.value is None and voltage.value is not None and convergence.value is not None:
        probe = Quantity(0.51 * wavelength_nm(voltage.value) / (convergence.value * 1e-3), "nm", "computed")
    if settings.scan_step is not None:
        scan_steps = (Quantity(settings.scan_step, "nm", "user"),) * 2
    else:
        scan_steps = (Quantity(y.scale, y.units, y.origin), Quantity(x.scale, x.units, x.origin))
    if settings.detector_step is not None:
        detector_steps = (Quantity(settings.detector_step, settings.detector_units, "user"),) * 2
    else:
        detector_steps = (Quantity(ky.scale, ky.units, ky.origin), Quantity(kx.scale, kx.units, kx.origin))
    return Calibration(scan_steps, detector_steps, voltage, convergence, probe)
