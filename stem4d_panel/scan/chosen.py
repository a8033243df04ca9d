"""Scan shapes that were chosen for stacks of frames, remembered in the cache folder: a file is not asked about twice."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from stem4d_panel.errors import DataError
from stem4d_panel.runtime.files import replacing
from stem4d_panel.runtime.memory import limits
from stem4d_panel.scan.stack import Guess

_MOST = 500  # choices that are kept, the newest


def remember(identity: str, dataset: str | None, guess: Guess) -> None:
    """Keep a choice; where the folder cannot be written it is forgotten.

    Parameters
    ----------
    identity : str
        Of the file, see `Contents`.
    dataset : str or None
        Which array inside it.
    guess : Guess
        The shape.
    """
    kept = _read()
    key = _key(identity, dataset)
    kept.pop(key, None)
    kept[key] = list(guess)
    newest = dict(list(kept.items())[-_MOST:])
    with suppress(DataError), replacing(_file(), overwrite=True) as part:
        part.write_text(json.dumps(newest), encoding="utf-8")


def recall(identity: str, dataset: str | None, frames: int) -> Guess | None:
    """The shape that was chosen for so many frames, or None; whatever is wrong with what is kept is a miss."""
    try:
        ny, nx, flyback = (int(n) for n in _read()[_key(identity, dataset)])
    except (KeyError, TypeError, ValueError):
        return None
    fits = min(ny, nx) > 0 and flyback >= 0 and ny * (nx + flyback) == frames
    return Guess(ny, nx, flyback) if fits else None


def _file() -> Path:
    return limits.cache_folder() / "scan-shapes.json"


def _key(identity: str, dataset: str | None) -> str:
    return f"{identity}/{dataset or ''}"


def _read() -> dict[str, list[int]]:
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
