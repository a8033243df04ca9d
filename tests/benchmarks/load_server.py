"""A server for the load benchmark: `python load_server.py workbench|one_callback PORT`; `/state` tells what is alive, `/expire` ends the sessions of closed pages."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import weakref
from pathlib import Path
from typing import Any

import tornado.ioloop
import tornado.web
from panel.io.server import get_server

ALIVE: weakref.WeakSet[Any] = weakref.WeakSet()
SERVERS: list[Any] = []


def resident() -> int:
    """Bytes of memory that this process holds now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


class State(tornado.web.RequestHandler):
    def get(self) -> None:
        gc.collect()
        sessions = len(SERVERS[0].get_sessions("/"))
        self.write(json.dumps({"sessions": sessions, "alive": len(ALIVE), "resident": resident()}))


class Expire(tornado.web.RequestHandler):
    def get(self) -> None:
        for session in SERVERS[0].get_sessions("/"):
            session.request_expiration()  # heeded once it has no connection


def maker(kind: str) -> Any:
    if kind == "one_callback":
        import one_callback

        return one_callback.app
    from stem4d_panel import Workbench
    from stem4d_panel.app.boot import boot

    boot.now()

    def page() -> Any:
        workbench = Workbench()
        ALIVE.add(workbench)
        return workbench.page(poll=True)

    return page


async def main(kind: str, port: int) -> None:
    server = get_server(
        {"/": maker(kind)}, port=port, address="127.0.0.1", loop=tornado.ioloop.IOLoop.current(), start=False, show=False,
        extra_patterns=[("/state", State), ("/expire", Expire)], websocket_origin=[f"127.0.0.1:{port}"],
        check_unused_sessions_milliseconds=200,
    )  # fmt: skip
    SERVERS.append(server)
    server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
