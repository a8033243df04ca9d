"""Before a page is there, and after its server has gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect
from ui_screen import Screen
from ui_server import Server, Watched

# the part of a picture's pixels that are no grey
COLOURED = """image => {
  const canvas = document.createElement('canvas')
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight
  const context = canvas.getContext('2d')
  context.drawImage(image, 0, 0)
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height)
  let found = 0
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = data.slice(i, i + 3)
    if (Math.max(r, g, b) - Math.min(r, g, b) > 60) found++ }
  return found / (canvas.width * canvas.height) }"""


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


def test_a_page_that_is_opened_again_shows_its_pictures_before_it_is_made(app: Server, watched: Watched) -> None:
    page = watched.page
    page.goto(app.url)
    screen = Screen(page)
    screen.wait_ready()
    page.goto("about:blank")
    page.goto(app.url, wait_until="commit")
    pictures = page.locator("#stills img")
    expect(pictures).to_have_count(2)
    assert page.evaluate("() => !window.Bokeh?.documents?.length")
    expect(pictures.first).to_be_visible()
    assert pictures.first.evaluate(COLOURED) > 0.02  # the classes are drawn over the map, not the map alone
    places = [pictures.nth(i).bounding_box() for i in range(2)]
    shell = page.locator("#shell")
    expect(shell).to_have_class("clear")  # the live figures are seen
    screen.wait_ready()
    expect(shell).to_be_hidden()
    for place, name in zip(places, ("maps", "patterns"), strict=True):  # where the live ones came
        left, _, _, top = screen.ranges(name)
        corner = screen.at(name, left, top)
        assert place is not None
        assert abs(place["x"] - corner[0]) < 3
        assert abs(place["y"] - corner[1]) < 60  # hints may be above them, or not
    watched.check()


def test_a_page_that_waits_for_the_app_shows_a_first_look(
    start_server: Callable[..., Server], watched: Watched, small_npy: Path
) -> None:
    page = watched.page
    page.add_init_script(
        "window.__waited = () => document.body?.dataset.waits && document.images.length === 2 && "
        "[...document.images].every(image => image.naturalWidth > 10)"
    )
    page.goto(start_server("stem4d_panel", "serve", str(small_npy), "--no-browser").url)
    page.wait_for_function("() => window.__waited()", polling=20)
    Screen(page).wait_ready()
    watched.check()
