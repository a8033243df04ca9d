"""Values of stages under a byte budget, the least recently used dropped first. Keys are digests, never sampled arrays."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

BUDGET = 2 * 2**30


def size_of(value: Any) -> int:
    """Bytes of the arrays in a value, dataclasses looked into; those that lie in files count nothing."""
    if isinstance(value, np.memmap):
        return 0
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if is_dataclass(value):
        return sum(size_of(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, (tuple, list)):
        return sum(size_of(v) for v in value)
    return 64


class Cache:
    """A thread-safe store of immutable values by key."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._values: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Any | None:
        """The value under `key`, or None."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: str, value: Any) -> None:
        """Keep a value; the newest always stays, older ones go when the budget is spent."""
        with self._lock:
            self._values[key] = (value, size_of(value))
            self._values.move_to_end(key)
            while len(self._values) > 1 and sum(size for _, size in self._values.values()) > self.budget:
                self._values.popitem(last=False)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._values


shared_cache = Cache()
