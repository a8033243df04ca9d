"""How long things take. Prints tables; asserts nothing about time. Run with `nox -s benchmarks`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright
from tables import spread, table, timed
from ui_server import FLAGS, Server, chromium, free_port

from stem4d_panel.analysis import Analysis
from stem4d_panel.factorize import NMF
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.sample import sample_scan
from stem4d_panel.stages import STAGES


def test_import() -> None:
    code = "import time; t = time.perf_counter(); import stem4d_panel; print(time.perf_counter() - t)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(7)
    ]
    table("import stem4d_panel", [("median (least to most) of 7", spread([1e3 * r for r in runs], "ms"))])


def test_chain_on_the_sample() -> None:
    sample_scan(0)
    rows = [("stage", "seconds of 3 runs, kernels compiled")]
    took: dict[str, list[float]] = {}
    made = [timed(lambda: sample_scan(0)) for _ in range(3)]
    scan = sample_scan(0)
    Analysis(scan, cache=Cache()).result()
    for _ in range(3):
        analysis = Analysis(scan, cache=Cache())
        analysis.run()
        for stage, seconds in analysis.seconds().items():
            took.setdefault(stage, []).append(seconds)
    rows += [("simulate", spread(made))] + [(stage, spread(took[stage])) for stage in STAGES]
    table("the sample, 64 × 64 positions, 96 × 96 pixels, rank 20", rows)


def test_factorisation_beside_scikit_learn() -> None:
    from sklearn import decomposition

    X = Analysis(sample_scan(0), cache=Cache()).frames.matrix
    NMF(2).fit(X[:64])

    def fit(model: Any) -> tuple[float, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 400 iterations may not be enough for scikit-learn's tolerance
            return timed(lambda: model.fit_transform(X)), model.reconstruction_err_

    ours: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    for _ in range(3):  # in turn, so that both meet the machine in the same state
        ours.append(fit(NMF(20)))
        plain.append(fit(decomposition.NMF(20, init="nndsvda", solver="cd", max_iter=400)))
    ratio = median(p[0] for p in plain) / median(o[0] for o in ours)
    table(
        f"NMF, k = 20, {X.shape[0]} × {X.shape[1]} float32, initial factors included",
        [
            ("", "seconds", "Frobenius error"),
            ("this package", spread([o[0] for o in ours]), f"{ours[0][1]:.4f}"),
            ("scikit-learn cd, nndsvda, at most 400", spread([p[0] for p in plain]), f"{plain[0][1]:.4f}"),
            ("ratio", f"{ratio:.1f}", ""),
        ],
    )


def test_first_page(tmp_path: Path) -> None:
    """From the start of the process, warm, and once with an empty cache of compiled kernels."""
    rows = [("start", "named steps", "progress shown", "analysis finished")]
    flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=flags)
        for name, cache in (
            ("warm", None),
            ("warm", None),
            ("warm", None),
            ("no compiled kernels", tmp_path / "numba"),
        ):
            env = {**os.environ, **({"NUMBA_CACHE_DIR": str(cache)} if cache else {})}
            port = free_port()
            start = time.perf_counter()
            command = [sys.executable, "-m", "stem4d_panel", "serve", "--no-browser", "--port", str(port)]
            server = Server(command, f"http://127.0.0.1:{port}", tmp_path / "log.txt", env=env)
            page = browser.new_page(viewport={"width": 1400, "height": 1150})
            page.goto(server.url, wait_until="commit")
            seen = []
            page.get_by_text("Factorise").first.wait_for(timeout=60_000)
            seen.append(time.perf_counter() - start)
            page.locator("#shell-text, .status").get_by_text(re.compile(r"/")).first.wait_for(timeout=60_000)
            seen.append(time.perf_counter() - start)
            page.locator(".status").get_by_text("ready", exact=True).wait_for(timeout=120_000)
            seen.append(time.perf_counter() - start)
            rows.append((name, *(f"{s:.1f} s" for s in seen)))
            page.close()
            server.stop()
        browser.close()
    table("stem4d serve, from the start of the process; the browser runs already", rows)
    assert len(np.unique([len(r) for r in rows])) == 1
