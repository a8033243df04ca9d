"""What a user decides by hand, as the texts of two settings: components moved into other classes, and classes' names.

Component numbers mean something at one rank only, so a text may begin with the rank at which it was made: ``20: 3>1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stem4d_panel.errors import SettingError
from stem4d_panel.parameters import RefusedError

LONGEST = 60  # characters of a name
_RANK = re.compile(r"\s*([1-9][0-9]{0,3})\s*:(.*)", re.ASCII)
_MOVE = re.compile(r"([0-9]{1,3})\s*>\s*([0-9]{1,3})?", re.ASCII)
_NAME = re.compile(r"([0-9]{1,3})\s*=(.*)", re.ASCII)

V = TypeVar("V")


@dataclass(frozen=True)
class _Stated(Generic[V]):
    """One statement for each of some components.

    Attributes
    ----------
    of : mapping from int
        What is stated of each component.
    rank : int or None
        Rank at which its number means it; None at any.
    """

    of: Mapping[int, V] = field(default_factory=dict)
    rank: int | None = None

    def _at(self, setting: str, rank: int) -> tuple[Mapping[int, V], tuple[str, ...]]:
        if self.rank not in (None, rank):
            return {}, (f"{setting}: made at rank {self.rank}, not applied at rank {rank}",)
        for i in self._numbers():
            if i >= rank:
                raise SettingError(f"{setting}: component {i} is not from 0 to {rank - 1}, those of rank {rank}")
        return self.of, ()

    def _numbers(self) -> Iterable[int]:
        return self.of

    def _joined(self, entries: Iterable[str]) -> str:
        text = ", ".join(entries)
        return f"{self.rank}: {text}" if text and self.rank is not None else text


@dataclass(frozen=True)
class Moves(_Stated[int | None]):
    """Components moved into the class of another one, or, with None, into a class of their own."""

    @classmethod
    def parse(cls, text: str | None) -> Moves:
        """Moves from text such as ``3>1, 5>``; None means none.

        Raises
        ------
        RefusedError
            If the text has another form, moves a component twice or into itself, or goes round in a circle.
        """
        if text is None:
            return cls()
        rank, entries = _entries(text)
        of: dict[int, int | None] = {}
        for entry in entries:
            match = _MOVE.fullmatch(entry)
            if match is None:
                raise RefusedError(f"{_shown(entry)} is no move")
            component, target = int(match[1]), None if match[2] is None else int(match[2])
            if component in of:
                raise RefusedError(f"component {component} is moved twice")
            if component == target:
                raise RefusedError(f"component {component} is moved into itself")
            of[component] = target
        made = cls(of, rank)
        for component in of:
            if made.end(component) is None:
                raise RefusedError(f"the move of component {component} goes round in a circle")
        _check_rank(made)
        return made

    def __str__(self) -> str:
        return self._joined(f"{i}>{'' if target is None else target}" for i, target in self.of.items())

    def end(self, component: int) -> int | None:
        """The component at which a chain of moves ends: not moved, or in a class of its own; None on a circle."""
        for _ in range(len(self.of) + 1):
            target = self.of.get(component)
            if target is None:
                return component
            component = target
        return None

    def at(self, rank: int) -> tuple[Moves, tuple[str, ...]]:
        """The moves that hold at a rank, and a warning where they were made at another one.

        Raises
        ------
        SettingError
            If a component is not among those of the rank.
        """
        of, warnings = self._at("cluster.moves", rank)
        return Moves(of, rank), warnings

    def _numbers(self) -> Iterable[int]:
        return [i for pair in self.of.items() for i in pair if i is not None]


@dataclass(frozen=True)
class Names(_Stated[str]):
    """Names of the classes that hold certain components."""

    @classmethod
    def parse(cls, text: str | None) -> Names:
        """Names from text such as ``0=B2, 4=icosahedral``; None means none.

        Raises
        ------
        RefusedError
            If the text has another form, names a component twice, or a name is refused; see :func:`check_name`.
        """
        if text is None:
            return cls()
        rank, entries = _entries(text)
        of: dict[int, str] = {}
        for entry in entries:
            match = _NAME.fullmatch(entry)
            if match is None:
                raise RefusedError(f"{_shown(entry)} names no component")
            component = int(match[1])
            if component in of:
                raise RefusedError(f"component {component} is named twice")
            of[component] = check_name(match[2])
        made = cls(of, rank)
        _check_rank(made)
        return made

    def __str__(self) -> str:
        return self._joined(f"{i}={name}" for i, name in self.of.items())

    def at(self, rank: int) -> tuple[Names, tuple[str, ...]]:
        """The names that hold at a rank, and a warning where they were given at another one.

        Raises
        ------
        SettingError
            If a component is not among those of the rank.
        """
        of, warnings = self._at("cluster.names", rank)
        return Names(of, rank), warnings

    def first(self, members: Iterable[int]) -> str:
        """The name of the first of some components that has one, else nothing."""
        return next((self.of[i] for i in map(int, members) if i in self.of), "")


def check_name(text: str) -> str:
    """A class's name without the blanks around it.

    Raises
    ------
    RefusedError
        If nothing is left, it is longer than 60 characters, or holds ``,``, ``=`` or what cannot be printed.
    """
    name = text.strip()
    if not 1 <= len(name) <= LONGEST:
        raise RefusedError(f"a name has 1 to {LONGEST} characters, not {len(name)}")
    if not name.isprintable() or "," in name or "=" in name:
        raise RefusedError(f"{_shown(name)} holds a comma, an equals sign or what cannot be printed")
    return name


def _entries(text: str) -> tuple[int | None, list[str]]:
    """The rank before the colon, if there is one, and what stands between the commas behind it."""
    if not text.isprintable():
        raise RefusedError("it holds what cannot be printed")
    match = _RANK.fullmatch(text)
    rank, rest = (None, text) if match is None else (int(match[1]), match[2])
    return rank, [entry.strip() for entry in rest.split(",")]


def _check_rank(stated: Moves | Names) -> None:
    if stated.rank is not None:
        try:
            stated.at(stated.rank)
        except SettingError as error:
            raise RefusedError(str(error).partition(": ")[2]) from error


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
