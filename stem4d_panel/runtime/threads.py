"""A few threads over blocks of rows, with BLAS held to one thread inside them.

Kernels are compiled without numba's own threading (``nogil``), so no threading layer has to be chosen and concurrent
sessions cannot bring one down.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

_inside = threading.local()


def thread_count() -> int:
    """Threads to use: ``STEM4D_THREADS``, or the processors this process may run on."""
    asked = os.environ.get("STEM4D_THREADS", "")
    return (
        max(1, int(asked))
        if asked.isdigit()
        else len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


@lru_cache(maxsize=1)
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="stem4d-block")


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Hold BLAS to `count` threads inside the block."""
    with _controller().limit(limits=count, user_api="blas"):
        yield


def map_blocks(work: Callable[[int, int], T], count: int, block: int) -> list[T]:
    """``work(start, stop)`` over ``range(count)`` in blocks, results in order.

    Always with BLAS held to one thread, so that sums do not depend on how many share the work.
    """
    block = max(1, block)
    spans = [(start, min(start + block, count)) for start in range(0, count, block)]
    threads = min(thread_count(), len(spans))
    with blas_threads(1):
        if threads <= 1 or getattr(_inside, "pool", False):  # a pool's own thread would wait for itself
            return [work(*span) for span in spans]

        def one(span: tuple[int, int]) -> T:
            _inside.pool = True
            return work(*span)

        return list(_pool(threads).map(one, spans))


def spread(work: Callable[[int, int], T], count: int) -> list[T]:
    """``work(start, stop)`` over ``range(count)``, one part a thread, for kernels without BLAS: beside any other work."""
    ends = np.linspace(0, count, thread_count() + 1).astype(int).tolist()
    return list(_pool(thread_count()).map(work, ends[:-1], ends[1:]))
