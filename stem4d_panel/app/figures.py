"""What all figures share: coordinates with row 0 on top, scale bars with units, names that tests and hooks can find."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh
import numpy as np
import panel as pn
import xarray as xr
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import FIXED_SIZING_MODE
from bokeh.models import ColumnDataSource, Grid, ScaleBar
from bokeh.models.annotations.dimensional import Metric
from datashader import Canvas
from holoviews.streams import Pipe, RangeXY
from panel.io.document import hold
from panel.io.notebook import push

from stem4d_panel.app.stills import Still
from stem4d_panel.app.unhurried import TAG
from stem4d_panel.results.geometry import Box
from stem4d_panel.scan.scan import Axis

hv.Store.set_current_backend("bokeh")
# figures are as large as their frame asks for, which the check does not know
silence(FIXED_SIZING_MODE)
# pictures of the screen's size need no WebGL, which is slow in software and has few contexts in a page
hv.Store.renderers["bokeh"].webgl = False

_DECADES = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]


def to_index(y: Axis, x: Axis, px: float, py: float) -> tuple[int, int]:
    """Row and column of a point of the figure."""
    return round((-py - y.offset) / y.scale), round((px - x.offset) / x.scale)


def _dimension(unit: str) -> Metric:
    """The unit of a scale bar; only lengths change to another prefix."""
    base, shown = {"nm": ("m", ["nm", "µm"]), "mrad": ("rad", ["mrad"])}.get(unit, (unit, [unit]))
    return Metric(base_unit=base, include=shown, ticks=_DECADES)


class Frame:
    """Name, size and extents of a figure, which stays one figure whatever is shown in it.

    A model that is replaced while the browser still builds the page is lost there (Bokeh listens to a layout's children
    only once they are built), so nothing is ever replaced: :meth:`fit` writes what has changed into the figures.

    Parameters
    ----------
    name : str
        By which tests find the figure.
    size : (int, int)
        Width and height of the frame in screen pixels.
    more : callables
        Hooks of HoloViews to run after its own.
    scaled : bool
        Whether it has a scale bar, which is seen once the unit is known.
    """

    def __init__(
        self, name: str, size: tuple[int, int], *more: Callable[[Any, Any], None], scaled: bool = False
    ) -> None:
        self._scaled = scaled
        self.name, self.size, self.box, self.unit = name, size, (0.0, 0.0, 1.0, 1.0), ""
        self.hooks: list[Callable[[Any, Any], None]] = [self.fit, *more]
        self.zooms: list[RangeXY] = []
        self._plots: weakref.WeakSet[Any] = weakref.WeakSet()

    def resize(self, box: Box, size: tuple[int, int], unit: str = "") -> None:
        """Other extents, drawn in another size."""
        if (box, size, unit) != (self.box, self.size, self.unit):
            self.box, self.size, self.unit = box, size, unit
            for stream in self.zooms:  # what was looked at closely is gone
                stream.update(x_range=None, y_range=None)
            self.redraw(self.fit)

    def redraw(self, hook: Callable[[Any, Any], None]) -> None:
        """Run a hook again on every place that shows the figure."""
        for plot in self._plots:
            with held(plot):
                hook(plot, None)

    def options(self) -> dict[str, Any]:
        """Plot options."""
        left, bottom, right, top = self.box
        return {
            "frame_width": self.size[0], "frame_height": self.size[1], "xlim": (left, right), "ylim": (bottom, top),
            "xaxis": None, "yaxis": None, "toolbar": "above", "active_tools": [], "show_legend": False,
            "default_tools": ["pan", "wheel_zoom", "box_zoom", "reset", "save"], "hooks": self.hooks,
        }  # fmt: skip

    def pane(self, layer: Any) -> pn.pane.HoloViews:
        """The figure of a layer."""
        return pn.pane.HoloViews(layer.opts(**self.options()), linked_axes=False, margin=0)

    def fit(self, plot: Any, element: Any) -> None:
        """Give a figure its name, size, extents and scale bar, where they have changed."""
        figure = plot.state
        self._plots.add(plot)
        if figure.name != self.name:
            figure.update(name=self.name, tags=[TAG], toolbar_inner=False, min_border=2, outline_line_color=None)
            figure.toolbar.update(logo=None, autohide=True, active_drag=None)  # a drag draws
            _strip(figure)
        if (figure.frame_width, figure.frame_height) != self.size:
            figure.update(frame_width=self.size[0], frame_height=self.size[1])
        left, bottom, right, top = self.box
        for axis, start, end in ((figure.x_range, left, right), (figure.y_range, bottom, top)):
            if (axis.reset_start, axis.reset_end) != (start, end):
                axis.update(start=start, end=end, reset_start=start, reset_end=end)
        if not self._scaled:
            return
        bar = next((m for m in figure.center if isinstance(m, ScaleBar)), None)
        if bar is None:  # from the first: the browser paints a figure before it has built what is added to it later
            bar = _scale_bar(figure.x_range, self.unit or "px")
            bar.visible = bool(self.unit)
            figure.add_layout(bar)
        elif self.unit and (bar.unit != self.unit or not bar.visible):
            bar.update(unit=self.unit, dimensional=_dimension(self.unit), visible=True)


def _strip(figure: Any) -> None:
    """Take out what is added unseen, before it is sent: the browser builds and styles it all the same.

    Axes that are not shown stay: HoloViews asks for them.
    """
    figure.update(title=None, center=[m for m in figure.center if not isinstance(m, Grid)])


def _scale_bar(x_range: Any, unit: str) -> ScaleBar:
    return ScaleBar(
        range=x_range,
        unit=unit,
        dimensional=_dimension(unit),
        location="bottom_left",
        orientation="horizontal",
        bar_length=0.25,
        background_fill_alpha=0.6,
        background_fill_color="black",
        border_line_color=None,
        label_text_color="white",
        bar_line_color="white",
        label_text_font_size="11px",
        padding=5,
        margin=6,
    )


Paint = Callable[..., np.ndarray]


@contextmanager
def held(plot: Any) -> Iterator[None]:
    """Changes to a figure of HoloViews go to the browser together."""
    document, comm = plot.document, plot.comm
    if document is None:
        yield
    elif comm is None:
        with hold(document):
            yield
    else:  # a notebook's document holds back everything until it is told to send
        before = document.callbacks.hold_value
        document.hold()
        try:
            yield
        finally:
            push(document, comm)
            if before is None:
                document.unhold()


class Picture:
    """One layer of a figure: arrays brought to the screen's resolution by datashader, then painted.

    HoloViews draws the first picture and those after a zoom. Others go straight into the data that it has given to Bokeh:
    an update of HoloViews walks over all models of the page, which a hand that moves has no time for.

    What has no more pixels than the screen goes out as it is; of a larger map only the part that is looked at, in the
    screen's pixels, so that zooming shows every position.

    Parameters
    ----------
    frame : Frame
    dims : (str, str)
        Names of the figure's own coordinates.
    """

    def __init__(self, frame: Frame, dims: tuple[str, str]) -> None:
        self._frame, self._dims = frame, dims
        self._pipe = Pipe(data=None)
        self._window = RangeXY()
        self.layer = hv.DynamicMap(self._draw, streams=[self._pipe, self._window])
        self._window.source = self.layer
        frame.zooms.append(self._window)
        frame.hooks.append(lambda plot, element: self._plots.add(plot))
        self._plots: weakref.WeakSet[Any] = weakref.WeakSet()

    def show(self, box: Box, paint: Paint, *arrays: np.ndarray) -> None:
        """Draw what `paint` makes of arrays (y, x) or (n, y, x), all with the extents `box`: RGBA (y, x, 4), uint8.

        What is on the screen already is not sent again.
        """
        content = (box, paint, arrays)
        if same(self._pipe.data, content):
            return
        if any(plot.comm is not None for plot in self._plots):  # a notebook's page takes pictures from HoloViews alone
            self._pipe.send(content)
            return
        self._pipe.update(data=content)  # for the next zoom
        if self._plots:
            image, (left, bottom, right, top) = self._painted(content, self._window.x_range, self._window.y_range)
            packed = np.ascontiguousarray(image[::-1]).view(np.uint32)[..., 0]
            data = {"image": [packed], "x": [left], "y": [bottom], "dw": [right - left], "dh": [top - bottom]}
        for plot in self._plots:
            with held(plot):
                plot.handles["source"].data = data

    def still(self, name: str) -> Still | None:
        """The whole picture, where there is one and it fills its figure."""
        if self._pipe.data is None or self._pipe.data[0] != self._frame.box:
            return None
        return Still(name, self._painted(self._pipe.data, None, None)[0], self._frame.size)

    def _painted(self, content: Any, x_range: Any, y_range: Any) -> tuple[np.ndarray, Box]:
        """The picture for a window, and its extents."""
        box, paint, arrays = content
        h, w = arrays[0].shape[-2:]
        width, height = self._frame.size
        if h > 2 * height or w > 2 * width:
            box, arrays = _reduced(arrays, box, _cut(box, x_range, y_range), (width, height))
        return paint(*arrays), box

    def _draw(self, data: Any, x_range: Any, y_range: Any) -> hv.RGB:
        blank = np.zeros((2, 2, 4), np.uint8)
        image, box = (blank, self._frame.box) if data is None else self._painted(data, x_range, y_range)
        return hv.RGB(image, kdims=list(self._dims), vdims=list("RGBA"), bounds=box)


class Glyphs:
    """Lines or text over a picture, drawn by Bokeh itself, so that they can follow a hand.

    Parameters
    ----------
    add : callable
        Adds the glyphs of a data source to a figure.
    columns : str
        Names of the columns.
    """

    def __init__(self, add: Callable[[Any, ColumnDataSource], Any], *columns: str) -> None:
        self._add = add
        self.data: dict[str, Any] = {name: [] for name in columns}
        self._sources: weakref.WeakKeyDictionary[Any, ColumnDataSource] = weakref.WeakKeyDictionary()

    def hook(self, plot: Any, element: Any) -> None:
        """Add them to a figure of HoloViews, once."""
        if plot not in self._sources:
            self._sources[plot] = ColumnDataSource(self.data)
            before = len(plot.state.renderers)
            self._add(plot.state, self._sources[plot])
            for drawn in plot.state.renderers[before:]:  # nothing is ever selected: no models for that
                drawn.update(nonselection_glyph=drawn.glyph, muted_glyph=drawn.glyph)

    def show(self, **data: Any) -> None:
        """Draw other ones, everywhere; what is drawn already is not sent again."""
        if data != self.data:
            self._send(data)

    def _send(self, data: dict[str, Any]) -> None:
        self.data = data
        for plot, source in self._sources.items():
            with held(plot):
                source.data = data


def lines(colour: str, width: float) -> Glyphs:
    """Paths in one colour; show their coordinates as lists `xs` and `ys`."""
    return Glyphs(
        lambda figure, source: figure.multi_line("xs", "ys", source=source, line_color=colour, line_width=width),
        "xs",
        "ys",
    )


def labels() -> Glyphs:
    """Texts on a dark ground, as the scale bar has it; show them as lists `x`, `y` and `text`."""
    return Glyphs(
        lambda figure, source: figure.text(
            "x", "y", text="text", source=source, text_color="white", text_font_size="8pt", text_align="center",
            text_baseline="middle", background_fill_color="black", background_fill_alpha=0.6, padding=1,
        ),
        "x",
        "y",
        "text",
    )  # fmt: skip


def coordinates(paths: list[np.ndarray]) -> dict[str, list[list[float]]]:
    """Paths (n, 2) as the columns of `lines`."""
    return {"xs": [p[:, 0].tolist() for p in paths], "ys": [p[:, 1].tolist() for p in paths]}


def same(a: Any, b: Any) -> bool:
    """Whether two contents of a picture look the same."""
    if isinstance(a, partial) and isinstance(b, partial):
        return same((a.func, a.args, tuple(a.keywords.items())), (b.func, b.args, tuple(b.keywords.items())))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is b or (
            isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.array_equal(a, b, equal_nan=True)
        )
    return bool(a == b)


def _cut(box: Box, x_range: Any, y_range: Any) -> Box:
    """The part of a box that a window shows; all of it where it shows none."""
    left, bottom, right, top = box
    x0, x1 = (left, right) if x_range is None else (max(left, x_range[0]), min(right, x_range[1]))
    y0, y1 = (bottom, top) if y_range is None else (max(bottom, y_range[0]), min(top, y_range[1]))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else box


def _reduced(
    arrays: tuple[np.ndarray, ...], box: Box, window: Box, size: tuple[int, int]
) -> tuple[Box, tuple[np.ndarray, ...]]:
    """Means of arrays (row 0 on top) over the screen's pixels in a window, and the window."""
    (left, bottom, right, top), (x0, y0, x1, y1) = box, window
    h, w = arrays[0].shape[-2:]
    coords = {
        "y": bottom + (np.arange(h) + 0.5) * (top - bottom) / h,
        "x": left + (np.arange(w) + 0.5) * (right - left) / w,
    }
    canvas = Canvas(size[0], size[1], (x0, x1), (y0, y1))
    out = []
    for array in arrays:
        dims = ("layer", "y", "x")[-array.ndim :]
        data = xr.DataArray(array[..., ::-1, :], dims=dims, coords=coords)
        out.append(canvas.raster(data, layer=None, interpolate="nearest").values[..., ::-1, :])
    return window, tuple(out)


def contours(masks: np.ndarray, y: Axis, x: Axis) -> list[np.ndarray]:
    """Outlines of masks (n, y, x) along pixel edges, as paths (m, 2) in the figure's coordinates, NaN between edges."""
    paths = []
    for mask in masks:
        padded = np.pad(mask, 1).astype(np.int8)
        edges = []
        for row, column in np.argwhere(np.diff(padded, axis=0)):  # horizontal edges below `row` of the padded mask
            edges += [(column - 1.5, row - 0.5), (column - 0.5, row - 0.5), (np.nan, np.nan)]
        for row, column in np.argwhere(np.diff(padded, axis=1)):
            edges += [(column - 0.5, row - 1.5), (column - 0.5, row - 0.5), (np.nan, np.nan)]
        if edges:
            line = np.array(edges, float)
            paths.append(np.stack([x.offset + x.scale * line[:, 0], -(y.offset + y.scale * line[:, 1])], axis=1))
    return paths
