"""The scan: a 4-D array with its axes, its source and what its file says of the microscope."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.memory import limits
from stem4d_panel.scan.units import to_house_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stem4d_panel.scan.truth import Truth

Origin = Literal["file", "user", "computed", "none"]
BLOCK_BYTES = 64 * 2**20
_PARTS = 16  # of the memory that data may fill, one is a raw block; what is made of it takes some more
_CHUNKS_TRIED = 10_000  # to find the one that is damaged
_FARTHEST = 1e6  # extents that an axis may begin from zero


@dataclass(frozen=True)
class Axis:
    """One axis: value at index i is ``offset + scale * i`` in `units`; ``px`` where nothing is known."""

    name: str
    size: int
    scale: float = 1.0
    offset: float = 0.0
    units: str = "px"
    origin: Origin = "none"

    @classmethod
    def from_file(cls, name: str, size: int, scale: Any, offset: Any, units: Any) -> Axis:
        """An axis in the house's units, or in pixels where the file's scale or units cannot be used."""
        size = int(size)
        try:
            scale, offset = float(scale), float(offset or 0.0)
        except (TypeError, ValueError):
            return cls(name, size)
        unit, factor = to_house_units(units, "real" if name in "yx" else "reciprocal")
        if unit == "px" or not np.isfinite(scale) or scale <= 0 or not np.isfinite(offset):
            return cls(name, size)
        if abs(offset) > _FARTHEST * scale * size:  # TIA writes such offsets for detectors
            offset = 0.0
        return cls(name, size, scale * factor, offset * factor, unit, "file")

    def __str__(self) -> str:
        return f"{self.name} {self.size} × {self.scale:.4g} {self.units}"


def native(block: np.ndarray) -> np.ndarray:
    """A block as compiled loops take it: native byte order, no half floats, no truth values."""
    if block.dtype.kind == "b":
        return block.view(np.uint8)
    if block.dtype.kind == "f" and block.dtype.itemsize == 2:
        return block.astype(np.float32)
    return block.astype(block.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class Source:
    """Where a scan was read from; `path` stays out of what is saved.

    `stamps` hold size, time in ns and number at the system of each file that the data lie in; `how` the settings with which
    it was opened.
    """

    path: Path
    dataset: str | None = None
    size: int = 0
    mtime_ns: int = 0
    stamps: tuple[tuple[Path, int, int, int], ...] = ()
    how: str = ""

    @classmethod
    def of(cls, path: str | Path, dataset: str | None = None, parts: Sequence[Path] = (), how: str = "") -> Source:
        """The source of an existing file, whose data lie in `parts`, too."""
        path = Path(path).absolute()  # whoever changes the working folder
        stamps = tuple(_stamp(p) for p in (path, *parts))
        return cls(path, dataset, stamps[0][1], stamps[0][2], stamps, how)

    def check(self) -> None:
        """Refuse to read on from a file that has changed: its blocks would not belong together.

        Raises
        ------
        DataError
            If a file was changed, replaced or removed since the scan was opened.
        """
        for stamp in self.stamps:
            try:
                same = _stamp(stamp[0]) == stamp
            except OSError:
                same = False
            if not same:
                raise DataError(f"{stamp[0].name}: the file has changed since it was opened; open it again")


def _stamp(path: Path) -> tuple[Path, int, int, int]:
    stat = path.stat()
    return path, stat.st_size, stat.st_mtime_ns, stat.st_ino


@dataclass(frozen=True, eq=False)
class Scan:
    """A 4D-STEM scan.

    Attributes
    ----------
    data : array-like, shape (y, x, ky, kx)
        NumPy, memory-mapped, h5py or Dask; never modified.
    axes : tuple of Axis
        In the order y, x, ky, kx; nm in real space, 1/nm or mrad in reciprocal space, px where unknown.
    instrument : mapping
        What the file says: ``voltage`` (kV), ``convergence`` (mrad), ``probe_size`` (nm), where known.
    warnings : tuple of str
        What was noticed while opening.
    """

    data: Any
    axes: tuple[Axis, Axis, Axis, Axis]
    name: str = "array"
    source: Source | None = None
    instrument: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    truth: Truth | None = None

    def __post_init__(self) -> None:
        shape, dtype = tuple(self.data.shape), np.dtype(self.data.dtype)
        if len(shape) != 4:
            raise DataError(f"{self.name}: has {len(shape)} axes {shape}; a scan has four (y, x, ky, kx)")
        if 0 in shape:
            raise DataError(f"{self.name}: axis {('y', 'x', 'ky', 'kx')[shape.index(0)]} has length 0")
        if dtype.kind not in "biuf":
            raise DataError(f"{self.name}: data type {dtype} is not real numbers")
        if tuple(a.size for a in self.axes) != shape:
            raise DataError(f"{self.name}: axes of sizes {[a.size for a in self.axes]} do not fit the shape {shape}")

    @classmethod
    def from_array(
        cls,
        data: Any,
        *,
        scan_step: float | None = None,
        scan_units: str = "nm",
        detector_step: float | None = None,
        detector_units: str = "1/nm",
        voltage: float | None = None,
        convergence: float | None = None,
        probe_size: float | None = None,
        name: str | None = None,
    ) -> Scan:
        """A scan from an array, or from a HyperSpy signal (whose axes are used).

        Parameters
        ----------
        data : array-like, shape (y, x, ky, kx), or HyperSpy signal
            NumPy, h5py and Dask arrays are kept as they are.
        scan_step, detector_step : float, optional
            Steps in `scan_units` and `detector_units`; pixels where absent.
        voltage, convergence, probe_size : float, optional
            In kV, mrad (semi-angle) and nm (FWHM).

        Raises
        ------
        DataError
            If the data are not four-dimensional real numbers, or a unit is not known.
        """
        instrument = {"voltage": voltage, "convergence": convergence, "probe_size": probe_size}
        if hasattr(data, "axes_manager"):
            axes, found, title = _from_hyperspy(data)
            data, name = data.data, name or title
            instrument = {k: v if v is not None else found.get(k) for k, v in instrument.items()}
        else:
            axes = {}
        if not hasattr(data, "shape") or not hasattr(data, "dtype"):
            data = np.asarray(data)
        shape = tuple(data.shape)
        name = name or "array"
        if len(shape) != 4:
            raise DataError(f"{name}: has {len(shape)} axes {shape}; a scan has four (y, x, ky, kx)")
        made = []
        for i, label in enumerate(("y", "x", "ky", "kx")):
            step, units = (scan_step, scan_units) if i < 2 else (detector_step, detector_units)
            if step is None:
                made.append(axes.get(label, Axis(label, shape[i])))
                continue
            axis = Axis.from_file(label, shape[i], step, 0.0, units)
            if axis.origin == "none" and units != "px":
                raise DataError(f"{name}: {step!r} {units!r} is no step for axis {label}")
            made.append(replace(axis, origin="user"))
        known = {k: float(v) for k, v in instrument.items() if v is not None}
        return cls(data, tuple(made), name=name, instrument=known)  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Sizes (y, x, ky, kx)."""
        return tuple(int(n) for n in self.data.shape)  # type: ignore[return-value]

    @property
    def scan_shape(self) -> tuple[int, int]:
        """Sizes (y, x)."""
        return self.shape[:2]

    @property
    def detector_shape(self) -> tuple[int, int]:
        """Sizes (ky, kx)."""
        return self.shape[2:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the stored values."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def nbytes(self) -> int:
        """Size of the uncompressed data in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the data: of a file by its path, size, time and sampled bytes, of an array by all its values."""
        digest = hashlib.sha256(repr((self.shape, self.dtype.str)).encode())
        if self.source is not None:
            src = self.source
            digest.update(repr((str(src.path.resolve()), src.dataset, src.size, src.mtime_ns)).encode())
            digest.update(repr((src.stamps[1:], src.how)).encode())
            if src.path.is_dir():  # a zarr store
                for part in sorted(src.path.rglob("*")):
                    stat = part.stat()
                    digest.update(repr((str(part.relative_to(src.path)), stat.st_size, stat.st_mtime_ns)).encode())
                return digest.hexdigest()
            with src.path.open("rb") as f:
                for start in (0, src.size // 2, max(0, src.size - 2**16)):
                    f.seek(start)
                    digest.update(f.read(2**16))
        elif type(self.data).__module__.startswith("dask"):
            digest.update(self.data.name.encode())
        else:
            for _, block in self.blocks():
                digest.update(np.ascontiguousarray(block).data)
        return digest.hexdigest()

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start:stop`` of the scan as a NumPy array, shape (rows, x, ky, kx), native byte order, no half floats."""
        return native(self._read(slice(start, stop), f"rows {start} to {stop - 1}"))

    def _read(self, part: Any, what: str) -> np.ndarray:
        if self.source is not None:
            self.source.check()
        try:
            return np.asarray(self.data[part])
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            where = f" of {self.source.dataset}" if self.source is not None and self.source.dataset else ""
            if isinstance(error, OSError) and (chunk := self._damaged_chunk(part)) is not None:
                where += f", chunk {chunk},"
            raise DataError(f"{self.name}: {what}{where} cannot be read: {reason}") from error

    def _damaged_chunk(self, part: Any) -> tuple[int, ...] | None:
        """The first values (y, x, ky, kx) of the first chunk of a part that cannot be read; None where there are no chunks."""
        if not callable(getattr(self.data, "iter_chunks", None)) or not self.data.chunks:
            return None
        index = part if isinstance(part, tuple) else (part,)
        wanted = [i if isinstance(i, slice) else slice(i, i + 1) for i in index]
        wanted += [slice(0, n) for n in self.shape[len(wanted) :]]
        for chunk in islice(self.data.iter_chunks(tuple(wanted)), _CHUNKS_TRIED):
            try:
                self.data[chunk]
            except OSError:
                return tuple(s.start - s.start % n for s, n in zip(chunk, self.data.chunks, strict=True))
        return None

    def blocks(self, limit: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """The whole scan in blocks of rows of at most `limit` bytes (one row at least): (rows, block).

        Without a limit they take 64 MB, or a sixteenth of the memory that data may fill, where that is less.
        """
        limit = block_bytes() if limit is None else limit
        step = max(1, int(limit // max(1, self.nbytes // self.shape[0])))
        chunks = getattr(self.data, "chunks", None)
        if chunks:  # whole chunks, so that none is decompressed twice
            rows = chunks[0] if isinstance(chunks[0], int) else chunks[0][0]
            step -= step % rows if step > rows else 0
        for start in range(0, self.shape[0], step):
            stop = min(start + step, self.shape[0])
            yield slice(start, stop), self.rows(start, stop)

    def pattern(self, y: int, x: int) -> np.ndarray:
        """The measured diffraction pattern at one position, shape (ky, kx).

        Raises
        ------
        DataError
            If the position lies outside the scan, or cannot be read.
        """
        ny, nx = self.scan_shape
        if not (0 <= y < ny and 0 <= x < nx):
            raise DataError(f"{self.name}: position (y={y}, x={x}) lies outside the scan of {ny} × {nx}")
        return self._read((y, x), f"position (y={y}, x={x})")

    def info(self) -> dict[str, Any]:
        """What is known without reading the data, as plain values."""
        return {
            "name": self.name,
            "dataset": self.source.dataset if self.source else None,
            "shape": list(self.shape),
            "dtype": str(self.dtype),
            "bytes": self.nbytes,
            "axes": [
                {
                    "name": a.name,
                    "size": a.size,
                    "scale": a.scale,
                    "offset": a.offset,
                    "units": a.units,
                    "origin": a.origin,
                }
                for a in self.axes
            ],
            "instrument": dict(self.instrument),
            "warnings": list(self.warnings),
        }


def block_bytes() -> int:
    """Bytes of a block of raw rows where nothing else is asked for."""
    return min(BLOCK_BYTES, limits.budget() // _PARTS)


def _from_hyperspy(signal: Any) -> tuple[dict[str, Axis], dict[str, float], str]:
    """Axes, instrument and title of a HyperSpy signal, in the order of its data array."""
    names = ("y", "x", "ky", "kx")
    ordered = sorted(signal.axes_manager._axes, key=lambda axis: axis.index_in_array)
    axes = {
        name: Axis.from_file(
            name, axis.size, getattr(axis, "scale", None), getattr(axis, "offset", 0.0), str(axis.units or "")
        )
        for name, axis in zip(names, ordered, strict=False)
    }
    tem = "Acquisition_instrument.TEM"
    found = {
        "voltage": signal.metadata.get_item(f"{tem}.beam_energy"),
        "convergence": signal.metadata.get_item(f"{tem}.convergence_angle"),
    }
    title = signal.metadata.get_item("General.title") or "signal"
    return axes, {k: v for k, v in found.items() if v is not None}, title
