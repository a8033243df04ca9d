"""The dendrogram, drawn from our own tree so that inversions stay, with a threshold line to drag."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
from bokeh.models import BoxAnnotation, CustomJS, Span

from stem4d_panel.app.figures import Frame, Glyphs, held
from stem4d_panel.app.gesture import Gesture, Hover
from stem4d_panel.app.merge_view import MergeView
from stem4d_panel.app.plain import pane
from stem4d_panel.app.session import Session
from stem4d_panel.app.text import caption_below, heading, say
from stem4d_panel.results.geometry import ABOVE, branches, junctions

_ROOM = 1.08  # the figure's height by the greatest one drawn in it
_STEP = 1e-4  # of the threshold; less is no change
_GRASP = 17  # pixels of the screen in which a hand gets hold of the line
_FOLLOW = "line.setv({location: cb_obj.location}, {sync: false})"


def _columns(rows: list[Any], *names: str) -> dict[str, list[Any]]:
    """Rows as named columns."""
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _add_trunk(figure: Any, source: Any) -> None:
    figure.segment("x0", "y0", "x1", "y1", source=source, line_color=ABOVE, line_width=2.2)


def _add_branches(figure: Any, source: Any) -> None:
    """Branches in the colours of their classes, over the grey tree."""
    figure.segment("x0", "y0", "x1", "y1", source=source, line_color="colour", line_width=2.2)


def _add_leaves(figure: Any, source: Any) -> None:
    """Numbers of the components below their branches, upright so that they never overlap."""
    figure.text(
        "x", 0, text="text", text_color="#808080", source=source, y_offset=4, text_font_size="9pt", text_baseline="middle",
        text_align="right", angle=np.pi / 2, text_font_style="bold",
    )  # fmt: skip


class TreeView:
    """Dendrogram with its threshold."""

    def __init__(self, session: Session, width: int, height: int) -> None:
        self.session = session
        self.caption = caption_below(width, lines=3)
        title = heading("Dendrogram · drag the line, tap a branch")
        self._trunk = Glyphs(_add_trunk, "x0", "y0", "x1", "y1")
        self._branches = Glyphs(_add_branches, "x0", "y0", "x1", "y1", "colour")
        self._leaves = Glyphs(_add_leaves, "x", "text")
        self._drawn: Any = None  # the tree whose lines are drawn
        self._hand: tuple[Span, float] | None = None  # a line that was moved by a hand, and where to
        self._putting = False  # whether the program moves one
        self._top = 0.0  # the greatest height that is drawn of it
        self._hover = Hover(self._pointed)
        glyphs = (self._trunk, self._branches, self._leaves)
        hooks = (*(g.hook for g in glyphs), self._draw_threshold, Gesture(self._tapped).hook, self._hover.hook)
        self._frame = Frame("dendrogram", (width, height), *hooks)
        self.pane = pane(self._frame, y="1 − correlation", tools="ywheel_zoom,reset,save")
        session.param.watch(lambda *_: self.refresh(), ["shown", "component"])
        self.merge = MergeView(session, width)
        self.layout = pn.Column(title, self.pane, self.caption, margin=0, width=width + 74)

    def _draw_threshold(self, plot: Any, element: Any) -> None:
        """The line, a band around it that a hand finds, and a zone where unrelated patterns join by chance."""
        threshold, chance = self._threshold(), self._chance()
        visible = self.session.shown.classes is not None
        band = next((m for m in plot.state.center if isinstance(m, Span) and m.editable), None)
        if band is None:
            common = {"location": threshold, "dimension": "width", "line_color": "#d62728", "visible": visible}
            line = Span(line_width=3, line_dash="dashed", **common)
            band = Span(line_width=_GRASP, line_alpha=0.12, editable=True, **common)
            band.on_change("location", lambda attr, old, new: self._moved(plot, band, float(new)))
            band.js_on_change("location", CustomJS(args={"line": line}, code=_FOLLOW))
            band.js_link("visible", line, "visible")
            zone = BoxAnnotation(bottom=chance, fill_color="#8a8a8a", fill_alpha=0.13, line_alpha=0)
            for annotation in (zone, line, band):
                plot.state.add_layout(annotation)
            return
        band.visible = visible
        if self._hand != (band, self.session.wanted("cluster.threshold")):  # else the hand may be further already
            self._put(band, threshold)
        zone = next(m for m in plot.state.center if isinstance(m, BoxAnnotation))
        if zone.bottom != chance:
            zone.bottom = chance

    def _chance(self) -> float:
        tree = self.session.shown.tree
        return float(tree.suggestion.chance) if tree is not None else 2.0

    def _threshold(self) -> float:
        classes = self.session.shown.classes
        return float(classes.threshold) if classes is not None else 0.0

    def _put(self, band: Span, threshold: float) -> None:
        """Let the line stand where the program wants it."""
        if abs(band.location - threshold) >= _STEP:
            self._hand, self._putting = None, True
            try:
                band.location = threshold
            finally:
                self._putting = False

    def _moved(self, plot: Any, band: Span, new: float) -> None:
        if self._putting:
            return
        value = round(min(max(new, 0.0), self._highest()), 4)  # above all merges a hand would lose it
        if value < new - _STEP:
            with held(plot):
                self._put(band, value)
        wanted = self.session.wanted("cluster.threshold")
        # a hand that goes beyond a suggested one at the top states that one
        if abs(new - self._threshold() if wanted is None else value - wanted) >= _STEP:
            self._hand = (band, value)
            self.session.change_soon({"cluster.threshold": value}, lambda: held(plot))

    def _highest(self) -> float:
        """Where the line still lies in the figure."""
        return min(2.0, self._frame.box[3] / _ROOM)

    def _tapped(self, x: float, y: float) -> None:
        """Choose the class of a branch below the line, or let it go."""
        shown = self.session.shown
        if shown.tree is None or y > self._threshold() or not 0 <= round(x) < shown.tree.size:
            return
        label = int(shown.classes.labels[shown.tree.order[round(x)]])
        self.session.choose_class(None if label == self.session.label else label)

    def _pointed(self, merge: int | None) -> None:
        """Show what the merge under the mouse has joined; the last one stays."""
        if merge is not None and self.session.shown.tree is self._drawn:
            self.merge.show(merge)

    def refresh(self) -> None:
        """Draw the tree that the session shows."""
        shown = self.session.shown
        if shown.tree is None or shown.classes is None:
            return
        tree, classes = shown.tree, shown.classes
        colours = shown.colours
        chosen = self.session.component
        segments = branches(tree, classes, colours)
        if self._drawn is not tree:
            self._drawn = tree
            self._top = max(0.3, *tree.merges[:, 2].tolist(), tree.suggestion.threshold)
            self._hover.watch(*(at[tree.size :].tolist() for at in junctions(tree)))
            self._trunk.show(**_columns([segment[:4] for segment in segments], "x0", "y0", "x1", "y1"))
        self._top = max(self._top, classes.threshold)  # never less, or the figure would move under the hand that drags
        top = _ROOM * self._top
        self._frame.resize((-0.7, -0.09 * top, tree.size - 0.3, top), self._frame.size)
        coloured = [segment for segment in segments if segment[4] != ABOVE]
        self._branches.show(**_columns(coloured, "x0", "y0", "x1", "y1", "colour"))
        self._frame.redraw(self._draw_threshold)
        self._leaves.show(
            x=list(range(tree.size)),
            text=[f"▸{k}" if k == chosen else str(k) for k in tree.order],
        )
        note = f"{classes.count} classes at {classes.threshold:.3f}" + (" (suggested)" if classes.suggested else "")
        if tree.inversions:
            note += f" · {tree.inversions} merge{'s' if tree.inversions > 1 else ''} below one joined before (drawn as found)"
        if tree.suggestion.chance < 1:
            note += f" · shaded: above {tree.suggestion.chance:.2f} unrelated patterns join by chance"
        say(self.caption, note)
