"""Readers: what opens, with which axes, and what is refused with which line."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.pauses import search_everything
from stem4d_panel.scan import hdf5
from stem4d_panel.scan.about import contents, info
from stem4d_panel.scan.readers import Candidate, open_scan
from stem4d_panel.scan.scan import Axis, Scan

SHAPE = (3, 4, 6, 5)
DATA = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def shared():
    if not SHARED.is_dir():
        pytest.skip("no folder shared/data beside the repository")
    return SHARED


def write(path: Path, **datasets) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name.replace("__", "/")] = data
    return path


def steps(scan: Scan) -> list[tuple[float, str]]:
    return [(pytest.approx(a.scale), a.units) for a in scan.axes]


def refusal(path, **options) -> str:
    """The message of the refusal: one line, harmless, that starts with the file's name and shows no folder."""
    with pytest.raises(DataError) as caught:
        open_scan(path, **options)
    text = str(caught.value)
    assert text.isprintable()
    assert str(Path(path).parent) + os.sep not in text
    return text


def emd(path: Path, *, calibrated: bool = True, short: bool = True) -> Path:
    """As py4DSTEM's own writer lays a data cube out."""
    with h5py.File(path, "w") as file:
        file.attrs.update(emd_group_type="file", version_major=1, version_minor=0, authoring_program="emdfile")
        root = file.create_group("datacube_root")
        root.attrs.update(emd_group_type="root", python_class="Root")
        cube = root.create_group("datacube")
        cube.attrs.update(emd_group_type="array", python_class="DataCube")
        cube["data"] = DATA
        for i, (label, step, units) in enumerate(
            [("Rx", 2.0, "A"), ("Ry", 2.0, "A"), ("Qx", 0.05, "A^-1"), ("Qy", 0.05, "A^-1")]
        ):
            dim = cube.create_dataset(f"dim{i}", data=np.arange(2 if short else SHAPE[i]) * step)
            dim.attrs.update(name=label, units=units if not calibrated else "pixels")
        calibration = root.create_group("metadatabundle/calibration")
        if calibrated:
            calibration["R_pixel_size"], calibration["R_pixel_units"] = 0.2, "nm"
            calibration["Q_pixel_size"], calibration["Q_pixel_units"] = 0.05, "A^-1"
            calibration["convergence_semiangle_mrad"] = 1.5
    return path


# --- what opens -----------------------------------------------------------------------------------------------------


def test_plain_hdf5_is_read_in_place_and_in_pixels(tmp_path):
    scan = open_scan(write(tmp_path / "any.thing", deep__inside__scan=DATA, other=np.ones((4, 5))))
    assert np.shares_memory(scan.rows(0, 3), scan.data)
    assert not scan.data.flags.writeable
    assert scan.source.dataset == "/deep/inside/scan"
    assert steps(scan) == [(1, "px")] * 4
    assert scan.warnings == ()
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)


@pytest.mark.parametrize("how", [{"userblock_size": 1024}, {"driver": "stdio"}, {"libver": "latest"}])
def test_hdf5_in_one_piece_wherever_it_begins(tmp_path, how):
    with h5py.File(tmp_path / "a.h5", "w", **how) as file:
        file["note"] = "x" * 999
        file["data"] = DATA
    scan = open_scan(tmp_path / "a.h5")
    assert np.shares_memory(scan.rows(0, 3), scan.data)
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)


@pytest.mark.parametrize("how", [{"chunks": (1, 2, 6, 5)}, {"compression": "gzip"}, {"fletcher32": True}])
def test_hdf5_in_pieces_is_lazy(tmp_path, how):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=DATA, **how)
    scan = open_scan(tmp_path / "a.h5")
    assert isinstance(scan.data, h5py.Dataset)
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)


@pytest.mark.parametrize("dtype", ["i1", "u1", "bool", ">u2", "<i4", "f2", ">f4", "f8"])
def test_every_real_dtype(tmp_path, dtype):
    data = (DATA % 2).astype(dtype)
    scan = open_scan(write(tmp_path / "a.h5", data=data))
    np.testing.assert_array_equal(scan.rows(0, 3), data.astype(float))
    assert scan.rows(0, 1).dtype.isnative
    assert scan.rows(0, 1).dtype.name in ("int8", "uint8", "uint16", "int32", "float32", "float64")


@pytest.mark.parametrize("shape", [(1, 1, 6, 5), (1, 4, 6, 5), (3, 1, 6, 5), (3, 4, 1, 1)])
def test_narrow_scans(tmp_path, shape):
    assert open_scan(write(tmp_path / "a.h5", data=np.ones(shape))).shape == shape


def test_hyperspy(tmp_path):
    hs = pytest.importorskip("hyperspy.api")
    signal = hs.signals.Signal2D(DATA)
    for axis, scale, units in zip(
        signal.axes_manager._axes, (3.4, 3.4, 0.025, 0.025), ("Å", "Å", "1/Å", "1/Å"), strict=True
    ):
        axis.scale, axis.units = scale, units
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 300)
    signal.metadata.set_item("Acquisition_instrument.TEM.convergence_angle", 1.0)
    signal.save(tmp_path / "a.hspy")
    scan = open_scan(tmp_path / "a.hspy")
    assert isinstance(scan.data, h5py.Dataset)
    assert scan.shape == SHAPE
    assert steps(scan) == [(0.34, "nm")] * 2 + [(0.25, "1/nm")] * 2
    assert scan.instrument == {"voltage": 300.0, "convergence": 1.0}
    assert info(tmp_path / "a.hspy")["format"] == "HyperSpy"


@pytest.mark.filterwarnings("ignore:The NestedDirectoryStore is deprecated")
def test_hyperspy_zarr(tmp_path):
    pytest.importorskip("zarr")
    signal = pytest.importorskip("hyperspy.api").signals.Signal2D(DATA)
    for axis, units in zip(signal.axes_manager._axes, ("nm", "nm", "1/nm", "1/nm"), strict=True):
        axis.scale, axis.units = 0.5, units
    store = tmp_path / "a.zspy"
    signal.save(store)
    scan = open_scan(store)
    assert steps(scan) == [(0.5, "nm")] * 2 + [(0.5, "1/nm")] * 2
    np.testing.assert_array_equal(scan.rows(1, 2), DATA[1:2])
    before = scan.fingerprint
    header = next(p for p in store.rglob(".zarray") if json.loads(p.read_text())["shape"] == list(SHAPE))
    header.write_text(json.dumps(json.loads(header.read_text()) | {"filters": [{"id": "pickle", "protocol": 5}]}))
    assert refusal(store) == "a.zspy: holds Python objects, which are not read"
    assert Scan(scan.data, scan.axes, scan.name, scan.source).fingerprint != before


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("short", [True, False])
def test_py4dstem(tmp_path, calibrated, short):
    path = emd(tmp_path / "a.h5", calibrated=calibrated, short=short)
    scan = open_scan(path)
    assert steps(scan) == [(0.2, "nm")] * 2 + [(0.5, "1/nm")] * 2
    assert scan.instrument == ({"convergence": 1.5} if calibrated else {})
    np.testing.assert_array_equal(scan.pattern(2, 1), DATA[2, 1])
    assert info(path)["format"] == "EMD 1.0 (py4DSTEM)"


def test_old_emd_with_depths(tmp_path):
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        for depth in range(2):
            group = file.create_group(f"sim/depth{depth}")
            group["cube"] = DATA + depth
            for i, units in enumerate(("[n_m]", "[n_m]", "[n_m^-1]", "[n_m^-1]")):
                group[f"dim{i + 1}"] = np.linspace(0, 0.5 * (SHAPE[i] - 1), SHAPE[i], dtype="f4")
                group[f"dim{i + 1}"].attrs["units"] = np.bytes_(units)
    assert [c.path for c in contents(path).scans] == ["/sim/depth0/cube", "/sim/depth1/cube"]
    text = refusal(path)
    assert "/sim/depth0/cube (3, 4, 6, 5) uint16" in text
    assert text.endswith("pick one with --dataset PATH")
    scan = open_scan(path, "sim/depth1/cube")
    assert scan.pattern(0, 0)[0, 0] == 1
    assert steps(scan) == [(0.5, "nm")] * 2 + [(0.5, "1/nm")] * 2
    assert "axes" not in info(path)
    assert info(path, "sim/depth1/cube")["shape"] == list(SHAPE)
    assert "has no dataset 'sim/none'; --dataset takes /sim/depth0/cube" in refusal(path, dataset="sim/none")
    assert "has 1 axes (3,) in /sim/depth0/dim1" in refusal(path, dataset="/sim/depth0/dim1")


def test_npy_is_mapped(tmp_path):
    np.save(tmp_path / "a.npy", DATA)
    scan = open_scan(tmp_path / "a.npy")
    assert isinstance(scan.data, np.memmap)
    assert contents(tmp_path / "a.npy").scans == [Candidate("", SHAPE, "uint16")]
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)


def test_blockfile(tmp_path):
    blockfile = pytest.importorskip("rsciio.blockfile")
    data = (np.arange(3 * 4 * 6 * 6) % 251).astype("u1").reshape(3, 4, 6, 6)
    axes = [
        {"size": n, "index_in_array": i, "name": name, "scale": 0.3, "offset": 0.0, "units": units, "navigate": i < 2}
        for i, (n, name, units) in enumerate(
            zip(data.shape, ("y", "x", "dy", "dx"), ("nm", "nm", "cm", "cm"), strict=True)
        )
    ]
    signal = {"data": data, "axes": axes, "metadata": {}, "original_metadata": {}, "attributes": {"_lazy": False}}
    blockfile.file_writer(str(tmp_path / "a.blo"), signal, intensity_scaling=None, navigator=np.zeros((3, 4), "u1"))
    scan = open_scan(tmp_path / "a.blo")
    assert steps(scan) == [(0.3, "nm")] * 2 + [(1, "px")] * 2
    assert scan.warnings == ("calibration: detector in cm, a camera length; shown in pixels",)
    np.testing.assert_array_equal(scan.rows(0, 3), data)
    assert info(tmp_path / "a.blo")["format"] == "RosettaSciIO blockfile"


@pytest.mark.parametrize("ending", ["npy", "h5"])
def test_frames_are_folded(tmp_path, ending):
    path, frames = tmp_path / f"a.{ending}", DATA.reshape(12, 6, 5)
    if ending == "npy":
        np.save(path, frames)
    else:
        write(path, stack=frames, dark=np.ones((6, 5)))
    assert "frames (12, 6, 5)" in refusal(path)
    assert refusal(path).endswith("data.scan_shape takes 3,4 or 4,3 or 2,6 or 6,2 or 1,12 or 12,1")
    scan = open_scan(path, scan_shape=(3, 4))
    assert scan.shape == SHAPE
    np.testing.assert_array_equal(scan.rows(1, 3), DATA[1:3])
    assert "12 frames" in refusal(path, scan_shape=(5, 2))
    assert "do not fill data.scan_shape 5,2 (5 × 2 = 10 frames); data.scan_shape takes 3,4 or 4,3" in refusal(
        path, scan_shape=(5, 2)
    )


def test_another_scan_shape(tmp_path):
    path = write(tmp_path / "a.h5", data=DATA)
    scan = open_scan(path, scan_shape=(2, 6))
    np.testing.assert_array_equal(scan.rows(0, 2), DATA.reshape(2, 6, 6, 5))
    assert scan.fingerprint != open_scan(path).fingerprint


def test_info_of_a_picture(tmp_path):
    about = info(write(tmp_path / "a.h5", image=np.ones((4, 5), "f4"), n=np.arange(3)))
    assert about["datasets"] == [{"path": "/image", "shape": [4, 5], "dtype": "float32", "stored": ""}]
    assert about["bytes_on_disk"] == (tmp_path / "a.h5").stat().st_size
    assert "axes" not in about


def test_huge_declared_shape_allocates_nothing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (2**15,) * 4, "f8", chunks=(1, 1, 256, 256))
    scan = open_scan(tmp_path / "a.h5")
    assert scan.nbytes == 2**63
    assert scan.warnings[0] == f"{2**44} of {2**44} chunks unwritten"
    with pytest.raises(DataError, match=r"^a.h5: rows 0 to 9 of /data cannot be read: "):
        scan.rows(0, 10)


def test_layout_warnings(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "SLOW_GZIP", 0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (4, 4, 16, 16), "u2", chunks=(2, 4, 4, 4), compression="gzip")
        data[:2] = 1
    assert open_scan(tmp_path / "a.h5").warnings == (
        "16 of 32 chunks unwritten",
        "gzip chunks: reading is slow",
        "chunks (2, 4, 4, 4) cut each pattern into small parts: reading is slow",
    )
    blocks = [rows for rows, _ in open_scan(tmp_path / "a.h5").blocks(limit=3 * 4 * 16 * 16 * 2)]
    assert blocks == [slice(0, 2), slice(2, 4)]


@pytest.mark.parametrize(
    ("scale", "units", "step", "unit"),
    [
        (2.0, "µm", 2000, "nm"),
        (2.0, "μm", 2000, "nm"),
        (-2.0, "Å", 1, "px"),
        (0.0, "nm", 1, "px"),
        (np.nan, "nm", 1, "px"),
        (np.inf, "nm", 1, "px"),
        (2.0, "furlongish", 1, "px"),
        (2.0, "", 1, "px"),
        (np.zeros(3), "nm", 1, "px"),
        (2.0, np.zeros(3), 1, "px"),
        (2.0, "n" * 60000, 1, "px"),
    ],
)
def test_odd_calibrations(tmp_path, scale, units, step, unit):
    path = write(tmp_path / "a.hspy", Experiments__a__data=DATA)
    with h5py.File(path, "r+") as file:
        for i in range(4):
            axis = file.create_group(f"Experiments/a/axis-{i}")
            axis.attrs["scale"], axis.attrs["units"] = scale, units
    scan = open_scan(path)
    assert steps(scan)[:2] == [(step, unit)] * 2
    told = isinstance(units, str) and units != ""
    assert any("calibration: " in w for w in scan.warnings) == told


def test_absurd_offset_is_dropped():
    assert Axis.from_file("kx", 256, 0.17, -1.1e10, "1/nm").offset == 0


def test_soft_links_inside_are_followed(tmp_path):
    path = write(tmp_path / "a.nxs", raw__frames=DATA)
    with h5py.File(path, "r+") as file:
        file["entry"] = h5py.SoftLink("/raw")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["loop"] = h5py.SoftLink("/loop")
        file["raw/up"] = file["/"]
    assert open_scan(path).source.dataset == "/raw/frames"
    assert open_scan(path, "entry/frames").shape == SHAPE
    assert "has no dataset" in refusal(path, dataset="loop")


@pytest.mark.parametrize("name", ["a b'\"ü😀.H5", "new\nline.h5", "\x1b[31mred.h5", "x" * 250 + ".h5"])
def test_odd_names(tmp_path, name):
    scan = open_scan(write(tmp_path / name, data=DATA))
    assert scan.shape == SHAPE
    assert scan.name.isprintable()
    (tmp_path / name).write_text("no")
    assert refusal(tmp_path / name).endswith(".h5: not an HDF5 file".replace(".h5", name[-3:]))


# --- what is refused ------------------------------------------------------------------------------------------------


def no_file(path): ...


def directory(path):
    path.mkdir()


def empty(path):
    path.touch()


def fifo(path):
    os.mkfifo(path)


def text(path):
    path.write_text("this is not data\n" * 100)


ENDINGS = [
    "h5",
    "hspy",
    "npy",
    "blo",
    "mib",
    "dm4",
    "tvips",
    "ser",
    "emi",
    "xml",
    "mrc",
    "mrcz",
    "prz",
    "tif",
    "rpl",
    "zspy",
]


@pytest.mark.parametrize("ending", [e for e in ENDINGS if e != "zspy"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_file, "no such file"),
        (directory, "is a directory, not a file, and has no pictures (.png, .tif)"),
        (empty, "is empty"),
        (fifo, "is not a regular file"),
    ],
)
def test_no_data_at_all(tmp_path, make, says, ending):
    make(tmp_path / f"a.{ending}")
    assert refusal(tmp_path / f"a.{ending}") == f"a.{ending}: {says}"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a reader that fails leaves its file open
@pytest.mark.parametrize("ending", ENDINGS)
def test_text_under_every_ending(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    text(path)
    said = refusal(path)
    search_everything()  # here, where the warning is expected
    assert said.startswith(f"a.{ending}: ")
    assert "unsafe" not in said
    assert "pickle" not in said
    if ending in ("h5", "hspy"):
        assert said == f"a.{ending}: not an HDF5 file"


def test_device():
    assert refusal("/dev/zero") == "zero: is not a regular file"


def test_odd_paths(tmp_path):
    assert refusal("a\0b.h5").startswith("a\\x00b.h5: cannot be opened")
    assert refusal(tmp_path / ("x" * 300)).startswith("xxx")


def test_unknown_ending(tmp_path):
    text(tmp_path / "a.weird")
    said = refusal(tmp_path / "a.weird")
    assert said.startswith("a.weird: unknown ending .weird; known are HDF5 files of any ending and ")
    assert ".blo" in said
    text(tmp_path / "none")
    assert "unknown ending none" in refusal(tmp_path / "none")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_hdf5(tmp_path, part):
    path = write(tmp_path / "a.h5", data=DATA)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    assert refusal(path) == f"a.h5: truncated or damaged: {len(whole)} bytes expected, {int(len(whole) * part)} there"


def test_damaged_chunk_is_told_on_reading(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=DATA, chunks=(1, 4, 6, 5), fletcher32=True)
        offset = data.id.get_chunk_info(1).byte_offset
    raw = bytearray((tmp_path / "a.h5").read_bytes())
    raw[offset] ^= 1
    (tmp_path / "a.h5").write_bytes(raw)
    scan = open_scan(tmp_path / "a.h5")
    scan.rows(0, 1)
    with pytest.raises(DataError, match=r"^a.h5: rows 1 to 1 of /data, chunk \(1, 0, 0, 0\), cannot be read: "):
        scan.rows(1, 2)
    with pytest.raises(
        DataError, match=r"^a.h5: position \(y=1, x=0\) of /data, chunk \(1, 0, 0, 0\), cannot be read: "
    ):
        scan.pattern(1, 0)


@pytest.mark.parametrize("shape", [(7,), (4, 5), (6, 4, 5), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("ending", ["h5", "npy"])
def test_wrong_number_of_axes(tmp_path, shape, ending):
    path = tmp_path / f"a.{ending}"
    np.save(path, np.ones(shape)) if ending == "npy" else write(path, there=np.ones(shape))
    said = refusal(path)
    assert str(shape) in said
    assert ending == "npy" or "/there" in said


def test_several_stacks_are_listed(tmp_path):
    said = refusal(write(tmp_path / "a.h5", one=np.ones((6, 4, 5)), two=np.ones((6, 4, 5))))
    assert "/one (6, 4, 5) float64, /two (6, 4, 5) float64; frames need data.scan_shape" in said


@pytest.mark.parametrize(("shape", "axis"), [((0, 4, 6, 5), "y"), ((3, 4, 6, 0), "kx")])
@pytest.mark.parametrize("ending", ["h5", "npy"])
def test_axis_of_length_zero(tmp_path, shape, axis, ending):
    path = tmp_path / f"a.{ending}"
    np.save(path, np.ones(shape)) if ending == "npy" else write(path, data=np.ones(shape))
    assert refusal(path).endswith(f"axis {axis} has length 0") or "damaged" in refusal(path)


@pytest.mark.parametrize(
    ("dtype", "named"),
    [("c8", "complex64"), ([("a", "f4"), ("b", "f4")], "[('a', '<f4'), ('b', '<f4')]"), ("S3", "S3")],
)
@pytest.mark.parametrize("ending", ["h5", "npy"])
def test_what_is_no_real_number(tmp_path, dtype, named, ending):
    path = tmp_path / f"a.{ending}"
    data = np.zeros(SHAPE, dtype)
    np.save(path, data) if ending == "npy" else write(path, data=data)
    said = refusal(path)
    assert named in said
    assert said.endswith("not real numbers")


def test_pickled_npy(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert refusal(tmp_path / "a.npy") == "a.npy: holds Python objects, which are not read"
    assert not (tmp_path / "sprung").exists()


def test_truncated_npy(tmp_path):
    np.save(tmp_path / "a.npy", DATA)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:300])
    assert refusal(tmp_path / "a.npy").startswith("a.npy: truncated or damaged: ")


def external_link(file, other):
    file["data"] = h5py.ExternalLink(other, "/data")


def external_group(file, other):
    file["group"] = h5py.ExternalLink(other, "/")


def virtual(file, other):
    layout = h5py.VirtualLayout(SHAPE, "u2")
    layout[:] = h5py.VirtualSource(other, "data", SHAPE)
    file.create_virtual_dataset("data", layout)


def virtual_missing(file, other):
    virtual(file, other + ".none")


def storage(file, other):
    file.create_dataset("data", SHAPE, "u2", external=[(other, 0, h5py.h5f.UNLIMITED)])


def soft_over_external(file, other):
    file["away"] = h5py.ExternalLink(other, "/")
    file["data"] = h5py.SoftLink("/away/data")


@pytest.mark.parametrize("link", [external_link, external_group, virtual, virtual_missing, storage, soft_over_external])
def test_linked_parts(tmp_path, link):
    other = write(tmp_path / "other.h5", data=DATA)
    path = write(tmp_path / "a.h5", own=DATA)
    with h5py.File(path, "r+") as file:
        link(file, str(other))
    assert "has parts in other files (/" in refusal(path)
    inside = "group/data" if link is external_group else "data"
    assert (
        refusal(path, dataset=inside)
        == f"a.h5: {inside} lies in another file, which is not read; data.linked=folder allows those in its folder"
    )
    assert open_scan(path, "own").shape == SHAPE  # named, and not linked


def test_linked_calibration_is_not_followed(tmp_path):
    other = emd(tmp_path / "other.h5")
    path = write(tmp_path / "a.h5", g__data=DATA)
    with h5py.File(path, "r+") as file:
        file["g/metadatabundle"] = h5py.ExternalLink(str(other), "/datacube_root/metadatabundle")
        file["g/dim0"] = h5py.ExternalLink(str(other), "/datacube_root/datacube/dim0")
    scan = open_scan(path, "g/data")
    assert steps(scan) == [(1, "px")] * 4
    assert scan.instrument == {}


def test_too_many_objects(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "OBJECTS", 20)
    path = write(tmp_path / "a.h5", **{f"d{i}": np.arange(2) for i in range(30)}, data=DATA)
    assert refusal(path) == "a.h5: holds more than 20 objects; name one with --dataset PATH"
    assert open_scan(path, "data").shape == SHAPE


def test_a_result_is_no_scan(tmp_path):
    path = write(tmp_path / "a.hspy", data=DATA)
    with h5py.File(path, "r+") as file:
        file.attrs.update(creator="stem4d_panel", stem4d_layout=1)
    assert refusal(path) == "a.hspy: is a result of stem4d_panel, not a scan"
    assert info(path)["format"] == "stem4d_panel result"


def test_unknown_filter(tmp_path):
    space, plist = h5py.h5s.create_simple(SHAPE), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(SHAPE)
    plist.set_filter(40123, h5py.h5z.FLAG_OPTIONAL)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, plist)
    said = refusal(tmp_path / "a.h5")
    assert said.startswith("a.h5: /data is compressed with HDF5 filter 40123")
    assert said.endswith("which is not installed")


def test_plugin_filters_are_read(tmp_path):
    plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=DATA, chunks=(1, 4, 6, 5), **plugin.Blosc())
    np.testing.assert_array_equal(open_scan(tmp_path / "a.h5").rows(0, 3), DATA)


def test_locked_by_a_writer(tmp_path):
    path = write(tmp_path / "a.h5", data=DATA)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as HDF5 itself locks
        assert refusal(path) == "a.h5: is being written by another program; try again when it has closed it"
    assert open_scan(path).shape == SHAPE


def test_refused_files_are_closed(tmp_path):
    path = write(tmp_path / "a.h5", data=np.ones((3, 3)))
    refusal(path)
    contents(path)
    info(path)
    with h5py.File(path, "r+"):
        pass


def test_empad_frames_elsewhere(tmp_path):
    (tmp_path / "a.xml").write_text('<root><raw_file filename="../secret.raw"/><pix_x>2</pix_x><pix_y>2</pix_y></root>')
    assert refusal(tmp_path / "a.xml") == "a.xml: has its frames in another folder (../secret.raw), which is not read"


def test_control_characters_inside(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["\x1b[31mred\n"] = np.ones((3, 3))
        file[b"not utf-8 \xff"] = np.ones((3, 3))
    said = refusal(path)
    assert "/\\x1b[31mred\\n (3, 3) float64" in said
    assert "/not utf-8 \\udcff (3, 3) float64" in said


# --- files of other programs ----------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("ending", ["hspy", "py4dstem.h5", "blo"])
def test_simulated_scan(shared, ending):
    scan = open_scan(shared / "glass-a" / f"glass-a.{ending}")
    assert scan.shape == (48, 56, 80, 80)
    assert steps(scan) == [(0.34, "nm")] * 2 + ([(1, "px")] if ending == "blo" else [(0.25, "1/nm")]) * 2
    assert scan.instrument == ({"voltage": 300.0, "convergence": 1.0} if ending == "hspy" else {})
    first = open_scan(shared / "glass-a" / "glass-a.hspy").rows(47, 48)
    np.testing.assert_array_equal(scan.rows(47, 48), first.clip(max=255) if ending == "blo" else first)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("test1.blo", (3, 2, 144, 144), [(12.8, "nm")] * 2 + [(1, "px")] * 2),
        ("merlin_4x2/001_4x2_6bit.mib", (2, 4, 256, 256), [(1, "px")] * 4),
        ("merlin_4x2/002_4x2_6bit_roi128.mib", (2, 4, 128, 256), [(1, "px")] * 4),
        ("16x16-diffraction_imagel_5x5x256x256_EDS_2.ser", (5, 5, 256, 256), [(1.8739, "nm")] * 2 + [(1, "px")] * 2),
        (
            "16x16-diffraction_imagel_5x5x256x256_EDS.emi",
            (5, 5, 256, 256),
            [(1.8739, "nm")] * 2 + [(0.17435, "1/nm")] * 2,
        ),
        ("py4DSTEM_size2x3x4x5.h5", (2, 3, 4, 5), [(0.126797, "nm")] * 2 + [(0.442516, "1/nm")] * 2),
    ],
)
def test_other_programs(shared, name, shape, expected):
    scan = open_scan(shared / "files" / name)
    assert scan.shape == shape
    assert [(a.scale, a.units) for a in scan.axes] == [(pytest.approx(s, rel=1e-3), u) for s, u in expected]
    assert all(abs(a.offset) < 1e3 for a in scan.axes)
    assert scan.rows(0, 1).shape == (1, *shape[1:])
    assert info(shared / "files" / name)["shape"] == list(shape)


@pytest.mark.shared
def test_what_a_reader_logs_becomes_a_warning(shared, tmp_path, capfd):
    source = shared / "files" / "merlin_4x2" / "001_4x2_6bit.mib"
    (tmp_path / "a.mib").write_bytes(source.read_bytes())
    scan = open_scan(tmp_path / "a.mib")
    np.testing.assert_array_equal(scan.rows(0, 2), open_scan(source).rows(0, 2))
    assert scan.warnings == ("quantumdetector: `hdr` file couldn't be found.",)
    assert capfd.readouterr() == ("", "")


@pytest.mark.shared
def test_tvips_needs_a_scan_shape(shared):
    path = shared / "files" / "test_tvips_2345_000.tvips"
    assert (
        refusal(path)
        == f"{path.name}: frames (6, 4, 5) without a scan shape; data.scan_shape takes 2,3 or 3,2 or 1,6 or 6,1"
    )
    scan = open_scan(path, scan_shape=(2, 3))
    assert scan.shape == (2, 3, 4, 5)
    assert scan.rows(0, 2).shape == (2, 3, 4, 5)
    assert scan.instrument == {"voltage": 200.0}


@pytest.mark.shared
def test_prismatic_has_two_depths(shared):
    path = shared / "files" / "Si100_4D.emd"
    assert "has 2 scans: " in refusal(path)
    scan = open_scan(path, contents(path).scans[1].path)
    assert scan.shape == (11, 11, 8, 8)
    assert [a.units for a in scan.axes] == ["nm", "nm", "1/nm", "1/nm"]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["files/test1.blo", "files/merlin_4x2/001_4x2_6bit.mib", "files/Si100_4D.emd"])
@pytest.mark.parametrize("part", [0.02, 0.6])
def test_truncated_files_of_other_programs(shared, tmp_path, name, part):
    whole = (shared / name).read_bytes()
    path = tmp_path / Path(name).name
    path.write_bytes(whole[: int(len(whole) * part)])
    try:
        open_scan(path).rows(0, 2)
    except DataError as error:
        assert str(error).startswith(path.name)  # noqa: PT017  (some readers pad what is missing)
