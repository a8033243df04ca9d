"""A server's start on its data before a page asks."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.app.work import HeadStart
from stem4d_panel.runtime.jobs import compute
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


@pytest.fixture
def path(small: Scan, tmp_path: Path) -> Path:
    np.save(tmp_path / "scan.npy", np.asarray(small.data))
    return tmp_path / "scan.npy"


def test_a_page_that_asks_later_finds_the_whole_chain(path: Path) -> None:
    settings = Settings.make({"rank": 4})
    scan = open_scan(path)  # once: NumPy's reader of headers is not safe in two threads on some versions of Python
    head = HeadStart()
    head.begin(path, settings)
    deadline = time.monotonic() + 60
    while not Analysis(scan, settings).ready("findings"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    head.let_go()


def done_at_once() -> Steps[None]:
    yield Progress("none", 0, 1)


def test_what_no_page_wants_ends(path: Path) -> None:
    head = HeadStart()
    head.let_go()
    head.begin(path, Settings.make({"rank": 5}))
    compute.submit("behind", done_at_once).wait(60)
    assert not Analysis(open_scan(path), rank=5).ready("survey")
