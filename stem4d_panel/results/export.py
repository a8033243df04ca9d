"""Everything of a result that can be written, as pieces: into a folder, or packed for a download."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stem4d_panel.errors import DataError
from stem4d_panel.results.offers import ENDINGS, FIGURES, TABLES

if TYPE_CHECKING:
    from stem4d_panel.results.result import Result

_DAY = (1980, 1, 1, 0, 0, 0)  # of files in an archive: the same result gives the same bytes


@dataclass(frozen=True)
class Piece:
    """One file: its name, and what writes it to a path, the second argument telling whether it may replace another."""

    name: str
    save: Callable[[Path, bool], Path]


def report_piece(result: Result) -> Piece:
    """The report."""
    from stem4d_panel.results.report import save_report

    return Piece("report.html", partial(save_report, result))


def emd_piece(result: Result) -> Piece:
    """All arrays, for py4DSTEM."""
    from stem4d_panel.results.emd import save_emd

    return Piece("result.emd", partial(save_emd, result))


def figure_pieces(
    result: Result, names: Sequence[str] = tuple(FIGURES), endings: Sequence[str] = ENDINGS
) -> list[Piece]:
    """Figures, each in every form."""
    from stem4d_panel.results.plots import save_figure

    return [Piece(name + ending, partial(save_figure, result, name)) for name in names for ending in endings]


def table_pieces(result: Result, names: Sequence[str] = tuple(TABLES)) -> list[Piece]:
    """Tables."""
    from stem4d_panel.results.tables import save_table

    return [Piece(f"table-{name}.csv", partial(save_table, result, name)) for name in names]


def everything(result: Result) -> list[Piece]:
    """All there is."""
    return [report_piece(result), emd_piece(result), *table_pieces(result), *figure_pieces(result)]


def save_pieces(pieces: Sequence[Piece], folder: str | Path, overwrite: bool = False) -> list[Path]:
    """Write pieces into a folder, which is made if need be; none if one is there and may not be replaced.

    Raises
    ------
    DataError
        If the folder cannot be made, or a file not be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder.name}: the folder cannot be made: {error.strerror or error}") from error
    there = [piece.name for piece in pieces if (folder / piece.name).exists()]
    if there and not overwrite:
        raise DataError(f"{folder.name}: holds {there[0]} already; --overwrite (overwrite=True) replaces it")
    return [piece.save(folder / piece.name, overwrite) for piece in pieces]


def packed(pieces: Sequence[Piece]) -> bytes:
    """A piece as it is, several as a zip archive.

    Raises
    ------
    DataError
        If there is no room for temporary files.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = save_pieces(pieces, folder)
        if len(paths) == 1:
            return paths[0].read_bytes()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.writestr(zipfile.ZipInfo(path.name, _DAY), path.read_bytes(), zipfile.ZIP_DEFLATED)
        return out.getvalue()
