"""What a scan shows before the app's libraries are there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stem4d_panel.app import first_look, serve, stills
from stem4d_panel.app.palette import lookup
from stem4d_panel.scan.scan import Scan


@pytest.fixture(autouse=True)
def no_stills() -> Iterator[None]:
    yield
    stills.stills._kept.clear()
    stills.stills.begin(None, "")


@pytest.fixture
def file(small: Scan, tmp_path: Path) -> Path:
    path = tmp_path / "scan.npy"
    np.save(path, np.asarray(small.data))
    return path


def order(image: np.ndarray, table: str) -> np.ndarray:
    """The numbers in a colour map of a painted image."""
    found = (image[:, :, None, :3] == lookup(table)).all(axis=3)
    assert found.any(axis=2).all()
    return np.asarray(found.argmax(axis=2))


def test_the_first_look_is_a_dark_field_and_the_mean_pattern(small: Scan) -> None:
    image, pattern = first_look.first_look(small)
    data = np.asarray(small.data, float)
    mean = data.mean(axis=(0, 1))
    dark = mean <= np.percentile(mean, 99)
    for still, table, values in ((image, "gray", data[..., dark].sum(axis=-1)), (pattern, "inferno", mean)):
        seen = order(still.image, table).ravel()
        ordered = seen[np.argsort(values.ravel(), kind="stable")]
        assert (np.diff(ordered) >= 0).all()  # brighter where there is more
        assert len(np.unique(seen)) > 30  # the direct beam leaves something to the rest
    y, x = small.axes[:2]
    width, height = image.size
    assert width / height == pytest.approx(x.size * x.scale / (y.size * y.scale), rel=0.01)


def test_of_a_large_scan_few_positions_are_read(small: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_look, "_MOST", small.nbytes - 1)
    monkeypatch.setattr(first_look, "_SIDE", 5)
    np.testing.assert_array_equal(first_look._some(small), np.asarray(small.data)[::3, ::4])
    monkeypatch.setattr(first_look, "_MOST", small.nbytes // (14 * 18) * 10)  # of ten positions
    assert first_look._some(small).shape[:2] == (3, 3)
    monkeypatch.setattr(first_look, "_MOST", 1)
    assert first_look._some(small).shape[:2] == (1, 1)


def test_values_that_are_no_numbers_count_nothing() -> None:
    data = np.ones((2, 3, 4, 4), np.float32)
    data[0, 0, 0, 0] = np.nan
    assert first_look._some(Scan.from_array(data))[0, 0].sum() == 15


def test_a_server_looks_at_the_file_it_was_started_with(file: Path) -> None:
    asyncio.run(serve._first_look(file))
    html = stills.stills.html({})
    assert html.count("<img") == 2
    for address in ({}, {"rank": [b"4"]}):
        assert stills.stills.html(address) == html
        assert not stills.stills.has(address)  # what a page has drawn takes its place
    assert stills.stills.html({"file": [b"another.npy"]}) == ""
    kept = [stills.Still("classes", np.zeros((3, 3, 4), np.uint8), (30, 30))]
    stills.stills.keep({}, file, kept)
    assert 'alt="classes"' in stills.stills.html({})
    np.save(file, np.ones((2, 2, 8, 8)))
    assert stills.stills.html({}) == stills.stills.html({"rank": [b"4"]}) == ""


def test_there_is_no_first_look_at_a_folder_or_at_what_is_no_scan(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no scan")
    for path in (tmp_path, tmp_path / "text.npy"):
        asyncio.run(serve._first_look(path))
    assert stills.stills.html({}) == ""


def test_a_first_look_that_takes_too_long_is_given_up(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_LOOKING", 1e-3)
    asyncio.run(serve._first_look(file))
    assert stills.stills.html({}) == ""


def test_it_needs_none_of_the_heavy_libraries() -> None:
    heavy = ("panel", "holoviews", "numba", "scipy.optimize", "sklearn", "pandas")
    code = f"import sys, stem4d_panel.app.first_look; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
