"""What ``stem4d report``, ``export`` and ``compare`` do with saved results. Heavy: imported when one of them begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stem4d_panel.cli_run import check_page, check_target
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.results import export as exporting
from stem4d_panel.results import plots, tables
from stem4d_panel.results.emd import ENDINGS as EMD_ENDINGS
from stem4d_panel.results.emd import save_emd
from stem4d_panel.results.offers import ENDINGS
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import load_result


def report(source: str, out: str, overwrite: bool) -> str:
    """Write the report of a saved result; returns its path."""
    from stem4d_panel.results.report import save_report

    if Path(out).suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{out}: a report is a file that ends in .html")
    _check_target(source, out, overwrite)
    return str(save_report(load_result(source), out, overwrite))


def compare(sources: Sequence[str], out: str, threshold: float | None, overwrite: bool) -> str:
    """Write the page that compares saved results; returns what was found, in a line."""
    from stem4d_panel.results.compare_page import save_comparison

    check_page(out, overwrite, len(sources))
    for source in sources:
        _check_target(source, out, overwrite)
    found = save_comparison([load_result(source) for source in sources], out, threshold, overwrite)
    structures = len(set(found.groups.tolist()))
    return f"{out}: {len(sources)} results, {len(found.members)} crystalline classes, {structures} structures at threshold {found.threshold:.3f}"


def export(
    source: str,
    out: str,
    figures: Sequence[str] = (),
    names: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write what the ending of `out` says of a saved result; a folder takes everything, or what is named.

    Parameters
    ----------
    source, out : str
    figures, names : sequence of str
        Figures and tables.
    options : dict, optional
        Of a single figure.
    overwrite : bool

    Returns
    -------
    list of str
        Paths of what was written.

    Raises
    ------
    DataError
        If the result cannot be read, the ending means nothing, or a file cannot be written.
    SettingError
        If a figure, a table or an option is not known, or does not go with the ending.
    """
    ending, options = Path(out).suffix.lower(), options or {}
    if os.path.isdir(out) or not ending or out.endswith(("/", os.sep)):
        if options:
            raise SettingError(f"{next(iter(options))}: goes with one figure, and {out} is a folder")
        return _folder(load_result(source), out, figures, names, overwrite)
    _check_target(source, out, overwrite)
    if ending in ENDINGS:
        name = _only("figure", figures, "classes", names, out)
        return [str(plots.save_figure(load_result(source), name, out, overwrite, **options))]
    if options:
        raise SettingError(f"{next(iter(options))}: goes with a figure, and {out} is none")
    if ending == ".csv":
        name = _only("table", names, "classes", figures, out)
        return [str(tables.save_table(load_result(source), name, out, overwrite))]
    if ending in EMD_ENDINGS:
        _only("figure or table", (), "", [*figures, *names], out)
        return [str(save_emd(load_result(source), out, overwrite))]
    known = ", ".join((*ENDINGS, ".csv", *EMD_ENDINGS))
    raise DataError(f"{out}: what {ending} means is not known; {known}, or a folder, which has no ending")


def _folder(result: Result, out: str, figures: Sequence[str], names: Sequence[str], overwrite: bool) -> list[str]:
    pieces = [*exporting.figure_pieces(result, figures), *exporting.table_pieces(result, names)]
    for name in figures:  # before the first file is written
        plots.check_name(name)
    for name in names:
        tables.check_name(name)
    return [str(p) for p in exporting.save_pieces(pieces or exporting.everything(result), out, overwrite)]


def _only(kind: str, wanted: Sequence[str], otherwise: str, other: Sequence[str], out: str) -> str:
    """The one thing that a file holds."""
    if other:
        raise SettingError(f"{other[0]}: cannot go into {out}")
    if len(wanted) > 1:
        raise SettingError(f"{kind}: {out} holds one, not {len(wanted)}; a folder takes several")
    return wanted[0] if wanted else otherwise


def _check_target(source: str, out: str, overwrite: bool) -> None:
    check_target(out, overwrite)
    if os.path.exists(out) and os.path.exists(source) and os.path.samefile(out, source):
        raise DataError(f"{out}: is the result itself, which is never replaced")
