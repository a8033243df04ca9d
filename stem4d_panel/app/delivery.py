"""No message to a page is lost: a fault of Panel mended where it lies.

While a message is being written, Panel queues the next ones and starts a task to send them. When the writing ends before
that task runs, the task takes it that nothing waits, and what is queued stays there until something else is queued: a
page then keeps half of a change (panel.io.document of version 1.9).
"""

from __future__ import annotations

import functools
from typing import Any

import panel as pn
import param
from panel.io import document


def mend() -> None:
    """Have every queued message sent, once a process."""
    send = document._dispatch_msgs
    if hasattr(send, "__wrapped__"):
        return

    @functools.wraps(send)
    async def send_all(doc: Any) -> None:
        if doc in document._WRITE_MSGS:
            document._WRITE_BLOCK[doc] = True
        await send(doc)

    document._dispatch_msgs = send_all


def let_be_busy(page: Any) -> None:
    """Have a Material page not follow whether the server is busy.

    It would walk over all its models before and after each event, and the server's state keep it for ever: param forgets
    what is followed when another value is set, but does not stop watching.
    """
    with param.edit_constant(page):
        page.busy = False
    for watcher in list(pn.state.param.watchers.get("busy", {}).get("value", ())):
        if getattr(getattr(watcher.fn, "__self__", None), "self", None) is page:
            pn.state.param.unwatch(watcher)
