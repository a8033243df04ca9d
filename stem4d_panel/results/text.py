"""Text from files and users shown as it is: escaped, shortened, without control characters."""

from __future__ import annotations

import html
import re
from pathlib import PurePath


def safe_text(value: object, limit: int = 300) -> str:
    """A value as text in which HTML and control characters show literally."""
    text = "".join(c if c.isprintable() else "�" for c in str(value))
    return html.escape(text if len(text) <= limit else text[: limit - 1] + "…")


def file_stem(name: str) -> str:
    """The name of a scan as the beginning of a file's name that every system takes."""
    stem = re.sub(r"[^\w.()+-]+", "_", PurePath(name).stem.removesuffix(".stem4d"))[:80].strip("._")
    return stem or "result"
