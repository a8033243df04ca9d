"""How large the figures are on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stem4d_panel.scan.scan import Axis

WIDTH = 310  # of the figures of the two spaces, in pixels


def frame_size(y: Axis, x: Axis, width: int) -> tuple[int, int]:
    """Frame width and height in screen pixels with square data units, at most `width` each."""
    w, h = x.size * x.scale, y.size * y.scale
    return (width, max(60, round(width * h / w))) if w >= h else (max(60, round(width * w / h)), width)
