"""Writing a scan as one HDF5 file in HyperSpy's layout, its truth beside it under ``/truth``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.files import replacing
from stem4d_panel.scan.scan import Scan
from stem4d_panel.scan.truth import Crystal, Truth

TRUTH_LAYOUT = 1
CHUNK_BYTES = 4 * 2**20
_NAMED = {"voltage": "beam_energy", "convergence": "convergence_angle"}  # kV and mrad, as HyperSpy has them
_ROWS = 100_000  # crystals and hot pixels that a truth may have when read


def write_scan(scan: Scan, path: str | Path, overwrite: bool = False) -> Path:
    """Write a scan, block by block, so that `open_scan` and ``hyperspy.load`` read it.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is not set, it cannot be written, or it is the file the scan is read from.
    """
    path = Path(path)
    if scan.source is not None and path.exists() and path.samefile(scan.source.path):
        raise DataError(f"{path.name}: is the file that the scan is read from")
    with replacing(path, overwrite) as part, h5py.File(part, "w") as f:
        f.attrs.update(file_format="HyperSpy", file_format_version="3.3", creator="stem4d_panel")
        group = f.create_group("Experiments/scan")
        group.attrs.update(package="hyperspy", package_version="2.0")
        dtype = np.dtype(np.uint8) if scan.dtype.kind == "b" else scan.dtype
        data = group.create_dataset("data", shape=scan.shape, dtype=dtype, chunks=_chunks(scan.shape, dtype.itemsize))
        for rows, block in scan.blocks():
            data[rows] = block
        for i, axis in enumerate(scan.axes):
            group.create_group(f"axis-{i}").attrs.update(
                _type="UniformDataAxis",
                name=axis.name,
                size=axis.size,
                scale=axis.scale,
                offset=axis.offset,
                units=axis.units,
                navigate=i < 2,
                is_binned=False,
            )
        group.create_group("metadata/General").attrs["title"] = scan.name
        group.create_group("metadata/Signal").attrs["signal_type"] = ""
        known = {_NAMED[name]: value for name, value in scan.instrument.items() if name in _NAMED}
        group.create_group("metadata/Acquisition_instrument/TEM").attrs.update(known)
        for empty in ("original_metadata", "learning_results"):
            group.create_group(empty)
        if scan.truth is not None:
            _write_truth(f.create_group("truth"), scan.truth)
    return path


def _chunks(shape: tuple[int, int, int, int], itemsize: int) -> tuple[int, int, int, int]:
    """Whole patterns along a row of positions; not compressed, but HyperSpy opens nothing lazily that has no chunks."""
    _, nx, nky, nkx = shape
    return (1, max(1, min(nx, CHUNK_BYTES // (nky * nkx * itemsize))), nky, nkx)


def _write_truth(group: h5py.Group, truth: Truth) -> None:
    group.attrs.update(stem4d_truth=TRUTH_LAYOUT, scan_step=truth.scan_step)
    crystals = truth.crystals
    group["class_name"] = np.array([c.class_name for c in crystals], dtype=h5py.string_dtype())
    group["rotation"] = np.array([c.rotation for c in crystals], float)
    group["fold"] = np.array([c.fold for c in crystals], int)
    group["diameter"] = np.array([c.diameter for c in crystals], float)
    group["centre"] = np.array([c.centre for c in crystals], float).reshape(-1, 2)
    group["chord"] = truth.chord
    group["descan"] = truth.descan
    group["hot_pixels"] = truth.hot_pixels
    for name, units in {"rotation": "degree", "diameter": "nm", "centre": "nm", "chord": "nm", "descan": "px"}.items():
        group[name].attrs["units"] = units


def read_truth(file: h5py.File, shape: tuple[int, ...]) -> Truth | None:
    """The truth in a file that `write_scan` wrote.

    Parameters
    ----------
    file : h5py.File
    shape : tuple of int
        Of the scan, (y, x, ky, kx).

    Returns
    -------
    Truth or None
        None where there is none, or it does not fit the scan: a truth is never worth a refusal.
    """
    try:
        inside = isinstance(file.get("truth", getlink=True), h5py.HardLink)
        if not inside or "stem4d_truth" not in file["truth"].attrs:
            return None
        return _read_truth(file["truth"], shape)
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError):
        return None


def _read_truth(group: h5py.Group, shape: tuple[int, ...]) -> Truth | None:
    if int(group.attrs["stem4d_truth"]) > TRUTH_LAYOUT:
        return None
    count, hot = group["class_name"].size, group["hot_pixels"].shape[0]
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("class_name", "rotation", "fold", "diameter"), (count,))
    wanted |= {"centre": (count, 2), "chord": (count, *shape[:2]), "descan": (2, *shape[:2]), "hot_pixels": (hot, 2)}
    values: dict[str, Any] = {}
    for name, size in wanted.items():
        link, item = group.get(name, getlink=True), group[name]
        inside = isinstance(link, h5py.HardLink) and not item.is_virtual and not item.external
        if not inside or item.shape != size or max(count, hot) > _ROWS:
            return None
        values[name] = item.asstr()[()] if name == "class_name" else item[()]
    columns = (values[name].tolist() for name in ("class_name", "rotation", "fold", "diameter", "centre"))
    crystals = tuple(
        Crystal(str(name), float(rotation), int(fold), float(diameter), (float(centre[0]), float(centre[1])))
        for name, rotation, fold, diameter, centre in zip(*columns, strict=True)
    )
    step = float(group.attrs["scan_step"])
    return Truth(crystals, values["chord"], values["descan"], values["hot_pixels"], step)
