"""Reciprocal space: the mean pattern with its mask, class and component patterns; detectors and radii drawn on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app.gesture import Drag
from stem4d_panel.app.look_bar import LookBar
from stem4d_panel.app.pattern_figure import PatternFigure, detector_axes, nm_unit
from stem4d_panel.app.preparation import MEAN, WHOLE, bad_pixels, whole_pattern
from stem4d_panel.app.session import Session
from stem4d_panel.app.stills import Still
from stem4d_panel.app.text import caption_below, say
from stem4d_panel.measure.products import symmetrised
from stem4d_panel.measure.virtual import Detector, Outline
from stem4d_panel.prepare.masks import polygons
from stem4d_panel.results.class_text import class_name
from stem4d_panel.results.geometry import circle
from stem4d_panel.scan.scan import Axis

MODES = [MEAN, "class", "class, symmetrised", "component", *(m for m in WHOLE if m != MEAN)]
DISC, RING, OUTLINE, NOTHING = "disc detector", "ring detector", "outlined detector", "no detector"
RADII, STOP = "mask radii", "beam stop"
_CORNERS = 24  # of a beam stop that is drawn
_LEAST = 0.5  # radius of a disc, px; a smaller one takes the detector away


class PatternView:
    """The figure of reciprocal space, the choice of what it shows and of what a drag draws."""

    def __init__(self, session: Session, width: int, bar: LookBar) -> None:
        self.session, self.bar = session, bar
        self.mode = pmui.Select(label="Patterns", options=MODES, value=MODES[0], size="small", width=150, margin=(4, 4))
        self.draw = pmui.Select(
            label="A drag draws",
            options=[DISC, RING, OUTLINE, RADII, STOP, NOTHING],
            value=DISC,
            size="small",
            width=140,
            margin=(4, 4),
        )
        self.caption = caption_below(width - 76)
        self.figure = PatternFigure("patterns", width, self._dragged)
        self._start: tuple[tuple[float, float], Detector | Outline | None] | None = None
        self.mode.param.watch(lambda _: self.refresh(), "value")
        self.draw.param.watch(self._draw_chosen, "value")
        bar.watch(self.refresh)
        session.param.watch(lambda _: self.refresh(), "shown_after")
        session.param.watch(lambda _: self._pointed(), "point")
        session.param.watch(self._component_chosen, ["component", "label"])
        session.param.watch(lambda _: self._mark(), "detector")
        self.layout = pn.Column(
            pn.Row(self.mode, self.draw, margin=0, height=58),
            self.figure.pane,
            pn.Row(self.caption, bar.rings, margin=0),
            width=width + 34,
            margin=0,
        )

    def _component_chosen(self, *events: Any) -> None:
        before = self.mode.value
        if self.session.component is not None and before in WHOLE:
            self.mode.value = "component"
        elif self.session.label is not None and not before.startswith("class"):
            self.mode.value = "class"
        elif self.session.component is None and before == "component":
            self.mode.value = MEAN
        if self.mode.value == before:
            self.refresh()

    def _pointed(self) -> None:
        if self.mode.value.startswith("class"):  # of the class at the point
            self.refresh()

    # ---- what a hand draws -------------------------------------------------------------------------------------------

    def _draw_chosen(self, event: Any) -> None:
        if event.new == NOTHING:
            self.session.detector = None

    def _dragged(self, drag: Drag) -> None:
        shown = self.session.shown
        if shown.axes is None or shown.look is None:
            return
        step = detector_axes(shown)[1].scale
        start, now = (-drag.y0 / step, drag.x0 / step), (-drag.y / step, drag.x / step)  # ky, kx in px from the beam
        if self._start is None or self._start[0] != start:
            self._start = start, self.session.detector
        if self.draw.value == RADII:
            self._move_radius(float(np.hypot(*start)), float(np.hypot(*now)), drag.ended)
        elif self.draw.value == RING:
            inner, outer = sorted((float(np.hypot(*start)), float(np.hypot(*now))))
            self._draw_detector(Detector(0.0, 0.0, inner, outer), drag)
        elif self.draw.value == STOP:
            self._outline_stop(drag)
        elif self.draw.value in (DISC, OUTLINE):
            self._draw_detector(self._moved(start, now) or self._drawn(drag, step, start, now), drag)
        if drag.ended:
            self._start = None

    def _draw_detector(self, detector: Detector | Outline | None, drag: Drag) -> None:
        self.session.param.update(detector=detector, drawing=not drag.ended)

    def _moved(self, start: tuple[float, float], now: tuple[float, float]) -> Detector | Outline | None:
        """The disc or outline moved that the drag began in."""
        before = self._start[1] if self._start is not None else None
        if before is None or (isinstance(before, Detector) and before.inner > 0):
            return None
        if not before.covers(np.array(start[0]), np.array(start[1])):
            return None
        return before.moved(now[0] - start[0], now[1] - start[1])

    def _drawn(self, drag: Drag, step: float, start: tuple[float, float], now: tuple[float, float]) -> Any:
        """A new disc around the start of a drag, or what its way encloses; None if it has no size."""
        if self.draw.value == OUTLINE:
            return Outline(tuple((-y / step, x / step) for x, y in drag.line)) if len(drag.line) > 2 else None
        radius = float(np.hypot(now[0] - start[0], now[1] - start[1]))
        return Detector(*start, 0.0, radius) if radius >= _LEAST else None

    def _outline_stop(self, drag: Drag) -> None:
        """What a drag encloses is left out of the mask, when the hand lets go, beside what was drawn before."""
        y, x = detector_axes(self.session.shown)
        if not drag.ended:
            self._mark(line=drag.line)
            return
        line = drag.line[:: -(-len(drag.line) // _CORNERS)] if drag.line else ()
        corners = [
            (min(max((-py - y.offset) / y.scale, 0), y.size), min(max((px - x.offset) / x.scale, 0), x.size))
            for px, py in line
        ]
        before = self.session.settings.prepare.beam_stop
        kept = [before] if before and polygons(before) else []
        if len(corners) > 2:
            drawn = " ".join(f"{ky:.1f},{kx:.1f}" for ky, kx in corners)
            self.session.change({"prepare.beam_stop": "; ".join([*kept, drawn])})
        self._mark()

    def _move_radius(self, start: float, now: float, ended: bool) -> None:
        """The mask's nearer radius follows the hand, and is set when it lets go."""
        look = self.session.shown.look
        name = min(("inner", "outer"), key=lambda n: abs(getattr(look, n) - start))
        if ended:
            self.session.change({f"prepare.mask_{name}": round(now, 1)})
        else:
            self._mark({name: now})

    def still(self) -> Still | None:
        """The picture without what is drawn on it."""
        return self.figure.still(self.mode.value)

    # ---- what is drawn -----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draw what the session shows."""
        shown = self.session.shown
        if shown.look is None and shown.mean_pattern is None:
            return
        field = detector_axes(shown)
        text, image, axes = self._content()
        raw = shown.look is not None and axes == field
        inner = shown.look.inner * field[1].scale if raw else 0.0
        self.figure.calibrate(field[1].units, nm_unit(shown))
        self.figure.draw(image, axes, field, self.bar.look, inner)
        self._mark()
        say(self.caption, text)

    def _content(self) -> tuple[str, np.ndarray, tuple[Axis, Axis]]:
        shown, mode = self.session.shown, self.mode.value
        if mode in WHOLE or shown.classes is None:
            return whole_pattern(shown, mode)
        if mode == "component":
            k = self.session.component or 0
            home, turn = shown.findings.classes[int(shown.classes.labels[k])], float(shown.classes.rotations[k])
            return (
                f"component {k}, {class_name(home)}, turned by {turn:.1f}°",
                shown.factors.patterns[k],
                shown.axes[2:],
            )
        label = self.session.chosen_class()
        n = len(shown.classes.members(label))
        image = shown.classes.patterns[label]
        text = f"{class_name(shown.findings.classes[label])}: " + (
            f"rotation-corrected mean of {n} components" if n > 1 else "one component"
        )
        if mode != "class":
            fold = shown.findings.classes[label].fold
            image = symmetrised(image, shown.factors.mask, shown.centre, fold)
            text += f", {fold}-fold mean" if fold > 1 else ", no symmetry found"
        return text, image, shown.axes[2:]

    def _mark(self, moved: dict[str, float] | None = None, line: tuple[tuple[float, float], ...] = ()) -> None:
        """The mask's circles and beam stops on the mean pattern, one perhaps being moved or drawn; and the detector."""
        shown, detector = self.session.shown, self.session.detector
        if shown.axes is None:
            return
        step = detector_axes(shown)[1].scale
        rings: tuple[float, ...] = ()
        stops: list[np.ndarray] = [np.array(line)] if len(line) > 1 else []
        if shown.look is not None and (moved or self.mode.value in WHOLE or shown.classes is None):
            at = {"inner": shown.look.inner, "outer": shown.look.outer, **(moved or {})}
            rings = (at["inner"] * step, at["outer"] * step)
            stops += [*self._stops(), *bad_pixels(shown, self.mode.value)]
        drawn = []
        if isinstance(detector, Outline):
            corners = np.array([*detector.corners, detector.corners[0]]) * step
            drawn = [corners[:, ::-1] * (1, -1)]
        elif detector is not None:
            radii = [r for r in (detector.inner, detector.outer) if r > 0]
            drawn = [circle(r * step, detector.kx * step, -detector.ky * step) for r in radii]
        self.figure.mark(rings, drawn, stops)

    def _stops(self) -> list[np.ndarray]:
        """Outlines of the beam stops in the settings."""
        y, x = detector_axes(self.session.shown)
        return [
            np.stack([x.offset + x.scale * c[:, 1], -(y.offset + y.scale * c[:, 0])], axis=1)
            for c in (np.vstack([p, p[:1]]) for p in polygons(self.session.settings.prepare.beam_stop or ""))
        ]
