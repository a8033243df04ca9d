"""What all figures share: coordinates with row 0 on top, scale bars with units, names that tests and hooks can find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh
import numpy as np
from bokeh.models import ScaleBar
from bokeh.models.annotations.dimensional import Metric
from holoviews.operation.datashader import rasterize, regrid
from holoviews.streams import Pipe

from stem4d_panel.scan.scan import Axis

hv.Store.set_current_backend("bokeh")

_DECADES = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]


def bounds(y: Axis, x: Axis) -> tuple[float, float, float, float]:
    """Extents (left, bottom, right, top) of an image whose row 0 is drawn on top: rows count downwards from 0 as -y."""
    left = x.offset - x.scale / 2
    top = -(y.offset - y.scale / 2)
    return left, top - y.size * y.scale, left + x.size * x.scale, top


def to_index(y: Axis, x: Axis, px: float, py: float) -> tuple[int, int]:
    """Row and column of a point of the figure."""
    return round((-py - y.offset) / y.scale), round((px - x.offset) / x.scale)


def frame_size(y: Axis, x: Axis, width: int) -> tuple[int, int]:
    """Frame width and height in screen pixels with square data units, at most `width` each."""
    w, h = x.size * x.scale, y.size * y.scale
    return (width, max(60, round(width * h / w))) if w >= h else (max(60, round(width * w / h)), width)


def _dimension(unit: str) -> Metric:
    """The unit of a scale bar; only lengths change to another prefix."""
    base, shown = {"nm": ("m", ["nm", "µm"]), "mrad": ("rad", ["mrad"])}.get(unit, (unit, [unit]))
    return Metric(base_unit=base, include=shown, ticks=_DECADES)


def named(name: str, unit: str = "", *more: Callable[[Any, Any], None]) -> list[Callable[[Any, Any], None]]:
    """Hooks that name a figure, trim its toolbar and give it a scale bar once."""

    def dress(plot: Any, element: Any) -> None:
        figure = plot.state
        if figure.name == name:
            return
        figure.name = name
        figure.toolbar.logo = None
        figure.toolbar.autohide = True
        figure.toolbar_inner = True
        figure.min_border = 2
        figure.outline_line_color = None
        if unit:
            bar = ScaleBar(
                range=figure.x_range,
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
            figure.add_layout(bar)

    return [dress, *more]


def picture_options(name: str, y: Axis, x: Axis, width: int, *hooks: Callable[[Any, Any], None]) -> dict[str, Any]:
    """Plot options of an image figure."""
    w, h = frame_size(y, x, width)
    return {
        "frame_width": w,
        "frame_height": h,
        "xaxis": None,
        "yaxis": None,
        "toolbar": "above",
        "default_tools": ["pan", "wheel_zoom", "box_zoom", "reset", "save"],
        "active_tools": [],
        "show_legend": False,
        "hooks": named(name, x.units, *hooks),
        "framewise": True,
    }


Box = tuple[float, float, float, float]


def image_map(pipe: Pipe, start: Box, dims: tuple[str, str]) -> Any:
    """A rasterised image that follows a pipe of (array, limits, colour map, extents); `start` are its first extents."""

    def draw(data: Any) -> hv.Image:
        array, clim, cmap, box = data or (np.zeros((2, 2), np.float32), (0, 1), "inferno", start)
        return hv.Image(array, kdims=list(dims), vdims="counts", bounds=box).opts(clim=clim, cmap=cmap)

    def recolour(image: Any, data: Any) -> Any:
        _, clim, cmap, _ = data or (None, (0, 1), "inferno", None)
        return image.opts(clim=clim, cmap=cmap)

    raster = rasterize(hv.DynamicMap(draw, streams=[pipe]), expand=False)
    return raster.apply(recolour, streams=[pipe])


def overlay_map(pipe: Pipe, box: Box, dims: tuple[str, str]) -> Any:
    """An RGBA overlay, resampled to the screen, that follows a pipe of arrays (y, x, 4) uint8."""

    def draw(data: Any) -> hv.RGB:
        array = np.zeros((2, 2, 4), np.uint8) if data is None else data
        return hv.RGB(array, kdims=list(dims), vdims=list("RGBA"), bounds=box)

    return regrid(hv.DynamicMap(draw, streams=[pipe]), expand=False)


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
