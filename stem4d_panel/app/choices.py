"""What is chosen on a screen: a position, region, component or class, and the virtual detector."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import param


def _weakly(value: Any) -> Callable[[], Any]:
    return weakref.ref(value) if value is not None else lambda: None


class Choices(param.Parameterized):
    """Choices among what is shown; what is not there cannot be chosen."""

    shown = param.Parameter(None, doc="What the screen shows.")
    point = param.Parameter(None, doc="Chosen position (y, x), or None.")
    region = param.Parameter(None, doc="Chosen rectangle of positions (y0, x0, y1, x1), its corners included, or None.")
    component = param.Parameter(None, doc="Chosen component, or None.")
    label = param.Parameter(None, doc="Chosen class, or None.")
    detector = param.Parameter(None, doc="Virtual detector, or None.")
    drawing = param.Boolean(False, doc="Whether a hand draws the detector: it sees a large scan in steps meanwhile.")
    within: Callable[[], AbstractContextManager[Any]] = nullcontext  # pictures that change inside go out together

    # a detector and its step, what it looked at, which this keeps nobody from letting go, and what it saw
    _seen: tuple[Any, tuple[Callable[[], Any], ...], Any] | None = None

    def _choose(self, **choice: Any) -> None:
        with self.within():
            self.param.update(**choice)

    def choose_component(self, index: int | None) -> None:
        """Choose a component everywhere, or none."""
        factors = self.shown.factors
        if index is not None and (factors is None or not 0 <= index < factors.rank):
            return
        self._choose(component=index, label=None)

    def choose_class(self, label: int | None) -> None:
        """Choose a class everywhere, or none."""
        classes = self.shown.classes
        if label is not None and (classes is None or not 0 <= label < classes.count):
            return
        self._choose(component=None, label=label)

    def choose_point(self, y: int, x: int) -> None:
        """Choose a position if it lies on the scan."""
        axes = self.shown.axes
        if axes is not None and 0 <= y < axes[0].size and 0 <= x < axes[1].size:
            self._choose(point=(y, x), region=None)

    def choose_region(self, y0: int, x0: int, y1: int, x1: int) -> None:
        """Choose the rectangle between two positions, cut to the scan."""
        axes = self.shown.axes
        if axes is None:
            return
        (top, bottom), (left, right) = (
            (max(0, min(a, b)), min(axis.size - 1, max(a, b))) for a, b, axis in ((y0, y1, axes[0]), (x0, x1, axes[1]))
        )
        if top <= bottom and left <= right:
            self._choose(region=(top, left, bottom, right), point=None)

    def choose(self, chosen: Mapping[str, tuple[int, ...]]) -> list[str]:
        """Choose by the names of an address: component, class, at, region; returns those of what is not there."""
        makers: dict[str, tuple[Callable[..., None], str]] = {
            "component": (self.choose_component, "component"), "class": (self.choose_class, "label"),
            "at": (self.choose_point, "point"), "region": (self.choose_region, "region"),
        }  # fmt: skip
        missing = []
        for name, numbers in chosen.items():
            make, parameter = makers[name]
            make(*numbers)
            if getattr(self, parameter) is None:
                missing.append(name)
        return missing

    def choose_nothing(self) -> None:
        """Let go of whatever is chosen, the virtual detector included."""
        self._choose(point=None, region=None, component=None, label=None, detector=None)

    def virtual_step(self) -> int:
        """Step between the positions that the virtual detector sees now."""
        from stem4d_panel.measure.virtual import draft_step

        return draft_step(self.detector, self.shown.scan.shape) if self.drawing else 1

    def virtual_image(self) -> Any:
        """What the virtual detector sees at each position; looked at anew where detector or data have changed.

        While it is drawn, that of every `virtual_step`-th position stands for those beside it, too.
        """
        from stem4d_panel.measure.virtual import virtual_image

        shown, before = self.shown, self._seen
        wanted = self.detector, self.virtual_step()
        at = (shown.scan, shown.look, shown.frames)
        if before is None or before[0] != wanted or any(a() is not b for a, b in zip(before[1], at, strict=True)):
            step = wanted[1]
            image = virtual_image(self.detector, shown.scan.data, shown.look, shown.frames, step)
            if step > 1:
                y, x = shown.scan.scan_shape
                image = image.repeat(step, axis=0).repeat(step, axis=1)[:y, :x]
            self._seen = before = wanted, tuple(map(_weakly, at)), image
        return before[2]

    def chosen_class(self) -> int:
        """The chosen class, else that of the chosen component, else that at the chosen position, else the strongest."""
        shown = self.shown
        if self.label is not None and self.label < shown.classes.count:
            return int(self.label)
        if self.component is not None:
            return int(shown.classes.labels[self.component])
        if self.point is not None:
            return max(0, int(shown.findings.position_labels[self.point]))
        return 0
