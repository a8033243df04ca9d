"""What buttons and keys do in a session, whatever the page sends."""

from __future__ import annotations

from typing import Any

import pytest
from sessions import run

from stem4d_panel import Workbench
from stem4d_panel.app.actions import ActionBar, Actions
from stem4d_panel.app.session import Session
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


def test_keys_go_round_the_gallery_and_stay_within_the_ranks(session: Session) -> None:
    actions = Actions(session, lambda: None, everywhere=True)
    order = list(session.shown.tree.order)
    seen = []
    for _ in range(6):
        actions.act("next")
        seen.append(session.component)
    assert seen == [*order, order[0]]
    actions.act("previous")
    assert session.component == order[-1]
    session.choose_point(2, 3)
    actions.act("clear")
    assert (session.component, session.point) == (None, None)
    session.change({"rank": 1})
    run(session)
    actions.act("fewer")
    assert session.settings.factorize.rank == 1
    actions.act("more")
    run(session)
    assert session.shown.factors.rank == 2
    assert actions.bar.can_undo
    actions.act("undo")
    assert session.settings.factorize.rank == 5  # two steps of one second are one
    assert actions.bar.can_redo


@pytest.mark.parametrize("data", [None, [], {"act": 3}, {"act": "delete"}, {"other": "undo"}, "undo"])
def test_what_the_page_sends_may_be_anything(session: Session, data: Any) -> None:
    before = session.settings
    Actions(session, lambda: None, everywhere=True).bar._handle_msg(data)
    assert session.settings is before


def test_a_rank_that_was_lowered_goes_on_from_what_is_shown(small: Scan) -> None:
    few = Scan.from_array(small.data[:3, :3], name="few")  # nine positions, less than the default rank
    session = Session(few, Settings.make(), lambda then: then())
    actions = Actions(session, lambda: None, everywhere=True)
    for what in ("Python", "next", "more"):  # before there are data
        actions.act(what)
    assert actions.text("TOML") is None
    session.start()
    run(session)
    shown = session.shown.factors.rank
    assert shown < session.settings.factorize.rank
    assert "rank" not in actions.text("TOML")  # what was lowered by itself is so again
    actions.act("fewer")
    assert session.settings.factorize.rank == shown - 1
    assert f"rank = {shown - 1}" in actions.text("TOML")
    session.close()


def test_without_a_header_the_actions_stand_above_the_figures_and_keys_act_there_alone(small: Scan) -> None:
    workbench = Workbench(small, rank=3)
    assert workbench.__panel__().select(ActionBar) == [workbench.actions.bar]
    assert not workbench.actions.bar.everywhere
    workbench.close()
