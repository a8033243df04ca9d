"""The same class in a JupyterLab cell: live without a network, and live again after the page is loaded anew."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect
from test_echo import check_no_echo
from ui_screen import Screen
from ui_server import Server, Watched, free_port

CELL = "from stem4d_panel import Workbench\nWorkbench('scan.npy', rank=6)"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """JupyterLab with a home of its own: (address, notebook folder)."""
    root, home = tmp_path / "notebooks", tmp_path / "home"
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    root.mkdir()
    # a question about news would lie over the page
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PANEL", "BOKEH", "JUPYTER"))}
    env |= {
        name: str(home / name.lower()) for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", "--allow-root", f"--ServerApp.root_dir={root}", "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    server = Server(command, url, tmp_path / "lab.log", env=env, cwd=root)
    yield url, root
    server.stop()


def open_and_run(watched: Watched) -> Screen:
    page = watched.page
    page.locator(".jp-CodeCell .cm-content").first.wait_for()
    page.get_by_text(re.compile(r"\| Idle$")).first.wait_for()  # before that, the keys are lost
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    screen = Screen(page)
    screen.wait_ready(120)
    return screen


def check_live(screen: Screen) -> None:
    """A slider, a tap on the map, a row of the table and a drag of the threshold all reach Python and come back."""
    gallery = screen.data("gallery")
    screen.set_slider(".rank", "ArrowLeft", 1)
    screen.wait_changed("gallery", gallery)
    screen.wait_ready()
    screen.page.locator(".status").scroll_into_view_if_needed()
    left, step, top = on_the_map(screen)
    measured = screen.data("measured")
    screen.tap("maps", left + 3.5 * step, top - 9.5 * step)
    screen.page.get_by_text(re.compile(r"^y 9, x 3 · ")).wait_for()
    screen.wait_changed("measured", measured)
    row = screen.page.locator(".class-table tbody tr").last.get_by_role("button")
    row.click()
    expect(row).to_have_attribute("aria-pressed", "true")
    before = screen.threshold()
    screen.drag_threshold(before - 0.2)
    field = screen.page.locator(".threshold input")
    expect(field).to_have_value(f"{screen.threshold():.4f}".rstrip("0"))


def on_the_map(screen: Screen) -> tuple[float, float, float]:
    """Left edge of the map of 18 columns, a position's width, the upper edge."""
    left, right, _, top = screen.ranges("maps")
    return left, (right - left) / 18, top


def check_every_group(screen: Screen) -> None:
    """What else the served page does in each part of the screen."""
    page = screen.page
    left, step, top = on_the_map(screen)
    screen.drag("maps", (left + 2.5 * step, top - 3.5 * step), (left + 6.5 * step, top - 8.5 * step))
    page.get_by_text("mean of y 3–8, x 2–6 · ").first.wait_for()
    _, right, _, _ = screen.ranges("patterns")
    maps = screen.data("maps")
    screen.drag("patterns", (0.5 * right, 0.0), (0.7 * right, 0.0))
    page.get_by_text("virtual image of the disc at ").wait_for()
    screen.wait_changed("maps", maps)
    screen.choose("Maps", "beam movement")
    page.get_by_text("movement of the beam, as fitted: up to ").wait_for()
    before = screen.data("patterns")
    screen.choose("Patterns", "mean as read")
    page.get_by_text("mean of all positions as read").wait_for()
    screen.wait_changed("patterns", before)
    gallery = screen.data("gallery")
    screen.set_slider(".mask-radii", "ArrowRight", 2)
    screen.wait_changed("gallery", gallery)
    screen.wait_ready()
    screen.drag_threshold(0.05)
    expect(page.locator(".class-table tbody tr").nth(1)).to_be_visible()
    first, last, _, _ = screen.ranges("dendrogram")
    screen.tap("dendrogram", last - 0.7, screen.threshold() / 2)  # the last leaf's branch
    page.get_by_text("part of the fitted intensity that class ").wait_for()
    assert first < last
    name = page.get_by_label("name of class 0", exact=True)
    name.fill("glass")
    name.press("Enter")
    page.locator(".class-table tbody tr").first.get_by_role("button").click()
    page.locator(".class-headline").get_by_text("class 0 · glass", exact=True).wait_for()


def check_keys_and_export(screen: Screen) -> None:
    """Keys act while the mouse is over the view, and what is exported comes to the browser."""
    page = screen.page
    screen.page.locator(".status").scroll_into_view_if_needed()
    page.locator(".status").hover()
    labels = [text.partition(" ")[0] for text in screen.gallery_labels()]
    for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        page.get_by_text(f"map of component {labels[place]},").wait_for()
    slider = page.locator(".rank input[type=range]").first
    rank = int(slider.input_value())
    page.keyboard.press("+")
    expect(slider).to_have_value(str(rank + 1))
    screen.wait_ready()
    page.keyboard.press("ControlOrMeta+z")
    expect(slider).to_have_value(str(rank))
    screen.wait_ready()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("play through the ranks")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)
    screen.choose("Export", "tables (CSV)")
    page.get_by_role("combobox", name="Table").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    assert download.value.suggested_filename == "scan-tables.zip"
    with zipfile.ZipFile(download.value.path()) as files:
        rows = list(csv.DictReader(io.StringIO(files.read("table-classes.csv").decode("utf-8-sig"))))
    assert [row["class"] for row in rows] == [str(i) for i in range(screen.rows())]


def test_live_without_a_network_and_after_a_reload(lab: tuple[str, Path], watched: Watched, small_npy: Path) -> None:
    url, root = lab
    (root / "scan.npy").write_bytes(small_npy.read_bytes())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, root / "x.ipynb")
    page = watched.page
    page.set_viewport_size({"width": 1500, "height": 1900})
    page.goto(f"{url}/lab/tree/x.ipynb")
    screen = open_and_run(watched)
    check_live(screen)
    check_every_group(screen)
    check_keys_and_export(screen)
    page.reload()
    page.wait_for_function("() => typeof window.Bokeh === 'undefined'")
    check_live(open_and_run(watched))
    check_no_echo(page)
    watched.check()
