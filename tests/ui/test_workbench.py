"""The served app: what a first visitor sees and does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect
from ui_screen import STEPS, Screen
from ui_server import Server, Watched


@pytest.fixture(scope="module")
def app(start_server: Callable[..., Server]) -> Server:
    return start_server("stem4d_panel", "serve", "--no-browser")


@pytest.fixture
def screen(app: Server, watched: Watched) -> Screen:
    watched.page.goto(app.url)
    screen = Screen(watched.page)
    screen.wait_ready()
    return screen


def test_the_sample_is_analysed_without_a_click(screen: Screen, watched: Watched) -> None:
    for step in STEPS:
        assert "up to date" in screen.step(step)
    for figure in ("maps", "patterns", "measured", "dendrogram", "gallery"):
        assert screen.data(figure) != 0
    assert screen.scale_bars("maps") == ["nm"]
    assert screen.scale_bars("patterns") == ["1/nm"]
    assert re.search(r"10 of 10 crystals found", screen.text(".recovery"))
    watched.check()


def test_a_mask_radius_makes_later_steps_stale_and_runs_them_again(screen: Screen, watched: Watched) -> None:
    before = {f: screen.data(f) for f in ("patterns", "gallery")}
    screen.set_slider(".mask-radii", "ArrowRight", 4)
    screen.wait_step("cluster", "stale", "running")
    for figure, data in before.items():
        screen.wait_changed(figure, data)
    screen.wait_ready()
    assert all("up to date" in screen.step(s) for s in STEPS)
    watched.check()


def test_the_rank_slider_changes_gallery_and_maps(screen: Screen, watched: Watched) -> None:
    gallery, tree = screen.data("gallery"), screen.data("dendrogram")
    screen.tap("gallery", 50, -60)  # a component's map is on the screen
    screen.page.get_by_text(re.compile(r"^map of component \d+")).wait_for()
    maps = screen.data("maps")
    screen.set_slider(".rank", "ArrowLeft", 5)
    screen.wait_changed("gallery", gallery)
    screen.wait_changed("dendrogram", tree)
    screen.wait_changed("maps", maps)
    screen.wait_ranges("dendrogram", 1, 14.7)  # fifteen leaves
    screen.wait_ready()
    watched.check()


def test_dragging_the_threshold_changes_the_classes_everywhere(screen: Screen, watched: Watched) -> None:
    before = {f: screen.data(f) for f in ("maps", "gallery", "dendrogram")}
    rows, wanted = screen.rows(), 0.55
    screen.drag_threshold(wanted)
    for figure, data in before.items():
        screen.wait_changed(figure, data)
    dropped = screen.threshold()
    assert dropped == pytest.approx(wanted, abs=0.02)
    expect(screen.page.locator(".threshold input")).to_have_value(f"{dropped:.4f}".rstrip("0"))
    assert screen.threshold() == dropped
    assert screen.rows() < rows
    watched.check()


def test_tapping_the_map_shows_the_pattern_measured_there(screen: Screen, watched: Watched) -> None:
    before = screen.data("measured")
    left, right, bottom, top = screen.ranges("maps")
    step = (right - left) / 64
    screen.tap("maps", left + 10.5 * step, top - 20.5 * step)
    screen.page.get_by_text(re.compile(r"^y 20, x 10 · ")).wait_for()
    screen.wait_changed("measured", before)
    assert bottom < top
    watched.check()


def test_cancel_stops_a_long_fit_and_keeps_the_last_result(screen: Screen, watched: Watched) -> None:
    before = screen.data("gallery")
    screen.page.get_by_role("button", name="More").nth(1).click()
    iterations = screen.page.get_by_label(re.compile("^Max iter"))
    screen.page.get_by_label(re.compile("^Tol")).fill("0")
    screen.page.get_by_label(re.compile("^Tol")).press("Enter")
    iterations.fill("100000")
    iterations.press("Enter")
    screen.wait_status("iteration")
    screen.page.get_by_role("button", name="Cancel").click()
    screen.wait_status("not up to date")
    assert screen.data("gallery") == before
    assert "stale" in screen.step("factorise")
    watched.check()


FORGE = """([type, label, value]) => {
  for (const m of Bokeh.documents.at(-1)._all_models.values())
    if (m.data?.label === label) { m.data.value = value; m.data.value_throttled = value; return true }
  return false }"""


@pytest.mark.parametrize(
    ("label", "value", "answer"),
    [
        ("Rank", 10**9, "factorize.rank: 1000000000 is not allowed"),
        ("Bin (px)", "500", "prepare.bin: 500 is not allowed"),
    ],
)
def test_a_forged_value_is_refused_and_changes_nothing(
    screen: Screen, watched: Watched, label: str, value: Any, answer: str
) -> None:
    before = screen.data("gallery")
    assert screen.page.evaluate(FORGE, ["", label, value])
    screen.page.get_by_text(answer).first.wait_for()
    assert screen.data("gallery") == before
    assert all("up to date" in screen.step(s) for s in STEPS)
    watched.check()


def test_light_and_dark_are_both_drawn(screen: Screen, watched: Watched) -> None:
    screen.page.get_by_role("button", name="Toggle theme").click()
    screen.page.wait_for_function("() => getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'")
    watched.check()
