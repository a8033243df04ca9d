"""Factors and trees of files in the cache folder, so that a later start finds them again."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from stem4d_panel import __version__
from stem4d_panel.cluster.tree import Suggestion, Tree
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.runtime.disk_cache import DiskCache
from stem4d_panel.runtime.memory import limits

KINDS = {"factors": Factors, "tree": Tree}  # what takes long and is small
_PLAIN = "plain_json"  # the fields that are no arrays


@lru_cache(maxsize=4)
def _cache(folder: Path) -> DiskCache:
    return DiskCache(folder / "values")


def _entry(key: str) -> str:
    """The key of a stage with the versions of what computed it, and the processor's kind."""
    import numba

    made_by = (key, __version__, np.__version__, numba.__version__, platform.machine())
    return hashlib.sha256(repr(made_by).encode()).hexdigest()


def recall(stage: str, key: str) -> tuple[Any, float] | None:
    """A stage's value and the seconds that it took; None where no cache folder is stated or it is not there."""
    if stage not in KINDS or limits.folder is None:
        return None
    cache, entry = _cache(limits.folder), _entry(key)
    arrays = cache.get(entry)
    if arrays is None:
        return None
    try:
        return _unpacked(KINDS[stage], arrays)
    except (ValueError, LookupError, TypeError) as error:
        cache.drop(entry, error)
        return None


def keep(stage: str, key: str, value: Any, seconds: float) -> None:
    """Keep a stage's value, if a cache folder is stated."""
    if stage in KINDS and limits.folder is not None:
        _cache(limits.folder).put(_entry(key), _packed(value, seconds))


def _packed(value: Any, seconds: float) -> dict[str, np.ndarray]:
    parts = {f.name: getattr(value, f.name) for f in fields(value)}
    arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
    plain = {n: asdict(part) if is_dataclass(part) else part for n, part in parts.items() if n not in arrays}  # type: ignore[arg-type]
    text = json.dumps({"seconds": seconds, **plain}, default=lambda number: number.item())
    return {**arrays, _PLAIN: np.frombuffer(text.encode(), np.uint8)}


def _unpacked(kind: type, arrays: dict[str, np.ndarray]) -> tuple[Any, float]:
    plain = json.loads(arrays.pop(_PLAIN).tobytes())
    seconds = float(plain.pop("seconds"))
    parts: dict[str, Any] = {name: tuple(part) if isinstance(part, list) else part for name, part in plain.items()}
    if "suggestion" in parts:
        parts["suggestion"] = Suggestion(**parts["suggestion"])
    return kind(**arrays, **parts), seconds
