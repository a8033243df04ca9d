"""Pages whose first part goes out before the rest is made, from a real server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from stem4d_panel.app import serve as serving
from stem4d_panel.app import shell
from stem4d_panel.app.access import Access
from stem4d_panel.app.guard import LIMITS, Guard
from stem4d_panel.app.stills import Still, Stills, stills


class Visit:
    """What a server answered."""

    def __init__(self, headers: Any, parts: list[str]) -> None:
        self.policy, self.parts, self.text = headers["Content-Security-Policy"], parts, "".join(parts)


def visits(made: Callable[[], Any], count: int) -> list[Visit]:
    """Pages of a server, one after the other, in a loop of its own."""

    async def one(url: str) -> Visit:
        parts: list[str] = []
        answer = await AsyncHTTPClient().fetch(url, streaming_callback=lambda part: parts.append(part.decode()))
        return Visit(answer.headers, parts)

    async def all_of() -> list[Visit]:
        sockets = bind_sockets(0, "127.0.0.1")
        server = serving._app_server(made, Access(), [])
        server.start()
        guard = Guard(Access(), Application())
        serving._hand_over(guard, server)
        http = HTTPServer(guard, **LIMITS)
        http.add_sockets(sockets)
        try:
            return [await one(f"http://127.0.0.1:{sockets[0].getsockname()[1]}/") for _ in range(count)]
        finally:
            server.stop(wait=False)
            http.stop()
            await http.close_all_connections()

    return asyncio.run(all_of())


def page(text: str = "a page") -> Any:
    return pmui.Page(main=[pn.pane.Str(text)], template=shell.template(False))


def scripts(text: str) -> list[tuple[str, str]]:
    """Attributes and text of each script that a browser would run from the page itself."""
    found = re.findall(r"<script\b([^>]*)>(.*?)</script\s*>", text, re.DOTALL)
    return [(how, what) for how, what in found if "src=" not in how and "json" not in how and "esms-options" not in how]


@pytest.fixture(autouse=True)
def no_stills() -> Any:
    yield
    stills._kept.clear()


def test_the_frame_and_the_scripts_are_sent_before_the_page_is_made() -> None:
    stills.keep({}, None, [Still("a map", np.zeros((3, 4, 4), np.uint8), (40, 30))])
    first, second = visits(page, 2)
    assert len(first.parts) == 1
    assert first.text.count("<img") == second.text.count("<img") == 1
    begun, rest = second.parts[0], "".join(second.parts[1:])
    assert "panel.min.js" in begun
    assert "bokeh.min.js" in begun
    assert begun.index('<div id="shell">') < begun.index("bokeh.min.js")  # seen before they run
    assert '<img alt="a map" width="40" height="30" src="data:image/png;base64,' in begun
    assert '"token"' not in begun
    assert '"token"' in rest
    assert second.text.count("<html") == second.text.count("</html>") == second.text.count("<body") == 1


def test_every_script_of_both_parts_is_allowed_and_no_other() -> None:
    _, second, third = visits(page, 3)
    nonces = []
    for found in (second, third):
        (nonce,) = set(re.findall("'nonce-([^']+)'", found.policy))
        nonces.append(nonce)
        assert "'unsafe-inline'" not in found.policy.split("script-src")[1].split(";")[0]
        inline = scripts(found.text)
        assert len(inline) > 5
        for how, what in inline:
            digest = base64.b64encode(hashlib.sha256(what.encode()).digest()).decode()
            assert f'nonce="{nonce}"' in how or f"'sha256-{digest}'" in found.policy, what[:80]
    assert nonces[0] != nonces[1]


def test_a_page_that_cannot_be_made_says_so(caplog: pytest.LogCaptureFixture) -> None:
    begun: list[Any] = []

    def made() -> Any:
        begun.append(None)
        if len(begun) > 1:
            raise ValueError("no such page")
        return page()

    _, second = visits(made, 2)
    assert "the page could not be made" in second.text


def test_pages_that_begin_otherwise_are_loaded_again_and_then_sent_as_a_whole() -> None:
    count = iter(range(9))

    def made() -> Any:
        return pmui.Page(title=f"page {next(count)}", main=[pn.pane.Str("x")], template=shell.template(False))

    _, second, third = visits(made, 3)
    assert "location.reload()" in second.text
    assert '"token"' not in second.text
    assert len(third.parts) == 1
    assert 'content="page 2"' in third.text


def test_pictures_are_kept_by_address_and_forgotten_when_the_file_changes(tmp_path: Path) -> None:
    kept, file = Stills(), tmp_path / "scan.npy"
    file.write_bytes(b"1")
    picture = [Still('"a" <map>', np.zeros((3, 4, 4), np.uint8), (40, 30))]
    kept.keep({"rank": [b"4"]}, file, picture)
    kept.keep({}, None, picture)
    assert "&quot;a&quot; &lt;map&gt;" in kept.html({"rank": [b"4"]})
    assert not kept.has({"rank": [b"5"]})
    file.write_bytes(b"22")
    assert not kept.has({"rank": [b"4"]})
    assert kept.has({})
    file.unlink()
    for i in range(20):
        kept.keep({"rank": [str(i)]}, None, picture)
    assert not kept.has({})
    assert kept.has({"rank": ["19"]})


def test_a_picture_has_the_pixels_that_were_drawn() -> None:
    import io

    from PIL import Image

    drawn = np.arange(5 * 7 * 4, dtype=np.uint8).reshape(5, 7, 4)
    text = re.search('base64,([^"]+)', Still("a map", drawn, (70, 50)).html())
    assert text
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(text[1]))))
    np.testing.assert_array_equal(seen, drawn)
