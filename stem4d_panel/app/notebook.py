"""Showing the workbench in a notebook cell without a network.

Panel sends its scripts once per kernel, and from a content network unless told otherwise; a page that was reloaded, or
has no network, then stays blank. Here every display brings all scripts along, guarded so that a page runs them once,
and takes them out of the saved notebook as soon as the page has connected.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import threading
from collections.abc import Callable
from typing import Any

import panel as pn
from panel.io.state import state

from stem4d_panel.app.mends import MENDS

_KEY = "stem4d_material"
# Once the view is there, and once per display. Panel's script drops every message that arrives before that, so the page
# tells with a tag that it is ready. And it sends every change that came from Python back to Python, where a late echo
# undoes what was set since; Bokeh marks those changes as not to be sent (sync), as its own server connection heeds.
_SHOWN = """(function (id) {
  let left = 2400
  const timer = setInterval(function () {
    const view = window.Bokeh?.index?.[id]
    if (view || --left < 0) clearInterval(timer)
    if (!view) return
    for (const root of view.model.document.roots()) if (root._document_changed) {
      const send = root._document_changed
      root._document_changed = function (event) { if (event.sync !== false) send.call(root, event) }
    }
    view.model.tags = [...view.model.tags, 'shown']
  }, 50)
})(%s)"""
_EMBED = "await Bokeh.embed.embed_items_notebook("  # what Panel's script does once Bokeh and Panel have loaded
_STUB = f"const mod = await importShim(window.{_KEY}); export default mod.default"


def in_kernel() -> bool:
    """Whether this runs in a Jupyter kernel."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def main_loop() -> asyncio.AbstractEventLoop | None:
    """The kernel's event loop, in whose thread alone the screen may be changed; None outside a kernel."""
    if not in_kernel():
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@functools.cache
def _boot_script() -> str:
    """Bokeh, Panel, the comm manager and the Material components as one guarded script."""
    import bokeh
    from IPython.utils.capture import capture_output
    from panel.io.notebook import load_notebook
    from panel_material_ui.base import BUNDLE_PATH

    with capture_output() as got:  # sent by us, once
        load_notebook(inline=True)
    scripts = [o.data["application/javascript"] for o in got.outputs if "application/javascript" in o.data]
    html = "".join(o.data.get("text/html", "") for o in got.outputs)
    joined = ";\n".join(scripts)
    return f"""(function () {{
  if (!document.getElementById('stem4d-boot')) {{
    const el = document.createElement('div'); el.id = 'stem4d-boot'; el.hidden = true
    el.innerHTML = {json.dumps(html)}; document.head.appendChild(el)
  }}
  if (!window.{_KEY}) window.{_KEY} = URL.createObjectURL(
    new Blob([{json.dumps(BUNDLE_PATH.read_text("utf-8"))}], {{type: 'text/javascript'}}))
  const have = window.Bokeh && window.Bokeh.version === '{bokeh.__version__}' && window.Bokeh.Panel &&
    window.importShim && window.PyViz?.comm_manager
  if (!window.stem4d_booted && !have) {{
    window.stem4d_booted = true;
    {joined}
  }}
}})();"""


def _localise(view: Any, root: Any, *_: Any) -> None:
    """Before models are sent: no style sheet from elsewhere, no copy of the Material bundle in every component."""
    from bokeh.models import UIElement
    from panel.io.notebook import patch_inline_stylesheets
    from panel.models.esm import ReactiveESM

    for model in root.select({"type": UIElement}):
        patch_inline_stylesheets(model)
    for model in root.select({"type": ReactiveESM}):
        if model.bundle not in (None, "url", _KEY) and len(model.esm) > 100_000:
            model.update(bundle=_KEY, esm=_STUB)


def bundle(view: Any, connected: Callable[[], None]) -> Any:
    """What a notebook shows for a Panel object; sends the scripts first, and calls `connected` when it is shown."""
    from IPython.display import display
    from IPython.utils.capture import capture_output

    if not (pn.extension._loaded and pn.config.inline):
        with capture_output():
            pn.extension(inline=True)
    if _localise not in view._hooks:
        view._hooks.append(_localise)
    boot = display({"application/javascript": _boot_script()}, raw=True, display_id=True)
    before = set(view._comms)
    data, metadata = view._repr_mimebundle_()
    # the scripts run late: only here are they sure to be there, and nothing is drawn yet
    data["text/html"] = data["text/html"].replace(_EMBED, f";{MENDS};\n    {_EMBED}", 1)
    for ref in set(view._comms) - before:
        _in_main_thread(view._comms[ref][1], main_loop())
        _when_shown(state._views[ref][1], boot, connected)
        data["text/html"] += f"<script>{_SHOWN % json.dumps(ref)}</script>"
    return data, metadata


def _in_main_thread(comm: Any, loop: asyncio.AbstractEventLoop | None) -> None:
    """Take in the page's messages where the screen is changed.

    JupyterLab sends them through a subshell, a thread of its own: while Panel takes one in, it holds back and then
    forgets what the main thread changes.
    """
    take, home = comm._handle_msg, threading.get_ident()
    if loop is None:
        return

    def handle(message: Any) -> None:
        if threading.get_ident() == home:
            take(message)
        else:
            loop.call_soon_threadsafe(take, message, context=contextvars.copy_context())

    comm._handle_msg = handle


def _when_shown(root: Any, boot: Any, connected: Callable[[], None]) -> None:
    todo = [boot]

    def shown(attr: str, old: Any, new: Any) -> None:
        while todo:  # the page has run the scripts: they may leave the notebook
            todo.pop().update({"text/plain": ""}, raw=True)
            connected()

    root.on_change("tags", shown)
