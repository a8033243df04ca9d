"""The formats of microscopes through RosettaSciIO, whose reader is chosen by the ending."""

from __future__ import annotations

import inspect
import json
import logging
import math
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from stem4d_panel.errors import DataError
from stem4d_panel.scan.readers import Candidate, Opened, RawAxis, first_line, select, shown
from stem4d_panel.scan.stack import Folding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stem4d_panel.settings import DataSettings

# in order of precedence where two claim one ending; readers of spectra and pictures are left out
READERS = (
    "blockfile",
    "quantumdetector",
    "digitalmicrograph",
    "tvips",
    "empad",
    "mrc",
    "mrcz",
    "tia",
    "zspy",
    "pantarhei",
    "tiff",
    "ripple",
)
CHUNK_BYTES = 16 * 2**20  # whole rows of positions, few enough that one pattern comes quickly


def listing(path: Path, settings: DataSettings) -> tuple[str, list[Candidate]]:
    """The format by name, and the arrays that RosettaSciIO finds, each under its number where there are several.

    Raises
    ------
    DataError
        If no reader takes the ending, or the reader fails.
    """
    reader = _reader_of(path)
    found, _ = _load(path, reader)
    return f"RosettaSciIO {reader}", _candidates(found)


def read(path: Path, dataset: str | None, settings: DataSettings) -> Opened:
    """Open the scan of a file, lazily where its reader can.

    Raises
    ------
    DataError
        If no reader takes the ending, the reader fails, or the file does not hold one scan.
    """
    reader = _reader_of(path)
    found, notes = _load(path, reader)
    arrays = _candidates(found)
    picked = select(path, arrays, dataset, Folding.of(settings))
    signal = found[arrays.index(picked)]
    tem = _branch(signal.get("metadata"), "Acquisition_instrument", "TEM")
    instrument = {"voltage": tem.get("beam_energy"), "convergence": tem.get("convergence_angle")}
    axes = _axes(signal)
    if reader == "tia":  # its rows count upwards
        axes = [a._replace(scale=abs(a.scale)) if isinstance(a.scale, int | float) else a for a in axes]
    parts = [path.parent / name for name in _raw_names(path)] if reader == "empad" else []
    there = tuple(dict.fromkeys(part for part in parts if part.is_file()))
    return Opened(signal["data"], axes, picked.path or None, instrument, notes, parts=there)


def _endings() -> dict[str, str]:
    """The reader for each ending, in small letters with the dot."""
    from rsciio import IO_PLUGINS

    known = {plugin["api"].rpartition(".")[2]: plugin["file_extensions"] for plugin in IO_PLUGINS}
    return {f".{ending.lower()}": reader for reader in reversed(READERS) for ending in known.get(reader, ())}


def _reader_of(path: Path) -> str:
    endings = _endings()
    reader = endings.get(path.suffix.lower())
    if reader is None:
        have = shown(path.suffix)[:20] or "none"
        known = " ".join(sorted([*endings, ".npy", ".npz"]))
        raise DataError(
            f"{shown(path.name)}: unknown ending {have}; known are HDF5 files of any ending and {known}; a raw binary needs data.detector_shape"
        )
    return reader


def _load(path: Path, reader: str) -> tuple[list[dict[str, Any]], list[str]]:
    """What the reader returns, in chunks of whole rows, and what it warned of."""
    _check_references(path, reader)
    try:
        with _overheard() as told:
            file_reader = import_module(f"rsciio.{reader}").file_reader
            found = _call(file_reader, path, reader)
            chunks = _row_chunks(found)
            if chunks and "chunks" in inspect.signature(file_reader).parameters:
                found = _call(file_reader, path, reader, chunks=chunks)
    except Exception as error:  # readers raise whatever a damaged file leads them to
        reason = first_line(error, path)
        if "pickle" in reason:  # NumPy advises to load it unsafely
            reason = "it is not in this format, or holds Python objects"
        raise DataError(f"{shown(path.name)}: the RosettaSciIO reader '{reader}' cannot read it: {reason}") from error
    notes = [f"{reader}: {first_line(Warning(text), path)}" for text in told]
    return [d for d in found if hasattr(d.get("data"), "shape")], list(dict.fromkeys(notes))


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What is warned of or logged meanwhile; RosettaSciIO logs to standard output, where it would spoil a result."""
    log, told = logging.getLogger("rsciio"), list[str]()
    before = log.handlers[:], log.propagate
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    log.handlers, log.propagate = [handler], False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield told
    finally:
        log.handlers, log.propagate = before
    # what libraries tell each other's developers is no concern of the user's
    mine = [w for w in caught if issubclass(w.category, UserWarning) and "Deprecat" not in w.category.__name__]
    told += [str(w.message) for w in mine]


def _call(file_reader: Any, path: Path, reader: str, **options: Any) -> list[dict[str, Any]]:
    if reader == "zspy":
        options["mode"] = "r"  # its lazy way asks for the right to write
    try:
        return list(file_reader(str(path), lazy=True, **options))
    except NotImplementedError:
        return list(file_reader(str(path), lazy=False, **options))


def _row_chunks(found: list[dict[str, Any]]) -> tuple[int, ...] | None:
    """Chunks of whole rows for a single lazy scan that has others; the readers' own cut through patterns."""
    if len(found) != 1 or not hasattr(found[0].get("data"), "numblocks"):
        return None
    data = found[0]["data"]
    if data.ndim != 4 or 0 in data.shape:
        return None
    rows = max(1, CHUNK_BYTES // (math.prod(data.shape[1:]) * data.dtype.itemsize))
    wanted = (min(rows, data.shape[0]), *data.shape[1:])
    return None if data.chunksize == wanted else tuple(int(n) for n in wanted)


def _candidates(found: list[dict[str, Any]]) -> list[Candidate]:
    return [
        Candidate(
            str(i) if len(found) > 1 else "", tuple(int(n) for n in d["data"].shape), str(d["data"].dtype), _per_row(d)
        )
        for i, d in enumerate(found)
    ]


def _per_row(signal: Mapping[str, Any]) -> int | None:
    """Frames a row of the scan, where the camera was triggered once a row."""
    count = _branch(signal.get("original_metadata"), "hdr_file").get("Frames per Trigger (Number)")
    return int(count) if isinstance(count, int | str) and str(count).strip().isdecimal() and int(count) > 1 else None


def _axes(signal: Mapping[str, Any]) -> list[RawAxis]:
    """The axes in the order of the array, however much of them the reader tells."""
    count = signal["data"].ndim
    axes = list(signal.get("axes") or ())
    if len(axes) != count:
        return [RawAxis()] * count
    if all(isinstance(axis.get("index_in_array"), int) for axis in axes):
        axes.sort(key=lambda axis: int(axis["index_in_array"]))
    return [RawAxis(axis.get("scale"), axis.get("offset") or 0.0, axis.get("units") or None) for axis in axes]


def _branch(tree: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def _check_references(path: Path, reader: str) -> None:
    """Refuse headers that point to files elsewhere, or that ask for code: their readers would obey."""
    name = shown(path.name)
    if reader == "empad":
        for raw in _raw_names(path):
            if Path(raw).name != raw or "\\" in raw:
                raise DataError(f"{name}: has its frames in another folder ({shown(raw)[:80]}), which is not read")
    if reader == "zspy":
        for header in _zarr_headers(path):
            codecs = [header.get("compressor"), *(header.get("filters") or ())]
            if any(isinstance(codec, dict) and codec.get("id") == "pickle" for codec in codecs):
                raise DataError(f"{name}: holds Python objects, which are not read")


def _raw_names(path: Path) -> list[str]:
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314  (expat bounds the expansion of entities)
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f"{shown(path.name)}: not an XML file: {first_line(error, path)}") from error
    raws = list(root.iter("raw_file"))
    return [
        str(text)
        for raw in raws
        for text in (*raw.attrib.values(), raw.text, *(c.text for c in raw))
        if text and text.strip()
    ]


def _zarr_headers(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.is_dir():
            texts = [p.read_bytes() for p in path.rglob(".zarray")]
        else:
            with zipfile.ZipFile(path) as archive:
                texts = [archive.read(n) for n in archive.namelist() if n.rpartition("/")[2] == ".zarray"]
        headers = [json.loads(text) for text in texts]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{shown(path.name)}: truncated or damaged: {first_line(error, path)}") from error
    yield from (header for header in headers if isinstance(header, dict))
