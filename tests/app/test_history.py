"""Undo and redo of settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sessions import run

from stem4d_panel.app.history import History
from stem4d_panel.app.session import Session
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_drag_is_one_step_and_another_one_a_second() -> None:
    clock = Clock()
    history, settings = History(clock), Settings.make()

    def change(**changes: float) -> None:
        nonlocal settings
        new = settings.replace(changes)
        history.note(settings, new)
        settings = new

    for i in range(50):  # goes on for longer than a second
        clock.now += 0.1
        change(threshold=0.1 + i / 100)
    change(rank=9)
    clock.now += 5
    change(rank=8)
    seen = []
    while history.can_undo:
        assert history.undo(settings, lambda back: bool(seen.append(back) or True))
        settings = seen[-1]
    assert [(s.factorize.rank, s.cluster.threshold) for s in seen] == [(9, 0.59), (20, 0.59), (20, None)]
    for wanted in (0.59, 0.59):
        assert history.redo(settings, lambda forth: bool(seen.append(forth) or True))
        settings = seen[-1]
        assert settings.cluster.threshold == wanted
    change(rank=7)  # at once, and the same parameter: a step of its own, after which nothing is left to redo
    assert not history.can_redo
    assert history.undo(settings, lambda back: back.factorize.rank == 9)


def test_a_refused_step_stays_where_it_is_and_the_oldest_are_forgotten() -> None:
    clock = Clock()
    history, settings = History(clock), Settings.make()
    for i in range(300):
        clock.now += 2
        history.note(settings, settings := settings.replace({"seed": i + 1}))
    assert not history.undo(settings, lambda _: False)
    assert not history.can_redo
    count = 0
    while history.undo(settings, lambda _: True):
        count += 1
    assert count == 100


def test_a_session_goes_back_and_forth_and_what_was_automatic_is_so_again(
    session: Session, small: Scan, tmp_path: Path
) -> None:
    first = session.settings
    factors, classes = session.shown.factors, session.shown.classes
    assert session.name_class(0, "B2")
    assert session.change({"prepare.bin": 2})  # makes components anew, which forgets the name
    assert session.settings.cluster.names is None
    run(session)
    told: list[bool] = []
    session.param.watch(lambda _: told.append(session.history.can_redo), "settings")
    assert session.undo()
    assert told == [True]  # whoever hears of the change already finds what can be made again
    run(session)
    assert session.settings.cluster.names == "5: 0=B2"
    assert session.shown.findings.classes[0].name == "B2"
    assert session.undo()
    assert session.settings == first
    assert session.settings.explicit == {"factorize.rank"}
    assert session.shown.factors is factors
    np.testing.assert_array_equal(session.shown.classes.labels, classes.labels)
    assert not session.undo()
    assert session.redo()
    assert session.redo()
    assert session.settings.prepare.bin == 2
    assert not session.redo()
    run(session)
    np.save(tmp_path / "other.npy", np.asarray(small.data)[:10])
    session.open(tmp_path / "other.npy")
    run(session)
    assert not session.undo()  # other data, another history
