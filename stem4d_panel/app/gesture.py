"""Taps and drags on a figure; drags are told while the hand moves: the browser sends a point when the last has been drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bokeh.models import ColumnDataSource, CustomJS
from panel.io.document import hold

# a drag counts while no tool of the toolbar has it; between two answers only the newest point is kept
_MOVE = """
const kind = cb_obj.event_name
if (kind == "panstart") store.start = fig.toolbar.gestures.pan.active == null ? [cb_obj.x, cb_obj.y] : null
if (kind != "tap" && store.start == null) return
const [x0, y0] = kind == "tap" ? [cb_obj.x, cb_obj.y] : store.start
if (kind == "panend") store.start = null
const next = {x0: [x0], y0: [y0], x: [cb_obj.x], y: [cb_obj.y], kind: [kind]}
if (store.busy) store.next = next
else { store.busy = true; store.data = next }
"""
_ANSWERED = """
const next = store.next
store.next = null
if (next != null) store.data = next
else store.busy = false
"""


@dataclass(frozen=True)
class Drag:
    """From where to where a hand has moved so far, in the figure's coordinates, and whether it has let go."""

    x0: float
    y0: float
    x: float
    y: float
    ended: bool


class Gesture:
    """Tells of taps (x, y) and drags on each figure that a HoloViews plot draws."""

    def __init__(
        self, tapped: Callable[[float, float], None] | None = None, dragged: Callable[[Drag], None] | None = None
    ) -> None:
        self._tapped, self._dragged = tapped, dragged

    def hook(self, plot: Any, element: Any) -> None:
        """Listen to a figure, once."""
        figure = plot.state
        events = [*(["tap"] if self._tapped else []), *(["panstart", "pan", "panend"] if self._dragged else [])]
        if events[0] in figure.js_event_callbacks:
            return
        store = ColumnDataSource(data={n: [] for n in ("x0", "y0", "x", "y", "kind")}, tags=[0])
        move = CustomJS(args={"fig": figure, "store": store}, code=_MOVE)
        for event in events:
            figure.js_on_event(event, move)
        store.js_on_change("tags", CustomJS(args={"store": store}, code=_ANSWERED))
        store.on_change("data", lambda attr, old, new: self._hear(plot, store, new))

    def _hear(self, plot: Any, store: ColumnDataSource, data: Any) -> None:
        if not len(data["x0"]):
            return
        x0, y0, x, y = (float(data[n][0]) for n in ("x0", "y0", "x", "y"))
        kind = data["kind"][0]
        with hold(plot.document, comm=plot.comm):
            try:
                if kind != "tap" and self._dragged is not None:
                    self._dragged(Drag(x0, y0, x, y, kind == "panend"))
                elif kind == "tap" and self._tapped is not None:
                    self._tapped(x, y)
            finally:
                store.tags = [store.tags[0] + 1]
