"""Pages that were opened and closed leave nothing behind: neither objects nor work."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from pages import run, served, until
from raw_page import RawPage, tap

from stem4d_panel.app import presence
from stem4d_panel.runtime.jobs import compute
from stem4d_panel.runtime.pauses import search_everything
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.scan import Scan

PAGES = 3


def test_closed_pages_leave_at_most_two_alive_and_give_memory_back(
    small: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []

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
            await until(lambda: bool(given))
            search_everything()
            assert len(pages.workbenches) <= 2
            assert len(pages.parts) <= 2 * 4

    monkeypatch.setattr("stem4d_panel.app.presence.PATIENCE", 0.2)
    monkeypatch.setattr("stem4d_panel.app.presence.give_back", lambda: given.append(True))
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


def test_what_pages_left_is_searched_for_when_they_are_many_beside_those_that_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[int] = []
    monkeypatch.setattr(presence, "PATIENCE", 0.0)
    monkeypatch.setattr(presence, "give_back", lambda: given.append(pages.ended))
    monkeypatch.setattr(presence, "_pages", pages := presence._Pages(begun=10))

    async def end(count: int) -> None:
        for _ in range(count):
            presence.gone()
            await asyncio.sleep(0.01)

    asyncio.run(end(9))
    assert given == [2, 4, 6, 7, 8, 9]  # of 8, 6, 4, 3, 2 and 1 that stay
