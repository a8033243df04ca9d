"""The result file: one HDF5 file that HyperSpy, NeXus tools and h5py all open, each array stored once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stem4d_panel.by_hand import check_name
from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.tree import Suggestion, Tree
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.measure.findings import ClassFinding, Findings
from stem4d_panel.results.migrate import LAYOUT, Contents, check_layout, migrate
from stem4d_panel.results.plain import details_from_plain, details_to_plain
from stem4d_panel.results.result import Result
from stem4d_panel.runtime.files import replacing
from stem4d_panel.scan.scan import Axis
from stem4d_panel.settings import GROUPS, Settings

# name -> axes; everything under /entry
_ARRAYS: dict[str, tuple[str, ...]] = {
    "maps": ("k", "y", "x"),
    "patterns": ("k", "ky", "kx"),
    "mask": ("ky", "kx"),
    "mean_pattern": ("ky", "kx"),
    "labels": ("k",),
    "rotations": ("k",),
    "shifts": ("k", "dydx"),
    "merges": ("merge", "column"),
    "distances": ("k", "k_other"),
    "pair_rotations": ("k", "k_other"),
    "anisotropy": ("k",),
    "coherence": ("k",),
    "apart": ("k",),
    "mirrored": ("k",),
    "leaf_order": ("k",),
    "merge_similarity": ("merge",),
    "merge_mirrored": ("merge",),
    "merge_p_values": ("merge",),
    "class_maps": ("c", "y", "x"),
    "class_patterns": ("c", "ky", "kx"),
    "class_located": ("c", "y", "x"),
    "class_autocorrelation": ("c", "angle"),
    "orientation": ("y", "x"),
    "position_labels": ("y", "x"),
    "error_curve": ("iteration",),
}
_UNITS = {"rotations": "degree", "pair_rotations": "degree", "orientation": "degree", "shifts": "px"}
_SIGNALS = {  # title in HyperSpy -> array, signal axes last
    "maps": "maps",
    "patterns": "patterns",
    "class maps": "class_maps",
    "class patterns": "class_patterns",
    "orientation": "orientation",
}
MERGE_COLUMNS = ("first", "second", "height", "size", "rotation", "dy", "dx")


def _arrays(result: Result) -> dict[str, np.ndarray]:
    factors, tree, classes, findings = result.factors, result.tree, result.classes, result.findings
    return {
        "maps": factors.maps,
        "patterns": factors.patterns,
        "mask": result.mask,
        "mean_pattern": result.mean_pattern,
        "labels": classes.labels,
        "rotations": classes.rotations,
        "shifts": classes.shifts,
        "merges": tree.merges,
        "distances": tree.distances,
        "pair_rotations": tree.rotations,
        "anisotropy": tree.anisotropy,
        "coherence": tree.coherence,
        "apart": tree.apart.astype(np.uint8),
        "mirrored": classes.mirrored.astype(np.uint8),
        "leaf_order": np.array(tree.order, np.int64),
        "merge_similarity": tree.similarity,
        "merge_mirrored": tree.mirrored.astype(np.uint8),
        "merge_p_values": tree.p_values,
        "class_maps": classes.maps,
        "class_patterns": classes.patterns,
        "class_located": classes.located,
        "class_autocorrelation": classes.autocorrelation,
        "orientation": findings.orientation,
        "position_labels": findings.position_labels,
        "error_curve": factors.error_curve,
    }


def _axes(result: Result) -> dict[str, Axis]:
    return {axis.name: axis for axis in result.axes}


def save_result(result: Result, path: str | Path, overwrite: bool = False) -> Path:
    """Write a result.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is not set, or it cannot be written.
    """
    path = Path(path)
    content = _as_bytes(result)
    with replacing(path, overwrite, len(content)) as part:
        part.write_bytes(content)
    return path


def _as_bytes(result: Result) -> bytes:
    """The file's content, made in memory: the HDF5 library can crash on a disk that is full."""
    with h5py.File("result", "w", driver="core", backing_store=False) as f:
        f.attrs.update(
            file_format="HyperSpy",
            file_format_version="3.3",
            NX_class="NXroot",
            default="entry",
            creator="stem4d_panel",
            creator_version=str(result.provenance.get("version", "")),
            file_time=str(result.provenance.get("created_utc", "")),
            stem4d_layout=LAYOUT,
        )
        _write_entry(f, result)
        _write_experiments(f, result)
        f.flush()
        return bytes(f.id.get_file_image())


def _write_entry(f: h5py.File, result: Result) -> None:
    entry = f.create_group("entry")
    entry.attrs.update(NX_class="NXentry", default="class_maps")
    entry["title"] = result.name
    for name, values in _arrays(result).items():
        group = entry.create_group(name)
        axes = [a if size else "." for a, size in zip(_ARRAYS[name], values.shape, strict=True)]
        group.attrs.update(NX_class="NXdata", signal="data", axes=axes)
        stored = values.astype(np.uint8) if values.dtype == bool else values
        options: dict[str, Any] = (
            {"compression": "gzip", "shuffle": True, "fletcher32": True} if stored.size > 256 else {}
        )
        data = group.create_dataset("data", data=stored, **options)
        data.attrs["long_name"] = name.replace("_", " ")
        if name in _UNITS:
            data.attrs["units"] = _UNITS[name]
        if values.ndim >= 2 and _ARRAYS[name][-1] in ("x", "kx"):
            group.attrs["interpretation"] = data.attrs["interpretation"] = "image"
        for i, axis in enumerate(_ARRAYS[name]):
            if axes[i] != ".":
                group.attrs[f"{axis}_indices"] = i
                _write_axis(group, axis, values.shape[i], _axes(result).get(axis))
    entry["merges/kind"] = np.array(result.tree.kind, dtype=h5py.string_dtype())
    entry["merges/columns"] = np.array(MERGE_COLUMNS, dtype=h5py.string_dtype())
    entry["labels/moved"] = np.isin(np.arange(result.factors.rank), result.classes.moved).astype(np.uint8)
    entry["labels/moved"].attrs["long_name"] = "moved by hand"
    entry["class_maps/names"] = np.array([c.name for c in result.findings.classes], dtype=h5py.string_dtype())
    _write_processes(entry, result)


def _write_axis(group: h5py.Group, name: str, size: int, axis: Axis | None) -> None:
    values = np.arange(size) if axis is None else axis.offset + axis.scale * np.arange(size)
    group[name] = values
    if axis is not None:
        group[name].attrs["units"] = axis.units


def _write_processes(entry: h5py.Group, result: Result) -> None:
    recipe = result.settings.as_dict()
    text = json.dumps(recipe, sort_keys=True)
    outcome: dict[str, dict[str, Any]] = {
        "data": {"source": dict(result.source)},
        "calibration": {"calibration": dict(result.calibration)},
        "prepare": {"preparation": dict(result.preparation), "warnings": list(result.warnings)},
        "factorize": {
            "rank": result.factors.rank,
            "relative_error": result.factors.relative_error,
            "iterations": result.factors.iterations,
            "converged": result.factors.converged,
            "warnings": list(result.factors.warnings),
        },
        "cluster": {
            "threshold": result.classes.threshold,
            "suggested": result.classes.suggested,
            "suggestion": asdict(result.tree.suggestion),
            "moved": list(result.classes.moved),
            "warnings": list(result.classes.warnings),
        },
        "measure": {
            "warnings": list(result.findings.warnings),
            "classes": [asdict(c) for c in result.findings.classes],
            "details": details_to_plain(result.details),
        },
    }
    for i, stage in enumerate(GROUPS, start=1):
        process = entry.create_group(f"process_{i}")
        process.attrs["NX_class"] = "NXprocess"
        process["program"] = "stem4d_panel"
        process["version"] = str(result.provenance.get("version", ""))
        process["date"] = str(result.provenance.get("created_utc", ""))
        process["sequence_index"] = i
        note = process.create_group("note")
        note.attrs["NX_class"] = "NXnote"
        note["type"] = "application/json"
        note["description"] = stage
        settings = {n: v for n, v in recipe.items() if n.startswith(stage + ".")}
        note["data"] = json.dumps({"settings": settings, **outcome[stage]}, sort_keys=True)
    provenance = entry.create_group("provenance")
    provenance.attrs["NX_class"] = "NXcollection"
    provenance["recipe_json"] = text
    provenance["recipe_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    provenance["explicit_json"] = json.dumps(sorted(result.settings.explicit))
    provenance["program_json"] = json.dumps({**result.provenance, "seconds": dict(result.seconds)}, sort_keys=True)
    provenance["centre"] = np.array(result.centre)
    provenance["axes_json"] = json.dumps([asdict(a) for a in result.axes])


def _write_experiments(f: h5py.File, result: Result) -> None:
    """The same arrays as HyperSpy signals, by hard links."""
    known = _axes(result)
    for title, name in _SIGNALS.items():
        data = f[f"entry/{name}/data"]
        group = f.create_group(f"Experiments/{title}")
        group.attrs.update(package="hyperspy", package_version="2.0")
        group["data"] = data
        for i, (axis, size) in enumerate(zip(_ARRAYS[name], data.shape, strict=True)):
            found = known.get(axis, Axis(axis, size, units=""))
            group.create_group(f"axis-{i}").attrs.update(
                _type="UniformDataAxis",
                name={"k": "component", "c": "class"}.get(axis, axis),
                scale=float(found.scale),
                offset=float(found.offset),
                size=size,
                units=found.units,
                navigate=axis in "kc",
                is_binned=False,
            )
        group.create_group("metadata/General").attrs["title"] = title
        group.create_group("metadata/Signal").attrs["signal_type"] = ""
        for empty in ("original_metadata", "learning_results"):
            group.create_group(empty)


def is_result(path: str | Path) -> bool:
    """Whether a file is a result of this program."""
    try:
        with h5py.File(path, "r") as f:
            return "stem4d_layout" in f.attrs
    except OSError:
        return False


def load_result(path: str | Path) -> Result:
    """Read a result.

    Raises
    ------
    DataError
        If the file is missing, damaged, no result, or of a newer layout. Older layouts are brought to the present one.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path.name}: no such file")
    try:
        with h5py.File(path, "r") as f:
            if "stem4d_layout" not in f.attrs:
                raise DataError(f"{path.name}: is not a result of stem4d_panel")
            layout = int(f.attrs["stem4d_layout"])
            try:
                check_layout(layout)
            except DataError as error:
                raise DataError(f"{path.name}: {error}") from error
            return _read(f["entry"], path.name, layout)
    except DataError:
        raise
    except SettingError as error:
        raise DataError(f"{path.name}: {error}") from error
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{path.name}: is damaged or not a result: {reason}") from error


def _check_shapes(arrays: Mapping[str, np.ndarray], axes: tuple[Axis, ...]) -> None:
    """Hold every array against the others and the axes, since what shows them trusts that they fit."""
    known = {axis.name: (axis.size, f"axis {axis.name}") for axis in axes}
    known |= {"dydx": (2, "the layout"), "column": (len(MERGE_COLUMNS), "the layout")}
    for name, values in arrays.items():
        if values.ndim != len(_ARRAYS[name]) or values.dtype.kind not in "biuf":
            raise ValueError(f"{name} is no array of numbers over {', '.join(_ARRAYS[name])}")
        for axis, size in zip(_ARRAYS[name], values.shape, strict=True):
            axis, size = {"k_other": ("k", size), "merge": ("k", size + 1)}.get(axis, (axis, size))
            expected, source = known.setdefault(axis, (size, name))
            if size != expected:
                raise ValueError(f"{name} has the shape {values.shape}, which does not fit {source}")


def _finding(plain: Mapping[str, Any]) -> ClassFinding:
    """A class from the file's notes; a name that no user could have given is refused."""
    name = plain.get("name", "")  # files of before there were names have none
    return ClassFinding(**{**plain, "members": tuple(plain["members"]), "name": check_name(name) if name != "" else ""})


def _moved(plain: Sequence[Any], rank: int) -> tuple[int, ...]:
    if not all(type(i) is int and 0 <= i < rank for i in plain):
        raise ValueError("the components moved by hand are not components")
    return tuple(plain)


def _read(entry: h5py.Group, name: str, layout: int) -> Result:
    text = entry["provenance/recipe_json"].asstr()[()]
    if hashlib.sha256(text.encode()).hexdigest() != entry["provenance/recipe_sha256"].asstr()[()]:
        raise DataError(f"{name}: its settings do not fit their checksum")
    processes = [entry[process] for process in entry if process.startswith("process_")]
    contents = Contents(
        {key: np.asarray(entry[f"{key}/data"][()]) for key in _ARRAYS if key in entry},
        {p["note/description"].asstr()[()]: json.loads(p["note/data"].asstr()[()]) for p in processes},
        json.loads(text),
        json.loads(entry["provenance/explicit_json"].asstr()[()]),
    )
    migrated = migrate(contents, layout)
    a, notes = {key: contents.arrays[key] for key in _ARRAYS}, contents.notes
    settings = Settings.make(contents.settings)
    settings = Settings(**{g: getattr(settings, g) for g in GROUPS}, explicit=frozenset(contents.explicit))
    axes = tuple(Axis(**axis) for axis in json.loads(entry["provenance/axes_json"].asstr()[()]))
    _check_shapes(a, axes)
    program: Mapping[str, Any] = json.loads(entry["provenance/program_json"].asstr()[()])
    mask = a["mask"].astype(bool)
    fit, cut = notes["factorize"], notes["cluster"]
    factors = Factors(
        a["maps"],
        a["patterns"],
        mask,
        fit["relative_error"],
        a["error_curve"],
        fit["iterations"],
        fit["converged"],
        tuple(fit["warnings"]),
    )
    kind = tuple(entry["merges/kind"].asstr()[()])
    if len(kind) != len(a["merges"]):
        raise ValueError("merges/kind does not fit merges")
    tree = Tree(
        a["merges"],
        kind,
        a["distances"],
        a["pair_rotations"],
        a["anisotropy"],
        a["coherence"],
        a["apart"].astype(bool),
        a["merge_similarity"],
        a["merge_mirrored"].astype(bool),
        a["merge_p_values"],
        tuple(int(i) for i in a["leaf_order"]),
        Suggestion(**cut["suggestion"]),
    )
    classes = Classes(
        cut["threshold"],
        cut["suggested"],
        a["labels"],
        a["rotations"],
        a["mirrored"].astype(bool),
        a["shifts"],
        a["class_patterns"],
        a["class_maps"],
        a["class_located"],
        a["class_autocorrelation"],
        _moved(cut.get("moved", ()), factors.rank),
        tuple(cut.get("warnings", ())),
    )
    found = tuple(_finding(c) for c in notes["measure"]["classes"])
    cy, cx = np.asarray(entry["provenance/centre"][()], np.float64)
    return Result(
        name=entry["title"].asstr()[()],
        axes=axes,  # type: ignore[arg-type]
        centre=(float(cy), float(cx)),
        mask=mask,
        mean_pattern=a["mean_pattern"],
        factors=factors,
        tree=tree,
        classes=classes,
        findings=Findings(found, a["position_labels"], a["orientation"], tuple(notes["measure"].get("warnings", ()))),
        details=details_from_plain(notes["measure"]["details"]),
        settings=settings,
        calibration=notes["calibration"]["calibration"],
        source=notes["data"]["source"],
        preparation=notes["prepare"]["preparation"],
        warnings=(*notes["prepare"]["warnings"], *migrated),
        seconds=program.get("seconds", {}),
        provenance={k: v for k, v in program.items() if k != "seconds"},
    )
