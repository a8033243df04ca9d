"""Parts of a figure on paper: cells, pictures with scale bars, frames in the colour of a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

from stem4d_panel.results import class_text
from stem4d_panel.results.colours import limits, over, scaled
from stem4d_panel.results.geometry import bounds
from stem4d_panel.results.result import Result
from stem4d_panel.scan.scan import Axis

WIDTH = 7.0  # inches: two columns of a journal


@dataclass(frozen=True)
class How:
    """What can be chosen about a figure.

    Attributes
    ----------
    label : int or None
        The class that is drawn; None for all.
    scale : str
        Intensities of patterns: ``root``, ``log`` or ``linear``.
    rings : bool
        Whether circles with spacings are drawn through the spots of class patterns.
    """

    label: int | None = None
    scale: str = "root"
    rings: bool = True


def round_length(extent: float, part: float = 0.25) -> float:
    """The length 1, 2 or 5 times a power of ten that is nearest to a part of an extent."""
    wanted = part * extent
    decade = 10.0 ** np.floor(np.log10(wanted))
    return float(decade * min((1.0, 2.0, 5.0, 10.0), key=lambda m: abs(m - wanted / decade)))


def length_text(length: float, unit: str) -> str:
    """A round length with its unit, micrometres from a thousand nanometres on."""
    return f"{length / 1000:g} µm" if unit == "nm" and length >= 1000 else f"{length:g} {unit}"


def grid(count: int, columns: int, cell: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure of cells in rows, each of a size in inches, and the axes of those that are used."""
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = Figure(figsize=(columns * cell[0], rows * cell[1]), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in places[count:]:
        spare.remove()
    return figure, places[:count]


def picture(ax: Axes, image: np.ndarray, y: Axis, x: Axis, bar: bool = True, **options: Any) -> None:
    """An image with square units, row 0 on top, without ticks, with a scale bar."""
    left, bottom, right, top = bounds(y, x)
    ax.imshow(image, extent=(left, right, bottom, top), **options)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if bar:
        length = round_length(right - left)
        made = AnchoredSizeBar(
            ax.transData, length, length_text(length, x.units), "lower left", pad=0.3, borderpad=0.4, sep=2, color="white",
            size_vertical=0.008 * (top - bottom), fontproperties={"size": 6.5},
        )  # fmt: skip
        made.patch.set(facecolor="black", alpha=0.6, edgecolor="none")
        ax.add_artist(made)


def frame(ax: Axes, colour: str, width: float = 1.6) -> None:
    """A frame around a picture."""
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=width)


def pattern(ax: Axes, result: Result, image: np.ndarray, scale: str, bar: bool = True) -> None:
    """A pattern, stretched to what of it is not zero."""
    values = scaled(image, scale)
    low, high = limits(values[values > 0], 0.5, 99.7)
    picture(ax, values, *result.axes[2:], bar=bar, cmap="inferno", vmin=low, vmax=high)


def over_counts(result: Result, above: np.ndarray) -> np.ndarray:
    """RGBA over the sum of all maps in greys."""
    counts = result.factors.maps.sum(axis=0)
    low, high = limits(counts)
    return over(colormaps["gray"](np.clip((counts - low) / (high - low), 0, 1), bytes=True), above)


def chosen(result: Result, how: How) -> list[int]:
    """Labels of the classes that are drawn."""
    return list(range(result.classes.count)) if how.label is None else [how.label]


def heading(result: Result, label: int, more: str = "", longest: int = 28) -> str:
    """What stands above the picture of a class."""
    name = class_text.class_name(result.findings.classes[label])
    return (name if len(name) <= longest else name[: longest - 1] + "…") + (f"\n{more}" if more else "")


def note(text: str) -> Figure:
    """A word in place of a figure for which there is nothing to draw."""
    figure = Figure(figsize=(WIDTH / 2, 0.6), layout="constrained")
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def tallness(y: Axis, x: Axis) -> float:
    """Height of an image over its width, within what a page holds."""
    return float(np.clip(y.size * y.scale / (x.size * x.scale), 0.2, 2.5))
