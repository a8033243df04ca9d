"""Keys, undo, copied texts, the address and first steps, as a person uses them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from ui_screen import Screen
from ui_server import Server, Watched

from stem4d_panel.analysis import Analysis
from stem4d_panel.scan.scan import Scan

SMALL_RANK = 6
# controls of the page, in all its shadow roots, that have no name for those who do not see them
NAMELESS = """() => {
  const found = [], walk = root => { for (const e of root.querySelectorAll('*')) {
    if (e.shadowRoot) walk(e.shadowRoot)
    if (!e.matches('button, input, textarea, select, a[href], [role=button], [role=slider], [role=combobox], [role=switch]')) continue
    if (e.closest('[aria-hidden=true]') || !e.checkVisibility()) continue
    const deep = n => [...n.childNodes].map(c => c.nodeType === 3 ? c.textContent : c.tagName === 'STYLE' ? ''
      : deep(c) + (c.shadowRoot ? deep(c.shadowRoot) : '')).join('')
    const by = (e.getAttribute('aria-labelledby') ?? '').split(' ').map(id => e.getRootNode().getElementById(id)?.textContent ?? '')
    const labels = [...(e.labels ?? [])].map(deep)
    if (![e.getAttribute('aria-label'), e.title, e.value && e.type === 'button', ...by, ...labels, deep(e)].some(t => t && String(t).trim()))
      found.push(e.outerHTML.slice(0, 200)) } }
  walk(document); return found }"""


@pytest.fixture(scope="module")
def folder(small: Scan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("actions")
    np.save(made / "scan.npy", np.asarray(small.data))
    Analysis(made / "scan.npy", rank=SMALL_RANK, threshold=0.4).save(made / "saved.hspy")
    return made


@pytest.fixture(scope="module")
def app(start_lasting_server: Callable[..., Server], folder: Path) -> Server:
    return start_lasting_server("stem4d_panel", "serve", str(folder / "scan.npy"), "--no-browser")


@pytest.fixture
def screen(app: Server, watched: Watched) -> Screen:
    watched.page.goto(f"{app.url}/?rank={SMALL_RANK}")
    screen = Screen(watched.page)
    screen.wait_ready()
    return screen


def rank(screen: Screen) -> str:
    return str(screen.page.locator(".rank input[type=range]").first.input_value())


def test_keys_step_through_components_ranks_and_back(screen: Screen, watched: Watched) -> None:
    page = watched.page
    undo, redo = (page.get_by_role("button", name=name) for name in ("Undo", "Redo"))
    expect(undo).to_be_disabled()
    labels = [text.partition(" ")[0] for text in screen.gallery_labels()]
    for key, place in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", -1)):
        page.keyboard.press(key)
        page.get_by_text(f"map of component {labels[place]},").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text(re.compile("the virtual image$")).first.wait_for()
    page.keyboard.press("-")
    page.wait_for_function("() => location.search === '?rank=5'")
    assert rank(screen) == "5"
    page.keyboard.press("ControlOrMeta+z")
    page.wait_for_function("() => location.search === '?rank=6'")
    expect(undo).to_be_disabled()
    page.keyboard.press("ControlOrMeta+Shift+z")
    page.wait_for_function("() => location.search === '?rank=5'")
    screen.wait_ready()
    start = screen.threshold()
    screen.drag_threshold(0.6)  # ten movements of the mouse are one step
    page.wait_for_function("() => location.search.includes('threshold=')")
    undo.click()
    expect(redo).to_be_enabled()
    page.wait_for_function("() => location.search === '?rank=5'")
    assert screen.threshold() == start
    # who types, or moves a slider by its keys, means that
    field = page.get_by_role("textbox", name=re.compile("^Threshold"))
    field.focus()
    for key in ("ArrowRight", "-", "+", "?", " "):
        field.press(key)
    field.fill("")
    expect(page.get_by_role("dialog")).to_have_count(0)
    screen.set_slider(".rank", "ArrowRight", 1)
    page.wait_for_function("() => location.search === '?rank=6'")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("play through the ranks")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    watched.check()


def test_texts_are_copied_and_every_control_has_a_name(screen: Screen, watched: Watched, folder: Path) -> None:
    page = watched.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for what, says in (("Python", "s4d.open_scan("), ("command", "stem4d run "), ("TOML", "rank = 6")):
        button = page.get_by_role("button", name=f"Copy as {what}")
        button.click()
        expect(button).to_have_text("Copied")
        assert says in page.evaluate("navigator.clipboard.readText()")
    assert str(folder / "scan.npy") not in page.url
    # a page that may not copy shows the text to be copied by hand
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy as command").click()
    area = page.get_by_role("textbox", name="Analysis as command")
    expect(area).to_be_focused()
    assert re.search(r"run \S+scan.npy -o scan.stem4d.hspy --rank 6\n", area.input_value())
    assert area.evaluate("e => e.selectionEnd - e.selectionStart === e.value.length")
    page.get_by_role("button", name="Close", exact=True).click()
    for fold in page.get_by_role("button", name=re.compile("^(More|Calibration|What the file does not say)$")).all():
        fold.click()
    page.get_by_role("textbox", name=re.compile("^Max iter")).wait_for()
    assert page.evaluate(NAMELESS) == []
    watched.check()


def test_an_address_opens_where_it_was_left_and_a_result_goes_on_from_its_scan(app: Server, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{app.url}/?file=saved.hspy&threshold=0.5&nonsense=1&file2=../x")
    screen = Screen(page)
    screen.wait_ready()
    page.locator(".message").get_by_text("nonsense: no such parameter").wait_for()
    assert screen.threshold() == pytest.approx(0.5)
    steps = page.get_by_role("note", name="First steps")
    expect(steps).to_contain_text("Drag the red line")
    page.get_by_role("button", name="Put the first steps away").click()
    expect(steps).to_have_count(0)
    page.get_by_role("button", name="Continue from the scan").click()
    page.get_by_text("14 × 18 positions").wait_for()
    page.wait_for_function("() => location.search === '?rank=6&threshold=0.5'")
    screen.wait_ready()
    page.reload()
    screen.wait_ready()
    assert (rank(screen), screen.threshold()) == ("6", pytest.approx(0.5))
    expect(page.locator(".rank")).to_be_visible()
    expect(steps).to_have_count(0)  # the browser remembers
    watched.check()
