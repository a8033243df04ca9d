"""A first reading of an HDF5 file in a process of its own: some damaged files crash the library or keep it busy for ever.

Run as a program, it reads what `hdf5` reads: links, attributes and shapes, and one value of each large dataset. It imports
h5py alone, so that a file costs a fraction of a second, once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SECONDS = 20.0  # after which a file is taken to keep the library busy for ever
_ADDRESSES = 8 * 2**30  # bytes of address space, far above what a sound file needs
_OBJECTS = 10_000
_sound: set[tuple[str, int, int, int]] = set()


def probe(path: Path) -> None:
    """Refuse an HDF5 file that the library does not survive; other files, and those that are merely damaged, pass.

    Raises
    ------
    DataError
        If the library crashes, or does not come back.
    """
    from stem4d_panel.errors import DataError
    from stem4d_panel.scan.readers import is_hdf5, shown

    if not sys.executable or not is_hdf5(path):
        return
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)
    if key in _sound:
        return
    command = [sys.executable, "-I", "-X", "faulthandler=0", __file__, str(path.resolve())]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads would take addresses
    try:
        done = subprocess.run(  # noqa: S603 - this program itself
            command, env=env, capture_output=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise DataError(
            f"{shown(path.name)}: damaged: the HDF5 library does not come back from it within {SECONDS:g} s"
        ) from None
    except OSError:  # no process to be had: the file is opened without a first reading
        return
    if done.returncode < 0 or done.returncode > 128:  # killed by a signal
        raise DataError(f"{shown(path.name)}: damaged: the HDF5 library crashes on it")
    _sound.add(key)


def _limit() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = _ADDRESSES if hard == resource.RLIM_INFINITY else min(_ADDRESSES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(path: str) -> None:
    """Read the structure of a file, following no link out of it; errors of the library are no matter here."""
    import h5py

    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  (registers the compression filters)
    failures = (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError, NotImplementedError)
    with suppress(*failures), h5py.File(path, "r") as file:
        todo, looked = [file], 0
        while todo and looked < _OBJECTS:
            item = todo.pop()
            with suppress(*failures):
                for key in item.attrs:
                    with suppress(*failures):
                        item.attrs[key]
            if isinstance(item, h5py.Dataset):
                with suppress(*failures):
                    if item.ndim > 2 and 0 not in item.shape and not (item.is_virtual or item.external):
                        item[(0,) * item.ndim]
                continue
            with suppress(*failures):
                for key in item:
                    looked += 1
                    raw = key if isinstance(key, bytes) else key.encode(errors="surrogateescape")
                    if looked < _OBJECTS and item.id.links.get_info(raw).type == h5py.h5l.TYPE_HARD:
                        with suppress(*failures):
                            todo.append(item[raw])


if __name__ == "__main__":
    _limit()
    _read(sys.argv[1])
