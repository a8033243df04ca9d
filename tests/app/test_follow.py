"""What stays itself when the rank or the threshold changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sessions import run

from stem4d_panel.app import follow
from stem4d_panel.app.session import Session


def test_components_are_found_again_in_another_order_and_lost_where_nothing_is_alike(session: Session) -> None:
    factors = session.shown.factors
    order = [3, 0, 4, 2, 1]
    other = replace(factors, maps=factors.maps[order], patterns=factors.patterns[order])
    assert follow.components(factors, other) == {k: place for place, k in enumerate(order)}
    maps = other.maps.copy()
    maps[1] = maps[1].max() - maps[1]  # component 0 is gone
    assert 0 not in follow.components(factors, replace(other, maps=maps))
    assert follow.components(factors, replace(other, maps=other.maps[:, 1:])) == {}


def test_a_chosen_component_is_followed_through_the_ranks(session: Session) -> None:
    session.choose_component(2)
    before = session.shown.factors.maps[2].ravel()
    modes: list[object] = []
    session.param.watch(modes.append, "component")
    session.change({"factorize.rank": 7})
    run(session)
    maps = session.shown.factors.maps.reshape(7, -1)
    cosines = maps @ before / np.linalg.norm(maps, axis=1) / np.linalg.norm(before)
    assert session.component == int(cosines.argmax())
    assert cosines.max() > 0.8
    assert not modes  # found again, not chosen


def test_a_class_keeps_its_colour_and_stays_chosen_when_others_join(session: Session) -> None:
    session.change({"factorize.rank": 7, "cluster.threshold": 0.0})
    run(session)
    before = session.shown
    assert len(set(before.colours)) == len(before.colours) == 7
    label = next(c.label for c in before.findings.classes if c.crystalline)
    session.choose_class(label)
    session.change({"cluster.threshold": float(before.tree.merges[:, 2].max())})
    run(session)
    after = session.shown
    assert len(after.colours) == after.classes.count < 7
    pairs = follow.classes(before.classes, after.classes)
    assert pairs
    kind = [[c.crystalline for c in s.findings.classes] for s in (before, after)]
    for old, new in pairs.items():
        if kind[0][old] == kind[1][new]:
            assert after.colours[new] == before.colours[old]
    assert session.label == pairs.get(label)
    session.change({"cluster.threshold": 0.0})
    run(session)
    assert len(set(session.shown.colours)) == 7
