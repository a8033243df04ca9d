"""The served app: what a first visitor sees and does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect
from ui_screen import STEPS, Screen
from ui_server import Server, Watched


def test_the_sample_is_analysed_without_a_click(screen: Screen, watched: Watched) -> None:
    for step in STEPS:
        screen.wait_step(step, "up to date")
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
    for step in STEPS:
        screen.wait_step(step, "up to date")
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
    rows, wanted, ranges = screen.rows(), 0.55, screen.ranges("dendrogram")
    screen.drag_threshold(wanted, off=6)  # a hand is not that exact
    for figure, data in before.items():
        screen.wait_changed(figure, data)
    dropped = screen.threshold()
    assert dropped == pytest.approx(wanted, abs=0.005)
    assert screen.ranges("dendrogram") == ranges
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


def test_dragging_on_the_map_gives_the_mean_of_a_region_its_model_and_what_is_left(
    screen: Screen, watched: Watched
) -> None:
    left, right, bottom, top = screen.ranges("maps")
    x, y = (right - left) / 64, (top - bottom) / 64
    before = screen.data("measured")
    screen.drag("maps", (left + 10.5 * x, top - 20.5 * y), (left + 14.5 * x, top - 26.5 * y))
    screen.page.get_by_text("mean of y 20–26, x 10–14 · ").first.wait_for()
    screen.wait_changed("measured", before)
    for mode, text in (("model", ", model"), ("residual", ", prepared less model")):
        before = screen.data("measured")
        screen.choose("Here", mode)
        screen.page.get_by_text(text).first.wait_for()
        screen.wait_changed("measured", before)
    watched.check()


def test_a_detector_drawn_on_the_pattern_shows_its_virtual_image_while_it_is_dragged(
    screen: Screen, watched: Watched
) -> None:
    _, right, _, top = screen.ranges("patterns")
    before = screen.data("maps")
    screen.page.mouse.move(*screen.at("patterns", 0.4 * right, 0.0))
    screen.page.mouse.down()
    for i in range(1, 6):
        screen.page.mouse.move(*screen.at("patterns", (0.4 + 0.02 * i) * right, 0.0))
    screen.page.get_by_text("virtual image of the disc at ").wait_for()  # before the hand lets go
    screen.wait_changed("maps", before)
    screen.page.mouse.up()
    before = screen.data("maps")
    screen.drag("patterns", (0.4 * right, 0.0), (0.0, 0.4 * top))  # begins inside the disc: moves it
    screen.page.get_by_text(re.compile(r"^virtual image of the disc at ky -\d+\.\d, kx -?[01]\.\d px")).wait_for()
    screen.wait_changed("maps", before)
    screen.choose("A drag draws", "ring detector")
    screen.drag("patterns", (0.3 * right, 0.0), (0.5 * right, 0.0))
    screen.page.get_by_text("virtual image of the ring at ky 0.0, kx 0.0 px").wait_for()
    screen.choose("A drag draws", "no detector")
    screen.page.get_by_text("crystalline classes over the virtual image").wait_for()
    watched.check()


def test_an_outline_is_drawn_and_its_image_lies_below_the_classes(screen: Screen, watched: Watched) -> None:
    _, right, _, _ = screen.ranges("patterns")
    before = screen.data("maps")
    screen.choose("A drag draws", "outlined detector")
    screen.draw(
        "patterns", [(0.3 * right, 0.0), (0.6 * right, 0.0), (0.6 * right, 0.3 * right), (0.3 * right, 0.3 * right)]
    )
    screen.page.get_by_text("virtual image of the outline around ky ").wait_for()
    screen.wait_changed("maps", before)
    before = screen.data("maps")
    screen.choose("Over", "detector")
    screen.choose("Maps", "classes")
    screen.page.get_by_text(re.compile("crystalline classes over the outline around ky ")).wait_for()
    screen.wait_changed("maps", before)
    watched.check()


def test_a_beam_stop_is_outlined_on_the_pattern(screen: Screen, watched: Watched) -> None:
    screen.choose("A drag draws", "beam stop")
    _, right, _, _ = screen.ranges("patterns")
    before = {figure: screen.data(figure) for figure in ("patterns", "gallery")}
    screen.draw(
        "patterns", [(0.5 * right, 0.0), (0.8 * right, 0.0), (0.8 * right, 0.3 * right), (0.5 * right, 0.3 * right)]
    )
    screen.wait_step("cluster", "stale", "running")
    for figure, data in before.items():
        screen.wait_changed(figure, data)
    screen.wait_ready()
    watched.check()


def test_the_mouse_reads_spacings_and_positions_and_rings_lie_at_round_ones(screen: Screen, watched: Watched) -> None:
    _, right, _, _ = screen.ranges("patterns")
    screen.page.mouse.move(*screen.at("patterns", 0.5 * right, 0.0))
    screen.wait_readout("patterns", f"d {1 / (0.5 * right):.2f}")
    screen.wait_readout("patterns", "1/nm · 0°")
    left, right, _, top = screen.ranges("maps")
    step = (right - left) / 64
    screen.page.mouse.move(*screen.at("maps", left + 10.5 * step, top - 20.5 * step))
    screen.wait_readout("maps", "y 20, x 10 · ")
    before = {figure: screen.data(figure) for figure in ("patterns", "measured")}
    screen.page.get_by_role("switch", name="Rings").click()
    for figure, data in before.items():
        screen.wait_changed(figure, data)
    watched.check()


def test_what_preparing_found_is_seen_before_and_after(screen: Screen, watched: Watched) -> None:
    for mode, text in (
        ("mean as read", "mean of all positions as read, 5 hot or dead pixels marked"),
        ("variance", "variance over the positions"),
        ("mean, prepared", "mean of all positions, aligned and masked, bin 2"),
    ):
        before = screen.data("patterns")
        screen.choose("Patterns", mode)
        screen.page.get_by_text(text).wait_for()
        screen.wait_changed("patterns", before)
    for mode, text in (
        ("beam movement", "movement of the beam, as fitted: up to "),
        ("beam residual", "px expected from noise"),
    ):
        before = screen.data("maps")
        screen.choose("Maps", mode)
        screen.page.get_by_text(text).wait_for()
        screen.wait_changed("maps", before)
    watched.check()


def test_a_mask_radius_is_dragged_on_the_pattern(screen: Screen, watched: Watched) -> None:
    screen.choose("A drag draws", "mask radii")
    _, right, _, _ = screen.ranges("patterns")
    before = screen.data("gallery")
    screen.drag("patterns", (0.96 * right, 0.0), (0.8 * right, 0.0))
    screen.wait_step("cluster", "stale", "running")
    screen.wait_changed("gallery", before)
    screen.wait_ready()
    watched.check()


def test_a_junction_under_the_mouse_shows_the_patterns_that_it_joins(screen: Screen, watched: Watched) -> None:
    before = screen.data("merge")
    left, right, _, top = screen.ranges("dendrogram")
    x, y = screen.junction("dendrogram")
    assert left < x < right
    assert 0 < y < top
    screen.page.mouse.move(*screen.at("dendrogram", x, y))
    screen.page.get_by_text(re.compile(r"^\d+.* ⟷ \d+.*correlate by \d\.\d\d")).wait_for()
    screen.wait_changed("merge", before)
    watched.check()


def test_a_branch_chooses_its_class_everywhere(screen: Screen, watched: Watched) -> None:
    before = {f: screen.data(f) for f in ("maps", "patterns", "gallery")}
    left, right, _, _ = screen.ranges("dendrogram")
    screen.tap("dendrogram", right - 0.7, screen.threshold() / 2)  # the last leaf
    screen.page.get_by_text("part of the fitted intensity that class ").wait_for()
    screen.page.get_by_text(re.compile(r"^class \d+: ")).wait_for()
    for figure, data in before.items():
        screen.wait_changed(figure, data)
    assert left < right
    watched.check()


def test_a_row_of_the_table_chooses_its_class_everywhere_and_lets_it_go(screen: Screen, watched: Watched) -> None:
    page = screen.page
    rows, wanted = page.locator(".class-table tbody tr"), page.locator(".class-table tbody tr").nth(2)
    button = wanted.get_by_role("button", name=re.compile(r"^class 2, crystalline, \d-fold$"))
    page.locator(".class-headline").get_by_text("class 0", exact=True).wait_for()
    before = {f: screen.data(f) for f in ("gallery", "patterns", "class-map", "class-pattern", "class-orientation")}
    wanted.locator("td").first.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.locator(".class-headline").get_by_text("class 2", exact=True).wait_for()
    page.get_by_text(re.compile(r"^class 2: rotation-corrected mean of ")).wait_for()
    for figure, data in before.items():
        screen.wait_changed(figure, data)
    expect(page.locator(".class-table tr.chosen")).to_have_count(1)
    page.get_by_text(re.compile(r"particles measured")).wait_for()  # the details have come
    sizes = screen.data("class-sizes")
    button.press("Shift+Tab")  # to the name of the row above
    page.keyboard.press("Shift+Tab")  # and to the row
    page.keyboard.press("Enter")
    page.locator(".class-headline").get_by_text("class 1", exact=True).wait_for()
    expect(rows.nth(1).get_by_role("button")).to_have_attribute("aria-pressed", "true")
    expect(rows.nth(1).get_by_role("button")).to_be_focused()
    screen.wait_changed("class-sizes", sizes)
    page.keyboard.press("Enter")  # let go: the strongest class again
    page.locator(".class-headline").get_by_text("class 0", exact=True).wait_for()
    expect(page.locator(".class-table tr.chosen")).to_have_count(0)
    screen.wait_data("gallery", before["gallery"])
    watched.check()


def test_a_class_is_named_and_a_component_is_moved_by_hand(screen: Screen, watched: Watched) -> None:
    page = screen.page
    field = page.get_by_label("name of class 2", exact=True)
    field.fill("B2 <u>x</u>")
    field.press("Enter")
    headline = page.locator(".class-headline")
    rows = page.locator(".class-table tbody tr")
    rows.nth(2).locator("td").first.click()
    headline.get_by_text("class 2 · B2 <u>x</u>", exact=True).wait_for()  # literally
    expect(page.locator("u")).to_have_count(0)
    field.fill("a, b = c")
    field.press("Enter")
    page.get_by_text(re.compile(r"^cluster\.names: ")).first.wait_for()
    expect(field).to_have_value("B2 <u>x</u>")
    count = rows.count()
    move = page.get_by_role("combobox", name="Move the chosen one to")
    for _ in range(2):  # two taps on one place are two taps
        screen.tap_component(-1)  # the last in the tree's order
        expect(move).to_contain_text("in class ")
        rows.nth(0).locator("td").first.click()
        expect(move).to_contain_text("no component is chosen")
        headline.get_by_text("class 0", exact=True).wait_for()
        rows.nth(1).locator("td").first.click()
        headline.get_by_text("class 1", exact=True).wait_for()
    screen.tap_component(-1)
    expect(move).to_contain_text("in class ")
    before = screen.data("gallery")
    screen.choose("Move the chosen one to", "a class of its own", stays=False)
    screen.wait_changed("gallery", before)
    expect(rows).to_have_count(count + 1)
    assert screen.gallery_labels()[-1].split(" ")[0].endswith("*")
    watched.check()


def test_ranks_are_tapped_and_played(screen: Screen, watched: Watched) -> None:
    screen.page.get_by_text(re.compile("^Evidence")).wait_for(timeout=90_000)  # every rank is there
    before = screen.data("gallery")
    screen.tap("ranks", 12, 0.5)
    screen.wait_ranges("dendrogram", 1, 11.7)  # twelve leaves
    screen.wait_changed("gallery", before)
    screen.page.get_by_role("button", name="Play").click()
    screen.wait_ranges("dendrogram", 1, 13.7)
    screen.page.get_by_role("button", name="Play").click()
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
    screen.wait_step("factorise", "stale")
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
    for step in STEPS:
        screen.wait_step(step, "up to date")
    watched.check()


def test_a_page_is_dark_where_the_system_is_until_somebody_chooses(app: Server, watched: Watched) -> None:
    page, shade = watched.page, "() => getComputedStyle(document.body).backgroundColor === '{}'"
    page.emulate_media(color_scheme="dark")
    page.goto(app.url)
    Screen(page).wait_ready()
    page.wait_for_function(shade.format("rgb(18, 18, 18)"))
    page.get_by_role("button", name="Toggle theme").click()
    page.wait_for_function(shade.format("rgb(255, 255, 255)"))
    watched.check()


def test_light_and_dark_are_both_drawn(screen: Screen, watched: Watched) -> None:
    screen.page.get_by_role("button", name="Toggle theme").click()
    screen.page.wait_for_function("() => getComputedStyle(document.body).backgroundColor === 'rgb(18, 18, 18)'")
    watched.check()
