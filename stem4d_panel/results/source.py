"""The file that a result was made from, found again by its name, size and a sample of its bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stem4d_panel.errors import DataError
from stem4d_panel.results.recipe import sample_seed
from stem4d_panel.results.result import Result
from stem4d_panel.runtime.memory import in_bytes
from stem4d_panel.scan.readers import open_scan, shown
from stem4d_panel.scan.scan import Scan

_PIECE = 2**16  # bytes read at the beginning, in the middle and at the end


def sampled(path: Path) -> str | None:
    """A digest of three pieces of a file, which a copy elsewhere shares; None of what is no file."""
    if not path.is_file():
        return None
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as f:
        for start in (0, size // 2, max(0, size - _PIECE)):
            f.seek(start)
            digest.update(f.read(_PIECE))
    return digest.hexdigest()


def find_source(source: Mapping[str, Any], folder: Path) -> Path | None:
    """The scan of a result's `source` in a folder; None where there is none of that name with the same bytes."""
    name = source.get("file")
    if not isinstance(name, str) or name in ("", ".", "..") or Path(name).name != name:
        return None
    path = folder / name
    try:
        return path if _is_same_file(source, path) else None
    except (OSError, ValueError):  # not there, not to be read; a null character
        return None


def is_source(source: Mapping[str, Any], scan: Scan) -> bool:
    """Whether a scan is that of a result's `source`, wherever its file now lies."""
    if scan.fingerprint == source.get("fingerprint"):
        return True
    fits = list(scan.shape) == source.get("shape") and str(scan.dtype) == source.get("dtype")
    found = scan.source
    return fits and found is not None and found.dataset == source.get("dataset") and _is_same_file(source, found.path)


def _is_same_file(source: Mapping[str, Any], path: Path) -> bool:
    stat = path.stat()
    if stat.st_size != source.get("bytes") and path.is_file():
        return False
    known = source.get("sampled")
    return sampled(path) == known if known else stat.st_mtime_ns == source.get("mtime_ns")


def open_source(result: Result, folder: Path | None) -> Scan:
    """The scan that a result was made from: the simulated sample, or its file in `folder`, opened as it was.

    Raises
    ------
    DataError
        If it was an array in memory, its file is not there, or it cannot be opened.
    """
    source = result.source
    if (seed := sample_seed(source.get("name"), source.get("file"))) is not None:
        from stem4d_panel.scan.sample import sample_scan

        return sample_scan(seed)
    if not source.get("file"):
        raise DataError(f"{shown(result.name)}: was an array in memory; the scan has to be given")
    path = None if folder is None else find_source(source, folder)
    if path is None:
        raise DataError(f"{_told(source)}: the scan of the result is not found beside it; the scan has to be given")
    return open_scan(path, source.get("dataset"), settings=result.settings.data)


def _told(source: Mapping[str, Any]) -> str:
    """A scan's file in words: its name and size."""
    size = source.get("bytes")
    return shown(str(source.get("file"))) + (f" ({in_bytes(size)})" if isinstance(size, int) else "")
