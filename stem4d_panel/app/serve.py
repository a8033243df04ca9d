"""`stem4d serve`: a page with its steps' names at once, the app as soon as its libraries are there, behind one door."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import secrets
import signal
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.web

from stem4d_panel.app import precompile, shell
from stem4d_panel.app.access import LOOPBACK, Access
from stem4d_panel.app.guard import LIMITS, OWN_ORIGIN, Guard
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.runtime.jobs import compute

DEFAULT_PORT = 5006
MESSAGE = 2 * 2**20  # bytes of one message from a page, which sends outlines at most
_LOOKING = 20.0  # seconds after which there is no first look
_UNUSED = 15_000  # milliseconds without a page after which a session ends


class _Shell(tornado.web.RequestHandler):
    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write(shell.PAGE)


class _Look(tornado.web.RequestHandler):
    """The first look at the data, once it is there, as elements of a page of the same address."""

    def initialize(self, looked: asyncio.Event) -> None:
        self.looked = looked

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        await self.looked.wait()
        from stem4d_panel.app.stills import stills

        self.write(stills.html(self.request.arguments))


class _Progress(tornado.web.RequestHandler):
    """What the server is at, in one line; a page that waits for the app is told "ready", at the latest when it answers."""

    def initialize(self, ready: asyncio.Event) -> None:
        self.ready = ready

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Type", "text/plain")
        if imports.ended and self.get_query_argument("waits", None) is not None:
            await self.ready.wait()
            self.write("ready")
            return
        job = compute.progress() if self.ready.is_set() else None
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


def _bind(host: str, port: int | None) -> list[Any]:
    wanted = [port] if port is not None else [*range(DEFAULT_PORT, DEFAULT_PORT + 20), 0]
    for number in wanted:
        try:
            return tornado.netutil.bind_sockets(number, host)
        except OSError as error:
            last = error
    raise SettingError(f"--port: {wanted[0]} on {host} cannot be used: {last.strerror}")


def serve(
    path: str | Path | None = None,
    port: int | None = None,
    open_browser: bool = True,
    access: Access | None = None,
) -> None:
    """Serve the workbench until interrupted.

    Parameters
    ----------
    path : path, optional
        A scan, a result, or a folder; None means the simulated sample. Only the folder, or the file's own, can be seen.
    port : int, optional
        Defaults to the first free one from 5006.
    open_browser : bool
    access : Access, optional
        Who may reach it; this machine when absent.

    Raises
    ------
    DataError
        If the path does not exist.
    SettingError
        If the port or the address cannot be used.
    """
    if path is not None and not Path(path).exists():
        raise DataError(f"{Path(path).name}: no such file or folder")
    os.environ["BOKEH_RESOURCES"] = "server"  # a user's own setting must not send pages to a content network
    os.environ.pop("BOKEH_ALLOW_WS_ORIGIN", None)  # nor open what the guard has closed
    access = access or Access()
    sockets = _bind(access.host, port)
    precompile.begin()
    try:
        asyncio.run(_main(sockets, Path(path) if path is not None else None, open_browser, access))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


async def _main(sockets: list[Any], path: Path | None, open_browser: bool, access: Access) -> None:
    ready, looked = asyncio.Event(), asyncio.Event()
    look = asyncio.ensure_future(_first_look(path))
    look.add_done_callback(lambda _: looked.set())
    own = _own(ready, looked)
    early: list[Any] = [(access.root, _Shell), *((access.prefix + path, *rest) for path, *rest in own)]
    guard = Guard(access, tornado.web.Application(early))
    http = tornado.httpserver.HTTPServer(guard, **LIMITS)
    http.add_sockets(sockets)
    url = access.url(sockets[0].getsockname()[1])
    print(f"stem4d is at {url} (Ctrl+C stops it)", file=sys.stderr, flush=True)
    if access.token is None and not access.is_local:
        print("--insecure: whoever reaches this address sees and opens what is served", file=sys.stderr, flush=True)
    if open_browser:
        webbrowser.open(url)
    session = await asyncio.get_running_loop().run_in_executor(None, _import_app, path)
    server = _app_server(session, access, own)
    server.start()
    _hand_over(guard, server)
    ready.set()  # pages that wait load again, from the app
    from stem4d_panel.app.boot import boot

    boot.start()  # while the browser loads the page
    await _told_to_stop()
    http.stop()
    server.stop()
    logging.getLogger("tornado.application").disabled = True  # that pages are cut off now is no failure
    print("stopped", file=sys.stderr)


def _own(ready: asyncio.Event, looked: asyncio.Event) -> list[Any]:
    """Routes beside the pages, before the app is there and afterwards."""
    return [("/progress", _Progress, {"ready": ready}), ("/look", _Look, {"looked": looked})]


async def _first_look(path: Path | None) -> None:
    """The first look at what is served, if that is one scan: pages begin with it."""
    if not sys.executable or (path is not None and not path.is_file()):
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stem4d_panel.app.first_look", *([] if path is None else [str(path)]),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _LOOKING)
    except TimeoutError:
        return
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        from stem4d_panel.app.stills import stills

        stills.begin(path, out.decode())


async def _told_to_stop() -> None:
    """Wait for Ctrl+C, or for a system that ends its services; Bokeh's own handler would stop the loop under our feet."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows, where Ctrl+C interrupts
            loop.add_signal_handler(number, stop.set)
    await stop.wait()


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


def _app_server(session: Any, access: Access, own: list[Any]) -> Any:
    """Panel's server, with routes of our `own`, which listens nowhere: what reaches its application has passed the guard."""
    from panel.config import config
    from panel.io.server import get_server

    from stem4d_panel.app import early

    early.use()
    config.autoreload = False  # whatever the environment says: the server watches no files
    server = get_server(
        {"/": session},
        port=0,
        address=LOOPBACK,
        loop=tornado.ioloop.IOLoop.current(),
        start=False,
        show=False,
        title="stem4d",
        admin=False,
        prefix=access.prefix,
        extra_patterns=own,
        websocket_origin=[OWN_ORIGIN],
        websocket_max_message_size=MESSAGE,
        secret_key=secrets.token_bytes(32),
        sign_sessions=True,  # a session is opened by what this server has sent alone
        unused_session_lifetime_milliseconds=_UNUSED,
        check_unused_sessions_milliseconds=_UNUSED // 3,
    )
    server._http.stop()  # it has bound a port, and has not come to answer anybody
    return server


def _hand_over(guard: Guard, server: Any) -> None:
    from stem4d_panel.app import early

    guard.app, guard.sessions = server._tornado, lambda: {session.id for session in server.get_sessions()}
    server._tornado.settings[early.ASKED] = lambda: guard.asked
