"""HDF5 files of any program: HyperSpy, py4DSTEM (EMD 1.0), older EMD, NeXus, and plain datasets.

Links are looked at before they are followed, and only what lies in the file itself is opened: an external link, a
virtual dataset or external storage could read any file that its reader can.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import h5py
import hdf5plugin  # noqa: F401  (registers the compression filters)
import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.scan.readers import Candidate, Opened, RawAxis, check, damage, first_line, select, shown
from stem4d_panel.scan.units import to_house_units
from stem4d_panel.scan.write import read_truth

if TYPE_CHECKING:
    from pathlib import Path

OBJECTS = 10_000  # links looked at before a file is given up
CHUNK_CACHE = 64 * 2**20
SLOW_GZIP = 256 * 2**20
_LONGEST_AXIS = 2**16


class _LinkedError(LookupError):
    """A path leaves the file."""


def listing(path: Path) -> tuple[str, list[Candidate]]:
    """The format by name, and every dataset with at least one axis.

    Raises
    ------
    DataError
        If the file is damaged, has parts in other files, or more than 10,000 objects.
    """
    with _open(path) as file, damage(path):
        return _format(file), _datasets(file, path)


def read(path: Path, dataset: str | None, scan_shape: tuple[int, int] | None) -> Opened:
    """Open the scan of a file; the file stays open for as long as its dataset is in use.

    Raises
    ------
    DataError
        If the file is damaged, linked to others, a result, or does not hold one scan.
    """
    file = _open(path)
    try:
        with damage(path):
            if _is_result(file):
                raise DataError(f"{shown(path.name)}: is a result of stem4d_panel, not a scan")
            data, where = _pick(file, path, dataset, scan_shape)
            _check_filters(data, path)
            axes, instrument = _described(file, where, data)
            return Opened(data, axes, where, instrument, _warnings(data), read_truth(file, data.shape))
    except BaseException:
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


def _is_result(file: Any) -> bool:
    return _attr(file, "creator") == "stem4d_panel" and "stem4d_layout" in file.attrs


def _format(file: Any) -> str:
    if _is_result(file):
        return "stem4d_panel result"
    if _attr(file, "file_format") == "HyperSpy":
        return "HyperSpy"
    if _attr(file, "emd_group_type") == "file":
        return "EMD 1.0 (py4DSTEM)"
    top = [g for key in list(file)[:100] if isinstance(g := _known(file, _text(key)), h5py.Group)]
    if any("emd_group_type" in g.attrs or "version_major" in g.attrs for g in [file, *top]):
        return "EMD"
    return "NeXus" if any("NX_class" in g.attrs for g in [file, *top]) else "HDF5"


def _datasets(file: Any, path: Path) -> list[Candidate]:
    """Every dataset that lies in the file, found without following a link; refuses files that have linked parts."""
    found: list[Candidate] = []
    linked: list[str] = []
    todo, seen, looked = [("", file)], set(), 0
    while todo:
        where, group = todo.pop()
        for key in map(_text, group):
            looked += 1
            if looked > OBJECTS:
                raise DataError(f"{shown(path.name)}: holds more than {OBJECTS} objects; name one with --dataset PATH")
            at, link = f"{where}/{key}", _link(group, key)
            if link == h5py.h5l.TYPE_SOFT:  # what it points to is met under its own name
                continue
            item = group[_raw(key)] if link == h5py.h5l.TYPE_HARD else None
            if item is None or (isinstance(item, h5py.Dataset) and (item.is_virtual or item.external)):
                linked.append(at)
            elif (place := h5py.h5o.get_info(item.id).addr) in seen:
                continue
            else:
                seen.add(place)
                if isinstance(item, h5py.Group):
                    todo.append((at, item))
                elif isinstance(item, h5py.Dataset) and item.shape:
                    found.append(_candidate(at, item))
    if linked:
        names = ", ".join(map(shown, linked[:3])) + (" …" if len(linked) > 3 else "")
        raise DataError(f"{shown(path.name)}: has parts in other files ({names[:200]}), which are not read")
    return sorted(found, key=lambda c: c.path)


def _candidate(at: str, item: Any) -> Candidate:
    try:
        dtype = str(item.dtype)
    except (TypeError, ValueError):
        dtype = "unknown type"
    return Candidate(at, tuple(int(n) for n in item.shape), dtype)


def _text(name: str | bytes) -> str:
    """A name as text; h5py hands over bytes where a name is not UTF-8."""
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else name


def _raw(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _link(group: Any, key: str) -> int | None:
    """The type of a link, without following it as h5py's own ``get`` and ``in`` do; None where there is none."""
    if not isinstance(group, h5py.Group) or not group.id.links.exists(_raw(key)):
        return None
    return int(group.id.links.get_info(_raw(key)).type)


def _find(file: Any, path: str) -> Any:
    """The object at a path, or None; never leaves the file.

    Raises
    ------
    _LinkedError
        If the path leads through an external link.
    """
    parts, item, jumps = _split(path), file, 0
    trail: list[str] = []
    while parts:
        key = parts.pop(0)
        link = _link(item, key)
        if link is None or jumps > 16:
            return None
        if link == h5py.h5l.TYPE_SOFT:
            jumps += 1
            target = _text(item.id.links.get_val(_raw(key)))
            parts = _split(target if target.startswith("/") else "/".join([*trail, target])) + parts
            item, trail = file, []
        elif link == h5py.h5l.TYPE_HARD:
            item = item[_raw(key)]
            trail.append(key)
        else:
            raise _LinkedError(path)
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        raise _LinkedError(path)
    return item


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _known(file: Any, path: str) -> Any:
    """As `_find`, but None for what is linked or damaged: metadata are never worth a refusal."""
    try:
        return _find(file, path)
    except (LookupError, OSError, RuntimeError, ValueError, TypeError):
        return None


def _pick(file: Any, path: Path, dataset: str | None, scan_shape: tuple[int, int] | None) -> tuple[Any, str]:
    """The dataset that is the scan, and its path; a named one is found without looking at the rest of the file."""
    if dataset is not None:
        try:
            item = _find(file, dataset)
        except _LinkedError:
            raise DataError(f"{shown(path.name)}: {shown(dataset)} lies in another file, which is not read") from None
        if isinstance(item, h5py.Dataset):
            where = "/" + "/".join(_split(dataset))
            check(path, _candidate(where, item), scan_shape)
            return item, where
    where = select(path, _datasets(file, path), dataset, scan_shape).path
    return _find(file, where), where


def _check_filters(data: Any, path: Path) -> None:
    plist = data.id.get_create_plist()
    for i in range(plist.get_nfilters()):
        code, _, _, label = plist.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            label = shown(label.decode(errors="replace"))[:60] or "no name"
            raise DataError(
                f"{shown(path.name)}: {shown(data.name)} is compressed with HDF5 filter {code} ({label}), which is not installed"
            )


def _warnings(data: Any) -> list[str]:
    """What will surprise on reading: parts never written, and layouts that make reading slow."""
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


def _described(file: Any, where: str, data: Any) -> tuple[list[RawAxis], dict[str, Any]]:
    """Axes and instrument by the layout that stands around the dataset; nothing where it stands alone."""
    group = where.rpartition("/")[0]
    if _known(file, f"{group}/axis-0") is not None:
        tem = _known(file, f"{group}/metadata/Acquisition_instrument/TEM")
        axes = [_hyperspy_axis(_known(file, f"{group}/axis-{i}")) for i in range(data.ndim)]
        return axes, {"voltage": _attr(tem, "beam_energy"), "convergence": _attr(tem, "convergence_angle")}
    first = 0 if _known(file, f"{group}/dim0") is not None else 1
    axes = [_emd_axis(_known(file, f"{group}/dim{i + first}"), n) for i, n in enumerate(data.shape)]
    calibration = _calibration(file, group)
    if calibration is None:
        return axes, {}
    steps = {
        key: _value(calibration, key) for key in ("R_pixel_size", "R_pixel_units", "Q_pixel_size", "Q_pixel_units")
    }
    spaces = ["R"] * (data.ndim - 2) + ["Q"] * 2
    axes = [
        _recalibrated(raw, steps[f"{s}_pixel_size"], steps[f"{s}_pixel_units"], s)
        for raw, s in zip(axes, spaces, strict=True)
    ]
    return axes, {"convergence": _value(calibration, "convergence_semiangle_mrad")}


def _hyperspy_axis(group: Any) -> RawAxis:
    return RawAxis(_attr(group, "scale"), _attr(group, "offset"), _attr(group, "units"))


def _emd_axis(dim: Any, size: int) -> RawAxis:
    """From a vector of positions, or of the first two of them, as emdfile shortens it."""
    if not isinstance(dim, h5py.Dataset) or dim.ndim != 1 or dim.dtype.kind not in "iuf":
        return RawAxis()
    if dim.size not in (2, size) or not 2 <= dim.size <= _LONGEST_AXIS:
        return RawAxis()
    values = dim[()].astype(float)
    step = (values[-1] - values[0]) / (values.size - 1)
    if not np.allclose(np.diff(values), step, rtol=0.01, atol=0):
        return RawAxis()
    return RawAxis(step, values[0], _attr(dim, "units"))


def _calibration(file: Any, group: str) -> Any:
    """py4DSTEM's calibration of the nearest group that has one."""
    while group:
        found = _known(file, f"{group}/metadatabundle/calibration")
        if isinstance(found, h5py.Group):
            return found
        group = group.rpartition("/")[0]
    return None


def _recalibrated(raw: RawAxis, size: Any, units: Any, space: str) -> RawAxis:
    """The calibration group's step where it has a usable one, as py4DSTEM takes it, else what the axis says."""
    usable = isinstance(size, (int, float)) and math.isfinite(size) and size > 0
    unit, _ = to_house_units(units, "real" if space == "R" else "reciprocal")
    return RawAxis(size, raw.offset, units) if usable and unit != "px" else raw


def _attr(item: Any, key: str) -> Any:
    try:
        return _plain(item.attrs[key])
    except (AttributeError, LookupError, OSError, RuntimeError, ValueError, TypeError):
        return None


def _value(group: Any, key: str) -> Any:
    item = _known(group, key)
    try:
        return _plain(item[()]) if isinstance(item, h5py.Dataset) and item.size == 1 else None
    except (OSError, RuntimeError, ValueError, TypeError):
        return None


def _plain(value: Any) -> Any:
    """One string or number, whatever array it was wrapped in; None for more than one."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.item() if value.size == 1 else None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value[:200]
    return value if isinstance(value, int | float) else None
