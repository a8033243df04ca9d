"""Whether anybody looks at a page: the work of one whose connection is lost ends soon after, long before its session does.

Bokeh keeps a session for half a minute after its page has gone. A page does not connect again by itself: it would have
missed what was changed meanwhile.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from stem4d_panel.runtime.memory import give_back, share_heap
from stem4d_panel.runtime.pauses import keep_short

if TYPE_CHECKING:
    from stem4d_panel.app.workbench import Workbench

PATIENCE = 1.0  # seconds before the work of a page that is gone ends: another page may be loading
_begun, _ended = [0], [0]  # sessions so far


def watch(document: Any, workbench: weakref.ref[Workbench]) -> None:
    """Let the session of a page rest while the page has no connection; the page itself says that it has none."""
    share_heap()
    keep_short()
    _begun[0] += 1
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
    mine = _ended[0] = _ended[0] + 1

    def later() -> None:
        if mine == _ended[0]:
            give_back(_begun == _ended)  # else others would wait for it

    asyncio.get_running_loop().call_later(2 * PATIENCE, later)
