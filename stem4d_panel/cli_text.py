"""What the command line prints: a file in words, settings as a file, lines in which everything prints."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from stem4d_panel import __version__
from stem4d_panel.parameters import limits
from stem4d_panel.settings import GROUPS


def one_line(text: str) -> str:
    """A text as one line in which everything prints."""
    joined = " ".join(part.strip() for part in text.splitlines() if part.strip())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


def line_kept(text: str) -> str:
    """As :func:`one_line`, the indent kept."""
    return " " * (len(text) - len(text.lstrip(" "))) + one_line(text)


def by(sizes: Sequence[int]) -> str:
    """Sizes with a cross between them."""
    return " × ".join(map(str, sizes)) or "one value"


def finite(value: Any) -> Any:
    """Plain values with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and value - value != 0 else value


def limits_of(parameter: Any) -> str:
    """What a parameter accepts, as a sentence."""
    text = limits(parameter)
    return text[0].upper() + text[1:] + "."


def template() -> Iterator[str]:
    """Lines of a file of all settings, each with its default and behind a #."""
    yield f"# Settings of stem4d {__version__}, for: stem4d run --config FILE.toml"
    yield "# Each stands here with its default; take away the # in front of those that you change."
    for group, cls in GROUPS.items():
        yield f"\n[{group}]"
        for name, parameter in cls.declared().items():
            yield ""
            yield from textwrap.wrap(parameter.doc, 100, initial_indent="# ", subsequent_indent="# ")
            yield f"# {limits_of(parameter)}"
            default = "" if parameter.default is None else json.dumps(parameter.default)
            yield f"#{name} = {default}".rstrip()


def about_lines(about: dict[str, Any]) -> Iterator[str]:
    """What `scan.about.info` found, in lines to read."""
    from stem4d_panel.runtime.memory import in_bytes

    yield f"{about['name']}: {about['format']}, {in_bytes(about['bytes_on_disk'])}"
    for found in about["datasets"]:
        parts = (found["path"] or "data", by(found["shape"]), found["dtype"], found["stored"])
        yield "  " + "  ".join(filter(None, parts))
    if "scan_shapes" in about:
        yield "  frames without a scan shape; data.scan_shape takes " + " or ".join(about["scan_shapes"])
    if "shape" not in about:
        return
    picked = f" {about['dataset']}" if about.get("dataset") and len(about["datasets"]) > 1 else ""
    yield f"  scan{picked}: {by(about['shape'])} {about['dtype']}, {in_bytes(about['bytes'])} in memory"
    for axis in about["axes"]:
        origin = f", {axis['origin']}" if axis["origin"] != "none" else ", uncalibrated"
        yield f"    {axis['name']:<2} {axis['size']} × {axis['scale']:.4g} {axis['units']} from {axis['offset']:.4g}{origin}"
    units = {"voltage": "kV", "convergence": "mrad", "probe_size": "nm"}
    for name, value in about["instrument"].items():
        yield f"    {name} {value:.4g} {units.get(name, '')}".rstrip()
    for text in about["warnings"]:
        yield f"  warning: {text}"
    yield f"  memory: {about['memory']['text']}"
