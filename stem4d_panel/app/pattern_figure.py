"""A figure of reciprocal space: a pattern, circles about the direct beam, the detector that is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from stem4d_panel.app import palette
from stem4d_panel.app.figures import Frame, Picture, coordinates, labels, lines
from stem4d_panel.app.gesture import Drag, Gesture
from stem4d_panel.app.readout import Readout
from stem4d_panel.app.showing import Shown
from stem4d_panel.app.sizes import frame_size
from stem4d_panel.app.stills import Still
from stem4d_panel.measure.reading import d_spacing
from stem4d_panel.results.geometry import bounds, circle
from stem4d_panel.scan.scan import Axis
from stem4d_panel.scan.units import wavelength_nm

MASK, DRAWN = "#7fe5ff", "#ffd54f"  # colours of the mask's circles and of what a hand has drawn


@dataclass(frozen=True)
class Look:
    """How intensities are shown.

    Attributes
    ----------
    scale : str
        ``root``, ``log`` or ``linear``.
    table : str
        Colour map.
    clip : float
        Per cent of the pixels that may lie above the upper end.
    rings : bool
        Whether circles at round spacings are drawn.
    """

    scale: str = "root"
    table: str = "inferno"
    clip: float = 0.3
    rings: bool = False


def nm_unit(shown: Shown) -> float | None:
    """The spacing, in nm, that belongs to a length of one unit of reciprocal space; None where it cannot be known."""
    frames = shown.frames
    volts = frames.calibration.voltage.value if frames is not None else None
    return d_spacing(1.0, 1.0, shown.axes[3].units, wavelength_nm(volts) if volts is not None else None)


def round_rings(reach: float, unit: str, nm: float | None) -> list[tuple[float, str]]:
    """Circles with round labels, radius and text, between the centre and `reach`: spacings where they are known."""
    out: dict[str, float] = {}
    for part in (0.35, 0.6, 0.85):
        wanted = nm / (part * reach) if nm else part * reach
        decade = 10.0 ** np.floor(np.log10(wanted))
        value = decade * min((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10), key=lambda m: abs(m - wanted / decade))
        out[f"{value:.3g} {'nm' if nm else unit}"] = nm / value if nm else value
    return [(radius, text) for text, radius in out.items() if radius < reach]


def detector_axes(shown: Shown) -> tuple[Axis, Axis]:
    """Axes of the detector as measured, in the units of the binned ones, zero at the direct beam."""
    binned = shown.axes[2:]
    if shown.scan is None or shown.look is None:
        return binned[0], binned[1]
    sizes, centre = shown.scan.detector_shape, shown.look.descan.centre
    factor = shown.frames.bin if shown.frames is not None else 1
    axes = shown.frames.axes[2:] if shown.frames is not None else binned
    made = [
        replace(a, size=n, scale=a.scale / factor, offset=-a.scale / factor * c)
        for a, n, c in zip(axes, sizes, centre, strict=True)
    ]
    return made[0], made[1]


class PatternFigure:
    """An image of reciprocal space with circles, and drags on it."""

    def __init__(
        self,
        name: str,
        width: int,
        dragged: Callable[[Drag], None] | None = None,
        *more: Callable[[Any, Any], None],
    ) -> None:
        self.name, self.width = name, width
        self.dims = (f"{name}_kx", f"{name}_ky")
        self._marks, self._drawn = lines(MASK, 1.2), lines(DRAWN, 1.8)
        self._circles, self._texts = lines("#d0d0d0", 0.8), labels()
        self._readout = Readout("pattern")
        layers = (self._circles, self._marks, self._drawn, self._texts, self._readout)
        drags = [Gesture(dragged=dragged).hook] if dragged is not None else []
        hooks = [*(layer.hook for layer in layers), *more, *drags]
        self._frame = Frame(name, (width, width), *hooks, scaled=True)
        self._picture = Picture(self._frame, self.dims)
        self._masked: tuple[tuple[float, ...], list[Any]] = ((), [])  # circles and outlines that are drawn
        self._unit = "px"
        self._nm: float | None = None
        self._rings: list[tuple[float, str]] = []
        self.pane = self._frame.pane(self._picture.layer)

    def draw(
        self, image: np.ndarray, axes: tuple[Axis, Axis], field: tuple[Axis, Axis], how: Look, inner: float = 0.0
    ) -> None:
        """Show `image` on `axes` in a figure as large as `field`.

        Intensities are stretched to what lies outside `inner`, so that the direct beam does not hide the rest.
        """
        values = palette.scaled(image, how.scale)
        y, x = (a.offset + a.scale * np.arange(a.size) for a in axes)
        inside = values[(np.hypot(y[:, None], x) >= inner) & (values > 0)]
        ends = palette.limits(inside, 0.5, 100 - how.clip)
        self._show(partial(palette.painted, ends=ends, table=how.table), values, axes, field)
        self._draw_rings(how.rings)

    def draw_signed(self, image: np.ndarray, axes: tuple[Axis, Axis], field: tuple[Axis, Axis], how: Look) -> None:
        """Show differences, white at zero."""
        top = palette.limits(np.abs(image), 0, 100 - how.clip)[1]
        self._show(partial(palette.painted, ends=(-top, top), table=palette.SIGNED), image, axes, field)
        self._draw_rings(how.rings)

    def calibrate(self, unit: str, nm: float | None) -> None:
        """Tell the unit of lengths and the spacing, nm, of one unit; see `nm_unit`."""
        self._unit, self._nm = unit, nm
        self._readout.calibrate(unit, nm)

    def _draw_rings(self, wanted: bool) -> None:
        left, bottom, right, top = self._frame.box
        rings = round_rings(min(-left, right, -bottom, top), self._unit, self._nm) if wanted else []
        if rings != self._rings:
            self._rings = rings
            self._circles.show(**coordinates([circle(radius) for radius, _ in rings]))
            at = [radius / np.sqrt(2) for radius, _ in rings]
            self._texts.show(x=at, y=at, text=[text for _, text in rings])

    def _show(self, paint: Any, values: np.ndarray, axes: tuple[Axis, Axis], field: tuple[Axis, Axis]) -> None:
        self._frame.resize(bounds(*field), frame_size(*field, self.width), field[1].units)
        self._picture.show(bounds(*axes), paint, values)

    def still(self, name: str) -> Still | None:
        """The picture without what is drawn on it, where it fills the figure."""
        return self._picture.still(name)

    def mark(
        self,
        rings: tuple[float, ...] = (),
        drawn: list[np.ndarray] | None = None,
        stops: list[np.ndarray] | None = None,
    ) -> None:
        """Draw the mask and what a hand has drawn.

        Parameters
        ----------
        rings : tuple of float
            Radii of the mask's circles in the figure's units; with them goes a cross at the centre.
        drawn, stops : list of ndarray, optional
            Paths (n, 2): what a hand has drawn, other outlines of the mask.
        """
        outlines = [stop.tolist() for stop in stops or []]
        if (rings, outlines) != self._masked:
            self._masked = rings, outlines
            tick = 0.02 * (self._frame.box[2] - self._frame.box[0])
            cross = [np.array([[-tick, 0], [tick, 0]]), np.array([[0, -tick], [0, tick]])] if rings else []
            self._marks.show(**coordinates([*(circle(r) for r in rings if r > 0), *cross, *(stops or [])]))
        if drawn or self._drawn.data["xs"]:
            self._drawn.show(**coordinates(drawn or []))
