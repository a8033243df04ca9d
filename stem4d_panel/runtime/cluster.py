"""A Dask cluster, if one is asked for: which may be used, and how its answers are waited for."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from stem4d_panel.errors import Cancelled, DataError, SettingError
from stem4d_panel.runtime.progress import still_wanted

_HERE = {"127.0.0.1", "localhost", "::1"}
_LOOK = 0.25  # seconds between two looks at whether the work is still wanted
ALONE = 60.0  # seconds without any worker, after which none is waited for


@contextmanager
def cluster(address: str, plain: bool = False) -> Iterator[Any]:
    """A client of a cluster, closed at the end; a local cluster ends with it.

    Parameters
    ----------
    address : str
        ``tls://host:port`` or ``tcp://host:port`` of a scheduler, or ``local`` or ``local:N`` for N worker processes
        that listen on 127.0.0.1 alone.
    plain : bool
        Allow ``tcp://`` to another machine. A scheduler runs what it is sent, and without TLS anybody on the network
        can send it something.

    Raises
    ------
    SettingError
        If the address is refused, or Dask's distributed scheduler is not installed.
    DataError
        If no scheduler answers.
    """
    workers = _local(address)
    if workers is None:
        _check(address, plain)
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise SettingError("--scheduler: needs the package distributed: pip install 'stem4d_panel[dask]'") from error
    if workers is not None:
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
            ) as local,
            Client(local) as client,
        ):
            yield client
        return
    try:
        client = Client(address, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise DataError(f"--scheduler: no scheduler answers at {address}: {_reason(error)}") from error
    with client:
        yield client


def _local(address: str) -> int | None:
    """Workers of a local cluster, None for an address."""
    if not address.startswith("local"):
        return None
    found = re.fullmatch(r"local(?::(\d{1,3}))?", address)
    if found is None or found[1] == "0":
        raise SettingError(f"--scheduler: {address} names no number of workers; write local or local:N with N from 1")
    from stem4d_panel.runtime.threads import thread_count

    return int(found[1]) if found[1] else thread_count()


def _check(address: str, plain: bool) -> None:
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        known = False
    if not known:
        raise SettingError(f"--scheduler: {address} is no address; write tls://host:port, tcp://host:port or local:N")
    if parts.scheme == "tcp" and parts.hostname not in _HERE and not plain:
        raise SettingError(
            f"--scheduler: {address} is another machine without encryption; use tls://, or --plain-scheduler to accept it"
        )


def two(client: Any, work: Callable[..., tuple[Any, Any]], *arguments: Any) -> tuple[Any, Any]:
    """Futures of both values that a task gives, of which one may stay with its worker while the other comes here."""
    both = client.submit(work, *arguments, pure=False)
    return client.submit(_first, both, pure=False), client.submit(_second, both, pure=False)


def _first(both: tuple[Any, Any]) -> Any:
    return both[0]


def _second(both: tuple[Any, Any]) -> Any:
    return both[1]


def results(client: Any, futures: Iterable[Any]) -> Iterator[Any]:
    """Results of futures in their order; what is left is cancelled when nobody wants it any more, or one fails.

    Raises
    ------
    Cancelled
        If the job that waits has been let go of.
    DataError
        If the scheduler is lost, or there is no worker for a minute.
    """
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    waiting, wanted, seen = list(futures), still_wanted(), time.monotonic()
    try:
        for future in waiting:
            ready = threading.Event()
            future.add_done_callback(lambda _, ready=ready: ready.set())
            while not ready.wait(_LOOK):
                if not wanted():
                    raise Cancelled("cancelled")
                if client.status not in ("running", "connecting"):
                    raise DataError(f"--scheduler: {client.status}: the scheduler was lost")
                if client.scheduler_info().get("workers"):
                    seen = time.monotonic()
                elif time.monotonic() - seen > ALONE:
                    raise DataError(f"--scheduler: no worker is left, or none has come in {ALONE:g} s")
            yield future.result()
    except KilledWorker as error:
        raise DataError(f"--scheduler: workers died again and again on one block: {_reason(error)}") from error
    except (CancelledError, CommClosedError, OSError) as error:
        raise DataError(f"--scheduler: the scheduler was lost: {_reason(error)}") from error
    finally:
        if client.status == "running":
            client.cancel([f for f in waiting if not f.done()])


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
