"""The door of the real server, spoken to by hand: every route that it has, with every method."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import panel as pn
import pytest
from bokeh.util.token import get_token_payload
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import websocket_connect

from stem4d_panel.app import serve as serving
from stem4d_panel.app.access import Access, Place
from stem4d_panel.app.guard import LIMITS, Guard

TOKEN = "a-token-of-20-letters"  # noqa: S105
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
CODES = (200, 302, 303, 400, 403, 404, 405, 429, 503)


class Site:
    """A server of a page that is cheap to make, in the loop of the test."""

    def __init__(self, port: int, access: Access) -> None:
        self.port, self.access, self.cookie = port, access, ""
        self.server = serving._app_server(
            lambda: pn.pane.Str("a page"), access, serving._own(asyncio.Event(), asyncio.Event())
        )
        self.server.start()
        guard = Guard(access, Application())
        serving._hand_over(guard, self.server)
        self.http = HTTPServer(guard, **LIMITS)

    async def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> HTTPResponse:
        """An answer to a request below the prefix; names of headers are written with underscores."""
        given = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{path}",
            method,
            headers={name: text for name, text in given.items() if text},
            body=body,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            request_timeout=20,
        )
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        assert answer.code in CODES, (method, path, answer.code, answer.reason)
        return answer

    async def enter(self) -> HTTPResponse:
        """Show the token as the form does, and keep the cookie."""
        answer = await self.ask(
            f"{self.access.prefix}/login", "POST", f"token={TOKEN}", Origin=f"http://127.0.0.1:{self.port}"
        )
        self.cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
        return answer

    async def socket(self, token: str, **headers: str) -> Any:
        """A websocket of the session that a page's token names."""
        given = {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.port}", **headers}
        request = HTTPRequest(
            f"ws://127.0.0.1:{self.port}{self.access.prefix}/ws",
            headers={"Sec-WebSocket-Protocol": f"bokeh, {token}"} | {n: t for n, t in given.items() if t},
        )
        return await websocket_connect(request)

    async def knock(self, token: str, **headers: str) -> int:
        """The status with which a websocket is refused."""
        asked = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec_WebSocket_Version": "13",
            "Sec_WebSocket_Protocol": f"bokeh, {token}",
            "Origin": f"http://127.0.0.1:{self.port}",
        }
        return (await self.ask(f"{self.access.prefix}/ws", **asked | headers)).code

    def routes(self) -> list[str]:
        """A path for each route of the application."""
        found = []
        for rule in self.server._tornado.wildcard_router.rules:
            pattern = rule.matcher.regex.pattern
            path = pattern.rstrip("$").replace("(?!extensions/)", "").replace("/?", "/")
            path = re.sub(r"\(.*?\)", "js/bokeh.min.js", path)
            assert re.fullmatch(pattern, path), pattern
            found.append(path)
        return found


async def hang_up(opened: Any) -> None:
    opened.close()
    while await opened.read_message() is not None:
        pass


def token_of(page: HTTPResponse) -> str:
    found = re.search(r'"token":"([^"]+)"', page.body.decode())
    assert found
    return found[1]


Visit = Callable[[Callable[[Site], Awaitable[None]], Access], None]


@pytest.fixture
def visit() -> Iterator[Visit]:
    """Do something with a server, in a loop of its own."""
    before = signal.getsignal(signal.SIGINT)  # Panel takes it

    def run(then: Callable[[Site], Awaitable[None]], access: Access) -> None:
        async def main() -> None:
            sockets = bind_sockets(0, "127.0.0.1")
            site = Site(sockets[0].getsockname()[1], access)
            site.http.add_sockets(sockets)
            try:
                await then(site)
            finally:
                site.server.stop(wait=False)
                site.http.stop()
                await site.http.close_all_connections()

        asyncio.run(main())

    yield run
    signal.signal(signal.SIGINT, before)


GUARDED = Access(token=TOKEN, prefix="/user/ada")


def test_without_the_token_every_route_and_method_is_refused_but_the_probe(
    visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def check(site: Site) -> None:
        routes = site.routes()
        names = {path.rpartition("/")[2] for path in routes}
        assert {"ws", "autoload.js", "metadata", "progress", "look", "bokeh.min.js", "favicon.ico", ""} <= names
        own = f"http://127.0.0.1:{site.port}"
        for cookie in ("", "stem4d=x", f"token={TOKEN}"):
            for path in [*routes, "/user/ada/login", "/user/ada/none", "/none", "/user/ada/liveness/x"]:
                for method in METHODS:
                    answer = await site.ask(path, method, Cookie=cookie, Origin=own)
                    assert answer.code == 403, (method, path)
                    assert answer.headers["Cache-Control"] == "no-store"
                    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        for path in ("/user/ada/", "/user/ada/progress", "/none"):  # however it is written
            for query in (f"?token={TOKEN[:-1]}", "?token=", f"?%74oken={TOKEN}x", f"?token=x&token={TOKEN}"):
                assert (await site.ask(path + query)).code in (403, 429)
        for path in ("/liveness", "/user/ada/liveness"):
            for method in METHODS:
                assert (await site.ask(path, method, Origin=own)).code == (200 if method in ("GET", "HEAD") else 403)
        assert await site.knock("x") == 403
        assert not site.server.get_sessions()

    visit(check, GUARDED)
    assert TOKEN[:-1] not in caplog.text


def test_the_token_is_exchanged_for_a_cookie_that_is_not_the_token(
    visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def check(site: Site) -> None:
        assert (await site.ask("/user/ada")).headers["Location"] == "/user/ada/"
        form = await site.ask("/user/ada/")
        assert 'action="/user/ada/login"' in form.body.decode()
        for origin in ("", "null", "http://evil.example"):
            sent = await site.ask("/user/ada/login", "POST", f"token={TOKEN}", Origin=origin)
            assert sent.code == 403
            assert "Set-Cookie" not in sent.headers
        for entered in (await site.ask(f"/user/ada/?token={TOKEN}"), await site.enter()):
            assert (entered.code, entered.headers["Location"]) == (303, "/user/ada/")
            cookie = entered.headers["Set-Cookie"]
            assert re.search(r"=[\w-]{43}; Path=/user/ada/; HttpOnly; SameSite=Strict$", cookie)
            assert TOKEN not in cookie
        through_tls = await site.ask(f"/user/ada/?token={TOKEN}", X_Forwarded_Proto="https")
        assert through_tls.headers["Set-Cookie"].endswith("; Secure")
        page = await site.ask("/user/ada/")
        assert page.code == 200
        assert page.headers["Cache-Control"] == "no-store"
        # neither the cookie nor the token is in the page, whose text names the session
        assert site.cookie.partition("=")[2] not in page.body.decode()
        payload = get_token_payload(token_of(page))
        assert payload["cookies"] == {}
        assert "Cookie" not in payload["headers"]
        assert (await site.ask("/user/ada/static/js/bokeh.min.js")).code == 200
        assert (await site.ask("/user/ada/progress")).code == 200
        for method in METHODS[2:]:
            own = f"http://127.0.0.1:{site.port}"
            assert (await site.ask("/user/ada/", method, Origin=own)).code == 405
        for path in ("/user/ada/autoload.js?bokeh-autoload-element=x", "/user/ada/metadata", "/", "/user/adam/"):
            assert (await site.ask(path)).code == 404
        # a server beside it has other cookies
        other = await site.ask("/user/ada/", Host=f"localhost:{site.port}")
        assert other.code == 403
        wrong = [(await site.ask("/user/ada/?token=wrong")).code for _ in range(12)]
        assert wrong == [403] * 10 + [429] * 2
        assert (await site.ask("/user/ada/")).code == 200

    visit(check, GUARDED)
    assert TOKEN not in caplog.text


def test_a_websocket_needs_the_cookie_the_origin_and_a_session_of_this_server(visit: Visit) -> None:
    async def check(site: Site) -> None:
        await site.enter()
        token = token_of(await site.ask("/user/ada/"))
        own = f"127.0.0.1:{site.port}"
        for origin in (
            "http://evil.example",
            f"http://{own}.evil.example",
            "null",
            "",
            "http://localhost",
            "http://127.0.0.1",
        ):
            assert await site.knock(token, Origin=origin) == 403, origin
        assert await site.knock(token, Host="evil.example") == 403
        assert await site.knock(token, Cookie="x=y") == 403
        opened = await site.socket(token)
        assert json.loads(await opened.read_message() or "")["msgtype"] == "ACK"
        for _ in range(2):  # metadata and content
            await opened.read_message()
        # a message larger than any of the page's
        await opened.write_message("x" * (serving.MESSAGE + 1))
        assert await opened.read_message() is None
        assert opened.close_code == 1009
        opened.close()
        # a name for a session that this server has not given
        forged = await site.socket("eyJzZXNzaW9uX2lkIjogIm1pbmUiLCAic2Vzc2lvbl9leHBpcnkiOiA5OTk5OTk5OTk5fQ")
        assert await forged.read_message() is None
        forged.close()
        assert len(site.server.get_sessions()) == 1

    visit(check, GUARDED)


def test_other_hosts_other_origins_and_other_sites_are_refused_without_a_token_too(visit: Visit) -> None:
    async def check(site: Site) -> None:
        own = f"127.0.0.1:{site.port}"
        for path in site.routes():
            for host in ("evil.example", f"evil.example:{site.port}", f"{own}.evil.example", "192.0.2.7"):
                assert (await site.ask(path, Host=host)).code == 403
            for origin in ("http://evil.example", "null", f"http://{own}.evil.example"):
                answer = await site.ask(path, Origin=origin)
                assert answer.code == 403
                assert "Access-Control-Allow-Origin" not in answer.headers
            for site_of in ("cross-site", "same-site"):
                framed = {"Sec_Fetch_Site": site_of, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
                assert (await site.ask(path, **framed)).code == 403
                assert (await site.ask(path, Sec_Fetch_Site=site_of, Sec_Fetch_Mode="no-cors")).code == 403
        assert not site.server.get_sessions()
        followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        assert (await site.ask("/", **followed)).code == 200
        behind = {"Host": "hub.example.org", "Origin": "https://hub.example.org"}
        page = await site.ask("/", **behind)
        assert page.code == 200
        assert "wss://hub.example.org" in page.headers["Content-Security-Policy"]
        await hang_up(await site.socket(token_of(page), **behind))

    visit(check, Access(origins=(Place("hub.example.org"),)))


def test_the_page_allows_its_own_scripts_alone_and_routes_import_nothing(visit: Visit) -> None:
    async def check(site: Site) -> None:
        page = await site.ask("/", Cookie="secret=of-the-proxy")
        assert "of-the-proxy" not in page.body.decode()
        policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
        assert "'unsafe-inline'" not in policy["script-src"]
        assert re.search(r"'sha256-", policy["script-src"])
        assert not any("*" in text or "http:" in text or "https:" in text for text in policy.values())
        for name in ("default-src", "form-action", "frame-ancestors"):
            assert policy[name] == "'self'"
        assert policy["object-src"] == policy["base-uri"] == "'none'"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["X-Frame-Options"] == "SAMEORIGIN"
        for module in ("antigravity", "this"):
            assert (await site.ask(f"/components/{module}/a/css/b")).code == 404
            assert module not in sys.modules
        for path in (
            "/admin",
            "/rest/session_info",
            "/static/../../../etc/passwd",
            "/static/extensions/panel/..%2f..%2f",
        ):
            assert (await site.ask(path)).code in (403, 404)
        assert (await site.ask("/x", "POST", "y" * 70_000, Origin=f"http://127.0.0.1:{site.port}")).code == 400

    visit(check, Access())


def test_sessions_over_the_cap_are_told_to_wait_and_unused_ones_end(visit: Visit) -> None:
    async def check(site: Site) -> None:
        pages = [await site.ask("/") for _ in range(3)]
        assert [page.code for page in pages] == [200, 200, 503]
        assert "All 2 places of this server are taken" in pages[2].body.decode()
        assert pages[2].headers["Retry-After"]
        assert (await site.ask("/liveness")).body == b"alive"
        held = await site.socket(token_of(pages[0]))
        assert json.loads(await held.read_message() or "")["msgtype"] == "ACK"
        context = site.server._tornado.applications["/"]
        await context._cleanup_sessions(-1)  # as the server does now and then
        assert len(site.server.get_sessions()) == 1
        assert (await site.ask("/")).code == 200
        assert await site.knock(token_of(pages[1])) == 503  # its place has been given away
        assert site.server._tornado._unused_session_lifetime_milliseconds == 15_000
        await hang_up(held)

    visit(check, Access(max_sessions=2))
