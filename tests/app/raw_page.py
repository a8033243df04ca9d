"""A page without a browser: what Chromium would ask for and send, over a plain websocket."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

_LARGEST = 2**27  # bytes of one frame


class Message(NamedTuple):
    """A message of Bokeh's protocol; its buffers are counted, not kept."""

    kind: str
    content: dict[str, Any]
    size: int

    def changed(self, model: str, attr: str) -> bool:
        """Whether it changes a property of a model."""
        events = self.content.get("events", ())
        return any(e.get("attr") == attr and e.get("model", {}).get("id") == model for e in events)


class RawPage:
    """A page that is open."""

    _numbers = itertools.count(1)

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self.models: dict[str, dict[str, Any]] = {}
        self._reading: asyncio.Task[Message] | None = None

    @classmethod
    async def open(cls, url: str) -> RawPage:
        """Load a page and its document, and say that it has been drawn."""
        answer = await AsyncHTTPClient().fetch(url, connect_timeout=600, request_timeout=600)
        token = re.search(r'"token":"([^"]+)"', answer.body.decode())
        assert token is not None
        origin = "/".join(url.split("/")[:3])
        request = HTTPRequest(
            f"{url.replace('http', 'ws', 1).rstrip('/')}/ws",
            headers={"Sec-WebSocket-Protocol": f"bokeh, {token[1]}", "Origin": origin},
            connect_timeout=600,
            request_timeout=600,
        )
        page = cls(await websocket_connect(request, max_message_size=_LARGEST))
        assert (await page.receive()).kind == "ACK"
        await page.send("PULL-DOC-REQ", {})
        document = await page.until(lambda m: m.kind == "PULL-DOC-REPLY")
        page.models = {found["id"]: found for found in _objects(document.content) if "name" in found}
        loaded = {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}}
        await page.send(
            "PATCH-DOC", {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": loaded}]}
        )
        return page

    async def send(self, kind: str, content: dict[str, Any]) -> None:
        header = {"msgid": f"m{next(self._numbers)}", "msgtype": kind}
        for part in (header, {}, content):
            await self.socket.write_message(json.dumps(part))

    async def receive(self) -> Message:
        """The next message; one that is given up in its middle is read by who asks next.

        Raises
        ------
        ConnectionError
            If the server has closed the connection.
        """
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._receive())
        try:
            return await asyncio.shield(self._reading)
        finally:
            if self._reading.done():
                self._reading = None

    async def _receive(self) -> Message:
        parts: list[Any] = []
        for _ in range(3):
            part = await self.socket.read_message()
            if part is None:
                raise ConnectionError("the server has closed the connection")
            parts.append(part)
        header, content = json.loads(parts[0]), json.loads(parts[2])
        size = sum(map(len, parts))
        for _ in range(2 * header.get("num_buffers", 0)):
            size += len(await self.socket.read_message() or b"")
        if header["msgtype"] == "ERROR":
            raise ConnectionError(content.get("text", "an error without a text"))
        return Message(header["msgtype"], content, size)

    async def until(self, wanted: Callable[[Message], bool]) -> Message:
        """The next message that is wanted; those before it are passed over."""
        while True:
            message = await self.receive()
            if wanted(message):
                return message

    async def change(self, model: str, attr: str, value: Any) -> None:
        event = {"kind": "ModelChanged", "model": {"id": model}, "attr": attr, "new": value}
        await self.send("PATCH-DOC", {"events": [event]})

    async def close(self) -> None:
        """Close the connection, and wait until it is."""
        if self._reading is not None:  # of two readers, one would never hear of the end
            self._reading.cancel()
        self.socket.close()
        while await self.socket.read_message() is not None:
            pass

    def figure(self, name: str) -> str:
        """The id of a figure."""
        return next(i for i, m in self.models.items() if m.get("attributes", {}).get("name") == name)

    def store(self, figure: str) -> str:
        """The id of the store through which a figure tells of taps and drags."""
        wanted = self.figure(figure)
        for model in self.models.values():
            if model["name"] == "CustomJS":
                args = dict(model["attributes"].get("args", {}).get("entries", ()))
                if {"fig", "store", "most"} <= set(args) and args["fig"]["id"] == wanted:
                    return str(args["store"]["id"])
        raise LookupError(f"{figure} listens to no hand")

    def widget(self, label: str) -> str:
        """The id of what holds the value of a widget."""
        return next(i for i, m in self.models.items() if m.get("attributes", {}).get("label") == label)


def tap(x: float, y: float, count: int) -> dict[str, Any]:
    """What a figure's store tells of a tap."""
    columns = {"x0": [x], "y0": [y], "x": [x], "y": [y], "kind": ["tap"], "xs": [[]], "ys": [[]], "count": [count]}
    return {"type": "map", "entries": [[name, values] for name, values in columns.items()]}


def drag(start: tuple[float, float], end: tuple[float, float], count: int) -> dict[str, Any]:
    """What a figure's store tells of a drag that has ended."""
    (x0, y0), (x, y) = start, end
    columns = {
        "x0": [x0],
        "y0": [y0],
        "x": [x],
        "y": [y],
        "kind": ["panend"],
        "xs": [[x0, x]],
        "ys": [[y0, y]],
        "count": [count],
    }
    return {"type": "map", "entries": [[name, values] for name, values in columns.items()]}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """All models in a document's description."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if one.get("type") == "object" and "id" in one:
                yield one
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
