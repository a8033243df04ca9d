"""A few threads over blocks of rows, with BLAS held to one thread inside them.

Kernels are compiled without numba's own threading (``nogil``), so no threading layer has to be chosen and concurrent
sessions cannot bring one down.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


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


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Hold BLAS to `count` threads inside the block."""
    with _controller().limit(limits=count, user_api="blas"):
        yield


def map_blocks(work: Callable[[int, int], T], count: int, block: int) -> list[T]:
    """``work(start, stop)`` over ``range(count)`` in blocks, results in order."""
    block = max(1, block)
    spans = [(start, min(start + block, count)) for start in range(0, count, block)]
    threads = min(thread_count(), len(spans))
    if threads <= 1:
        return [work(*span) for span in spans]
    with blas_threads(1), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda span: work(*span), spans))
