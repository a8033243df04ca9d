"""HDF5 files of any program: HyperSpy, py4DSTEM (EMD 1.0), older EMD, NeXus, and plain datasets.

Links are looked at before they are followed: an external link, a virtual dataset or external storage could read any file
that its reader can, so they are refused unless the user allows those that stay in the folder.
"""

from __future__ import annotations

import math
import mmap
import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import hdf5plugin  # noqa: F401  (registers the compression filters)
import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.scan.hdf5_axes import described, is_reversed, turned
from stem4d_panel.scan.hdf5_paths import at_path, attribute, find_known, find_object, link_type, name_bytes, split
from stem4d_panel.scan.linked import Linked, LinkedError, name_text
from stem4d_panel.scan.readers import Candidate, Opened, check, damage, first_line, select, shown
from stem4d_panel.scan.stack import Folding
from stem4d_panel.scan.write import read_truth

if TYPE_CHECKING:
    from stem4d_panel.settings import DataSettings

OBJECTS = 10_000  # links looked at before a file is given up
CHUNK_CACHE = 64 * 2**20
SLOW_GZIP = 256 * 2**20
_FILTERS = {
    1: "gzip",
    2: "shuffle",
    3: "checksums",
    4: "szip",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32015: "zstd",
}


def listing(path: Path, settings: DataSettings) -> tuple[str, list[Candidate]]:
    """The format by name, and every dataset with at least one axis.

    Raises
    ------
    DataError
        If the file is damaged, has parts in other files that are not allowed, or more than 10,000 objects.
    """
    linked = Linked(path, settings.linked == "folder")
    with closing(linked), _open(path) as file, damage(path):
        return _format(file), _datasets(file, path, linked)


def read(path: Path, dataset: str | None, settings: DataSettings) -> Opened:
    """Open the scan of a file; the file stays open for as long as its dataset is in use.

    Raises
    ------
    DataError
        If the file is damaged, linked to others that are not allowed, a result, or does not hold one scan.
    """
    file, linked = _open(path), Linked(path, settings.linked == "folder")
    try:
        with damage(path):
            if _is_result(file):
                raise DataError(f"{shown(path.name)}: is a result of stem4d_panel, not a scan")
            data, where = _pick(file, path, dataset, Folding.of(settings), linked)
            _check_filters(data, path)
            axes, instrument = described(data.file, data.name or where, data)
            values, notes = linked.mapped(data) if data.external else _in_place(data), _warnings(data)
            if is_reversed(axes):
                values, axes = turned(values), axes[::-1]
                notes.append("stored with its axes in reverse: reading is slow")
            return Opened(
                values,
                axes,
                where,
                instrument,
                notes,
                read_truth(file, data.shape),
                tuple(sorted(linked.parts)),
                _status(file),
            )
    except BaseException:
        linked.close()
        file.close()
        raise


def _open(path: Path) -> Any:
    name = shown(path.name)
    try:
        # a row of chunks should survive until the next row of positions is asked for
        return h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE)
    except (OSError, RuntimeError, ValueError, KeyError, MemoryError) as error:
        text = str(error)
        if isinstance(error, BlockingIOError) or "unable to lock" in text or "already open for write" in text:
            raise DataError(f"{name}: is being written by another program; try again when it has closed it") from error
        eof = re.search(r"\beof = (\d+).*stored_eof = (\d+)", text)
        what = f"{eof[2]} bytes expected, {eof[1]} there" if eof else first_line(error, path)
        raise DataError(f"{name}: truncated or damaged: {what}") from error


def _status(file: Any) -> os.stat_result | None:
    """State of the file that is truly open, whatever its name has come to mean; None where HDF5 does not tell."""
    try:
        return os.fstat(int(file.id.get_vfd_handle()))
    except (RuntimeError, NotImplementedError, TypeError, ValueError, OSError):
        return None


def _is_result(file: Any) -> bool:
    return attribute(file, "creator") == "stem4d_panel" and "stem4d_layout" in file.attrs


def _format(file: Any) -> str:
    if _is_result(file):
        return "stem4d_panel result"
    if attribute(file, "file_format") == "HyperSpy":
        return "HyperSpy"
    if attribute(file, "emd_group_type") == "file":
        return "EMD 1.0 (py4DSTEM)"
    top = [g for key in list(file)[:100] if isinstance(g := find_known(file, name_text(key)), h5py.Group)]
    if any("emd_group_type" in g.attrs or "version_major" in g.attrs for g in [file, *top]):
        return "EMD"
    return "NeXus" if any("NX_class" in g.attrs for g in [file, *top]) else "HDF5"


def _datasets(file: Any, path: Path, linked: Linked) -> list[Candidate]:
    """Every dataset, each link looked at before it is followed; refuses files that have linked parts, unless allowed."""
    found: list[Candidate] = []
    away: list[str] = []
    todo, seen, looked = [("", file)], set(), 0
    while todo:
        where, group = todo.pop()
        for key in map(name_text, group):
            looked += 1
            if looked > OBJECTS:
                raise DataError(f"{shown(path.name)}: holds more than {OBJECTS} objects; name one with --dataset PATH")
            at, link = f"{where}/{key}", link_type(group, key)
            if link == h5py.h5l.TYPE_SOFT:  # what it points to is met under its own name
                continue
            try:
                item = (
                    group[name_bytes(key)]
                    if link == h5py.h5l.TYPE_HARD
                    else at_path(*linked.target(group, name_bytes(key)), linked)
                )
                if isinstance(item, h5py.Dataset):
                    linked.check(item)
            except LinkedError:
                away.append(at)
                continue
            if item is None:
                raise DataError(f"{shown(path.name)}: {shown(at)[:80]} leads to a linked file that does not have it")
            info = h5py.h5o.get_info(item.id)
            if (place := (info.fileno, info.addr)) in seen:
                continue
            seen.add(place)
            if isinstance(item, h5py.Group):
                todo.append((at, item))
            elif isinstance(item, h5py.Dataset) and item.shape:
                found.append(_candidate(at, item))
    if away:
        names = ", ".join(map(shown, away[:3])) + (" …" if len(away) > 3 else "")
        raise DataError(
            f"{shown(path.name)}: has parts in other files ({names[:200]}), which are not read; data.linked=folder allows those in its folder"
        )
    return sorted(found, key=lambda c: c.path)


def _candidate(at: str, item: Any) -> Candidate:
    try:
        dtype = str(item.dtype)
    except (TypeError, ValueError):
        dtype = "unknown type"
    return Candidate(at, tuple(int(n) for n in item.shape), dtype, stored=_stored(item))


def _stored(item: Any) -> str:
    """How the values lie in the file: chunks and filters."""
    if item.is_virtual or item.external:
        return "in other files"
    if item.chunks is None:
        return ""
    plist = item.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(min(plist.get_nfilters(), 8))]
    labels = [
        _FILTERS.get(code) or shown(label.decode(errors="replace"))[:40] or str(code) for code, _, _, label in filters
    ]
    return ", ".join([f"chunks {' × '.join(map(str, item.chunks))}", *labels])


def _pick(file: Any, path: Path, dataset: str | None, folding: Folding, linked: Linked) -> tuple[Any, str]:
    """The dataset that is the scan, and its path; a named one is found without looking at the rest of the file."""
    if dataset is not None:
        try:
            item = find_object(file, dataset, linked)
        except LinkedError:
            raise DataError(
                f"{shown(path.name)}: {shown(dataset)} lies in another file, which is not read; data.linked=folder allows those in its folder"
            ) from None
        if isinstance(item, h5py.Dataset):
            where = "/" + "/".join(split(dataset))
            check(path, _candidate(where, item), folding)
            return item, where
    where = select(path, _datasets(file, path, linked), dataset, folding).path
    return find_object(file, where, linked), where


def _check_filters(data: Any, path: Path) -> None:
    plist = data.id.get_create_plist()
    for i in range(plist.get_nfilters()):
        code, _, _, label = plist.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            label = shown(label.decode(errors="replace"))[:60] or "no name"
            raise DataError(
                f"{shown(path.name)}: {shown(data.name)} is compressed with HDF5 filter {code} ({label}), which is not installed"
            )


def _in_place(data: Any) -> Any:
    """The values of a dataset where they lie in the file, without HDF5's copy of each block; itself if they are not so."""
    start = None if data.chunks or data.is_virtual or data.dtype.kind not in "iuf" else data.id.get_offset()
    if start is None or os.name != "posix":  # never written, or within its header
        return data
    try:
        handle = int(data.file.id.get_vfd_handle())  # the file that is open, whatever its name has come to mean
        if os.fstat(handle).st_size < start + data.nbytes:
            return data
        before = start % mmap.ALLOCATIONGRANULARITY
        there = mmap.mmap(handle, data.nbytes + before, access=mmap.ACCESS_READ, offset=start - before)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, OSError):  # no plain file
        return data
    return np.ndarray(data.shape, data.dtype, there, before)


def _warnings(data: Any) -> list[str]:
    """What will surprise on reading: parts never written, and layouts that make reading slow."""
    if data.is_virtual or data.external:
        return []
    if data.chunks is None:
        return ["the data were never written"] if 0 not in data.shape and data.id.get_storage_size() == 0 else []
    notes = []
    total = math.prod(-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True))
    unwritten = total - data.id.get_num_chunks()
    if unwritten > 0:
        notes.append(f"{unwritten} of {total} chunks unwritten")
    if data.compression == "gzip" and math.prod(data.shape) * data.dtype.itemsize > SLOW_GZIP:
        notes.append("gzip chunks: reading is slow")
    if math.prod(data.chunks[-2:]) * 4 < math.prod(data.shape[-2:]):
        notes.append(f"chunks {data.chunks} cut each pattern into small parts: reading is slow")
    return notes
