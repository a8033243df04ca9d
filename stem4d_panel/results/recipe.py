"""An analysis as text that repeats it: Python, a command, a file for ``--config``.

Only what differs from the defaults is told, so what was automatic stays automatic. What cannot be found again by another
process is said in a comment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stem4d_panel import __version__
from stem4d_panel.results.result import Result
from stem4d_panel.scan.readers import shown
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import GROUPS, SHORT_NAMES, Settings

ENDING = ".stem4d.hspy"
_SAMPLE = re.compile(r"sample \(seed (\d{1,10})\)", re.ASCII)
_OPTIONS = {full: f"--{short.replace('_', '-')}" for short, full in SHORT_NAMES.items()}


@dataclass(frozen=True)
class Origin:
    """Where data come from, as far as another process can find them.

    Attributes
    ----------
    name : str
        Of the scan.
    path, dataset : str or None
        The file, and the path of the scan inside it.
    seed : int or None
        Of the simulated sample.
    array : str
        Where it is neither: the arguments of ``Scan.from_array`` beside the data, as Python.
    notes : tuple of str
        What cannot be repeated without a hand, a line each.
    """

    name: str
    path: str | None = None
    dataset: str | None = None
    seed: int | None = None
    array: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Scan | Result) -> Origin:
        """Where a scan, or what a saved result was made from, is to be found."""
        if isinstance(data, Scan):
            return cls._of_scan(data)
        source = data.source
        if (seed := sample_seed(source.get("name"), source.get("file"))) is not None:
            return cls(data.name, seed=seed)
        if source.get("file"):
            note = f"a saved result knows no folders: {shown(source['file'])} is looked for where this runs"
            return cls(data.name, path=source["file"], dataset=source.get("dataset"), notes=(note,))
        return cls(data.name, notes=(_in_memory(data.name, source.get("shape", ()), source.get("dtype", "")),))

    @classmethod
    def _of_scan(cls, scan: Scan) -> Origin:
        if scan.source is not None:
            return cls(scan.name, path=str(scan.source.path), dataset=scan.source.dataset)
        if scan.truth is not None and (seed := sample_seed(scan.name, None)) is not None:
            return cls(scan.name, seed=seed)
        _, x, _, kx = scan.axes
        known: dict[str, Any] = {} if x.units == "px" else {"scan_step": x.scale, "scan_units": x.units}
        known |= {} if kx.units == "px" else {"detector_step": kx.scale, "detector_units": kx.units}
        known |= {**scan.instrument, "name": scan.name}
        text = ", ".join(f"{name}={value!r}" for name, value in known.items())
        return cls(scan.name, array=text, notes=(_in_memory(scan.name, scan.shape, str(scan.dtype)),))


def sample_seed(name: object, file: object) -> int | None:
    """The seed of the simulated sample from a scan's name, None for another scan or one that lies in a file."""
    match = _SAMPLE.fullmatch(name) if isinstance(name, str) and not file else None
    return None if match is None else int(match[1])


def as_python(origin: Origin, settings: Settings) -> str:
    """Code that makes the analysis anew."""
    changes = stated(settings)
    of_file = any(name.startswith("data.") for name in changes)
    lines = [f"# {note}" for note in origin.notes]
    lines += ["import stem4d_panel as s4d", ""]
    if changes:
        rows = (f"    {name!r}: {value!r}," for name, value in changes.items())
        lines += ["settings = s4d.Settings.make({", *rows, "})"]
    if origin.seed is not None:
        lines.append(f"scan = s4d.sample_scan(seed={origin.seed})")
    elif origin.path is not None:
        arguments = [repr(origin.path)]
        arguments += [f"dataset={origin.dataset!r}"] if origin.dataset is not None else []
        arguments += ["settings=settings.data"] if of_file else []
        lines.append(f"scan = s4d.open_scan({', '.join(arguments)})")
    else:
        arguments = ["data", *filter(None, [origin.array])]
        lines += ["data = None  # the array", f"scan = s4d.Scan.from_array({', '.join(arguments)})"]
    lines += [f"analysis = s4d.Analysis(scan{', settings' if changes else ''})", "result = analysis.result()"]
    return "\n".join(lines) + "\n"


def as_command(origin: Origin, settings: Settings) -> str:
    """A line for a POSIX shell that makes the analysis anew and saves its result in the present folder."""
    if origin.seed is not None:
        source, stem = f"sample:{origin.seed}", f"sample-{origin.seed}"
    elif origin.path is not None:
        source, stem = origin.path, Path(origin.path).stem
        source = f"./{source}" if is_sample(source) else source
    else:
        source, stem = "scan.hspy", "scan"
    # a name that begins with a dash is no option
    source, target = (f"./{name}" if name.startswith("-") else name for name in (source, stem + ENDING))
    words = ["stem4d", "run", source, "-o", target]
    words += [f"--dataset={origin.dataset}"] if origin.dataset is not None else []
    for name, value in stated(settings).items():
        words += [_OPTIONS[name], str(value)] if name in _OPTIONS else ["--set", f"{name}={value}"]
    return "\n".join([*(f"# {note}" for note in origin.notes), " ".join(map(_quoted, words))]) + "\n"


def as_toml(origin: Origin, settings: Settings) -> str:
    """Settings as a file for ``stem4d run --config``."""
    lines = [f"# Settings of stem4d {__version__} for {shown(origin.name)}"]
    changes = stated(settings)
    for group in GROUPS:
        own = {name: value for name, value in changes.items() if name.startswith(f"{group}.")}
        rows = (f"{name.partition('.')[2]} = {_toml(value)}" for name, value in own.items())
        lines += ["", f"[{group}]", *rows] if own else []
    return "\n".join(lines) + "\n"


def stated(settings: Settings) -> dict[str, Any]:
    """What differs from the defaults and what somebody has set, by full name; None, which means automatic, is left out.

    A rank that was set to its default stands here, too: a default is lowered where a scan is too small for it.
    """
    every, changed = settings.as_dict(), settings.changes()
    return {n: v for n, v in every.items() if v is not None and (n in changed or n in settings.explicit)}


def is_sample(text: str) -> bool:
    """Whether an input of ``stem4d run`` is the word for the simulated sample, ``sample:SEED``."""
    return re.fullmatch(r"sample:\d{1,10}", text, re.ASCII) is not None


def _in_memory(name: str, shape: Any, dtype: str) -> str:
    size = " × ".join(map(str, shape))
    return f"{shown(name)} ({size} {dtype}) was an array in memory, which no text can name: put it in its place"


def _quoted(word: str) -> str:
    """A word for the shell; a name that is not valid Unicode byte by byte, as bash, ksh and zsh read it."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return "$'" + "".join(f"\\{byte:03o}" for byte in os.fsencode(word)) + "'"
    return shlex.quote(word)


def _toml(value: Any) -> str:
    # ASCII alone would write what lies beyond 16 bits as two halves, which TOML refuses
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
