"""A hand may take its time: a tap held long is a tap, a drag that begins with a rest a drag, two quick taps are two.

Bokeh (3.9) makes a "press" of a button that is held for 300 ms and then hears neither the tap nor the drag that it becomes
(core/ui_gestures.ts, `press_threshold`); a page that is busy between the two events turns quick taps into presses, too. A
second tap within 300 ms is a double tap alone. Here nothing listens to presses, so in our figures they are not made, and a
double tap is also a tap. Other figures of a notebook stay as they are.
"""

from __future__ import annotations

TAG = "stem4d"  # marks our figures

# run once, when Bokeh is there; another Bokeh's parts are left as they are
MEND = f"""(() => {{
  const hand = window.Bokeh?.require?.('core/ui_gestures')?.UIGestures?.prototype
  const wait = hand?._start_timeout, twice = hand?.on_doubletap
  if (!wait || !twice || hand.stem4d_unhurried) return
  hand.stem4d_unhurried = true
  const ours = gestures => gestures.handlers.canvas_view?.plot_views.some(view => view.model.tags.includes({TAG!r}))
  hand._start_timeout = function () {{ if (!ours(this)) wait.call(this) }}
  hand.on_doubletap = function (event) {{
    if (ours(this)) this.on_tap(event)
    twice.call(this, event)
  }}
}})()"""
