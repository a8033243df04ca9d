"""Laying out a page in which nothing has changed touches nothing in it (see `app.unchanged`)."""

from __future__ import annotations

from ui_screen import Screen
from ui_server import Watched

# what is changed in the toolbars and the style sheets of all views while the page is laid out twice
TOUCHED = """async () => {
  const views = [...Bokeh.index.query(v => v.model.type === 'Figure')], seen = []
  const watch = new MutationObserver(all => all.forEach(m => seen.push(m.target.nodeName + ' ' + m.type)))
  const look = root => { watch.observe(root, {childList: true, subtree: true, characterData: true})
    for (const e of root.querySelectorAll('*')) if (e.shadowRoot) look(e.shadowRoot) }
  for (const view of views) look(view.el.shadowRoot)
  for (let i = 0; i < 2; i++) for (const view of views) view.compute_layout()
  await new Promise(done => setTimeout(done))
  return [views.length, seen] }"""


def test_a_layout_that_changes_nothing_touches_nothing(screen: Screen, watched: Watched) -> None:
    figures, touched = watched.page.evaluate(TOUCHED)
    assert figures > 10
    assert touched == []
    watched.check()


def test_a_toolbar_keeps_its_buttons_in_a_page_of_another_width(screen: Screen, watched: Watched) -> None:
    count = """() => [...Bokeh.index.query(v => v.model.type === 'Toolbar')].map(
      v => v._items.filter(e => e.getBoundingClientRect().width > 0).length)"""
    before = watched.page.evaluate(count)
    assert sum(before) > 20
    for width in (900, 1400):
        watched.page.set_viewport_size({"width": width, "height": 1150})
        screen.wait_ready()
    assert watched.page.evaluate(count) == before
    watched.check()
