"""The floor of the load benchmark: a Panel app of one slider, one callback and one text."""

from __future__ import annotations

from typing import Any

import panel as pn


def app() -> Any:
    """A page."""
    slider = pn.widgets.FloatSlider(name="value", start=0, end=1e9)
    return pn.Column(slider, pn.pane.Str(pn.bind(lambda v: f"it is {v}", slider)))
