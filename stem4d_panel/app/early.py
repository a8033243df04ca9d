"""The first part of a page goes out before the page is made.

A page takes a second or two of the server's time, and its scripts as much of the browser's. All that is the same in each
page, its frame and its scripts, is sent at once, with the pictures that the last page of this address began with: they
are seen, and the scripts run, while the rest is made.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Any

from bokeh.server.urls import per_app_patterns
from panel.io.server import DocHandler

from stem4d_panel.app import shell
from stem4d_panel.app.stills import stills

_PAUSE, _LONGEST = 0.06, 0.4  # seconds without a request after which a browser has all scripts, and at most
_NONCE = re.compile(r'(?<=nonce=")[0-9A-Za-z_-]+(?=")')
_NO_NONCE = re.compile(r"<script\b(?![^>]*\b(?:nonce|src)=)")
# among the settings of the server's application: the first part of its pages; what counts the requests so far
_KEPT, ASKED = "stem4d_first_part", "stem4d_asked"


class EarlyHandler(DocHandler):
    """Answers with the first part of the pages before, where there was one, and then with what is left of this one."""

    _nonce = ""  # of the first part that has gone out

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Answer with the page, its first part at once where it is known."""
        first = self.settings.get(_KEPT)
        if first and self.request.version == "HTTP/1.1":  # older ones must know the length beforehand
            nonce = secrets.token_urlsafe(18)
            seen = stills.html(self.request.arguments)
            self.set_header("Cache-Control", "no-store")
            self.set_header("Content-Type", "text/html")
            super().write(_with_stills(_NONCE.sub(nonce, first), seen))
            self._nonce = nonce
            await self.flush()
            await self._let_ask()
        await super().get(*args, **kwargs)

    async def _let_ask(self) -> None:
        """Let the browser have the scripts before the server is busy with the page."""
        asked, until = self.settings.get(ASKED), time.monotonic() + _LONGEST
        before = None
        while asked is not None and asked() != before and time.monotonic() < until:
            before = asked()
            await asyncio.sleep(_PAUSE)

    def write(self, chunk: Any) -> None:
        """Keep the first part of a page; of one whose first part has gone out, write the rest."""
        first, split, rest = chunk.partition(shell.SPLIT) if isinstance(chunk, str) else ("", "", "")
        if not self._nonce:
            if split:
                self.settings.setdefault(_KEPT, first)
                chunk = _with_stills(first, stills.html(self.request.arguments)) + split + rest
            super().write(chunk)
            return
        if not split:  # what stands for a page that could not be made
            rest = shell.FAILED
        elif _NONCE.sub("", first) != _NONCE.sub("", self.settings[_KEPT]):
            self.settings[_KEPT] = ""  # pages differ, which none should: from now on each is sent as a whole
            rest = "<script>location.reload()</script>"
        super().write(_NO_NONCE.sub(f'<script nonce="{self._nonce}"', rest))

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Say in the page what happened, where its first part has gone out."""
        if self._nonce and not self._finished:
            self.finish(shell.FAILED)
        else:
            super().send_error(status_code, **kwargs)


def _with_stills(first: str, seen: str) -> str:
    return first.replace(shell.STILLS, shell.STILLS + seen, 1)


def use() -> None:
    """Have servers that are made from now on answer so."""
    per_app_patterns[:] = [
        (route, EarlyHandler if handler is DocHandler else handler) for route, handler in per_app_patterns
    ]
