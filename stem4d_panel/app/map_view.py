"""Real space: class colours over the virtual image, a component's map, orientations; a chosen position; the known truth."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
from holoviews.streams import Pipe, Tap

from stem4d_panel.app import palette
from stem4d_panel.app.figures import Box, bounds, contours, image_map, overlay_map, picture_options, to_index
from stem4d_panel.app.session import Session
from stem4d_panel.app.text import caption, say

MODES = ["classes", "component", "orientation", "virtual image"]
DIMS = ("map_x", "map_y")


class MapView:
    """The figure of real space and the choice of what it shows."""

    def __init__(self, session: Session, width: int) -> None:
        self.session, self.width = session, width
        self.mode = pmui.Select(label="Maps", options=MODES, value="classes", size="small", width=170, margin=(4, 6))
        self.truth = pmui.Switch(label="Truth", value=False, visible=False, margin=(8, 6), size="small")
        self.caption = caption("", width=width)
        self.pane = pn.pane.HoloViews(None, linked_axes=False, margin=0, width=width + 24, height=width + 16)
        self._image, self._overlay, self._outline, self._point = (Pipe(data=None) for _ in range(4))
        self._box: Box | None = None
        self._tap: Tap | None = None
        self.mode.param.watch(lambda _: self.refresh(), "value")
        self.truth.param.watch(lambda _: self.refresh(), "value")
        session.param.watch(lambda _: self.refresh(), "shown")
        session.param.watch(self._component_chosen, "component")
        session.param.watch(lambda _: self._mark(), "point")
        self.layout = pn.Column(
            pn.Row(self.mode, self.truth, margin=0, height=58), self.pane, self.caption, width=width + 34, margin=0
        )

    def _component_chosen(self, event: Any) -> None:
        before = self.mode.value
        if event.new is not None:
            self.mode.value = "component"
        elif before == "component":
            self.mode.value = "classes"
        if self.mode.value == before:
            self.refresh()

    def _build(self) -> None:
        y, x = self.session.shown.axes[:2]
        self._box = bounds(y, x)
        base = image_map(self._image, self._box, DIMS)
        colours = overlay_map(self._overlay, self._box, DIMS)
        outline = hv.DynamicMap(
            lambda data: hv.Path(data or [], list(DIMS)).opts(color="white", line_width=1.2, alpha=0.9),
            streams=[self._outline],
        )
        point = hv.DynamicMap(
            lambda data: hv.Points([data] if data else [], list(DIMS)).opts(
                marker="cross", size=14, color="white", line_width=2, line_color="white"
            ),
            streams=[self._point],
        )
        if self._tap is not None:
            self._tap.clear()
        self._tap = Tap(source=base, x=None, y=None)
        self._tap.add_subscriber(self._tapped)
        self.pane.object = (base * colours * outline * point).opts(**picture_options("maps", y, x, self.width))

    def _tapped(self, x: float | None, y: float | None) -> None:
        if x is not None and y is not None:
            axis_y, axis_x = self.session.shown.axes[:2]
            self.session.choose_point(*to_index(axis_y, axis_x, x, y))

    def refresh(self) -> None:
        """Draw what the session shows."""
        shown = self.session.shown
        if shown.axes is None or (shown.virtual is None and shown.survey is None):
            return
        y, x = shown.axes[:2]
        virtual = shown.virtual if shown.virtual is not None else shown.survey.total
        image, table, overlay, text = virtual, "gray", None, "counts inside the mask"
        mode = self.mode.value
        if shown.classes is not None:
            colours = palette.class_colours(shown.findings)
            if mode == "classes":
                crystalline = [c.crystalline for c in shown.findings.classes]
                overlay = palette.class_overlay(shown.classes.located, colours, crystalline)
                text = f"{sum(crystalline)} crystalline classes over the virtual image"
            elif mode == "component":
                k = self.session.component or 0
                image, table = shown.factors.maps[k], "inferno"
                text = f"map of component {k}, class {int(shown.classes.labels[k])}"
            elif mode == "orientation":
                overlay = palette.orientation_overlay(shown.findings.orientation)
                text = "in-plane rotation of the strongest crystalline member, modulo its symmetry"
        self._image.send((image, palette.limits(image), palette_name(table), bounds(y, x)))
        self._overlay.send(overlay)
        truth = getattr(shown.scan, "truth", None)
        self.truth.visible = truth is not None
        self._outline.send(contours(truth.masks, y, x) if truth is not None and self.truth.value else None)
        say(self.caption, text)
        if self._box != bounds(y, x):
            self._build()
        self._mark()

    def _mark(self) -> None:
        point = self.session.point
        if point is None:
            self._point.send(None)
            return
        y, x = self.session.shown.axes[:2]
        self._point.send((x.offset + x.scale * point[1], -(y.offset + y.scale * point[0])))

    def close(self) -> None:
        """Let go of the figure."""
        if self._tap is not None:
            self._tap.clear()
            self._tap.source = None
        self.pane.object = None


def palette_name(table: str) -> list[str]:
    """A colour map as hex colours, the same in the figure and in the mosaic."""
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.asarray(palette.lookup(table))]
