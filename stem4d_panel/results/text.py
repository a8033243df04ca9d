"""Text from files and users shown as it is: escaped, shortened, without control characters."""

from __future__ import annotations

import html


def safe_text(value: object, limit: int = 300) -> str:
    """A value as text in which HTML and control characters show literally."""
    text = "".join(c if c.isprintable() else "�" for c in str(value))
    return html.escape(text if len(text) <= limit else text[: limit - 1] + "…")
