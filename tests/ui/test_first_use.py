"""What a new user does who has read nothing: the three hints in their order, to named classes and a saved report."""

from __future__ import annotations

import re
import time
from pathlib import Path

from playwright.sync_api import expect
from ui_screen import Screen
from ui_server import Watched

from stem4d_panel.results.store import load_result

NAMES = {1: "blue ones", 2: "green ones", 3: "orange ones"}


def test_hints_lead_to_named_classes_and_a_report(screen: Screen, watched: Watched, tmp_path: Path) -> None:
    """A person clicks some hundred times slower than this; the program must leave two minutes nearly untouched."""
    page, start = screen.page, time.monotonic()
    hints = page.get_by_role("note", name="First steps")
    expect(hints.get_by_role("listitem")).to_have_count(3)

    tree = screen.data("dendrogram")
    screen.set_slider(".rank", "ArrowLeft", 4)  # 1: set the rank
    screen.wait_changed("dendrogram", tree)
    screen.wait_ready()
    page.get_by_text(re.compile(r"Suggested 0\.\d+")).wait_for()

    rows = screen.rows()
    screen.drag_threshold(0.1)  # 2: drag the red line
    expect(page.locator(".class-table tr")).not_to_have_count(rows + 1)
    screen.drag_threshold(0.3)
    expect(page.locator(".class-table tr")).to_have_count(rows + 1)

    right = screen.ranges("dendrogram")[1]
    screen.tap("dendrogram", right - 0.7, screen.threshold() / 2)  # 3: tap a branch, ...
    page.get_by_text(re.compile(r"^class \d+: ")).wait_for()
    screen.tap("maps", 10, 10)  # ... a position, ...
    for label, name in NAMES.items():  # ... and write names into the table
        field = page.get_by_label(f"name of class {label}", exact=True)
        field.fill(name)
        field.press("Enter")
        expect(field).to_have_value(name)
    expect(page.get_by_text("are still being measured")).to_have_count(0)
    hints.get_by_role("button", name="Put the first steps away").click()
    expect(hints).to_be_hidden()

    with page.expect_download() as download:
        page.get_by_role("button", name="Save result").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    report = Path(download.value.path()).read_text(encoding="utf-8")
    took = time.monotonic() - start

    assert all(name in load_result(saved).settings.cluster.names for name in NAMES.values())
    assert all(name in report for name in NAMES.values())
    assert took < 60, f"{took:.0f} s"
    watched.check()
