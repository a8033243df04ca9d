"""Servers in processes of their own, and pages that are watched."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage",
]  # fmt: skip
LOCAL = re.compile(r"(http|ws)s?://(127\.0\.0\.1|localhost)[:/]")
# a remark of the software renderer about itself, not of the page
HARMLESS = ("GPU stall due to ReadPixels",)


def chromium() -> str | None:
    """Path of a browser, the environment's choice first."""
    return os.environ.get("STEM4D_CHROMIUM") or next((p for n in NAMES if (p := shutil.which(n))), None)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """A server in a process of its own; ended by its own id."""

    def __init__(self, command: list[str], url: str, log: Path, **options: Any) -> None:
        self.url, self.log = url, log
        self._out = log.open("w")
        self.process = subprocess.Popen(command, stdout=self._out, stderr=subprocess.STDOUT, **options)
        until = time.monotonic() + 60
        while True:
            try:
                host, port = url.split("/")[2].split(":")
                socket.create_connection((host, int(port)), timeout=5).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.stop()
                    raise RuntimeError(f"no answer at {url}: {log.read_text()}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._out.close()


class Watched:
    """A page whose console, failed answers and requests to other hosts are recorded."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.foreign: list[str] = []
        self.errors: list[str] = []
        page.context.route("**/*", self._gate)
        page.on("console", self._console)
        page.on("pageerror", lambda e: self.errors.append(f"page error: {e}"))
        page.on("response", lambda r: self.errors.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.set_default_timeout(30_000)

    def _gate(self, route: Any) -> None:
        url = route.request.url
        if LOCAL.match(url) or url.startswith(("data:", "blob:")):
            route.continue_()
        else:
            self.foreign.append(url)
            route.abort()

    def _console(self, message: Any) -> None:
        if message.type == "error" and not any(text in message.text for text in HARMLESS):
            self.errors.append(f"console: {message.text}")

    def check(self) -> None:
        """No error in the console, no request beyond this machine."""
        assert not self.errors, self.errors
        assert not self.foreign, self.foreign
