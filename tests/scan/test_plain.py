"""NumPy archives, raw binaries and folders of pictures."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.scan.about import contents, info
from stem4d_panel.scan.plain import pictures
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.settings import DataSettings

SCAN = np.arange(3 * 4 * 6 * 5, dtype=np.uint16).reshape(3, 4, 6, 5)


def refusal(path: Path, error: type[Exception] = DataError, **settings: Any) -> str:
    with pytest.raises(error) as caught:
        open_scan(path, settings=DataSettings(**settings)).rows(0, 1)
    text = str(caught.value)
    assert text.isprintable()
    assert str(path.parent) not in text
    return text


# --- archives ---------------------------------------------------------------------------------------------------------


def test_an_array_of_an_archive_is_mapped_where_it_lies(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", dark=np.ones((6, 5)), scan=SCAN, turned=np.asfortranarray(SCAN[:2].astype(">f4")))
    assert [(c.path, c.shape) for c in contents(tmp_path / "a.npz").scans] == [
        ("scan", SCAN.shape),
        ("turned", (2, 4, 6, 5)),
    ]
    assert "has 2 scans: scan (3, 4, 6, 5) uint16, turned (2, 4, 6, 5) >f4" in refusal(tmp_path / "a.npz")
    scan = open_scan(tmp_path / "a.npz", "scan")
    assert isinstance(scan.data, np.memmap)
    np.testing.assert_array_equal(scan.rows(0, 3), SCAN)
    np.testing.assert_array_equal(open_scan(tmp_path / "a.npz", "turned").rows(0, 2), SCAN[:2])


def test_a_bomb_in_an_archive_is_not_unfolded(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", scan=np.zeros((100, 100, 50, 50), np.uint64))  # 200 MB in 200 kB
    assert (tmp_path / "a.npz").stat().st_size < 1e6
    assert refusal(tmp_path / "a.npz") == "a.npz: is compressed, which cannot be read in parts; save its scan as .npy"


def test_a_pickled_array_of_an_archive_is_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "a.npz", scan=np.array([Trap()], dtype=object))
    assert refusal(tmp_path / "a.npz") == "a.npz: holds Python objects, which are not read"
    assert not (tmp_path / "sprung").exists()


def test_an_archive_that_is_none_or_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_text("no archive")
    assert refusal(path) == "a.npz: not a NumPy archive"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scan.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 10) + b"not a dict")
    assert refusal(path).startswith("a.npz: truncated or damaged: ")
    np.savez(path, scan=SCAN)
    raw = path.read_bytes().replace(b"(3, 4, 6, 5)", b"(9, 9, 9, 9)")
    path.write_bytes(raw)
    assert refusal(path) == "a.npz: truncated or damaged: scan.npy ends before its data do"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(1001):
            archive.writestr(f"{i}.npy", b"")
    assert refusal(path) == "a.npz: holds more than 1000 arrays"


# --- raw binaries -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["raw", "bin", "dat", "camera"])
@pytest.mark.parametrize(
    ("dtype", "order"), [("uint16", "little"), ("uint16", "big"), ("float32", "little"), ("int8", "big")]
)
@pytest.mark.parametrize(("offset", "gap", "last_gap"), [(0, 0, True), (7, 0, True), (512, 3, True), (0, 1024, False)])
def test_a_raw_binary_is_what_is_stated(
    tmp_path: Path, ending: str, dtype: str, order: str, offset: int, gap: int, last_gap: bool
) -> None:
    stored = SCAN.astype(np.dtype(dtype).newbyteorder("<" if order == "little" else ">"))
    frames = [frame.tobytes() + b"\xff" * gap for frame in stored.reshape(-1, 6, 5)]
    whole = b"\xee" * offset + b"".join(frames)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(whole if last_gap or not gap else whole[:-gap])
    settings = DataSettings(
        scan_shape="3,4", detector_shape="6,5", dtype=dtype, byte_order=order, offset=offset, gap=gap
    )
    scan = open_scan(path, settings=settings)
    assert not scan.data.flags.owndata
    assert scan.warnings == ()
    np.testing.assert_array_equal(scan.rows(0, 3), SCAN.astype(dtype))
    np.testing.assert_array_equal(scan.pattern(2, 1), SCAN[2, 1].astype(dtype))


def test_what_is_needed_of_a_raw_binary_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(SCAN.tobytes())
    needed = "data.detector_shape: is needed for a.raw, a raw binary, with data.dtype and data.scan_shape"
    assert refusal(path, SettingError) == needed
    assert refusal(path, detector_shape="6,5") == (
        "a.raw: frames (12, 6, 5) without a scan shape; data.scan_shape takes 3,4 or 4,3 or 2,6 or 6,2 or 1,12 or 12,1"
    )
    assert refusal(path, detector_shape="600,500") == (
        "a.raw: 720 bytes from data.offset on hold no frame of 600 × 500 uint16"
    )
    assert refusal(path, detector_shape="6,5", offset=10**6).startswith("a.raw: 0 bytes from data.offset on hold")
    scan = open_scan(path, settings=DataSettings(scan_shape="1,2", detector_shape="6,26"))
    assert scan.warnings == ("96 bytes after the last frame left out",)
    (tmp_path / "b.raw").write_bytes(bytes(130 * 128 * 4 * 6))
    hint = "; it may be of an EMPAD: 128,128 with data.dtype=float32 and data.gap=1024"
    assert refusal(tmp_path / "b.raw", SettingError).endswith(hint)
    empad = DataSettings(scan_shape="2,3", detector_shape="128,128", dtype="float32", gap=1024)
    assert open_scan(tmp_path / "b.raw", settings=empad).shape == (2, 3, 128, 128)


# --- folders of pictures ----------------------------------------------------------------------------------------------


def save(path: Path, picture: np.ndarray) -> None:
    if path.suffix.lower() == ".png":
        from PIL import Image

        Image.fromarray(picture).save(path)
    else:
        import tifffile

        tifffile.imwrite(path, picture)


@pytest.mark.parametrize(
    ("ending", "dtype"), [("png", "u1"), ("png", "u2"), ("tif", "u2"), ("TIFF", "f4"), ("tif", ">u2"), ("tif", "i2")]
)
def test_pictures_are_frames_in_natural_order(tmp_path: Path, ending: str, dtype: str) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    stored = (SCAN % 251).astype(dtype)
    for i in np.random.default_rng(0).permutation(12):
        save(folder / f"img_{i + 1}.{ending}", stored.reshape(-1, 6, 5)[i])
    (folder / "notes.txt").write_text("not a picture")
    assert [f.stem for f in pictures(folder)] == [f"img_{i + 1}" for i in range(12)]
    assert "frames: frames (12, 6, 5) without a scan shape; data.scan_shape takes 3,4 or" in refusal(folder)
    scan = open_scan(folder, scan_shape=(3, 4))
    np.testing.assert_array_equal(scan.rows(0, 3), SCAN % 251)
    about = info(folder, scan_shape=(3, 4))
    assert (about["format"], about["shape"]) == ("folder of pictures", [3, 4, 6, 5])
    before = scan.fingerprint
    save(folder / f"img_1.{ending}", stored[2, 3])
    assert open_scan(folder, scan_shape=(3, 4)).fingerprint != before


def test_pictures_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        save(folder / f"{i}.png", np.zeros((4, 5), np.uint8))
    save(folder / "3.png", np.zeros((4, 6), np.uint8))
    assert "3.png is (4, 6) uint8, the first is 4 × 5 uint8" in refusal(folder, scan_shape="1,4")
    (folder / "3.png").write_text("no picture")
    assert "frames: 3.png: cannot be read" in refusal(folder, scan_shape="1,4")
    save(folder / "0.png", np.zeros((4, 5, 3), np.uint8))
    assert refusal(folder) == "frames: 0.png: is no picture of grey levels, but (4, 5, 3) uint8"
    (folder / "0.png").unlink()
    save(folder / "0.tif", np.zeros((2, 4, 5), np.uint8))
    assert "it has 2 pages; a folder holds one frame a file" in refusal(folder)


def test_links_among_pictures_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    save(tmp_path / "secret.png", np.zeros((4, 5), np.uint8))
    (folder / "0.png").symlink_to(tmp_path / "secret.png")
    assert "is a directory, not a file, and has no pictures" in refusal(folder)
