"""The state behind the screen, without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.app.session import STEPS, Session
from stem4d_panel.runtime.jobs import compute
from stem4d_panel.runtime.progress import Steps
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


def run(session: Session) -> None:
    """Wait for the session's work, which is told in the compute thread."""
    while session.busy:
        compute.submit(f"after/{id(session)}", _nothing).wait(60)  # the thread takes turns: by then it has told more


def _nothing() -> Steps[None]:
    return
    yield  # a generator without a step


@pytest.fixture
def session(small: Scan) -> Iterator[Session]:
    made = Session(small, Settings.make({"rank": 5}), lambda then: then())
    made.start()
    run(made)
    yield made
    made.close()  # else it goes on with the other ranks


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
    assert session.shown.factors.iterations == 20 + 50 + 5  # a trial, the settling, the polish


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


def test_the_other_ranks_and_the_evidence_come_by_themselves(small: Scan) -> None:
    session = Session(small, Settings.make({"rank": 3, "factorize.rank_max": 4}), lambda then: then())
    session.start()
    run(session)
    session._walk.wait(60)
    compute.submit(f"after/{id(session)}", _nothing).wait(60)  # by then the session has heard of it
    assert session.evidence.ranks.tolist() == [1, 2, 3, 4]
    session.change({"rank": 2})
    assert not session.busy  # it was there
    assert session.shown.factors.rank == 2
    session.close()


def test_a_preview_shows_until_the_factors_are_there(small: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stem4d_panel.app.session._PREVIEW_FROM", 0)
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
