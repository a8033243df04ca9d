"""The dendrogram, drawn from our own tree so that inversions stay, with a threshold line to drag."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import Span
from holoviews.streams import Pipe
from panel.io.document import hold

from stem4d_panel.app import palette
from stem4d_panel.app.figures import named
from stem4d_panel.app.session import Session
from stem4d_panel.app.text import caption, say
from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.tree import Tree

DIMS = ["tree_leaf", "tree_height"]
ABOVE = "#8a8a8a"


def branches(tree: Tree, classes: Classes, colours: list[str]) -> list[tuple[float, float, float, float, str]]:
    """Each merge as three segments (x0, y0, x1, y1, colour): in the colour of its class, or grey above the threshold."""
    x = np.zeros(2 * tree.size - 1)
    x[tree.leaf_order] = np.arange(tree.size)
    height, below = tree.heights, tree.leaves()
    out = []
    for i, row in enumerate(tree.merges):
        a, b, new = int(row[0]), int(row[1]), tree.size + i
        x[new] = (x[a] + x[b]) / 2
        labels = set(classes.labels[below[new]].tolist())
        colour = colours[labels.pop()] if len(labels) == 1 else ABOVE
        corners = ((x[a], height[a]), (x[a], row[2]), (x[b], row[2]), (x[b], height[b]))
        out += [(*p, *q, colour) for p, q in pairwise(corners)]
    return out


class TreeView:
    """Dendrogram with its threshold."""

    def __init__(self, session: Session, width: int, height: int) -> None:
        self.session, self.size = session, (width, height)
        self.caption = caption("", width=width)
        heading = pmui.Typography("Dendrogram · drag the line", variant="subtitle2", margin=(6, 8, 0, 8))
        self.pane = pn.pane.HoloViews(None, linked_axes=False, margin=0, width=width + 70, height=height + 24)
        self._pipe = Pipe(data=None)
        self._span: Span | None = None
        self._plot: Any = None
        self._rank = 0
        self._line = 0.0  # where the line stands in the browser
        session.param.watch(lambda _: self.refresh(), ["shown", "component"])
        self.layout = pn.Column(heading, self.pane, self.caption, margin=0, width=width + 74)

    def _draw(self, data: Any) -> hv.Overlay:
        paths, leaves, top = data or ([], [], 1.0)
        lines = hv.Segments(paths, [*DIMS, "tree_leaf_end", "tree_height_end"], "colour").opts(
            color="colour", line_width=2.2
        )
        labels = hv.Labels(leaves, DIMS, ["text", "leaf_colour"]).opts(
            text_color="leaf_colour",
            text_font_size="9pt",
            text_baseline="top",
            yoffset=-0.015 * top,
            text_font_style="bold",
        )
        return lines * labels

    def _add_threshold(self, plot: Any, element: Any) -> None:
        self._plot = plot
        threshold = self._threshold()
        if self._span is not None and self._span in plot.state.center:
            return
        self._line = threshold
        self._span = Span(
            location=threshold, dimension="width", line_width=3, line_color="#d62728", line_dash="dashed", editable=True
        )
        self._span.on_change("location", self._dragged)
        plot.state.add_layout(self._span)

    def _threshold(self) -> float:
        classes = self.session.shown.classes
        return float(classes.threshold) if classes is not None else 0.0

    def _dragged(self, attr: str, old: float, new: float) -> None:
        self._line = float(new)
        value = round(min(max(float(new), 0.0), 2.0), 4)
        if abs(value - self._threshold()) < 1e-6:
            return
        plot = self._plot
        self.session.change_soon({"cluster.threshold": value}, lambda: hold(plot.document, comm=plot.comm))

    def _place(self, threshold: float) -> None:
        self._line = threshold
        if self._span is not None:
            self._span.location = threshold

    def refresh(self) -> None:
        """Draw the tree that the session shows."""
        shown = self.session.shown
        if shown.tree is None or shown.classes is None:
            return
        tree, classes = shown.tree, shown.classes
        colours = palette.class_colours(shown.findings)
        chosen = self.session.component
        leaves = [
            (x, 0.0, f"▸{k}" if k == chosen else str(k), colours[int(classes.labels[k])])
            for x, k in enumerate(tree.leaf_order)
        ]
        top = max(0.3, float(tree.merges[:, 2].max()) if len(tree.merges) else 0.3) * 1.08
        self._pipe.send((branches(tree, classes, colours), leaves, top))
        note = f"{classes.count} classes at {classes.threshold:.3f}" + (" (suggested)" if classes.suggested else "")
        if tree.inversions:
            note += f" · {tree.inversions} merge{'s' if tree.inversions > 1 else ''} below one joined before (drawn as found)"
        say(self.caption, note)
        if self._rank != tree.size:
            self._rank = tree.size
            self._build(top)
        elif self._span is not None and abs(self._line - classes.threshold) > 1e-4:
            self._place(classes.threshold)  # never back under the hand that drags it

    def _build(self, top: float) -> None:
        self._span = None
        width, height = self.size
        self.pane.object = hv.DynamicMap(self._draw, streams=[self._pipe]).opts(
            hv.opts.Overlay(
                frame_width=width, frame_height=height, xaxis=None, ylabel="1 − correlation", toolbar="above",
                default_tools=["ywheel_zoom", "reset", "save"], active_tools=[], show_legend=False, framewise=True,
                xlim=(-0.7, self._rank - 0.3), ylim=(-0.09 * top, top), hooks=named("dendrogram", "", self._add_threshold),
            )
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the figure."""
        self.pane.object = None
