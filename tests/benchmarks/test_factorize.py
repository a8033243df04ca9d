"""The factorisation against the plain way, in turn in one run: time, objective, and recovery of a known truth.

`STEM4D_BENCH_RUNS` sets the runs of the timed pairs (2), `STEM4D_BENCH_DRAWS` the draws of the truth tables (3);
`STEM4D_BENCH_RANKS=all` compares each rank of the path, which takes scikit-learn half an hour.
"""

from __future__ import annotations

import os
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn import decomposition
from tables import spread, table, timed
from truths import blurred, cases

from stem4d_panel.analysis import Analysis
from stem4d_panel.factorize import NMF
from stem4d_panel.factorize.blocks import MemoryBlocks
from stem4d_panel.factorize.fit import Plan, polish_steps, preview_steps
from stem4d_panel.factorize.hals import Fit, hals_steps
from stem4d_panel.factorize.kl import divergence, kl_steps
from stem4d_panel.factorize.lowrank import compress_steps
from stem4d_panel.factorize.sparse import SparseRows
from stem4d_panel.factorize.start import initial_factors
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.sample import sample_scan

RUNS = int(os.environ.get("STEM4D_BENCH_RUNS", "2"))
RANKS = range(2, 31) if os.environ.get("STEM4D_BENCH_RANKS") == "all" else (5, 15, 30)
DRAWS = int(os.environ.get("STEM4D_BENCH_DRAWS", "3"))


def counts(side: int = 128, pixels: int = 64, dose: float = 500, seed: int = 0, crystals: int = 40) -> np.ndarray:
    """Poisson counts of spot patterns in discs on an even ring, shape (side², pixels²), `dose` a pattern."""
    rng = np.random.default_rng(seed)
    yy, xx = np.indices((side, side))
    ky, kx = np.indices((pixels, pixels)) - (pixels - 1) / 2
    radius = np.hypot(ky, kx)
    ring = np.exp(-(((radius - 0.22 * pixels) / (0.06 * pixels)) ** 2)) + 0.15 * np.exp(-radius / (0.2 * pixels))
    maps, patterns = [np.ones((side, side))], [ring / ring.sum()]
    for _ in range(crystals):
        cy, cx = rng.uniform(0, side, 2)
        size = rng.uniform(4, 9) * side / 128
        maps.append(0.35 * np.sqrt(np.clip(1 - ((yy - cy) ** 2 + (xx - cx) ** 2) / size**2, 0, None)))
        fold, reach, turn = rng.choice([2, 4, 6]), pixels * rng.uniform(0.15, 0.4), rng.uniform(0, 2 * np.pi)
        pattern = np.zeros((pixels, pixels))
        for j in range(fold):
            for order in (1, 2):
                y, x = (order * reach * f(turn + 2 * np.pi * j / fold) for f in (np.sin, np.cos))
                pattern += rng.uniform(0.5, 1) / order * np.exp(-((ky - y) ** 2 + (kx - x) ** 2) / 2.88)
        patterns.append(pattern / pattern.sum())
    W, H = np.array(maps).reshape(len(maps), -1).T, np.array(patterns).reshape(len(patterns), -1)
    X = np.empty((side**2, pixels**2), np.float32)
    for start in range(0, len(X), 1024):
        X[start : start + 1024] = rng.poisson(dose * (W[start : start + 1024] @ H))
    return X


def objective(X: np.ndarray, W: np.ndarray, H: np.ndarray) -> float:
    """½ ||X - W H||², in double precision: scikit-learn's own float32 sum is .1 % too low on a large matrix."""
    total = 0.0
    for start in range(0, len(X), 1024):
        rest = X[start : start + 1024] - W[start : start + 1024].astype(np.float64) @ H.astype(np.float64)
        total += 0.5 * float((rest**2).sum())
    return total


def plain(rank: int, seed: int = 0) -> Any:
    return decomposition.NMF(rank, init="nndsvda", solver="cd", max_iter=400, random_state=seed)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's 400 iterations are often too few for its tolerance
        yield


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    NMF(3).fit(np.random.default_rng(0).random((300, 200), dtype=np.float32))
    NMF(3).fit(sparse.random(300, 200, 0.05, "csr", dtype=np.float32, random_state=0))


def call(model: Any, X: np.ndarray) -> tuple[float, float]:
    """Wall time of the whole default call, and the objective reached."""
    start = time.perf_counter()
    W = model.fit_transform(X)
    return time.perf_counter() - start, objective(X, W, model.components_)


def test_whole_call_beside_scikit_learn() -> None:
    rows = [("counts", "this package", "scikit-learn", "ratio", "objective less scikit-learn's", "reads")]
    for dose in (500, 50):
        pairs = []
        for seed in range(RUNS):
            X, model = counts(dose=dose, seed=seed), NMF(30, random_state=seed)
            pairs.append((call(model, X), call(plain(30, seed), X)))
        ours, theirs = [p[0][0] for p in pairs], [p[1][0] for p in pairs]
        ratio = median(t / o for o, t in zip(ours, theirs, strict=True))
        above = ", ".join(f"{p[0][1] / p[1][1] - 1:+.1e}" for p in pairs)
        rows.append((str(dose), spread(ours), spread(theirs), f"{ratio:.1f}", above, str(model.n_reads_)))
    table(f"NMF(30).fit_transform, 16,384 × 4,096 float32, {RUNS} seeds, this package first", rows)


def test_objective_over_seeds_and_doses() -> None:
    rows = [("counts", "objective less scikit-learn's, 10 seeds", "greatest")]
    for dose in (500, 50, 5):
        above = []
        for seed in range(10):
            X, ours, theirs = counts(64, 32, dose, seed), NMF(30, random_state=seed), plain(30, seed)
            f = [objective(X, model.fit_transform(X), model.components_) for model in (ours, theirs)]
            above.append(f[0] / f[1] - 1)
        rows.append((str(dose), " ".join(f"{1e4 * a:+.1f}" for a in above), f"{1e4 * max(above):+.2f}"))
    table("k = 30 on 4,096 × 1,024, in 10⁻⁴", rows)


def test_all_ranks_from_one_compression() -> None:
    X = counts()
    single, at_30 = call(plain(30), X)
    found = {}

    def path() -> None:
        blocks = MemoryBlocks(SparseRows.from_dense(X))
        low = finish(compress_steps(blocks, 60, 0))
        for rank in range(2, 31):
            plan = Plan(rank, starts=1, settle=40, polish=12, tol=0)
            found[rank] = finish(polish_steps(blocks, finish(preview_steps(low, low, plan)), plan))

    ours = timed(path)
    rows = [("all ranks 2 to 30", f"{ours:.1f} s", f"one fit of scikit-learn at 30: {single:.1f} s")]
    for rank in RANKS:
        theirs = at_30 if rank == 30 else call(plain(rank), X)[1]
        above = objective(X, found[rank].W, found[rank].H) / theirs - 1
        rows.append((f"objective at {rank}", f"{above:+.1e}", "less scikit-learn's own fit of that rank (gate 1e-3)"))
    table("16,384 × 4,096, 500 counts", rows)


def test_a_new_rank() -> None:
    X = counts()
    low = finish(compress_steps(MemoryBlocks(X), 60, 0))

    def preview(rank: int) -> None:
        W, Ht = initial_factors(low, rank, "nndsvda", 0)
        finish(hals_steps(low, W, Ht, 10, tol=0, rng=np.random.default_rng(0)))

    rows = [
        (f"preview of rank {rank}", spread([1e3 * timed(lambda r=rank: preview(r)) for _ in range(5)], "ms"))
        for rank in (10, 20, 30)
    ]  # type: ignore[misc]
    analysis = Analysis(sample_scan(0), cache=Cache())
    _ = analysis.tree
    rows.append(
        (
            "a computed rank",
            spread([1e3 * timed(lambda: analysis.replace(rank=20).peek("tree")) for _ in range(9)], "ms"),
        )
    )
    table("server side, 16,384 × 4,096 (gates: 200 ms a preview, 16 ms a computed rank)", rows)


def test_counts_as_csr() -> None:
    """Both from one start, since minima differ by more than a hundred iterations bring; ours pays for it, theirs does not."""
    X = sparse.csr_array(counts(side=64, dose=50))
    blocks, total = MemoryBlocks(SparseRows.from_scipy(X)), float(X.sum())
    finish(
        kl_steps(
            blocks, Fit(*initial_factors(finish(compress_steps(blocks, 46, 0)), 30, "nndsvda", 0)), iterations=1, tol=0
        )
    )  # compile
    rows = [
        (
            "scikit-learn mu, 200 iterations",
            "this package to the same",
            "passes",
            "divergence a count",
            "ratio (gate 8)",
        )
    ]
    for _ in range(max(RUNS, 3)):
        start = time.perf_counter()
        low = finish(compress_steps(blocks, 46, 0))
        first = Fit(*initial_factors(low, 30, "nndsvda", 0))
        started = time.perf_counter() - start
        theirs = decomposition.NMF(30, solver="mu", beta_loss="kullback-leibler", init="custom", max_iter=200, tol=0)
        W, H = np.maximum(first.W, 1e-6), np.ascontiguousarray(np.maximum(first.Ht.T, 1e-6))
        their_time = timed(lambda W=W, H=H, theirs=theirs: theirs.fit_transform(X, W=W, H=H))
        aim = theirs.reconstruction_err_**2 / 2
        passes = 80
        reached = np.inf
        while reached > aim and passes < 400:  # find the number of passes, then time them alone
            passes += 5
            solution = finish(kl_steps(blocks, first, iterations=passes, tol=0))
            reached = divergence(blocks, solution.W, solution.H)
        ours = started + timed(lambda n=passes, first=first: finish(kl_steps(blocks, first, iterations=n, tol=0)))  # type: ignore[misc]
        rows.append(
            (
                f"{their_time:.1f} s",
                f"{ours:.2f} s",
                str(passes),
                f"{aim / total:.4f}, {reached / total:.4f}",
                f"{their_time / ours:.1f}",
            )
        )
    table(
        f"Kullback-Leibler, k = 30, CSR {X.shape[0]:,} × {X.shape[1]:,}, {100 * X.nnz / np.prod(X.shape):.1f} % filled",
        rows,
    )


def test_growth_and_memory() -> None:
    def fixed(X: np.ndarray) -> None:  # the same iterations, so that the size alone differs
        blocks = MemoryBlocks(X)
        low = finish(compress_steps(blocks, 60, 0))
        plan = Plan(20, starts=1, settle=20, polish=10, tol=0)
        finish(polish_steps(blocks, finish(preview_steps(low, low, plan)), plan))

    small, large = counts(64), counts(128)
    ratios = [timed(lambda: fixed(large)) / timed(lambda: fixed(small)) for _ in range(3)]

    def peak(work: Callable[[], Any]) -> float:
        tracemalloc.start()
        work()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found / 1e6

    rows = [
        ("time for 4 times the positions (gate 4.2)", f"{median(ratios):.2f}", ""),
        (
            "peak beside the data, 67 MB, dense",
            f"{peak(lambda: NMF(30, max_iter=5, tol=0).fit(small + 1)):.0f} MB",
            "its own copy of the data, 67 MB, included",
        ),
        ("scikit-learn", f"{peak(lambda: plain(30).set_params(max_iter=5).fit(small + 1)):.0f} MB", "the same"),
    ]
    table("growth and memory", rows)


def correlations(maps: np.ndarray, truth: np.ndarray) -> float:
    """Mean Pearson correlation over the best one-to-one match of crystals to maps."""
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=1, keepdims=True) for x in (maps, truth))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    c = a @ b.T
    return float(c[linear_sum_assignment(-c)].mean())


def test_truth() -> None:
    """Mean one-to-one map correlation: default settings, the same uncompressed, scikit-learn on the same smoothed frames."""
    rows = [("data", "rank", "default", "uncompressed", "scikit-learn", "least default", "free of constraints")]
    for name, make in cases():
        found: dict[tuple[int, str], list[float]] = {}
        for seed in range(DRAWS):
            scan = make(seed)
            truth = blurred(scan)
            analysis = Analysis(scan, cache=Cache())
            frames = analysis.frames
            smoothed = frames.matrix * frames.row_scale[:, None] * frames.column_scale
            for rank in (8, 10, 14, 20):
                for label, changes in (
                    ("default", {}),
                    ("uncompressed", {"factorize.compress": "off"}),
                    ("free", {"factorize.resolution": 0.0, "factorize.holes": 0.0}),
                ):
                    maps = analysis.replace({"factorize.rank": rank, **changes}).factors.maps
                    found.setdefault((rank, label), []).append(correlations(maps, truth))
                W = plain(rank).fit_transform(smoothed)
                folded = np.zeros((rank, *frames.scan_shape))
                folded[:, frames.positions] = W.T
                found.setdefault((rank, "plain"), []).append(correlations(folded, truth))
        for rank in (8, 10, 14, 20):
            cell = {label: found[rank, label] for label in ("default", "uncompressed", "plain", "free")}
            means = {label: f"{np.mean(values):.4f}" for label, values in cell.items()}
            rows.append(
                (
                    name,
                    str(rank),
                    means["default"],
                    means["uncompressed"],
                    means["plain"],
                    f"{min(cell['default']):.4f}",
                    means["free"],
                )
            )
    table(f"recovery of the truth, mean of {DRAWS} draws", rows)


def hole_depth(
    maps: np.ndarray, patterns: np.ndarray, mask: np.ndarray, centre: tuple[float, float], truth: np.ndarray
) -> float:
    """How dark the strongest glass component is where the crystals have their spots: 1 less the ratio to the ring's median.

    Mean over the 20 brightest pixels of each crystal's pattern, where the glass has any intensity; 0 is no hole.
    """
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=1, keepdims=True) for x in (maps, truth))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    c = a @ b.T
    glass_ones = np.flatnonzero(c.max(axis=1) < 0.4)
    g = glass_ones[np.argmax(maps[glass_ones].sum(axis=(1, 2)))]
    ky, kx = np.indices(mask.shape)
    rings = np.round(np.hypot(ky - centre[0], kx - centre[1])).astype(int)
    halo = patterns[g]
    level = np.zeros(mask.shape)
    for ring in np.unique(rings[mask]):
        on = mask & (rings == ring)
        level[on] = np.median(halo[on])
    depths = []
    for k in set(c.argmax(axis=0).tolist()):
        flat = np.argsort(-(patterns[k] * mask).ravel())[:20]
        seen = flat[level.ravel()[flat] > 0.05 * level.max()]
        depths += list(1 - halo.ravel()[seen] / level.ravel()[seen])
    return float(np.mean(np.clip(depths, -1, 1)))


def test_holes_in_the_glass() -> None:
    rows = [("data", "rank", "default", "without the constraint", "scikit-learn")]
    for name, make in cases():
        scan = make(0)
        truth = blurred(scan)
        analysis = Analysis(scan, cache=Cache())
        frames = analysis.frames
        smoothed = frames.matrix * frames.row_scale[:, None] * frames.column_scale
        for rank in (10, 20):
            cells = []
            for changes in ({}, {"factorize.holes": 0.0}):
                factors = analysis.replace({"factorize.rank": rank, **changes}).factors
                cells.append(f"{hole_depth(factors.maps, factors.patterns, frames.mask, frames.centre, truth):+.2f}")
            model = plain(rank)
            W = model.fit_transform(smoothed)
            maps, patterns = np.zeros((rank, *frames.scan_shape)), np.zeros((rank, *frames.detector_shape))
            maps[:, frames.positions] = (W * model.components_.sum(axis=1)).T
            patterns[:, frames.mask] = model.components_
            cells.append(f"{hole_depth(maps, patterns, frames.mask, frames.centre, truth):+.2f}")
            rows.append((name, str(rank), *cells))
    table("dark holes of the strongest glass component at the crystals' spots (0: none, 1: black)", rows)
