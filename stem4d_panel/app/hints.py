"""What a first visitor can do, in one line, until it is put away; the browser remembers that."""

from __future__ import annotations

from typing import Any, ClassVar

import param
from panel.custom import JSComponent

HINTS = (
    "Set the rank: how many components.",
    "Drag the red line: how alike a class is.",
    "Tap a branch, a spot or a position to look at it; write names into the table, then save, or export a report.",
)

_DRAW = """
const KEY = 'stem4d hints'
const put = value => { try { localStorage.setItem(KEY, value) } catch { } }
const away = () => { try { return localStorage.getItem(KEY) === 'away' } catch { return false } }
export function render({ model }) {
  const line = document.createElement('div'), list = document.createElement('ol'), close = document.createElement('button')
  line.className = 'steps'; line.setAttribute('role', 'note'); line.setAttribute('aria-label', 'First steps')
  for (const text of model.hints) {
    const item = document.createElement('li')
    item.textContent = text; list.append(item)
  }
  close.type = 'button'; close.textContent = 'Got it'; close.setAttribute('aria-label', 'Put the first steps away')
  close.addEventListener('click', () => { put('away'); line.hidden = true })
  line.append(list, close)
  line.hidden = away()
  return line
}
"""

_STYLE = """
.steps { display: flex; align-items: baseline; gap: 12px; font-size: 12px; line-height: 1.5; padding: 5px 12px; border-radius: 6px;
      background: color-mix(in srgb, #31688e 14%, transparent); }
.steps[hidden] { display: none; }
ol { display: flex; flex-wrap: wrap; gap: 0 18px; margin: 0; padding: 0; list-style: none; counter-reset: step; flex: 1; }
li { counter-increment: step; }
li::before { content: counter(step) ' '; font-weight: 700; color: #31688e; color: color-mix(in srgb, #31688e 60%, currentColor); }
button { all: unset; cursor: pointer; padding: 1px 8px; border-radius: 4px; font-weight: 500; white-space: nowrap; }
button:hover { background: color-mix(in srgb, currentColor 12%, transparent); }
button:focus-visible { outline: 2px solid currentColor; }
"""


class Hints(JSComponent):
    """The line of first steps.

    Its class must be defined before a page is sent, since a page learns of such classes only at its beginning.
    """

    hints = param.List([], doc="What to do first, a sentence each.")

    _esm = _DRAW
    _stylesheets: ClassVar[list[str]] = [_STYLE]

    def __init__(self, **params: Any) -> None:
        super().__init__(hints=list(HINTS), **params)
