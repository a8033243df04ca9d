"""A figure of reciprocal space: a pattern, circles about the direct beam, the detector that is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from stem4d_panel.app import palette
from stem4d_panel.app.figures import Frame, Picture, bounds, coordinates, frame_size, lines
from stem4d_panel.app.gesture import Drag, Gesture
from stem4d_panel.app.session import Shown
from stem4d_panel.scan.scan import Axis

MASK, DRAWN = "#7fe5ff", "#ffd54f"  # colours of the mask's circles and of what a hand has drawn
_TURN = np.linspace(0, 2 * np.pi, 121)


@dataclass(frozen=True)
class Look:
    """How intensities are shown.

    Attributes
    ----------
    scale : str
        ``root``, ``log`` or ``linear``.
    table : str
        Colour map.
    clip : float
        Per cent of the pixels that may lie above the upper end.
    """

    scale: str = "root"
    table: str = "inferno"
    clip: float = 0.3


def circle(radius: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """A circle as a path."""
    return np.stack([x + radius * np.cos(_TURN), y + radius * np.sin(_TURN)], axis=1)


def detector_axes(shown: Shown) -> tuple[Axis, Axis]:
    """Axes of the detector as measured, in the units of the binned ones, zero at the direct beam."""
    binned = shown.axes[2:]
    if shown.scan is None or shown.look is None:
        return binned[0], binned[1]
    sizes, centre = shown.scan.detector_shape, shown.look.descan.centre
    factor = shown.frames.bin if shown.frames is not None else 1
    axes = shown.frames.axes[2:] if shown.frames is not None else binned
    made = [
        replace(a, size=n, scale=a.scale / factor, offset=-a.scale / factor * c)
        for a, n, c in zip(axes, sizes, centre, strict=True)
    ]
    return made[0], made[1]


class PatternFigure:
    """An image of reciprocal space with circles, and drags on it."""

    def __init__(
        self,
        name: str,
        width: int,
        dragged: Callable[[Drag], None] | None = None,
        *more: Callable[[Any, Any], None],
    ) -> None:
        self.name, self.width = name, width
        self.dims = (f"{name}_kx", f"{name}_ky")
        self._marks, self._drawn = lines(MASK, 1.2), lines(DRAWN, 1.8)
        drags = [Gesture(dragged=dragged).hook] if dragged is not None else []
        hooks = [self._marks.hook, self._drawn.hook, *more, *drags]
        self._frame = Frame(name, (width, width), *hooks)
        self._picture = Picture(self._frame, self.dims)
        self._rings: tuple[float, ...] = ()
        self.pane = self._frame.pane(self._picture.layer)

    def draw(
        self, image: np.ndarray, axes: tuple[Axis, Axis], field: tuple[Axis, Axis], how: Look, inner: float = 0.0
    ) -> None:
        """Show `image` on `axes` in a figure as large as `field`.

        Intensities are stretched to what lies outside `inner`, so that the direct beam does not hide the rest.
        """
        values = palette.scaled(image, how.scale)
        y, x = (a.offset + a.scale * np.arange(a.size) for a in axes)
        inside = values[(np.hypot(y[:, None], x) >= inner) & (values > 0)]
        ends = palette.limits(inside, 0.5, 100 - how.clip)
        self._show(partial(palette.painted, ends=ends, table=how.table), values, axes, field)

    def draw_signed(self, image: np.ndarray, axes: tuple[Axis, Axis], field: tuple[Axis, Axis], clip: float) -> None:
        """Show differences, white at zero."""
        top = palette.limits(np.abs(image), 0, 100 - clip)[1]
        self._show(partial(palette.painted, ends=(-top, top), table=palette.SIGNED), image, axes, field)

    def _show(self, paint: Any, values: np.ndarray, axes: tuple[Axis, Axis], field: tuple[Axis, Axis]) -> None:
        self._frame.resize(bounds(*field), frame_size(*field, self.width), field[1].units)
        self._picture.show(bounds(*axes), paint, values)

    def mark(self, rings: tuple[float, ...] = (), drawn: list[np.ndarray] | None = None) -> None:
        """Circles of the mask (radii in the figure's units) with a cross at the centre, and paths that a hand has drawn."""
        if rings != self._rings:
            self._rings = rings
            tick = 0.02 * (self._frame.box[2] - self._frame.box[0])
            cross = [np.array([[-tick, 0], [tick, 0]]), np.array([[0, -tick], [0, tick]])] if rings else []
            self._marks.show(**coordinates([*(circle(r) for r in rings if r > 0), *cross]))
        if drawn or self._drawn.data["xs"]:
            self._drawn.show(**coordinates(drawn or []))

    def close(self) -> None:
        """Let go of the figure."""
        self.pane.object = None
