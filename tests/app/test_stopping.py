"""A server that is told to stop, with a page open and work going on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from raw_page import RawPage
from tornado.httpclient import AsyncHTTPClient
from ui_server import free_port


async def page_of(url: str) -> RawPage:
    """A page of the app, once it answers."""
    client = AsyncHTTPClient()
    while True:
        try:
            if (await client.fetch(f"{url}/progress?waits")).body == b"ready":
                return await RawPage.open(url)
        except OSError:
            pass
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_stops_at_once_and_in_order(number: signal.Signals, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log.txt"
    with log.open("w") as out:
        command = [sys.executable, "-m", "stem4d_panel", "serve", "--no-browser", "--port", str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:

            async def told() -> float:
                page = await asyncio.wait_for(page_of(f"http://127.0.0.1:{port}"), 90)
                start = time.monotonic()
                process.send_signal(number)
                process.wait(5)
                await page.close()
                return time.monotonic() - start

            assert asyncio.run(told()) < 5
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert log.read_text().splitlines()[-1] == "stopped", log.read_text()
    assert "Traceback" not in log.read_text()
