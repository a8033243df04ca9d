"""Writing files so that the old one stays whole until the new one is complete."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.memory import in_bytes

_PART = re.compile(r"\..{0,40}\.stem4d-(\d+)-\w+\.part")  # the number is that of the process that writes it
ABANDONED = 3600.0  # seconds without a write, after which a part is nobody's: the number may be another machine's
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if hasattr(errno, "EDQUOT") else {errno.ENOSPC, errno.EFBIG}


def _sync(path: str | Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(target: str | Path, overwrite: bool, size: int | None = None) -> Iterator[Path]:
    """A temporary file beside `target` that takes its name when the block ends well, and vanishes when it does not.

    What processes that were killed have left in the folder is removed.

    Parameters
    ----------
    target : path
    overwrite : bool
        Whether a file that is there may be replaced.
    size : int, optional
        Bytes that will be written, for the message of a full disk.

    Raises
    ------
    DataError
        If the target exists and may not be replaced, its folder is missing, or writing fails.
    """
    target = Path(target)
    if target.exists() and not overwrite:
        raise DataError(f"{target.name}: exists already; --overwrite (overwrite=True) replaces it")
    sweep(target.parent)
    part = None
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, part = tempfile.mkstemp(
            prefix=f".{target.stem[:40]}.stem4d-{os.getpid()}-", suffix=".part", dir=target.parent
        )
        os.close(handle)
        yield Path(part)
        os.chmod(part, mode)
        _sync(part)
        os.replace(part, target)
        part = None
        _sync(target.parent)
    except OSError as error:
        raise DataError(f"{target.name}: cannot be written: {_reason(error, target.parent, size)}") from error
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)


def sweep(folder: str | Path) -> None:
    """Remove parts in a folder whose processes were killed: none of a living one, and none written to in the last hour."""
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            part = _PART.fullmatch(entry.name)
            if part is None or _lives(int(part[1])):
                continue
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED:
                    os.unlink(entry.path)


def _lives(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    if os.name != "posix":  # there a signal of 0 would end it; the age has to do
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _reason(error: OSError, folder: Path, size: int | None) -> str:
    """What went wrong, of a full disk also how much was wanted and how much there is."""
    text = error.strerror or str(error)
    if not folder.is_dir():
        return f"no folder {folder.name or folder}"
    if error.errno in _FULL:
        needed = "" if size is None else f"{in_bytes(size)} are needed, "
        with suppress(OSError):
            return f"{text}; {needed}{in_bytes(shutil.disk_usage(folder).free)} are free on its disk"
    return text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
