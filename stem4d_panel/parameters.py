"""Kinds of parameters, of which `settings` declares its own: what they accept, in code and in words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import param


class RefusedError(ValueError):
    """Why a text is refused, in words for the user."""


class _Declared:
    """What every parameter here carries beside param's own slots: a unit, and whether it is folded away at first."""

    def __init__(self, default: Any, *, unit: str = "", advanced: bool = False, **options: Any) -> None:
        super().__init__(default=default, constant=True, **options)  # type: ignore[call-arg] # of the param class beside it
        self.unit = unit
        self.advanced = advanced

    if TYPE_CHECKING:  # a group's attribute is the parameter's value

        def __get__(self, group: Any, owner: Any = None) -> Any: ...


class Real(_Declared, param.Number):
    """A finite float; ``None`` only where declared so."""

    __slots__ = ["advanced", "unit"]

    def _validate_value(self, val: Any, allow_None: bool) -> None:
        if val is not None and (isinstance(val, bool) or not isinstance(val, (int, float)) or not math.isfinite(val)):
            raise ValueError("is not a finite number")
        super()._validate_value(val, allow_None)


class Whole(_Declared, param.Integer):
    """An integer, booleans refused; ``None`` only where declared so."""

    __slots__ = ["advanced", "unit"]

    def _validate_value(self, val: Any, allow_None: bool) -> None:
        if isinstance(val, bool):
            raise ValueError("is not a whole number")
        super()._validate_value(val, allow_None)


class Choice(_Declared, param.Selector):
    """One of a few words."""

    __slots__ = ["advanced", "unit"]


class Text(_Declared, param.String):
    """Text of a stated form; ``None`` only where declared so. `example` shows the form, `check` refuses any other."""

    __slots__ = ["advanced", "check", "example", "unit"]

    def __init__(
        self, default: Any, *, example: str, check: Callable[[str], object] | None = None, **options: Any
    ) -> None:
        super().__init__(default, **options)
        self.example, self.check = example, check

    def _validate(self, val: Any) -> None:
        super()._validate(val)
        if val is not None and self.check is not None:
            self.check(val)


class Shape(_Declared, param.String):
    """Two sizes as text, such as ``48,56``; pairs of whole numbers are taken, too. ``None`` only where declared so."""

    __slots__ = ["advanced", "unit"]

    def _validate_value(self, val: Any, allow_None: bool) -> None:
        if val is not None and (
            not isinstance(val, str) or not re.fullmatch(r"[1-9]\d{0,8},[1-9]\d{0,8}", val, re.ASCII)
        ):
            raise ValueError("is not two sizes")
        super()._validate_value(val, allow_None)


def sizes(text: str | None) -> tuple[int, int] | None:
    """The two whole numbers of a `Shape`."""
    if text is None:
        return None
    first, _, second = text.partition(",")
    return int(first), int(second)


class Group(param.Parameterized):
    """Base of the groups: equal by value, immutable after construction."""

    @classmethod
    def declared(cls) -> dict[str, Any]:
        """The group's parameters by name, in the order of declaration."""
        found: dict[str, Any] = _declared_by(cls)  # type: ignore[arg-type] # classes are hashable, whatever their instances are
        return found

    def as_dict(self) -> dict[str, Any]:
        """Values by name."""
        return {name: getattr(self, name) for name in self.declared()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.as_dict().values())))


@cache
def _declared_by(group: Any) -> dict[str, Any]:
    own = [name for name, value in vars(group).items() if isinstance(value, param.Parameter) and name != "name"]
    return {name: group.param[name] for name in own}


def limits(parameter: Any) -> str:
    """In words, what a parameter accepts."""
    if isinstance(parameter, Choice):
        return "one of " + ", ".join(map(str, parameter.objects))
    if isinstance(parameter, Text):
        return f"text such as {parameter.example!r}{', or empty' if parameter.allow_None else ''}"
    if isinstance(parameter, Shape):
        return "two whole numbers above 0 with a comma" + (", or empty" if parameter.allow_None else "")
    kind = "a whole number" if isinstance(parameter, Whole) else "a number"
    low, high = parameter.bounds or (None, None)
    text = f"{kind} from {low:.10g} to {high:.10g}" if low is not None and high is not None else kind
    return f"{text}{' ' + parameter.unit if parameter.unit else ''}{', or empty' if parameter.allow_None else ''}"
