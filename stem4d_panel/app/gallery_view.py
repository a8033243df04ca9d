"""All components as pairs of thumbnails, map over pattern, in one picture, framed in the colour of their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app import palette
from stem4d_panel.app.figures import Frame, Glyphs
from stem4d_panel.app.gesture import Gesture
from stem4d_panel.app.plain import Plate, pane
from stem4d_panel.app.session import Session
from stem4d_panel.app.showing import Shown
from stem4d_panel.app.text import heading
from stem4d_panel.results.class_text import class_name

_STAY, _OWN = "no component is chosen", "a class of its own"
EDGE = 4  # pixels of the frame around a thumbnail
GAP = 6
LABEL = 16  # of the line above a pair


@dataclass(frozen=True)
class Grid:
    """Places of the pairs in the mosaic, in pixels of the screen."""

    columns: int
    rows: int
    tile: int

    @classmethod
    def of(cls, rank: int, width: int) -> Grid:
        """For so many components, in rows of seven or, of more, of ten: the next rank moves and resizes nothing."""
        columns = 7 if rank <= 7 else 10
        return cls(columns, -(-rank // columns), min(88, width // columns - 2 * EDGE - GAP))

    @property
    def pair(self) -> tuple[int, int]:
        """Height and width of a pair with what parts it from the next."""
        return LABEL + 2 * self.tile + 3 * EDGE + GAP, self.tile + 2 * EDGE + GAP

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the mosaic."""
        return self.rows * self.pair[0], self.columns * self.pair[1]

    def corner(self, place: int) -> tuple[int, int]:
        """Top and left of the frame of a pair."""
        row, column = divmod(place, self.columns)
        return row * self.pair[0] + LABEL, column * self.pair[1]

    def at(self, x: float, y: float) -> int | None:
        """The pair at a point, None between and beyond them."""
        column, row = int(x // self.pair[1]), int(y // self.pair[0])
        return row * self.columns + column if 0 <= column < self.columns and 0 <= row < self.rows else None


def _thumbnails(images: np.ndarray, size: int) -> np.ndarray:
    """Images (k, h, w) by nearest pixels, aspect kept, each centred in a black square tile: numbers of colours (k, size, size)."""
    count, h, w = images.shape
    scale = size / max(h, w)
    rows = (np.arange(max(1, round(h * scale))) / scale).astype(int).clip(0, h - 1)
    columns = (np.arange(max(1, round(w * scale))) / scale).astype(int).clip(0, w - 1)
    top, left = (size - len(rows)) // 2, (size - len(columns)) // 2
    ends = palette.limits_of_each(images)
    tiles = np.ones((count, size, size), np.uint8)
    seen = palette.numbers(images[:, rows[:, None], columns], ends)
    tiles[:, top : top + len(rows), left : left + len(columns)] = np.maximum(seen, 1)
    return tiles


def mosaic(factors: Any, order: Sequence[int], grid: Grid) -> np.ndarray:
    """Thumbnails of maps over patterns, components in the order given: numbers of colours, uint8, 0 between them."""
    out = np.zeros(grid.size, np.uint8)
    maps, patterns = (
        _thumbnails(images, grid.tile) for images in (factors.maps, palette.scaled(factors.patterns, "root"))
    )
    for place, k in enumerate(order):
        top, left = grid.corner(place)
        for turn, tile in enumerate((maps[k], patterns[k])):
            y = top + EDGE + turn * (grid.tile + EDGE)
            out[y : y + grid.tile, left + EDGE : left + EDGE + grid.tile] = tile
    return out


def _add_frames(figure: Any, source: Any) -> None:
    """Frames in the colours of the classes, the chosen one's wider."""
    figure.quad(
        left="left", right="right", top="top", bottom="bottom", line_color="colour", line_width="width", fill_alpha=0,
        source=source,
    )  # fmt: skip


def _add_labels(figure: Any, source: Any) -> None:
    figure.text(
        "x", "y", text="text", source=source, text_font_size="8pt", text_color="#808080", text_align="center",
        text_baseline="middle",
    )  # fmt: skip


class GalleryView:
    """The mosaic; a tap chooses a component, a second tap on it lets it go."""

    def __init__(self, session: Session, width: int) -> None:
        self.session, self.width = session, width
        title = heading("Components · map over pattern, in tree order", width=330)
        self.move = pmui.Select(
            label="Move the chosen one to",
            options=[_STAY],
            value=_STAY,
            size="small",
            width=200,
            margin=(8, 4, 0, 4),
            disabled=True,
        )
        self.move.param.watch(self._moved, "value")
        self._frames = Glyphs(_add_frames, "left", "right", "top", "bottom", "colour", "width")
        self._labels = Glyphs(_add_labels, "x", "y", "text")
        self._grid = Grid(1, 1, 1)
        self._drawn: tuple[Any, Any] = (None, None)  # factors and tree of the mosaic
        self._labelled: tuple[int, ...] | None = None  # components moved by hand, as the labels say
        self._picture = Plate("inferno")
        hooks = (self._picture.hook, self._frames.hook, self._labels.hook, Gesture(self._tapped).hook)
        self._frame = Frame("gallery", (width, 320), *hooks)
        self.pane = pane(self._frame, tools="wheel_zoom,pan,reset,save")
        session.param.watch(lambda *_: self.refresh(), ["shown", "component", "label"])
        self.layout = pn.Column(pn.Row(title, self.move, margin=0), self.pane, margin=0, width=width + 34)

    def refresh(self) -> None:
        """Draw the components that the session shows."""
        shown = self.session.shown
        if shown.factors is None or shown.findings is None:
            return
        order = list(shown.tree.order)
        if self._drawn != (shown.factors, shown.tree):
            self._drawn = (shown.factors, shown.tree)
            self._grid = Grid.of(len(order), self.width)
            h, w = self._grid.size
            self._frame.resize((0, -h, w, 0), (w, h))
            self._picture.draw(self._frame.box, mosaic(shown.factors, order, self._grid))
            self._labelled = None
        if self._labelled != shown.classes.moved:
            self._labelled = shown.classes.moved
            self._label(shown.factors, order)
        self._colour(shown, order)
        self._offer(shown)

    def _offer(self, shown: Shown) -> None:
        """The classes that the chosen component can be moved to."""
        k = self.session.component
        options = [_STAY]
        if k is not None:
            home = int(shown.classes.labels[k])
            others = [c for c in shown.findings.classes if c.label != home]
            options = [f"in {class_name(shown.findings.classes[home])}", *map(class_name, others)]
            options += [_OWN] if len(shown.classes.members(home)) > 1 else []
        if options != self.move.options or self.move.value != options[0]:
            self.move.param.update(options=options, value=options[0], disabled=k is None)

    def _moved(self, event: Any) -> None:
        """A class was chosen for the chosen component."""
        session, options = self.session, self.move.options
        if session.component is None or event.new == options[0] or event.new not in options:
            return
        classes = session.shown.findings.classes
        label = next((c.label for c in classes if class_name(c) == event.new), None)
        if not session.move_component(session.component, label):
            self._offer(session.shown)

    def _label(self, factors: Any, order: list[int]) -> None:
        """Number, a star where it was moved by hand, and part of the intensity above each pair."""
        moved = self._labelled or ()
        share = 100 * factors.totals / max(float(factors.totals.sum()), 1e-30)
        corners = [self._grid.corner(place) for place in range(len(order))]
        self._labels.show(
            x=[left + self._grid.tile / 2 + EDGE for _, left in corners],
            y=[-(top - LABEL / 2) for top, _ in corners],
            text=[f"{k}{'*' if k in moved else ''} · {share[k]:.1f} %" for k in order],
        )

    def _colour(self, shown: Shown, order: list[int]) -> None:
        """Frames in the colours of the classes."""
        colours = shown.colours
        corners = [self._grid.corner(place) for place in range(len(order))]
        wide, high = self._grid.tile + EDGE, 2 * self._grid.tile + 2 * EDGE
        chosen = [self._is_chosen(shown, k) for k in order]
        self._frames.show(
            left=[left + EDGE / 2 for _, left in corners],
            right=[left + EDGE / 2 + wide for _, left in corners],
            top=[-(top + EDGE / 2) for top, _ in corners],
            bottom=[-(top + EDGE / 2 + high) for top, _ in corners],
            colour=[colours[int(shown.classes.labels[k])] for k in order],
            width=[2 * EDGE if c else EDGE - 1 for c in chosen],
        )

    def _is_chosen(self, shown: Shown, k: int) -> bool:
        session = self.session
        return k == session.component or (session.label is not None and shown.classes.labels[k] == session.label)

    def _tapped(self, x: float, y: float) -> None:
        tree, place = self.session.shown.tree, self._grid.at(x, -y)
        if tree is not None and place is not None and place < tree.size:
            k = tree.order[place]
            self.session.choose_component(None if k == self.session.component else k)
