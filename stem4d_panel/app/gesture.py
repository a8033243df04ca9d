"""Taps and drags on a figure; drags are told while the hand moves: the browser sends a point when the last has been drawn."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bokeh.models import ColumnDataSource, CustomJS
from panel.io.state import state

from stem4d_panel.app.figures import held
from stem4d_panel.runtime.jobs import compute

# a drag counts while no tool of the toolbar has it; between two answers only the newest point is kept
_MOVE = """
const kind = cb_obj.event_name
if (kind == "panstart") store.start = fig.toolbar.gestures.pan.active == null ? [cb_obj.x, cb_obj.y] : null
if (kind != "tap" && store.start == null) return
const [x0, y0] = kind == "tap" ? [cb_obj.x, cb_obj.y] : store.start
if (kind == "panend") store.start = null
if (kind == "panstart") store.line = {x: [x0], y: [y0], sx: cb_obj.sx, sy: cb_obj.sy}
const line = kind == "tap" ? {x: [], y: []} : store.line
if (kind != "tap" && line.x.length < most && Math.hypot(cb_obj.sx - line.sx, cb_obj.sy - line.sy) >= apart) {
  line.x.push(cb_obj.x); line.y.push(cb_obj.y); line.sx = cb_obj.sx; line.sy = cb_obj.sy }
const next = {x0: [x0], y0: [y0], x: [cb_obj.x], y: [cb_obj.y], kind: [kind], xs: [[...line.x]], ys: [[...line.y]]}
store.count = (store.count ?? 0) + 1
next.count = [store.count]  // equal data would not be sent: a second tap on one place
if (store.busy) store.next = next
else { store.busy = true; store.data = next }
"""
_ANSWERED = """
const next = store.next
store.next = null
if (next != null) store.data = next
else store.busy = false
"""


_MOST, _APART = 200, 4  # points of a line, and how many pixels of the screen they are apart


# in the same way of the point that lies next to the mouse, when it is another one; none beyond `reach` screen pixels
_HOVER = """
const ux = (fig.x_range.end - fig.x_range.start) / fig.inner_width, uy = (fig.y_range.end - fig.y_range.start) / fig.inner_height
let best = -1, least = reach
if (cb_obj.event_name != "mouseleave") points.data.x.forEach((x, i) => {
  const far = Math.hypot((cb_obj.x - x) / ux, (cb_obj.y - points.data.y[i]) / uy)
  if (far < least) { least = far; best = i }
})
if (best == (store.last ?? -1)) return
store.last = best
const next = {point: [best]}
if (store.busy) store.next = next
else { store.busy = true; store.data = next }
"""
_REACH = 16


@dataclass(frozen=True)
class Drag:
    """From where to where a hand has moved so far, in the figure's coordinates, and whether it has let go.

    `line` is the way that it took, as points (x, y).
    """

    x0: float
    y0: float
    x: float
    y: float
    ended: bool
    line: tuple[tuple[float, float], ...] = ()


def _listen(
    plot: Any, events: list[str], columns: tuple[str, ...], code: str, hear: Callable[[Any], None], **args: Any
) -> None:
    """Run `code` in the browser on events of a figure; what it stores is heard here, and answered when it is drawn."""
    store = ColumnDataSource(data={name: [] for name in columns}, tags=[0])
    move = CustomJS(args={"fig": plot.state, "store": store, **args}, code=code)
    for event in events:
        plot.state.js_on_event(event, move)
    store.js_on_change("tags", CustomJS(args={"store": store}, code=_ANSWERED))

    def heard(attr: str, old: Any, data: Any) -> None:
        if not len(data[columns[0]]):
            return
        if plot.comm is None and plot.document in state._change_callbacks:
            plot.document.add_next_tick_callback(partial(after_widgets, data))
        elif plot.comm is None:
            take(data)
        else:  # in a notebook Panel forgets what changes while it takes in a message
            asyncio.get_running_loop().call_soon(take, data)

    async def after_widgets(data: Any) -> None:
        """Panel waits a moment with what a widget has told; a drag is meant as was chosen before it."""
        for change in list(state._change_callbacks.get(plot.document, {}).values()):
            await change()
        take(data)

    def take(data: Any) -> None:
        compute.hush()
        with held(plot):
            try:
                hear(data)
            finally:
                store.tags = [store.tags[0] + 1]

    store.on_change("data", heard)


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
        columns = ("x0", "y0", "x", "y", "kind", "xs", "ys", "count")
        _listen(plot, events, columns, _MOVE, self._hear, most=_MOST, apart=_APART)

    def _hear(self, data: Any) -> None:
        x0, y0, x, y = (float(data[n][0]) for n in ("x0", "y0", "x", "y"))
        kind = data["kind"][0]
        if kind != "tap" and self._dragged is not None:
            line = tuple(zip(data["xs"][0], data["ys"][0], strict=True))
            self._dragged(Drag(x0, y0, x, y, kind == "panend", line))
        elif kind == "tap" and self._tapped is not None:
            self._tapped(x, y)


class Hover:
    """Tells which of some points lies under the mouse, by its number; None where there is none."""

    def __init__(self, told: Callable[[int | None], None]) -> None:
        self._told = told
        self._data: dict[str, list[float]] = {"x": [], "y": []}
        self._points: weakref.WeakKeyDictionary[Any, ColumnDataSource] = weakref.WeakKeyDictionary()

    def hook(self, plot: Any, element: Any) -> None:
        """Listen to a figure, once."""
        if plot in self._points:
            return
        self._points[plot] = points = ColumnDataSource(self._data)
        _listen(plot, ["mousemove", "mouseleave"], ("point",), _HOVER, self._hear, points=points, reach=_REACH)

    def watch(self, x: list[float], y: list[float]) -> None:
        """Watch other points."""
        self._data = {"x": x, "y": y}
        for plot, points in self._points.items():
            with held(plot):
                points.data = self._data

    def _hear(self, data: Any) -> None:
        point = int(data["point"][0])
        self._told(point if 0 <= point < len(self._data["x"]) else None)
