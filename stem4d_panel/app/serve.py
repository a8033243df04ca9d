"""`stem4d serve`: a page with its steps' names at once, the app as soon as its libraries are there, on 127.0.0.1 only."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import webbrowser
from pathlib import Path
from typing import Any

import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.web

from stem4d_panel.app import precompile, shell
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.runtime.jobs import compute

ADDRESS = "127.0.0.1"
DEFAULT_PORT = 5006


class _Shell(tornado.web.RequestHandler):
    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write(shell.PAGE)


class _Progress(tornado.web.RequestHandler):
    """What the server is at, in one line; the first server of the two holds the line "ready" back until the app answers."""

    def initialize(self, ready: asyncio.Event | None = None) -> None:
        self.ready = ready

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "text/plain")
        if self.ready is not None and imports.ended:
            await self.ready.wait()
            self.set_header("Connection", "close")
            self.write("ready")
            return
        job = compute.progress() if self.ready is None else None
        self.write(str(job) if job is not None else str(imports))


class _Imports:
    """What the first page needs, imported part by part so that the wait can be told."""

    PARTS = ("numpy", "param", "bokeh.models", "panel", "panel_material_ui", "stem4d_panel.app.workbench")

    def __init__(self) -> None:
        self.done = 0
        self.ended = False

    def run(self) -> None:
        for part in self.PARTS:
            importlib.import_module(part)
            self.done += 1
        self.ended = True

    def __str__(self) -> str:
        if self.ended:
            return "drawing the page"
        return f"loading the libraries · {self.done + 1}/{len(self.PARTS)} · {self.PARTS[self.done].partition('.')[0]}"


imports = _Imports()


def _bind(port: int | None) -> list[Any]:
    wanted = [port] if port is not None else [*range(DEFAULT_PORT, DEFAULT_PORT + 20), 0]
    for number in wanted:
        try:
            return tornado.netutil.bind_sockets(number, ADDRESS)
        except OSError as error:
            last = error
    raise SettingError(f"--port: {wanted[0]} on {ADDRESS} cannot be used: {last.strerror}")


def serve(path: str | Path | None = None, port: int | None = None, open_browser: bool = True) -> None:
    """Serve the workbench until interrupted.

    Parameters
    ----------
    path : path, optional
        A scan, a result, or a folder; None means the simulated sample. Only the folder, or the file's own, can be seen.
    port : int, optional
        Defaults to the first free one from 5006.
    open_browser : bool

    Raises
    ------
    DataError
        If the path does not exist.
    SettingError
        If the port cannot be used.
    """
    if path is not None and not Path(path).exists():
        raise DataError(f"{Path(path).name}: no such file or folder")
    os.environ["BOKEH_RESOURCES"] = "server"  # a user's own setting must not send pages to a content network
    sockets = _bind(port)
    precompile.begin()
    try:
        asyncio.run(_main(sockets, Path(path) if path is not None else None, open_browser))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


async def _main(sockets: list[Any], path: Path | None, open_browser: bool) -> None:
    number = sockets[0].getsockname()[1]
    ready = asyncio.Event()
    front = tornado.httpserver.HTTPServer(
        tornado.web.Application([("/", _Shell), ("/progress", _Progress, {"ready": ready})])
    )
    front.add_sockets(sockets)
    url = f"http://{ADDRESS}:{number}"
    print(f"stem4d is at {url} (Ctrl+C stops it)", file=sys.stderr, flush=True)
    if open_browser:
        webbrowser.open(url)
    session = await asyncio.get_running_loop().run_in_executor(None, _import_app, path)
    front.stop()
    server = _app_server(session, number)
    server.start()
    ready.set()  # pages that wait on the shell's last connections load again, from the app
    from stem4d_panel.app.boot import boot

    boot.start()  # while the browser loads the page
    await asyncio.Event().wait()


def _import_app(path: Path | None) -> Any:
    """Import what the first page needs; returns what makes the page of a session."""
    imports.run()
    from panel.io.state import state

    from stem4d_panel.app.work import head_start
    from stem4d_panel.app.workbench import Workbench
    from stem4d_panel.settings import Settings

    folder = path if path is not None and path.is_dir() else path.parent if path is not None else None
    data = path if path is not None and path.is_file() else None

    def session() -> Any:
        return Workbench(data, folder=folder, address=state.session_args).page(poll=True)

    if folder is None or data is not None:
        head_start.begin(data, Settings.make())
    return session


def _app_server(session: Any, number: int) -> Any:
    from panel.io.server import get_server

    return get_server(
        {"/": session},
        port=number,
        address=ADDRESS,
        loop=tornado.ioloop.IOLoop.current(),
        start=False,
        show=False,
        title="stem4d",
        extra_patterns=[("/progress", _Progress)],
        websocket_origin=[f"{ADDRESS}:{number}", f"localhost:{number}"],
    )
