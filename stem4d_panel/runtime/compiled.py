"""Compiled loops, kept on disk where there is a place for them."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numba

log = logging.getLogger(__name__)


@functools.cache
def _tell() -> None:
    """Once a process."""
    log.warning(
        "compiled loops cannot be kept where the program, its user or NUMBA_CACHE_DIR have their place: starts take longer"
    )


def compiled(fastmath: bool | set[str] = False) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function by numba, without the interpreter's lock.

    numba refuses to make a function that is to be kept when neither its own folder (``NUMBA_CACHE_DIR``) nor the one
    beside the source nor the user's can be written, as for a service user without a home: such a function is compiled anew
    by each process, which one line of the log says.

    Parameters
    ----------
    fastmath : bool or set of str
        As `numba.njit` takes it.
    """

    def make(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, fastmath=fastmath)(function)
        except RuntimeError:
            _tell()
            return numba.njit(nogil=True, fastmath=fastmath)(function)

    return make
