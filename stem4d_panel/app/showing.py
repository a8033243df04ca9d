"""What one user's screen shows: the last good value of every stage, and the state of each step."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import param

from stem4d_panel.app import hand
from stem4d_panel.app.choices import Choices
from stem4d_panel.app.shell import STEPS
from stem4d_panel.app.work import STEP_STAGES
from stem4d_panel.runtime.jobs import Job
from stem4d_panel.settings import Settings

R = TypeVar("R")
_QUICK = 0.4  # seconds between two changes of one movement of a hand
_REST = 0.12  # seconds without a change, after which a hand rests


def alone(method: Callable[..., R]) -> Callable[..., R]:
    """One thread at a time in a session."""

    @functools.wraps(method)
    def guarded(self: Showing, *args: Any, **kwargs: Any) -> R:
        with self._lock:
            return method(self, *args, **kwargs)

    return guarded


@dataclass(frozen=True, eq=False)
class Shown:
    """What the screen shows: the last good value of every stage, None before the first."""

    scan: Any = None
    survey: Any = None
    look: Any = None
    frames: Any = None
    factors: Any = None
    tree: Any = None
    classes: Any = None
    findings: Any = None
    colours: tuple[str, ...] = ()  # of the classes
    name: str = ""
    axes: Any = None
    centre: Any = None
    mask: Any = None
    virtual: np.ndarray | None = None
    mean_pattern: np.ndarray | None = None


class Showing(Choices):
    """What is shown of an analysis or of a saved result.

    Parameters
    ----------
    settings : Settings
    """

    shown = param.Parameter(Shown(), doc="What the screen shows.")
    shown_after = param.Parameter(
        None, doc="The same, for views that may follow: the first are on their way to the page."
    )
    details = param.Parameter(None, doc="Readings and sizes of the classes that are shown, once computed.")
    steps = param.Dict({}, doc="State of each step: (state, note).")
    message = param.Parameter(None, doc="(kind, text) of the last message.")
    settings = param.Parameter(None, doc="The settings wanted now.")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings=settings)
        self._analysis: Any = None
        self._result: Any = None
        self._branches: Any = None  # of a saved result or a preview
        self._job: Job | None = None
        # a plain script hears of jobs in the compute thread; servers and kernels hear in their own loop
        self._lock = threading.RLock()
        self._keys: dict[str, str] = {}  # of the stages that are shown
        self._afterwards: Callable[[Callable[[], None]], None] = lambda then: then()
        self._follows = False  # whether views wait to follow
        self._times = (float("-inf"), float("-inf"))  # of the last two changes of what is shown
        self.closed = False
        self.steps = dict.fromkeys(STEPS, ("waiting", ""))

    @property
    def analysis(self) -> Any:
        """The analysis wanted now; None before the data are open, or for a saved result."""
        return self._analysis

    @property
    def result(self) -> Any:
        """The saved result that is shown, if it is one."""
        return self._result

    @property
    def moves(self) -> bool:
        """Whether one change of what is shown follows another, as while a slider is drawn."""
        before, last = self._times
        return last - before < _QUICK and time.monotonic() - last < _REST

    def say(self, kind: str, text: str) -> None:
        """Show a message: ``info``, ``success``, ``warning`` or ``error``."""
        self.message = (kind, text)

    def once_shown(self, chosen: Mapping[str, tuple[int, ...]]) -> None:
        """Choose, by the names of an address, once classes are shown; what is not there then is said."""
        if not chosen:
            return

        def look(_: Any) -> None:
            if self.shown.findings is None:
                return
            self.param.unwatch(watcher)
            for name in self.choose(chosen):
                numbers = ", ".join(map(str, chosen[name]))
                self.say("warning", f"{name}: {numbers} is not there, so nothing is chosen")

        watcher = self.param.watch(look, "shown")

    def current_result(self) -> Any:
        """What is shown as a saveable result, or None while there is none."""
        if self._result is not None:
            return hand.as_shown(self._result, self.shown, self.details, self.settings)
        if self._analysis is not None and self._analysis.ready("findings"):
            return self._analysis.result()
        return None

    def _stale(self, stage: str) -> bool:
        return self._keys.get(stage) != self._analysis.key(stage)

    def _show_ready(self, running: bool = False) -> None:
        """Show every stage that is ready, in order, up to the first that is not."""
        if self._analysis is None:
            self._mark_states(running)
            return
        new: dict[str, Any] = {}
        for stages in STEP_STAGES.values():
            for stage in stages:
                value = self._analysis.peek(stage)
                if value is None:
                    break
                if self._stale(stage):
                    new[stage] = value
                    self._keys[stage] = self._analysis.key(stage)
            else:
                continue
            break
        if new:
            self._show(new)
        self._mark_states(running)

    def _show(self, new: dict[str, Any]) -> None:
        scan = self._analysis.scan
        before = self.shown if self.shown.scan is scan else Shown(scan=scan, name=scan.name, axes=scan.axes)
        if "frames" in new:
            frames = new["frames"]
            new |= {"virtual": frames.virtual, "mean_pattern": frames.mean}
        # maps, patterns and their classes are one picture: changed together or not at all
        whole = {"factors", "tree", "classes", "findings"}
        if new.keys() & whole and not self._analysis.ready("findings"):
            for stage in new.keys() & whole:
                self._keys.pop(stage, None)
            new = {k: v for k, v in new.items() if k not in whole}
        if "factors" in new:
            frames = self._analysis.peek("frames")
            new |= {"axes": frames.axes, "centre": frames.centre, "mask": frames.mask}
        if new:
            if "classes" in new:
                self._forget_details()
            self._present(replace(before, **new))

    @alone
    def _show_preview(self, analysis: Any, found: dict[str, Any]) -> None:
        """A first look at a rank, until its factors are there."""
        if self.closed or analysis is not self._analysis or analysis.ready("factors"):
            return
        frames = analysis.peek("frames")
        self._forget_details()
        self._present(replace(self.shown, **found, axes=frames.axes, centre=frames.centre, mask=frames.mask))

    def branches(self) -> Any:
        """The branches of the tree that is shown, integrated when they are asked for."""
        if self._analysis is not None:
            made = self._analysis.peek("branches")
            if made is not None and made.tree is self.shown.tree:
                return made
        source = self._result if self._result is not None else self.shown
        if self._branches is None or self._branches.tree is not source.tree:
            from stem4d_panel.cluster.classes import ClassMaker

            self._branches = ClassMaker(source.factors, source.tree, source.centre, self.settings.cluster)
        return self._branches

    def _refresh_result(self) -> None:
        r = self._result
        classes, findings = hand.recut(r, self.branches, self.settings)
        same = classes is r.classes and self.settings.measure.shape == r.settings.measure.shape
        self.details = r.details if same else None
        shown = Shown(
            factors=r.factors, tree=r.tree, classes=classes, findings=findings, name=r.name, axes=r.axes, centre=r.centre,
            mask=r.mask, virtual=r.factors.maps.sum(axis=0), mean_pattern=r.mean_pattern,
        )  # fmt: skip
        self._present(shown)
        self._mark(dict.fromkeys(STEPS, ("up to date", "saved result")))

    def _present(self, shown: Shown) -> None:
        """Show something else, in which what was chosen is found again."""
        before, chosen = self.shown, {}
        if shown.findings is not None and shown.findings is not before.findings:
            from stem4d_panel.app import follow

            shown = replace(shown, colours=follow.colours(before, shown))
            if self.component is not None and shown.factors is not before.factors:
                chosen["component"] = follow.components(before.factors, shown.factors).get(self.component)
            if self.label is not None:
                chosen["label"] = follow.classes(before.classes, shown.classes).get(self.label)
        with param.parameterized.discard_events(self):  # found again is not chosen anew: no view changes its mode
            self.param.update(**{name: i for name, i in chosen.items() if i is not None})
        self.param.update(shown=shown, **{name: i for name, i in chosen.items() if i is None})
        for text in hand.new_warnings(before, shown):
            self.say("warning", text)
        self._times = (self._times[1], time.monotonic())
        if not self._follows:
            self._follows = True
            self._afterwards(self._show_after)

    @alone
    def _show_after(self) -> None:
        """Let the views follow that hand and eye wait for less."""
        self._follows = False
        if not self.closed:
            self.shown_after = self.shown

    def _forget_details(self) -> None:
        with param.parameterized.discard_events(self):  # who draws them will draw what is shown
            self.details = None

    def _mark(self, states: Mapping[str, tuple[str, str]]) -> None:
        if {**self.steps, **states} != self.steps:
            self.steps = {**self.steps, **states}

    def _mark_states(self, running: bool = False) -> None:
        if self._analysis is None:
            return
        states: dict[str, tuple[str, str]] = {}
        active = running or self._job is not None
        for step, stages in STEP_STAGES.items():
            if all(self._analysis.ready(s) for s in stages):
                states[step] = ("up to date", "")
            elif active:
                states[step] = ("running", "")
                active = False
            else:
                shown_before = any(s in self._keys for s in stages) or getattr(self.shown, stages[-1]) is not None
                states[step] = ("stale" if shown_before else "waiting", "")
        self._mark(states)
