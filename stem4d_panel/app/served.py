"""The folder that is served: what of it may be seen and opened, wherever links lead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from stem4d_panel.errors import DataError
from stem4d_panel.scan.plain import PICTURES
from stem4d_panel.scan.readers import HDF5_ENDINGS, shown

_ENDINGS = {
    *HDF5_ENDINGS, ".ali", ".bin", ".blo", ".dat", ".dm3", ".dm4", ".emi", ".mib", ".mrc", ".mrcz", ".npy", ".npz", ".prz",
    ".raw", ".rpl", ".ser", ".tif", ".tiff", ".tvips", ".xml", ".zspy",
}  # fmt: skip
_LOOKED_AT = 20_000  # entries of a folder


class Entry(NamedTuple):
    """Something in a folder that can be entered or opened; the pictures of a folder are opened together."""

    kind: Literal["folder", "pictures", "file"]
    name: str


class Served:
    """A folder and all below it.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def inside(self, path: Path) -> Path:
        """A path resolved.

        Raises
        ------
        DataError
            If it lies outside of the folder, or is not there.
        """
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a null character
            raise DataError(f"{shown(path.name)}: no such file or folder") from error
        if not real.is_relative_to(self.root):
            raise DataError(f"{shown(path.name)}: lies outside the folder that is served")
        return real

    def entries(self, folder: Path) -> list[Entry]:
        """What can be entered or opened in a folder: folders, then its pictures as one scan, then files, by name.

        Raises
        ------
        DataError
            If the folder lies outside, or cannot be read.
        """
        real = self.inside(folder)
        try:
            with os.scandir(real) as found:
                entries = {e for item in islice(found, _LOOKED_AT) for e in self._entries(item)}
        except OSError as error:
            raise DataError(f"{shown(folder.name)}: cannot be read: {error.strerror or error}") from error
        if self.inside(folder) != real:  # another has taken its place while it was read
            raise DataError(f"{shown(folder.name)}: changed while it was read")
        order = ("folder", "pictures", "file")
        return sorted(entries, key=lambda e: (order.index(e.kind), e.name.casefold(), e.name))

    def _entries(self, item: os.DirEntry[str]) -> Iterator[Entry]:
        if item.name.startswith("."):
            return
        ending = os.path.splitext(item.name)[1].lower()
        try:
            if item.is_symlink():
                self.inside(Path(item.path))
            elif ending in PICTURES and item.is_file():
                yield Entry("pictures", "")
            if item.is_dir() and ending != ".zspy":
                yield Entry("folder", item.name)
            elif ending in _ENDINGS and (item.is_file() or item.is_dir()):
                yield Entry("file", item.name)
        except (OSError, DataError):  # what cannot be seen is not shown
            return
