"""Undo and redo of settings: what one movement of a hand changes is one step."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stem4d_panel.settings import Settings

_LONGEST = 100  # steps
_ONE_MOVE = 1.0  # seconds between two changes of the same parameters that are still one step


@dataclass(frozen=True)
class _Step:
    """Settings as they were before some parameters changed, and when these changed last."""

    before: Settings
    names: frozenset[str]
    when: float


class History:
    """Steps back and forth; bounded, the oldest are forgotten.

    Parameters
    ----------
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: deque[_Step] = deque(maxlen=_LONGEST)
        self._future: list[Settings] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a step back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step forth."""
        return bool(self._future)

    def begin(self) -> None:
        """Forget everything: other data have been opened."""
        self._past.clear()
        self._future.clear()

    def note(self, before: Settings, after: Settings) -> None:
        """Take in a change that was made; a hand that is still moving the same goes on with its step."""
        names, now = frozenset(changed(before, after)), self._clock()
        last = self._past[-1] if self._past else None
        if last is not None and not self._future and names <= last.names and now - last.when < _ONE_MOVE:
            self._past[-1] = _Step(last.before, last.names, now)
        else:
            self._past.append(_Step(before, names, now))
        self._future.clear()

    def undo(self, now: Settings, apply: Callable[[Settings], bool]) -> bool:
        """Go a step back from the present settings; `apply` says whether the older ones are accepted."""
        if not self._past:
            return False
        step = self._past.pop()  # before, since whoever hears of the change asks what is left
        self._future.append(now)
        if apply(step.before):
            return True
        self._past.append(step)
        self._future.pop()
        return False

    def redo(self, now: Settings, apply: Callable[[Settings], bool]) -> bool:
        """Go a step forth again, as :meth:`undo`."""
        if not self._future:
            return False
        after = self._future.pop()
        # what is changed next is a step of its own, however soon
        self._past.append(_Step(now, frozenset(changed(now, after)), -float("inf")))
        if apply(after):
            return True
        self._past.pop()
        self._future.append(after)
        return False


def changed(before: Settings, after: Settings) -> list[str]:
    """Parameters, by full name, that differ."""
    new = after.as_dict()
    return [name for name, value in before.as_dict().items() if value != new[name]]
