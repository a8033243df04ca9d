"""What shows a state and is no widget."""

from __future__ import annotations

from typing import Any

from stem4d_panel.app.text import Html, safe_text

_BADGE = """
.state { font: 500 12px/20px Roboto, system-ui, sans-serif; padding: 0 9px; border-radius: 11px; display: inline-block; border: 1px solid transparent; color: white }
.state.good { background: #2e7d32 } .state.busy { background: #0277bd } .state.old { background: #b45309 }
.state.bad { background: #c62828 } .state.none { border-color: currentColor; color: inherit; opacity: .7 }
"""
_KINDS = {"up to date": "good", "running": "busy", "stale": "old", "failed": "bad", "waiting": "none"}
_BAR = """
.way { height: 4px; border-radius: 2px; background: rgba(49, 104, 142, .25); overflow: hidden }
.way div { height: 100%; background: #31688e }
"""


class Badge(Html):
    """The state of a step."""

    def __init__(self, **options: Any) -> None:
        super().__init__("", **{"margin": 0, "stylesheets": [_BADGE], **options})

    def show(self, state: str, note: str = "") -> None:
        """Show a state, and a note to who rests on it."""
        self.object = f'<span class="state {_KINDS[state]}" title="{safe_text(note)}">{state}</span>'


class Bar(Html):
    """How far work has come."""

    def __init__(self, **options: Any) -> None:
        super().__init__("", **{"stylesheets": [_BAR], **options})
        self.show(0)

    def show(self, percent: float) -> None:
        """Show a share of the way, in percent."""
        self.object = f'<div class="way" role="progressbar" aria-valuenow="{percent:.0f}"><div style="width:{percent:.0f}%"></div></div>'
