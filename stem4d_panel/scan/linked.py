"""Parts of an HDF5 file that lie in other files: external links, virtual datasets and external storage.

HDF5 follows them silently, wherever they lead, and returns fill values for a source that is not there. Here they are
read only if the user allows it, from the folder of the file and below, and a missing source is an error.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.scan.readers import shown


class LinkedError(LookupError):
    """A path leaves the file, and that is not allowed."""


class Linked:
    """What a file may read of others.

    Parameters
    ----------
    path : Path
        The file.
    allowed : bool
        Whether files in its folder and below may be read.
    """

    def __init__(self, path: Path, allowed: bool) -> None:
        self.allowed = allowed
        self.parts: set[Path] = set()  # files that were found to be part of it
        self._path, self._root = path, path.parent.resolve()
        self._open: dict[Path, Any] = {}

    def close(self) -> None:
        """Close what was opened and is not in use."""
        for file in self._open.values():
            file.close()

    def target(self, group: Any, key: bytes) -> tuple[Any, str]:
        """The file to which an external link leads, opened, and the path in it.

        Raises
        ------
        LinkedError
            If that is not allowed.
        DataError
            If the file is missing, no HDF5 file, or outside the folder.
        """
        if not self.allowed:
            raise LinkedError(key)
        name, inside = group.id.links.get_val(key)
        return self._file(self._inside(name_text(name), Path(group.file.filename))), name_text(inside)

    def check(self, item: Any) -> None:
        """Refuse a dataset with parts that are not allowed or not there.

        Raises
        ------
        LinkedError
            If it has parts in other files, and that is not allowed.
        DataError
            If a part is missing, is itself linked, or lies outside the folder.
        """
        if not (item.is_virtual or item.external):
            return
        if not self.allowed:
            raise LinkedError(item.name)
        for source in item.virtual_sources() if item.is_virtual else ():
            self._check_source(source.file_name, source.dset_name, item)
        if item.external:
            self._storage(item)

    def mapped(self, item: Any) -> Any:
        """The values of external storage, which HDF5 would seek where the program was started."""
        path, start = self._storage(item)
        return np.memmap(path, item.dtype, "r", start, item.shape)

    def _storage(self, item: Any) -> tuple[Path, int]:
        """The one file of external storage, and where the values begin in it."""
        name = f"{shown(self._path.name)}: {shown(item.name)}"
        if len(item.external) > 1:
            raise DataError(f"{name} is spread over {len(item.external)} files, which is not read")
        other, start, _ = item.external[0]
        path = self._inside(os.fsdecode(other), Path(item.file.filename))
        if path.stat().st_size < start + item.nbytes:
            raise DataError(
                f"{name} needs {start + item.nbytes} bytes of {shown(path.name)}, which has {path.stat().st_size}"
            )
        return path, int(start)

    def _check_source(self, name: str, dataset: str, item: Any) -> None:
        home = Path(item.file.filename)
        if "%" in name or "%" in dataset:  # HDF5 puts numbers there and passes over files that are not there
            raise DataError(f"{shown(self._path.name)}: {shown(item.name)} numbers its sources, which is not read")
        file = item.file if name == "." else self._file(self._inside(name, home))
        group, what = file, f"source {shown(dataset)[:80]} in {shown(Path(file.filename).name)}"
        for part in filter(None, dataset.split("/")):
            raw = part.encode(errors="surrogateescape")
            there = isinstance(group, h5py.Group) and group.id.links.exists(raw)
            if not there or group.id.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise DataError(f"{shown(self._path.name)}: {what} is missing or itself linked")
            group = group[raw]
        if not isinstance(group, h5py.Dataset) or group.is_virtual or group.external:
            raise DataError(f"{shown(self._path.name)}: {what} is missing or itself linked")

    def _inside(self, name: str, home: Path) -> Path:
        """A file by the name that a link has for it, seen from the file that has the link."""
        short = f"{shown(self._path.name)}: linked file {shown(Path(name).name)[:80]}"
        try:
            path = (home.parent / name).resolve(strict=True)
            regular = stat.S_ISREG(path.stat().st_mode)
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"{short} is missing") from error
        if not path.is_relative_to(self._root):
            raise DataError(f"{short} lies outside the folder, and is not read")
        if not regular:
            raise DataError(f"{short} is not a regular file")
        self.parts.add(path)
        return path

    def _file(self, path: Path) -> Any:
        if path not in self._open:
            try:
                self._open[path] = h5py.File(path, "r")
            except (OSError, RuntimeError, ValueError) as error:
                raise DataError(
                    f"{shown(self._path.name)}: linked file {shown(path.name)[:80]} cannot be read"
                ) from error
        return self._open[path]


def name_text(name: str | bytes) -> str:
    """A name as text; h5py hands over bytes where a name is not UTF-8."""
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
