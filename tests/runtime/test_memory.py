"""Limits of memory, sizes as text, and arrays in files."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.runtime import memory
from stem4d_panel.runtime.memory import LEAST, Limits, file_array, free_memory, limits, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("2GB", 2 * 10**9),
        ("500 mb", 5 * 10**8),
        ("1.5GiB", 3 * 2**29),
        ("64k", 64000),
        ("3T", 3 * 10**12),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "2 gallons", "1e9", "nan", "2IB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="is no size"):
        parse_bytes(text)


def test_limits_hold_inside_the_block_and_come_back(tmp_path: Path) -> None:
    own = Limits()
    assert LEAST <= own.budget() <= max(LEAST, free_memory())
    with own.held(10**9, tmp_path / "new" / "folder"):
        assert own.budget() == 10**9
        assert own.cache_folder() == tmp_path / "new" / "folder"
        with own.held(2 * 10**9):
            assert own.budget() == 2 * 10**9
            assert own.cache_folder() == tmp_path / "new" / "folder"
    assert own.memory is None
    assert own.folder is None
    with pytest.raises(SettingError, match="--max-memory: 1000 bytes are below the least, 67108864"), own.held(1000):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match=r"--cache-dir: .*file.* cannot be made"),
        own.held(folder=tmp_path / "file" / "x"),
    ):
        pass


def test_an_array_in_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with limits.held(folder=tmp_path):
        array = file_array((300, 70))
        array[10:20] = 3
        assert array.dtype == np.float32
        assert array.sum() == 2100
        if os.name == "posix":
            assert list(tmp_path.iterdir()) == []
        del array
        gc.collect()
        assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(total=10**9, free=10**8, used=9 * 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with limits.held(folder=tmp_path):
        with pytest.raises(DataError, match=r"needs 0\.08 GB and its disk has 0\.10 GB free"):
            file_array((20_000, 1000))
        assert list(tmp_path.iterdir()) == []
        assert file_array((10_000, 1000)).shape == (10_000, 1000)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> tuple[int, str]:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(memory.tempfile, "mkstemp", refuse)
    with limits.held(folder=tmp_path), pytest.raises(DataError, match="cannot be written: Read-only file system"):
        file_array((10, 10))


def test_what_is_promised_to_one_is_not_free_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [1000]
    monkeypatch.setattr(memory, "free_memory", lambda: free[0])
    own = Limits()
    with own.promised(600, "one"):
        with (
            pytest.raises(
                DataError, match=r"^two: its analysis needs 500 B of memory, 400 B are free beside the 600 B"
            ),
            own.promised(500, "two"),
        ):
            pytest.fail("must not begin")
        free[0] = 450  # the first has begun to fill what it was promised
        with own.promised(400, "two"):
            pass
        free[0] = 300  # and another program takes some
        with pytest.raises(DataError, match="300 B are free"), own.promised(400, "two"):
            pytest.fail("must not begin")
    free[0] = 1000
    with own.promised(1000, "two"), own.promised(0, "three"):
        pass
    with (
        pytest.raises(DataError, match=r"^two: .* 1 kB are free; prepare\.bin makes it smaller$"),
        own.promised(1001, "two"),
    ):
        pytest.fail("must not begin")
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    with own.promised(10**15, "where nothing tells"):
        pass


def test_a_limit_holds_all_that_is_promised() -> None:
    own = Limits()
    with (
        own.held(LEAST),
        own.promised(LEAST - 1, "one"),
        pytest.raises(DataError, match="1 B are free"),
        own.promised(2, "two"),
    ):
        pytest.fail("must not begin")
    with own.promised(2, "two"):
        pass
