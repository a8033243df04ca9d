"""Factors and trees are found again by a later start, equal, by two processes at once too."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.memory import limits
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan

WORK = """
import sys
from stem4d_panel.analysis import Analysis
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.memory import limits
with limits.held(folder=sys.argv[2]):
    for i in range(25):
        rank = 2 + i % 3
        analysis = Analysis(sys.argv[1], cache=Cache(), rank=rank)
        factors = analysis.factors
        print(rank, factors.maps.sum(), factors.relative_error, analysis.tree.merges.sum())
"""


@pytest.fixture
def path(small: Scan, tmp_path: Path) -> Path:
    np.save(tmp_path / "scan.npy", np.asarray(small.data)[:8, :9])
    return tmp_path / "scan.npy"


def assert_equal(a: Any, b: Any) -> None:
    for field in fields(a):
        one, two = getattr(a, field.name), getattr(b, field.name)
        assert type(one) is type(two) or np.isscalar(one)
        if isinstance(one, np.ndarray):
            assert one.dtype == two.dtype
            np.testing.assert_array_equal(one, two)
        else:
            assert one == two or repr(one) == repr(two)  # NaN


def test_a_later_start_finds_factors_and_tree(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scan = open_scan(path)
    with limits.held(folder=tmp_path / "cache"):
        first = Analysis(scan, cache=Cache(), rank=4)
        factors, tree = first.factors, first.tree
        again = Analysis(scan, cache=Cache(), rank=4)
        assert_equal(again.factors, factors)
        assert_equal(again.tree, tree)
        assert not again.ready("compression")  # the factors were there
        assert again.seconds()["factors"] == first.seconds()["factors"]
        assert again.classes.labels.tolist() == first.classes.labels.tolist()
        for file in (tmp_path / "cache" / "values").glob("*.npz"):
            file.write_bytes(file.read_bytes()[:100])
        with caplog.at_level(logging.WARNING):
            spoiled = Analysis(scan, cache=Cache(), rank=4)
            assert_equal(spoiled.factors, factors)
        assert len(caplog.records) == 1
        other = Analysis(scan, cache=Cache(), rank=4, seed=1)
        assert not np.array_equal(other.factors.maps, factors.maps)


def test_a_default_rank_that_was_clamped_is_no_answer_to_a_stated_one(small: Scan, tmp_path: Path) -> None:
    np.save(tmp_path / "tiny.npy", np.asarray(small.data)[:3, :4])
    scan = open_scan(tmp_path / "tiny.npy")
    with limits.held(folder=tmp_path / "cache"):
        assert Analysis(scan, cache=Cache()).factors.rank < 20
        with pytest.raises(ValueError, match=r"factorize\.rank: 20"):
            Analysis(scan, cache=Cache(), rank=20).run("factors")


def test_nothing_is_kept_of_arrays_or_without_a_folder(small: Scan, path: Path, tmp_path: Path) -> None:
    with limits.held(folder=tmp_path / "cache"):
        Analysis(Scan.from_array(np.asarray(small.data)[:8, :9]), cache=Cache(), rank=2).run("factors")
    assert not (tmp_path / "cache" / "values").exists()
    Analysis(path, cache=Cache(), rank=2).run("factors")
    assert not (tmp_path / "cache" / "values").exists()


def test_two_processes_share_a_folder(path: Path, tmp_path: Path) -> None:
    runs = [
        subprocess.Popen([sys.executable, "-c", WORK, str(path), str(tmp_path / "cache")], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    lines = [run.communicate(timeout=120)[0].splitlines() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(lines[0]) == 25
    assert lines[0] == lines[1]
    assert len(set(lines[0])) == 3
