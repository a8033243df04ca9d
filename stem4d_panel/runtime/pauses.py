"""How long the interpreter's search for unused objects may hold up everything else.

It goes through all objects that are alive: 1 to 2 s with thirty pages open, in which no page gets an answer. So what a
long search has found alive is left out of the next ones, until going through everything is due again.
"""

from __future__ import annotations

import functools
import gc
import time
from typing import Any

LONG = 0.1  # seconds of one search, after which what it found alive is left out
SHARE = 0.01  # of the time, that searches through everything may take


class _Searches:
    """Told by the interpreter when a search begins and ends; see `gc.callbacks`."""

    def __init__(self) -> None:
        self._began = 0.0
        self._everything = False
        self.due = 0.0  # when one may go through everything again

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] < 2:  # of young objects only
            return
        now = time.perf_counter()
        if phase == "start":
            self._began, self._everything = now, now >= self.due
            if self._everything:
                gc.unfreeze()
            return
        took = now - self._began
        if self._everything:
            self.due = now + took / SHARE
        if took > LONG:
            gc.freeze()


_searches = _Searches()


@functools.cache
def keep_short() -> None:
    """Let searches in this process be short from now on; for a server, whose objects live as long as its pages."""
    gc.callbacks.append(_searches)


def search_everything() -> None:
    """Find all that is unused, now and however long it takes."""
    _searches.due = 0.0
    gc.collect()
