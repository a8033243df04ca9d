"""What is in a file, from its headers: for a look before it is opened, and for choices that the file leaves open."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stem4d_panel.errors import DataError
from stem4d_panel.scan.memory import estimate
from stem4d_panel.scan.readers import (
    Candidate,
    check_place,
    listed,
    open_scan,
    opening_settings,
    reader_kind,
    reader_of,
    shown,
)
from stem4d_panel.scan.stack import Folding, Guess, guess_shapes
from stem4d_panel.settings import Settings

if TYPE_CHECKING:
    from stem4d_panel.settings import DataSettings


def open_frames(
    path: str | Path, dataset: str | None = None, settings: DataSettings | None = None, root: Path | None = None
) -> tuple[Any, list[Guess]]:
    """The frames of a file that does not say its scan shape, lazily, and the shapes that they could have.

    A file must lie in `root`, if one is given, wherever links lead.

    Returns
    -------
    frames : array-like, shape (frames, ky, kx)
        For `frame_sums_steps`.
    guesses : list of Guess
        The most plausible first.

    Raises
    ------
    DataError
        If the file cannot be read, or lies outside `root`, or holds no stack of frames, or several without `dataset`.
    """
    path, how = Path(path), opening_settings(settings, None)
    kind, before = reader_kind(path, how)
    check_place(path, before, root)
    reader = reader_of(kind)
    stacks = [c for c in reader.listing(path, how)[1] if len(c.shape) == 3 and c.real and dataset in (None, c.path)]
    if len(stacks) != 1:
        raise DataError(f"{shown(path.name)}: has {len(stacks)} stacks of frames: {listed(stacks)}")
    stack = stacks[0]
    opened = reader.read(path, stack.path or None, opening_settings(how, (1, stack.frames)))
    check_place(path, opened.status or before, root)
    return opened.data, guess_shapes(stack.frames, stack.per_row)


@dataclass(frozen=True)
class Contents:
    """What is in a file: its name, size and format, and its arrays with more than one axis, or all where none has.

    `identity` is a digest of name, size and time, by which a file is known again.
    """

    name: str
    bytes_on_disk: int
    form: str
    arrays: tuple[Candidate, ...]
    identity: str

    @property
    def is_result(self) -> bool:
        """Whether it is a saved result."""
        return self.form.startswith("stem4d_panel")

    @property
    def scans(self) -> list[Candidate]:
        """The arrays of real numbers with four axes."""
        return [c for c in self.arrays if c.fits(Folding())]

    @property
    def stacks(self) -> list[Candidate]:
        """The stacks of frames, which need a scan shape."""
        return [c for c in self.arrays if len(c.shape) == 3 and c.real]


def contents(path: str | Path, settings: DataSettings | None = None, root: Path | None = None) -> Contents:
    """What is in a file, from its headers.

    Parameters
    ----------
    path : str or Path
    settings : DataSettings, optional
        What the file does not say itself.
    root : Path, optional
        Folder that the file may not lie outside of, wherever links lead.

    Raises
    ------
    DataError
        If the file cannot be read, or lies outside `root`.
    SettingError
        If a setting is wanted to read it.
    """
    path, how = Path(path), opening_settings(settings, None)
    kind, before = reader_kind(path, how)
    check_place(path, before, root)
    form, found = reader_of(kind).listing(path, how)
    check_place(path, before, root)
    wide = [c for c in found if len(c.shape) > 1] or found
    known = repr((path.name, before.st_size, before.st_mtime_ns))
    return Contents(
        shown(path.name),
        sum(f.stat().st_size for f in _parts(path)),
        form,
        tuple(wide),
        hashlib.sha256(known.encode(errors="surrogateescape")).hexdigest()[:24],
    )


def info(
    path: str | Path,
    dataset: str | None = None,
    scan_shape: tuple[int, int] | None = None,
    *,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """What is in a file, from its headers: its arrays and, where one of them is or is picked as the scan, its axes.

    Returns
    -------
    dict
        ``name, bytes_on_disk, format, datasets``; of the scan, what `Scan.info` gives and, under ``memory``, what its
        analysis needs; of a stack of frames, under ``scan_shapes``, what it could be.

    Raises
    ------
    DataError
        If the file cannot be read, or `dataset` is not in it.
    """
    path, settings = Path(path), settings or Settings.make()
    how = opening_settings(settings.data, scan_shape)
    held = contents(path, how)
    about: dict[str, Any] = {
        "name": held.name,
        "bytes_on_disk": held.bytes_on_disk,
        "format": held.form,
        "datasets": [
            {"path": c.path, "shape": list(c.shape), "dtype": c.dtype, "stored": c.stored} for c in held.arrays
        ],
    }
    fitting = sum(c.fits(Folding.of(how)) for c in held.arrays)
    stacks = held.stacks
    if dataset is not None or (fitting == 1 and not held.is_result):
        scan = open_scan(path, dataset, settings=how)
        about |= {**scan.info(), "memory": estimate(scan.shape, scan.dtype, settings).as_dict()}
    elif not fitting and len(stacks) == 1 and how.scan_shape is None:
        about["scan_shapes"] = [str(g) for g in guess_shapes(stacks[0].frames, stacks[0].per_row)]
    return about


def _parts(path: Path) -> list[Path]:
    return [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]
