"""Whether anybody looks at a page: the work of one whose connection is lost ends soon after, long before its session does.

Bokeh keeps a session for half a minute after its page has gone. A page does not connect again by itself: it would have
missed what was changed meanwhile.
"""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stem4d_panel.runtime.memory import give_back, share_heap
from stem4d_panel.runtime.pauses import keep_short

if TYPE_CHECKING:
    from stem4d_panel.app.workbench import Workbench

PATIENCE = 1.0  # seconds before the work of a page that is gone ends: another page may be loading
_SHARE = 0.25  # of the pages that are open: when as many have gone, what they left is searched for


@dataclass
class _Pages:
    """How many pages have begun and ended, and ended without what they left having been searched for."""

    begun: int = 0
    ended: int = 0
    left: int = 0

    def are_many(self) -> bool:
        """Whether what is left of pages that have gone is worth a search, for which those that are open have to wait."""
        return self.left >= _SHARE * (self.begun - self.ended)


_pages = _Pages()


def watch(document: Any, workbench: weakref.ref[Workbench]) -> None:
    """Let the session of a page rest while the page has no connection; the page itself says that it has none."""
    share_heap()
    keep_short()
    _pages.begun += 1
    page = weakref.ref(document)

    def lost(_: Any) -> None:  # in the server's loop, before the connection is taken off the session
        asyncio.get_running_loop().call_later(PATIENCE, look)

    def look() -> None:
        alive, context = workbench(), getattr(page(), "session_context", None)
        if alive is not None and context is not None and context.session and not context.session.connection_count:
            alive.session.rest()

    document.config.update(notify_connection_status=False, reconnect_session=False)
    document.on_event("connection_lost", lost)


def gone() -> None:
    """A session has ended, in the server's loop: give its memory back a while after the last that ends with it."""
    _pages.ended += 1
    _pages.left += 1
    mine = _pages.ended

    def later() -> None:
        if mine == _pages.ended and _pages.are_many():
            _pages.left = 0
            give_back()

    asyncio.get_running_loop().call_later(2 * PATIENCE, later)
