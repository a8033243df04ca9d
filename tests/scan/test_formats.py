"""Scans as other programs write them: the same values on the same axes, whatever the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.about import info, open_frames
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.stack import Guess, frame_sums_steps, virtual_images
from stem4d_panel.settings import DataSettings

SHAPE = (3, 4, 6, 5)
DATA = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
STEPS = [("y", 3.4, "Å"), ("x", 1.7, "Å"), ("ky", 0.025, "1/Å"), ("kx", 0.05, "1/Å")]


def signal(offset: float = -0.05) -> dict[str, Any]:
    """A scan as RosettaSciIO passes signals on."""
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "size": SHAPE[i],
            "scale": scale,
            "offset": offset if i > 1 else 0.0,
            "units": units,
            "navigate": i < 2,
            "index_in_array": i,
            "is_binned": False,
        }
        for i, (name, scale, units) in enumerate(STEPS)
    ]
    metadata = {
        "General": {"title": "scan"},
        "Signal": {"signal_type": ""},
        "Acquisition_instrument": {"TEM": {"beam_energy": 300.0, "convergence_angle": 1.5}},
    }
    return {
        "data": DATA,
        "axes": axes,
        "metadata": metadata,
        "original_metadata": {},
        "tmp_parameters": {},
        "learning_results": {},
        "package_info": {"package": "hyperspy", "package_version": "2.0"},
        "models": {},
        "attributes": {"_lazy": False, "ragged": False},
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["hspy", "emd", "nxs"])
def test_what_rosettasciio_writes_opens_on_its_axes(tmp_path: Path, form: str) -> None:
    module = {"hspy": "hspy", "emd": "emd", "nxs": "nexus"}[form]
    writer = pytest.importorskip(f"rsciio.{module}").file_writer
    path = tmp_path / f"a.{form}"
    writer(str(path), signal())
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)
    np.testing.assert_array_equal(scan.pattern(2, 1), DATA[2, 1])
    expected = [(0.34, 0.0, "nm"), (0.17, 0.0, "nm"), (0.25, -0.5, "1/nm"), (0.5, -0.5, "1/nm")]
    assert [(a.scale, a.offset, a.units) for a in scan.axes] == [
        (pytest.approx(scale), pytest.approx(offset), units) for scale, offset, units in expected
    ]
    assert {a.origin for a in scan.axes} == {"file"}
    assert scan.warnings == (("stored with its axes in reverse: reading is slow",) if form == "emd" else ())
    about = info(path)
    assert about["shape"] == list(SHAPE)
    assert [a["origin"] for a in about["axes"]] == ["file"] * 4


def empad(folder: Path, frames: np.ndarray, scan: str) -> Path:
    """As the EMPAD writes: a header, and frames of 128 × 128 with two rows more that are none of the detector."""
    whole = np.full((len(frames), 130, 128), -1, "<f4")
    whole[:, :128] = frames
    (folder / "frames.raw").write_bytes(whole.tobytes())
    (folder / "a.xml").write_text(f'<root><raw_file filename="frames.raw"/>{scan}</root>')
    return folder / "a.xml"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_empad_scans_and_series_open(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).poisson(2, (6, 128, 128)).astype("f4")
    scan = open_scan(empad(tmp_path, frames, "<pix_x>3</pix_x><pix_y>2</pix_y>"))
    np.testing.assert_array_equal(scan.rows(0, 2), frames.reshape(2, 3, 128, 128))
    raw = open_scan(
        tmp_path / "frames.raw",
        settings=DataSettings(scan_shape="2,3", detector_shape="128,128", dtype="float32", gap=1024),
    )
    np.testing.assert_array_equal(raw.rows(0, 2), scan.rows(0, 2))
    series = "<scan_parameters><series_count>6</series_count></scan_parameters>"
    path = empad(tmp_path, frames, series)
    with pytest.raises(DataError, match=r"frames \(6, 128, 128\) without a scan shape; data\.scan_shape takes 2,3 or"):
        open_scan(path)
    scan = open_scan(path, settings=DataSettings(scan_shape="2,2", flyback=1))
    np.testing.assert_array_equal(scan.rows(0, 2), frames.reshape(2, 3, 128, 128)[:, :2])
    before = scan.fingerprint
    empad(tmp_path, frames + 1, series)
    with pytest.raises(DataError, match="has changed since it was opened"):
        scan.pattern(0, 0)
    assert open_scan(path, settings=DataSettings(scan_shape="2,2", flyback=1)).fingerprint != before


@pytest.mark.shared
def test_tvips_frames_have_shapes_to_choose_from(shared_data: Path) -> None:
    path = shared_data / "files" / "test_tvips_2345_000.tvips"
    frames, guesses = open_frames(path)
    assert guesses[:2] == [Guess(2, 3), Guess(3, 2)]
    sums = finish(frame_sums_steps(frames))
    whole = open_scan(path, scan_shape=(2, 3)).rows(0, 2)
    np.testing.assert_array_equal(virtual_images(sums, guesses)[0], whole.sum(axis=(2, 3)))
    cropped = open_scan(path, settings=DataSettings(scan_shape="2,2", flyback=1))
    np.testing.assert_array_equal(cropped.rows(0, 2), whole[:, :2])


@pytest.mark.shared
def test_merlin_flyback_is_cut(shared_data: Path) -> None:
    path = shared_data / "files" / "merlin_4x2" / "001_4x2_6bit.mib"
    whole = open_scan(path).rows(0, 2)
    scan = open_scan(path, settings=DataSettings(flyback=1))
    assert scan.shape == (2, 3, 256, 256)
    np.testing.assert_array_equal(scan.rows(0, 2), whole[:, :3])
    other = open_scan(path, settings=DataSettings(scan_shape="3,2", first_frame=1))
    np.testing.assert_array_equal(other.rows(0, 3), whole.reshape(8, 256, 256)[1:7].reshape(3, 2, 256, 256))
    assert "1 frames after the scan left out" in other.warnings


def py4dstem(path: Path, data: np.ndarray, **calibration: Any) -> Path:
    """As emdfile lays a data cube of py4DSTEM out, axes of two values among them."""
    with h5py.File(path, "w") as file:
        file.attrs.update(emd_group_type="file", version_major=1, version_minor=0, authoring_program="emdfile")
        root = file.create_group("my_root")
        root.attrs.update(emd_group_type="root", python_class="Root")
        cube = root.create_group("datacube")
        cube.attrs.update(emd_group_type="array", python_class="DataCube")
        cube.create_dataset("data", data=data, chunks=(1, 1, *data.shape[2:]), compression="gzip")
        for i in range(4):
            cube[f"dim{i}"] = np.array([0.0, 1.0])
            cube[f"dim{i}"].attrs["units"] = "pixels"
        mean = root.create_group("dp_mean")  # a product of the analysis beside it
        mean["data"] = data.mean(axis=(0, 1))
        group = root.create_group("metadatabundle/calibration")
        for name, value in calibration.items():
            group[name] = value
    return path


@pytest.mark.parametrize(
    ("calibration", "scan_step", "detector_step"),
    [
        (
            {"R_pixel_size": 2.0, "R_pixel_units": "A", "Q_pixel_size": 0.02, "Q_pixel_units": "A^-1"},
            (0.2, "nm"),
            (0.2, "1/nm"),
        ),
        (
            {"R_pixel_size": 0.2, "R_pixel_units": "nm", "Q_pixel_size": 0.5, "Q_pixel_units": "mrad"},
            (0.2, "nm"),
            (0.5, "mrad"),
        ),
        (
            {"R_pixel_size": 1, "R_pixel_units": "pixels", "Q_pixel_size": 1, "Q_pixel_units": "pixels"},
            (1, "px"),
            (1, "px"),
        ),
        (
            {"R_pixel_size": -2.0, "R_pixel_units": "A", "Q_pixel_size": np.nan, "Q_pixel_units": "A^-1"},
            (1, "px"),
            (1, "px"),
        ),
        ({"Q_pixel_size": b"2", "Q_pixel_units": 7, "R_pixel_size": np.zeros(3)}, (1, "px"), (1, "px")),
        ({}, (1, "px"), (1, "px")),
    ],
)
def test_py4dstem_scans_have_its_calibration(
    tmp_path: Path, calibration: dict[str, Any], scan_step: tuple[float, str], detector_step: tuple[float, str]
) -> None:
    path = py4dstem(tmp_path / "a.h5", DATA, convergence_semiangle_mrad=1.5, **calibration)
    scan = open_scan(path)
    wanted = [(pytest.approx(s), u) for s, u in (scan_step, scan_step, detector_step, detector_step)]
    assert [(a.scale, a.units) for a in scan.axes] == wanted
    assert scan.instrument == {"convergence": 1.5}
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)
    about = info(path)
    assert about["datasets"][0] == {
        "path": "/my_root/datacube/data",
        "shape": list(SHAPE),
        "dtype": "uint16",
        "stored": "chunks 1 × 1 × 6 × 5, gzip",
    }


def test_a_stack_keeps_the_calibration_of_its_detector(tmp_path: Path) -> None:
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        file["cube/data"] = DATA.reshape(12, 6, 5)
        for i, (step, units) in enumerate([(1.0, "s"), (0.25, "1/nm"), (0.5, "1/nm")]):
            file[f"cube/dim{i + 1}"] = step * np.arange(2)
            file[f"cube/dim{i + 1}"].attrs["units"] = units
    scan = open_scan(path, settings=DataSettings(scan_shape="3,4"))
    assert [(a.scale, a.units) for a in scan.axes] == [(1.0, "px")] * 2 + [(0.25, "1/nm"), (0.5, "1/nm")]


def test_nexus_axes_that_are_not_there_are_pixels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file["entry/data/frames"] = DATA
        group = file["entry/data"]
        group.attrs.update(NX_class="NXdata", signal="frames", axes=["y", ".", "gone", "kx"])
        for name, values, units in (("y", [0.0, 0.2, 0.4], "nm"), ("kx", [0.0, 1.0, 2.0, 3.0, 9.0], "1/nm")):
            group[name] = values
            group[name].attrs["units"] = units
    scan = open_scan(tmp_path / "a.nxs")
    assert [(a.scale, a.units) for a in scan.axes] == [(pytest.approx(0.2), "nm")] + [(1.0, "px")] * 3
    for odd in (7, np.zeros(4), "y", ["y", "x"]):
        del scan  # which holds the file
        with h5py.File(tmp_path / "a.nxs", "r+") as file:
            file["entry/data"].attrs["axes"] = odd
        scan = open_scan(tmp_path / "a.nxs")
        assert [a.units for a in scan.axes] == ["px"] * 4
