"""Files that are damaged, odd, hostile or too large: one line each, and nothing read that was not asked for."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stem4d_panel import cli
from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import DataError
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.memory import free_memory, in_bytes
from stem4d_panel.scan import hdf5, plain
from stem4d_panel.scan import probe as probing
from stem4d_panel.scan.about import info
from stem4d_panel.scan.calibration import calibrate
from stem4d_panel.scan.memory import check_analysable, estimate
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.scan.write import write_scan
from stem4d_panel.settings import CalibrationSettings, Settings

SHAPE = (3, 4, 6, 5)
DATA = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)


def write(path: Path, data: Any = DATA, name: str = "data", **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=data, **options)
    return path


def child(code: str, *args: Any) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)


# --- shapes and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 9, 16, 16), (9, 1, 16, 16), (5, 3, 1, 16), (5, 3, 16, 1)])
def test_narrow_scans_are_analysed_at_the_rank_that_they_allow(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).poisson(20, shape).astype(np.uint16)
    result = Analysis(open_scan(write(tmp_path / "a.h5", data)), cache=Cache()).result()
    most = min(shape[0] * shape[1], shape[2] * shape[3])
    assert 1 <= result.factors.rank <= min(20, most)
    assert any("in place of the default 20: the scan allows no more" in w for w in result.warnings)
    assert np.isfinite(result.factors.maps).all()


def test_a_detector_of_one_pixel_is_refused_with_the_reason(tmp_path: Path) -> None:
    scan = open_scan(write(tmp_path / "a.h5", np.ones((5, 6, 1, 1), np.uint8)))
    assert scan.pattern(0, 0) == 1
    with pytest.raises(DataError, match=r"^a\.h5: a detector of 1 × 1 pixel has no patterns to tell apart$"):
        Analysis(scan, cache=Cache()).run("survey")


def test_a_constant_scan_comes_to_an_end_as_one_class(tmp_path: Path) -> None:
    result = Analysis(open_scan(write(tmp_path / "a.h5", np.ones((6, 7, 16, 16), np.uint8))), cache=Cache()).result()
    assert np.isfinite(result.factors.maps).all()
    assert np.isfinite(result.factors.patterns).all()
    assert result.factors.relative_error < 2e-3
    model = np.tensordot(result.factors.maps.sum(axis=(1, 2)), result.factors.patterns, 1)[result.mask]
    assert np.ptp(model) < 0.01 * model.mean()
    assert result.classes.count == 1


@pytest.mark.parametrize("dtype", ["i1", "u1", "?", "i2", "u2", ">u2", "<u4", ">i4", "u8", "f2", ">f4", "f8", ">f8"])
@pytest.mark.parametrize("ending", ["h5", "npy"])
def test_every_real_type_gives_the_frames_of_float32(tmp_path: Path, dtype: str, ending: str) -> None:
    counts = np.random.default_rng(0).poisson(4, (6, 7, 16, 16)) % (2 if dtype == "?" else 100)
    path = tmp_path / f"a.{ending}"
    np.save(path, counts.astype(dtype)) if ending == "npy" else write(path, counts.astype(dtype))
    got = Analysis(open_scan(path), cache=Cache()).frames
    expected = Analysis(counts.astype(np.float32), cache=Cache()).frames
    np.testing.assert_allclose(got.matrix, expected.matrix, rtol=1e-6)
    np.testing.assert_array_equal(got.mask, expected.mask)


def test_saturated_values_are_kept_and_counted(tmp_path: Path) -> None:
    data = DATA.copy()
    data[1, 2, 3, 4] = 2**16 - 1
    analysis = Analysis(open_scan(write(tmp_path / "a.h5", data)), cache=Cache())
    assert analysis.survey.n_saturated == 1
    assert analysis.survey.maximum[3, 4] == 2**16 - 1


@pytest.mark.parametrize("layout", ["fortran", "sliced", "reversed", "element", "odd chunks", "whole"])
def test_the_layout_does_not_matter(tmp_path: Path, layout: str) -> None:
    if layout == "fortran":
        np.save(tmp_path / "a.npy", np.asfortranarray(DATA))
        scan = open_scan(tmp_path / "a.npy")
    elif layout in ("sliced", "reversed"):
        wide = np.zeros((3, 8, 6, 5), np.uint16)
        wide[:, ::2] = DATA
        scan = Scan.from_array(wide[:, ::2] if layout == "sliced" else DATA[::-1, :, ::-1][::-1, :, ::-1])
    else:
        chunks = {"element": (1, 1, 1, 1), "odd chunks": (2, 3, 4, 3), "whole": SHAPE}[layout]
        scan = open_scan(write(tmp_path / "a.h5", chunks=chunks))
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)
    np.testing.assert_array_equal(np.concatenate([block for _, block in scan.blocks(limit=1)]), DATA)
    np.testing.assert_array_equal(scan.pattern(2, 3), DATA[2, 3])
    if layout == "element":
        assert scan.warnings == ("chunks (1, 1, 1, 1) cut each pattern into small parts: reading is slow",)


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_declared_shape_beyond_the_machine_is_refused_at_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("data", (2**15,) * 4, "f8", chunks=(1, 1, 256, 256))
    assert (tmp_path / "bomb.h5").stat().st_size < 20_000
    code = """
import resource, sys
from stem4d_panel import Analysis, open_scan
from stem4d_panel.cli_run import peak_memory
from stem4d_panel.errors import DataError
from stem4d_panel.scan import hdf5
from stem4d_panel.scan import probe as probing
from stem4d_panel.scan.about import info
before = peak_memory()
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30,) * 2)
print(info(sys.argv[1])["memory"]["fits"])
try:
    Analysis(open_scan(sys.argv[1])).result()
except DataError as error:
    print(error)
print(peak_memory() - before)
"""
    done = child(code, tmp_path / "bomb.h5")
    fits, said, growth = done.stdout.splitlines()
    assert fits == "False"
    assert said.startswith("bomb.h5: its analysis needs ")
    assert said.endswith(" are free; prepare.bin makes it smaller")
    assert int(growth) < 50e6


def test_a_scan_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    shape, paths = (32, 64, 256, 256), [tmp_path / "scan.h5", tmp_path / "frames.h5"]
    for path in paths:  # 128 MiB that take no room on the disk
        with h5py.File(path, "w") as file:
            file.create_dataset("data", shape if path.name == "scan.h5" else (2048, 256, 256), "u1")[0] = 2
    code = """
import sys
from stem4d_panel import Scan, open_scan
from stem4d_panel.scan import stack
stack.BLOCK_BYTES = 2**22
def own():  # without pages of files, which the system takes back when it wants
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("RssAnon:"))
for path in sys.argv[1:]:
    scan = open_scan(path, scan_shape=(32, 64))
    before, total, most = own(), 0, 0
    for _, block in scan.blocks(2**22):
        total += int(block.sum())
        most = max(most, own() - before)
    print(total, most)
"""
    done = child(code, *paths)
    assert done.returncode == 0, done.stderr
    (whole, first), (frame, second) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (whole, frame) == (2 * 64 * 2**16, 2 * 2**16)
    assert max(first, second) < 2**27 / 4


def test_the_estimate_is_what_preparing_takes_at_most() -> None:
    code = """
import numpy as np
from stem4d_panel import Analysis, Scan, Settings
from stem4d_panel.cli_run import peak_memory
from stem4d_panel.scan.memory import estimate
rng = np.random.default_rng(0)
ky, kx = np.indices((64, 64)) - 31.5
data = np.empty((64,) * 4, np.uint16)
for row in data:  # an array of all would be the peak
    row[:] = rng.poisson(200 * (np.hypot(ky, kx) < 4) + 1.0, (64, 64, 64))
Analysis(data[:8, :8].copy()).run("frames")  # what is compiled and loaded once
before = peak_memory()
Analysis(data).run("frames")
memory = estimate(data.shape, data.dtype, Settings.make())
print(peak_memory() - before, memory.needed, memory.frames)
"""
    done = child(code)
    assert done.returncode == 0, done.stderr
    grown, needed, frames = map(int, done.stdout.split())
    assert 2 * frames < grown < needed < 2 * grown


def test_what_does_not_fit_is_told_and_what_does_is_not(monkeypatch: pytest.MonkeyPatch, small: Scan) -> None:
    memory = estimate(small.shape, small.dtype, Settings.make())
    assert memory.scan == small.nbytes
    assert memory.frames == 14 * 18 * 32 * 32 * 4
    monkeypatch.setattr("stem4d_panel.scan.memory.free_memory", lambda: memory.needed - 1)
    with pytest.raises(DataError, match=r"^small: its analysis needs \d\.\d+ MB of memory, \d\.\d+ MB are free"):
        check_analysable(small, Settings.make())
    check_analysable(small, Settings.make({"prepare.bin": 4}))
    monkeypatch.setattr("stem4d_panel.scan.memory.free_memory", lambda: None)
    check_analysable(small, Settings.make())
    assert estimate(small.shape, small.dtype, Settings.make()).fits is None


def test_the_machine_tells_what_is_free() -> None:
    free = free_memory()
    assert free is not None
    assert 2**24 < free < 2**50


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_600, "1 MB"), (2**63, "9.22 EB"), (10**22, "10000 EB")],
)
def test_bytes_in_words(count: int, text: str) -> None:
    assert in_bytes(count) == text


# --- hostile structure ------------------------------------------------------------------------------------------------


def test_groups_in_a_circle_are_walked_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", name="g/h/data")
    with h5py.File(path, "r+") as file:
        file["g/h/up"], file["g/self"], file["again"] = file["/"], file["g"], file["g/h/data"]
    assert open_scan(path).shape == SHAPE
    assert len(info(path)["datasets"]) == 1


@pytest.mark.parametrize("form", ["deep", "wide"])
def test_more_than_is_looked_at_is_told(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        group = file.create_group("z")
        for i in range(hdf5.OBJECTS + 1):
            if form == "deep":
                group = group.create_group("g")
            else:
                group.id.links.create_soft(f"{i}".encode(), b"/data")
    with pytest.raises(DataError, match=r"^a\.h5: holds more than 10000 objects; name one with --dataset PATH$"):
        open_scan(path)
    assert open_scan(path, "data").shape == SHAPE


def spoiled(folder: Path, count: int) -> list[Path]:
    """Copies of a scan with a few bytes changed, the same at every run."""
    whole = write_scan(
        Scan.from_array(DATA, scan_step=1.0, detector_step=0.1, voltage=200), folder / "a.hspy"
    ).read_bytes()
    rng, paths = np.random.default_rng(0), []
    for i in range(count):
        raw = bytearray(whole)
        for _ in range(rng.integers(1, 9)):
            raw[rng.integers(len(raw))] ^= int(rng.integers(1, 256))
        paths.append(folder / f"{i}.h5")
        paths[-1].write_bytes(raw)
    return paths


def test_a_spoiled_file_ends_in_an_error_or_in_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "SECONDS", 5.0)  # one of these keeps some versions of the library busy for ever
    refused = 0
    for path in spoiled(tmp_path, 12):
        try:
            probing.probe(path)
            info(path)
            scan = open_scan(path)
            if scan.nbytes < 1e6:
                scan.rows(0, 1)
        except DataError as error:
            assert str(error).startswith(path.name)  # noqa: PT017 - some open all the same
            refused += 1
    assert 0 < refused < 12


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ("import os; os.abort()", "a.h5: damaged: the HDF5 library crashes on it"),
        ("while True: pass", "a.h5: damaged: the HDF5 library does not come back from it within 1 s"),
    ],
)
def test_a_file_that_ends_the_library_does_not_end_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ends: str, says: str
) -> None:
    stub = tmp_path / "stub.py"
    stub.write_text(ends)
    path = write(tmp_path / "a.h5")
    with monkeypatch.context() as patched:
        patched.setattr(probing, "__file__", str(stub))
        patched.setattr(probing, "SECONDS", 1.0)
        with pytest.raises(DataError) as caught:
            probing.probe(path)
        assert str(caught.value) == says
        assert cli.main(["info", str(path)]) == 2
        assert capsys.readouterr().err == f"stem4d: {says}\n"
        np.save(tmp_path / "a.npy", DATA)
        probing.probe(tmp_path / "a.npy")  # is no matter of that library
    probing.probe(path)


def test_a_first_reading_passes_what_is_sound_or_merely_odd_and_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.h5", chunks=(1, 4, 6, 5), compression="gzip")
    with h5py.File(path, "r+") as file:
        file["away"], file["loop"], file["up"] = h5py.ExternalLink("/dev/zero", "/"), h5py.SoftLink("/loop"), file["/"]
        file.attrs["odd"] = np.void(b"\xff" * 1000)
    probing.probe(path)
    monkeypatch.setattr(probing.subprocess, "run", lambda *_, **__: pytest.fail("it was read before"))
    probing.probe(path)
    probing.probe(tmp_path / "missing.h5")
    probing.probe(tmp_path)


@pytest.mark.parametrize("units", [b"\xff\xfe\x00nm" * 1000, "n" * 10**7, "<img src=x onerror=alert(1)>", "\x1b[31m\n"])
def test_a_hostile_attribute_is_shown_short_and_harmless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], units: str | bytes
) -> None:
    path = write(tmp_path / "a.hspy", name="Experiments/a/data")
    with h5py.File(path, "r+", libver="latest") as file:
        for i in range(4):
            axis = file.create_group(f"Experiments/a/axis-{i}", track_order=True)
            axis.attrs["scale"] = 2.0
            axis.attrs["units"] = np.void(units) if isinstance(units, bytes) else units
            axis.attrs["_type"] = np.void(os.urandom(1000))
        file["Experiments/a/metadata"] = file["Experiments"]
    scan = open_scan(path)
    assert [a.units for a in scan.axes] == ["px"] * 4
    assert cli.main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert len(out) < 2000
    assert all(line.isprintable() for line in out.splitlines())


# --- calibration ------------------------------------------------------------------------------------------------------


def test_without_a_calibration_everything_is_in_pixels_and_saved_so(tmp_path: Path, small: Scan) -> None:
    path = write_scan(small, tmp_path / "a.hspy")
    with h5py.File(path, "r+") as file:
        for i in range(4):
            file[f"Experiments/scan/axis-{i}"].attrs.clear()
        del file["Experiments/scan/metadata"]
    scan = open_scan(path)
    known = calibrate(scan, CalibrationSettings())
    assert not known.calibrated
    assert known.as_dict()["scan_step_x"] == {"value": 1.0, "unit": "px", "origin": "none"}
    assert known.as_dict()["voltage"] == {"value": None, "unit": "kV", "origin": "none"}
    again = open_scan(write_scan(scan, tmp_path / "b.hspy"))
    assert [(a.scale, a.units, a.origin) for a in again.axes] == [(1.0, "px", "none")] * 4
    result = Analysis(scan, cache=Cache(), rank=3).result()
    assert [a.units for a in result.axes] == ["px"] * 4
    assert result.calibration["scan_step_y"]["unit"] == "px"


@pytest.mark.parametrize(
    ("units", "step", "kept"),
    [
        ("mrad", 2.0, "mrad"),
        ("rad", 2000.0, "mrad"),
        ("µrad", 0.002, "mrad"),
        ("μrad", 0.002, "mrad"),
        ("1/A", 20.0, "1/nm"),
        ("A^-1", 20.0, "1/nm"),
        ("1/Å", 20.0, "1/nm"),
        ("Å⁻¹", 20.0, "1/nm"),
        ("1/nm", 2.0, "1/nm"),
        ("nm^-1", 2.0, "1/nm"),
        ("1/µm", 0.002, "1/nm"),
        ("1/μm", 0.002, "1/nm"),
        ("cm", 1.0, "px"),
        ("pixels", 1.0, "px"),
    ],
)
def test_units_of_the_detector_are_those_of_the_house_and_come_back(
    tmp_path: Path, units: str, step: float, kept: str
) -> None:
    path = write(tmp_path / "a.hspy", name="Experiments/a/data")
    with h5py.File(path, "r+") as file:
        for i in range(4):
            file.create_group(f"Experiments/a/axis-{i}").attrs.update(scale=2.0, units=units if i > 1 else "nm")
    scan = open_scan(path)
    assert [(a.scale, a.units) for a in scan.axes[2:]] == [(pytest.approx(step), kept)] * 2
    assert open_scan(write_scan(scan, tmp_path / "b.hspy")).axes == scan.axes


@pytest.mark.parametrize("scale", [0.0, -2.0, np.nan, np.inf, -np.inf])
def test_a_step_that_cannot_be_is_told_and_left_out(tmp_path: Path, scale: float) -> None:
    path = write(tmp_path / "a.hspy", name="Experiments/a/data")
    with h5py.File(path, "r+") as file:
        for i in range(4):
            file.create_group(f"Experiments/a/axis-{i}").attrs.update(scale=scale, units="nm" if i < 2 else "1/nm")
    scan = open_scan(path)
    assert [(a.scale, a.units, a.origin) for a in scan.axes] == [(1.0, "px", "none")] * 4
    assert scan.warnings == (
        f"calibration: scan step {scale} nm cannot be used; shown in pixels",
        f"calibration: detector step {scale} 1/nm cannot be used; shown in pixels",
    )


# --- names and places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        unicodedata.normalize("NFC", "Zürich é.hspy"),
        unicodedata.normalize("NFD", "Zürich é.hspy"),
        "two words 'and' \"quotes\".hspy",
        "😀.H5",
        "new\nline.h5",
        "😀" * 62 + ".H5",
        "x" * 250 + ".hspy",
    ],
)
def test_a_file_keeps_its_name_through_opening_and_saving(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    scan = open_scan(write(tmp_path / name))
    assert open_scan(write_scan(scan, tmp_path / "out" / name)).shape == SHAPE
    assert os.listdir(tmp_path / "out") == [name]


def test_links_are_followed_inside_the_root_alone(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "data_secret"
    root.mkdir()
    outside.mkdir()
    write(root / "in.h5")
    write(outside / "out.h5")
    (root / "good.h5").symlink_to(root / "in.h5")
    (root / "bad.h5").symlink_to(outside / "out.h5")
    assert open_scan(root / "good.h5", root=root).shape == SHAPE
    for path in (root / "bad.h5", outside / "out.h5", root / ".." / "data_secret" / "out.h5"):
        with pytest.raises(DataError, match="lies outside the folder that is served"):
            open_scan(path, root=root)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize(("name", "reader"), [("a.h5", hdf5), ("a.npy", plain)])
def test_a_file_that_is_swapped_while_it_is_opened_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: Any, back: bool
) -> None:
    root = tmp_path / "data"
    root.mkdir()
    path, secret, kept, read = root / name, tmp_path / f"secret{name}", root / "kept", reader.read
    for file, values in ((path, DATA), (secret, DATA + 1)):
        if reader is plain:
            np.save(file, values)
        else:
            write(file, values)

    def swapped(*args: Any) -> Any:
        path.rename(kept)
        path.symlink_to(secret)
        try:
            return read(*args)
        finally:
            if back:
                kept.replace(path)

    monkeypatch.setattr(reader, "read", swapped)
    says = "changed while it was opened" if back else "lies outside the folder that is served"
    with pytest.raises(DataError, match=rf"^{re.escape(name)}: {says}$"):
        open_scan(path, root=root)


def test_sockets_and_the_memory_of_a_process_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.h5")
        with pytest.raises(DataError, match=r"^a\.h5: is not a regular file$"):
            open_scan("a.h5")
    with pytest.raises(DataError, match=r"^mem: "):
        open_scan("/proc/self/mem")


@pytest.mark.parametrize("ending", ["h5", "npy"])
@pytest.mark.parametrize("way", ["written", "replaced", "removed", "touched"])
def test_a_file_that_changes_while_it_is_in_use_is_noticed(tmp_path: Path, ending: str, way: str) -> None:
    path, other = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    for p in (path, other):
        np.save(p, DATA) if ending == "npy" else write(p)
    scan = open_scan(path)
    analysis = Analysis(scan, cache=Cache())
    analysis.run("survey")
    if way == "written":
        with path.open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x07")
    elif way == "replaced":
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        other.replace(path)
    elif way == "removed":
        path.unlink()
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=rf"^a\.{ending}: the file has changed since it was opened; open it again$"):
        analysis.run("frames")
    with pytest.raises(DataError, match="has changed"):
        scan.pattern(0, 0)


def test_a_file_that_a_program_is_writing_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    code = """
import sys, h5py
with h5py.File(sys.argv[1], "r+") as file:
    print("open", flush=True)
    sys.stdin.readline()
"""
    path = write(tmp_path / "a.h5")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(DataError, match=r"^a\.h5: is being written by another program; try again when"):
            open_scan(path)
        holder.communicate("\n", timeout=20)
    assert open_scan(path).shape == SHAPE
