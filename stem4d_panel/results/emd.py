"""Export for py4DSTEM and emdfile: maps, patterns and classes in one EMD 1.0 file, with named axes and units."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stem4d_panel import __version__
from stem4d_panel.results.result import Result
from stem4d_panel.runtime.files import replacing
from stem4d_panel.scan.scan import Axis

ENDINGS = (".emd", ".h5")
_ROOT = "stem4d_panel"
_UNITS = {"px": "pixels"}  # as emdfile calls them; nm, 1/nm and mrad stay
_SPACE = uuid.UUID("6c1b31a8-1a8f-5a9e-9b55-1f5f2f0c7d10")  # ours, for names of files


def save_emd(result: Result, path: str | Path, overwrite: bool = False) -> Path:
    """Write a result's arrays as EMD 1.0, settings and calibration beside them as metadata.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is not set, or it cannot be written.
    """
    path = Path(path)
    with replacing(path, overwrite) as part, h5py.File(part, "w") as f:
        f.attrs.update(
            emd_group_type="file",
            version_major=1,
            version_minor=0,
            UUID=str(uuid.uuid5(_SPACE, f"{result.source.get('fingerprint')} {result.settings.as_dict()}")),
            authoring_program=f"stem4d_panel {__version__}",
            authoring_user="",
        )
        root = _group(f, _ROOT, "root", "Root")
        bundle = root.create_group("metadatabundle")
        bundle.attrs["emd_group_type"] = "metadatabundle"
        # in groups of their own: RosettaSciIO takes for data what in an EMD group has a name that begins with data
        for name, known in _metadata(result).items():
            _write(_group(bundle, name, "metadata", "Metadata"), "values", known)
        for name, (values, units, axes) in _arrays(result).items():
            _write_array(root, name, values, units, axes)
    return path


def _arrays(result: Result) -> dict[str, tuple[np.ndarray, str, tuple[Axis, ...]]]:
    """Name -> values, their unit, and axes."""
    factors, classes, findings = result.factors, result.classes, result.findings
    real, reciprocal = result.axes[:2], result.axes[2:]
    k = (Axis("component", factors.rank, units=""),)
    c = (Axis("class", classes.count, units=""),)
    counts = "counts" if result.preparation.get("is_counts", True) else "intensity"
    return {
        "maps": (factors.maps, counts, k + real),
        "patterns": (factors.patterns, "part of the component", k + reciprocal),
        "class_maps": (classes.maps, counts, c + real),
        "class_located_maps": (classes.located, counts, c + real),
        "class_patterns": (classes.patterns, "part of the class", c + reciprocal),
        "class_of_position": (findings.position_labels, "class", real),
        "orientation": (findings.orientation, "degree", real),
        "mean_pattern": (result.mean_pattern, counts, reciprocal),
        "mask": (result.mask.astype(np.uint8), "1 where kept", reciprocal),
    }


def _metadata(result: Result) -> dict[str, dict[str, Any]]:
    settings: dict[str, dict[str, Any]] = {}
    for name, value in result.settings.as_dict().items():
        group, _, own = name.partition(".")
        settings.setdefault(group, {})[own] = value
    classes = result.classes
    return {
        "settings": settings,
        "known_calibration": dict(result.calibration),  # py4DSTEM takes "calibration" for its own class
        "source": dict(result.source),
        "program": dict(result.provenance),
        "warnings": {str(i): text for i, text in enumerate(result.warnings)},
        "classes": {
            "names": {str(c.label): c.name for c in result.findings.classes},
            "labels": classes.labels,
            "rotations_degree": classes.rotations,
            "shifts_px": classes.shifts,
            "threshold": classes.threshold,
            "merges": result.tree.merges,
            "centre_px": np.array(result.centre),
        },
    }


def _group(parent: h5py.Group, name: str, kind: str, python_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update(emd_group_type=kind, python_class=python_class)
    return group


def _write_array(root: h5py.Group, name: str, values: np.ndarray, units: str, axes: tuple[Axis, ...]) -> None:
    group = _group(root, name, "array", "Array")
    data = group.create_dataset("data", data=values, compression="gzip", shuffle=True, fletcher32=True)
    data.attrs["units"] = units
    for i, axis in enumerate(axes):
        # in full: emdfile makes one value too many of some axes that are given by their first two
        dim = group.create_dataset(f"dim{i}", data=axis.offset + axis.scale * np.arange(axis.size))
        dim.attrs.update(name=axis.name, units=_UNITS.get(axis.units, axis.units))


def _write(group: h5py.Group, name: str, value: Any) -> None:
    """A value of metadata with its type beside it, as emdfile writes it."""
    if isinstance(value, Mapping):
        inner = group.create_group(name)
        inner.attrs["type"] = "dict"
        for key, part in value.items():
            _write(inner, str(key).replace("/", " per "), part)
        return
    kind: str
    stored: Any
    if value is None:
        kind, stored = "None", b"_None"
    elif isinstance(value, bool):
        kind, stored = "bool", value
    elif isinstance(value, (int, float)):
        kind, stored = "number", value
    elif isinstance(value, np.ndarray):
        kind, stored = "array", value
    else:  # lists are few and short
        kind, stored = "string", str(value).encode()
    group.create_dataset(name, data=stored).attrs["type"] = kind.encode()
