"""A page whose server has stopped says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect
from ui_screen import Screen
from ui_server import Server, Watched


def test_a_lost_connection_is_said(start_server: Callable[..., Server], watched: Watched, small_npy: Path) -> None:
    server = start_server("stem4d_panel", "serve", str(small_npy), "--no-browser")
    page = watched.page
    page.goto(server.url)
    screen = Screen(page)
    screen.wait_ready()
    lost = page.get_by_role("alert").filter(has_text="Connection lost")
    expect(lost).to_be_hidden()
    watched.check()
    server.process.kill()
    server.process.wait()
    expect(lost).to_be_visible()
    expect(lost.get_by_role("button", name="Load again")).to_be_visible()
    expect(page.locator(".status")).to_be_visible()  # what was seen stays
    if shot := os.environ.get("STEM4D_SCREENSHOT"):
        page.screenshot(path=shot)
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=shot.replace(".png", "-dark.png"))
