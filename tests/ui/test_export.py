"""What leaves the screen: chosen in the sidebar, made when asked for, handed to the browser."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect
from ui_screen import Screen
from ui_server import Server, Watched


def test_report_figures_and_tables_are_downloaded(
    start_server: Callable[..., Server], watched: Watched, small_npy: Path
) -> None:
    page = watched.page
    page.goto(start_server("stem4d_panel", "serve", str(small_npy), "--no-browser").url)
    screen = Screen(page)
    screen.wait_ready()
    for row in page.locator(".class-table tbody tr").all():  # measured
        expect(row.locator("td").nth(7)).not_to_have_text("…")
    button = page.get_by_role("button", name="Export", exact=True)

    def exported() -> tuple[str, bytes]:
        with page.expect_download() as download:
            button.click()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    name, report = exported()
    assert name == "scan-report.html"
    other = page.context.new_page()  # whose requests are watched, too
    other.set_content(report.decode())
    classes = other.get_by_role("region", name="Classes, sorted by intensity")
    expect(classes.locator("tbody tr")).to_have_count(screen.rows())
    assert other.locator("figure svg").count() == 9
    other.close()

    screen.choose("Export", "tables (CSV)")
    screen.choose("Table", "classes")
    name, table = exported()
    assert name == "scan-classes.csv"
    assert exported() == (name, table)  # what has not changed arrives a second time
    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    assert [row["class"] for row in rows] == [str(i) for i in range(screen.rows())]

    screen.choose("Export", "figures")
    screen.choose("As", "PDF")
    if shot := __import__("os").environ.get("STEM4D_SCREENSHOT"):
        button.scroll_into_view_if_needed()
        page.screenshot(path=shot)
    name, archive = exported()
    assert name == "scan-figures-pdf.zip"
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert len(files.namelist()) == 9
        assert all(files.read(n).startswith(b"%PDF") for n in files.namelist())
    watched.check()
