"""What a page has drawn late does not undo what it was told since (see `app.echo`)."""

from __future__ import annotations

from playwright.sync_api import Page
from ui_screen import Screen
from ui_server import Watched

# labels of all Material widgets are changed twice, the second time from the next task of the browser, in which it has
# drawn some and not yet told their models so
FLICKER = """async () => {
  const next = () => new Promise(then => { const c = new MessageChannel(); c.port1.onmessage = then; c.port2.postMessage(0) })
  const models = [...Bokeh.documents.at(-1)._all_models.values()].filter(m => typeof m.data?.label === 'string')
  let undone = 0
  for (let i = 0; i < 20; i++) {
    for (const m of models) m.data.setv({label: m.data.label + '*'})
    await next()
    for (const m of models) m.data.setv({label: m.data.label.slice(0, -1)})
    await new Promise(then => setTimeout(then, 100))
    for (const m of models) if (m.data.label.endsWith('*')) { undone++; m.data.setv({label: m.data.label.slice(0, -1)}) }
  }
  return [models.length, undone]
}"""


def check_no_echo(page: Page) -> None:
    """No widget of a page is undone."""
    widgets, undone = page.evaluate(FLICKER)
    assert widgets > 20
    assert undone == 0


def test_widgets_keep_what_they_were_told_last(screen: Screen, watched: Watched) -> None:
    check_no_echo(watched.page)
    watched.check()
