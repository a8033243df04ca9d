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
  // Enter or leaving the field names the class, Escape does not
  const naming = tr => {
    const field = document.createElement('input')
    field.type = 'text'; field.maxLength = model.longest; field.placeholder = 'name'; field.spellcheck = false
    field.addEventListener('click', event => event.stopPropagation())
    field.addEventListener('keydown', event => {
      event.stopPropagation()
      if (event.key === 'Escape') field.value = tr.dataset.name
      if (event.key === 'Enter' || event.key === 'Escape') field.blur()
    })
    field.addEventListener('blur', () => {
      if (field.value.trim() !== tr.dataset.name) model.send_msg({ label: Number(tr.dataset.label), name: field.value.trim() })
    })
    return field
  }
  const add = () => {
    const tr = body.insertRow()
    const th = document.createElement('th'), button = document.createElement('button')
    const swatch = document.createElement('span'), number = document.createElement('span')
    th.scope = 'row'; button.type = 'button'; swatch.className = 'swatch'
    button.append(swatch, number); th.append(button, naming(tr)); tr.append(th)
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
    model.rows.forEach(({ label, colour, name, says, cells }, i) => {
      const tr = body.rows[i] ?? add()
      tr.dataset.label = label
      tr.style.setProperty('--class-colour', colour)
      const button = tr.querySelector('button')
      button.setAttribute('aria-label', says)
      button.lastChild.textContent = cells[0]
      const field = tr.querySelector('input')
      field.setAttribute('aria-label', `name of class ${label}`)
      tr.dataset.name = name
      if (field.getRootNode().activeElement !== field) field.value = name
      for (let j = 1; j < cells.length; j++) tr.cells[j].textContent = cells[j]
    })
    mark()
  }
  model.on('rows', draw)
  model.on('chosen', mark)
  model.on('msg:custom', () => draw())  // a refused name
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
input { all: unset; width: 9ch; padding: 1px 4px; border-radius: 3px; font: inherit; text-align: left; }
input::placeholder { color: currentColor; opacity: .45; }
input:hover { background: color-mix(in srgb, currentColor 10%, transparent); }
input:focus { outline: 1px solid currentColor; width: 18ch; }
.swatch {
  display: inline-block; width: 11px; height: 11px; margin-right: 4px; border-radius: 3px; vertical-align: -1px;
  background: var(--class-colour);
}
"""


class ClassTable(JSComponent):
    """Rows of text with a swatch each; a click, or Enter on the row's button, tells which one, a field its new name.

    Its class must be defined before a page is sent, since a page learns of such classes only at its beginning.
    """

    heads = param.List([], doc="Name and explanation of each column.")
    rows = param.List([], doc="For each row its label, colour, name, what screen readers say, and cells.")
    longest = param.Integer(60, doc="Characters of a name.")
    chosen = param.Integer(-1, doc="Label of the marked row; -1 for none.")

    _esm = _DRAW
    _stylesheets: ClassVar[list[str]] = [_STYLE]

    def __init__(self, clicked: Callable[[int], None], named: Callable[[int, str], None], **params: Any) -> None:
        super().__init__(**params)
        self._clicked, self._named = clicked, named

    def draw_again(self) -> None:
        """Show the rows once more, in place of what was typed and is refused."""
        self._send_msg({})

    def _handle_msg(self, data: Any) -> None:
        """A row was clicked or named; what the page sends may be anything."""
        label, name = (data.get(key) for key in ("label", "name")) if isinstance(data, dict) else (None, None)
        if type(label) is int and type(name) is str:
            self._named(label, name)
        elif type(label) is int:
            self._clicked(label)
