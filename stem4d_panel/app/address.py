"""The state of a page as its address: the file, the settings that differ from those it would begin with, what is chosen."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from stem4d_panel.app.actions import ActionBar
from stem4d_panel.app.choices import Choices
from stem4d_panel.app.served import Served
from stem4d_panel.app.session import Session
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.scan.readers import shown
from stem4d_panel.settings import SHORT_NAMES, Settings, parse_value

_SHORT = {full: short for short, full in SHORT_NAMES.items()}
_SAMPLE = "sample"
_QUIET = 0.6  # seconds without a change after which the address follows
_LONGEST = 2000  # characters of a value that are taken
_CHOICES = {"component": 1, "class": 1, "at": 2, "region": 4}  # and of how many whole numbers each consists


@dataclass(frozen=True)
class Place:
    """What an address asks for.

    Attributes
    ----------
    path, dataset : Path or None, str or None
        A file below the folder that is served; None for that with which the server was started.
    sample : bool
        The simulated sample in place of a file.
    changes : mapping
        Settings by full name, each of which would be accepted on its own.
    chosen : mapping
        Numbers of the component or class, and of the position (y, x) or region (y0, x0, y1, x1), that are chosen.
    refusals : tuple of str
        What cannot be done, a sentence each.
    """

    path: Path | None
    dataset: str | None
    sample: bool
    changes: Mapping[str, Any]
    chosen: Mapping[str, tuple[int, ...]]
    refusals: tuple[str, ...]


def read(arguments: Mapping[str, Sequence[bytes | str]], folder: Path | None) -> Place:
    """What an address asks for; of a name that stands twice, the last counts."""
    refusals: list[str] = []
    texts: dict[str, str] = {}
    for name, values in arguments.items():
        value = values[-1] if values else ""
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if len(text) > _LONGEST:
            refusals.append(f"{shown(name)}: has {len(text)} characters, {_LONGEST} are taken")
        else:
            texts[name] = text
    file, dataset, sample = texts.pop("file", ""), texts.pop("dataset", "") or None, _SAMPLE in texts
    texts.pop(_SAMPLE, None)
    path: Path | None = None
    if file and not sample:
        try:
            if folder is None:
                raise DataError(f"{shown(Path(file).name)}: no folder is served")
            path = Served(folder).inside(folder / file)
        except DataError as error:
            refusals.append(str(error))
    chosen: dict[str, tuple[int, ...]] = {}
    for name, count in _CHOICES.items():
        if text := texts.pop(name, ""):
            parts = text.split(",")
            if len(parts) == count and all(re.fullmatch("[0-9]{1,9}", part) for part in parts):
                chosen[name] = tuple(map(int, parts))
            else:
                refusals.append(
                    f"{name}: {shown(text)} is not {'a whole number' if count == 1 else f'{count} whole numbers'}"
                )
    changes: dict[str, Any] = {}
    for name, text in texts.items():
        try:
            value = parse_value(name, text)
            Settings.make({name: value})
        except SettingError as error:
            refusals.append(shown(str(error)))
        else:
            changes[SHORT_NAMES.get(name, name)] = value
    return Place(path, dataset if path is not None else None, sample, changes, chosen, tuple(refusals))


def write(
    settings: Settings,
    base: Settings,
    opened: tuple[Any, str | None],
    start: Any,
    folder: Path | None,
    choices: Choices | None = None,
) -> str:
    """The query of an address, with its question mark; empty where the page is as it would begin.

    Parameters
    ----------
    settings, base : Settings
        The present ones and those with which the data open.
    opened : tuple
        Data and dataset.
    start : object
        The data with which a page begins.
    folder : Path or None
        The one that is served; nothing outside it is told.
    choices : Choices, optional
        What is chosen.
    """
    parts = [*_data(opened, start, folder), *_settings(settings, base), *(_chosen(choices) if choices else ())]
    return f"?{urlencode(parts, safe=',')}" if parts else ""


class Follower:
    """Lets the address follow a session once nothing has changed for a while: a hand that moves waits for no message."""

    def __init__(
        self,
        session: Session,
        bar: ActionBar,
        call: Callable[[Callable[[], None]], None],
        base: Settings,
        start: Any,
        folder: Path | None,
    ) -> None:
        self._session, self._bar, self._call = session, bar, call
        self._base, self._start, self._folder = base, start, folder
        self._waits, self._changed_at = False, 0.0
        session.param.watch(lambda *_: self._changed(), ["settings", "shown", "component", "label", "point", "region"])

    def _changed(self) -> None:
        self._changed_at = time.monotonic()
        if not self._waits:
            self._waits = True
            self._look_again(_QUIET)

    def _look_again(self, wait: float) -> None:
        timer = threading.Timer(wait, self._look)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:  # in the timer's thread
        left = self._changed_at + _QUIET - time.monotonic()
        if self._session.closed:
            return
        if left > 0:
            self._look_again(left)
        else:
            self._waits = False
            self._call(self._show)

    def _show(self) -> None:
        session = self._session
        base = session.result.settings if session.result is not None else self._base
        self._bar.query = write(session.settings, base, session.asked, self._start, self._folder, session)


def _data(opened: tuple[Any, str | None], start: Any, folder: Path | None) -> Iterator[tuple[str, str]]:
    data, dataset = opened
    if data is None and start is not None:
        yield _SAMPLE, ""
    elif isinstance(data, (str, Path)) and folder is not None and (dataset or not _same(data, start)):
        try:
            yield "file", Path(data).resolve().relative_to(folder.resolve()).as_posix()
        except ValueError:  # a file of a script, which no address may ask for
            return
        if dataset:
            yield "dataset", dataset


def _chosen(choices: Choices) -> Iterator[tuple[str, str]]:
    found = {"component": choices.component, "class": choices.label, "at": choices.point, "region": choices.region}
    for name, value in found.items():
        if value is not None:
            yield name, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _same(data: str | Path, start: Any) -> bool:
    return isinstance(start, (str, Path)) and Path(data).resolve() == Path(start).resolve()


def _settings(settings: Settings, base: Settings) -> Iterator[tuple[str, str]]:
    plain = base.as_dict()
    for name, value in settings.as_dict().items():
        if value != plain[name] or (value is not None and name in settings.explicit - base.explicit):
            yield _SHORT.get(name, name), "" if value is None else str(value)
