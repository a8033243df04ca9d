"""Real space: class colours over the virtual image, a component's map, orientations; a chosen position or region."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app import palette, preparation
from stem4d_panel.app.figures import Frame, Paint, Picture, contours, coordinates, lines, to_index
from stem4d_panel.app.gesture import Drag, Gesture
from stem4d_panel.app.readout import Readout
from stem4d_panel.app.session import Session
from stem4d_panel.app.sizes import frame_size
from stem4d_panel.app.stills import Still
from stem4d_panel.app.text import caption_below, say
from stem4d_panel.errors import Stem4dError
from stem4d_panel.measure.products import memberships
from stem4d_panel.results.class_text import class_name
from stem4d_panel.results.geometry import bounds

MODES = [
    "classes", "class share", "component", "orientation", "virtual image", "virtual detector", *preparation.BEAM,
]  # fmt: skip
OVER = ["all counts", "detector", "black"]  # what lies below the colours of classes and orientations
DIMS = ("map_x", "map_y")


class MapView:
    """The figure of real space and the choice of what it shows."""

    def __init__(self, session: Session, width: int) -> None:
        self.session, self.width = session, width
        self.mode = pmui.Select(label="Maps", options=MODES, value="classes", size="small", width=148, margin=(4, 4))
        self.over = pmui.Select(label="Over", options=OVER, value=OVER[0], size="small", width=100, margin=(4, 4))
        self.truth = pmui.Switch(label="Truth", value=False, visible=False, margin=(8, 6), size="small")
        self.caption = caption_below(width)
        self._outlines, self._chosen, self._arrows = lines("white", 1.2), lines("white", 2), lines("#7fe5ff", 1.3)
        self._readout = Readout("map")
        gesture = Gesture(self._tapped, self._dragged)
        hooks = (gesture.hook, *(layer.hook for layer in (self._outlines, self._arrows, self._chosen, self._readout)))
        self._frame = Frame("maps", (width, width), *hooks, scaled=True)
        self._picture = Picture(self._frame, DIMS)
        self._classes: tuple[Any, np.ndarray] | None = None  # strengths of the classes that were drawn last
        self.pane = self._frame.pane(self._picture.layer)
        self.mode.param.watch(lambda _: self.refresh(), "value")
        self.over.param.watch(lambda _: self.refresh(), "value")
        self.truth.param.watch(lambda _: self._mark(), "value")
        session.param.watch(lambda _: self.refresh(), "shown_after")
        session.param.watch(self._component_chosen, ["component", "label"])
        session.param.watch(lambda *_: self._pointed(), ["point", "region"])
        session.param.watch(lambda *_: self._detector_moved(), ["detector", "drawing"])
        self.layout = pn.Column(
            pn.Row(self.mode, self.over, self.truth, margin=0, height=58),
            self.pane,
            self.caption,
            width=width + 34,
            margin=0,
        )

    def _component_chosen(self, *events: Any) -> None:
        before = self.mode.value
        if self.session.component is not None:
            self.mode.value = "component"
        elif self.session.label is not None:
            self.mode.value = "class share"
        elif before == "component":
            self.mode.value = "classes"
        if self.mode.value == before:
            self.refresh()

    def _tapped(self, x: float, y: float) -> None:
        if self.session.shown.axes is not None:
            axis_y, axis_x = self.session.shown.axes[:2]
            self.session.choose_point(*to_index(axis_y, axis_x, x, y))

    def _dragged(self, drag: Drag) -> None:
        if self.session.shown.axes is not None:
            y, x = self.session.shown.axes[:2]
            self.session.choose_region(*to_index(y, x, drag.x0, drag.y0), *to_index(y, x, drag.x, drag.y))

    def _detector_moved(self) -> None:
        if self.over.value == "detector" and self.mode.value in ("classes", "orientation"):
            self.refresh()
        elif self.session.detector is None:
            self.mode.value = "classes" if self.mode.value == "virtual detector" else self.mode.value
        elif self.mode.value != "virtual detector":
            self.mode.value = "virtual detector"
        else:
            self.refresh()

    def still(self) -> Still | None:
        """The picture without what is drawn on it."""
        return self._picture.still(self.mode.value)

    # ---- what is drawn -----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draw what the session shows."""
        shown = self.session.shown
        if shown.axes is None or (shown.virtual is None and shown.survey is None):
            return
        y, x = shown.axes[:2]
        try:
            text, paint, arrays, arrows = self._content()
        except Stem4dError as error:
            self.session.say("error", str(error))
            return
        self._frame.resize(bounds(y, x), frame_size(y, x, self.width), x.units)
        self._readout.calibrate(x.units, axes=(y, x))
        self._picture.show(bounds(y, x), paint, *arrays)
        self._arrows.show(**coordinates(arrows))
        say(self.caption, text)
        truth = getattr(shown.scan, "truth", None)
        self.truth.visible = truth is not None
        self._mark()

    def _content(self) -> tuple[str, Paint, tuple[np.ndarray, ...], list[np.ndarray]]:
        """What the caption says, what is painted of which arrays, and arrows."""
        if self.mode.value in preparation.BEAM and self.session.shown.look is not None:
            text, paint, image, arrows = preparation.beam(self.session.shown, self.mode.value)
            return text, paint, (image,), arrows
        return *self._picture_of(self.mode.value), []

    def _picture_of(self, mode: str) -> tuple[str, Paint, tuple[np.ndarray, ...]]:
        shown = self.session.shown
        virtual = shown.virtual if shown.virtual is not None else shown.survey.total
        if mode == "virtual detector" and self.session.detector is not None and shown.look is not None:
            image, name = self._seen_by_detector()
            return f"virtual image of {name}", palette.plain(image, "gray"), (image,)
        below = palette.plain(virtual, "gray")
        if shown.classes is None or mode in ("virtual image", "virtual detector", *preparation.BEAM):
            draw = "; draw a detector on the patterns" if mode == "virtual detector" else ""
            return f"counts inside the mask{draw}", below, (virtual,)
        if mode == "class share":
            label = self.session.chosen_class()
            share = memberships(shown.classes.located)[label]
            text = f"part of the fitted intensity that {class_name(shown.findings.classes[label])} makes, up to {100 * share.max():.0f} %"
            return text, palette.plain(share, "inferno"), (share,)
        if mode == "component":
            k = self.session.component or 0
            text = f"map of component {k}, {class_name(shown.findings.classes[int(shown.classes.labels[k])])}"
            return text, palette.plain(shown.factors.maps[k], "inferno"), (shown.factors.maps[k],)
        virtual, under, below = self._below(virtual, below)
        if mode == "orientation":
            angles = palette.orientation_overlay(shown.findings.orientation, palette.periods(shown.findings))
            text = f"in-plane rotation of the strongest crystalline member, modulo its symmetry, over {under}"
            return text, partial(coloured_over, below), (virtual, np.moveaxis(angles, -1, 0).astype(np.float32))
        crystalline = [c.label for c in shown.findings.classes if c.crystalline]
        if not crystalline:
            return f"no crystalline class; {under}", below, (virtual,)
        colours = shown.colours
        if self._classes is None or self._classes[0] is not shown.classes:
            self._classes = shown.classes, palette.strengths(shown.classes.located[crystalline])
        paint = partial(_classes_over, below, [colours[i] for i in crystalline])
        return f"{len(crystalline)} crystalline classes over {under}", paint, (virtual, self._classes[1])

    def _below(self, virtual: np.ndarray, paint: Paint) -> tuple[np.ndarray, str, Paint]:
        """What lies below the colours: an image, its name, how it is painted."""
        if self.over.value == "detector" and self.session.detector is not None and self.session.shown.look is not None:
            image, name = self._seen_by_detector()
            return image, name, palette.plain(image, "gray")
        if self.over.value == "black":
            return virtual, "black", _black
        missing = " (no detector is drawn on the patterns)" if self.over.value == "detector" else ""
        return virtual, f"the virtual image{missing}", paint

    def _seen_by_detector(self) -> tuple[np.ndarray, str]:
        """What the virtual detector sees, and what it is."""
        image, step = self.session.virtual_image(), self.session.virtual_step()
        return image, f"the {self.session.detector}{f', one position in {step} each way' if step > 1 else ''}"

    def _pointed(self) -> None:
        if self.mode.value == "class share":  # of the class at the point
            self.refresh()
        else:
            self._mark()

    def _mark(self) -> None:
        shown, point, region = self.session.shown, self.session.point, self.session.region
        if shown.axes is None:
            return
        y, x = shown.axes[:2]
        truth = getattr(shown.scan, "truth", None)
        outlines = contours(truth.masks, y, x) if truth is not None and self.truth.value else []
        if outlines or self._outlines.data["xs"]:
            self._outlines.show(**coordinates(outlines))
        chosen = _cross(point, y, x) if point is not None else _rectangle(region, y, x) if region else []
        self._chosen.show(**coordinates(chosen))


def _black(image: np.ndarray) -> np.ndarray:
    out = np.zeros((*image.shape, 4), np.uint8)
    out[..., 3] = 255
    return out


def coloured_over(below: Paint, image: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A picture given as layers (4, y, x) over an image."""
    return palette.over(below(image), np.moveaxis(colours, 0, -1).astype(np.uint8))


def _classes_over(below: Paint, colours: list[str], image: np.ndarray, strength: np.ndarray) -> np.ndarray:
    return palette.over(below(image), palette.class_overlay(strength, colours))


def _cross(point: tuple[int, int], y: Any, x: Any) -> list[np.ndarray]:
    """A cross around a position, in the figure's coordinates, open in its middle."""
    cy, cx = -(y.offset + y.scale * point[0]), x.offset + x.scale * point[1]
    near, far = 0.012 * y.size * y.scale, 0.04 * y.size * y.scale
    return [
        np.array([[cx + a * near, cy + b * near], [cx + a * far, cy + b * far]])
        for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]


def _rectangle(region: tuple[int, int, int, int], y: Any, x: Any) -> list[np.ndarray]:
    """The outline of a region."""
    y0, x0, y1, x1 = region
    top, bottom = (-(y.offset + y.scale * v) for v in (y0 - 0.5, y1 + 0.5))
    left, right = (x.offset + x.scale * v for v in (x0 - 0.5, x1 + 0.5))
    return [np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])]
