"""A server with a token below a path, reached through a proxy; and a page full of names that try to be HTML."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from playwright.sync_api import expect
from ui_screen import Screen
from ui_server import Server, Watched

from stem4d_panel.scan.scan import Scan

TOKEN = "a-token-of-20-letters"  # noqa: S105
PREFIX = "/user/ada"
BAD = '"><img src=x onerror=window.__pwn=1>'
MARKED = "[a](javascript:__pwn()) $x$ <b>b</b>"


class Proxy:
    """Hands on what comes to a port, under the server's own name, as a proxy in front of it does."""

    def __init__(self) -> None:
        self.port = self.to = 0
        self._loop = asyncio.new_event_loop()
        there = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(there,), daemon=True)
        self._thread.start()
        there.wait(10)

    def _run(self, there: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._take, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        there.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked, given = (f"Host: 127.0.0.1:{port}\r\n".encode() for port in (self.port, self.to))
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
            await asyncio.gather(self._pump(reader, back, asked, given), self._pump(there, writer, b"", b""))

    async def _pump(self, reader: Any, writer: Any, old: bytes, new: bytes) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(2**16):
                writer.write(chunk.replace(old, new) if old else chunk)
                await writer.drain()
        writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def status(port: int, path: str, method: str = "GET", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers=headers)
    code = connection.getresponse().status
    connection.close()
    return code


def listening(port: int) -> set[str]:
    """The addresses, as the kernel writes them, at which this machine listens on a port."""
    found = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net") / name
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            place, state = line.split()[1:4:2]
            if state == "0A" and int(place.split(":")[1], 16) == port:
                found.add(place.split(":")[0])
    return found


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def served(
    start_lasting_server: Callable[..., Server], proxy: Proxy, small: Scan, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A server of a folder in which everything has a bad name."""
    folder = tmp_path_factory.mktemp("served") / MARKED.replace("/", "")
    folder.mkdir()
    data = np.asarray(small.data)
    with h5py.File(folder / f"{BAD}.hspy", "w") as file:
        file.attrs.update(file_format="HyperSpy", file_format_version="3.3", creator=BAD)
        for name, part in ((BAD, data), (MARKED.replace("/", ""), data[:8])):
            group = file.create_group(f"Experiments/{name}")
            group["data"] = part
            group.create_group("metadata/General").attrs["title"] = BAD
            for i, axis in enumerate(("y", "x", BAD, BAD)):
                group.create_group(f"axis-{i}").attrs.update(
                    _type="UniformDataAxis", name=axis, size=part.shape[i], scale=1.0, offset=0.0, units=BAD, navigate=i < 2
                )  # fmt: skip
    (folder / f"{BAD}.h5").write_text("no HDF5")
    return start_lasting_server(
        "stem4d_panel", "serve", str(folder), "--no-browser", "--prefix", PREFIX,
        "--allow-origin", f"127.0.0.1:{proxy.port}",
        path=PREFIX + "/", env={**os.environ, "STEM4D_TOKEN": TOKEN},
    )  # fmt: skip


def test_a_page_behind_a_proxy_and_a_token(served: Server, proxy: Proxy, watched: Watched) -> None:
    port = int(served.url.split(":")[2].split("/")[0])
    proxy.to = port
    # the server that answers while the libraries are imported, and then the app's
    for ready in (False, True):
        for path in ("/", f"{PREFIX}/", f"{PREFIX}/progress", f"{PREFIX}/ws", f"{PREFIX}/static/js/bokeh.min.js"):
            for method in ("GET", "POST", "OPTIONS"):
                assert status(port, path, method) == 403
        assert status(port, f"{PREFIX}/", Host="evil.example") == 403
        assert status(port, "/liveness") == status(port, f"{PREFIX}/liveness") == 200
        if os.path.exists("/proc/net/tcp"):
            assert listening(port) == {"0100007F"}
        if not ready:
            wait_for_the_app(port)
    page = watched.page
    url = f"http://127.0.0.1:{proxy.port}{PREFIX}/"
    assert page.goto(url).status == 403
    field = page.get_by_label("Token")
    field.fill("not the token at all")
    field.press("Enter")
    page.get_by_role("alert").get_by_text("That is not the token.").wait_for()
    expect(page).to_have_url(f"{url}login")
    watched.errors.clear()  # the two refusals
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    screen = Screen(page)
    screen.wait_ready()
    assert page.url == url
    assert page.title() == "stem4d"
    assert not page.evaluate("document.cookie")
    # all of it works there: a step that goes to the server and comes back
    gallery = screen.data("gallery")
    screen.drag_threshold(0.1)
    screen.wait_changed("dendrogram", -1)
    assert screen.data("gallery") != 0 or gallery != 0
    screen.wait_ready()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save result").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89HDF")
    # what is injected into the page does not run
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"window.__pwn = 1\">')")
    page.wait_for_function("document.body.lastElementChild.complete")
    assert page.evaluate("window.__pwn") is None
    blocked = [text for text in watched.errors if "Content Security Policy" in text and "inline event handler" in text]
    assert watched.errors == blocked
    assert len(blocked) == 1
    watched.errors.clear()
    watched.check()
    assert TOKEN not in served.log.read_text()


def wait_for_the_app(port: int) -> None:
    """Until the app answers to a browser that has shown the token."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"{PREFIX}/?token={TOKEN}")
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.getheader("Location")) == (303, f"{PREFIX}/")
    cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
    until = time.monotonic() + 60
    while status(port, f"{PREFIX}/static/js/bokeh.min.js", "HEAD", Cookie=cookie) != 200:
        assert time.monotonic() < until
        status(port, f"{PREFIX}/progress", Cookie=cookie)  # answers when there is something to say
    connection.close()


def test_names_from_files_and_hands_are_shown_literally(served: Server, browser: Any) -> None:
    context = browser.new_context(bypass_csp=True, viewport={"width": 1400, "height": 1150})
    page = context.new_page()
    watched = Watched(page)
    screen = Screen(page)
    try:
        page.goto(f"{served.url}?token={TOKEN}")
        assert page.url == served.url
        entries = page.locator(".picker-list").get_by_role("button")
        about = page.locator(".picker-about")
        page.locator(".picker-folder").get_by_text(MARKED.replace("/", ""), exact=True).wait_for()
        # the text of an error
        entries.filter(has_text=f"{BAD}.h5").click()
        about.get_by_text(f"{BAD}.h5: not an HDF5 file").wait_for()
        # file, datasets
        entries.filter(has_text=f"{BAD}.hspy").click()
        about.get_by_text(f"{BAD}.hspy").first.wait_for()
        about.get_by_text(f"/Experiments/{BAD}/data").first.wait_for()
        page.get_by_label("Dataset", exact=True).click()
        option = page.get_by_role("menuitem", name=f"/Experiments/{BAD}/data 14 × 18")
        option.wait_for()
        option.click()
        page.locator(".picker-open").get_by_role("button", name="Open", exact=True).click()
        page.get_by_text("14 × 18 positions").wait_for()
        # the header, and the warning of units that cannot be used
        page.get_by_text(f"{BAD}.hspy ·").first.wait_for()
        page.locator(".message").get_by_text(f"in {BAD[:40]}").first.wait_for()
        screen.wait_ready()
        # a class named by hand, and what is said of it where it is chosen
        named = "<script>window.__pwn</script>"
        name = page.get_by_label("name of class 1", exact=True)
        name.fill(named)
        name.press("Enter")
        page.get_by_role("button", name=named).first.wait_for()
        page.get_by_role("button", name=named).first.click()
        page.get_by_text(named).first.wait_for()
        # a setting that is refused
        page.get_by_label("Threshold").fill(BAD)
        page.get_by_label("Threshold").press("Enter")
        page.locator(".message").get_by_text(BAD).first.wait_for()
        # what lies under the mouse, in units of the file
        page.mouse.move(*screen.at("maps", 5, -5))
        screen.wait_readout("maps", "y 5, x 5")
        assert page.evaluate("window.__pwn") is None
        assert page.locator("img[src='x']").count() == 0
        watched.check()
    finally:
        context.close()
