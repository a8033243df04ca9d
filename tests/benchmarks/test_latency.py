"""From a hand's event to the changed picture, in Chromium, beside a bare Bokeh app in the same run.

`STEM4D_BENCH_EVENTS` sets the number of events of each kind (20). Needs a browser, as the tests in `tests/ui`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from tables import table
from ui_screen import POSITION, Screen
from ui_server import FLAGS, Server, chromium, free_port

EVENTS = int(os.environ.get("STEM4D_BENCH_EVENTS", "20"))
SHARED = Path(__file__).parents[3] / "shared" / "data" / "glass-a"
HERE = Path(__file__).parent
_NOT_DOUBLE = 500  # ms after which a click is not the second of two
# resolves when each of the figures has taken in new data and the browser has painted twice; times the last event before
ARM = """names => {
  const views = names.map(n => Bokeh.index.query_one(v => v.model.type === 'Figure' && v.model.name === n))
  window.__start = null
  const note = () => { window.__start = performance.now() }
  for (const kind of ['pointerup', 'pointermove', 'keydown']) window.addEventListener(kind, note, {capture: true, once: false})
  window.__changed = Promise.all(views.map(view => new Promise(done => {
    for (const r of view.model.renderers) {
      const p = r.data_source?.properties.data
      if (p != null) p.change.connect(() => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))
    } }))).then(times => Math.max(...times) - window.__start) }"""


# two pictures that have been decoded, after the frame in which they are painted
STILLS = """async () => {
  const seen = [...document.querySelectorAll('#stills img')]
  if (seen.length < 2) return false
  await Promise.all(seen.map(image => image.decode()))
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
  return seen.every(image => image.getBoundingClientRect().width > 100)
}"""


def wait(page: Any) -> float:
    return float(
        page.evaluate(
            "() => Promise.race([window.__changed,"
            " new Promise((_, no) => setTimeout(() => no(new Error('nothing changed for 20 s')), 20000))])"
        )
    )


def arm(page: Any, *figures: str) -> None:
    page.evaluate(ARM, list(figures))


@pytest.fixture
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        pytest.skip("no browser")
    with sync_playwright() as p:
        yield p.chromium.launch(executable_path=path, args=[*FLAGS, "--no-sandbox"])


def opened(browser: Any, url: str) -> Any:
    page = browser.new_context(viewport={"width": 1400, "height": 1150}).new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    return page


def bare(browser: Any, tmp_path: Path) -> dict[str, list[float]]:
    """Times of the floor for each kind of event."""
    port = free_port()
    command = [sys.executable, "-m", "bokeh", "serve", str(HERE / "bare_app.py"), "--port", str(port)]
    server = Server(
        command,
        f"http://127.0.0.1:{port}/bare_app",
        tmp_path / "bare.txt",
        env={**os.environ, "BOKEH_RESOURCES": "server"},
    )
    try:
        page = opened(browser, server.url)
        page.wait_for_function("a => (" + POSITION + ")(a)?.every(isFinite)", arg=["bare", 0.5, 0.5])
        page.wait_for_timeout(2000)  # an event before the server listens is lost
        times: dict[str, list[float]] = {"tap": [], "drag": [], "slider": []}

        def at(x: float, y: float) -> Any:
            return page.evaluate(POSITION, ["bare", x, y])

        for i in range(EVENTS + 3):
            arm(page, "bare")
            page.mouse.click(*at(0.2 + 0.02 * i, 0.5))
            times["tap"].append(wait(page))
            page.wait_for_timeout(_NOT_DOUBLE)
        page.mouse.move(*at(0.2, 0.2))
        page.mouse.down()
        page.mouse.move(*at(0.22, 0.2))
        page.wait_for_timeout(500)
        for i in range(EVENTS + 3):
            arm(page, "bare")
            page.mouse.move(*at(0.25 + 0.02 * i, 0.3))
            times["drag"].append(wait(page))
        page.mouse.up()
        handle = page.locator(".noUi-handle")
        handle.focus()
        for _ in range(EVENTS + 3):
            arm(page, "bare")
            handle.press("ArrowRight")
            times["slider"].append(wait(page))
        page.context.close()
        return {kind: found[3:] for kind, found in times.items()}
    finally:
        server.stop()


def ours(
    browser: Any, tmp_path: Path, module: str, *arguments: str, path: str = "", ready: float = 120
) -> dict[str, list[float]]:
    """Times of the workbench that `python -m MODULE ARGUMENTS --port PORT` serves."""
    port = free_port()
    command = [sys.executable, "-m", module, *arguments, "--port", str(port)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    server = Server(command, f"http://127.0.0.1:{port}{path}", tmp_path / "ours.txt", env=env)
    try:
        page = opened(browser, server.url)
        screen = Screen(page)
        screen.wait_ready(ready)
        page.locator(".evidence").get_by_text("Evidence").wait_for(timeout=ready * 1000)  # all ranks are there
        times: dict[str, list[float]] = {n: [] for n in ("rank", "point", "threshold", "detector")}
        left, right, bottom, top = screen.ranges("maps")

        def measure(kind: str, act: Callable[[], Any], *figures: str) -> None:
            arm(page, *figures)
            act()
            times[kind].append(wait(page))

        for i in range(EVENTS + 3):
            x, y = left + (right - left) * (0.1 + 0.03 * i), bottom + (top - bottom) * (0.9 - 0.03 * i)
            measure("point", lambda x=x, y=y: screen.tap("maps", x, y), "maps", "measured")
            page.wait_for_timeout(_NOT_DOUBLE)
        _, x1, _, y1 = screen.ranges("patterns")
        page.mouse.move(
            *screen.at("patterns", 0.113 * x1, 0.071 * y1)
        )  # off the pixels' lattice: every radius gains some
        page.mouse.down()
        page.mouse.move(*screen.at("patterns", 0.2 * x1, 0.2 * y1))
        page.wait_for_timeout(3000)  # kernels that were never used are compiled
        for i in range(EVENTS + 3):
            end = screen.at("patterns", (0.22 + 0.02 * i) * x1, 0.2 * y1)
            measure("detector", lambda end=end: page.mouse.move(*end), "maps", "patterns")
        page.mouse.up()
        middle, line = (screen.ranges("dendrogram")[0] + screen.ranges("dendrogram")[1]) / 2, screen.threshold()
        page.mouse.move(*screen.at("dendrogram", middle, line))
        page.mouse.down()
        page.mouse.move(*screen.at("dendrogram", middle, line + 0.05))
        page.wait_for_timeout(2000)
        for i in range(EVENTS + 3):
            height = (0.9 if i % 2 else 0.02) - 0.0005 * i  # what changes no class is not drawn again
            end = screen.at("dendrogram", middle, height)
            measure("threshold", lambda end=end: page.mouse.move(*end), "dendrogram", "gallery")
        page.mouse.up()
        page.wait_for_timeout(1000)
        handle = page.locator(".rank input[type=range]")
        handle.focus()
        for i in range(EVENTS + 3):
            key = "ArrowLeft" if i % 8 < 4 else "ArrowRight"
            measure("rank", lambda key=key: handle.press(key), "gallery", "dendrogram")
        page.screenshot(path=str(tmp_path / "ours.png"))
        return {kind: found[3:] for kind, found in times.items()}
    finally:
        server.stop()


def report(title: str, floor: dict[str, list[float]], found: dict[str, list[float]], bars: dict[str, float]) -> None:
    rows = [("event", "median ms", "p95", "floor median", "p95", "ratio", "bar")]
    for kind, beside in (("rank", "slider"), ("point", "tap"), ("threshold", "drag"), ("detector", "drag")):
        a, b = np.array(found[kind]), np.array(floor[beside])
        numbers = (np.median(a), np.percentile(a, 95), np.median(b), np.percentile(b, 95))
        rows.append((kind, *(f"{v:.0f}" for v in numbers), f"{np.median(a) / np.median(b):.2f}", str(bars[kind])))
    table(title, rows)


def test_latency_on_the_glass(browser: Any, tmp_path: Path) -> None:
    source = SHARED / "glass-a.hspy"
    if not source.exists():
        pytest.skip("the simulated glass is not here")
    floor = bare(browser, tmp_path)
    found = ours(browser, tmp_path, "stem4d_panel", "serve", "--no-browser", str(source))
    bars = {"rank": 2.0, "point": 1.5, "threshold": 1.5, "detector": 1.5}
    report(f"latency, {EVENTS} events each, glass-a", floor, found, bars)


def test_latency_on_a_large_scan_in_memory(browser: Any, tmp_path: Path) -> None:
    floor = bare(browser, tmp_path)
    arguments = ("serve", str(HERE / "large_app.py"), "--warm")
    found = ours(browser, tmp_path, "panel", *arguments, path="/large_app", ready=900)
    bars = dict.fromkeys(("rank", "point", "threshold", "detector"), 3.0)
    report(f"latency, {EVENTS} events each, 256 × 256 × 128 × 128", floor, found, bars)


def test_first_picture(browser: Any, tmp_path: Path) -> None:
    """A page of a warm server beside a bare page of two HoloViews images: its still pictures, then all its live figures."""
    rows = [("page", "seconds, five visits")]
    apps = {
        "two images": (
            [sys.executable, "-m", "panel", "serve", str(HERE / "two_images.py"), "--port"],
            "/two_images",
            2,
        ),
        "workbench": ([sys.executable, "-m", "stem4d_panel", "serve", "--no-browser", "--port"], "", 6),
    }
    for name, (command, path, figures) in apps.items():
        port = free_port()
        server = Server(
            [*command, str(port)],
            f"http://127.0.0.1:{port}{path}",
            tmp_path / "log.txt",
            env={**os.environ, "BOKEH_RESOURCES": "server"},
        )
        try:
            took: dict[str, list[float]] = {}
            for visit in range(6):
                page = browser.new_context(viewport={"width": 1400, "height": 1150}).new_page()
                page.set_default_timeout(120_000)
                start = time.perf_counter()
                page.goto(server.url, wait_until="commit")
                if name == "workbench" and visit > 0:
                    page.wait_for_function(STILLS)
                    took.setdefault("still pictures", []).append(time.perf_counter() - start)
                page.wait_for_function(
                    "n => !document.querySelector('#loader:not([style*=none]) #shell:not(.clear)') && window.Bokeh?.index"
                    " && [...Bokeh.index.query(v => v.model.type === 'Figure')]"
                    ".filter(v => isFinite(v.frame.x_scale.compute(0))).length >= n",
                    arg=figures,
                )
                took.setdefault("live figures", []).append(time.perf_counter() - start)
                if name == "workbench" and visit == 0:
                    Screen(page).wait_ready(120)
                    page.locator(".evidence").get_by_text("Evidence").wait_for()
                page.context.close()
            rows += [(f"{name}, {what}", ", ".join(f"{t:.2f}" for t in times)) for what, times in took.items()]
        finally:
            server.stop()
    table("first picture", rows)
