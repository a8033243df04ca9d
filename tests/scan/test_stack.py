"""Stacks of frames: which scan shapes they could have, how they are folded, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.memory import limits
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.about import info, open_frames
from stem4d_panel.scan.chosen import recall, remember
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.stack import Folding, Guess, frame_sums_steps, guess_shapes, virtual_images
from stem4d_panel.settings import DataSettings


@pytest.mark.parametrize(
    ("frames", "per_row", "first"),
    [
        (65536, None, [Guess(256, 256), Guess(128, 512), Guess(512, 128)]),
        (256 * 257, None, [Guess(256, 256, 1), Guess(256, 257), Guess(257, 256)]),
        (64 * 66, None, [Guess(64, 64, 2), Guess(64, 66), Guess(66, 64)]),
        (48 * 56, 56, [Guess(48, 56), Guess(56, 48)]),
        (48 * 56, None, [Guess(48, 56), Guess(56, 48), Guess(42, 64)]),
        (48 * 56, 55, [Guess(48, 56)]),  # metadata that do not fit are no hint
        (6, None, [Guess(2, 3), Guess(3, 2), Guess(1, 6), Guess(6, 1)]),
        (13, None, [Guess(1, 13), Guess(13, 1)]),
        (1, None, [Guess(1, 1)]),
    ],
)
def test_the_most_plausible_shape_comes_first(frames: int, per_row: int | None, first: list[Guess]) -> None:
    found = guess_shapes(frames, per_row)
    assert found[: len(first)] == first
    assert len(found) == len(set(found)) <= 6
    assert all(g.ny * (g.nx + g.flyback) == frames for g in found)


def test_no_frames_have_no_shape() -> None:
    assert guess_shapes(0) == []


def frames_of(scan: np.ndarray, flyback: int, before: int, after: int) -> np.ndarray:
    """A scan as a camera that counts frames writes it; what does not belong to it is 999."""
    ny, nx, *detector = scan.shape
    rows = np.full((ny, nx + flyback, *detector), 999, scan.dtype)
    rows[:, :nx] = scan
    odd = [np.full((n, *detector), 999, scan.dtype) for n in (before, after)]
    return np.concatenate([odd[0], rows.reshape(-1, *detector), odd[1]])


SCAN = np.arange(4 * 5 * 3 * 2, dtype=np.uint16).reshape(4, 5, 3, 2)


@pytest.mark.parametrize("form", ["npy", "h5", "fortran"])
@pytest.mark.parametrize(("flyback", "before", "after"), [(0, 0, 0), (2, 0, 0), (0, 3, 0), (1, 3, 4)])
def test_the_scan_is_found_in_its_stack(tmp_path: Path, form: str, flyback: int, before: int, after: int) -> None:
    frames = frames_of(SCAN, flyback, before, after)
    path = tmp_path / f"a.{'h5' if form == 'h5' else 'npy'}"
    if form == "h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("frames", data=frames, chunks=(2, 3, 2))
    else:
        np.save(path, np.asfortranarray(frames) if form == "fortran" else frames)
    settings = DataSettings(scan_shape="4,5", flyback=flyback, first_frame=before if before or after else None)
    scan = open_scan(path, settings=settings)
    np.testing.assert_array_equal(scan.rows(0, 4), SCAN)
    np.testing.assert_array_equal(scan.pattern(3, 4), SCAN[3, 4])
    told = [f"{before} frames before the scan left out"] * (before > 0)
    told += [f"{after} frames after the scan left out"] * (after > 0)
    told += [f"{flyback} frames at the end of each row left out"] * (flyback > 0)
    assert list(scan.warnings) == told


def test_frames_that_do_not_fill_the_shape_are_refused_with_those_that_do(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", frames_of(SCAN, 1, 0, 0))

    def refusal(**settings: Any) -> str:
        with pytest.raises(DataError) as caught:
            open_scan(tmp_path / "a.npy", settings=DataSettings(**settings))
        return str(caught.value)

    takes = "data.scan_shape takes 4,6 or 6,4 or 3,8 or 8,3 or 2,12 or 12,2"
    assert refusal() == f"a.npy: frames (24, 3, 2) without a scan shape; {takes}"
    assert refusal(scan_shape="4,5") == f"a.npy: 24 frames do not fill data.scan_shape 4,5 (4 × 5 = 20 frames); {takes}"
    assert "4,6 (4 × 6 + 1 = 28 frames)" in refusal(scan_shape="4,6", flyback=1)
    assert "4,5 from frame 5 on (4 × 5 = 20 frames)" in refusal(scan_shape="4,5", first_frame=5)


def test_flyback_is_cut_from_a_scan_whose_shape_is_in_its_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan"] = SCAN
    scan = open_scan(tmp_path / "a.h5", settings=DataSettings(flyback=2))
    np.testing.assert_array_equal(scan.rows(0, 4), SCAN[:, :3])
    with pytest.raises(DataError, match=r"^a\.h5: rows of 5 frames are not longer than data\.flyback 5$"):
        open_scan(tmp_path / "a.h5", settings=DataSettings(flyback=5))


def test_other_settings_are_other_data(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", frames_of(SCAN, 0, 3, 3))
    made = [open_scan(tmp_path / "a.npy", settings=DataSettings(scan_shape="4,5", first_frame=n)) for n in (3, 4, 3)]
    assert made[0].fingerprint == made[2].fingerprint != made[1].fingerprint


def test_a_chunk_holds_whole_rows_of_the_scan(tmp_path: Path) -> None:
    frames = np.zeros((600, 16, 16), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("frames", data=frames, chunks=(1, 16, 16))
    scan = open_scan(tmp_path / "a.h5", scan_shape=(20, 30))
    assert scan.data.chunks[1:] == ((30,), (16,), (16,))


@pytest.mark.parametrize("form", ["npy", "h5"])
def test_a_virtual_image_shows_which_shape_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr("stem4d_panel.scan.stack.BLOCK_BYTES", 100)  # several blocks
    y, x = np.mgrid[:18, :24]
    image = 10 + (np.hypot(y - 8, x - 13) < 5) * 40  # a particle
    frames = np.repeat(image.reshape(-1), 6).reshape(-1, 2, 3).astype(np.uint16)
    path = tmp_path / f"a.{form}"
    if form == "npy":
        np.save(path, frames)
    else:
        with h5py.File(path, "w") as file:
            file["frames"] = frames
    stack, guesses = open_frames(path)
    sums = finish(frame_sums_steps(stack))
    np.testing.assert_array_equal(sums, image.reshape(-1) * 6)
    images = dict(zip(guesses, virtual_images(sums, guesses), strict=True))
    np.testing.assert_array_equal(images[Guess(18, 24)], image * 6)
    # of the guesses, the right one changes least from row to row
    rough = {g: np.abs(np.diff(i, axis=0)).mean() for g, i in images.items() if g.ny > 1}
    assert min(rough, key=lambda g: rough[g]) == Guess(18, 24)
    about = info(path)
    assert about["scan_shapes"] == [str(g) for g in guesses]


def test_a_virtual_image_leaves_the_flyback_out() -> None:
    sums = np.arange(12.0)
    (image,) = virtual_images(sums, [Guess(3, 3, 1)])
    np.testing.assert_array_equal(image, [[0, 1, 2], [4, 5, 6], [8, 9, 10]])


def test_frames_are_asked_for_where_there_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SCAN)
    with pytest.raises(DataError, match=r"^a\.npy: has 0 stacks of frames: no dataset$"):
        open_frames(tmp_path / "a.npy")


def test_a_folding_without_a_shape_changes_nothing() -> None:
    assert Folding().fold(SCAN, "a") == (SCAN, [])


@pytest.mark.parametrize(
    ("frames", "flyback", "first"),
    [
        (64 * 69, 5, [Guess(64, 64, 5), Guess(69, 59, 5)]),
        (64 * 66, 0, [Guess(64, 66), Guess(66, 64)]),
        (12, 3, [Guess(3, 1, 3), Guess(2, 3, 3), Guess(1, 9, 3)]),
        (7, 9, []),
    ],
)
def test_a_stated_flyback_leaves_what_is_left_of_the_rows(frames: int, flyback: int, first: list[Guess]) -> None:
    found = guess_shapes(frames, flyback=flyback)
    assert found[: len(first)] == first
    assert len(found) == len(set(found)) <= 6
    assert all(g.ny * (g.nx + flyback) == frames and g.flyback == flyback for g in found)


def test_a_chosen_shape_is_found_again_and_nothing_wrong_is(tmp_path: Path) -> None:
    kept = tmp_path / "scan-shapes.json"
    with limits.held(folder=tmp_path):
        assert recall("one", None, 24) is None
        remember("one", None, Guess(4, 5, 1))
        remember("one", "/b", Guess(3, 8))
        assert recall("one", None, 24) == Guess(4, 5, 1)
        assert recall("one", "/b", 24) == Guess(3, 8)
        assert recall("one", None, 25) is None
        assert recall("two", None, 24) is None
        for damaged in ("", "[1, 2]", '{"one/": 3}', '{"one/": [4, "x", 1]}', '{"one/": [-4, -6, 0]}', "[" * 100_000):
            kept.write_text(damaged)
            assert recall("one", None, 24) is None
        remember("one", None, Guess(6, 4))
        assert recall("one", None, 24) == Guess(6, 4)
