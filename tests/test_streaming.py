"""A scan of four times the memory that it may take, drawn block by block, against the same in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import Cancelled, DataError
from stem4d_panel.prepare.matrix import Filling
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.memory import LEAST, limits
from stem4d_panel.runtime.progress import finish, wanted_while
from stem4d_panel.runtime.threads import thread_count
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan

POSITIONS, PIXELS = (120, 128), 94  # uint16: 271 MB
CHANGES = {"rank": 8, "prepare__smooth": 1.0, "prepare__bin": 2}

RUN = """
import json, sys, threading, time
import numpy as np
from stem4d_panel.analysis import Analysis
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.memory import limits
from stem4d_panel.scan.memory import estimate
from stem4d_panel.scan.readers import open_scan

def anonymous():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("RssAnon"))

path, out, limit, cache = sys.argv[1:5]
changes = json.loads(sys.argv[5])
scan = open_scan(path)
small = np.array(scan.rows(0, 12)[:, :24])
np.save(out + ".npy", small)  # a file, too: the kernels are compiled for what a file gives
with limits.held(2**30, cache):
    Analysis(open_scan(out + ".npy"), cache=Cache(), **changes).run("factors")  # what is compiled stays
before, peak, done = anonymous(), 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, anonymous())
threading.Thread(target=watch, daemon=True).start()
with limits.held(int(limit), cache):
    analysis = Analysis(scan, cache=Cache(), **changes)
    needed = estimate(scan.shape, scan.dtype, analysis.settings).needed
    factors = analysis.run("factors")
done.set()
np.savez(out, maps=factors.maps, patterns=factors.patterns)
print(json.dumps({"extra": peak - before, "needed": needed, "reads": analysis.compression.blocks.reads,
    "in_file": not analysis.frames.in_memory, "error": factors.relative_error, "warnings": analysis.frames.warnings}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five crystals in a glass, Poisson counts, one row of the scan at a time."""
    path = tmp_path_factory.mktemp("large") / "large.npy"
    rng = np.random.default_rng(0)
    ky, kx = np.mgrid[:PIXELS, :PIXELS] - (PIXELS - 1) / 2
    radius = np.hypot(ky, kx)
    halo = np.exp(-((radius - 25) ** 2) / 60) + 400 * (radius < 4)
    patterns = []
    for turn in range(5):
        angle = np.deg2rad(17 * turn + 60 * np.arange(6))
        spots = [np.exp(-((ky - 24 * np.sin(a)) ** 2 + (kx - 24 * np.cos(a)) ** 2) / 4) for a in angle]
        patterns.append(np.sum(spots, axis=0))
    y, x = np.mgrid[: POSITIONS[0], : POSITIONS[1]]
    centres = [(25, 30), (30, 95), (70, 60), (95, 25), (90, 100)]
    maps = [np.exp(-((y - v) ** 2 + (x - u) ** 2) / 200) for v, u in centres]
    data = np.lib.format.open_memmap(path, "w+", np.uint16, (*POSITIONS, PIXELS, PIXELS))
    for row in range(POSITIONS[0]):
        expected = 0.4 * halo + 6 * np.tensordot(np.array(maps)[:, row], np.array(patterns), axes=(0, 0))
        data[row] = rng.poisson(expected)
    data.flush()
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="anonymous memory is told by Linux")
def test_four_times_the_memory_runs_to_the_same_end(large: Path, tmp_path: Path) -> None:
    limit = large.stat().st_size // 4
    out, cache = tmp_path / "factors.npz", tmp_path / "cache"
    arguments = [sys.executable, "-c", RUN, str(large), str(out), str(limit), str(cache), json.dumps(CHANGES)]
    told = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    seen = json.loads(told.stdout)
    assert seen["in_file"]
    assert any("file of the cache" in text for text in seen["warnings"])
    assert seen["reads"] <= 6
    assert seen["extra"] <= 1.5 * seen["needed"] < limit
    assert [p for p in cache.iterdir() if p.name != "values"] == []  # factors and trees are kept there
    with limits.held(4 * 10**9):
        whole = Analysis(open_scan(large), cache=Cache(), **CHANGES)
        factors = whole.factors
    assert whole.frames.in_memory
    found = np.load(out)
    for name, ours in (("maps", factors.maps), ("patterns", factors.patterns)):
        assert np.abs(found[name] - ours).max() <= 1e-3 * np.abs(ours).max()
    assert seen["error"] == pytest.approx(factors.relative_error, rel=1e-4)


def test_a_matrix_in_a_file_is_scaled_as_one_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.poisson(3, (9000, 2000)).astype(np.float32)  # 72 MB
    values[70], values[:, 11] = 0, 0
    made = []
    for memory in (LEAST, 10**9):
        with limits.held(memory, tmp_path):
            filling = Filling(*values.shape)
            for start in range(0, 9000, 1000):
                filling.put(start, values[start : start + 1000])
            made.append((filling, finish(filling.scaled_steps("keenan-kotula", 0.5))))
    (in_file, one), (in_memory, two) = made
    assert in_file.in_file
    assert not in_memory.in_file
    assert one.matrix.shape == two.matrix.shape == (8999, 1999)
    for name in ("matrix", "sums", "square", "total"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-6)
    for name in ("row_scale", "column_scale", "rows", "columns"):
        np.testing.assert_allclose(getattr(one.scale, name), getattr(two.scale, name), rtol=1e-6)
    kept = np.delete(np.delete(values, 70, 0), 11, 1)
    np.testing.assert_allclose(
        two.matrix * two.scale.row_scale[:, None] * two.scale.column_scale, 0.5 * kept, rtol=1e-5
    )
    assert two.square == pytest.approx(float((two.matrix.astype(np.float64) ** 2).sum()), rel=1e-6)
    assert two.total == pytest.approx(float(two.matrix.sum(dtype=np.float64)), rel=1e-6)


def test_cancel_takes_effect_within_a_block(small: Scan) -> None:
    analysis = Analysis(small, cache=Cache(), rank=4)
    compression = analysis.compression
    asked = 0

    def once() -> bool:
        nonlocal asked
        asked += 1
        return asked < 2

    with wanted_while(once), pytest.raises(Cancelled):
        compression.blocks.times(np.ones((compression.blocks.shape[1], 1), np.float32))
    assert asked <= 1 + 2 * thread_count()  # each thread asks once more


def test_what_does_not_fit_even_so_is_refused_before_it_is_read(large: Path) -> None:
    with limits.held(LEAST), pytest.raises(DataError, match=r"its analysis needs .* of memory"):
        Analysis(open_scan(large), cache=Cache(), rank=900).run("survey")
