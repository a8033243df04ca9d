"""The preparation: what each form of alignment recovers of a known truth, and how fast the chain reads.

`STEM4D_BENCH_RUNS` sets the timed runs (2), `STEM4D_BENCH_DRAWS` the draws of the truth table (3),
`STEM4D_BENCH_DOSES` its doses (3000,300,100).
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
from scipy import ndimage
from tables import spread, table, timed
from test_factorize import DRAWS, RUNS, correlations
from truths import GLASS, blurred, glass

from stem4d_panel.analysis import Analysis
from stem4d_panel.factorize.factors import compression_steps, factorise_steps
from stem4d_panel.prepare import Frames, Look, look_steps, prepare_steps, survey_steps
from stem4d_panel.prepare.align import align_and_bin
from stem4d_panel.prepare.centre_kernels import window_means
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.progress import finish
from stem4d_panel.runtime.threads import thread_count
from stem4d_panel.scan.calibration import calibrate
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

FORMS = ("none", "integer", "bilinear", "even", "cubic", "fourier", "fourier, disc filled first")
RANKS = (8, 10, 14)
FOUR, DEFAULT = ("none", "integer", "bilinear", "fourier"), Settings.make().prepare.align


def filled(scan: Scan, look: Look) -> Scan:
    """The scan with the disc inside the mask's inner radius set to the level at its edge, in every frame at its centre."""
    ky, kx = np.indices(scan.detector_shape)
    away = np.abs(np.hypot(ky - look.descan.centre[0], kx - look.descan.centre[1]) - look.inner)
    data = scan.data.astype(np.float32)
    for frame, cy, cx in zip(
        data.reshape(-1, *scan.detector_shape), *look.descan.fitted.reshape(2, -1), strict=True
    ):  # a view
        frame[np.hypot(ky - cy, kx - cx) < look.inner - 1] = look.mean[away < 1].mean()
    return replace(scan, data=data)


def framed(scan: Scan, look: Look, form: str) -> Frames:
    settings = Settings.make({"prepare.align": form.partition(",")[0]} if form != "none" else {"prepare.centre": "off"})
    if form == "none":
        look = replace(Analysis(scan, settings, cache=Cache()).look, inner=look.inner, outer=look.outer)
    data = filled(scan, look) if "filled" in form else scan
    return finish(prepare_steps(data, look, calibrate(scan, settings.calibration), settings.prepare))


def test_alignment() -> None:
    if not GLASS.exists():
        pytest.skip("the simulated glass is not here")
    found: dict[tuple[int, int, str], list[float]] = {}
    doses = [int(n) for n in os.environ.get("STEM4D_BENCH_DOSES", "3000,300,100").split(",")]
    for electrons in doses:
        for seed in range(DRAWS):
            scan = glass(electrons, seed)
            truth = blurred(scan)
            look = Analysis(scan, cache=Cache()).look
            for form in FORMS:
                frames = framed(scan, look, form)
                for rank in RANKS:
                    settings = Settings.make({"rank": rank}).factorize
                    compression = finish(compression_steps(frames, settings, rank))
                    maps = finish(factorise_steps(frames, settings, True, compression)).maps
                    found.setdefault((electrons, rank, form), []).append(correlations(maps, truth))
    rows = [("electrons", "rank", *FORMS, f"{DEFAULT} less the best of four")]
    for electrons in doses:
        for rank in RANKS:
            cell = {form: np.array(found[electrons, rank, form]) for form in FORMS}
            best = max(FORMS, key=lambda form: cell[form].mean())
            texts = []
            for form in FORMS:
                off = cell[form] - cell[best]
                error = off.std(ddof=1) / np.sqrt(len(off)) if len(off) > 1 else 0.0
                texts.append(f"{cell[form].mean():.4f}" + (f" ({off.mean() / error:+.1f})" if error > 0 else ""))
            plain = max(FOUR, key=lambda form: cell[form].mean())
            off = cell[DEFAULT] - cell[plain]
            texts.append(f"{1e4 * off.mean():+.2f}e-4 ({plain}), {1e4 * off.std(ddof=1) / np.sqrt(len(off)):.2f}e-4")
            rows.append((str(electrons), str(rank), *texts))
    means = [np.mean([np.mean(found[e, r, form]) for e in doses for r in RANKS]) for form in FORMS]
    rows.append(("mean", "", *(f"{m:.5f}" for m in means), ""))
    table(
        f"alignment: correlation of maps with the truth, {DRAWS} draws (difference from the best, in standard errors)",
        rows,
    )


def descanned(path: Path) -> np.ndarray:
    """A beam that moves by two pixels over 128 × 128 positions, a ring around it and a hot pixel, in a file."""
    rng = np.random.default_rng(0)
    k = np.arange(128)
    v, u = np.indices((128, 128)) / 63.5 - 1
    data = np.lib.format.open_memmap(path, "w+", np.uint16, (128, 128, 128, 128))
    for y in range(128):
        radius = np.hypot((k - 63.5)[:, None] - v[y, :, None, None], k - 63.5 - (u * v)[y, :, None, None])
        data[y] = rng.poisson(40 / (1 + np.exp(3 * (radius - 5))) + 2 * np.exp(-(((radius - 25) / 4) ** 2)) + 0.05)
    data[:, :, 100, 30] = 90
    data.flush()
    return data


def plain_bin(frames: np.ndarray) -> np.ndarray:
    n, ny, nx = frames.shape
    return frames.reshape(n, ny // 2, 2, nx // 2, 2).sum(axis=(2, 4), dtype=np.float32)


def plain_centres(frames: np.ndarray) -> np.ndarray:
    """Centre of mass within 8 pixels about the middle."""
    window = frames[:, 55:73, 55:73].astype(np.float32)
    y, x = np.indices((18, 18)) - 8.5
    window *= np.hypot(y, x) <= 8
    return 63.5 + np.stack([(window * y).sum(axis=(1, 2)), (window * x).sum(axis=(1, 2))]) / window.sum(axis=(1, 2))


def plain_preparation(data: np.ndarray) -> np.ndarray:
    """Hot pixel, centre, bilinear alignment, mask and bin as one writes them with NumPy and SciPy."""
    frames = np.asarray(data).reshape(-1, *data.shape[2:]).astype(np.float32)
    mean = frames.mean(axis=0)
    for y, x in np.argwhere(mean > 3 * ndimage.median_filter(mean, 3) + 1):
        frames[:, y, x] = (frames[:, y - 1, x] + frames[:, y + 1, x] + frames[:, y, x - 1] + frames[:, y, x + 1]) / 4
    centres = plain_centres(frames)
    v, u = (np.indices(data.shape[:2]) / 63.5 - 1).reshape(2, -1)
    terms = np.stack([np.ones(len(v)), v, u, v * u], axis=1)
    shifts = (terms @ np.linalg.lstsq(terms, centres.T, rcond=None)[0]) - 63.5
    for frame, shift in zip(frames, shifts, strict=True):
        frame[:] = ndimage.shift(frame, -shift, order=1, prefilter=False)
    y, x = np.indices((64, 64)) - 31.5
    return plain_bin(frames)[:, (np.hypot(y, x) >= 4) & (np.hypot(y, x) < 31)]


def prepared(scan: Scan, form: str, ellipse: str, name: str) -> dict[str, float]:
    """Seconds of the stages."""
    settings = Settings.make(
        {
            "prepare.align": form, "prepare.bin": 2, "prepare.smooth": 0.0, "prepare.noise": "off",
            "prepare.ellipse": ellipse, "prepare.ellipse_ratio": 1.03,
        }
    )  # fmt: skip
    start = time.perf_counter()
    survey = finish(survey_steps(scan))
    surveyed = time.perf_counter()
    look = finish(look_steps(scan, survey, settings.prepare))
    looked = time.perf_counter()
    finish(prepare_steps(scan, look, calibrate(scan, settings.calibration), settings.prepare))
    end = time.perf_counter()
    took = {"survey": surveyed - start, "look": looked - surveyed}
    return took | {f"frames, {name}": end - looked, f"all, {name}": end - start}


def passes(raw: np.memmap) -> dict[str, float]:
    """Seconds of single passes over the scan, each beside its plain form."""
    frames = raw.reshape(-1, *raw.shape[2:])
    n, bad = len(frames), np.zeros(frames.shape[1:], bool)
    binned, still = np.full((n, 64, 64), 0, np.float32), np.zeros((n, 2), np.float32)
    centres, offset, spread_, counts = np.full((n, 2), 63.5), np.empty((n, 2)), np.empty(n), np.empty(n)
    space = np.full(raw.nbytes, 1, np.uint8)

    def read() -> None:
        with open(raw.filename, "rb", buffering=0) as file:
            file.seek(raw.offset)
            file.readinto(space)

    return {
        "one plain pass": timed(lambda: raw.view(np.uint64).max()),
        "reading the file": timed(read),
        "bin 2": timed(lambda: align_and_bin(frames, still, 2, binned, "integer")),
        "bin 2, plain": timed(lambda: plain_bin(frames)),
        "centre of mass": timed(lambda: window_means(frames, bad, centres, 8.0, offset, spread_, counts)),
        "centre of mass, plain": timed(lambda: plain_centres(frames)),
        "all, plain": timed(lambda: plain_preparation(raw)),
    }


def written(data: np.ndarray, folder: Path) -> dict[str, Path]:
    """The scan as HDF5 files: one piece, and compressed."""
    kinds = {
        "HDF5": {},
        "gzip": {"chunks": (4, 4, 128, 128), "compression": "gzip", "shuffle": True},
        "bitshuffle": {"chunks": (4, 4, 128, 128), **hdf5plugin.Bitshuffle()},
    }
    for kind, how in kinds.items():
        with h5py.File(folder / f"{kind}.h5", "w") as file:
            file.create_dataset("data", data=data, **how)
    return {kind: folder / f"{kind}.h5" for kind in kinds}


def test_speed(tmp_path: Path) -> None:
    """Single passes and the stages on files in the page cache, against a plain pass and NumPy in the same run."""
    path = tmp_path / "scan.npy"
    files = written(descanned(path), tmp_path)
    rates: dict[str, list[float]] = {}
    for turn in range(max(RUNS, 2) + 1):
        raw = np.load(path, mmap_mode="r")
        scan = Scan.from_array(raw, detector_step=0.2)
        took = passes(raw)
        took |= prepared(scan, "bilinear", "off", "bilinear")
        took |= prepared(scan, "even", "off", "even")
        took |= prepared(scan, "even", "given", "even, ellipse corrected")
        for kind, file in files.items():
            stored = open_scan(file)
            if kind != "HDF5":  # which is mapped
                took[f"reading alone, {kind}"] = timed(lambda stored=stored: [None for _ in stored.blocks()])
            took[f"all, {kind}"] = prepared(stored, "bilinear", "off", kind)[f"all, {kind}"]
        if turn:  # the first compiles and fills the page cache
            for name, seconds in took.items():
                rates.setdefault(name, []).append(scan.nbytes / seconds / 1e9)
    rows = [("of 537 MB", "GB/s, median (least to most)", "of a plain pass", "of reading the file", "times NumPy")]
    for name, found in rates.items():
        plain = rates.get(f"{name}, plain", rates["all, plain"] if name.startswith("all") else None)
        of_pass, of_reading = (np.median(np.array(found) / rates[n]) for n in ("one plain pass", "reading the file"))
        times = "" if plain is None else f"{np.median(np.array(found) / plain):.1f}"
        rows.append((name, spread(found, "GB/s"), f"{of_pass:.0%}", f"{of_reading:.0%}", times))
    table(f"preparation, 128 × 128 × 128 × 128 uint16, {thread_count()} threads", rows)
