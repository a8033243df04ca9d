"""Results of older layouts, brought to the present one as they are read.

A step takes what was read at one layout to the next that this program writes. What an older file does not hold is put in
as unknown, and the result says so in a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stem4d_panel.cluster.tree import leaves_of
from stem4d_panel.errors import DataError
from stem4d_panel.settings import declared

LAYOUT = 3


@dataclass
class Contents:
    """What was read of a file, by name; steps change it in place.

    Attributes
    ----------
    arrays : dict
    notes : dict
        Of each group of settings.
    settings : dict
        By full name.
    explicit : list of str
    """

    arrays: dict[str, np.ndarray]
    notes: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    explicit: list[str]


def check_layout(layout: int) -> None:
    """Refuse a layout that this version does not know.

    Raises
    ------
    DataError
        Without the file's name.
    """
    if layout > LAYOUT:
        raise DataError(f"has layout {layout}, this version reads up to {LAYOUT}; update stem4d_panel")
    if layout < min(_STEPS):
        raise DataError(f"has layout {layout}; the oldest is {min(_STEPS)}")


def migrate(contents: Contents, layout: int) -> tuple[str, ...]:
    """Bring what was read to the present layout; returns what has to be told of it."""
    warnings: list[str] = []
    for number in range(layout, LAYOUT):
        warnings += _STEPS[number](contents)
    return tuple(dict.fromkeys(warnings))


def _from_early(contents: Contents) -> list[str]:
    """Layout 1: before trees told what was set apart, details of classes, and many settings."""
    arrays, notes = contents.arrays, contents.notes
    k, c, merges = len(arrays["labels"]), len(arrays["class_maps"]), arrays["merges"]
    classes = notes["measure"]["classes"]
    glass = [found["label"] for found in classes if not found["crystalline"]]
    unknown: dict[str, np.ndarray] = {
        "coherence": np.full(k, np.nan),
        "apart": np.isin(arrays["labels"], glass),
        "mirrored": np.zeros(k, bool),
        "leaf_order": np.array(leaves_of(merges, k)[-1], np.int64),
        "merge_similarity": 1 - merges[:, 2],
        "merge_mirrored": np.zeros(k - 1, bool),
        "merge_p_values": np.full(k - 1, np.nan),
        "class_autocorrelation": np.zeros((c, 360), np.float32),
    }
    contents.arrays.update({name: value for name, value in unknown.items() if name not in arrays})
    for found in classes:
        found.setdefault("coherence", float("nan"))
    notes.setdefault("data", {}).setdefault("source", notes["calibration"].get("source", {}))
    suggestion = {"threshold": notes["cluster"]["threshold"], "equal": 0.0, "chance": 1.0, "reason": "saved so"}
    notes["cluster"].setdefault("suggestion", suggestion)
    details = {"classes": [], "blur": 0.0, "shape": "sphere", "step": None, "reciprocal_step": None}
    notes["measure"].setdefault("details", details)
    names = {name for name, _ in declared()}
    contents.settings = {name: value for name, value in contents.settings.items() if name in names}
    contents.explicit = [name for name in contents.explicit if name in names]
    return ["saved by an early version: sizes and readings are not in it, and its settings do not repeat it exactly"]


# no version that was kept wrote layout 2; what it may lack is what layout 1 lacks
_STEPS: dict[int, Callable[[Contents], list[str]]] = {1: _from_early, 2: _from_early}
