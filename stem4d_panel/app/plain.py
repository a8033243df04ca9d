"""Figures that Bokeh draws alone: charts, and pictures that need no finer look. A page has them sooner than by HoloViews."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import param
from bokeh.models import LinearColorMapper, Range1d
from bokeh.plotting import figure

from stem4d_panel.app import palette
from stem4d_panel.app.figures import Frame, Glyphs, same
from stem4d_panel.results.geometry import Box


class Place:
    """One figure in one page, as hooks know it from HoloViews."""

    def __init__(self, state: Any, document: Any, comm: Any) -> None:
        self.state, self.document, self.comm = state, document, comm


class FigurePane(pn.pane.Bokeh):
    """A figure of its own in each page that shows it.

    Parameters
    ----------
    make : callable
        Makes the figure.
    hooks : list of callables
        Called with the place of each new figure, and None.
    """

    def __init__(self, make: Callable[[], Any], hooks: list[Callable[[Any, Any], None]]) -> None:
        # dispatched by our own hooks: Panel's way of it leaves the page's document on hold, and the rest of a message unheard
        super().__init__(None, margin=0, autodispatch=False)
        self._make, self._drawn_by = make, hooks
        self._places: dict[str, Place] = {}  # by the page's root; hooks hold them weakly

    def _get_model(self, doc: Any, root: Any = None, parent: Any = None, comm: Any = None) -> Any:
        if root is None:
            return self.get_root(doc, comm)
        place = self._places[root.ref["id"]] = Place(self._make(), doc, comm)
        for hook in self._drawn_by:
            hook(place, None)
        with param.parameterized.discard_events(self):
            self.object = place.state
        try:
            return super()._get_model(doc, root, parent, comm)
        finally:
            with param.parameterized.discard_events(self):
                self.object = None

    def _cleanup(self, root: Any = None) -> None:
        if root is not None:
            self._places.pop(root.ref["id"], None)
        super()._cleanup(root)

    def close(self) -> None:
        """Forget all places."""
        self._places.clear()
        self._models.clear()


def pane(
    frame: Frame, *, x: str | None = None, y: str | None = None, tools: str = "", toolbar: str | None = "above"
) -> FigurePane:
    """The figure of a frame; `x` and `y` are labels of the axes that it has, `tools` those of its toolbar."""

    def make() -> Any:
        left, bottom, right, top = frame.box
        return figure(
            x_range=Range1d(left, right),
            y_range=Range1d(bottom, top),
            x_axis_location="below" if x is not None else None,
            y_axis_location="left" if y is not None else None,
            x_axis_label=x or None,
            y_axis_label=y or None,
            tools=tools,
            toolbar_location=toolbar,
            active_scroll=None,
            sizing_mode="fixed",
            width=None,  # as its frame needs
            height=None,
        )

    return FigurePane(make, frame.hooks)


class Plate(Glyphs):
    """A picture that goes out as it is.

    Parameters
    ----------
    table : str, optional
        A colour map of which the picture holds numbers, a quarter of the bytes of a painted one.
    """

    def __init__(self, table: str | None = None) -> None:
        add = _add_painted if table is None else partial(_add_numbers, palette.hexes(table))
        super().__init__(add, "image", "x", "y", "dw", "dh")
        self._table = table
        self._drawn: tuple[Any, ...] | None = None

    def draw(self, box: Box, image: np.ndarray) -> None:
        """Draw a picture with the extents `box`, row 0 on top; what is drawn already is not sent again.

        RGBA (y, x, 4), uint8; or, of a colour map, its numbers 1 to 255 (y, x), uint8, 0 where it is transparent.
        """
        if not same(self._drawn, (box, image)):
            self._drawn = (box, image)
            left, bottom, right, top = box
            sent = np.ascontiguousarray(image[::-1])
            packed = sent if self._table is not None else sent.view(np.uint32)[..., 0]
            self._send({"image": [packed], "x": [left], "y": [bottom], "dw": [right - left], "dh": [top - bottom]})


def _add_painted(figure: Any, source: Any) -> None:
    figure.image_rgba("image", "x", "y", "dw", "dh", source=source)


def _add_numbers(colours: list[str], figure: Any, source: Any) -> None:
    mapper = LinearColorMapper(palette=colours[1:], low=1, high=256, low_color="rgba(0, 0, 0, 0)")
    figure.image("image", "x", "y", "dw", "dh", source=source, color_mapper=mapper)
