"""All components as pairs of thumbnails, map over pattern, in one picture, framed in the colour of their class."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui
from holoviews.streams import Pipe, Tap

from stem4d_panel.app import palette
from stem4d_panel.app.figures import named
from stem4d_panel.app.session import Session, Shown

TILE = 88  # pixels of a thumbnail
EDGE = 5  # of its frame
GAP = 10
LABEL = 18  # of the line above a pair
DIMS = ["gallery_x", "gallery_y"]


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Image (h, w, 3) centred in a black square tile by nearest pixels, aspect kept."""
    h, w = image.shape[:2]
    scale = TILE / max(h, w)
    rows = (np.arange(max(1, round(h * scale))) / scale).astype(int).clip(0, h - 1)
    columns = (np.arange(max(1, round(w * scale))) / scale).astype(int).clip(0, w - 1)
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    top, left = (TILE - len(rows)) // 2, (TILE - len(columns)) // 2
    tile[top : top + len(rows), left : left + len(columns)] = image[np.ix_(rows, columns)]
    return tile


def mosaic(shown: Shown, columns: int, chosen: int | None) -> tuple[np.ndarray, list[tuple[float, float, str]]]:
    """The picture (RGBA, uint8) and its labels (x, y, text), components in tree order."""
    order = shown.tree.leaf_order
    colours = palette.class_colours(shown.findings)
    pair_h, pair_w = LABEL + 2 * TILE + 3 * EDGE + GAP, TILE + 2 * EDGE + GAP
    rows = -(-len(order) // columns)
    out = np.zeros((rows * pair_h, columns * pair_w, 4), np.uint8)
    totals = shown.factors.totals / max(float(shown.factors.totals.sum()), 1e-30)
    labels = []
    for place, k in enumerate(order):
        y, x = place // columns * pair_h, place % columns * pair_w
        frame = out[y + LABEL : y + pair_h - GAP, x : x + pair_w - GAP]
        frame[..., :3] = palette.rgb(colours[int(shown.classes.labels[k])]) * 255
        frame[..., 3] = 255
        grow = EDGE - 2 if k == chosen else 0  # a chosen pair has a wider gap of white inside its frame
        if grow:
            frame[EDGE - grow : -EDGE + grow, EDGE - grow : -EDGE + grow, :3] = 255
        pattern = palette.scaled(shown.factors.patterns[k], "root")
        for turn, image in enumerate((shown.factors.maps[k], pattern)):
            top = EDGE + turn * (TILE + EDGE)
            frame[top : top + TILE, EDGE : EDGE + TILE, :3] = _thumbnail(palette.coloured(image, "inferno"))
        labels.append((x + (pair_w - GAP) / 2, -(y + LABEL / 2), f"{k} · {100 * totals[k]:.1f} %"))
    return out, labels


class GalleryView:
    """The mosaic; a tap chooses a component, a second tap on it lets it go."""

    def __init__(self, session: Session, width: int) -> None:
        self.session, self.width = session, width
        heading = pmui.Typography(
            "Components · map over pattern, in tree order", variant="subtitle2", margin=(6, 8, 0, 8)
        )
        self.pane = pn.pane.HoloViews(None, linked_axes=False, margin=0, width=width + 30, height=320)
        self._pipe = Pipe(data=None)
        self._tap: Tap | None = None
        self._shape: tuple[int, int] | None = None
        session.param.watch(lambda _: self.refresh(), ["shown", "component"])
        self.layout = pn.Column(heading, self.pane, margin=0, width=width + 34)

    def _columns(self, rank: int) -> int:
        return max(1, min(rank, 10 if rank > 7 else 7))

    def _picture(self, data: Any) -> hv.RGB:
        image = data[0] if data else np.zeros((2, 2, 4), np.uint8)
        h, w = image.shape[:2]
        return hv.RGB(image, kdims=DIMS, vdims=list("RGBA"), bounds=(0, -h, w, 0))

    def _labels(self, data: Any) -> hv.Labels:
        return hv.Labels(data[1] if data else [], DIMS, "text").opts(text_font_size="8pt", text_color="#808080")

    def refresh(self) -> None:
        """Draw the components that the session shows."""
        shown = self.session.shown
        if shown.factors is None or shown.findings is None:
            return
        data = mosaic(shown, self._columns(shown.factors.rank), self.session.component)
        self._pipe.send(data)
        shape = data[0].shape[:2]
        if shape != self._shape:
            self._shape = shape
            self._build(*shape)

    def _build(self, height: int, width: int) -> None:
        picture = hv.DynamicMap(self._picture, streams=[self._pipe])
        labels = hv.DynamicMap(self._labels, streams=[self._pipe])
        scale = min(1.0, self.width / width)
        w, h = round(width * scale), round(height * scale)
        if self._tap is not None:
            self._tap.clear()
        self._tap = Tap(source=picture, x=None, y=None)
        self._tap.add_subscriber(self._tapped)
        self.pane.param.update(width=self.width + 30, height=h + 16)
        self.pane.object = (picture * labels).opts(
            hv.opts.Overlay(
                frame_width=w, frame_height=h, xaxis=None, yaxis=None, toolbar="above", framewise=True, show_legend=False,
                default_tools=["wheel_zoom", "pan", "reset", "save"], active_tools=[], hooks=named("gallery"),
            )
        )  # fmt: skip

    def _tapped(self, x: float | None, y: float | None) -> None:
        shown = self.session.shown
        if x is None or y is None or shown.tree is None:
            return
        columns = self._columns(shown.factors.rank)
        column = int(x // (TILE + 2 * EDGE + GAP))
        row = int(-y // (LABEL + 2 * TILE + 3 * EDGE + GAP))
        place = row * columns + column
        if 0 <= column < columns and 0 <= place < shown.factors.rank:
            k = shown.tree.leaf_order[place]
            self.session.choose_component(None if k == self.session.component else k)

    def close(self) -> None:
        """Let go of the figure."""
        if self._tap is not None:
            self._tap.clear()
            self._tap.source = None
        self.pane.object = None
