"""Widgets and the session: a value sent back late by the page undoes nothing, what a hand sets always counts."""

from __future__ import annotations

from collections.abc import Iterator

import param
import pytest

from stem4d_panel.app import fields
from stem4d_panel.app.controls import Controls
from stem4d_panel.app.fields import Field, Told
from stem4d_panel.app.session import Session
from stem4d_panel.settings import Settings


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session(None, Settings.make(), lambda then: then())
    yield session
    session.close()


def test_a_field_keeps_what_a_drag_set_when_the_page_sends_an_older_value_back(session: Session) -> None:
    field = Field(session, "cluster.threshold")
    for value in (0.51, 0.53, 0.55):
        session.change({"cluster.threshold": value})
    field.widget.value = "0.53"
    assert session.settings.cluster.threshold == 0.55
    assert field.widget.value == "0.55"
    field.widget.value = "0.6"
    assert session.settings.cluster.threshold == 0.6
    field.widget.value = "0.53"  # by hand now
    assert session.settings.cluster.threshold == 0.53


def test_an_old_value_is_no_echo_once_a_second_has_passed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(fields.time, "monotonic", lambda: now)
    told = Told()
    for value in (1, 2, 3):
        told.tell(value)
    assert told.is_echo(1)
    assert told.is_echo(2)
    assert not told.is_echo(3)
    assert told.is_echo(2)
    now += 1.1
    assert not told.is_echo(2)


def test_the_rank_slider_does_not_go_back_to_a_rank_that_was_played_before(session: Session) -> None:
    controls = Controls(session, None, lambda: None)
    for rank in (11, 12):
        session.change({"factorize.rank": rank})
    with param.edit_constant(controls.rank):
        controls.rank.param.update(value=11, value_throttled=11)
        assert session.settings.factorize.rank == 12
        assert controls.rank.value == 12
        controls.rank.param.update(value=13, value_throttled=13)
    assert session.settings.factorize.rank == 13
    controls.picker.close()
