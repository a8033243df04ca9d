"""One compute thread for the process: it steps the jobs of all sessions in turn, and can cancel any between two steps."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Literal

from stem4d_panel.errors import Cancelled
from stem4d_panel.runtime.progress import Pace, Progress, Steps, in_time, wanted_while

State = Literal["waiting", "running", "done", "failed", "cancelled"]
log = logging.getLogger(__name__)
SLICE = 0.05  # seconds a job is stepped before the next one has its turn
QUIET = 1.0  # seconds before idle work begins, so that it does not disturb a hand that is still moving
PATIENCE = 2.0  # seconds after which idle work has a slice all the same


class Job:
    """Work that was asked for under a key; several may wait for it.

    Listeners are called in the compute thread with the job, after a change of state, at most ten times a second with new
    progress, and as long as it waits whenever another job has ended; they must return quickly. One that raises is logged
    and harms nobody else.
    """

    def __init__(self, key: str, make: Callable[[], Steps[Any]]) -> None:
        self.key = key
        self.state: State = "waiting"
        self.progress: Progress | None = None
        self.left: float | None = None  # seconds of the present stage, at most
        self.result: Any = None
        self.error: BaseException | None = None
        self._make = make
        self._steps: Steps[Any] | None = None
        self._listeners: list[Callable[[Job], None]] = []
        self._told = 0.0
        self._pace = Pace()
        self._wanted = 0  # by how many
        self._idle_from: float | None = None  # when idle work may begin; None for work that somebody waits for
        self._ended = threading.Event()

    @property
    def _waited_for(self) -> bool:
        return self._idle_from is None and self._wanted > 0

    def wait(self, timeout: float | None = None) -> Any:
        """The result, once there.

        Raises
        ------
        TimeoutError, Cancelled
            Or whatever ended the job.
        """
        if not self._ended.wait(timeout):
            raise TimeoutError(f"{self.key}: not done after {timeout} s")
        if self.error is not None:
            raise self.error
        return self.result

    def _tell(self, force: bool = True) -> None:
        now = time.monotonic()
        if force or now - self._told > 0.1:
            self._told = now
            for listener in list(self._listeners):
                try:
                    listener(self)
                except Exception:
                    log.exception("%s: a listener failed", self.key)

    def _end(self, state: State, result: Any = None, error: BaseException | None = None) -> None:
        self.state, self.result, self.error = state, result, error
        self._steps = None
        self._ended.set()
        self._tell()

    def _step(self) -> tuple[State, Any, BaseException | None] | None:
        """Run for one slice of time, no longer than somebody wants it; how it ended, or None while there is more to do."""
        until = time.monotonic() + SLICE
        try:
            if self._steps is None:
                self._steps, self.state = self._make(), "running"
                self._tell()
            with wanted_while(lambda: self._wanted > 0):
                while self._wanted > 0 and time.monotonic() < until:
                    self.progress = next(self._steps)
                    self.left = self._pace.left(self.progress, time.monotonic())
                    self._tell(force=False)
        except StopIteration as end:
            return "done", end.value, None
        except Cancelled as error:
            return "cancelled", None, error
        except BaseException as error:  # whatever a job raises belongs to those who asked for it
            return "failed", None, error
        return None

    def _abandon(self) -> None:
        try:
            if self._steps is not None:
                self._steps.close()
        except Exception:
            log.exception("%s: failed while it was cancelled", self.key)
        self._end("cancelled", error=Cancelled("cancelled"))


class Compute:
    """The compute thread and its queue."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._quiet_from = self._idle_ran = 0.0

    def hush(self) -> None:
        """A hand moves: idle work waits until it rests, but for a slice now and then."""
        with self._change:
            self._quiet_from = time.monotonic() + QUIET

    def submit(
        self,
        key: str,
        make: Callable[[], Steps[Any]],
        listener: Callable[[Job], None] | None = None,
        *,
        idle: bool = False,
    ) -> Job:
        """Ask for work; if the same key waits or runs already, that job is shared.

        Idle work begins after a second, and is stepped only while there is no other and no hand moves (:meth:`hush`).
        """
        with self._change:
            job = next((j for j in self._jobs if j.key == key), None)
            if job is None:
                job = Job(key, make)
                job._idle_from = time.monotonic() + QUIET if idle else None
                self._jobs.append(job)
            elif not idle:
                job._idle_from = None
            job._wanted += 1
            if listener is not None:
                job._listeners.append(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stem4d-compute", daemon=True)
                self._thread.start()
            self._change.notify()
        return job

    def release(self, job: Job, listener: Callable[[Job], None] | None = None) -> None:
        """Let go of a job; it is cancelled before its next step when nobody else wants it."""
        with self._change:
            if listener in job._listeners:
                job._listeners.remove(listener)
            job._wanted -= 1
            self._change.notify()

    def cancel(self, job: Job) -> None:
        """Let go of a job but stay to hear that it has ended."""
        self.release(job)

    def ahead_of(self, job: Job) -> int:
        """Jobs that stand before this one in the queue."""
        with self._change:
            before = takewhile(lambda other: other is not job, self._jobs if job in self._jobs else ())
            return sum(other._waited_for for other in before)

    def beside(self, job: Job) -> int:
        """Other jobs that somebody waits for: they take turns with this one."""
        with self._change:
            return sum(other._waited_for for other in self._jobs if other is not job)

    def says(self, job: Job) -> str:
        """What a job is at, in words: its place in the queue, or progress, time left and with how many it shares."""
        if job.state == "waiting" or job.progress is None:
            ahead = self.ahead_of(job)
            return f"waiting · {ahead} ahead of you" if ahead else "working"
        others = self.beside(job)
        parts = [str(job.progress)]
        if job.left is not None and job.left >= 1:
            parts.append(f"at most {in_time(job.left)} left")
        if others:
            parts.append(f"taking turns with {others} other{'s' if others > 1 else ''}")
        return " · ".join(parts)

    def progress(self) -> Progress | None:
        """How far the work has come that somebody waits for; None while there is none."""
        with self._change:
            return next((j.progress for j in self._jobs if j._idle_from is None and j.progress is not None), None)

    def _due(self, job: Job) -> float:
        """When a job may be stepped; those that nobody wants any more are to end first."""
        if job._wanted <= 0:
            return -1.0
        return 0.0 if job._idle_from is None else max(job._idle_from, min(self._quiet_from, self._idle_ran + PATIENCE))

    def _next(self) -> Job:
        """The job whose turn it is; waits until there is one, with the lock held."""
        while True:
            now = time.monotonic()
            first, since = None, float("inf")
            for job in self._jobs:
                due = self._due(job)
                due = due if due <= 0 else max(due, now)  # what is due takes turns, however long it has been
                if due < since:
                    first, since = job, due
            if first is not None and since <= now:
                return first
            self._change.wait(None if first is None else since - now)

    def _run(self) -> None:
        while True:
            with self._change:
                job = self._next()
                dropped = job._wanted <= 0
                if dropped:
                    self._jobs.remove(job)  # before it ends, so that nobody can still join it
            if dropped:
                job._abandon()
                self._tell_waiting()
                continue
            ended = job._step()
            with self._change:
                if job._idle_from is not None:
                    self._idle_ran = time.monotonic()
                self._jobs.remove(job)
                if ended is None:
                    self._jobs.append(job)
            if ended is not None:
                job._end(*ended)
                self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Jobs that have not begun move up."""
        with self._change:
            waiting = [job for job in self._jobs if job.state == "waiting" and job._waited_for]
        for job in waiting:
            job._tell()


compute = Compute()
