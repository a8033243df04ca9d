"""Export for py4DSTEM: emdfile, on which it stands, and RosettaSciIO read arrays with their axes and units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import emdfile
import numpy as np
import pytest
from rsciio.emd import file_reader

from stem4d_panel.errors import DataError
from stem4d_panel.results.emd import save_emd
from stem4d_panel.results.result import Result


@pytest.fixture(scope="module")
def written(found: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_emd(found, tmp_path_factory.mktemp("emd") / "small.emd")


def expected(found: Result) -> dict[str, np.ndarray]:
    return {
        "maps": found.factors.maps, "patterns": found.factors.patterns, "class_maps": found.classes.maps,
        "class_patterns": found.classes.patterns, "class_located_maps": found.classes.located,
        "class_of_position": found.findings.position_labels, "orientation": found.findings.orientation,
        "mean_pattern": found.mean_pattern, "mask": found.mask,
    }  # fmt: skip


def test_emdfile_reads_arrays_axes_and_metadata(found: Result, written: Path) -> None:
    root = emdfile.read(written)
    known = {axis.name: axis for axis in found.axes}
    for name, values in expected(found).items():
        array = root.tree(name)
        np.testing.assert_array_equal(array.data, values)
        for axis, unit, dim in zip(array.dim_names, array.dim_units, array.dims, strict=True):
            if axis in known:
                a = known[axis]
                assert unit == a.units
                np.testing.assert_allclose(dim, a.offset + a.scale * np.arange(a.size))
            else:
                assert (axis, unit) == (("class" if name.startswith("class") else "component"), "")
    settings = root.metadata["settings"]["values"]
    assert settings["factorize"]["rank"] == 5
    assert settings["calibration"]["voltage"] is None
    assert root.metadata["known_calibration"]["values"]["voltage"]["value"] == 300
    assert "calibration" not in root.metadata  # which py4DSTEM takes for a class of its own
    classes = root.metadata["classes"]["values"]
    np.testing.assert_array_equal(classes["labels"], found.classes.labels)
    assert classes["names"] == {str(c.label): c.name for c in found.findings.classes}


def test_rosettasciio_reads_them_too(found: Result, written: Path) -> None:
    signals = {s["metadata"]["General"]["title"]: s for s in file_reader(str(written))}
    assert signals.keys() == expected(found).keys()
    known = {axis.name: axis for axis in found.axes}
    for name, values in expected(found).items():
        np.testing.assert_array_equal(signals[name]["data"], values)
        for axis in signals[name]["axes"]:
            if axis["name"] in known:
                a = known[axis["name"]]
                assert axis["units"].replace(" ", "") == a.units
                assert (axis["scale"], axis["offset"]) == pytest.approx((a.scale, a.offset))


def test_pixels_are_called_as_emdfile_does(found: Result, tmp_path: Path) -> None:
    axes = tuple(replace(a, scale=1.0, units="px") for a in found.axes)
    root = emdfile.read(save_emd(replace(found, axes=axes), tmp_path / "a.h5"))
    assert root.tree("orientation").dim_units == ("pixels", "pixels")


def test_nothing_tells_who_wrote_it(written: Path) -> None:
    import h5py

    with h5py.File(written) as f:
        assert f.attrs["authoring_user"] == ""
        assert str(written.parent).encode() not in written.read_bytes()


def test_a_file_that_is_there_stays(found: Result, written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(DataError, match=r"^small\.emd: exists already"):
        save_emd(found, written)
    assert written.read_bytes() == before
    assert save_emd(found, written, overwrite=True).read_bytes() == before  # the same result, the same file
