"""Parts of an HDF5 file in other files: refused, or read in the folder where the user allows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from stem4d_panel.errors import DataError
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.settings import DataSettings

SHAPE = (3, 4, 6, 5)
DATA = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
ALLOWED = DataSettings(linked="folder")
Make = Callable[[h5py.File, str], None]


def external_link(file: h5py.File, other: str) -> None:
    file["data"] = h5py.ExternalLink(other + ".h5", "/data")


def external_group(file: h5py.File, other: str) -> None:
    file["group"] = h5py.ExternalLink(other + ".h5", "/")


def virtual(file: h5py.File, other: str) -> None:
    layout = h5py.VirtualLayout(SHAPE, "u2")
    for i in range(SHAPE[0]):
        layout[i] = h5py.VirtualSource(other + ".h5", "data", SHAPE)[i]
    file.create_virtual_dataset("data", layout)


def storage(file: h5py.File, other: str) -> None:
    file.create_dataset("data", SHAPE, "u2", external=[(other + ".raw", 8, h5py.h5f.UNLIMITED)])


def soft_over_external(file: h5py.File, other: str) -> None:
    file["away"] = h5py.ExternalLink(other + ".h5", "/")
    file["data"] = h5py.SoftLink("/away/data")


MADE = [external_link, external_group, virtual, storage, soft_over_external]


def write_other(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "other.h5", "w") as file:
        file["data"] = DATA
    (folder / "other.raw").write_bytes(b"8 bytes." + DATA.tobytes())


def refusal(path: Path, dataset: str | None = None, settings: DataSettings = ALLOWED) -> str:
    with pytest.raises(DataError) as caught:
        open_scan(path, dataset, settings=settings).rows(0, 1)
    text = str(caught.value)
    assert text.startswith("a.h5: ")
    assert str(path.parent) not in text
    return text


def made(folder: Path, make: Make, other: str) -> Path:
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "a.h5", "w") as file:
        make(file, other)
    return folder / "a.h5"


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("other", ["other", "sub/other", "absolute"])
def test_parts_in_the_folder_are_read_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make, other: str
) -> None:
    root = tmp_path / "root"
    write_other(root.parent / "elsewhere")
    root.mkdir()
    write_other(root / os.path.dirname(other))
    monkeypatch.chdir(tmp_path / "elsewhere")  # HDF5 itself would look here for some
    (tmp_path / "elsewhere" / "other.raw").write_bytes(bytes(8 + DATA.nbytes))
    path = made(root, make, str(root / "other") if other == "absolute" else other)
    scan = open_scan(path, settings=ALLOWED)
    np.testing.assert_array_equal(scan.rows(0, 3), DATA)
    np.testing.assert_array_equal(scan.pattern(2, 1), DATA[2, 1])
    assert scan.warnings == ()
    with pytest.raises(DataError, match="has parts in other files"):
        open_scan(path)
    before = scan.fingerprint
    raw = make is storage
    part = root / (os.path.dirname(other) if other != "absolute" else "") / ("other.raw" if raw else "other.h5")
    del scan
    changed = part.read_bytes()
    part.unlink()
    part.write_bytes(changed + b"more" if raw else changed)
    assert open_scan(path, settings=ALLOWED).fingerprint != before


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("way", ["..", "absolute", "link"])
def test_parts_outside_the_folder_are_refused_all_the_same(tmp_path: Path, make: Make, way: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    outside = tmp_path / "data_secret"  # begins like the folder
    write_other(outside)
    if way == "link":
        for name in ("other.h5", "other.raw"):
            (root / name).symlink_to(outside / name)
    other = {"..": "../data_secret/other", "absolute": str(outside / "other"), "link": "other"}[way]
    path = made(root, make, other)
    dataset = "group/data" if make is external_group else "data"
    for named in (None, dataset):
        assert "lies outside the folder, and is not read" in refusal(path, named)


@pytest.mark.parametrize("make", MADE)
def test_a_missing_part_is_an_error_and_no_fill_values(tmp_path: Path, make: Make) -> None:
    path = made(tmp_path, make, "none")
    said = refusal(path)
    assert said in ("a.h5: linked file none.h5 is missing", "a.h5: linked file none.raw is missing")
    if make is virtual:  # a file that is there without the dataset
        with h5py.File(tmp_path / "none.h5", "w") as file:
            file["other"] = 1
        assert refusal(path) == "a.h5: source data in none.h5 is missing or itself linked"
    if make is storage:
        (tmp_path / "none.raw").write_bytes(b"short")
        assert refusal(path) == "a.h5: /data needs 728 bytes of none.raw, which has 5"
    if make is external_link:
        (tmp_path / "none.h5").write_text("no HDF5")
        assert refusal(path) == "a.h5: linked file none.h5 cannot be read"


def test_a_source_that_is_linked_itself_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, virtual, "other")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = h5py.ExternalLink("/etc/hostname", "/data")
    assert refusal(path) == "a.h5: source data in other.h5 is missing or itself linked"


def test_numbered_sources_are_refused(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "u2", maxshape=(None, *SHAPE[1:]))
    layout[0 : h5py.h5s.UNLIMITED : 1] = h5py.VirtualSource("part%b.h5", "data", (1, *SHAPE[1:]))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert "numbers its sources" in refusal(tmp_path / "a.h5")


def test_a_device_is_no_part(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "other.raw")
    assert refusal(made(tmp_path, storage, "other")) == "a.h5: linked file other.raw is not a regular file"


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as a, h5py.File(tmp_path / "b.h5", "w") as b:
        a["data"], a["b"] = DATA, h5py.ExternalLink("b.h5", "/")
        b["a"], b["loop"] = h5py.ExternalLink("a.h5", "/"), h5py.ExternalLink("b.h5", "/loop")
    assert "leads to a linked file that does not have it" in refusal(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as b:
        del b["loop"]
    np.testing.assert_array_equal(open_scan(tmp_path / "a.h5", settings=ALLOWED).rows(0, 3), DATA)


@pytest.mark.parametrize("ending", ["h5", "hspy", "emd", "nxs", "tif", "blo", "zspy", "npy", "none"])
def test_no_reader_of_another_ending_follows_links(tmp_path: Path, ending: str) -> None:
    write_other(tmp_path)
    path = made(tmp_path, external_link, "other").rename(tmp_path / f"a.{ending}")
    with pytest.raises(DataError, match="has parts in other files"):
        open_scan(path)
