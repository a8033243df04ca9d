"""The cache on disk: what is kept comes back, and whatever is wrong is a miss with one line."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stem4d_panel.runtime.disk_cache import DiskCache

ARRAYS = {"maps": np.arange(600, dtype=np.float32).reshape(2, 300), "mask": np.array([True, False])}


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    made = DiskCache(tmp_path / "values")
    made.put("a", ARRAYS)
    return made


def same(found: dict[str, np.ndarray] | None) -> bool:
    return found is not None and all(
        np.array_equal(found[n], a) and found[n].dtype == a.dtype for n, a in ARRAYS.items()
    )


def test_what_is_kept_comes_back_in_another_process_too(cache: DiskCache) -> None:
    assert same(cache.get("a"))
    assert same(DiskCache(cache.folder).get("a"))
    assert cache.get("b") is None
    if os.name == "posix":
        assert cache.folder.stat().st_mode & 0o777 == 0o700


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def note(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        about = path.with_suffix(".json")
        about.write_text(json.dumps({**json.loads(about.read_text()), **changes}))

    return change


def write_note(text: str) -> Callable[[Path], object]:
    return lambda path: path.with_suffix(".json").write_text(text)


def pickled(path: Path) -> None:
    """Objects that would run code when they are read, with a checksum that fits."""
    np.savez(path, x=np.array([{}], object))
    content = path.read_bytes()
    note(size=len(content), sha256=hashlib.sha256(content).hexdigest())(path)


def in_its_place_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DEFECTS: dict[str, Callable[[Path], object]] = {
    "cut": cut,
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "values missing": Path.unlink,
    "foreign version": note(version=99),
    "no checksum": note(sha256=None),
    "no JSON": write_note("{"),
    "a list": write_note("[]"),
    "deep": write_note("[" * 100_000),
    "a folder": in_its_place_a_folder,
    "pickled": pickled,
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_whatever_is_wrong_is_a_miss_with_one_line(
    cache: DiskCache, defect: str, caplog: pytest.LogCaptureFixture
) -> None:
    DEFECTS[defect](cache.folder / "a.npz")
    with caplog.at_level(logging.WARNING):
        assert cache.get("a") is None
    assert len(caplog.records) == 1
    assert "\n" not in caplog.text.rstrip()
    if defect != "a folder":
        cache.put("a", ARRAYS)
        assert same(cache.get("a"))


def test_the_budget_holds_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "values", budget=10_000)
    for i, key in enumerate("abc"):
        cache.put(key, ARRAYS)  # about 3,000 bytes each
        os.utime(cache.folder / f"{key}.npz", (i, i))
    assert same(cache.get("a"))
    cache.put("d", ARRAYS)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    cache.put("large", {"x": np.zeros(20_000, np.uint8)})
    assert cache.get("large") is None
    assert len(list(cache.folder.iterdir())) == 6


@pytest.mark.skipif(os.name != "posix", reason="no owners of that kind")
@pytest.mark.parametrize("kind", ["group", "world", "link", "owner", "file"])
def test_a_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "values"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        folder.touch()
    else:
        folder.mkdir(mode=0o700)
        folder.chmod({"group": 0o770, "world": 0o707, "owner": 0o700}[kind])
    if kind == "owner":
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with caplog.at_level(logging.WARNING):
        cache = DiskCache(folder)
    assert len(caplog.records) == 1
    cache.put("a", ARRAYS)
    assert cache.get("a") is None
    if folder.is_dir():
        assert list(folder.iterdir()) == []


def test_a_disk_without_room_keeps_nothing_and_fails_nothing(
    cache: DiskCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with caplog.at_level(logging.WARNING):
        cache.put("b", ARRAYS)
    assert len(caplog.records) == 1
    assert cache.get("b") is None
    assert same(cache.get("a"))
