"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stem4d_panel.errors import DataError
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


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^out\.h5: cannot be written: No space left on device$"),
        replacing(tmp_path / "out.h5", overwrite=False),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^out\.h5: cannot be written: No such file"),
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
