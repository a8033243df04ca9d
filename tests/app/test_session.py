"""The state behind the screen, without one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sessions import nothing, run

from stem4d_panel.analysis import Analysis
from stem4d_panel.app import showing
from stem4d_panel.app.session import STEPS, Session, _one_by_one
from stem4d_panel.runtime.jobs import Job, compute
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


def states(session: Session) -> list[str]:
    return [session.steps[s][0] for s in STEPS]


def test_the_work_begins_by_itself_and_ends_up_to_date(session: Session) -> None:
    assert states(session) == ["up to date"] * 4
    assert session.shown.factors.rank == 5
    assert session.shown.virtual.shape == (14, 18)


def test_a_refused_change_says_why_and_changes_nothing(session: Session) -> None:
    before = (session.settings, session.shown)
    assert not session.change({"prepare.bin": 3, "factorize.rank": 0})
    assert session.message == ("error", "factorize.rank: 0 is not allowed; it takes a whole number from 1 to 1000")
    assert (session.settings, session.shown) == before


def test_a_failing_change_keeps_the_last_good_result_on_the_screen(session: Session) -> None:
    before = session.shown.factors
    session.change({"prepare.bin": 40})
    run(session)
    assert session.message[0] == "error"
    assert "prepare.bin: 40 is above the detector" in session.message[1]
    assert session.shown.factors is before
    assert states(session)[1] == "failed"
    session.change({"prepare.bin": None})
    run(session)
    assert states(session) == ["up to date"] * 4


def test_a_rank_seen_before_and_a_threshold_come_back_at_once(session: Session) -> None:
    first = session.shown.factors
    session.change({"rank": 4})
    run(session)
    assert session.shown.factors.rank == 4
    session.change({"rank": 5})
    assert not session.busy
    assert session.shown.factors is first
    session.change({"threshold": 0.9})
    assert not session.busy
    assert session.shown.classes.threshold == 0.9


def test_the_newest_settings_win(session: Session) -> None:
    for rank in (6, 7, 3):
        session.change({"rank": rank})
    run(session)
    assert session.shown.factors.rank == 3
    assert states(session) == ["up to date"] * 4


def test_maps_and_classes_on_the_screen_always_belong_together(small: Scan) -> None:
    seen: list[Any] = []
    session = Session(small, Settings.make({"rank": 4}), lambda then: then())
    session.param.watch(lambda e: seen.append(e.new), "shown")
    session.start()
    run(session)
    session.change({"rank": 6})
    run(session)
    for shown in seen:
        if shown.factors is not None:
            assert len(shown.classes.labels) == shown.factors.rank == len(shown.tree.anisotropy)
            assert shown.findings.position_labels.max() < shown.classes.count
    session.close()


def test_cancel_leaves_the_rest_stale_and_refresh_takes_it_up_again(session: Session) -> None:
    before = session.shown.factors
    session.change({"factorize.tol": 0.0, "factorize.max_iter": 100_000})
    session.cancel()
    assert not session.busy
    assert states(session)[2:] == ["stale", "stale"]
    assert session.shown.factors is before
    session.change({"factorize.max_iter": 50})
    run(session)
    assert states(session) == ["up to date"] * 4
    assert session.shown.factors.iterations == 20 + 50 + 1  # a trial, the settling, the polish


def test_a_saved_result_takes_thresholds_only(small: Scan) -> None:
    result = Analysis(small, rank=5).result()
    session = Session(result, Settings.make(), lambda then: then())
    session.start()
    run(session)
    assert session.settings == result.settings
    assert not session.change({"rank": 3})
    assert "a saved result holds no frames" in session.message[1]
    assert session.change({"threshold": 2.0})
    assert session.shown.classes.count == 1
    assert np.array_equal(session.current_result().classes.labels, np.zeros(5))


def test_points_and_components_beyond_what_is_there_are_ignored(session: Session) -> None:
    session.choose_point(13, 17)
    session.choose_point(14, 0)
    session.choose_component(4)
    session.choose_component(5)
    assert (session.point, session.component) == ((13, 17), 4)


def test_pages_that_want_the_same_result_draw_it_one_after_the_other(
    small: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that events find room between them."""
    monkeypatch.setattr("stem4d_panel.app.session._DRAWN", 20.0)
    asked: list[Callable[[], None]] = []
    sessions = [Session(small, Settings.make(), asked.append) for _ in range(3)]
    sessions[1].close()  # takes no turn
    job = Job("behind", lambda: iter(()))
    for session in sessions:
        session._behind.append((job, lambda _: None))
        _one_by_one.submit(session._hand_over, "evidence", job)
    last = _one_by_one.submit(lambda: None)
    for count in (1, 2):
        while len(asked) < count:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(asked) == count
        asked[-1]()
    last.result(20)


def test_the_other_ranks_and_the_evidence_come_by_themselves(small: Scan) -> None:
    session = Session(small, Settings.make({"rank": 3, "factorize.rank_max": 4}), lambda then: then())
    session.start()
    run(session)
    for job, _ in session._behind:
        job.wait(60)
    compute.submit(f"after/{id(session)}", nothing).wait(60)  # by then they are handed over
    _one_by_one.submit(int).result(60)  # and the session has heard of it
    assert session.evidence.ranks.tolist() == [1, 2, 3, 4]
    session.change({"rank": 2})
    assert not session.busy  # it was there
    assert session.shown.factors.rank == 2
    session.close()


def test_a_preview_shows_until_the_factors_are_there(small: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stem4d_panel.app.work._PREVIEW_FROM", 0)
    session = Session(small, Settings.make({"rank": 5, "seed": 77}), lambda then: then())
    seen: list[bool] = []
    session.param.watch(
        lambda e: seen.append(any("preview" in w for w in e.new.factors.warnings)) if e.new.factors else None, "shown"
    )
    session.start()
    run(session)
    assert seen[0]
    assert not seen[-1]
    session.close()


def test_of_changes_that_come_together_the_newest_is_made(small: Scan) -> None:
    calls: list[Callable[[], None]] = []
    called = threading.Event()
    session = Session(small, Settings.make({"rank": 3}), lambda f: (calls.append(f), called.set()))
    changed: list[float] = []
    session.param.watch(lambda e: changed.append(e.new.cluster.threshold), "settings")
    for value in (0.2, 0.3, 0.4):
        session.change_soon({"cluster.threshold": value})
    assert called.wait(20)
    calls.pop()()
    assert changed == [0.4]
    assert not calls
    called.clear()
    session.change_soon({"cluster.threshold": 0.5})
    session.close()
    assert called.wait(20)
    calls.pop()()
    assert changed == [0.4]  # a closed session changes nothing


def write_damaged(path: Path, small: Scan) -> None:
    """The scan with one byte flipped in a chunk that has a checksum."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=small.data, chunks=(1, 18, 32, 32), fletcher32=True)
        offset = data.id.get_chunk_info(3).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("kind", ["text", "truncated", "damaged", "huge"])
def test_a_file_that_cannot_be_used_leaves_the_last_result(
    session: Session, small: Scan, tmp_path: Path, kind: str
) -> None:
    before, settings = session.shown, session.settings
    path = tmp_path / "a.h5"
    if kind == "text":
        path.write_text("no HDF5")
    elif kind == "huge":
        with h5py.File(path, "w") as file:
            file.create_dataset("data", (2**15,) * 4, "f8", chunks=(1, 1, 256, 256))
    else:
        write_damaged(path, small)
        if kind == "truncated":
            path.write_bytes(path.read_bytes()[:9999])
    session.open(path, root=tmp_path)
    run(session)
    says = {
        "text": "a.h5: not an HDF5 file",
        "truncated": "a.h5: truncated or damaged: ",
        "damaged": "a.h5: rows 0 to 13 of /data, chunk (3, 0, 0, 0), cannot be read: ",
        "huge": "a.h5: its analysis needs ",
    }
    assert session.message[0] == "error"
    assert session.message[1].startswith(says[kind])
    assert session.shown is before
    assert session.settings == settings


def test_a_stack_opens_once_its_scan_shape_is_stated_and_another_file_does_not_inherit_it(
    session: Session, small: Scan, tmp_path: Path
) -> None:
    np.save(tmp_path / "stack.npy", np.asarray(small.data).reshape(-1, 32, 32))
    np.save(tmp_path / "scan.npy", np.asarray(small.data)[:7])
    before = session.shown
    session.open(tmp_path / "stack.npy", root=tmp_path)
    run(session)
    assert session.message[0] == "error"
    assert "frames (252, 32, 32) without a scan shape; data.scan_shape takes 14,18 or 18,14" in session.message[1]
    assert session.shown is before
    assert session.change({"data.scan_shape": "7,9"})
    run(session)
    assert "252 frames do not fill data.scan_shape 7,9" in session.message[1]
    assert session.change({"data.scan_shape": "14,18"})
    run(session)
    assert session.shown.virtual.shape == (14, 18)
    np.testing.assert_array_equal(session.shown.survey.total, before.survey.total)
    session.open(tmp_path / "scan.npy", root=tmp_path)
    run(session)
    assert session.settings.data.scan_shape is None
    assert session.shown.virtual.shape == (7, 18)


def test_a_file_outside_of_the_folder_is_not_opened(session: Session, small: Scan, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "secret.npy", np.asarray(small.data))
    (tmp_path / "data" / "a.npy").symlink_to(tmp_path / "secret.npy")
    session.open(tmp_path / "data" / "a.npy", root=tmp_path / "data")
    run(session)
    assert session.message == ("error", "a.npy: lies outside the folder that is served")


def test_a_session_does_not_join_an_opening_that_may_see_more(session: Session, small: Scan, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(small.data))
    (tmp_path / "data").mkdir()
    confined = Session(small, Settings.make({"rank": 5}), lambda then: then())
    session.open(path, root=tmp_path)
    confined.open(path, root=tmp_path / "data")
    run(session)
    run(confined)
    confined.close()
    assert session.shown.name == "a.npy"
    assert confined.message == ("error", "a.npy: lies outside the folder that is served")


def test_a_file_that_changed_is_told_and_opens_again(session: Session, small: Scan, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asarray(small.data))
    session.open(path, root=tmp_path)
    run(session)
    np.save(path, np.asarray(small.data)[:7])
    session.change({"prepare.bin": 2})
    run(session)
    assert session.message == ("error", "a.npy: the file has changed since it was opened; open it again")
    session.open(path, root=tmp_path)
    run(session)
    assert session.shown.virtual.shape == (7, 18)


def test_views_that_may_follow_are_told_once_the_first_are_on_their_way(small: Scan) -> None:
    later: list[Callable[[], None]] = []
    made = Session(small, Settings.make({"rank": 5}), lambda then: then(), afterwards=later.append)
    made.start()
    run(made)
    while later:
        later.pop()()
    told: list[tuple[str, Any]] = []
    made.param.watch(lambda e: told.append((e.name, e.new)), ["shown", "shown_after"])
    before = made.shown
    made.change({"cluster.threshold": 0.01})
    made.change({"cluster.threshold": 1.9})
    assert [name for name, _ in told] == ["shown", "shown"]
    assert made.shown_after is before
    assert len(later) == 1  # one for both
    later.pop()()
    assert told[-1] == ("shown_after", made.shown)
    assert made.shown_after.classes.threshold == 1.9
    made.close()
    made._afterwards(made._show_after)
    later.pop()()
    assert len(told) == 3  # nothing is drawn in a page that has gone


def test_a_hand_moves_while_one_change_follows_another_and_until_none_has_come_for_a_while(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "_QUICK", 0.0)
    monkeypatch.setattr(showing, "_REST", 1e9)
    for threshold in (0.01, 1.9):
        session.change({"cluster.threshold": threshold})
    assert not session.moves  # one change alone, long after another
    monkeypatch.setattr(showing, "_QUICK", 1e9)
    assert session.moves
    monkeypatch.setattr(showing, "_REST", 0.0)
    assert not session.moves
