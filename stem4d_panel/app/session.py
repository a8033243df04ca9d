"""One user's state: settings, what is shown, what is chosen, and the job that brings the shown up to date.

Knows no view. Views and controls watch its parameters; whatever they want changed goes through its methods.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import param

from stem4d_panel.app import hand
from stem4d_panel.app.history import History, changed
from stem4d_panel.app.shell import STEPS
from stem4d_panel.app.showing import Showing, alone
from stem4d_panel.app.work import STEP_STAGES, head_start, open_steps, opening_key, run_steps, running_key, walk_steps
from stem4d_panel.errors import SettingError, Stem4dError
from stem4d_panel.parameters import RefusedError
from stem4d_panel.runtime.jobs import Job, compute
from stem4d_panel.runtime.progress import Steps
from stem4d_panel.settings import SHORT_NAMES, DataSettings, Settings

_GATHER = 0.02  # seconds in which events that wait in the line are taken in together
_DRAWN = 1.0  # seconds that a page may take to draw what was computed behind, before the next page has its turn
_one_by_one = ThreadPoolExecutor(1, thread_name_prefix="stem4d-behind")
_CHEAP = ("classes", "findings")  # answered at once, in the callback
_OF_RESULT = ("cluster.threshold", "cluster.moves", "cluster.names", "measure.", "data.")  # what a saved one can change


class Session(Showing):
    """State of one screen.

    Parameters
    ----------
    data : Scan, Result, path, array, HyperSpy signal or None
        None means the simulated sample.
    settings : Settings
    call : callable
        Runs a function where the screen may be changed (the event loop of a server; at once in a notebook).
    afterwards : callable, optional
        Runs one there when what has been changed so far is on its way to the page; at once when absent.
    """

    evidence = param.Parameter(None, doc="What speaks for each rank, once computed in the background.")
    stability = param.Parameter(None, doc="How well each branch is found again, once computed in the background.")
    progress = param.Parameter(None, doc="Progress of the running job, or None.")

    def __init__(
        self,
        data: Any,
        settings: Settings,
        call: Callable[[Callable[[], None]], None],
        dataset: str | None = None,
        root: Path | None = None,
        afterwards: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__(settings)
        self._call, self._afterwards = call, afterwards or self._afterwards
        self._first = (data, dataset, root)
        self._later: tuple[Mapping[str, Any], tuple[str, ...]] = ({}, ())
        self.history = History()
        self._asked: tuple[Any, str | None, Path | None] | None = None  # what was opened last: data, dataset, root
        self._opened_now: tuple[Any, str | None] | None = (
            None  # what is open: a path or the number of an object, dataset
        )
        self._behind: list[tuple[Job, Callable[[Job], None]]] = []
        self._soon: dict[str, Any] = {}

    # ---- what is asked for -------------------------------------------------------------------------------------------

    @property
    def asked(self) -> tuple[Any, str | None]:
        """Data and dataset that were opened last."""
        return (self._asked or self._first)[:2]

    @property
    def busy(self) -> bool:
        """Whether a job is wanted and not ended."""
        with self._lock:  # between two jobs of one change it is still busy
            return self._job is not None

    @alone
    def open(self, data: Any, dataset: str | None = None, root: Path | None = None) -> None:
        """Open data in the compute thread and analyse them; what is shown stays until there is something new.

        A file must lie in `root`. What was stated of another file (`DataSettings`) is forgotten, and moves and names of
        other data once these are open.
        """
        self._release()
        if self._asked is not None and isinstance(data, (str, Path)) and str(data) != str(self._asked[0]):
            self.settings = self.settings.replace({f"data.{n}": v for n, v in DataSettings().as_dict().items()})
        self._asked = (data, dataset, root)
        settings = self.settings
        key = opening_key(data, dataset, settings, root)
        self._submit(key, lambda: open_steps(data, dataset, settings, root), self._opened)
        self._mark({"Data": ("running", "opening")})

    def start(self) -> None:
        """Open what the session was made for."""
        self.open(*self._first)

    def once_open(self, changes: Mapping[str, Any], notes: tuple[str, ...]) -> None:
        """Once data are open, change what a saved result came with, and tell what could not be done."""
        self._later = (changes, notes)

    @alone
    def continue_from(self, path: Path | None, root: Path | None) -> None:
        """Open the scan of the saved result that is shown, the sample for None, at the settings of the result."""
        if self._result is not None:
            dataset = None if path is None else self._result.source.get("dataset")
            self._asked = (path, dataset, root)  # what was stated of the file stays
            self.open(path, dataset, root)

    @alone
    def change(self, changes: Mapping[str, Any]) -> bool:
        """Change settings, all or none; a refusal becomes a message and leaves everything as it is."""
        with self.within():
            return self._change(changes)

    @alone
    def undo(self) -> bool:
        """Take back the last step of settings; whether there was one that is accepted."""
        return self.history.undo(self.settings, self._restore)

    @alone
    def redo(self) -> bool:
        """Make again what was taken back last; whether there was something that is accepted."""
        return self.history.redo(self.settings, self._restore)

    def _restore(self, settings: Settings) -> bool:
        with self.within():
            return self._change({name: settings.get(name) for name in changed(self.settings, settings)}, settings)

    def _change(self, changes: Mapping[str, Any], whole: Settings | None = None) -> bool:
        """`whole` are earlier settings that come back as they were, what was stated and what was automatic included."""
        compute.hush()
        try:
            stated = new = self.settings.replace(changes) if whole is None else whole
            if self._analysis is not None:
                new = hand.after_change(self.settings, stated, changes)
            elif self._result is not None:
                full = {SHORT_NAMES.get(n, n) for n in changes}
                if any(not n.startswith(_OF_RESULT) for n in full):
                    raise SettingError(
                        "a saved result holds no frames: only the threshold, moves and names of classes, and the measures can be changed; open the scan for more"
                    )
                hand.check(new, self._result.factors.rank)
        except Stem4dError as error:
            self.say("error", str(error))
            self.param.trigger("settings")
            return False
        if new == self.settings:
            return True
        if whole is None:
            self.history.note(self.settings, new)
        before, self.settings = self.settings, new
        if new != stated:
            self.say("info", hand.RESET)
        if new.data != before.data and self._asked is not None and isinstance(self._asked[0], (str, Path)):
            self.open(*self._asked)
        else:
            self.refresh()
        return True

    @alone
    def change_soon(
        self, changes: Mapping[str, Any], within: Callable[[], AbstractContextManager[Any]] = nullcontext
    ) -> None:
        """As :meth:`change`, for a hand that is still moving: of what comes while a picture is drawn, the newest counts.

        The change is made inside the context that `within` gives, one that sends its pictures together.
        """
        first, self._soon = not self._soon, {**self._soon, **changes}
        if first:
            timer = threading.Timer(_GATHER, lambda: self._call(lambda: self._change_now(within)))
            timer.daemon = True
            timer.start()

    def wanted(self, name: str) -> Any:
        """A setting as it was asked for last, whether taken over or not."""
        return self._soon.get(name, self.settings.get(name))

    @alone
    def _change_now(self, within: Callable[[], AbstractContextManager[Any]]) -> None:
        changes, self._soon = self._soon, {}
        if not self.closed:
            with within():
                self.change(changes)

    def name_class(self, label: int, text: str) -> bool:
        """Name a class, whose strongest member then carries the name; an empty text takes its name away."""
        return self._by_hand("cluster.names", lambda: hand.named(self.shown, self.settings, label, text), label)

    def move_component(self, component: int, label: int | None) -> bool:
        """Move a component into another class, or into one of its own; back where the tree has it, it is not moved."""
        return self._by_hand(
            "cluster.moves", lambda: hand.moved(self.shown, self.settings, component, label), label, component
        )

    @alone
    def _by_hand(
        self, parameter: str, make: Callable[[], dict[str, Any]], label: int | None, component: int = 0
    ) -> bool:
        """As :meth:`change`; what is not there is ignored, and numbers that may soon mean others wait."""
        shown = self.shown
        if shown.classes is None or not 0 <= component < shown.factors.rank:
            return False
        if label is not None and not 0 <= label < shown.classes.count:
            return False
        if self._analysis is not None and self._analysis.peek("findings") is not shown.findings:
            self.say("info", "classes can be changed by hand once they are up to date")
            return False
        before = self.settings
        try:
            changed = self.change(make())
        except RefusedError as error:
            self.say("error", f"{parameter}: {error}")
            return False
        except Stem4dError as error:
            self.say("error", str(error))
            return False
        for text in hand.replaced(before, self.settings):
            self.say("info", text)
        return changed

    @alone
    def refresh(self) -> None:
        """Bring the shown up to date with the settings; newest settings win."""
        self._release()
        if self._result is not None:
            self._refresh_result()
            return
        if self._analysis is None:
            return
        self._analysis = self._analysis.replace(self.settings)
        every = [s for stages in STEP_STAGES.values() for s in stages]
        missing = [s for s in every if self._stale(s) and not self._analysis.ready(s)]
        if missing and set(missing) <= set(_CHEAP):  # before anything is shown: one picture, not two
            try:
                self._analysis.run("findings")
            except Stem4dError as error:
                self._show_ready()
                self._failed(error)
                return
            missing = []
        self._show_ready()
        if not missing:
            self._start_walk()
            return
        analysis = self._analysis

        def preview(found: dict[str, Any]) -> None:  # in the compute thread
            self._call(lambda: self._show_preview(analysis, found))

        self._submit(running_key(analysis), lambda: run_steps(analysis, preview), self._ran)
        head_start.let_go()

    def doing(self) -> str:
        """What the running job is at, in words; empty while there is none."""
        with self._lock:
            job = self._job
        return compute.says(job) if job is not None else ""

    @alone
    def rest(self) -> None:
        """Let go of the work, since nobody looks any more."""
        self._release()

    @alone
    def cancel(self) -> None:
        """Stop the running job; the last good result stays, later steps stay stale."""
        if self._job is not None:
            self._release()
            self.progress = None
            self._mark_states()
            self.say("info", "cancelled; the last result stays")

    @alone
    def close(self) -> None:
        """Let go of everything; work that nobody else wants ends."""
        self.closed = True
        self._release()

    # ---- jobs --------------------------------------------------------------------------------------------------------

    def _submit(self, key: str, make: Callable[[], Steps[Any]], done: Callable[[Job], None]) -> None:
        def listen(job: Job) -> None:  # in the compute thread
            self._call(lambda: self._hear(job, done))

        self._listener = listen
        self._job = compute.submit(key, make, listen)

    def _release(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            compute.release(job, self._listener)
        for job, listener in self._behind:
            compute.release(job, listener)
        self._behind = []

    @alone
    def _start_walk(self) -> None:
        """What the screen can do without at first: details of the classes, then the other ranks and the evidence for each."""
        analysis = self._analysis
        if self.closed or self._behind or self._job is not None or analysis is None:
            return
        self.evidence = self.stability = None
        self._work_behind("details", "details", lambda: analysis.steps("details"))
        self._work_behind("evidence", "tree", lambda: walk_steps(analysis))
        self._work_behind("stability", "tree", analysis.stability_steps)

    def _work_behind(self, name: str, stage: str, make: Callable[[], Steps[Any]]) -> None:
        """Compute what nobody waits for, once no hand moves; its result becomes the parameter `name`.

        A job is one for all who ask while the key of `stage` is the same.
        """

        def listen(job: Job) -> None:  # in the compute thread
            if job.state == "done":
                with suppress(RuntimeError):  # the process ends
                    _one_by_one.submit(self._hand_over, name, job)

        key = f"{name}/{self._analysis.key(stage)}"
        self._behind.append((compute.submit(key, make, listen, idle=True), listen))

    def _hand_over(self, name: str, job: Job) -> None:
        """Have a result drawn, and wait for it: thirty pages that want the same one leave room for events between them."""
        drawn = threading.Event()

        def draw() -> None:
            try:
                self._found_behind(name, job)
            finally:
                drawn.set()

        if not self.closed:
            self._call(draw)
            drawn.wait(_DRAWN)

    @alone
    def _found_behind(self, name: str, job: Job) -> None:
        if not self.closed and any(job is other for other, _ in self._behind):
            setattr(self, name, job.result)

    @alone
    def _hear(self, job: Job, done: Callable[[Job], None]) -> None:
        if self.closed or job is not self._job:
            return
        if job.state in ("waiting", "running"):
            if job.progress is not None and job.progress is not self.progress:
                self.progress = job.progress
            else:
                self.param.trigger("progress")  # its place in the queue
            self._show_ready(running=True)
            return
        self._job = None
        self.progress = None
        if job.state == "failed":
            self._show_ready()
            self._failed(job.error)
        elif job.state == "done":
            done(job)

    def _opened(self, job: Job) -> None:
        from stem4d_panel.analysis import Analysis
        from stem4d_panel.results.result import Result

        self.param.update(point=None, region=None, component=None, label=None, detector=None)
        data, dataset, _ = self._asked or self._first
        opened = (str(data) if isinstance(data, (str, Path)) else id(data), dataset)
        if opened != self._opened_now:  # else it is the same with other settings of the data, which can be undone
            self._opened_now = opened
            self.history.begin()
        if isinstance(job.result, Result):
            self._result, self._analysis, self._branches = job.result, None, None
            self.settings = job.result.settings
            self._refresh_result()
        else:
            warnings = list(job.result.warnings)
            if hand.is_other(job.result, self._analysis, self._result):
                self.settings = hand.without(self.settings)
                warnings += [hand.OTHER_SCAN] if self._result is not None else []
            self._result = None
            self._analysis = Analysis(job.result, self.settings)
            self._keys.clear()
            for text in warnings:
                self.say("warning", text)
            self.refresh()
        self._do_later()

    def _do_later(self) -> None:
        (changes, notes), self._later = self._later, ({}, ())
        if self._result is not None:
            for name, value in changes.items():
                self.change({name: value})
        if notes:
            self.say("warning", "; ".join(notes))

    def _ran(self, job: Job) -> None:
        self._show_ready()
        self._call(self._start_walk)  # when what is there has been drawn

    def _failed(self, error: BaseException | None) -> None:
        text = str(error) if isinstance(error, Stem4dError) else f"{type(error).__name__}: {error}"
        states = dict(self.steps)
        broken = next((s for s in STEPS if states[s][0] != "up to date"), "Data")
        states[broken] = ("failed", text)
        self.steps = states
        self.say("error", text)
