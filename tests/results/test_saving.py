"""Saving that is cut short: killed, on a full disk, into a folder that is gone. The old result always opens."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import DataError
from stem4d_panel.results import store
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import load_result, save_result
from stem4d_panel.runtime import files
from stem4d_panel.scan.scan import Scan

KILLS = int(os.environ.get("STEM4D_BENCH_KILLS", "20"))
posix = pytest.mark.skipif(os.name != "posix", reason="no signals of that kind, and no fork")


@pytest.fixture(scope="module")
def results(small: Scan) -> tuple[Result, Result]:
    """Two results that differ in their threshold."""
    analysis = Analysis(small, rank=5, threshold=0.3)
    return analysis.result(), analysis.replace(threshold=1.5).result()


@pytest.fixture
def old(results: tuple[Result, Result], tmp_path: Path) -> Path:
    """A result that is there already."""
    (tmp_path / "out").mkdir()
    return save_result(results[0], tmp_path / "out" / "result.hspy")


def forked(work: object) -> int:
    """A child that does nothing but the work, over and over, until it is killed."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                work()  # type: ignore[operator]
        finally:
            os._exit(70)
    return child


@posix
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_killed_at_random_moments_the_old_result_always_opens(
    results: tuple[Result, Result], old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of saving, only the writing is repeated in the child: what comes before touches no file."""
    rng, seen, parts = random.Random(3), set(), 0  # noqa: S311
    contents = {result: store._as_bytes(result) for result in results}
    monkeypatch.setattr(store, "_as_bytes", contents.__getitem__)

    def save_both() -> None:
        for result in results:
            save_result(result, old, overwrite=True)

    for _ in range(KILLS):
        child = forked(save_both)
        time.sleep(rng.uniform(0.005, 0.05))  # the moment is what is tried here
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        seen.add(load_result(old).classes.threshold)
        for left in old.parent.glob(".*.part"):
            left.unlink()
            parts += 1
    assert seen == {0.3, 1.5}
    assert parts > 0  # some were in the midst of it


@posix
def test_a_run_that_is_told_to_end_while_it_saves_leaves_the_old_result(small: Scan, old: Path, tmp_path: Path) -> None:
    """SIGTERM and SIGINT; the new process sweeps up what SIGKILL has left, once that is old."""
    before = old.read_bytes()
    code = """
import sys, threading
from stem4d_panel.results import store
from stem4d_panel.results.store import load_result
result, real = load_result(sys.argv[1]), store.Path.write_bytes
def write(path, content):
    real(path, content[: len(content) // 2])
    print("writing", flush=True)
    threading.Event().wait(60)
store.Path.write_bytes = write
store.save_result(result, sys.argv[1], overwrite=True)
"""
    for sent, codes in ((signal.SIGTERM, {-15, 143, 0}), (signal.SIGINT, {-2, 130, 1}), (signal.SIGKILL, {-9})):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(old)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert child.stdout is not None
        with child.stdout:
            assert child.stdout.readline() == "writing\n"
            child.send_signal(sent)
            assert child.wait(5) in codes
        assert old.read_bytes() == before
    left = list(old.parent.glob(".*.part"))
    assert left  # what was killed could not clean up
    files.sweep(old.parent)
    assert list(old.parent.glob(".*.part")) == left  # it might be another machine's
    for path in left:
        os.utime(path, (0, time.time() - 2 * files.ABANDONED))
    load_result(old)
    save_result(load_result(old), old, overwrite=True)
    assert [p.name for p in old.parent.iterdir()] == ["result.hspy"]


@posix
def test_a_full_disk_leaves_the_old_result_and_says_what_is_needed(old: Path) -> None:
    """A limit on the size of files stands in for the disk, at several places of the writing."""
    before = old.read_bytes()
    code = """
import resource, signal, sys
from stem4d_panel.errors import DataError
from stem4d_panel.results.store import load_result, save_result
result = load_result(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for part in (0.02, 0.3, 0.6, 0.9, 0.99):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(part * int(sys.argv[2])), resource.RLIM_INFINITY))
    try:
        save_result(result, sys.argv[1], overwrite=True)
        print("saved")
    except DataError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(old), str(len(before))], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 5, done
    for line in lines:
        assert line.startswith("result.hspy: cannot be written: "), line
        assert " kB are needed, " in line, line
        assert line.endswith(" are free on its disk"), line
    assert old.read_bytes() == before
    assert list(old.parent.iterdir()) == [old]


def test_a_folder_that_vanishes_while_it_is_saved_is_told(
    results: tuple[Result, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()

    def move(*_: object) -> None:
        folder.rename(tmp_path / "elsewhere")

    monkeypatch.setattr(Path, "write_bytes", move)
    with pytest.raises(DataError, match=r"^new\.hspy: cannot be written: no folder gone$"):
        save_result(results[0], folder / "new.hspy")


def test_nothing_is_asked_on_a_terminal_before_a_file_is_replaced(old: Path) -> None:
    """A question would wait for ever in a server, or fail without a standard input."""
    code = (
        "import sys\nfrom stem4d_panel.errors import DataError\n"
        "from stem4d_panel.results.store import load_result, save_result\n"
        "try: save_result(load_result(sys.argv[1]), sys.argv[1])\n"
        "except DataError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(old)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    )  # fmt: skip
    assert done.stdout.startswith("result.hspy: exists already; --overwrite")
