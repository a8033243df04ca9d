"""Details of classes as plain values, for the file's notes, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from stem4d_panel.measure.details import ClassDetail, Details
from stem4d_panel.measure.reading import Reading, Ring
from stem4d_panel.measure.sizes import Particle, SizeStatistics, size_statistics
from stem4d_panel.measure.spots import Spot


def details_to_plain(details: Details) -> dict[str, Any]:
    """Details as numbers, texts, lists and dictionaries; statistics of the sizes follow from the particles."""
    plain: dict[str, Any] = _plain(asdict(details))
    for one in plain["classes"]:
        del one["sizes"]
    return plain


def details_from_plain(plain: Mapping[str, Any]) -> Details:
    """Details from what :func:`details_to_plain` made."""
    return Details(
        tuple(_detail(one) for one in plain["classes"]),
        **{name: plain[name] for name in ("blur", "shape", "step", "reciprocal_step")},
    )


def _detail(one: Mapping[str, Any]) -> ClassDetail:
    reading = dict(one["reading"])
    for name in ("radii", "profile", "spread"):
        reading[name] = np.array(reading[name], float)
    reading["rings"] = tuple(Ring(**ring) for ring in reading["rings"])
    reading["spots"] = tuple(Spot(**spot) for spot in reading["spots"])
    reading["symmetry"] = {int(fold): strength for fold, strength in reading["symmetry"].items()}
    particles = tuple(_particle(p) for p in one["particles"])
    mean = None if one["mean_particle"] is None else _particle(one["mean_particle"])
    sizes: SizeStatistics | None = next(iter(size_statistics(particles)), None)
    return ClassDetail(one["label"], Reading(**reading), particles, sizes, mean)


def _particle(plain: Mapping[str, Any]) -> Particle:
    return Particle(**{**plain, "members": tuple(plain["members"]), "centre": tuple(plain["centre"])})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
