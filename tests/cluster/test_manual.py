"""What a user does to classes, as moves and names: only what is meant changes, and back is back."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.by_hand import Moves, Names, RefusedError
from stem4d_panel.cluster.classes import ClassMaker
from stem4d_panel.cluster.manual import move, name
from stem4d_panel.factorize.factors import Factors

from .made import CENTRE, A, B, grow, made, partition, pattern


def two_kinds() -> tuple[Factors, ClassMaker]:
    factors = made([pattern(s, t) for s in (A, B) for t in (0, 50, 200, 310)], (9.0, 4.0, 3.0, 7.0, 8.0, 2.0, 6.0, 5.0))
    return factors, ClassMaker(factors, grow(factors), CENTRE)


def moving(maker: ClassMaker, factors: Factors, moves: Moves, threshold: float, i: int, label: int | None) -> Moves:
    return move(moves, maker.at(threshold, moves), maker.tree, factors.totals, i, label)


@pytest.mark.parametrize("seed", range(6))
def test_of_many_moves_each_moves_one_component_only(seed: int) -> None:
    factors, maker = two_kinds()
    rng = np.random.default_rng(seed)
    moves = Moves({}, 8)
    for _ in range(60):
        threshold = float(rng.choice([-1.0, 0.3, 2.0]))
        before = maker.at(threshold, moves)
        i = int(rng.integers(8))
        label = None if rng.random() < 0.3 else int(rng.integers(before.count))
        expected = before.labels.copy()
        expected[i] = before.count if label is None else label
        moves = moving(maker, factors, moves, threshold, i, label)
        assert Moves.parse(str(moves) or None).of == moves.of
        after = maker.at(threshold, moves)
        assert partition(after.labels) == partition(expected)
        assert set(after.moved) <= set(moves.of)


@pytest.mark.parametrize("i", range(8))
def test_moved_and_moved_back_there_is_no_move(i: int) -> None:
    factors, maker = two_kinds()
    before = maker.at(0.3)
    assert partition(before.labels) == {frozenset(range(4)), frozenset(range(4, 8))}
    for label in (1 - int(before.labels[i]), None):
        moves = moving(maker, factors, Moves({}, 8), 0.3, i, label)
        assert list(moves.of) == [i]
        away = maker.at(0.3, moves)
        home = next(j for j in range(8) if j != i and before.labels[j] == before.labels[i])
        assert not moving(maker, factors, moves, 0.3, i, int(away.labels[home])).of


def test_those_that_followed_a_component_stay_when_it_goes() -> None:
    factors, maker = two_kinds()
    moves = Moves.parse("5>, 1>5, 2>5")
    found = maker.at(0.3, moves)
    back = moving(maker, factors, moves, 0.3, 5, int(found.labels[4]))
    assert back.of == {1: None, 2: 1}
    assert partition(maker.at(0.3, back).labels) == {frozenset({0, 3}), frozenset({1, 2}), frozenset({4, 5, 6, 7})}


def test_what_is_there_already_is_not_moved() -> None:
    factors, maker = two_kinds()
    moves = Moves.parse("5>")
    found = maker.at(0.3, moves)
    assert moving(maker, factors, moves, 0.3, 5, None) is moves
    assert moving(maker, factors, moves, 0.3, 6, int(found.labels[7])) is moves


def test_the_name_follows_the_strongest_member() -> None:
    factors, maker = two_kinds()
    names = name(Names({}, 8), maker.at(0.3), factors.totals, 0, " first ")
    assert str(names) == "8: 0=first"
    names = name(names, maker.at(0.3), factors.totals, 1, "second")
    assert str(names) == "8: 0=first, 4=second"
    names = name(names, maker.at(2.0), factors.totals, 0, "both")
    assert str(names) == "8: 0=both, 4=second"  # which comes back when the threshold falls again
    assert str(name(names, maker.at(2.0), factors.totals, 0, " ")) == ""
    assert str(name(names, maker.at(0.3), factors.totals, 0, "")) == "8: 4=second"


@pytest.mark.parametrize("text", ["a,b", "a, 3=evil", "n" * 61, "a\nb"])
def test_a_name_that_would_be_more_is_refused(text: str) -> None:
    factors, maker = two_kinds()
    with pytest.raises(RefusedError):
        name(Names(), maker.at(0.3), factors.totals, 0, text)
