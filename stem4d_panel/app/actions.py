"""What concerns the whole screen: undo and redo, the analysis copied as text, keys; the same in a page and in a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import param
from panel.custom import JSComponent

from stem4d_panel.app.keys import KEYS, LISTEN
from stem4d_panel.app.session import Session

_DRAW = (
    LISTEN
    + """
export function render({ model }) {
  const bar = document.createElement('div')
  bar.setAttribute('role', 'toolbar'); bar.setAttribute('aria-label', 'Actions')
  const act = what => what === 'help' ? help() : model.send_msg({ act: what })
  const button = (what, text, name) => {
    const made = document.createElement('button')
    made.type = 'button'; made.textContent = text; made.title = name; made.setAttribute('aria-label', name)
    made.addEventListener('click', () => act(what))
    bar.append(made)
    return made
  }
  const undo = button('undo', 'Undo', 'Undo the last change of a setting (Ctrl Z)')
  const redo = button('redo', 'Redo', 'Redo (Ctrl Shift Z)')
  const before = document.createElement('span'), copies = {}
  before.textContent = 'Copy as'; before.setAttribute('aria-hidden', 'true')
  bar.append(before)
  for (const what of ['Python', 'command', 'TOML']) copies[what] = button(what, what, `Copy as ${what}`)
  button('help', '?', 'Keys')

  const dialog = document.createElement('dialog'), title = document.createElement('h2'), body = document.createElement('div')
  const close = document.createElement('button')
  close.type = 'button'; close.textContent = 'Close'
  close.addEventListener('click', () => dialog.close())
  dialog.append(title, body, close); bar.append(dialog)
  const show = (text, ...parts) => {
    title.textContent = text; dialog.setAttribute('aria-label', text)
    body.replaceChildren(...parts)
    if (!dialog.open) dialog.showModal()
  }
  const help = () => {
    const list = document.createElement('dl')
    for (const [key, text] of model.keys) {
      const dt = document.createElement('dt'), dd = document.createElement('dd')
      dt.textContent = key; dd.textContent = text; list.append(dt, dd)
    }
    show('Keys', list)
  }
  const copied = what => {
    const made = copies[what]
    made.textContent = 'Copied'
    setTimeout(() => { made.textContent = what }, 1500)
  }
  // a page that is not allowed to copy shows the text, marked, so that a hand can
  const copy = async ({ what, text }) => {
    try { await navigator.clipboard.writeText(text); copied(what) } catch {
      const area = document.createElement('textarea')
      area.readOnly = true; area.value = text; area.rows = 14; area.setAttribute('aria-label', `Analysis as ${what}`)
      show(`Analysis as ${what}: copy this`, area)
      area.focus(); area.select()
    }
  }
  const mark = () => { undo.disabled = !model.can_undo; redo.disabled = !model.can_redo }
  model.on('can_undo', mark); model.on('can_redo', mark); model.on('msg:custom', copy)
  mark()
  // the address follows without a new page, and when nothing else is to be done
  model.on('query', () => requestIdleCallback(() => {
    history.replaceState(history.state, '', location.pathname + model.query + location.hash)
  }, { timeout: 1000 }))

  // a page is light or dark as the system is, until somebody chooses; a notebook is as the notebook is
  if (matchMedia('(prefers-color-scheme: dark)').matches) for (const page of window.Bokeh?.documents ?? [])
    for (const root of page.roots()) if (root.data?.dark_theme === false) root.data.dark_theme = true

  const top = () => {
    let node = bar
    for (let root = node.getRootNode(); root instanceof ShadowRoot; root = node.getRootNode()) node = root.host
    return node === bar ? null : node
  }
  model.on('remove', listen(model.everywhere, top, act))
  return bar
}
"""
)

_STYLE = """
div[role=toolbar] { display: flex; flex-wrap: nowrap; gap: 2px; align-items: center; font-size: 12px; white-space: nowrap; }
div[role=toolbar] > button {
  all: unset; cursor: pointer; padding: 4px 8px; border-radius: 4px; opacity: .92; line-height: 16px;
}
div[role=toolbar] > span { opacity: .75; padding: 4px 2px 4px 12px; line-height: 16px; }
@media (max-width: 900px) { div[role=toolbar] { max-width: calc(100vw - 400px); overflow-x: auto; } }
div[role=toolbar] > button:hover { background: color-mix(in srgb, currentColor 14%, transparent); }
button:focus-visible { outline: 2px solid currentColor; }
div[role=toolbar] > button:disabled { opacity: .45; cursor: default; background: none; }
dialog {
  background: #263238; color: #eceff1; border: 0; border-radius: 8px; padding: 16px 20px; max-width: min(90vw, 640px);
  white-space: normal; box-shadow: 0 8px 32px rgba(0, 0, 0, .4);
}
dialog::backdrop { background: rgba(0, 0, 0, .35); }
h2 { font-size: 15px; margin: 0 0 10px; font-weight: 500; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 16px; margin: 0 0 12px; }
dt { font-weight: 600; } dd { margin: 0; }
textarea {
  width: min(80vw, 600px); box-sizing: border-box; display: block; margin-bottom: 12px; font: 12px monospace;
  background: #102027; color: inherit; border: 1px solid #546e7a; border-radius: 4px;
}
dialog button { all: unset; cursor: pointer; padding: 5px 14px; border: 1px solid #90a4ae; border-radius: 4px; }
"""


class ActionBar(JSComponent):
    """Buttons and keys, drawn and heard by the browser; tells what is wanted by one word.

    Its class must be defined before a page is sent, since a page learns of such classes only at its beginning.
    """

    can_undo = param.Boolean(False, doc="Whether there is a step back.")
    can_redo = param.Boolean(False, doc="Whether there is a step forth.")
    everywhere = param.Boolean(True, doc="Whether keys act wherever the mouse is: where nothing else is on the page.")
    query = param.String("", doc="Of the page's address, which follows it.")
    keys = param.List([], doc="Keys and what they do.")

    _esm = _DRAW
    _stylesheets: ClassVar[list[str]] = [_STYLE]

    def __init__(self, act: Callable[[str], None], **params: Any) -> None:
        super().__init__(keys=[list(pair) for pair in KEYS], **params)
        self._act = act

    def copy(self, what: str, text: str) -> None:
        """Have the browser copy a text."""
        self._send_msg({"what": what, "text": text})

    def _handle_msg(self, data: Any) -> None:
        """Something is wanted; what the page sends may be anything."""
        if isinstance(data, dict) and isinstance(data.get("act"), str):
            self._act(data["act"])


class Actions:
    """What the buttons and keys do in a session.

    Parameters
    ----------
    session : Session
    play : callable
        Begins or ends playing through the ranks.
    everywhere : bool
        Whether keys act wherever the mouse is.
    """

    def __init__(self, session: Session, play: Callable[[], None], everywhere: bool) -> None:
        self.session = session
        self.bar = ActionBar(self.act, everywhere=everywhere, margin=(4, 8))
        self._acts: dict[str, Callable[[], Any]] = {
            "undo": session.undo,
            "redo": session.redo,
            "Python": lambda: self._copy("Python"),
            "command": lambda: self._copy("command"),
            "TOML": lambda: self._copy("TOML"),
            "previous": lambda: self._step(-1),
            "next": lambda: self._step(1),
            "more": lambda: self._rank(1),
            "fewer": lambda: self._rank(-1),
            "play": play,
            "clear": session.choose_nothing,
        }
        session.param.watch(lambda *_: self._show(), ["settings", "shown"])

    def act(self, what: str) -> None:
        """Do what a button or key stands for; anything else is ignored."""
        if what in self._acts:
            self._acts[what]()

    def text(self, what: str) -> str | None:
        """The present analysis as ``Python``, ``command`` or ``TOML``; None before there are data."""
        from stem4d_panel.results import recipe

        data = self.session.result if self.session.result is not None else self.session.shown.scan
        if data is None:
            return None
        makers = {"Python": recipe.as_python, "command": recipe.as_command, "TOML": recipe.as_toml}
        return makers[what](recipe.Origin.of(data), self.session.settings)

    def _copy(self, what: str) -> None:
        text = self.text(what)
        if text is None:
            self.session.say("info", "there is nothing to copy before the data are open")
        else:
            self.bar.copy(what, text)

    def _step(self, by: int) -> None:
        """The component before or behind the chosen one, in the order of the gallery; at the ends it goes round."""
        tree, chosen = self.session.shown.tree, self.session.component
        if tree is None:
            return
        order = list(tree.order)
        place = order.index(chosen) + by if chosen in order else min(by, 0)
        self.session.choose_component(order[place % len(order)])

    def _rank(self, by: int) -> None:
        settings, factors = self.session.settings, self.session.shown.factors
        if factors is None:
            return
        stated = "factorize.rank" in settings.explicit  # else it may have been lowered
        rank = (settings.factorize.rank if stated else factors.rank) + by
        if 1 <= rank <= settings.factorize.rank_max:
            self.session.change({"factorize.rank": rank})

    def _show(self) -> None:
        history = self.session.history
        self.bar.param.update(can_undo=history.can_undo, can_redo=history.can_redo)
