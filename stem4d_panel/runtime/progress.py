"""Long work as a generator: it yields `Progress` between steps and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Generator
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
