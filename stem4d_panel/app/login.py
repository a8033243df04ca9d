"""The token at the door: who has shown it, who guesses, and the page that asks for it."""

from __future__ import annotations

import hmac
import html
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

_KEPT = 24 * 3600.0  # seconds after its last use that a login ends
_MANY = 1000  # logins, and addresses that guess
_GUESSES = 10  # wrong tokens from one address before it has to wait
_WAIT = 60.0  # seconds

_CSS = """
html { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: light-dark(#f4f6f8, #121212);
       color: light-dark(#222, #eee); font: 14px Roboto, system-ui, sans-serif }
main { width: min(340px, 88vw); background: light-dark(#fff, #1e1e1e); border-radius: 6px; overflow: hidden;
       box-shadow: 0 1px 6px #0004 }
h1 { margin: 0; background: #31688e; color: #fff; font-size: 20px; padding: 12px 20px }
form, p { margin: 0; padding: 16px 20px; display: grid; gap: 10px; line-height: 1.45; overflow-wrap: anywhere }
form + p { padding-top: 0 }
input { font: inherit; padding: 9px 10px; border: 1px solid light-dark(#999, #666); border-radius: 4px; background: transparent;
        color: inherit }
button { font: inherit; font-weight: 500; padding: 9px; border: 0; border-radius: 4px; background: #31688e; color: #fff;
         cursor: pointer }
:is(input, button):focus-visible { outline: 2px solid #35b779; outline-offset: 2px }
.wrong { color: light-dark(#b00020, #ff8a80) }
"""


def page(text: str, login: str | None = None, wrong: bool = False) -> str:
    """A page with a sentence, and with a form for the token where `login` says the path to send it to."""
    said = f'<p role="{"alert" if wrong else "status"}"{" class=wrong" if wrong else ""}>{html.escape(text)}</p>'
    form = (
        f'<form method="post" action="{html.escape(login)}"><label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
        "<button>Open</button></form>"
        if login is not None
        else ""
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>stem4d</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_CSS}</style></head><body><main><h1>stem4d</h1>{form}{said}</main></body></html>"
    )


class Logins:
    """The browsers that have shown the token, each known by a random text of its own.

    Parameters
    ----------
    token : str
    now : callable, optional
        Seconds of a clock.
    """

    def __init__(self, token: str, now: Callable[[], float] = time.monotonic) -> None:
        self._token, self._now = token.encode(), now
        self._last: OrderedDict[str, float] = OrderedDict()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def must_wait(self, address: str) -> bool:
        """Whether too many wrong tokens have come from an address of late."""
        since = self._now() - _WAIT
        late = [at for at in self._wrong.pop(address, ()) if at > since]
        if late:
            self._wrong[address] = late
        return len(late) >= _GUESSES

    def enter(self, token: str, address: str) -> str | None:
        """The text by which the browser will be known, or None if the token is wrong."""
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            self._wrong.setdefault(address, []).append(self._now())
            _shorten(self._wrong)
            return None
        known = secrets.token_urlsafe(32)
        self._last[known] = self._now()
        _shorten(self._last)
        return known

    def holds(self, shown: str) -> bool:
        """Whether a browser is known by this text."""
        given, found = shown.encode("utf-8", "replace"), None
        for known in self._last:
            if hmac.compare_digest(known.encode(), given):
                found = known
        if found is None:
            return False
        if self._now() - self._last.pop(found) > _KEPT:
            return False
        self._last[found] = self._now()
        return True


def _shorten(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > _MANY:
        kept.popitem(last=False)
