"""Messages to a page that are queued while another is written."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from bokeh.document import Document
from panel.io import document

from stem4d_panel.app import delivery


class Socket:
    """A connection's end that writes when it is told to."""


class Connection:
    def __init__(self) -> None:
        self._socket = Socket()
        self.protocol = SimpleNamespace(create=lambda kind, events: events)


def test_what_is_queued_as_the_writing_ends_is_sent_too(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery.mend()
    doc, sent = Document(), []
    futures: list[asyncio.Future[None]] = []

    def write(conn: Any, events: Any = None, msg: Any = None) -> list[asyncio.Future[None]]:
        sent.append(msg)
        futures.append(asyncio.get_running_loop().create_future())
        return [futures[-1]]

    monkeypatch.setitem(document.extra_socket_handlers, Socket, write)
    connection = Connection()

    async def change_twice() -> None:
        document.schedule_write_events(doc, [connection], ["first"])
        await asyncio.sleep(0)
        assert sent == [["first"]]
        futures[0].set_result(None)  # written, and its task told so before the next one begins
        document.schedule_write_events(doc, [connection], ["second"])
        for _ in range(5):
            await asyncio.sleep(0)
        futures[-1].set_result(None) if len(futures) > 1 else None
        await asyncio.sleep(0)

    asyncio.run(change_twice())
    assert sent == [["first"], ["second"]]


def test_the_fault_is_mended_once() -> None:
    delivery.mend()
    first = document._dispatch_msgs
    delivery.mend()
    assert document._dispatch_msgs is first


def test_a_message_is_leaving_from_when_it_is_queued_until_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery.mend()
    doc, futures = Document(), []

    def write(conn: Any, events: Any = None, msg: Any = None) -> list[asyncio.Future[None]]:
        futures.append(asyncio.get_running_loop().create_future())
        return [futures[-1]]

    monkeypatch.setitem(document.extra_socket_handlers, Socket, write)

    async def change() -> list[bool]:
        seen = [delivery.is_leaving(doc)]
        document.schedule_write_events(doc, [Connection()], ["one"])
        seen.append(delivery.is_leaving(doc))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append(delivery.is_leaving(doc))
        futures[0].set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)
        return [*seen, delivery.is_leaving(doc)]

    assert asyncio.run(change()) == [False, True, True, False]
