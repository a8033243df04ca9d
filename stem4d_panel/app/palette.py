"""Colours of the screen: those that paper has as well, and images turned into RGB."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from stem4d_panel.results.colours import (
    CRYSTALLINE,
    OTHER,
    class_colours,
    class_overlay,
    limits,
    limits_of_each,
    orientation_overlay,
    over,
    period,
    periods,
    scaled,
    strengths,
)

__all__ = [
    "CRYSTALLINE",
    "OTHER",
    "SIGNED",
    "TABLES",
    "class_colours",
    "class_overlay",
    "hexes",
    "limits",
    "limits_of_each",
    "lookup",
    "numbers",
    "orientation_overlay",
    "over",
    "painted",
    "period",
    "periods",
    "plain",
    "scaled",
    "strengths",
]

TABLES = ["inferno", "viridis", "cividis", "gray"]
SIGNED = "signed"  # of differences: blue below zero, red above, white between


def _signed() -> np.ndarray:
    """Straight ways in lightness from white to a blue and a red that colour-blind eyes keep apart."""
    half = np.linspace(0, 1, 128)[:, None]
    white, blue, red = (np.array(c, float) for c in ((247, 247, 247), (5, 72, 140), (165, 22, 38)))
    return np.concatenate([(white + (blue - white) * half)[::-1], white + (red - white) * half]).astype(np.uint8)


@lru_cache(maxsize=8)
def lookup(name: str) -> np.ndarray:
    """A perceptually uniform colour map as an array (256, 3) of uint8."""
    from bokeh import palettes

    if name == SIGNED:
        return _signed()
    table = {
        "inferno": palettes.Inferno256, "viridis": palettes.Viridis256, "cividis": palettes.Cividis256,
        "gray": palettes.Greys256,
    }[name]  # fmt: skip
    return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in table], np.uint8)


@lru_cache(maxsize=8)
def _packed(name: str) -> np.ndarray:
    """The same as opaque RGBA, four bytes as one number, shape (256,)."""
    table = np.full((256, 4), 255, np.uint8)
    table[:, :3] = lookup(name)
    return table.view(np.uint32)[:, 0]


def hexes(name: str) -> list[str]:
    """A colour map as Bokeh has it."""
    return ["#" + "".join(f"{c:02x}" for c in colour) for colour in lookup(name)]


def numbers(image: np.ndarray, ends: tuple[Any, Any]) -> np.ndarray:
    """The colours of finite values, stretched between two of them, as numbers of a colour map, uint8."""
    return np.clip((image - ends[0]) * (255 / (ends[1] - ends[0])), 0, 255).astype(np.uint8)


def painted(image: np.ndarray, ends: tuple[Any, Any], table: str) -> np.ndarray:
    """An image as RGBA, shape (..., 4), uint8, stretched between two values; transparent where it is NaN."""
    known = np.isfinite(image)
    whole = known.all()
    out = _packed(table)[numbers(image if whole else np.where(known, image, ends[0]), ends)]
    if not whole:
        out[~known] = 0
    return out[..., None].view(np.uint8)


def plain(image: np.ndarray, table: str) -> Callable[..., np.ndarray]:
    """How an image is painted between its percentile limits."""
    return partial(painted, ends=limits(image), table=table)
