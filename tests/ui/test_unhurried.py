"""A hand that rests, or that is quick, is heard all the same (see `app.unhurried`)."""

from __future__ import annotations

import re

import pytest
from ui_screen import Screen
from ui_server import Watched

# longer than the time after which Bokeh makes a press of a button that is held
REST = "() => new Promise(done => setTimeout(done, 100 + Bokeh.require('core/ui_gestures').UIGestures.press_threshold))"
# whether a button that is held on an element of someone else is still told to be pressed
PRESSED = """() => new Promise(done => {
  const {UIGestures} = Bokeh.require('core/ui_gestures'), el = document.body.appendChild(document.createElement('div'))
  const hand = new UIGestures(el, {on_press: () => done(true)})
  hand.phase = 'started'
  hand.pointers.set(1, {init: new PointerEvent('pointerdown')})
  hand._start_timeout() })"""


def test_a_tap_that_is_held_long_is_a_tap(screen: Screen, watched: Watched) -> None:
    left, right, _, top = screen.ranges("maps")
    step = (right - left) / 64
    watched.page.mouse.move(*screen.at("maps", left + 10.5 * step, top - 20.5 * step))
    watched.page.mouse.down()
    watched.page.evaluate(REST)
    watched.page.mouse.up()
    watched.page.get_by_text(re.compile(r"^y 20, x 10 · ")).wait_for()
    watched.check()


def test_two_quick_taps_are_two(screen: Screen, watched: Watched) -> None:
    left, right, _, top = screen.ranges("maps")
    step = (right - left) / 64
    for x in (10, 30):
        screen.tap("maps", left + (x + 0.5) * step, top - 20.5 * step)
    watched.page.get_by_text(re.compile(r"^y 20, x 30 · ")).wait_for()
    watched.check()


def test_a_drag_that_begins_with_a_rest_draws_a_detector(screen: Screen, watched: Watched) -> None:
    _, right, _, _ = screen.ranges("patterns")
    watched.page.mouse.move(*screen.at("patterns", 0.4 * right, 0.0))
    watched.page.mouse.down()
    watched.page.evaluate(REST)
    watched.page.mouse.move(*screen.at("patterns", 0.5 * right, 0.0), steps=4)
    watched.page.mouse.up()
    watched.page.get_by_text("virtual image of the disc at ").wait_for()
    watched.check()


def test_a_threshold_that_is_held_before_it_is_dragged_moves(screen: Screen, watched: Watched) -> None:
    left, right, _, _ = screen.ranges("dendrogram")
    wanted, drawn = 0.55, screen.data("maps")
    watched.page.mouse.move(*screen.at("dendrogram", (left + right) / 2, screen.threshold()))
    watched.page.mouse.down()
    watched.page.evaluate(REST)
    watched.page.mouse.move(*screen.at("dendrogram", (left + right) / 2, wanted), steps=4)
    watched.page.mouse.up()
    screen.wait_changed("maps", drawn)
    assert screen.threshold() == pytest.approx(wanted, abs=0.01)
    watched.check()


def test_the_figures_of_others_still_hear_of_a_press(screen: Screen, watched: Watched) -> None:
    assert watched.page.evaluate(PRESSED)
    watched.check()
