"""One widget for a parameter, made from its declaration: label, unit, help and limits stand in settings.py alone."""

from __future__ import annotations

import time
from collections import deque
from itertools import pairwise
from typing import Any

import panel_material_ui as pmui

from stem4d_panel.app.session import Session
from stem4d_panel.errors import SettingError
from stem4d_panel.parameters import Choice, Text
from stem4d_panel.settings import declaration, parse_value


def title(name: str) -> str:
    """A parameter's label: its name in words and its unit."""
    words = name.partition(".")[2].replace("_", " ")
    unit = declaration(name).unit
    return f"{words[0].upper()}{words[1:]}" + (f" ({unit})" if unit else "")


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _empty(parameter: Any) -> str:
    """What an empty field stands for."""
    if isinstance(parameter, Text):
        return f"none; such as {parameter.example}"
    return "auto" if parameter.allow_None else ""


class Told:
    """What a widget was told to show of late, to know its echo.

    Panel's React components send a value back once they have drawn it. One that a newer value has overtaken meanwhile
    would undo that one; nobody types it within a second of the moment the program has shown it and something else.
    """

    _SECONDS = 1.0

    def __init__(self) -> None:
        self._values: deque[tuple[float, Any]] = deque(maxlen=64)

    def tell(self, value: Any) -> None:
        """Note what the widget is told to show."""
        if not self._values or self._values[-1][1] != value:
            self._values.append((time.monotonic(), value))

    def is_echo(self, value: Any) -> bool:
        """Whether this is what it was told before the newest; what a hand has set ends all echoes."""
        told = list(self._values)
        since = time.monotonic() - self._SECONDS
        if told and value != told[-1][1]:
            # a value counts from the moment it was overtaken
            overtaken = pairwise(told)
            if any(value == old and when > since for (_, old), (when, _) in overtaken):
                return True
            self._values.clear()
        return False


class Field:
    """A widget bound to one parameter of a session; a refused value is put back."""

    def __init__(self, session: Session, name: str, **options: Any) -> None:
        self.session, self.name = session, name
        self._parameter = declaration(name)
        self._setting, self._told = False, Told()
        common = {
            "label": title(name), "description": self._parameter.doc, "size": "small", "margin": (7, 8),
            "sizing_mode": "stretch_width", **options,
        }  # fmt: skip
        if isinstance(self._parameter, Choice):
            self.widget = pmui.Select(options=list(self._parameter.objects), **common)
        else:
            self.widget = pmui.TextInput(placeholder=_empty(self._parameter), **common)
        self.sync()
        self.widget.param.watch(self._changed, "value")
        session.param.watch(lambda _: self.sync(), "settings", onlychanged=False)

    def hint(self, text: str) -> None:
        """Show what an empty field stands for."""
        if isinstance(self.widget, pmui.TextInput):
            self.widget.placeholder = f"auto: {text}" if text else "auto"

    def sync(self) -> None:
        """Show the session's value."""
        value = self.session.settings.get(self.name)
        value = value if isinstance(self._parameter, Choice) else _text(value)
        if self.widget.value == value:
            return
        self._setting = True
        try:
            self._told.tell(value)
            self.widget.value = value
        finally:
            self._setting = False

    def _changed(self, event: Any) -> None:
        if self._setting:
            return
        if self._told.is_echo(event.new):
            self.sync()
            return
        try:
            value = parse_value(self.name, str(event.new))
        except SettingError as error:
            self.session.say("error", str(error))
            self.sync()
            return
        if value != self.session.settings.get(self.name):
            self.session.change({self.name: value})
