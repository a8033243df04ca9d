"""Finding objects and attributes in an HDF5 file, each link looked at before it is followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stem4d_panel.scan.linked import Linked, name_text


def name_bytes(name: str) -> bytes:
    """A name as HDF5 has it."""
    return name.encode(errors="surrogateescape")


def link_type(group: Any, key: str) -> int | None:
    """The type of a link, without following it as h5py's own ``get`` and ``in`` do; None where there is none."""
    if not isinstance(group, h5py.Group) or not group.id.links.exists(name_bytes(key)):
        return None
    return int(group.id.links.get_info(name_bytes(key)).type)


def find_object(file: Any, path: str, linked: Linked) -> Any:
    """The object at a path, or None; leaves the file only where that is allowed.

    Raises
    ------
    LinkedError
        If the path leads into another file, and that is not allowed.
    DataError
        If it leads to one that is missing or outside the folder.
    """
    item = at_path(file, path, linked)
    if isinstance(item, h5py.Dataset):
        linked.check(item)
    return item


def at_path(file: Any, path: str, linked: Linked) -> Any:
    """As `find_object`, whatever parts the object has."""
    parts, item, jumps = split(path), file, 0
    trail: list[str] = []
    while parts:
        key = parts.pop(0)
        link = link_type(item, key)
        if link is None or jumps > 16:
            return None
        if link == h5py.h5l.TYPE_HARD:
            item = item[name_bytes(key)]
            trail.append(key)
            continue
        jumps += 1
        if link == h5py.h5l.TYPE_SOFT:
            target = name_text(item.id.links.get_val(name_bytes(key)))
            parts = split(target if target.startswith("/") else "/".join([*trail, target])) + parts
        else:
            file, target = linked.target(item, name_bytes(key))
            parts = split(target) + parts
        item, trail = file, []
    return item


def split(path: str) -> list[str]:
    """The names in a path."""
    return [part for part in path.split("/") if part not in ("", ".")]


def find_known(file: Any, path: str) -> Any:
    """As `find_object`, but None for what is linked or damaged: metadata are never worth a refusal."""
    try:
        return find_object(file, path, Linked(Path(file.file.filename), allowed=False))
    except (LookupError, OSError, RuntimeError, ValueError, TypeError):
        return None


def attribute(item: Any, key: str) -> Any:
    """One string or number from the attributes of an object, None where there is none."""
    try:
        return _plain(item.attrs[key])
    except (AttributeError, LookupError, OSError, RuntimeError, ValueError, TypeError):
        return None


def value_of(group: Any, key: str) -> Any:
    """One string or number from a dataset in a group, None where there is none."""
    item = find_known(group, key)
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
