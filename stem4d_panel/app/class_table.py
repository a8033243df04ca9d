"""A table whose rows choose: drawn by the browser from plain text, so that nothing in a name can act as HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

_DRAW = """
export function render({ model }) {
  const table = document.createElement('table')
  const head = table.createTHead().insertRow()
  for (const [text, tip] of model.heads) {
    const th = document.createElement('th')
    th.scope = 'col'; th.textContent = text; th.title = tip
    head.append(th)
  }
  const body = table.createTBody()
  const add = () => {
    const tr = body.insertRow()
    const th = document.createElement('th'), button = document.createElement('button')
    const swatch = document.createElement('span'), name = document.createElement('span')
    th.scope = 'row'; button.type = 'button'; swatch.className = 'swatch'
    button.append(swatch, name); th.append(button); tr.append(th)
    for (let i = 1; i < model.heads.length; i++) tr.insertCell()
    tr.addEventListener('click', () => model.send_msg({ label: Number(tr.dataset.label) }))
    return tr
  }
  const mark = () => {
    for (const tr of body.rows) {
      const chosen = Number(tr.dataset.label) === model.chosen
      tr.classList.toggle('chosen', chosen)
      tr.querySelector('button').setAttribute('aria-pressed', String(chosen))
    }
  }
  // rows stay the same elements, so that the one with the focus keeps it
  const draw = () => {
    while (body.rows.length > model.rows.length) body.deleteRow(-1)
    model.rows.forEach(({ label, colour, name, cells }, i) => {
      const tr = body.rows[i] ?? add()
      tr.dataset.label = label
      tr.style.setProperty('--class-colour', colour)
      const button = tr.querySelector('button')
      button.setAttribute('aria-label', name)
      button.lastChild.textContent = cells[0]
      for (let j = 1; j < cells.length; j++) tr.cells[j].textContent = cells[j]
    })
    mark()
  }
  model.on('rows', draw)
  model.on('chosen', mark)
  draw()
  return table
}
"""

_STYLE = """
:host { max-width: calc(100% - 16px); overflow-x: auto; }
table { font-size: 11px; border-collapse: collapse; }
th, td { padding: 2px 3px; text-align: right; white-space: nowrap; font-weight: 400; }
thead th { font-weight: 500; opacity: .7; }
tbody tr { cursor: pointer; }
tbody tr:hover { background: color-mix(in srgb, currentColor 8%, transparent); }
tbody tr.chosen { background: color-mix(in srgb, var(--class-colour) 28%, transparent); }
tbody tr.chosen th { box-shadow: inset 3px 0 0 var(--class-colour); font-weight: 700; }
button { all: unset; cursor: pointer; padding: 1px 3px; border-radius: 3px; font-weight: inherit; }
button:focus-visible { outline: 2px solid currentColor; }
.swatch {
  display: inline-block; width: 11px; height: 11px; margin-right: 4px; border-radius: 3px; vertical-align: -1px;
  background: var(--class-colour);
}
"""


class ClassTable(JSComponent):
    """Rows of text with a swatch each; a click, or Enter on the row's button, tells which one.

    Its class must be defined before a page is sent, since a page learns of such classes only at its beginning.
    """

    heads = param.List([], doc="Name and explanation of each column.")
    rows = param.List([], doc="For each row its label, colour, name (for screen readers) and cells.")
    chosen = param.Integer(-1, doc="Label of the marked row; -1 for none.")

    _esm = _DRAW
    _stylesheets: ClassVar[list[str]] = [_STYLE]

    def __init__(self, clicked: Callable[[int], None], **params: Any) -> None:
        super().__init__(**params)
        self._clicked = clicked

    def _handle_msg(self, data: Any) -> None:
        """A row was clicked; what the page sends may be anything."""
        label = data.get("label") if isinstance(data, dict) else None
        if type(label) is int:
            self._clicked(label)
