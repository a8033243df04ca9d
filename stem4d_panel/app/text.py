"""Text from files and users shown as it is: escaped, shortened, without control characters."""

from __future__ import annotations

from typing import Any

import panel as pn

from stem4d_panel.results.text import safe_text

__all__ = ["Html", "caption", "caption_below", "heading", "safe_text", "say"]


def caption(text: str = "", **options: Any) -> Html:
    """A line of small text that changes; set its text by :func:`say`."""
    pane = Html("", **{"margin": (0, 8), **options})
    say(pane, text)
    return pane


def say(pane: Html, text: str) -> None:
    """Show plain text in a caption."""
    pane.object = f'<div style="font-size:12px;line-height:1.35">{safe_text(text)}</div>'


def heading(text: str, **options: Any) -> Html:
    """What a group of figures is called: plain HTML, which a page has sooner than a component."""
    said = f'<div role="heading" aria-level="2" style="font-size:13px;font-weight:500">{safe_text(text)}</div>'
    return Html(said, **{"margin": (6, 8, 0, 8), **options})


def caption_below(width: int, text: str = "", lines: int = 2, **options: Any) -> Html:
    """A caption of a figure. Its height stays: another one would have the browser lay out the whole page anew."""
    return caption(text, **{"width": width, "height": 6 + 17 * lines, "styles": {"overflow": "hidden"}, **options})


class Html(pn.pane.HTML):
    """HTML made by this program around `safe_text`.

    A new `object` sends its text and nothing else: Panel would make all properties anew, and in a notebook links to style
    sheets on a content network, which are already there and which a page without a network would ask for in vain.
    """

    def _update(self, ref: str, model: Any) -> None:
        model.text = self._transform_object(self.object)["object"]
