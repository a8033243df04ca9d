"""One pass over a scan, block by block: read here, or by the workers of a Dask cluster, which send back what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.cluster import results
from stem4d_panel.scan.readers import reopen
from stem4d_panel.scan.scan import Scan, Source, block_bytes, native

T = TypeVar("T")


def each_block(
    scan: Scan, work: Callable[..., T], arguments: Callable[[slice], tuple[Any, ...]], client: Any = None
) -> Iterator[tuple[slice, T]]:
    """``work(raw, *arguments(rows))`` for every block of rows of a scan, in order: (rows, what came of it).

    Parameters
    ----------
    scan : Scan
    work : callable
        Of rows of the raw scan, shape (rows, x, ky, kx). On workers it is sent, and must hold no state.
    arguments : callable
        What else `work` needs for some rows.
    client : distributed.Client, optional
        Of the cluster that does it.

    Raises
    ------
    DataError
        If a block cannot be read, workers cannot reach the scan, or the scheduler is lost.
    """
    if client is None:
        for rows, raw in scan.blocks():
            yield rows, work(raw, *arguments(rows))
        return
    blocks = spans(scan)
    parts = [_submit(client, scan, rows, work, arguments(rows)) for rows in blocks]
    yield from zip(blocks, results(client, parts), strict=True)


def spans(scan: Scan) -> list[slice]:
    """Rows that a worker takes at a time."""
    ny = scan.shape[0]
    step = max(1, int(4 * block_bytes() // max(1, scan.nbytes // ny)))
    return [slice(first, min(first + step, ny)) for first in range(0, ny, step)]


def raw_rows(client: Any, scan: Scan, rows: slice) -> Any:
    """Future of rows of the raw scan, made by a task that can be done again.

    Raises
    ------
    DataError
        If the scan lies in the memory of this process.
    """
    return _submit(client, scan, rows, np.asarray, ())


def _submit(client: Any, scan: Scan, rows: slice, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if scan.source is not None:  # read and worked on in one task, so that no more is read than is worked on
        return client.submit(_read, scan.source, rows, work, arguments, pure=False)
    if type(scan.data).__module__.startswith("dask"):
        return client.submit(_native, scan.data[rows], work, arguments, pure=False)
    raise DataError(
        f"{scan.name}: lies in the memory of this process, which workers cannot read; give the file or a Dask array"
    )


def _read(source: Source, rows: slice, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return work(_opened(source).rows(rows.start, rows.stop), *arguments)


def _native(raw: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return work(native(np.asarray(raw)), *arguments)


@lru_cache(maxsize=4)
def _opened(source: Source) -> Scan:
    return reopen(source)
