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

from stem4d_panel.results.offers import FIGURES, TABLES
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import save_result


def test_report_figures_and_tables_are_downloaded(
    start_server: Callable[..., Server], watched: Watched, found: Result, hostile: str, tmp_path: Path
) -> None:
    path = save_result(found, tmp_path / "scan.stem4d.hspy")
    page = watched.page
    page.goto(start_server("stem4d_panel", "serve", str(path), "--no-browser").url)
    screen = Screen(page)
    screen.wait_ready()
    button = page.get_by_role("button", name="Export", exact=True)

    def exported() -> tuple[str, bytes]:
        with page.expect_download() as download:
            button.click()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    name, report = exported()
    assert name == "small-report.html"
    other = page.context.new_page()  # whose requests are watched, too
    other.set_content(report.decode())
    classes = other.get_by_role("region", name="Classes, sorted by intensity")
    expect(classes.locator("tbody tr")).to_have_count(screen.rows())
    expect(classes).to_contain_text(hostile)
    expect(other.get_by_role("img")).to_have_count(len(FIGURES))
    other.close()

    screen.choose("Export", "tables (CSV)")
    screen.choose("Table", "classes")
    name, table = exported()
    assert name == "small-classes.csv"
    assert exported() == (name, table)  # what has not changed arrives a second time
    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    assert [row["class"] for row in rows] == [str(i) for i in range(screen.rows())]

    screen.choose("Table", "all")
    name, archive = exported()
    assert name == "small-tables.zip"
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert files.namelist() == [f"table-{table}.csv" for table in TABLES]

    screen.choose("Export", "figures")
    screen.choose("Figure", "dendrogram")
    screen.choose("As", "PDF")
    name, figure = exported()
    assert name == "small-dendrogram.pdf"
    assert figure.startswith(b"%PDF")
    watched.check()
