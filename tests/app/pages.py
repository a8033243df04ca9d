"""A server in the test's own process, and its pages."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from stem4d_panel import Workbench
from stem4d_panel.app.boot import boot

WAIT = 60.0  # seconds after which a test gives up; never waited for in full


class Pages:
    """A server in this process, and what of its pages is still alive."""

    def __init__(self, server: Any, url: str) -> None:
        self.server, self.url = server, url
        self.workbenches: weakref.WeakSet[Workbench] = weakref.WeakSet()
        self.parts: weakref.WeakSet[Any] = weakref.WeakSet()  # sessions, screens, documents

    def note(self, workbench: Workbench) -> Workbench:
        self.workbenches.add(workbench)
        for part in (workbench.session, workbench.screen, workbench._document, workbench.controls):
            self.parts.add(part)
        return workbench

    async def ended(self) -> None:
        """Wait until the server has let go of all its sessions, whose pages are closed."""
        await until(lambda: not any(s.connection_count for s in self.server.get_sessions("/")))
        for session in self.server.get_sessions("/"):
            session.request_expiration()
        await until(lambda: not self.server.get_sessions("/"))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(int(WAIT / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("never came about")


@asynccontextmanager
async def served(data: Any, **settings: Any) -> AsyncIterator[Pages]:
    from panel.io.server import get_server

    boot.now()
    pages: list[Pages] = []
    server = get_server(
        {"/": lambda: pages[0].note(Workbench(data, **settings)).page()},
        address="127.0.0.1",
        loop=IOLoop.current(),
        start=False,
        show=False,
        websocket_origin=["*"],
        check_unused_sessions_milliseconds=20,
    )
    pages.append(Pages(server, f"http://127.0.0.1:{server.port}"))
    server.start()
    try:
        yield pages[0]
    finally:
        server.stop()
        pages.clear()


def run(work: Awaitable[None]) -> None:
    asyncio.run(asyncio.wait_for(work, 2 * WAIT))  # type: ignore[arg-type]
