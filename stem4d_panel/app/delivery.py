"""No message to a page is lost: a fault of Panel mended where it lies.

While a message is being written, Panel queues the next ones and starts a task to send them. When the writing ends before
that task runs, the task takes it that nothing waits, and what is queued stays there until something else is queued: a
page then keeps half of a change (panel.io.document of version 1.9).
"""

from __future__ import annotations

import functools
from typing import Any
from weakref import WeakKeyDictionary

import panel as pn
import param
from panel.io import document

_leaving: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # writes to pages that have not ended, by document


def is_leaving(doc: Any) -> bool:
    """Whether a message to a page has been queued or is being written."""
    return doc in document._WRITE_MSGS or doc in document._WRITE_FUTURES or _leaving.get(doc, 0) > 0


def mend() -> None:
    """Have every queued message sent, and the end of each known, once a process."""
    send, run = document._dispatch_msgs, document._run_write_futures
    if hasattr(send, "__wrapped__"):
        return

    @functools.wraps(run)
    async def run_and_tell(doc: Any) -> None:
        _leaving[doc] = _leaving.get(doc, 0) + 1
        try:
            await run(doc)
        finally:
            _leaving[doc] -= 1

    @functools.wraps(send)
    async def send_all(doc: Any) -> None:
        if doc in document._WRITE_MSGS:
            document._WRITE_BLOCK[doc] = True
        await send(doc)

    document._dispatch_msgs = send_all
    document._run_write_futures = run_and_tell


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
