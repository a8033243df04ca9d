"""What a page showed first, kept as pictures: the next page of the same address shows them until its own are drawn.

Until a page has drawn anything there is the `first_look` at what the server was started with.
"""

from __future__ import annotations

import base64
import io
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

_MOST = 12  # addresses that are kept
_LARGEST = 512  # pixels of a picture along a side; the screen's figures have fewer
_OTHER = {"file", "dataset", "sample"}  # names in an address that ask for other data than the server was started with
Arguments = Mapping[str, Sequence[bytes | str]]
Stamp = tuple[str, int, int]  # of a file: path, time of the last change in ns, bytes


@dataclass(frozen=True)
class Still:
    """A picture as a figure shows it.

    Attributes
    ----------
    name : str
        What is seen.
    image : np.ndarray
        RGBA, shape (y, x, 4), uint8.
    size : (int, int)
        Width and height on the screen, in pixels.
    """

    name: str
    image: np.ndarray
    size: tuple[int, int]

    def html(self) -> str:
        """The picture as an element of a page."""
        from PIL import Image

        step = max(1, -(-max(self.image.shape[:2]) // _LARGEST))
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(self.image[::step, ::step])).save(file, "PNG", compress_level=1)
        text = base64.b64encode(file.getvalue()).decode()
        width, height = self.size
        return f'<img alt="{escape(self.name)}" width="{width}" height="{height}" src="data:image/png;base64,{text}">'


class Stills:
    """Pictures by address, the least used forgotten first; those of a file that has changed are not shown."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[Stamp | None, str]] = OrderedDict()
        self._first: tuple[Stamp | None, str] = (None, "")

    def keep(self, arguments: Arguments, data: Any, stills: Sequence[Still]) -> None:
        """Keep what a page of an address shows of `data`, a path or None for the sample."""
        key = _key(arguments)
        self._kept[key] = _stamp(data), "".join(still.html() for still in stills)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)

    def begin(self, data: Any, html: str) -> None:
        """Show this where nothing is kept yet of a page of `data`, with which the server was started."""
        self._first = _stamp(data), html

    def has(self, arguments: Arguments) -> bool:
        """Whether there are pictures of a page that still hold."""
        key = _key(arguments)
        if key in self._kept and not _holds(self._kept[key][0]):
            del self._kept[key]
        return key in self._kept

    def html(self, arguments: Arguments) -> str:
        """The elements that show what a page of an address will; empty where that is not known."""
        if self.has(arguments):
            return self._kept[_key(arguments)][1]
        stamp, html = self._first
        return html if not _OTHER & set(arguments) and _holds(stamp) else ""


def _key(arguments: Arguments) -> Any:
    return tuple(sorted((name, tuple(map(str, values))) for name, values in arguments.items()))


def _holds(stamp: Stamp | None) -> bool:
    return stamp is None or _stamp(stamp[0]) == stamp


def _stamp(data: Any) -> Stamp | None:
    if not isinstance(data, (str, Path)):
        return None
    try:
        found = os.stat(data)
    except OSError:
        return str(data), -1, -1
    return str(data), found.st_mtime_ns, found.st_size


stills = Stills()
