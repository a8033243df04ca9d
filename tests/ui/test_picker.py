"""The file picker in a page: folders, names, and a stack of frames whose shape is chosen by its picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ui_screen import Screen
from ui_server import Server, Watched

from stem4d_panel.scan.scan import Scan

BAD = "<img src=x onerror=window.__pwn=1>"


def test_a_stack_of_a_folder_below_is_opened_in_the_shape_that_its_picture_shows(
    start_server: Callable[..., Server], watched: Watched, small: Scan, tmp_path: Path
) -> None:
    data = np.asarray(small.data)
    below = tmp_path / "served" / BAD
    below.mkdir(parents=True)
    np.save(below / "stack.npy", data.reshape(-1, 32, 32))
    np.save(below / f"{BAD}.npy", data[:8])
    server = start_server(
        "stem4d_panel",
        "serve",
        str(tmp_path / "served"),
        "--no-browser",
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    page = watched.page
    page.goto(server.url)
    screen = Screen(page)
    screen.wait_ready()
    entries = page.locator(".picker-list").get_by_role("button")
    entries.filter(has_text=BAD).click()
    page.locator(".picker-folder").get_by_text(f"served / {BAD}").wait_for()
    entries.filter(has_text=f"{BAD}.npy").click()
    about = page.locator(".picker-about")
    about.get_by_text("8 × 18 × 32 × 32 uint16").wait_for()
    about.get_by_text(BAD).wait_for()
    entries.filter(has_text="stack.npy").click()
    about.get_by_text("252 × 32 × 32 uint16").wait_for()
    page.locator("img[src^='data:image/png']").nth(5).wait_for()
    if shot := os.environ.get("STEM4D_SCREENSHOT"):
        page.screenshot(path=shot)
    page.get_by_role("button", name="14 × 18", exact=True).click()
    page.get_by_text("14 × 18 positions, 32 × 32 pixels").wait_for()
    screen.wait_ready()
    about.wait_for(state="hidden")
    entries.filter(has_text="stack.npy").click()
    page.get_by_role("button", name="Open as 14 × 18").wait_for()
    assert page.evaluate("window.__pwn") is None
    watched.check()
