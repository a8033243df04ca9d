"""Classes changed by hand in a session: moves, names, when they hold and when they are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sessions import run

from stem4d_panel.analysis import Analysis
from stem4d_panel.app.session import Session
from stem4d_panel.results.store import load_result, save_result
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


def opened(data: Any, changes: dict[str, Any] | None = None) -> Session:
    session = Session(data, Settings.make(changes or {}), lambda then: then())
    session.start()
    run(session)
    return session


@pytest.fixture
def session(small: Scan) -> Iterator[Session]:
    made = opened(small, {"rank": 4})
    yield made
    made.close()  # else it goes on with the other ranks


def told(session: Session) -> list[tuple[str, str]]:
    """All messages from now on."""
    said: list[tuple[str, str]] = []
    session.param.watch(lambda e: said.append(e.new), "message")
    return said


def pair(session: Session) -> tuple[int, int, int]:
    """The class with two crystals, the stronger and the weaker of them."""
    found = next(c for c in session.shown.findings.classes if len(c.members) == 2)
    return found.label, *found.members


def test_a_component_moves_and_comes_back_at_once(session: Session) -> None:
    before = session.shown
    _, strong, weak = pair(session)
    assert session.move_component(weak, None)
    assert not session.busy
    assert session.settings.cluster.moves == f"4: {weak}>"
    assert session.shown.classes.moved == (weak,)
    assert session.shown.classes.count == before.classes.count + 1
    assert session.shown.tree is before.tree
    assert session.move_component(weak, int(session.shown.classes.labels[strong]))
    assert session.settings.cluster.moves is None
    assert session.shown.classes is before.classes  # it was there


def test_a_component_moves_into_another_class(session: Session) -> None:
    label, strong, weak = pair(session)
    other = next(c for c in session.shown.findings.classes if c.label != label)
    assert session.move_component(weak, other.label)
    labels = session.shown.classes.labels
    assert labels[weak] == labels[other.members[0]] != labels[strong]
    assert session.settings.cluster.moves == f"4: {weak}>{other.members[0]}"
    run(session)
    assert session.current_result().classes.moved == (weak,)


def test_a_name_follows_the_strongest_member(session: Session) -> None:
    label, strong, weak = pair(session)
    before = session.shown
    assert session.name_class(label, " α-phase ")
    assert session.settings.cluster.names == f"4: {strong}=α-phase"
    assert session.shown.findings.classes[label].name == "α-phase"
    assert session.shown.classes is before.classes
    assert session.move_component(weak, None)
    named = {c.members: c.name for c in session.shown.findings.classes}
    assert named[strong,] == "α-phase"
    assert named[weak,] == ""
    assert session.name_class(int(session.shown.classes.labels[strong]), "")
    assert session.settings.cluster.names is None
    assert not any(c.name for c in session.shown.findings.classes)


def test_a_name_keeps_the_details(session: Session) -> None:
    for job, _ in session._behind:
        job.wait(60)
    run(session)
    session.details = before = session.analysis.details
    assert session.name_class(0, "first")
    assert session.details is before
    assert session.analysis.details is before


@pytest.mark.parametrize("name", ["a,b", "a=b", "a, 3=evil", "n" * 61, "a\nb"])
def test_a_refused_name_says_why_and_changes_nothing(session: Session, name: str) -> None:
    before = (session.settings, session.shown)
    assert not session.name_class(0, name)
    assert session.message[0] == "error"
    assert session.message[1].isprintable()
    assert (session.settings, session.shown) == before


def test_what_is_not_there_is_neither_moved_nor_named(session: Session) -> None:
    before, said = session.settings, told(session)
    count = session.shown.classes.count
    for component, label in ((4, 0), (-1, 0), (0, count), (0, -1)):
        assert not session.move_component(component, label)
    assert not session.name_class(count, "a")
    assert not session.name_class(-1, "a")
    assert not Session(None, Settings.make(), lambda then: then()).move_component(0, None)
    assert session.settings == before
    assert not said


def test_at_another_rank_moves_and_names_wait_and_a_warning_says_so(session: Session) -> None:
    _, _strong, weak = pair(session)
    session.move_component(weak, None)
    session.name_class(0, "first")
    settings, said = session.settings, told(session)
    session.change({"rank": 3})
    run(session)
    assert not session.shown.classes.moved
    assert not any(c.name for c in session.shown.findings.classes)
    warning = "made at rank 4, not applied at rank 3"
    assert said.count(("warning", f"cluster.moves: {warning}")) == 1
    assert said.count(("warning", f"cluster.names: {warning}")) == 1
    session.change({"threshold": 0.9})
    assert len([s for s in said if warning in s[1]]) == 2  # said once
    assert (session.settings.cluster.moves, session.settings.cluster.names) == (
        settings.cluster.moves,
        settings.cluster.names,
    )
    session.change({"rank": 4, "threshold": None})
    run(session)
    assert session.shown.classes.moved == (weak,)
    assert session.shown.findings.classes[0].name == "first"


def test_those_of_another_rank_are_replaced_with_a_word(session: Session) -> None:
    session.change({"cluster.names": "20: 0=old", "cluster.moves": "20: 1>"})
    said = told(session)
    assert session.name_class(0, "")  # there is none
    assert session.settings.cluster.names == "20: 0=old"
    assert session.name_class(0, "new")
    assert session.settings.cluster.names.startswith("4: ")
    assert session.settings.cluster.moves == "20: 1>"
    assert ("info", "cluster.names: those made at rank 20 are replaced") in said


@pytest.mark.parametrize(
    ("change", "forgotten"),
    [
        ({"prepare.bin": 2}, True),
        ({"calibration.scan_step": 0.7}, True),
        ({"factorize.seed": 5}, True),
        ({"seed": 5}, True),
        ({"rank": 3}, False),
        ({"seed": 0}, False),  # as it was
        ({"threshold": 0.2}, False),
        ({"cluster.glass": 0.4}, False),
        ({"measure.level": 0.4}, False),
    ],
)
def test_what_makes_components_anew_forgets_moves_and_names(
    session: Session, change: dict[str, Any], forgotten: bool
) -> None:
    session.move_component(3, None)
    session.name_class(0, "first")
    said = told(session)
    assert session.change(change)
    session.cancel()
    kept = (session.settings.cluster.moves is not None, session.settings.cluster.names is not None)
    assert kept == (not forgotten, not forgotten)
    reset = ("info", "components are made anew: moves and names of classes are reset")
    assert said.count(reset) == forgotten


def test_moves_that_are_stated_with_the_change_stay(session: Session) -> None:
    session.name_class(0, "first")
    assert session.change({"prepare.bin": 2, "cluster.moves": "4: 3>"})
    assert (session.settings.cluster.moves, session.settings.cluster.names) == ("4: 3>", None)


def test_what_is_stated_before_the_data_are_open_stays() -> None:
    session = Session(None, Settings.make({"cluster.moves": "3>1"}), lambda then: then())
    assert session.change({"data.scan_shape": "7,9"})
    assert session.settings.cluster.moves == "3>1"


def test_while_components_are_made_anew_nothing_is_changed_by_hand(session: Session) -> None:
    session.change({"factorize.seed": 11})
    before = session.settings
    assert not session.name_class(0, "first")
    assert not session.move_component(3, None)
    assert session.message == ("info", "classes can be changed by hand once they are up to date")
    assert session.settings == before
    run(session)
    assert session.name_class(0, "first")


def test_other_data_forget_and_a_failed_opening_does_not(session: Session, small: Scan, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.asarray(small.data)[:7])
    (tmp_path / "bad.h5").write_text("no HDF5")
    session.name_class(0, "first")
    session.open(tmp_path / "bad.h5", root=tmp_path)
    run(session)
    assert session.settings.cluster.names is not None
    session.open(tmp_path / "other.npy", root=tmp_path)
    run(session)
    assert session.settings.cluster.names is None


@pytest.mark.parametrize("forged", ["3>3", "x", "1>2, 2>1", 5, "", ["3>1"], "3>1\n"])
def test_forged_moves_are_refused(session: Session, forged: Any) -> None:
    before = session.settings
    assert not session.change({"cluster.moves": forged})
    assert session.message[0] == "error"
    assert session.message[1].startswith("cluster.moves: ")
    assert session.settings == before


def test_moves_beyond_the_rank_keep_the_last_good_classes(session: Session) -> None:
    before = session.shown
    session.change({"cluster.moves": "9>0"})
    run(session)
    assert session.message == ("error", "cluster.moves: component 9 is not from 0 to 3, those of rank 4")
    assert session.shown is before
    session.change({"cluster.moves": None})
    assert session.steps["Cluster"][0] == "up to date"


def test_a_saved_result_takes_moves_and_names(small: Scan, tmp_path: Path) -> None:
    result = Analysis(small, cache=Cache(), rank=4, cluster__names="20: 0=old").result()
    path = save_result(result, tmp_path / "a.stem4d.hspy")
    session = opened(load_result(path))
    assert session.details is not None
    assert session.name_class(1, "second")
    assert session.details is not None
    assert session.shown.findings.classes[1].name == "second"
    _, _strong, weak = pair(session)
    assert session.move_component(weak, None)
    assert session.details is None
    assert not session.change({"cluster.moves": "4>0"})
    assert session.message == ("error", "cluster.moves: component 4 is not from 0 to 3, those of rank 4")
    assert session.settings.cluster.moves == f"4: {weak}>"
    assert not session.change({"cluster.mirror": "allowed"})
    again = load_result(save_result(session.current_result(), tmp_path / "b.stem4d.hspy"))
    assert again.classes.moved == (weak,)
    assert sum(c.name == "second" for c in again.findings.classes) == 1
    assert not again.details.classes  # those of the old classes would be wrong
    assert not any("rank 20" in text for text in again.warnings)
    assert any("rank 20" in text for text in result.warnings)
    fresh = Analysis(small, cache=Cache(), settings=again.settings).result()
    np.testing.assert_array_equal(fresh.classes.labels, again.classes.labels)
    np.testing.assert_allclose(fresh.classes.patterns, again.classes.patterns, atol=1e-6)
    assert [c.name for c in fresh.findings.classes] == [c.name for c in again.findings.classes]
    session.close()
