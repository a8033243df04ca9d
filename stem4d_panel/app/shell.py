"""What a page shows before its scripts have run: the frame of the screen with the names of its steps."""

from __future__ import annotations

import secrets
from functools import cache, partial
from typing import Any

from stem4d_panel.app.mends import MENDS

STEPS = ("Data", "Prepare", "Factorise", "Cluster")

CSS = """
#shell { position: fixed; inset: 0; z-index: 9999; display: grid; grid-template: 52px 1fr / 330px 1fr; background: #fff;
         color: #222; font: 13px Roboto, system-ui, sans-serif }
#shell header { grid-column: 1 / 3; background: #31688e; color: #fff; padding: 12px 52px; font-size: 20px; font-weight: 600 }
#shell nav { border-right: 1px solid #ddd }
#shell nav div { padding: 11px 14px; border-bottom: 1px solid #e5e5e5; font-weight: 500 }
#shell main { padding: 24px; overflow: hidden }
#shell-text { opacity: .7 }
#shell.clear { opacity: 0; cursor: progress }
#stills { display: flex; flex-wrap: wrap; gap: 38px; padding: 112px 0 0 }
#stills img { margin-left: -5px; margin-right: 5px; image-rendering: pixelated }
#shell main i { display: block; height: 3px; margin: 14px 0; width: 40%; background: linear-gradient(90deg, #31688e 40%, #31688e33 0);
                background-size: 250% 100%; animation: shell 1.6s linear infinite }
@keyframes shell { from { background-position: 100% 0 } to { background-position: -150% 0 } }
#lost { position: fixed; z-index: 9998; left: 50%; bottom: 24px; transform: translateX(-50%); display: flex; gap: 16px; align-items: center;
        padding: 10px 12px 10px 18px; border-radius: 6px; background: #8a4b00; color: #fff; box-shadow: 0 3px 12px #0008;
        font: 14px Roboto, system-ui, sans-serif }
#lost[hidden] { display: none }
#lost button { font: inherit; font-weight: 500; color: #fff; background: #fff2; border: 1px solid #fff8; border-radius: 4px; padding: 4px 12px; cursor: pointer }
@media (prefers-color-scheme: dark) {
  #shell { background: #121212; color: #eee }
  #shell nav, #shell nav div { border-color: #333 }
}
"""

BODY = (
    '<div id="shell"><header>stem4d</header><nav>'
    + "".join(f"<div>{step}</div>" for step in STEPS)
    + '</nav><main><span id="shell-text">starting</span><i></i><div id="stills"></div><div id="loader-error"></div></main></div>'
)

# asks the server how far it has come, until the frame is gone; the server that answers "ready" has the app's page
POLL = """<script>
(async () => {
  const stills = document.getElementById("stills")
  if (!stills.firstChild) {
    fetch("look" + location.search, {cache: "no-store"}).then(told => told.ok ? told.text() : "").then(look => { stills.innerHTML = look }, () => {})
  }
  const text = document.getElementById("shell-text"), asked = document.body.dataset.waits ? "progress?waits" : "progress"
  while (text.isConnected && text.offsetParent !== null) {
    try {
      const told = await fetch(asked, {cache: "no-store"}), answer = await told.text()
      if (answer === "ready" || told.status === 403) { location.reload(); return }
      text.textContent = answer
    } catch { text.textContent = "the server does not answer" }
    await new Promise(then => setTimeout(then, 250))
  }
})()
</script>"""

# lets the page be seen once its figures are drawn, though not touched before its widgets are
CLEAR = """<script>
(() => {
  const shell = document.getElementById("shell")
  const drawn = view => { try { return isFinite(view.frame.x_scale.compute(0)) } catch { return false } }
  const timer = setInterval(() => {
    const first = [...(window.Bokeh?.index?.query?.(view => ["maps", "patterns"].includes(view.model.name)) ?? [])]
    if (first.length === 2 && first.every(drawn)) shell.classList.add("clear")
    if (shell.classList.contains("clear") || shell.parentElement.style.display === "none") clearInterval(timer)
  }, 50)
})()
</script>"""

# what is seen when the server has stopped or cannot be reached
LOST = """<div id="lost" role="alert" hidden>Connection lost: what you see stays, but nothing answers any more.
<button>Load again</button></div>
<script>
(async () => {
  while (!window.Bokeh?.documents?.length) await new Promise(then => setTimeout(then, 250))
  const lost = document.getElementById("lost")
  lost.querySelector("button").addEventListener("click", () => location.reload())
  for (const page of Bokeh.documents) {
    page.on_event("connection_lost", () => { lost.hidden = false })
  }
})()
</script>"""

STILLS = '<div id="stills">'
SPLIT = "<!-- what follows is made for each page -->"
# what a page says that could not be made, after its first part has gone out
FAILED = """<script>
document.getElementById("shell-text").textContent = "the page could not be made; the server's log says why"
</script>"""

# before the app answers: nothing but the frame, and a wait for the app
PAGE = f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>stem4d</title><link rel="icon" href="data:,">
<style>{CSS}</style></head><body data-waits="yes">{BODY}{POLL}</body></html>"""


@cache
def template(poll: bool) -> Any:
    """The app's own page: the frame stays until its widgets are drawn (its script shows and hides the element `loader`).

    The frame comes before the scripts, so that a browser draws it before it runs them. What follows `SPLIT` is not the
    same in each page; see `early`.

    The empty script in front of all others carries a nonce, another one in each page: the loader of modules looks for it
    and gives it to the scripts that it makes, which a browser would refuse otherwise (see `guard`). A template is compiled
    once a process; Panel would keep that of every page.
    """
    from panel_material_ui.base import _env

    made = _env.from_string(f"""{{% extends "base.html" %}}
{{% block loader_css %}}{CSS}{{% endblock %}}
{{% block css_resources %}}<script nonce="{{{{ nonce() }}}}"></script>{{{{ super() }}}}{{% endblock %}}
{{% block js_resources %}}{{% endblock %}}
{{% block loader %}}<div id="loader"><span class="spinner"></span>{BODY}{POLL if poll else ""}</div>
{{{{ bokeh_js if bokeh_js }}}}{SPLIT}{CLEAR}{LOST}<script>{MENDS}</script>{{% endblock %}}
""")
    made.globals["nonce"] = partial(secrets.token_urlsafe, 18)
    return made
