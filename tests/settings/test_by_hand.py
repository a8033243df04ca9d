"""Moves and names as texts: what is taken, what is refused and in which words, and at which rank they hold."""

from __future__ import annotations

import pytest

from stem4d_panel.by_hand import LONGEST, Moves, Names
from stem4d_panel.errors import SettingError
from stem4d_panel.settings import Settings, parse_value


@pytest.mark.parametrize(
    ("text", "of", "rank"),
    [
        ("3>1", {3: 1}, None),
        ("3>1, 5>", {3: 1, 5: None}, None),
        (" 20 : 3 > 1,5 > ", {3: 1, 5: None}, 20),
        ("0>", {0: None}, None),
        ("1000: 999>0", {999: 0}, 1000),
    ],
)
def test_moves_are_read_and_written(text: str, of: dict[int, int | None], rank: int | None) -> None:
    moves = Moves.parse(text)
    assert (moves.of, moves.rank) == (of, rank)
    assert Moves.parse(str(moves)) == moves
    assert Settings.make({"cluster.moves": text}).cluster.moves == text


@pytest.mark.parametrize(
    ("text", "of", "rank"),
    [
        ("0=B2", {0: "B2"}, None),
        ("0=B2, 4= icosahedral phase ", {0: "B2", 4: "icosahedral phase"}, None),
        ("20: 0=a: <b>, 1=χ'", {0: "a: <b>", 1: "χ'"}, 20),
        ("0=20: x", {0: "20: x"}, None),
        ("0=" + "n" * LONGEST, {0: "n" * LONGEST}, None),
    ],
)
def test_names_are_read_and_written(text: str, of: dict[int, str], rank: int | None) -> None:
    names = Names.parse(text)
    assert (names.of, names.rank) == (of, rank)
    assert Names.parse(str(names)) == names
    assert Settings.make({"cluster.names": text}).cluster.names == text


def test_nothing_is_the_empty_text() -> None:
    assert Moves.parse(None) == Moves()
    assert str(Moves({}, 20)) == str(Names({}, 20)) == ""
    assert parse_value("cluster.moves", " ") is None
    assert parse_value("cluster.names", "none") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3", "'3' is no move"),
        ("3>1;5>", "'3>1;5>' is no move"),
        ("3>1,", "'' is no move"),
        ("a>1", "'a>1' is no move"),
        ("-1>2", "'-1>2' is no move"),
        ("٣>1", "'٣>1' is no move"),
        ("1000>1", "'1000>1' is no move"),
        ("0: 3>1", "'0: 3>1' is no move"),
        ("20: 20: 3>1", "'20: 3>1' is no move"),
        ("3>1,\n5>", "it holds what cannot be printed"),
        ("3>1, 3>2", "component 3 is moved twice"),
        ("3>3", "component 3 is moved into itself"),
        ("1>2, 2>1", "the move of component 1 goes round in a circle"),
        ("0>1, 1>2, 2>3, 3>1", "the move of component 0 goes round in a circle"),
        ("4: 3>4", "component 4 is not from 0 to 3, those of rank 4"),
        ("9" * 5000 + ">1", "is no move"),
    ],
)
def test_moves_that_make_no_sense_are_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.make({"cluster.moves": text})
    said = str(caught.value)
    assert said.startswith("cluster.moves: ")
    assert why in said
    assert said.endswith("; it takes text such as '3>1, 5>', or empty")
    assert said.isprintable()
    assert len(said) < 300


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("B2", "'B2' names no component"),
        ("0=B2, x", "'x' names no component"),
        ("0=B2, 0=B3", "component 0 is named twice"),
        ("0=", "a name has 1 to 60 characters, not 0"),
        ("0=" + "n" * 61, "a name has 1 to 60 characters, not 61"),
        ("0=a=b", "'a=b' holds a comma, an equals sign or what cannot be printed"),
        ("0=a\x00b", "it holds what cannot be printed"),
        ("0=\ud800", "it holds what cannot be printed"),
        ("0=a\u202eb", "it holds what cannot be printed"),
        ("3: 3=B2", "component 3 is not from 0 to 2, those of rank 3"),
    ],
)
def test_names_that_make_no_sense_are_refused_in_one_line(text: str, why: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.make({"cluster.names": text})
    said = str(caught.value)
    assert said.startswith("cluster.names: ")
    assert why in said
    assert said.isprintable()
    assert len(said) < 300


def test_numbers_hold_at_the_rank_that_is_stated_and_without_one_at_any() -> None:
    assert Moves.parse("3>1").at(4)[0].of == {3: 1}
    assert Moves.parse("20: 3>1").at(20) == (Moves({3: 1}, 20), ())
    moves, warnings = Moves.parse("20: 3>1").at(2)
    assert not moves.of
    assert warnings == ("cluster.moves: made at rank 20, not applied at rank 2",)
    names, warnings = Names.parse("20: 3=a").at(12)
    assert not names.of
    assert warnings == ("cluster.names: made at rank 20, not applied at rank 12",)


@pytest.mark.parametrize("text", ["4>0", "0>4"])
def test_a_component_beyond_the_rank_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^cluster\.moves: component 4 is not from 0 to 3, those of rank 4$"):
        Moves.parse(text).at(4)
    with pytest.raises(SettingError, match=r"^cluster\.names: component 4 is not from 0 to 3"):
        Names.parse("4=a").at(4)


def test_a_chain_of_moves_ends_where_its_last_target_is() -> None:
    moves = Moves.parse("3>5, 5>1, 6>7, 7>")
    assert [moves.end(i) for i in (3, 5, 6, 7, 0)] == [1, 1, 7, 7, 0]


def test_of_several_names_the_first_members_counts() -> None:
    names = Names.parse("2=two, 4=four")
    assert [names.first(m) for m in ((4, 2), (0, 2, 4), (0, 1))] == ["four", "two", ""]
