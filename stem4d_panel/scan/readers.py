"""Opening a scan: which reader a file goes to, which of its arrays is the scan, and what its axes are.

The content decides before the ending does: every HDF5 file goes to `hdf5`; NumPy's files, raw binaries and folders of
pictures to `plain`; all else to `vendor`. Nothing here reads the data themselves, and every refusal is one line that starts
with the file's name.
"""

from __future__ import annotations

import ast
import math
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.scan.scan import Axis, Scan, Source
from stem4d_panel.scan.stack import Folding, guess_shapes
from stem4d_panel.scan.units import to_house_units
from stem4d_panel.settings import DataSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stem4d_panel.scan.truth import Truth

HDF5_ENDINGS = (".h5", ".hdf5", ".hspy", ".emd", ".nxs", ".nx5", ".he5", ".de5", ".app5", ".py4dstem")
_RAW_ENDINGS = (".raw", ".bin", ".dat")
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LISTED = 8  # datasets named in a message
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


@dataclass(frozen=True)
class Candidate:
    """An array found in a file: its path inside, its shape, its data type by name, and what else the header tells.

    `per_row` is the number of frames a row of the scan, `stored` how the values lie in the file.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    per_row: int | None = None
    stored: str = ""

    def __str__(self) -> str:
        return f"{shown(self.path)} {self.shape} {shown(self.dtype)[:60]}".strip()

    @property
    def real(self) -> bool:
        """Whether the values are real numbers."""
        try:
            return np.dtype(self.dtype).kind in "biuf"
        except TypeError:  # the name of a structured type is no type
            return False

    @property
    def frames(self) -> int:
        """How many frames it has, if its last two axes are the detector."""
        return math.prod(self.shape[:-2])

    def fits(self, folding: Folding) -> bool:
        """Whether it can be a scan: four axes of real numbers, or the frames of a stated scan shape."""
        if folding.shape is not None and len(self.shape) in (3, 4):
            return self.real and folding.fills(self.frames)
        return self.real and len(self.shape) == 4


class RawAxis(NamedTuple):
    """Scale, offset and units of an axis as the file has them."""

    scale: Any = None
    offset: Any = 0.0
    units: Any = None


@dataclass(frozen=True)
class Opened:
    """What a reader hands over: the lazy array and, in the order of its axes, what the file says of them."""

    data: Any
    axes: Sequence[RawAxis]
    dataset: str | None = None
    instrument: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    truth: Truth | None = None
    parts: Sequence[Path] = ()  # other files that the data lie in
    status: os.stat_result | None = None  # of the open file, where it is known


def open_scan(
    path: str | Path,
    dataset: str | None = None,
    scan_shape: tuple[int, int] | None = None,
    *,
    settings: DataSettings | None = None,
    root: Path | None = None,
) -> Scan:
    """Open a scan without reading its data.

    Parameters
    ----------
    path : str or Path
        Any HDF5 file, ``.npy`` or ``.npz``, a raw binary, a folder of pictures, or a format that RosettaSciIO reads.
    dataset : str, optional
        Which array inside the file, where it has several.
    scan_shape : tuple of int, optional
        Positions (y, x) into which a stack of frames is folded; goes before that of the settings.
    settings : DataSettings, optional
        What the file does not say itself.
    root : Path, optional
        Folder that the file may not lie outside of, wherever links lead.

    Returns
    -------
    Scan
        With `data` of shape (y, x, ky, kx): an h5py dataset of a file kept open, a memory map, or a Dask array.

    Raises
    ------
    DataError
        If the file is not there, is damaged, or holds no scan, or several without `dataset`.
    SettingError
        If a setting is wanted to open it, or does not fit.
    """
    path, how = Path(path), opening_settings(settings, scan_shape)
    kind, before = reader_kind(path, how)
    name = shown(path.name or str(path))
    check_place(path, before, root)
    opened = reader_of(kind).read(path, dataset, how)
    check_place(path, opened.status or before, root)
    data, left_out = Folding.of(how).fold(opened.data, name)
    raw = list(opened.axes)
    raw = [*(raw[:2] if len(raw) == 4 else [RawAxis()] * 2), *raw[-2:]]
    axes, notes = _axes(raw, data.shape)
    instrument = {key: number for key, value in opened.instrument.items() if (number := _positive(value)) is not None}
    source = Source.of(path, opened.dataset, opened.parts, repr(how.as_dict()))
    return Scan(data, axes, name, source, instrument, (*notes, *left_out, *opened.warnings), opened.truth)


def opening_settings(settings: DataSettings | None, scan_shape: tuple[int, int] | None) -> DataSettings:
    """The settings with a scan shape that goes before their own.

    Raises
    ------
    SettingError
        If it is none.
    """
    how = settings or DataSettings()
    if scan_shape is None:
        return how
    return Settings.make({f"data.{n}": v for n, v in how.as_dict().items()} | {"data.scan_shape": scan_shape}).data


def check_place(path: Path, opened: os.stat_result, root: Path | None) -> None:
    """Refuse a file that lies outside `root`, wherever links lead, or that another has taken the place of.

    Raises
    ------
    DataError
        If it does, or is another than the one whose state when opened is given.
    """
    name = shown(path.name or str(path))
    try:
        real = path.resolve(strict=True)
        now = real.stat()
    except (OSError, RuntimeError) as error:
        raise DataError(f"{name}: changed while it was opened") from error
    if root is not None and not real.is_relative_to(root.resolve()):
        raise DataError(f"{name}: lies outside the folder that is served")
    # the time of change tells of a file that was moved away and has come back
    if (now.st_dev, now.st_ino, now.st_ctime_ns) != (opened.st_dev, opened.st_ino, opened.st_ctime_ns):
        raise DataError(f"{name}: changed while it was opened")


def select(path: Path, found: Sequence[Candidate], dataset: str | None, folding: Folding) -> Candidate:
    """The one array that is the scan.

    Raises
    ------
    DataError
        If none is, or several are and `dataset` names none of them.
    """
    name = shown(path.name)
    fitting = [c for c in found if c.fits(folding)]
    if dataset is not None:
        picked = [c for c in found if c.path.strip("/") == dataset.strip("/")]
        if not picked:
            raise DataError(f"{name}: has no dataset {shown(dataset)!r}; --dataset takes {listed(fitting or found)}")
        check(path, picked[0], folding)
        return picked[0]
    if len(fitting) > 1:  # an empty array is no scan beside a full one
        fitting = [c for c in fitting if 0 not in c.shape] or fitting
    if len(fitting) > 1:
        raise DataError(f"{name}: has {len(fitting)} scans: {listed(fitting)}; pick one with --dataset PATH")
    if fitting:
        return fitting[0]
    likely = [c for c in found if len(c.shape) == 4] or [c for c in found if len(c.shape) == 3 and c.real]
    if len(likely) == 1:
        check(path, likely[0], folding)
    wide = [c for c in found if len(c.shape) > 1] or list(found)
    hint = "; frames need data.scan_shape" if folding.shape is None and any(len(c.shape) == 3 for c in found) else ""
    raise DataError(f"{name}: has no scan of four axes; it holds {listed(wide)}{hint}")


def check(path: Path, picked: Candidate, folding: Folding) -> None:
    """Refuse an array that cannot be a scan, saying why.

    Raises
    ------
    DataError
        If it is not of real numbers, or has not four axes or the frames of the stated scan shape.
    """
    if picked.fits(folding):
        return
    name, where = shown(path.name), f" in {shown(picked.path)}" if picked.path else ""
    axes = len(picked.shape)
    if not picked.real:
        raise DataError(f"{name}: {shown(picked.path)} {picked.shape} is {shown(picked.dtype)[:60]}, not real numbers")
    if axes not in (3, 4) or (axes == 4 and folding.shape is None):
        raise DataError(f"{name}: has {axes} axes {picked.shape}{where}; a scan has four (y, x, ky, kx)")
    guesses = guess_shapes(picked.frames, picked.per_row)
    takes = f"data.scan_shape takes {' or '.join(map(str, guesses))}" if guesses else "there is none"
    if folding.shape is None:
        raise DataError(f"{name}: frames {picked.shape}{where} without a scan shape; {takes}")
    raise DataError(f"{name}: {picked.frames} frames{where} {folding.refusal(picked.frames)}; {takes}")


def shown(text: str) -> str:
    """A name from outside made harmless for one line of a terminal: what does not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def first_line(error: BaseException, path: Path) -> str:
    """The first line of an exception, at most 200 characters, without the folder of the file."""
    text = str(error).strip() or type(error).__name__
    for folder in {str(path.parent), str(path.parent.absolute()), str(path.parent.resolve())} - {"."}:
        text = text.replace(folder.rstrip(os.sep) + os.sep, "")
    return shown(text.splitlines()[0])[:200]


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what a library raises on a damaged file into a DataError."""
    try:
        yield
    except DataError:
        raise
    except _DAMAGE as error:
        raise DataError(f"{shown(path.name)}: truncated or damaged: {first_line(error, path)}") from error


def listed(found: Sequence[Candidate]) -> str:
    """The first few arrays in words."""
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(map(str, found[:_LISTED])) + more or "no dataset"


def reader_of(kind: str) -> Any:
    """The module that reads a kind of file, imported when first wanted."""
    return import_module(f"stem4d_panel.scan.{kind}")


def reopen(source: Source) -> Scan:
    """The scan that a source names, opened as it was, by this or another process.

    Raises
    ------
    DataError, SettingError
        As `open_scan`.
    """
    how = Settings.make({f"data.{name}": value for name, value in ast.literal_eval(source.how).items()}).data
    return open_scan(source.path, source.dataset, settings=how)


def reader_kind(path: Path, how: DataSettings) -> tuple[str, os.stat_result]:
    """The module that reads a file, by content first, and the file's state; refuses what is no readable regular file."""
    name, ending = shown(path.name or str(path)), path.suffix.lower()
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _folder_kind(path, ending), status
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{name}: is not a regular file")
        status, signed = _look(path)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except DataError:  # a ValueError too
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if status.st_size == 0:
        raise DataError(f"{name}: is empty")
    if signed:
        return "hdf5", status
    if ending in HDF5_ENDINGS:
        raise DataError(f"{name}: not an HDF5 file")
    plain = ending in (".npy", ".npz") or ending in _RAW_ENDINGS or how.detector_shape is not None
    return "plain" if plain else "vendor", status


def is_hdf5(path: Path) -> bool:
    """Whether a readable regular file begins as one of HDF5."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and _look(path)[1]
    except (OSError, ValueError):
        return False


def _folder_kind(path: Path, ending: str) -> str:
    """The module that reads a folder."""
    if ending == ".zspy":
        return "vendor"
    from stem4d_panel.scan.plain import has_pictures

    if not has_pictures(path):
        raise DataError(f"{shown(path.name)}: is a directory, not a file, and has no pictures (.png, .tif)")
    return "plain"


def _look(path: Path) -> tuple[os.stat_result, bool]:
    """State of a regular file, and whether an HDF5 signature stands where the format allows one."""
    # a pipe put in the file's place since it was looked at must not block
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{shown(path.name)}: is not a regular file")
        at = 0
        while at < status.st_size:
            file.seek(at)
            if file.read(8) == _HDF5_SIGNATURE:
                return status, True
            at = at * 2 or 512
    return status, False


def _axes(raw: Sequence[RawAxis], shape: Sequence[int]) -> tuple[tuple[Axis, Axis, Axis, Axis], list[str]]:
    """The axes in house units, and a note for each space whose calibration could not be used."""
    y, x, ky, kx = (Axis.from_file(n, s, *r) for n, s, r in zip(("y", "x", "ky", "kx"), shape, raw, strict=True))
    notes = [_note("scan", raw[i]) for i, axis in ((0, y), (1, x)) if axis.origin == "none"]
    notes += [_note("detector", raw[i]) for i, axis in ((2, ky), (3, kx)) if axis.origin == "none"]
    return (y, x, ky, kx), [note for note in dict.fromkeys(notes) if note]


def _note(space: str, raw: RawAxis) -> str:
    """Why a calibration that the file does give is not used; empty where it gives none."""
    units = str(raw.units or "").strip()
    if not units or "undefined" in units.lower() or "pixel" in units.lower() or units == "px":
        return ""
    text = f"calibration: {space} in {shown(units)[:40]}"
    if to_house_units(units, "real" if space == "scan" else "reciprocal")[0] != "px":
        return f"calibration: {space} step {raw.scale} {shown(units)[:40]} cannot be used; shown in pixels"
    if space == "detector" and to_house_units(units, "real")[0] == "nm":
        return text + (
            ", a camera length; shown in pixels" if units in ("m", "cm", "mm") else ", a length; shown in pixels"
        )
    return text + "; shown in pixels"


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
