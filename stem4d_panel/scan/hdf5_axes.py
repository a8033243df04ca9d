"""What an HDF5 file says of the axes of a dataset: HyperSpy, EMD of both kinds, py4DSTEM, NeXus."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from stem4d_panel.scan.hdf5_paths import attribute, find_known, value_of
from stem4d_panel.scan.linked import name_text
from stem4d_panel.scan.readers import RawAxis
from stem4d_panel.scan.units import to_house_units

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_AXIS = 2**16


def described(file: Any, where: str, data: Any) -> tuple[list[RawAxis], dict[str, Any]]:
    """Axes and instrument by the layout that stands around the dataset; nothing where it stands alone."""
    group = where.rpartition("/")[0]
    if find_known(file, f"{group}/axis-0") is not None:
        tem = find_known(file, f"{group}/metadata/Acquisition_instrument/TEM")
        axes = [_hyperspy_axis(find_known(file, f"{group}/axis-{i}")) for i in range(data.ndim)]
        return axes, {"voltage": attribute(tem, "beam_energy"), "convergence": attribute(tem, "convergence_angle")}
    if (named := _nexus_axes(file, group)) is not None and len(named) == data.ndim:
        return [
            _emd_axis(find_known(file, f"{group}/{name}"), n) for name, n in zip(named, data.shape, strict=True)
        ], {}
    first = 0 if find_known(file, f"{group}/dim0") is not None else 1
    axes = [_emd_axis(find_known(file, f"{group}/dim{i + first}"), n) for i, n in enumerate(data.shape)]
    calibration = _calibration(file, group)
    if calibration is None:
        return axes, {}
    steps = {
        key: value_of(calibration, key) for key in ("R_pixel_size", "R_pixel_units", "Q_pixel_size", "Q_pixel_units")
    }
    spaces = ["R"] * (data.ndim - 2) + ["Q"] * 2
    axes = [
        _recalibrated(raw, steps[f"{s}_pixel_size"], steps[f"{s}_pixel_units"], s)
        for raw, s in zip(axes, spaces, strict=True)
    ]
    return axes, {"convergence": value_of(calibration, "convergence_semiangle_mrad")}


def _hyperspy_axis(group: Any) -> RawAxis:
    return RawAxis(attribute(group, "scale"), attribute(group, "offset"), attribute(group, "units"))


def _emd_axis(dim: Any, size: int) -> RawAxis:
    """From a vector of positions, or of the first two of them, as emdfile shortens it."""
    if not isinstance(dim, h5py.Dataset) or dim.ndim != 1 or dim.dtype.kind not in "iuf":
        return RawAxis()
    if dim.size not in (2, size) or not 2 <= dim.size <= _LONGEST_AXIS:
        return RawAxis()
    values = dim[()].astype(float)
    step = (values[-1] - values[0]) / (values.size - 1)
    if not np.allclose(np.diff(values), step, rtol=0.01, atol=0):
        return RawAxis()
    return RawAxis(step, values[0], attribute(dim, "units"))


def _nexus_axes(file: Any, group: str) -> list[str] | None:
    """Names of the datasets that hold the axes of an NXdata group; "." where an axis has none."""
    try:
        names = np.atleast_1d(find_known(file, group).attrs["axes"]).tolist()
    except (AttributeError, LookupError, OSError, RuntimeError, ValueError, TypeError):
        return None
    return [name_text(name) for name in names] if all(isinstance(name, str | bytes) for name in names) else None


def is_reversed(axes: Sequence[RawAxis]) -> bool:
    """Whether units say kx, ky, x, y, the order in which HyperSpy writes EMD files."""
    spaces = ("real", "reciprocal")
    known = [[to_house_units(a.units, space)[0] != "px" for space in spaces] for a in axes] if len(axes) == 4 else []
    return known == [[False, True]] * 2 + [[True, False]] * 2


def turned(data: Any) -> Any:
    """The array with its axes in reverse, lazily."""
    import dask.array as da

    return da.from_array(data, chunks=getattr(data, "chunks", None) or "auto", name=False).transpose()


def _calibration(file: Any, group: str) -> Any:
    """py4DSTEM's calibration of the nearest group that has one."""
    while group:
        found = find_known(file, f"{group}/metadatabundle/calibration")
        if isinstance(found, h5py.Group):
            return found
        group = group.rpartition("/")[0]
    return None


def _recalibrated(raw: RawAxis, size: Any, units: Any, space: str) -> RawAxis:
    """The calibration group's step where it has a usable one, as py4DSTEM takes it, else what the axis says."""
    usable = isinstance(size, (int, float)) and math.isfinite(size) and size > 0
    unit, _ = to_house_units(units, "real" if space == "R" else "reciprocal")
    return RawAxis(size, raw.offset, units) if usable and unit != "px" else raw
