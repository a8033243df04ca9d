"""Who may reach the server: the address it listens on, the token, the names and origins it answers to, how many at once."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from stem4d_panel.errors import SettingError

LOOPBACK = "127.0.0.1"
TOKEN_VARIABLE = "STEM4D_TOKEN"  # noqa: S105 - its name
SHORTEST = 16  # characters of a token
LONGEST = 1024
MAX_SESSIONS = 40
_PORTS = {"http": 80, "https": 443}


class Place(NamedTuple):
    """A host by name, in small letters and without brackets, and its port where it is said."""

    name: str
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> Place | None:
        """``HOST`` or ``HOST:PORT``; None if it is neither."""
        try:
            parts = urlsplit(f"//{text}")
            name, port = parts.hostname, parts.port
        except ValueError:
            return None
        plain = text.isascii() and not set(text) & set("@/?#\\, \t") and not text.endswith(":")
        return cls(name, port) if name and plain else None

    @property
    def is_address(self) -> bool:
        """Whether it is a number, which no name server can be made to lie about."""
        return _address(self.name) is not None


@dataclass(frozen=True)
class Access:
    """Who may reach the server.

    Parameters
    ----------
    host : str
        Address to listen on.
    token : str, optional
        What a browser must know; None means that there is none.
    prefix : str
        Path below which everything lies, such as ``/user/ada``; empty, or with a leading slash and without one at the end.
    origins : tuple of Place
        What pages are called behind a proxy.
    max_sessions : int
        Pages that may be open at a time.
    """

    host: str = LOOPBACK
    token: str | None = field(default=None, repr=False)
    prefix: str = ""
    origins: tuple[Place, ...] = ()
    max_sessions: int = MAX_SESSIONS

    @property
    def is_local(self) -> bool:
        """Whether nothing but this machine can reach the server."""
        return _is_loopback(self.host)

    @property
    def root(self) -> str:
        """Path of the page."""
        return self.prefix + "/"

    def url(self, port: int) -> str:
        """Where a browser finds the page."""
        address = _address(self.host)
        name = socket.gethostname() if address is not None and address.is_unspecified else self.host
        return f"http://{f'[{name}]' if ':' in name else name}:{port}{self.root if self.prefix else ''}"

    def knows(self, host: str | None) -> bool:
        """Whether a request's Host header names this server: no page that had its own name point here can read anything."""
        place = Place.read(host or "")
        if place is None:
            return False
        own = {"localhost", LOOPBACK, "::1", self.host.lower(), *(origin.name for origin in self.origins)}
        if self.is_local:
            return place.name in own
        # all addresses of the machine are listened on, or one: a page's own name is never a number
        return place.name in own or place.is_address or place.name == socket.gethostname().lower()

    def is_own(self, origin: str | None, host: str | None) -> bool:
        """Whether a request's Origin header is that of this server's pages, which were asked for under `host`."""
        try:
            parts = urlsplit(origin or "")
        except ValueError:
            return False
        usual, place, asked = _PORTS.get(parts.scheme), Place.read(parts.netloc), Place.read(host or "")
        if usual is None or place is None or asked is None or f"{parts.scheme}://{parts.netloc}" != origin:
            return False
        port = place.port or usual
        return any(place.name == own.name and port == (own.port or usual) for own in (asked, *self.origins))


def plan_access(
    host: str = LOOPBACK,
    token_file: str | Path | None = None,
    insecure: bool = False,
    prefix: str = "",
    origins: Sequence[str] = (),
    max_sessions: int = MAX_SESSIONS,
    environment: MutableMapping[str, str] | None = None,
) -> Access:
    """Check what was asked for on the command line.

    Parameters
    ----------
    host : str
    token_file : path, optional
        File that holds the token; goes before the variable ``STEM4D_TOKEN`` of the environment.
    insecure : bool
        Whether other machines may do without a token.
    prefix : str
    origins : sequence of str
        Each ``HOST`` or ``HOST:PORT``.
    max_sessions : int
    environment : mutable mapping, optional
        In place of the process's own; the token is taken out of it.

    Raises
    ------
    SettingError
        If a value is refused, or other machines could reach the server without a token.
    """
    if not re.fullmatch(r"[0-9A-Za-z.:_-]+", host):
        raise SettingError(f"--host: {host!r} is not allowed; it takes an address or a name")
    if max_sessions < 1:
        raise SettingError(f"--max-sessions: {max_sessions} is not allowed; it takes 1 or more")
    token = _token(token_file, os.environ if environment is None else environment)
    if token is None and not insecure and not _is_loopback(host):
        raise SettingError(
            f"--host: {host} can be reached from other machines; it takes a token (--token-file FILE or {TOKEN_VARIABLE}), or --insecure to do without"
        )
    return Access(host, token, _prefix(prefix), tuple(map(_origin, origins)), max_sessions)


def _token(file: str | Path | None, environment: MutableMapping[str, str]) -> str | None:
    if file is not None:
        text, where = _read_token(Path(file)), f"--token-file: {Path(file).name}"
    elif TOKEN_VARIABLE in environment:
        text, where = environment.pop(TOKEN_VARIABLE), TOKEN_VARIABLE  # no process that this one starts needs it
    else:
        return None
    token = text.strip()
    if not SHORTEST <= len(token) <= LONGEST:
        raise SettingError(f"{where}: a token of {len(token)} characters; it takes {SHORTEST} to {LONGEST}")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise SettingError(f"{where}: a token takes letters, digits and signs of ASCII without spaces, in one line")
    return token


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise SettingError(f"--token-file: {path.name} can be read by others (mode {mode:o}); chmod 600 it")
            return file.read(2 * LONGEST).decode("utf-8", "replace")
    except OSError as error:
        raise SettingError(f"--token-file: {path.name}: cannot be read: {error.strerror or error}") from error


def _prefix(text: str) -> str:
    path = text.strip("/")
    if path and not all(re.fullmatch(r"[0-9A-Za-z._~@%-]+", part) and part.strip(".") for part in path.split("/")):
        raise SettingError(f"--prefix: {text!r} is not allowed; it takes a path such as /user/ada")
    return f"/{path}" if path else ""


def _origin(text: str) -> Place:
    place = Place.read(text)
    if place is None or "*" in text:
        raise SettingError(f"--allow-origin: {text!r} is not allowed; it takes HOST or HOST:PORT")
    return place


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback
