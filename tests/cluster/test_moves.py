"""Components that are moved by hand: where they end, how they are turned, and that all else stays as it was."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from stem4d_panel.by_hand import Moves
from stem4d_panel.cluster.classes import Classes, ClassMaker, classify
from stem4d_panel.cluster.tree import Tree
from stem4d_panel.errors import SettingError
from stem4d_panel.factorize.factors import Factors

from .made import CENTRE, SQUARE, A, B, apart, blob, grow, grown, halo, made, particle, partition, pattern, scene
from .made import settings_of as cluster_settings

TURNS = np.array([10.0, 47.3, 301.2, 5.0, 112.6, 220.4])
TOTALS = (9.0, 8.0, 3.0, 7.0, 5.0, 2.0)


def two_kinds() -> Factors:
    """Three of A and three of B, turned and displaced, the strongest first in each."""
    spots = [A, A, A, B, B, B]
    images = [pattern(s, t) for s, t in zip(spots, TURNS, strict=True)]
    return made(images, TOTALS, [blob(9 + i, 15 - i) for i in range(6)])


def moved(factors: Factors, tree: Tree, text: str | None, threshold: float = 0.3) -> Classes:
    return classify(factors, tree, CENTRE, threshold, Moves.parse(text))


def same(one: Classes, other: Classes) -> None:
    for f in fields(Classes):
        np.testing.assert_array_equal(getattr(one, f.name), getattr(other, f.name), err_msg=f.name)


def sets(classes: Classes) -> set[frozenset[int]]:
    return partition(classes.labels)


def groups(*members: set[int]) -> set[frozenset[int]]:
    return {frozenset(m) for m in members}


@pytest.mark.parametrize(
    ("text", "expected", "by_hand"),
    [
        (None, ({0, 1, 2}, {3, 4, 5}), ()),
        ("2>3", ({0, 1}, {2, 3, 4, 5}), (2,)),
        ("2>", ({0, 1}, {2}, {3, 4, 5}), (2,)),
        ("0>", ({0}, {1, 2}, {3, 4, 5}), (0,)),
        ("2>, 5>", ({0, 1}, {2}, {3, 4}, {5}), (2, 5)),
        ("2>, 5>2", ({0, 1}, {2, 5}, {3, 4}), (2, 5)),  # the target's own class
        ("2>5, 5>0", ({0, 1, 2, 5}, {3, 4}), (5,)),  # to where the target ends: 2 is there already
        ("2>5, 5>4", ({0, 1}, {2, 3, 4, 5}), (2,)),
        ("0>3, 1>3, 2>3", ({0, 1, 2, 3, 4, 5},), (0, 1, 2)),  # nothing is left of a class
        ("0>3, 1>3", ({2}, {0, 1, 3, 4, 5}), (0, 1)),
        ("0>3, 3>1", ({0, 1, 2, 3}, {4, 5}), (3,)),
        ("2>0", ({0, 1, 2}, {3, 4, 5}), ()),  # where the tree has it
    ],
)
def test_components_go_where_they_are_moved(text: str | None, expected: tuple[set[int], ...], by_hand: tuple) -> None:
    factors = two_kinds()
    found = moved(factors, grow(factors), text)
    assert sets(found) == groups(*expected)
    assert found.moved == by_hand
    sums = [factors.totals[found.members(label)].sum() for label in range(found.count)]
    assert sums == sorted(sums, reverse=True)
    for label in range(found.count):
        members = found.members(label)
        strongest = members[factors.totals[members].argmax()]
        assert found.rotations[strongest] == 0
        assert found.shifts[strongest].tolist() == [0, 0]
        np.testing.assert_allclose(found.located[label], factors.maps[members].sum(axis=0), rtol=1e-5)
        assert found.patterns[label].sum() == pytest.approx(1, rel=1e-5)
    assert ((found.rotations >= 0) & (found.rotations < 360)).all()


def test_back_again_everything_is_to_the_last_bit_as_before() -> None:
    factors = two_kinds()
    maker = ClassMaker(factors, grow(factors), CENTRE)
    before = maker.at(0.3)
    assert maker.at(0.3, Moves.parse("2>3")).labels.tolist() != before.labels.tolist()
    same(maker.at(0.3, Moves()), before)
    same(maker.at(0.3, Moves.parse("2>1")), before)
    same(moved(factors, grow(factors), None), before)
    alone = maker.at(-1.0)
    same(maker.at(-1.0, Moves.parse("2>, 4>")), alone)  # already classes of their own


def test_what_is_not_touched_is_the_very_same_as_without_moves() -> None:
    factors = two_kinds()
    maker = ClassMaker(factors, grow(factors), CENTRE)
    before, after = maker.at(0.3), maker.at(0.3, Moves.parse("2>"))
    old, new = before.labels[3], after.labels[3]
    assert old == new == 1
    for name in ("patterns", "maps", "located", "autocorrelation"):
        np.testing.assert_array_equal(getattr(before, name)[old], getattr(after, name)[new])
    for name in ("rotations", "shifts"):
        np.testing.assert_array_equal(getattr(before, name)[3:], getattr(after, name)[3:])


def test_the_order_of_the_moves_and_of_the_asking_changes_nothing() -> None:
    factors = two_kinds()
    maker = ClassMaker(factors, grow(factors), CENTRE)
    for text in ("2>", "5>0", "1>3"):
        for threshold in (-1.0, 0.3, 2.0):
            maker.at(threshold, Moves.parse(text))
    first = maker.at(0.3, Moves.parse("5>2, 1>3, 2>"))
    same(moved(factors, grow(factors), "2>, 1>3, 5>2"), first)


def test_permuted_components_give_the_same_classes() -> None:
    order = np.array([4, 2, 0, 5, 3, 1])
    one = two_kinds()
    other = Factors(one.maps[order], one.patterns[order], one.mask, 0.1, one.error_curve, 1, True, ())
    where = {int(old): new for new, old in enumerate(order)}
    first = moved(one, grow(one), "2>3, 5>")
    second = moved(other, grow(other), f"{where[2]}>{where[3]}, {where[5]}>")
    np.testing.assert_array_equal(first.labels[order], second.labels)
    np.testing.assert_allclose(apart(first.rotations[order], second.rotations), 0, atol=0.05)
    np.testing.assert_allclose(first.shifts[order], second.shifts, atol=0.05)
    np.testing.assert_allclose(first.patterns, second.patterns, atol=1e-3 * first.patterns.max())


@pytest.mark.parametrize("turn", [0.0, 17.4, 90.0, 163.7, 200.2, 359.5])
@pytest.mark.parametrize("strong", [False, True])
def test_the_turn_of_a_moved_component_is_found_over_all_angles(turn: float, strong: bool) -> None:
    images = [pattern(A, 30), pattern(A, 75), pattern(A, 30 + turn), pattern(B)]
    totals = (9.0, 8.0, 20.0 if strong else 2.0, 5.0)
    factors = made(images, totals, [blob(9, 15), blob(12, 12), blob(14, 18), blob(11, 9)])
    tree = grow(factors)
    apart_first = moved(factors, tree, "2>")
    assert sets(apart_first) == groups({0, 1}, {2}, {3})
    # every component alone in the tree: the merges cannot have told the turn
    found = moved(factors, tree, "2>0, 1>0", threshold=-1)
    assert sets(found) == groups({0, 1, 2}, {3})
    first = 2 if strong else 0
    expected = np.array([30, 75, 30 + turn]) - [30, 75, 30 + turn][first]
    assert apart(found.rotations[:3], expected).max() < 1
    np.testing.assert_allclose(
        found.shifts[:3], np.array([[0, 0], [3, -3], [5, 3]]) - [[0, 0], [3, -3], [5, 3]][first], atol=0.3
    )
    like = pattern(A, 30 + turn if strong else 30)
    assert np.corrcoef(found.patterns[found.labels[0]].ravel(), like.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("mirror", ["off", "allowed"])
def test_a_mirrored_component_is_mirrored_back_where_that_is_allowed(mirror: str) -> None:
    factors = made([pattern(A), pattern(B), pattern(A, 40, mirrored=True)], (3.0, 2.0, 1.0))
    tree = grow(factors, mirror=mirror)
    settings = cluster_settings(mirror=mirror)
    found = classify(factors, tree, CENTRE, -1.0, Moves.parse("2>0"), settings)
    assert found.mirrored.tolist() == [False, False, mirror == "allowed"]
    if mirror == "allowed":
        assert apart(found.rotations[2], 40) < 1
        assert np.corrcoef(found.patterns[found.labels[0]].ravel(), pattern(A).ravel())[0, 1] > 0.99


def test_parts_of_one_crystal_are_turned_alike_when_they_move_together() -> None:
    factors = scene(traces=0.0)
    tree = grown(factors)
    assert tree.crystal_of()[2] == tree.crystal_of()[3]
    found = moved(factors, tree, "2>4, 3>4", threshold=0.0)
    assert found.labels[2] == found.labels[3] == found.labels[4]
    assert found.rotations[2] == found.rotations[3]
    assert found.shifts[2].tolist() == found.shifts[3].tolist()
    assert apart(4 * (found.rotations[2] - found.rotations[4]), 4 * -37) < 4
    # and one that follows the other lies as it lay
    two = moved(factors, tree, "2>, 3>2", threshold=0.3)
    assert sets(two) >= groups({2, 3})
    assert two.rotations[2] == two.rotations[3] == 0


def test_what_is_moved_into_glass_lies_as_it_is() -> None:
    factors = scene()
    tree = grown(factors)
    assert tree.apart[:2].all()
    found = moved(factors, tree, "6>0")
    assert found.labels[6] == found.labels[0]
    assert (found.rotations[6], found.shifts[6].tolist()) == (0, [0, 0])


def test_an_empty_component_can_be_moved_to_and_fro() -> None:
    factors = made([pattern(A), pattern(B), np.zeros_like(halo())], (3.0, 2.0, 0.0))
    tree = grow(factors)
    for text in ("2>0", "0>2", "1>2", "2>"):
        found = moved(factors, tree, text, threshold=-1)
        for name in ("patterns", "maps", "rotations", "shifts", "autocorrelation"):
            assert np.isfinite(getattr(found, name)).all()
        assert np.abs(found.shifts).max() < 1


def test_one_component_stays_one_class() -> None:
    factors = made([pattern(SQUARE)], maps=[particle(9, 9)])
    found = moved(factors, grow(factors), "0>")
    assert (found.count, found.moved) == (1, ())


def test_moves_hold_at_their_rank_only() -> None:
    factors = two_kinds()
    tree = grow(factors)
    found = moved(factors, tree, "20: 2>3, 19>1")
    same(Classes(**{**vars(found), "warnings": ()}), moved(factors, tree, None))
    assert found.warnings == ("cluster.moves: made at rank 20, not applied at rank 6",)
    assert moved(factors, tree, "6: 2>3").moved == (2,)
    with pytest.raises(SettingError, match=r"^cluster\.moves: component 6 is not from 0 to 5, those of rank 6$"):
        moved(factors, tree, "2>6")


def test_a_threshold_that_moves_integrates_what_is_new_only(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = two_kinds()
    maker = ClassMaker(factors, grow(factors), CENTRE)
    moves = Moves.parse("2>3")
    maker.at(0.3, moves)
    made_now: list[tuple[int, ...]] = []
    integrate = maker._integrate
    monkeypatch.setattr(maker, "_integrate", lambda placed: made_now.append(tuple(placed)) or integrate(placed))
    maker.at(0.31, moves)
    assert not made_now
    maker.at(0.3)  # both branches were needed for their places
    assert not made_now
    maker.at(0.3, Moves.parse("5>"))
    assert sorted(map(sorted, made_now)) == [[3, 4], [5]]
