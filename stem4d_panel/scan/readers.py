"""Opening a scan: which reader a file goes to, which of its arrays is the scan, and what its axes are.

The content decides before the ending does: every HDF5 file goes to `hdf5`, all else to
`vendor`. Nothing here reads the data themselves, and every refusal is one line that starts with
the file's name.
"""

from __future__ import annotations

import math
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.scan.scan import BLOCK_BYTES, Axis, Scan, Source
from stem4d_panel.scan.units import to_house_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stem4d_panel.scan.truth import Truth

HDF5_ENDINGS = (".h5", ".hdf5", ".hspy", ".emd", ".nxs", ".nx5", ".he5", ".de5", ".app5", ".py4dstem")
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LISTED = 8  # datasets named in a message
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


@dataclass(frozen=True)
class Candidate:
    """An array found in a file: its path inside, its shape and its data type by name."""

    path: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{shown(self.path)} {self.shape} {shown(self.dtype)[:60]}".strip()

    @property
    def real(self) -> bool:
        """Whether the values are real numbers."""
        try:
            return np.dtype(self.dtype).kind in "biuf"
        except TypeError:  # the name of a structured type is no type
            return False

    def fits(self, scan_shape: tuple[int, int] | None) -> bool:
        """Whether it can be a scan: four axes of real numbers, or as many frames as `scan_shape` has positions."""
        if scan_shape is not None and len(self.shape) in (3, 4):
            return self.real and math.prod(self.shape[:-2]) == math.prod(scan_shape)
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


def open_scan(path: str | Path, dataset: str | None = None, scan_shape: tuple[int, int] | None = None) -> Scan:
    """Open a scan without reading its data.

    Parameters
    ----------
    path : str or Path
        Any HDF5 file, ``.npy``, or a format that RosettaSciIO reads.
    dataset : str, optional
        Which array inside the file, where it has several.
    scan_shape : tuple of int, optional
        Positions (y, x) into which a stack of frames is folded.

    Returns
    -------
    Scan
        With `data` of shape (y, x, ky, kx): an h5py dataset of a file kept open, a memory map, or a Dask array.

    Raises
    ------
    DataError
        If the file is not there, is damaged, or holds no scan, or several without `dataset`.
    """
    path = Path(path)
    kind, name = _kind(path), shown(path.name or str(path))
    opened = _reader(kind).read(path, dataset, scan_shape)
    data, raw = opened.data, list(opened.axes)
    if scan_shape is not None and tuple(data.shape[:-2]) != tuple(scan_shape):
        data = _fold(data, scan_shape)
        raw = [*(raw[:2] if len(raw) == 4 else [RawAxis()] * 2), *raw[-2:]]
    axes, notes = _axes(raw, data.shape)
    instrument = {key: number for key, value in opened.instrument.items() if (number := _positive(value)) is not None}
    source = Source.of(path, opened.dataset)
    return Scan(data, axes, name, source, instrument, (*notes, *opened.warnings), opened.truth)


def candidates(path: str | Path) -> list[Candidate]:
    """The four-axis arrays of real numbers in a file, from its headers.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    path = Path(path)
    return [found for found in _reader(_kind(path)).listing(path)[1] if found.fits(None)]


def info(path: str | Path, dataset: str | None = None, scan_shape: tuple[int, int] | None = None) -> dict[str, Any]:
    """What is in a file, from its headers: its arrays and, where one of them is or is picked as the scan, its axes.

    Returns
    -------
    dict
        ``name, bytes_on_disk, format, datasets`` and, of the scan, what `Scan.info` gives.

    Raises
    ------
    DataError
        If the file cannot be read, or `dataset` is not in it.
    """
    path = Path(path)
    reader = _reader(_kind(path))
    form, found = reader.listing(path)
    wide = [c for c in found if len(c.shape) > 1] or found
    about: dict[str, Any] = {
        "name": shown(path.name),
        "bytes_on_disk": sum(f.stat().st_size for f in _parts(path)),
        "format": form,
        "datasets": [{"path": c.path, "shape": list(c.shape), "dtype": c.dtype} for c in wide],
    }
    is_result = form.startswith("stem4d_panel")
    if dataset is not None or (sum(c.fits(scan_shape) for c in found) == 1 and not is_result):
        about |= open_scan(path, dataset, scan_shape).info()
    return about


def select(
    path: Path, found: Sequence[Candidate], dataset: str | None, scan_shape: tuple[int, int] | None
) -> Candidate:
    """The one array that is the scan.

    Raises
    ------
    DataError
        If none is, or several are and `dataset` names none of them.
    """
    name = shown(path.name)
    fitting = [c for c in found if c.fits(scan_shape)]
    if dataset is not None:
        picked = [c for c in found if c.path.strip("/") == dataset.strip("/")]
        if not picked:
            raise DataError(f"{name}: has no dataset {shown(dataset)!r}; --dataset takes {_listed(fitting or found)}")
        check(path, picked[0], scan_shape)
        return picked[0]
    if len(fitting) > 1:  # an empty array is no scan beside a full one
        fitting = [c for c in fitting if 0 not in c.shape] or fitting
    if len(fitting) > 1:
        raise DataError(f"{name}: has {len(fitting)} scans: {_listed(fitting)}; pick one with --dataset PATH")
    if fitting:
        return fitting[0]
    likely = [c for c in found if len(c.shape) == 4] or [c for c in found if len(c.shape) == 3 and c.real]
    if len(likely) == 1:
        check(path, likely[0], scan_shape)
    wide = [c for c in found if len(c.shape) > 1] or list(found)
    hint = "; frames need --scan-shape Y,X" if scan_shape is None and any(len(c.shape) == 3 for c in found) else ""
    raise DataError(f"{name}: has no scan of four axes; it holds {_listed(wide)}{hint}")


def check(path: Path, picked: Candidate, scan_shape: tuple[int, int] | None) -> None:
    """Refuse an array that cannot be a scan, saying why.

    Raises
    ------
    DataError
        If it is not of real numbers, or has not four axes or as many frames as `scan_shape` has positions.
    """
    if picked.fits(scan_shape):
        return
    name, where = shown(path.name), f" in {shown(picked.path)}" if picked.path else ""
    axes, frames = len(picked.shape), math.prod(picked.shape[:-2])
    if not picked.real:
        raise DataError(f"{name}: {shown(picked.path)} {picked.shape} is {shown(picked.dtype)[:60]}, not real numbers")
    if axes == 3 and scan_shape is None:
        raise DataError(f"{name}: frames {picked.shape}{where} without a scan shape; give --scan-shape Y,X")
    if axes in (3, 4) and scan_shape is not None:
        ny, nx = scan_shape
        raise DataError(f"{name}: {frames} frames{where} do not fill --scan-shape {ny},{nx} ({ny * nx} positions)")
    raise DataError(f"{name}: has {axes} axes {picked.shape}{where}; a scan has four (y, x, ky, kx)")


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


def _listed(found: Sequence[Candidate]) -> str:
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(map(str, found[:_LISTED])) + more or "no dataset"


def _reader(kind: str) -> Any:
    """The module that reads a kind of file, imported when first wanted."""
    if kind == "hdf5":
        from stem4d_panel.scan import hdf5

        return hdf5
    from stem4d_panel.scan import vendor

    return vendor


def _kind(path: Path) -> str:
    """``hdf5`` or ``vendor``, by content first; refuses what is no readable regular file, without blocking."""
    name, ending = shown(path.name or str(path)), path.suffix.lower()
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) and ending == ".zspy":
            return "vendor"
        if stat.S_ISDIR(mode):
            raise DataError(f"{name}: is a directory, not a file")
        if not stat.S_ISREG(mode):
            raise DataError(f"{name}: is not a regular file")
        size, is_hdf5 = _probe(path)
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except DataError:  # a ValueError too
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if size == 0:
        raise DataError(f"{name}: is empty")
    if is_hdf5:
        return "hdf5"
    if ending in HDF5_ENDINGS:
        raise DataError(f"{name}: not an HDF5 file")
    return "vendor"


def _probe(path: Path) -> tuple[int, bool]:
    """Size of a regular file, and whether an HDF5 signature stands where the format allows one."""
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
                return status.st_size, True
            at = at * 2 or 512
    return status.st_size, False


def _parts(path: Path) -> list[Path]:
    return [f for f in path.rglob("*") if f.is_file()] if path.is_dir() else [path]


def _fold(data: Any, scan_shape: tuple[int, int]) -> Any:
    """Frames as (y, x, ky, kx), lazily; the counts are known to agree."""
    target = (*scan_shape, *data.shape[-2:])
    if isinstance(data, np.ndarray) and data.flags.c_contiguous:
        return data.reshape(target)
    import dask.array as da

    if not isinstance(data, da.Array):
        data = da.from_array(data, chunks=(1, *data.shape[1:]) if data.ndim == 4 else "auto", name=False)
    frames = data.reshape(-1, *data.shape[-2:]) if data.ndim == 4 else data
    row = scan_shape[1] * math.prod(target[2:]) * data.dtype.itemsize
    rows = max(1, BLOCK_BYTES // max(1, row))  # whole rows of the scan in a chunk, so that folding moves nothing
    return frames.rechunk((rows * scan_shape[1], -1, -1)).reshape(target)


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
