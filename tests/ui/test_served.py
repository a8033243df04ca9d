"""The other ways in: plain `panel serve` of a script and of the notebook, `stem4d serve` of files and folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from ui_screen import STEPS, Screen
from ui_server import Server, Watched

from stem4d_panel.analysis import Analysis
from stem4d_panel.scan.scan import Scan

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
Start = Callable[..., Server]


def test_panel_serves_a_script_of_two_lines(start_server: Start, watched: Watched, small_npy: Path) -> None:
    script = small_npy.with_name("app.py")
    script.write_text(f"from stem4d_panel import Workbench\nWorkbench({str(small_npy)!r}, rank=5).servable()\n")
    server = start_server("panel", "serve", str(script), "--address", "127.0.0.1", path="/app")
    watched.page.goto(server.url)
    Screen(watched.page).wait_ready()
    watched.check()


def test_panel_serves_the_dashboard_notebook(start_server: Start, watched: Watched) -> None:
    server = start_server(
        "panel", "serve", str(NOTEBOOKS / "dashboard.ipynb"), "--address", "127.0.0.1", path="/dashboard"
    )
    watched.page.goto(server.url)
    Screen(watched.page).wait_ready()
    watched.check()


def test_a_result_opens_where_it_was_saved(start_server: Start, watched: Watched, small: Scan, tmp_path: Path) -> None:
    path = Analysis(small, rank=5, threshold=0.4).save(tmp_path / "found.stem4d.hspy")
    server = start_server("stem4d_panel", "serve", str(path), "--no-browser")
    watched.page.goto(server.url)
    screen = Screen(watched.page)
    screen.wait_ready()
    assert screen.threshold() == pytest.approx(0.4)
    for step in STEPS:
        screen.wait_step(step, "up to date")
    gallery = screen.data("gallery")
    screen.drag_threshold(0.1)
    screen.page.get_by_text("classes at").first.wait_for()
    screen.wait_changed("dendrogram", -1)
    assert screen.data("gallery") != 0 or gallery != 0
    watched.check()


def test_bad_files_of_a_folder_leave_the_last_good_result(
    start_server: Start, watched: Watched, small: Scan, small_npy: Path
) -> None:
    folder = small_npy.parent
    (folder / "broken.h5").write_text("not a file of that kind")
    data = np.asarray(small.data)
    data = data.astype(np.float32)
    data[1, 2, 3, 4] = np.nan
    np.save(folder / "holes.npy", data)
    with h5py.File(folder / "two.h5", "w") as f:
        f["first"] = np.asarray(small.data)
        f["second"] = np.asarray(small.data)[:8]
    server = start_server("stem4d_panel", "serve", str(folder), "--no-browser")
    page = watched.page
    page.goto(server.url)
    screen = Screen(page)
    screen.wait_ready()

    def pick(name: str) -> None:
        page.locator(".picker-list").get_by_role("button", name=name, exact=True).click()

    def open_it() -> None:
        page.locator(".picker-open").get_by_role("button", name="Open", exact=True).click()

    sample = screen.data("gallery")
    pick("scan.npy")
    open_it()
    page.get_by_text("14 × 18 positions").wait_for()
    screen.wait_ready()
    screen.wait_changed("gallery", sample)  # the pictures follow the words
    good = screen.data("gallery")
    pick("broken.h5")
    page.locator(".picker-about").get_by_text("broken.h5: not an HDF5 file").wait_for()
    assert screen.data("gallery") == good
    pick("holes.npy")
    open_it()
    page.get_by_text("values are not finite").first.wait_for()
    assert screen.data("gallery") == good
    pick("two.h5")
    page.get_by_label("Dataset", exact=True).click()
    page.get_by_role("menuitem", name="/second 8 × 18 × 32 × 32 uint16").click()
    open_it()
    page.get_by_text("8 × 18 positions").wait_for()
    screen.wait_ready()
    watched.check()
