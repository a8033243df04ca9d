"""What lies under the mouse, written into the figure by the browser alone."""

from __future__ import annotations

import weakref
from typing import Any

from bokeh.models import CustomJS, Label

from stem4d_panel.app.figures import held
from stem4d_panel.scan.scan import Axis

# not synchronised: nobody but the reader of the figure wants it
_MOVE = """
const [what, unit, factor, sy, sx, y0, x0] = label.tags
let text = ""
if (cb_obj.event_name != "mouseleave") {
  const x = cb_obj.x, y = -cb_obj.y
  if (what == "map") {
    text = `y ${Math.round((y - y0) / sy)}, x ${Math.round((x - x0) / sx)}`
    if (unit != "px") text += ` · ${y.toFixed(1)}, ${x.toFixed(1)} ${unit}`
  } else {
    const k = Math.hypot(x, y), turn = (Math.atan2(y, x) * 180 / Math.PI + 360) % 360
    text = `${k.toPrecision(3)} ${unit} · ${Math.round(turn) % 360}°`
    if (factor > 0 && k > 0) text = `d ${(factor / k).toFixed(3)} nm · ` + text
  }
}
label.setv({text: text, visible: text != ""}, {sync: false})
"""


class Readout:
    """Position on a map, or spacing, length and direction in a pattern, at the mouse."""

    def __init__(self, what: str) -> None:
        self._tags: list[Any] = [what, "px", 0.0, 1.0, 1.0, 0.0, 0.0]
        self._labels: weakref.WeakKeyDictionary[Any, Label] = weakref.WeakKeyDictionary()

    def hook(self, plot: Any, element: Any) -> None:
        """Add it to a figure of HoloViews, once."""
        if plot in self._labels:
            return
        label = Label(
            x=4, y=4, x_units="screen", y_units="screen", text="", visible=False, text_font_size="11px", padding=3,
            text_color="white", background_fill_color="black", background_fill_alpha=0.6, name="readout",
            anchor="bottom_right",
        )  # fmt: skip
        label.update(x=plot.state.frame_width - 4)
        label.tags = self._tags
        plot.state.add_layout(label)
        self._labels[plot] = label
        move = CustomJS(args={"label": label}, code=_MOVE)
        for event in ("mousemove", "mouseleave"):
            plot.state.js_on_event(event, move)

    def calibrate(self, unit: str, factor: float | None = None, axes: tuple[Axis, Axis] | None = None) -> None:
        """Tell the unit of the figure's coordinates, and what follows from them.

        Parameters
        ----------
        unit : str
        factor : float, optional
            Of a pattern: nm times a unit; a spacing is `factor` divided by a length.
        axes : (Axis, Axis), optional
            Of a map: y and x.
        """
        steps = (
            [v for name in ("scale", "offset") for v in (getattr(a, name) for a in axes)] if axes else self._tags[3:]
        )
        tags = [self._tags[0], unit, factor or 0.0, *steps]
        if tags == self._tags:
            return
        self._tags = tags
        for plot, label in self._labels.items():
            with held(plot):
                label.update(tags=tags, x=plot.state.frame_width - 4)
