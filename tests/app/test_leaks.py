"""Pages that were opened and closed leave nothing behind: neither objects nor work."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from raw_page import RawPage, tap
from tornado.ioloop import IOLoop

from stem4d_panel import Workbench
from stem4d_panel.app.boot import boot
from stem4d_panel.runtime.jobs import compute
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.scan import Scan

WAIT = 60.0  # seconds after which a test gives up; never waited for in full
PAGES = 3


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


def test_closed_pages_leave_at_most_two_alive(small: Scan) -> None:
    async def work() -> None:
        async with served(small, rank=4) as pages:
            for turn in range(PAGES):
                page = await RawPage.open(pages.url)
                workbench = next(w for w in pages.workbenches if not w.session.closed)
                await until(lambda w=workbench: w._held is None and not w.session.busy)
                store = page.store("gallery")
                await page.change(store, "data", tap(30, -60, turn + 1))  # a page that was used
                await page.until(lambda m, store=store: m.changed(store, "tags"))
                assert workbench.session.component is not None
                del workbench
                await page.close()
                await pages.ended()
            gc.collect()
            assert len(pages.workbenches) <= 2
            assert len(pages.parts) <= 2 * 4

    run(work())


def test_the_work_of_a_page_that_is_gone_ends_unless_another_wants_it(
    small: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    def endless(*_: Any) -> Steps[None]:
        try:
            for i in itertools.count():
                yield Progress("endless", i, 1)
        finally:
            closed.append(True)

    async def work() -> None:
        async with served(small, rank=4, seed=91) as pages:  # of which nothing is known yet
            first, second = await RawPage.open(pages.url), await RawPage.open(pages.url)
            await until(lambda: len([w for w in pages.workbenches if w.session.busy]) == 2)
            keys = {w.session._job for w in pages.workbenches}
            assert len(keys) == 1  # one job for both
            monkeypatch.setattr("stem4d_panel.app.presence.PATIENCE", 0.05)
            await first.close()
            await until(lambda: len([w for w in pages.workbenches if w.session.busy]) == 1)
            assert not closed
            await second.close()
            await until(lambda: bool(closed))  # long before Bokeh's own half minute
            assert compute.progress() is None

    monkeypatch.setattr("stem4d_panel.app.session.run_steps", endless)
    run(work())
