"""Reciprocal space: the mean pattern with mask and centre, class and component patterns; and the measured pattern of a point."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
from holoviews.streams import Pipe

from stem4d_panel.app import palette
from stem4d_panel.app.figures import Box, bounds, image_map, picture_options
from stem4d_panel.app.map_view import palette_name
from stem4d_panel.app.session import Session, Shown
from stem4d_panel.app.text import caption, say
from stem4d_panel.errors import Stem4dError
from stem4d_panel.scan.scan import Axis

MODES = ["mean pattern", "class", "component"]
SCALES = ["root", "log", "linear"]


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
    """An image of reciprocal space with the mask's circles and the centre."""

    def __init__(self, name: str, width: int) -> None:
        self.name, self.width = name, width
        self.dims = (f"{name}_kx", f"{name}_ky")
        self.pane = pn.pane.HoloViews(None, linked_axes=False, margin=0, width=width + 24, height=width + 16)
        self._image, self._marks = Pipe(data=None), Pipe(data=None)
        self._key: tuple[Box, str] | None = None

    def draw(
        self,
        image: np.ndarray,
        axes: tuple[Axis, Axis],
        field: tuple[Axis, Axis],
        rings: tuple[float, float] | None,
        how: str,
        inner: float = 0.0,
    ) -> None:
        """Show `image` on `axes` in a figure as large as `field`, with circles of two radii (in the axes' units).

        Intensities are stretched to what lies outside `inner`, so that the direct beam does not hide the rest.
        """
        values = palette.scaled(image, how)
        y, x = (a.offset + a.scale * np.arange(a.size) for a in axes)
        inside = values[(np.hypot(y[:, None], x) >= inner) & (values > 0)]
        self._image.send((values, palette.limits(inside, 0.5, 99.7), palette_name("inferno"), bounds(*axes)))
        self._marks.send(rings)
        key = (bounds(*field), field[1].units)
        if key != self._key:
            self._key = key
            self._build(field)

    def _build(self, field: tuple[Axis, Axis]) -> None:
        box = bounds(*field)
        base = image_map(self._image, box, self.dims)

        def marks(data: Any) -> hv.Path:
            if data is None:
                return hv.Path([], list(self.dims)).opts(color="#7fe5ff", line_width=1.2)
            turn = np.linspace(0, 2 * np.pi, 181)
            circles = [np.stack([r * np.cos(turn), r * np.sin(turn)], axis=1) for r in data if r > 0]
            tick = 0.02 * (box[2] - box[0])
            cross = [np.array([[-tick, 0], [tick, 0]]), np.array([[0, -tick], [0, tick]])]
            return hv.Path(circles + cross, list(self.dims)).opts(color="#7fe5ff", line_width=1.2)

        rings = hv.DynamicMap(marks, streams=[self._marks])
        options = picture_options(self.name, *field, self.width)
        self.pane.object = (base * rings).opts(**options, xlim=(box[0], box[2]), ylim=(box[1], box[3]))

    def close(self) -> None:
        """Let go of the figure."""
        self.pane.object = None


class PatternView:
    """The figure of reciprocal space and the choice of what it shows."""

    def __init__(self, session: Session, width: int) -> None:
        self.session = session
        self.mode = pmui.Select(
            label="Patterns", options=MODES, value="mean pattern", size="small", width=150, margin=(4, 6)
        )
        self.scale = pmui.Select(
            label="Intensity", options=SCALES, value="root", size="small", width=100, margin=(4, 6)
        )
        self.caption = caption("", width=width)
        self.figure = PatternFigure("patterns", width)
        for widget in (self.mode, self.scale):
            widget.param.watch(lambda _: self.refresh(), "value")
        session.param.watch(lambda _: self.refresh(), ["shown", "point"])
        session.param.watch(self._component_chosen, "component")
        self.layout = pn.Column(
            pn.Row(self.mode, self.scale, margin=0, height=58),
            self.figure.pane,
            self.caption,
            width=width + 34,
            margin=0,
        )

    def _component_chosen(self, event: Any) -> None:
        before = self.mode.value
        if event.new is not None and before == "mean pattern":
            self.mode.value = "component"
        if self.mode.value == before:
            self.refresh()

    def refresh(self) -> None:
        """Draw what the session shows."""
        shown = self.session.shown
        if shown.look is None and shown.mean_pattern is None:
            return
        field = detector_axes(shown)
        rings = None
        if shown.look is not None:
            rings = (shown.look.inner * field[1].scale, shown.look.outer * field[1].scale)
        mode = self.mode.value
        if mode == "mean pattern" or shown.classes is None:
            image, axes = (shown.look.mean, field) if shown.look is not None else (shown.mean_pattern, shown.axes[2:])
            text = "mean of all positions, with the mask's circles and the centre"
        else:
            axes, rings = shown.axes[2:], None
            if mode == "class":
                label = self.session.chosen_class()
                n = len(shown.classes.members(label))
                image = shown.classes.patterns[label]
                text = f"class {label}: " + (f"rotation-corrected mean of {n} components" if n > 1 else "one component")
            else:
                k = self.session.component or 0
                image = shown.factors.patterns[k]
                label, turn = int(shown.classes.labels[k]), float(shown.classes.rotations[k])
                text = f"component {k}, class {label}, turned by {turn:.1f}°"
        self.figure.draw(image, axes, field, rings, self.scale.value, rings[0] if rings else 0.0)
        say(self.caption, text)

    def close(self) -> None:
        """Let go of the figure."""
        self.figure.close()


class PointView:
    """The measured pattern at the chosen position."""

    def __init__(self, session: Session, width: int, scale: Any) -> None:
        self.session, self.scale = session, scale
        self.caption = caption("tap the map: the pattern measured there", width=width)
        self.figure = PatternFigure("measured", width)
        heading = pmui.Typography("Measured at the point", variant="subtitle2", margin=(20, 8, 0, 8))
        session.param.watch(lambda _: self.refresh(), ["point", "shown"])
        scale.param.watch(lambda _: self.refresh(), "value")
        self.layout = pn.Column(
            pn.Row(heading, height=58, margin=0), self.figure.pane, self.caption, width=width + 34, margin=0
        )

    def refresh(self) -> None:
        """Draw the pattern of the chosen position, or of the strongest one before any is chosen."""
        shown = self.session.shown
        if shown.scan is None or shown.look is None:
            if shown.factors is not None:
                say(self.caption, "a saved result holds no measured patterns: open its scan to see them")
            return
        point = self.session.point
        if point is None:
            total = shown.virtual if shown.virtual is not None else shown.survey.total
            point = tuple(int(i) for i in np.unravel_index(int(total.argmax()), total.shape))
        try:
            pattern = np.array(shown.scan.pattern(*point), np.float32)
        except (Stem4dError, OSError) as error:
            self.session.say("error", str(error))
            return
        counts = float(np.nansum(pattern))
        pattern[tuple(shown.look.bad.all.T)] = 0
        axes = detector_axes(shown)
        self.figure.draw(pattern, axes, axes, None, self.scale.value, shown.look.inner * axes[1].scale)
        where = f"y {point[0]}, x {point[1]} · {counts:,.0f} counts"
        if shown.findings is not None:
            label = int(shown.findings.position_labels[point])
            where += f" · class {label}" if label >= 0 else " · left out"
            angle = float(shown.findings.orientation[point])
            where += f" · turned {angle:.0f}°" if np.isfinite(angle) else ""
        say(self.caption, where)

    def close(self) -> None:
        """Let go of the figure."""
        self.figure.close()
