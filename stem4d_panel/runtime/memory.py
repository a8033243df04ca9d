"""How much memory the process may fill with data, and files that take what goes beyond it."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.runtime.pauses import search_everything

_ONE = 0.5  # of the budget, that one array may take
_GUESS = 4 * 10**9  # bytes of free memory, where the system does not tell
LEAST = 64 * 2**20  # bytes below which a limit leaves no room for anything
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_ROOM = 0.05  # of a disk, that is left free beside a file
_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


class Limits:
    """What the process may use; one for all of its analyses.

    Attributes
    ----------
    memory : int or None
        Bytes that data may fill; None means half of what is free when it is asked for.
    folder : Path or None
        Where files go that stand in for memory; None means a folder of the user's cache.
    """

    def __init__(self) -> None:
        self.memory: int | None = None
        self.folder: Path | None = None
        self._promised: list[int] = []  # bytes, to work that goes on
        self._at_first = 0  # bytes that were free when the first of these began
        self._lock = threading.Lock()

    def budget(self) -> int:
        """Bytes that data may fill."""
        if self.memory is not None:
            return self.memory
        free = free_memory()
        return max(LEAST, (_GUESS if free is None else free) // 2)

    def holds(self, size: int) -> bool:
        """Whether one array of `size` bytes may lie in memory; the rest is for what is computed from it."""
        return size <= _ONE * self.budget()

    @contextmanager
    def held(self, memory: int | None = None, folder: str | Path | None = None) -> Iterator[None]:
        """Other limits inside the block; what is None stays as it is.

        Raises
        ------
        SettingError
            If the memory is below 64 MiB.
        DataError
            If there is no such folder and it cannot be made.
        """
        if memory is not None and memory < LEAST:
            raise SettingError(f"--max-memory: {memory} bytes are below the least, {LEAST}")
        place = None if folder is None else Path(folder)
        if place is not None:
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataError(f"--cache-dir: {place} cannot be made: {error.strerror or error}") from error
        with self._lock:
            before = self.memory, self.folder
            self.memory = self.memory if memory is None else memory
            self.folder = self.folder if place is None else place
        try:
            yield
        finally:
            with self._lock:
                self.memory, self.folder = before

    @contextmanager
    def promised(self, size: int, name: str) -> Iterator[None]:
        """Memory that work inside the block may fill, kept from other work that begins meanwhile.

        What is promised is not yet filled, so what the machine has free does not tell it.

        Parameters
        ----------
        size : int
            Bytes; nothing is promised for 0.
        name : str
            What the work is done on, for the message.

        Raises
        ------
        DataError
            If it is more than is free beside what others were promised.
        """
        if size <= 0:
            yield
            return
        with self._lock:
            free, taken = self.memory if self.memory is not None else free_memory(), sum(self._promised)
            if free is not None:
                self._at_first = self._at_first if taken else free
                left = max(0, min(free, self._at_first - taken))
                if size > left:
                    beside = f" beside the {in_bytes(taken)} of other work that goes on" if taken else ""
                    raise DataError(
                        f"{name}: its analysis needs {in_bytes(size)} of memory, {in_bytes(left)} are free{beside}; "
                        + ("try again when that has ended" if taken else "prepare.bin makes it smaller")
                    )
            self._promised.append(size)
        try:
            yield
        finally:
            with self._lock:
                self._promised.remove(size)

    def cache_folder(self) -> Path:
        """The folder for files that stand in for memory; made when it is not there."""
        if self.folder is not None:
            return self.folder
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir()))
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "stem4d_panel"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # a home that cannot be written to
            return Path(tempfile.gettempdir())
        return folder


limits = Limits()


def parse_bytes(text: str, name: str = "size") -> int:
    """Bytes from text such as ``2GB``, ``500 MB`` or ``1.5GiB``; `name` is what an error calls it.

    Raises
    ------
    SettingError
        If it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    if found is None or found[2] == "I":
        raise SettingError(f"{name}: {text!r} is no size; write it as 500MB, 2GB or 1.5GiB")
    return int(float(found[1]) * _UNITS[found[2]])


def in_bytes(count: int) -> str:
    """A number of bytes in words."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB"):
        if size < 999.5 or unit == "EB":
            break
        size /= 1000
    return f"{size:.3g} {unit}" if size < 999.5 else f"{size:.0f} {unit}"


def free_memory() -> int | None:
    """Bytes of memory that can still be had; None where the system does not tell."""
    found = [n for n in (_available(), _group_left()) if n is not None]
    return min(found) if found else None


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:  # all there is, where nothing tells what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def _group_left() -> int | None:
    """What a container's limit leaves."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        given_up = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))  # when wanted
        return max(0, limit - used + given_up)
    except (OSError, ValueError, IndexError):  # "max" is no limit
        return None


def file_array(shape: tuple[int, ...], dtype: type = np.float32) -> np.memmap:
    """An array of zeros in a file of the cache folder, gone when nobody holds it any more.

    Raises
    ------
    DataError
        If the disk has no room for it, or the file cannot be made.
    """
    folder, size = limits.cache_folder(), int(np.prod(shape)) * np.dtype(dtype).itemsize
    try:
        disk = shutil.disk_usage(folder)
        if size > disk.free - _ROOM * disk.total:
            raise DataError(
                f"{folder.name}: the cache folder needs {size / 1e9:.2f} GB and its disk has {disk.free / 1e9:.2f} GB free, "
                f"{_ROOM:.0%} of the disk kept; --cache-dir names another folder"
            )
        handle, name = tempfile.mkstemp(prefix="frames-", suffix=".f32", dir=folder)
        os.close(handle)
        array = np.memmap(name, dtype, "w+", shape=shape)
    except OSError as error:
        raise DataError(f"{folder.name}: the cache folder cannot be written: {error.strerror or error}") from error
    if os.name == "posix":  # the open map keeps it alive, and nothing is left behind whatever ends the process
        os.unlink(name)
    else:
        weakref.finalize(array, _remove, name)
    return array


def _remove(name: str) -> None:
    with suppress(OSError):
        os.unlink(name)


def give_back() -> None:
    """Let go of what nobody holds any more, and hand the allocator's free pages to the system where it can (glibc).

    Many small objects that come and go with pages would otherwise keep the peak's memory, and a little more each time.
    """
    search_everything()
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def share_heap() -> None:
    """Let all threads of this process that begin from now on take memory from one heap where it can be (glibc).

    Each would else have one of its own, and keep there what the pages that it once served have left.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
