"""The one door of the server: every request of every method passes here before any route is looked for.

What may pass is handed to the application without its cookies; everything else is answered here. Each answer, of the
application too, gets the headers that hold a browser to what the page needs.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from stem4d_panel.app.access import Access
from stem4d_panel.app.login import Logins, page

LIVENESS = "/liveness"
LOGIN = "/login"
# bounds of the HTTP server itself: nothing is uploaded, and who says nothing is hung up on
LIMITS = {
    "max_body_size": 64 * 2**10,
    "max_header_size": 64 * 2**10,
    "idle_connection_timeout": 120,
    "body_timeout": 20,
}
_BODY = 4096  # bytes of a form
_SHUT = ("/autoload.js", "/metadata")  # they open sessions, for pages of others
_COMPONENT = "/components/"  # a route that imports the module that is named
OWN_ORIGIN = "localhost:80"  # by which the application knows the origins that are let in
_SCRIPT = re.compile(rb"<script\b([^>]*)>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_NONCE = re.compile(rb'nonce="([0-9A-Za-z_-]+)"')


class Answer(NamedTuple):
    """What a request gets that does not pass."""

    status: int
    text: str
    form: bool = False  # asks for the token
    wrong: bool = False
    headers: tuple[tuple[str, str], ...] = ()


class Guard(HTTPServerConnectionDelegate):
    """Stands before an application.

    Parameters
    ----------
    access : Access
    app : HTTPServerConnectionDelegate
        What answers to what may pass; another may take its place.
    sessions : callable, optional
        Returns the ids of the sessions that are open.
    """

    def __init__(
        self,
        access: Access,
        app: HTTPServerConnectionDelegate,
        sessions: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.access, self.app, self.sessions = access, app, sessions
        self.logins = Logins(access.token) if access.token is not None else None
        self.asked = 0  # requests so far

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Look at a request before the application does."""
        self.asked += 1
        return _Request(self, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        self.app.on_close(server_conn)

    # ---- what may pass -----------------------------------------------------------------------------------------------

    def answer(self, start: RequestStartLine, headers: HTTPHeaders, body: bytes, address: str) -> Answer | None:
        """What is answered in place of the application; None if the request may pass."""
        access, method = self.access, start.method
        path = start.path.partition("?")[0]
        reads = method in ("GET", "HEAD")
        if reads and path in (LIVENESS, access.prefix + LIVENESS):
            return Answer(200, "alive")
        host, origin = headers.get("Host"), headers.get("Origin")
        if not access.knows(host):
            return Answer(403, "This server does not go by the name that was asked for (--allow-origin names others).")
        if reads and path == access.prefix:
            return Answer(302, "", headers=(("Location", access.root),))
        upgrade = "Upgrade" in headers
        if (upgrade or origin is not None or not reads) and not access.is_own(origin, host):
            return Answer(403, "Asked for from a page of another origin (--allow-origin names others).")
        if _is_foreign(headers):
            return Answer(403, "Asked for from a page of another origin.")
        if self.logins is not None:
            refusal = self._at_the_door(self.logins, start, headers, body, address)
            if refusal is not None:
                return refusal
        if not reads:
            return Answer(405, "Only GET and HEAD are answered.", headers=(("Allow", "GET, HEAD"),))
        return self._closed(path, headers)

    def _at_the_door(
        self, logins: Logins, start: RequestStartLine, headers: HTTPHeaders, body: bytes, address: str
    ) -> Answer | None:
        path, _, query = start.path.partition("?")
        sends = start.method == "POST" and path == self.access.prefix + LOGIN
        given = parse_qs(body.decode("latin-1") if sends else query, keep_blank_values=True).get("token")
        if given is not None and start.method in ("GET", "POST"):
            if logins.must_wait(address):
                return Answer(429, "Too many wrong tokens: wait a minute.", True, True, (("Retry-After", "60"),))
            known = logins.enter(given[0].strip(), address)
            if known is None:
                return Answer(403, "That is not the token.", True, True)
            return Answer(
                303, "", headers=(("Location", self.access.root), ("Set-Cookie", self._cookie(known, headers)))
            )
        if given is None and logins.holds(_cookies(headers).get(self._cookie_name(headers), "")):
            return None
        return Answer(403, "The token is the one that the server was started with.", True)

    def _cookie_name(self, headers: HTTPHeaders) -> str:
        """Cookies are kept by host without its port, so that servers side by side need names of their own."""
        return f"stem4d-{hashlib.sha256(headers.get('Host', '').lower().encode()).hexdigest()[:8]}"

    def _cookie(self, known: str, headers: HTTPHeaders) -> str:
        secure = "; Secure" if headers.get("X-Forwarded-Proto", "").startswith("https") else ""
        return f"{self._cookie_name(headers)}={known}; Path={self.access.root}; HttpOnly; SameSite=Strict{secure}"

    def _closed(self, path: str, headers: HTTPHeaders) -> Answer | None:
        """What is shut for everybody, or as long as all places are taken."""
        root, prefix = self.access.root, self.access.prefix
        if not path.startswith(root):
            return Answer(404, f"There is nothing here; the page is at {root}")
        below = path[len(prefix) :]
        if below in _SHUT or (below.startswith(_COMPONENT) and below.split("/")[2] not in sys.modules):
            return Answer(404, "There is nothing here.")
        there = self.sessions()
        full = len(there) >= self.access.max_sessions
        if full and (below == "/" or (below == "/ws" and _session(headers) not in there)):
            return Answer(
                503,
                f"All {self.access.max_sessions} places of this server are taken (--max-sessions). Try again in a minute.",
                headers=(("Retry-After", "30"),),
            )
        return None


class _Request(HTTPMessageDelegate):
    """One request: handed on, or read to its end and answered."""

    def __init__(self, guard: Guard, server_conn: object, request_conn: HTTPConnection) -> None:
        self._guard, self._server = guard, server_conn
        self._connection = _Connection(request_conn)
        self._app: HTTPMessageDelegate | None = None
        self._refusal: Answer | None = None
        self._start, self._headers, self._body = RequestStartLine("", "", ""), HTTPHeaders(), b""

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        self._start, self._headers, self._connection.host = start_line, headers, headers.get("Host", "")
        if start_line.method in ("GET", "HEAD"):
            self._refusal = self._judge()
            if self._refusal is None:
                return self._hand_on()
        return None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        if self._app is not None:
            return self._app.data_received(chunk)
        self._body = (self._body + chunk)[:_BODY]
        return None

    def finish(self) -> None:
        if self._app is not None:
            self._app.finish()
            return
        refusal = self._refusal if self._start.method in ("GET", "HEAD") else self._judge()
        self._write(refusal or Answer(405, "Only GET and HEAD are answered."))

    def on_connection_close(self) -> None:
        if self._app is not None:
            self._app.on_connection_close()

    def _judge(self) -> Answer | None:
        address = getattr(getattr(self._connection.inner, "context", None), "remote_ip", "")
        return self._guard.answer(self._start, self._headers, self._body, str(address))

    def _hand_on(self) -> Awaitable[None] | None:
        headers = self._headers
        for name in ("Cookie", "Authorization", "Sec-Websocket-Origin"):  # else they go into the text of the page
            headers.pop(name, None)
        if "Origin" in headers:  # it is ours; the application knows it by one name
            headers["Origin"] = f"http://{OWN_ORIGIN}"
        self._app = self._guard.app.start_request(self._server, self._connection)
        return self._app.headers_received(self._start, headers)

    def _write(self, answer: Answer) -> None:
        login = self._guard.access.prefix + LOGIN if answer.form else None
        plain = answer.status == 200
        body = (answer.text if plain else page(answer.text, login, answer.wrong)).encode()
        headers = HTTPHeaders({"Content-Type": f"text/{'plain' if plain else 'html'}; charset=utf-8"})
        headers["Content-Length"] = str(len(body))
        headers["Cache-Control"] = "no-store"
        headers["Referrer-Policy"] = "same-origin"  # under "no-referrer" a form is sent with the origin "null"
        for name, value in answer.headers:
            headers.add(name, value)
        reason = HTTPStatus(answer.status).phrase
        sent = b"" if self._start.method == "HEAD" else body
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", answer.status, reason), headers, sent)
        self._connection.finish()


class _Connection(HTTPConnection):
    """A connection whose answers are marked."""

    def __init__(self, inner: HTTPConnection) -> None:
        self.inner, self.host = inner, ""

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> Any:
        for name in [n for n in headers if n.startswith("Access-Control-")]:
            del headers[name]
        headers.pop("Server", None)
        for name, value in marks(self.host, chunk or b"").items():
            headers.setdefault(name, value)
        return self.inner.write_headers(start_line, headers, chunk)

    def write(self, chunk: bytes) -> Any:
        return self.inner.write(chunk)

    def finish(self) -> None:
        self.inner.finish()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def marks(host: str, body: bytes) -> dict[str, str]:
    """Headers that hold the browser to what the page needs; the scripts in its text are allowed by their digests."""
    allowed = set()
    for attributes, script in _SCRIPT.findall(body):
        if nonce := _NONCE.search(attributes):
            allowed.add(f"'nonce-{nonce[1].decode()}'")
        elif b"src=" not in attributes:
            allowed.add(f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'")
    sockets = f" ws://{host} wss://{host}" if re.fullmatch(r"[0-9A-Za-z.:\[\]_-]+", host) else ""
    policy = {
        "default-src": "'self'",
        "script-src": " ".join(["'self' 'unsafe-eval' blob:", *sorted(allowed)]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": f"'self' blob:{sockets}",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'self'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-cache",
    }


def _is_foreign(headers: HTTPHeaders) -> bool:
    """Whether a browser says that another site's page asks, be it for a picture or in a frame, and not its user."""
    if headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site"):
        return False
    return not (headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document")


def _cookies(headers: HTTPHeaders) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("Cookie", "")).items()}
    except CookieError:
        return {}


def _session(headers: HTTPHeaders) -> str | None:
    """The session that a websocket belongs to."""
    from bokeh.util.token import get_session_id

    _, _, token = headers.get("Sec-WebSocket-Protocol", "").partition(",")
    try:
        return str(get_session_id(token.strip()))
    except Exception:  # whatever is no token
        return None
