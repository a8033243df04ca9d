"""Long work as a generator: it yields `Progress` between steps and returns its result."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a stage has come, `done` of `total` in `unit`, with a note such as the present error."""

    stage: str
    done: int
    total: int
    unit: str = ""
    note: str = ""

    @property
    def percent(self) -> int:
        """Whole percent, 0 to 100."""
        return int(100 * self.done / self.total) if self.total else 0

    def __str__(self) -> str:
        return f"{self.stage} · {self.unit} {self.done}/{self.total}" + (f" · {self.note}" if self.note else "")


class Pace:
    """How long a stage will take at most, from how fast it went so far; iterations may end before their number is spent."""

    _SETTLED = 1.0  # seconds before that can be told

    def __init__(self) -> None:
        self._stage: tuple[str, str, int] | None = None
        self._since, self._first = 0.0, 0

    def left(self, progress: Progress, now: float) -> float | None:
        """Seconds that are left of the stage at `now`, a time of the monotonic clock; None as long as nothing tells."""
        stage = (progress.stage, progress.unit, progress.total)
        if stage != self._stage or progress.done < self._first:
            self._stage, self._since, self._first = stage, now, progress.done
        passed, done = now - self._since, progress.done - self._first
        return passed / done * (progress.total - progress.done) if done > 0 and passed >= self._SETTLED else None


def in_time(seconds: float) -> str:
    """A time in words, rounded up."""
    whole = math.ceil(seconds)
    for size, unit in ((3600, "h"), (60, "min")):
        if whole > 1.5 * size:
            return f"{math.ceil(whole / size)} {unit}"
    return f"{whole} s"


Steps = Generator[Progress, None, T]


def finish(steps: Steps[T], report: Callable[[Progress], None] | None = None) -> T:
    """Run `steps` to its end, handing each progress to `report`; returns its result."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if report is not None:
            report(progress)


class _Asked(threading.local):
    """Per thread: whether the work that it steps is still wanted."""

    wanted: Callable[[], bool] = staticmethod(lambda: True)


_asked = _Asked()


def still_wanted() -> Callable[[], bool]:
    """A question that long work between two yields asks now and then; it may be asked from any thread."""
    return _asked.wanted


@contextmanager
def wanted_while(question: Callable[[], bool]) -> Iterator[None]:
    """Inside the block, work in this thread is wanted as long as the question says so."""
    before, _asked.wanted = _asked.wanted, question
    try:
        yield
    finally:
        _asked.wanted = before
