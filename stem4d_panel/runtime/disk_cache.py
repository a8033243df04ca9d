"""Arrays that outlive the process, in a folder of the user's own: NumPy files without pickle, each beside its checksum.

Whatever is wrong with an entry makes it a miss with one line in the log; nothing here raises.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.files import replacing

VERSION = 1  # of the layout
BUDGET = 2 * 2**30
log = logging.getLogger(__name__)


class DiskCache:
    """Sets of arrays by key, the longest unused dropped first.

    Parameters
    ----------
    folder : Path
        Made where it is missing, for its owner alone. One that belongs to somebody else, or that others may write to, is
        not used: they could put results there.
    budget : int
        Bytes.
    """

    def __init__(self, folder: Path, budget: int = BUDGET) -> None:
        self.folder, self.budget = folder, budget
        self._usable = self._check()

    def _check(self) -> bool:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stat = self.folder.lstat()
        except OSError as error:
            log.warning("cache %s: not used: %s", self.folder.name, error.strerror or error)
            return False
        if os.name == "posix" and (stat.st_uid != os.geteuid() or stat.st_mode & 0o022 or self.folder.is_symlink()):
            log.warning("cache %s: not used: others can write to it", self.folder.name)
            return False
        return True

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays under `key`, or None."""
        values, about = self._paths(key)
        if not self._usable or not about.exists():
            return None
        try:
            noted = json.loads(about.read_text(encoding="ascii"))
            if noted["version"] != VERSION:
                raise ValueError(f"version {noted['version']}, not {VERSION}")
            if values.stat().st_size != noted["size"]:
                raise ValueError("another size than noted")
            content = values.read_bytes()
            if hashlib.sha256(content).hexdigest() != noted["sha256"]:
                raise ValueError("its checksum does not fit")
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, LookupError, TypeError, RecursionError, zipfile.BadZipFile) as error:
            self.drop(key, error)
            return None
        with suppress(OSError):
            os.utime(values)  # used now
        return found

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays; without enough room, or more than the budget, they are not kept."""
        if not self._usable or sum(a.nbytes for a in arrays.values()) > self.budget:
            return
        values, about = self._paths(key)
        buffer = io.BytesIO()
        try:
            if any(a.dtype.hasobject for a in arrays.values()):  # older NumPy has no argument that refuses them
                raise ValueError("an array of objects")
            np.savez(buffer, **arrays)  # type: ignore[arg-type] # its other argument is not among the names
            content = buffer.getvalue()
            noted = {"version": VERSION, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            with replacing(values, overwrite=True, size=len(content)) as part:
                part.write_bytes(content)
            with replacing(about, overwrite=True) as part:
                part.write_text(json.dumps(noted), encoding="ascii")
            self._make_room()
        except (OSError, ValueError, DataError) as error:
            log.warning("cache %s: not kept: %s", self.folder.name, error)

    def drop(self, key: str, reason: object) -> None:
        """Remove an entry that cannot be used."""
        log.warning("cache %s: %s… is not used: %s", self.folder.name, key[:12], str(reason) or type(reason).__name__)
        self._remove(key)

    def _remove(self, key: str) -> None:
        for path in self._paths(key):
            with suppress(OSError):
                path.unlink()

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npz", self.folder / f"{key}.json"

    def _make_room(self) -> None:
        """Drop the longest unused, until the rest fits the budget; another process may do the same."""
        found = []
        for path in self.folder.glob("*.npz"):
            with suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime_ns, stat.st_size, path.stem))
        total = sum(size for _, size, _ in found)
        for _, size, key in sorted(found):
            if total <= self.budget:
                return
            self._remove(key)
            total -= size
