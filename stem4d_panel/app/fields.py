"""One widget for a parameter, made from its declaration: label, unit, help and limits stand in settings.py alone."""

from __future__ import annotations

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


class Field:
    """A widget bound to one parameter of a session; a refused value is put back."""

    def __init__(self, session: Session, name: str, **options: Any) -> None:
        self.session, self.name = session, name
        self._parameter = declaration(name)
        self._setting = False
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
        self._setting = True
        try:
            self.widget.value = value if isinstance(self._parameter, Choice) else _text(value)
        finally:
            self._setting = False

    def _changed(self, event: Any) -> None:
        if self._setting:
            return
        try:
            value = parse_value(self.name, str(event.new))
        except SettingError as error:
            self.session.say("error", str(error))
            self.sync()
            return
        if value != self.session.settings.get(self.name):
            self.session.change({self.name: value})
