"""Which scan a stack of frames is: the shapes that it could have, each with the image that it would be."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app.text import Html, caption, say
from stem4d_panel.errors import SettingError
from stem4d_panel.parameters import sizes
from stem4d_panel.scan.stack import Folding, Guess, guess_shapes, virtual_images
from stem4d_panel.settings import DataSettings, Settings, parse_value

SLOTS = 6
_SIDE = 92  # screen pixels of a picture
_FRAME = (
    f'<div style="width:{_SIDE}px;height:{_SIDE}px;display:flex;align-items:center;justify-content:center;'
    'background:rgba(128,128,128,.15);border-radius:4px">{}</div>'
)


class ShapeChooser:
    """Pictures and buttons of the shapes; all are there from the first, and shown when they are wanted.

    Parameters
    ----------
    chosen : callable
        Takes the shape on which the user has decided.
    """

    def __init__(self, chosen: Callable[[Guess], None]) -> None:
        self._chosen = chosen
        self._frames = 0
        self._per_row: int | None = None
        self._before: Guess | None = None
        self._sums: np.ndarray | None = None
        self.guesses: list[Guess] = []
        self.head = caption(margin=(4, 8))
        self.note = caption(margin=(2, 8), css_classes=["shape-note"])
        self.pictures = [Html("", width=_SIDE, height=_SIDE, margin=0) for _ in range(SLOTS)]
        self.buttons = [self._button(i) for i in range(SLOTS)]
        self.slots = [
            pn.Column(picture, button, width=_SIDE, margin=4, visible=False)
            for picture, button in zip(self.pictures, self.buttons, strict=True)
        ]
        field = {"size": "small", "sizing_mode": "stretch_width", "margin": (8, 8)}
        self.flyback = pmui.TextInput(
            label="Flyback (frames)", placeholder="auto", description="Frames at the end of each row that are none of the scan.", **field,
        )  # fmt: skip
        self.other = pmui.TextInput(
            label="Other shape (y,x)", placeholder="such as 256,256", description="Positions without the flyback.", **field,
        )  # fmt: skip
        self.flyback.param.watch(lambda _: self._flyback_given(), "value")
        self.other.param.watch(lambda _: self._other_given(), "value")
        self.layout = pn.Column(
            self.head,
            pn.FlexBox(*self.slots, gap="0px", margin=(0, 4), sizing_mode="stretch_width"),
            self.note,
            pn.Row(self.flyback, self.other, sizing_mode="stretch_width", margin=0),
            visible=False,
            sizing_mode="stretch_width",
            margin=0,
        )

    def offer(self, frames: int, per_row: int | None, before: Guess | None) -> None:
        """Show the shapes of so many frames; `before` is what was chosen the last time."""
        self._frames, self._per_row, self._before, self._sums = frames, per_row, before, None
        self.flyback.value = self.other.value = ""
        say(self.head, f"{frames:,} frames: which scan are they?")
        say(self.note, "")
        self._show()
        self.layout.visible = True

    def draw(self, sums: np.ndarray) -> None:
        """Show what the scan would look like in each shape."""
        self._sums = sums
        say(self.note, "")
        self._show()

    def say(self, text: str) -> None:
        """Show a line below the pictures."""
        say(self.note, text)

    def hide(self) -> None:
        """Show nothing."""
        self.layout.visible = False

    def _button(self, index: int) -> Any:
        button = pmui.Button(
            label="", size="small", variant="outlined", margin=(3, 0), sizing_mode="stretch_width",
            css_classes=[f"shape-{index}"], sx={"minWidth": 0, "px": 0, "textTransform": "none"},
        )  # fmt: skip
        button.on_click(lambda _: self._pressed(index))
        return button

    def _pressed(self, index: int) -> None:
        if index < len(self.guesses):
            self._chosen(self.guesses[index])

    def _given(self, **fields: Any) -> DataSettings:
        """What the fields state; raises SettingError."""
        return Settings.make({f"data.{n}": parse_value(f"data.{n}", str(f.value)) for n, f in fields.items()}).data

    def _flyback(self) -> int | None:
        return self._given(flyback=self.flyback).flyback if str(self.flyback.value).strip() else None

    def _flyback_given(self) -> None:
        try:
            self._flyback()
        except SettingError as error:
            say(self.note, str(error))
            return
        say(self.note, "")
        self._show()

    def _other_given(self) -> None:
        if not str(self.other.value).strip():
            return
        try:
            shape, flyback = sizes(self._given(scan_shape=self.other).scan_shape), self._flyback() or 0
        except SettingError as error:
            say(self.note, str(error))
            return
        folding = Folding(shape, flyback)
        if shape is None or not folding.fills(self._frames):
            say(self.note, f"{self._frames} frames {folding.refusal(self._frames)}")
            return
        self._chosen(Guess(*shape, flyback))

    def _show(self) -> None:
        flyback = self._flyback()
        self.guesses = guess_shapes(self._frames, self._per_row, SLOTS, flyback)
        if flyback is None and self._before is not None:
            self.guesses = list(dict.fromkeys([self._before, *self.guesses]))[:SLOTS]
        images = [None] * len(self.guesses) if self._sums is None else virtual_images(self._sums, self.guesses)
        for i, slot in enumerate(self.slots):
            slot.visible = i < len(self.guesses)
            if slot.visible:
                guess, image = self.guesses[i], images[i]
                self.buttons[i].param.update(
                    label=in_words(guess), variant="contained" if guess == self._before else "outlined"
                )
                self.pictures[i].object = _FRAME.format("" if image is None else _picture(image))


def in_words(guess: Guess) -> str:
    """A shape, short enough for a button."""
    return f"{guess.ny} × {guess.nx}" + (f" +{guess.flyback}" if guess.flyback else "")


def _picture(image: np.ndarray) -> str:
    """A small grey image as HTML, in the proportions of the scan."""
    small = image[:: -(-image.shape[0] // (2 * _SIDE)), :: -(-image.shape[1] // (2 * _SIDE))]
    low, high = np.nanpercentile(small, (1, 99)) if np.isfinite(small).any() else (0.0, 0.0)
    grey = np.clip((np.nan_to_num(small) - low) / ((high - low) or 1) * 255, 0, 255).astype(np.uint8)
    scale = _SIDE / max(image.shape)
    height, width = (max(2, round(n * scale)) for n in image.shape)
    uri = base64.b64encode(_png(grey)).decode()
    return (
        f'<img src="data:image/png;base64,{uri}" style="width:{width}px;height:{height}px;image-rendering:pixelated">'
    )


def _png(grey: np.ndarray) -> bytes:
    """An image of 8 bits a pixel as a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = grey.shape
    lines = np.pad(grey, ((0, 0), (1, 0))).tobytes()  # each line begins with the number of its filter, none
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
