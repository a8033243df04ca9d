"""Files without a format of microscopy: NumPy's, raw binaries of a stated shape, folders of pictures.

NumPy files and raw binaries are mapped into memory and never unpickled; pictures are read when they are asked for.
"""

from __future__ import annotations

import math
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.parameters import sizes
from stem4d_panel.scan.readers import Candidate, Opened, RawAxis, first_line, select, shown
from stem4d_panel.scan.stack import Folding
from stem4d_panel.settings import DataSettings

PICTURES = (".png", ".tif", ".tiff")
_MEMBERS = 1000  # arrays that an .npz may hold
_PICTURES_READ = 64  # in one piece
_EMPAD = 130 * 128 * 4  # bytes of a frame of the EMPAD, two rows of which are not the detector


def listing(path: Path, settings: DataSettings) -> tuple[str, list[Candidate]]:
    """The format by name, and the arrays.

    Raises
    ------
    DataError
        If the file is damaged, compressed or holds Python objects.
    SettingError
        If no shape is stated of a raw binary.
    """
    form, found, _ = _arrays(path, settings)
    return form, _candidates(found)


def read(path: Path, dataset: str | None, settings: DataSettings) -> Opened:
    """Open the scan, lazily.

    Raises
    ------
    DataError
        If the file is damaged, compressed, holds Python objects, or no scan.
    SettingError
        If no shape is stated of a raw binary.
    """
    _, found, notes = _arrays(path, settings)
    picked = select(path, _candidates(found), dataset, Folding.of(settings))
    data = found[picked.path]
    return Opened(data, [RawAxis()] * data.ndim, picked.path or None, warnings=notes)


def has_pictures(folder: Path) -> bool:
    """Whether there is a picture in a folder."""
    try:
        return any(map(_is_picture, folder.iterdir()))
    except OSError:
        return False


def _is_picture(file: Path) -> bool:
    """By its ending; links are none, since they could lead anywhere."""
    return file.suffix.lower() in PICTURES and stat.S_ISREG(file.lstat().st_mode)


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, in natural order: 2 comes before 10."""
    found = list(filter(_is_picture, folder.iterdir()))
    return sorted(found, key=lambda f: [int(t) if t.isdigit() else t.lower() for t in re.split(r"([0-9]+)", f.name)])


def _arrays(path: Path, settings: DataSettings) -> tuple[str, dict[str, Any], list[str]]:
    """The format, the arrays by name (empty for a file of one) and what was noticed."""
    ending = path.suffix.lower()
    if path.is_dir():
        return "folder of pictures", {"": _stack_of(path)}, []
    if ending == ".npz":
        return "NumPy archive", _archive(path), []
    if ending == ".npy":
        return "NumPy", {"": _memory_map(path)}, []
    data, notes = _raw(path, settings)
    return "raw binary", {"": data}, notes


def _candidates(found: dict[str, Any]) -> list[Candidate]:
    return [Candidate(name, tuple(int(n) for n in d.shape), str(d.dtype)) for name, d in found.items()]


def _memory_map(path: Path) -> Any:
    """A ``.npy`` file, never unpickled."""
    name = shown(path.name)
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise DataError(f"{name}: not a NumPy file")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except DataError:
        raise
    except (ValueError, OSError, MemoryError, EOFError, SyntaxError, OverflowError) as error:
        if "Python objects" in str(error) or "Object arrays" in str(error):
            raise DataError(f"{name}: holds Python objects, which are not read") from error
        raise DataError(f"{name}: truncated or damaged: {first_line(error, path)}") from error


def _archive(path: Path) -> dict[str, Any]:
    """The arrays of an ``.npz``, mapped where they lie in the archive; what is compressed is refused, so nothing unfolds."""
    name = shown(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")][: _MEMBERS + 1]
        if len(members) > _MEMBERS:
            raise DataError(f"{name}: holds more than {_MEMBERS} arrays")
        if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
            raise DataError(f"{name}: is compressed, which cannot be read in parts; save its scan as .npy")
        return {m.filename.removesuffix(".npy"): _member(path, m) for m in members}
    except DataError:
        raise
    except zipfile.BadZipFile as error:
        raise DataError(f"{name}: not a NumPy archive") from error
    except (ValueError, OSError, EOFError, SyntaxError, OverflowError, struct.error, NotImplementedError) as error:
        raise DataError(f"{name}: truncated or damaged: {first_line(error, path)}") from error


def _member(path: Path, member: zipfile.ZipInfo) -> Any:
    """One stored array of an archive."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        lengths = struct.unpack("<26x2H", file.read(30))  # of the name and the extra field before the data
        file.seek(sum(lengths), 1)
        begin = file.tell()
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        start = file.tell()
    if dtype.hasobject:
        raise DataError(f"{shown(path.name)}: holds Python objects, which are not read")
    if start + math.prod(shape) * dtype.itemsize > begin + member.file_size:
        raise ValueError(f"{shown(member.filename)} ends before its data do")
    if math.prod(shape) == 0:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _raw(path: Path, settings: DataSettings) -> tuple[Any, list[str]]:
    """The frames of a raw binary, as the settings describe it."""
    name, size = shown(path.name), path.stat().st_size
    detector = sizes(settings.detector_shape)
    if detector is None:
        empad = (
            "; it may be of an EMPAD: 128,128 with data.dtype=float32 and data.gap=1024" if size % _EMPAD == 0 else ""
        )
        raise SettingError(
            f"data.detector_shape: is needed for {name}, a raw binary, with data.dtype and data.scan_shape{empad}"
        )
    dtype = np.dtype(settings.dtype).newbyteorder("<" if settings.byte_order == "little" else ">")
    room, frame = size - settings.offset, math.prod(detector) * dtype.itemsize
    count = max(0, room + settings.gap) // (frame + settings.gap)  # nothing need stand behind the last frame
    if count < 1:
        ky, kx = detector
        raise DataError(
            f"{name}: {max(0, room)} bytes from data.offset on hold no frame of {ky} × {kx} {settings.dtype}"
        )
    data = np.ndarray(
        (count, *detector),
        dtype,
        np.memmap(path, np.uint8, "r"),
        settings.offset,
        (frame + settings.gap, detector[1] * dtype.itemsize, dtype.itemsize),
    )
    rest = room - count * (frame + settings.gap)
    return data, [f"{rest} bytes after the last frame left out"] if rest > 0 else []


class _Pictures:
    """Pictures of one size as frames, read when they are sliced."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, pictures(folder)
        first = self._picture(self._files[0])
        self.shape, self.dtype, self.ndim = (len(self._files), *first.shape), first.dtype, 3

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        files = self._files[index[0]]
        out = np.empty((len(files), *self.shape[1:]), self.dtype)
        for i, file in enumerate(files):
            one = self._picture(file)
            if one.shape != self.shape[1:] or one.dtype != self.dtype:
                sizes_of = " × ".join(map(str, self.shape[1:]))
                raise ValueError(f"{shown(file.name)} is {one.shape} {one.dtype}, the first is {sizes_of} {self.dtype}")
            out[i] = one
        return out[(slice(None), *index[1:])]

    def _picture(self, file: Path) -> np.ndarray:
        name = f"{shown(self._folder.name)}: {shown(file.name)}"
        try:
            one = _tiff(file) if file.suffix.lower() != ".png" else _png(file)
        except Exception as error:  # decoders raise whatever a damaged picture leads them to
            raise DataError(f"{name}: cannot be read: {first_line(error, file)}") from error
        if one.ndim != 2 or one.dtype.kind not in "biuf":
            raise DataError(f"{name}: is no picture of grey levels, but {one.shape} {one.dtype}")
        return one


def _tiff(file: Path) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(file) as opened:
        if len(opened.pages) > 1:
            raise ValueError(f"it has {len(opened.pages)} pages; a folder holds one frame a file")
        return np.asarray(opened.pages[0].asarray())


def _png(file: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(file, formats=("PNG",)) as opened:
        if opened.mode == "P":
            raise ValueError("its colours are a palette, not grey levels")
        return np.asarray(opened)


def _stack_of(folder: Path) -> Any:
    import dask.array as da

    stack = _Pictures(folder)
    return da.from_array(stack, chunks=(_PICTURES_READ, -1, -1), name=False, asarray=True)
