"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stem4d_panel.errors import DataError
from stem4d_panel.runtime import files
from stem4d_panel.runtime.files import replacing


def test_the_file_takes_its_name_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    with replacing(target, overwrite=False) as part:
        part.write_text("new")
        assert part.parent == tmp_path
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    target.write_text("old")
    with pytest.raises(DataError, match=r"^out\.h5: exists already") as caught, replacing(target, overwrite=False):
        pytest.fail("must not begin")
    assert str(tmp_path) not in str(caught.value)
    with replacing(target, overwrite=True) as part:
        part.write_text("new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_old_file_stays_whole_when_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.h5"
    target.write_text("old")

    def write() -> None:
        with replacing(target, overwrite=True) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_told_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^out\.h5: cannot be written: no folder absent"),
        replacing(tmp_path / "absent" / "out.h5", overwrite=False),
    ):
        pytest.fail("must not begin")


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes")
def test_the_mode_is_the_old_files_or_the_umasks(tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    umask = os.umask(0o027)
    try:
        with replacing(target, overwrite=False):
            pass
        assert target.stat().st_mode & 0o777 == 0o640
        target.chmod(0o600)
        with replacing(target, overwrite=True):
            pass
        assert target.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(umask)


def test_a_full_disk_is_told_with_what_is_needed_and_what_is_free(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^out\.h5: .*No space left.*; 3 MB are needed, .* are free on its disk$"),
        replacing(tmp_path / "out.h5", overwrite=False, size=3_000_000),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_device_that_is_full_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"No space left on device; .* are free on its disk"),
        replacing(tmp_path / "out.h5", overwrite=False),
        open("/dev/full", "w") as full,
    ):
        full.write("x")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    target = tmp_path / "out.h5"
    target.write_text("old")

    def refuse(**_: object) -> tuple[int, str]:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    with (
        pytest.raises(DataError, match=f"^out.h5: cannot be written: {os.strerror(number)}$"),
        replacing(target, overwrite=True),
    ):
        pytest.fail("must not begin")
    assert target.read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="there the age alone decides")
def test_parts_of_the_dead_are_swept_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {
        "dead": f".out.stem4d-{gone.pid}-abc_1.part",
        "fresh": f".out.stem4d-{gone.pid}-fresh.part",
        "living": f".out.stem4d-{os.getpid()}-abc.part",
        "foreign": ".out.part",
        "another's": f"out.stem4d-{gone.pid}-abc.part",
    }
    for name in names.values():
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path / names["fresh"])
    with replacing(tmp_path / "other.h5", overwrite=False) as part:
        part.write_text("new")
    assert {p.name for p in tmp_path.iterdir()} == {*names.values(), "other.h5"} - {names["dead"]}
