"""Small figures of one class: how large its particles are, its radial profile, the wheel of its orientations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stem4d_panel.app.figures import Frame, Glyphs, lines
from stem4d_panel.app.plain import Plate, pane
from stem4d_panel.results.colours import WHEEL, wheel

GREY = "#808080"  # readable in light and dark
BINS = 14


class Chart:
    """A figure with numbers along its x axis; a text in the middle where there is nothing to draw.

    Parameters
    ----------
    name : str
    size : (int, int)
        Of the frame, in screen pixels.
    glyphs : sequence of Glyphs
        From the back to the front.
    y : str, optional
        Label of the y axis; without one there is none.
    """

    def __init__(self, name: str, size: tuple[int, int], glyphs: list[Glyphs], y: str | None = None) -> None:
        self._label = ""
        self._empty = Glyphs(_add_text, "x", "y", "text")
        hooks = [g.hook for g in glyphs]
        self.frame = Frame(name, size, *hooks, self._empty.hook, self._name_axis)
        self.pane = pane(self.frame, x="", y=y, tools="save")

    def fit(self, right: float, top: float, label: str) -> None:
        """Extents from 0, and what the x axis says."""
        self.frame.resize((0.0, 0.0, right, top), self.frame.size)
        if label != self._label:
            self._label = label
            self.frame.redraw(self._name_axis)

    def say(self, text: str) -> None:
        """A word in the middle, or none."""
        _, _, right, top = self.frame.box
        shown = [text] if text else []
        self._empty.show(x=[right / 2] * len(shown), y=[top / 2] * len(shown), text=shown)

    def _name_axis(self, plot: Any, element: Any) -> None:
        for axis in plot.state.below:
            axis.update(axis_label=self._label)
        for axis in plot.state.left:
            axis.ticker.update(min_interval=1)  # particles are whole


class SizesChart(Chart):
    """Histogram of diameters, with a line at their mean and a shade from mean - spread to mean + spread."""

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        self.shade = Glyphs(_quads(GREY, 0.22), "left", "right", "bottom", "top")
        self.bars = Glyphs(_quads("colour", 0.85), "left", "right", "bottom", "top", "colour")
        self.mean = lines(GREY, 2)
        super().__init__(name, size, [self.shade, self.bars, self.mean], y="particles")

    def draw(self, diameters: np.ndarray, mean: float | None, spread: float | None, unit: str, colour: str) -> None:
        """Show diameters in `unit`."""
        right = 1.3 * float(diameters.max(initial=0.0)) or 1.0
        counts, edges = np.histogram(diameters, BINS, (0.0, right))
        top = 1.15 * max(1, int(counts.max()))
        there = np.flatnonzero(counts)
        self.fit(right, top, f"diameter ({unit})")
        self.bars.show(
            left=edges[there].tolist(), right=edges[there + 1].tolist(), bottom=[0.0] * len(there),
            top=counts[there].tolist(), colour=[colour] * len(there),
        )  # fmt: skip
        ends = [(mean - spread, mean + spread)] if mean is not None and spread is not None else []
        self.shade.show(
            left=[a for a, _ in ends], right=[b for _, b in ends], bottom=[0.0] * len(ends), top=[top] * len(ends)
        )
        at = [mean] if mean is not None else []
        self.mean.show(xs=[[m, m] for m in at], ys=[[0.0, top] for _ in at])

    def clear(self, text: str, unit: str) -> None:
        """Nothing but a word."""
        self.draw(np.zeros(0), None, None, unit, GREY)
        self.say(text)


class ProfileChart(Chart):
    """Mean over the azimuth against radius, its spread as a band, lines at the rings."""

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        self.band = Glyphs(_add_band, "xs", "ys", "colour")
        self.curve = Glyphs(_add_curve, "xs", "ys", "colour")
        self.rings = Glyphs(_add_rings, "xs", "ys")
        super().__init__(name, size, [self.band, self.rings, self.curve])

    def draw(
        self, radii: np.ndarray, profile: np.ndarray, spread: np.ndarray, rings: list[float], unit: str, colour: str
    ) -> None:
        """Show a profile over radii in `unit`."""
        low, high = np.maximum(profile - spread, 0), profile + spread
        top = 1.05 * float(high.max(initial=0.0)) or 1.0
        self.fit(1.02 * float(radii.max(initial=0.0)) or 1.0, top, f"radius ({unit})")
        outline = np.concatenate([radii, radii[::-1]]), np.concatenate([low, high[::-1]])
        self.band.show(xs=[outline[0].tolist()], ys=[outline[1].tolist()], colour=[colour])
        self.curve.show(xs=[radii.tolist()], ys=[profile.tolist()], colour=[colour])
        self.rings.show(xs=[[r, r] for r in rings], ys=[[0.0, top] for _ in rings])


class Wheel:
    """The colours of orientations at the angles they stand for, the first period stronger than those that repeat it."""

    def __init__(self, name: str, size: int) -> None:
        self.picture, self.labels = Plate(), Glyphs(_add_text, "x", "y", "text")
        self.frame = Frame(name, (size, size), self.picture.hook, self.labels.hook)
        self.pane = pane(self.frame)
        self.frame.resize((-WHEEL, -WHEEL, WHEEL, WHEEL), (size, size))

    def show(self, period: float | None) -> None:
        """The wheel of a period in degrees; None for none."""
        image = wheel(period, self.frame.size[0]) if period is not None else np.zeros((2, 2, 4), np.uint8)
        self.picture.draw(self.frame.box, image)
        angles = [] if period is None else [0.0] if period >= 360 else [0.0, period]
        turn = np.deg2rad(angles)  # clockwise on the screen: from +kx towards +ky, which points down
        text = [f"{angle:.0f}°" for angle in angles] if period != 360 else ["0° = 360°"]
        self.labels.show(x=(1.5 * np.cos(turn)).tolist(), y=(-1.5 * np.sin(turn)).tolist(), text=text)


def _add_text(figure: Any, source: Any) -> None:
    figure.text(
        "x", "y", text="text", source=source, text_color=GREY, text_font_size="9pt", text_align="center",
        text_baseline="middle",
    )  # fmt: skip


def _quads(colour: str, alpha: float) -> Callable[[Any, Any], None]:
    """Bars in one colour, or in those of a column."""

    def add(figure: Any, source: Any) -> None:
        figure.quad(
            left="left", right="right", bottom="bottom", top="top", source=source, fill_color=colour, fill_alpha=alpha,
            line_color=None,
        )  # fmt: skip

    return add


def _add_band(figure: Any, source: Any) -> None:
    figure.patches("xs", "ys", source=source, fill_color="colour", fill_alpha=0.25, line_color=None)


def _add_curve(figure: Any, source: Any) -> None:
    figure.multi_line("xs", "ys", source=source, line_color="colour", line_width=2)


def _add_rings(figure: Any, source: Any) -> None:
    figure.multi_line("xs", "ys", source=source, line_color=GREY, line_width=1.2, line_dash="dashed")
