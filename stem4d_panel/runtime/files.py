"""Writing files so that the old one stays whole until the new one is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stem4d_panel.errors import DataError


def _sync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(target: str | Path, overwrite: bool) -> Iterator[Path]:
    """A temporary file beside `target` that takes its name when the block ends well, and vanishes when it does not.

    Raises
    ------
    DataError
        If the target exists and may not be replaced, its folder is missing, or writing fails.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise DataError(f"{target.name}: exists already; --overwrite (overwrite=True) replaces it")
    part = None
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, part = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", suffix=".part", dir=target.parent)
        os.close(handle)
        yield Path(part)
        os.chmod(part, mode)
        _sync(part)
        os.replace(part, target)
        part = None
        _sync(target.parent)
    except OSError as error:
        raise DataError(f"{target.name}: cannot be written: {error.strerror or error}") from error
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
