"""The file picker, without a page: what can be seen and opened, what is told before, and the shape of a stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sessions import nothing, run

from stem4d_panel.analysis import Analysis
from stem4d_panel.app import work
from stem4d_panel.app.picker import SAMPLE, Picker
from stem4d_panel.app.session import Session
from stem4d_panel.runtime.jobs import compute
from stem4d_panel.runtime.memory import limits
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

BAD = "<img src=x onerror=alert(1)>.npy"


@pytest.fixture
def root(tmp_path: Path, small: Scan) -> Path:
    """A folder with what may be seen, beside one that may not and has its name for a beginning."""
    data = np.asarray(small.data)
    root = tmp_path / "data"
    (root / "days" / "one").mkdir(parents=True)
    (tmp_path / "data_secret").mkdir()
    np.save(tmp_path / "data_secret" / "secret.npy", data)
    np.save(root / "scan.npy", data)
    np.save(root / "days" / "one" / "half.npy", data[:7])
    np.save(root / "stack.npy", data.reshape(-1, 32, 32))
    return root


@pytest.fixture
def session(small: Scan, tmp_path: Path) -> Iterator[Session]:
    with limits.held(folder=tmp_path / "cache"):
        made = Session(small, Settings.make({"rank": 3}), lambda then: then())
        made.start()
        run(made)
        yield made
        made.close()


@pytest.fixture
def picker(session: Session, root: Path) -> Iterator[Picker]:
    made = Picker(session, root)
    yield made
    made.close()


def wait(picker: Picker) -> None:
    """Until what was asked for is told; one answer may lead to another question."""
    while picker.busy:
        compute.submit(f"after/{id(picker)}", nothing).wait(60)


def pick(picker: Picker, name: str) -> str:
    """Pick a file; what is told of it."""
    picker.pick(name)
    wait(picker)
    return str(picker.about.object)


def press(button: Any) -> None:
    button.param.trigger("clicks")


def labels(picker: Picker) -> list[str]:
    return [item["label"] for item in picker.list.items]


def click(picker: Picker, label: str) -> None:
    picker._clicked(next(item for item in picker.list.items if item["label"] == label))
    wait(picker)


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_folders_are_entered_and_left_again(picker: Picker, session: Session) -> None:
    assert labels(picker) == [SAMPLE, "▸ days", "scan.npy", "stack.npy"]
    click(picker, "▸ days")
    assert labels(picker) == ["‹ up", "▸ one"]
    click(picker, "▸ one")
    assert labels(picker) == ["‹ up", "half.npy"]
    assert "data / days / one" in picker.where.object
    click(picker, "half.npy")
    press(picker.open)
    run(session)
    assert session.shown.scan.shape == (7, 18, 32, 32)
    click(picker, "‹ up")
    click(picker, "‹ up")
    assert labels(picker)[0] == SAMPLE


@pytest.mark.parametrize("name", ["..", "../data_secret", "days/../../data_secret", "/", "link"])
def test_no_folder_outside_is_entered(picker: Picker, root: Path, name: str) -> None:
    (root / "link").symlink_to(root.parent / "data_secret")
    before = labels(picker)
    picker.enter(name)
    assert labels(picker) == before
    assert "lies outside the folder that is served" in picker.about.object
    assert not picker.open.visible


@pytest.mark.parametrize("name", ["../data_secret/secret.npy", "link.npy", "linked/secret.npy", "loop.npy", "a\0b"])
def test_no_file_outside_is_looked_into(picker: Picker, root: Path, name: str) -> None:
    (root / "link.npy").symlink_to(root.parent / "data_secret" / "secret.npy")
    (root / "linked").symlink_to(root.parent / "data_secret")
    (root / "loop.npy").symlink_to(root / "loop.npy")
    text = pick(picker, name)
    assert "lies outside the folder that is served" in text or "no such file or folder" in text
    assert "uint16" not in text
    assert not picker.open.visible


def test_links_are_listed_only_where_they_stay_inside(picker: Picker, root: Path) -> None:
    (root / "link.npy").symlink_to(root.parent / "data_secret" / "secret.npy")
    (root / "linked").symlink_to(root.parent / "data_secret")
    (root / "gone.npy").symlink_to(root / "nowhere.npy")
    (root / "day").symlink_to(root / "days" / "one")
    (root / ".hidden.npy").write_bytes(b"")
    (root / "notes.txt").write_text("none of ours")
    press(picker.again)
    assert labels(picker) == [SAMPLE, "▸ day", "▸ days", "scan.npy", "stack.npy"]
    click(picker, "▸ day")
    assert labels(picker) == ["‹ up", "half.npy"]
    click(picker, "‹ up")
    assert "data / days" in picker.where.object  # where the link leads


def swap(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def test_a_file_that_another_takes_the_place_of_is_not_looked_into(root: Path) -> None:
    steps = work.look_steps(root / "scan.npy", Settings.make().data, root)
    next(steps)
    swap(root / "scan.npy", root.parent / "data_secret" / "secret.npy")
    with pytest.raises(Exception, match=r"^scan\.npy: lies outside the folder that is served$"):
        next(steps)


@pytest.mark.parametrize("kind", ["scan", "result"])
def test_a_file_that_another_takes_the_place_of_is_not_opened(
    picker: Picker, session: Session, small: Scan, root: Path, kind: str
) -> None:
    secret = root.parent / "data_secret" / "secret.npy"
    if kind == "result":
        secret = Analysis(small, rank=2).save(root.parent / "data_secret" / "secret.stem4d.hspy")
    pick(picker, "scan.npy")
    before = session.shown
    swap(root / "scan.npy", secret)
    press(picker.open)
    run(session)
    assert session.message == ("error", "scan.npy: lies outside the folder that is served")
    assert session.shown is before


def test_frames_of_a_file_outside_are_not_summed(root: Path) -> None:
    swap(root / "stack.npy", root.parent / "data_secret" / "secret.npy")
    steps = work.sums_steps(root / "stack.npy", None, Settings.make().data, root, "")
    with pytest.raises(Exception, match=r"^stack\.npy: lies outside the folder that is served$"):
        finish(steps)


def test_a_folder_that_has_gone_can_be_left(picker: Picker, root: Path) -> None:
    click(picker, "▸ days")
    click(picker, "▸ one")
    (root / "days" / "one" / "half.npy").unlink()
    (root / "days" / "one").rmdir()
    press(picker.again)
    assert labels(picker) == ["‹ up"]
    assert "one: no such file or folder" in picker.about.object
    click(picker, "‹ up")
    assert labels(picker) == ["‹ up"]
    assert "data / days" in picker.where.object
    assert not picker.about.visible


def test_many_files_are_filtered(picker: Picker, root: Path) -> None:
    assert not picker.filter.visible
    for i in range(250):
        (root / f"{i:03d}.npy").write_bytes(b"")
    press(picker.again)
    assert picker.filter.visible
    assert labels(picker)[-1] == "53 more: filter them"
    picker._clicked(picker.list.items[-1])
    assert not picker.about.visible
    picker.filter.value_input = "24"
    assert labels(picker) == [SAMPLE, "024.npy", "124.npy", "224.npy", *(f"24{i}.npy" for i in range(10))]


# ---- what is told before opening -------------------------------------------------------------------------------------


def test_a_file_is_told_before_it_is_opened(picker: Picker, session: Session) -> None:
    before = session.shown
    text = pick(picker, "scan.npy")
    assert "<b>scan.npy</b> · 516 kB · NumPy<br>14 × 18 × 32 × 32 uint16<br>analysis needs " in text
    assert picker.open.visible
    assert not picker.dataset.visible
    assert not picker.shapes.layout.visible
    assert session.shown is before
    press(picker.open)
    run(session)
    assert session.shown.name == "scan.npy"
    assert not picker.about.visible
    assert not picker.open.visible


def test_one_of_several_datasets_is_opened(picker: Picker, session: Session, small: Scan, root: Path) -> None:
    with h5py.File(root / "two.h5", "w") as file:
        file["first"] = np.asarray(small.data)
        file["second"] = np.asarray(small.data)[:8].astype("f4")
        file["frames"] = np.asarray(small.data)[0]
        file["image"] = np.zeros((4, 5))
    text = pick(picker, "two.h5")
    assert list(picker.dataset.options.values()) == ["/first", "/second", "/frames"]
    assert picker.dataset.visible
    assert "/image 4 × 5 float64" in text
    picker.dataset.value = "/second"
    assert picker.about.object.split("<br>")[1] == "/second 8 × 18 × 32 × 32 float32"
    press(picker.open)
    run(session)
    assert session.shown.scan.shape == (8, 18, 32, 32)


def test_a_saved_result_is_told_and_opened(picker: Picker, session: Session, small: Scan, root: Path) -> None:
    Analysis(small, rank=2).save(root / "found.stem4d.hspy")
    assert "a saved result" in pick(picker, "found.stem4d.hspy")
    press(picker.open)
    run(session)
    assert session.result is not None
    click(picker, SAMPLE)
    assert session.steps["Data"][0] == "running"  # at once


def test_names_are_shown_literally(picker: Picker, small: Scan, root: Path) -> None:
    (root / "<b>days").mkdir()
    np.save(root / "<b>days" / BAD, np.asarray(small.data))
    with h5py.File(root / "<b>days" / "names.h5", "w") as file:
        file["<i>a"] = np.asarray(small.data)
        file["<i>b"] = np.asarray(small.data)
    (root / "<b>days" / "<u>.h5").write_text("no such file")
    press(picker.again)
    click(picker, "▸ <b>days")
    assert "&lt;b&gt;days" in picker.where.object
    assert "<b>days" not in picker.where.object
    for name, shown in (
        (BAD, "&lt;img src=x"),
        ("names.h5", "&lt;i&gt;a"),
        ("<u>.h5", "&lt;u&gt;.h5: not an HDF5 file"),
    ):
        assert shown in pick(picker, name)
        assert not any(tag in picker.about.object for tag in ("<img", "<i>", "<u>"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.h5", b"no HDF5", "text.h5: not an HDF5 file"),
        ("empty.npy", b"", "empty.npy: is empty"),
        ("half.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<u2', 'fortran", "half.npy: truncated or damaged: "),
        ("one.npy", None, "one.npy: holds no scan of four axes and no stack of frames: (4,) float64"),
    ],
)
def test_a_bad_file_is_told_in_one_line_and_changes_nothing_else(
    picker: Picker, session: Session, root: Path, name: str, content: bytes | None, says: str
) -> None:
    before = (session.shown, session.settings, session.message, session.steps)
    if content is None:
        np.save(root / name, np.zeros(4))
    else:
        (root / name).write_bytes(content)
    text = pick(picker, name)
    assert says in text
    assert "<br>" not in text
    assert not picker.open.visible
    assert (session.shown, session.settings, session.message, session.steps) == before
    assert "<b>scan.npy</b>" in pick(picker, "scan.npy")


def test_the_newest_pick_is_told(picker: Picker) -> None:
    picker.pick("stack.npy")
    picker.pick("scan.npy")
    wait(picker)
    assert "<b>scan.npy</b>" in picker.about.object
    assert not picker.shapes.layout.visible


# ---- the shape of a stack --------------------------------------------------------------------------------------------


def pictures(picker: Picker) -> list[bool]:
    return [
        "data:image/png" in p.object
        for p, s in zip(picker.shapes.pictures, picker.shapes.slots, strict=True)
        if s.visible
    ]


def shapes(picker: Picker) -> list[str]:
    return [b.label for b, s in zip(picker.shapes.buttons, picker.shapes.slots, strict=True) if s.visible]


def test_the_shape_of_a_stack_is_chosen_by_its_picture_and_remembered(
    picker: Picker, session: Session, small: Scan, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "252 × 32 × 32 uint16" in pick(picker, "stack.npy")
    assert shapes(picker) == ["14 × 18", "18 × 14", "12 × 21", "21 × 12", "9 × 28", "28 × 9"]
    assert pictures(picker) == [True] * 6
    assert len({p.object for p in picker.shapes.pictures}) == 6
    assert not picker.open.visible
    press(picker.shapes.buttons[0])
    run(session)
    assert session.settings.data.scan_shape == "14,18"
    np.testing.assert_array_equal(session.shown.scan.rows(0, 14), small.data)
    assert not picker.shapes.layout.visible
    # another page, later: the frames are not read again
    other = Picker(session, root)
    monkeypatch.setattr("stem4d_panel.scan.stack.frame_sums_steps", None)
    pick(other, "stack.npy")
    assert pictures(other) == [True] * 6
    assert other.shapes.buttons[0].variant == "contained"
    assert (other.open.visible, other.open.label) == (True, "Open as 14 × 18")
    pick(other, "scan.npy")
    press(other.open)
    run(session)
    assert session.settings.data.scan_shape is None
    pick(other, "stack.npy")
    press(other.open)
    run(session)
    assert session.shown.scan.shape == (14, 18, 32, 32)
    pick(other, "stack.npy")
    press(other.shapes.buttons[1])
    run(session)
    assert session.shown.scan.shape == (18, 14, 32, 32)
    other.close()


def test_frames_of_the_flyback_are_left_out(picker: Picker, session: Session, small: Scan, root: Path) -> None:
    rows = np.concatenate([np.asarray(small.data), np.full((14, 4, 32, 32), 7, np.uint16)], axis=1)
    np.save(root / "fly.npy", rows.reshape(-1, 32, 32))
    pick(picker, "fly.npy")
    assert shapes(picker)[0] == "14 × 22"
    picker.shapes.flyback.value = "x"
    assert "data.flyback: 'x' is not allowed" in picker.shapes.note.object.replace("&#x27;", "'")
    picker.shapes.flyback.value = "4"
    assert shapes(picker)[0] == "14 × 18 +4"
    assert all(pictures(picker))
    press(picker.shapes.buttons[0])
    run(session)
    assert (session.settings.data.scan_shape, session.settings.data.flyback) == ("14,18", 4)
    np.testing.assert_array_equal(session.shown.scan.rows(0, 14), small.data)


def test_a_chosen_shape_is_of_one_array_of_the_file(picker: Picker, session: Session, small: Scan, root: Path) -> None:
    with h5py.File(root / "both.h5", "w") as file:
        file["frames"] = np.asarray(small.data)[:, :, 8:].reshape(-1, 24, 32)
        file["scan"] = np.asarray(small.data)[:9]
    pick(picker, "both.h5")
    picker.dataset.value = "/frames"
    wait(picker)
    picker.shapes.flyback.value = "1"
    press(picker.shapes.buttons[shapes(picker).index("14 × 17 +1")])
    run(session)
    assert session.shown.scan.shape == (14, 17, 24, 32)
    pick(picker, "both.h5")
    assert picker.dataset.value == "/scan"
    press(picker.open)
    run(session)
    assert session.shown.scan.shape == (9, 18, 32, 32)


def test_a_shape_that_is_not_in_the_list_can_be_stated(picker: Picker, session: Session) -> None:
    pick(picker, "stack.npy")
    picker.shapes.other.value = "5,5"
    assert "252 frames do not fill data.scan_shape 5,5 (5 × 5 = 25 frames)" in picker.shapes.note.object
    picker.shapes.other.value = "much"
    assert "data.scan_shape: " in picker.shapes.note.object
    before = session.settings
    picker.shapes.flyback.value = "2"
    picker.shapes.other.value = "7,34"
    assert session.settings is not before
    run(session)
    assert session.shown.scan.shape == (7, 34, 32, 32)


def test_frames_that_cannot_be_read_leave_the_list_without_pictures(picker: Picker, small: Scan, root: Path) -> None:
    path = root / "damaged.h5"
    with h5py.File(path, "w") as file:
        frames = np.asarray(small.data).reshape(-1, 32, 32)
        data = file.create_dataset("frames", data=frames, chunks=(9, 32, 32), fletcher32=True)
        offset = data.id.get_chunk_info(3).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)
    pick(picker, "damaged.h5")
    assert shapes(picker)[0] == "14 × 18"
    assert pictures(picker) == [False] * 6
    assert "no pictures: " in picker.shapes.note.object


def test_a_raw_file_is_opened_once_its_detector_is_stated(
    picker: Picker, session: Session, small: Scan, root: Path
) -> None:
    (root / "a.raw").write_bytes(np.asarray(small.data).tobytes())
    assert "data.detector_shape" in pick(picker, "a.raw")
    press(picker.open)
    run(session)
    assert picker.about.visible
    session.change({"data.detector_shape": "32,32"})
    wait(picker)
    assert shapes(picker)[0] == "14 × 18"
    press(picker.shapes.buttons[0])
    run(session)
    np.testing.assert_array_equal(session.shown.scan.rows(0, 14), small.data)


def test_a_folder_of_pictures_is_one_scan(picker: Picker, session: Session, root: Path) -> None:
    imageio = pytest.importorskip("imageio.v3")
    (root / "frames").mkdir()
    for i in range(12):
        imageio.imwrite(root / "frames" / f"{i}.png", np.full((6, 5), 20 * i, np.uint8))
    press(picker.again)
    click(picker, "▸ frames")
    assert labels(picker) == ["‹ up", "all pictures of this folder"]
    click(picker, "all pictures of this folder")
    assert "12 × 6 × 5 uint8" in picker.about.object
    assert shapes(picker)[0] == "3 × 4"
    assert all(pictures(picker))


def test_without_a_folder_there_is_nothing_to_pick(session: Session) -> None:
    picker = Picker(session, None)
    picker.enter("..")
    picker.pick("scan.npy")
    assert not picker.layout.visible
    assert not list(picker.layout)
