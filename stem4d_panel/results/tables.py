"""Tables of a result: numbers with their units in the header, as CSV files and for the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stem4d_panel.errors import SettingError
from stem4d_panel.measure.spots import families
from stem4d_panel.results.offers import TABLES
from stem4d_panel.results.result import Result
from stem4d_panel.runtime.files import replacing

Cell = str | int | float | None
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Table:
    """Rows under heads; None where nothing is known.

    Attributes
    ----------
    name, says : str
        What it is called, and what a row is.
    heads : tuple of str
        Each with its unit in parentheses, if it has one.
    rows : tuple of tuple
    """

    name: str
    says: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def csv(self) -> str:
        """As comma-separated values; a text that a spreadsheet would take for a formula begins with an apostrophe."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(self.heads)
        writer.writerows([["" if cell is None else _harmless(cell) for cell in row] for row in self.rows])
        return out.getvalue()


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA) else cell


def table(result: Result, name: str) -> Table:
    """A table of a result.

    Parameters
    ----------
    result : Result
    name : str
        One of `TABLES`.

    Raises
    ------
    SettingError
        If there is no such table.
    """
    check_name(name)
    return _MAKERS[name](result)


def check_name(name: str) -> None:
    """Refuse a table that is none of `TABLES`."""
    if name not in TABLES:
        raise SettingError(f"table: {name!r} is not one of {', '.join(TABLES)}")


def save_table(result: Result, name: str, path: str | Path, overwrite: bool = False) -> Path:
    """Write a table as CSV, UTF-8 with a byte-order mark, by which spreadsheets know it.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is not set, or it cannot be written.
    SettingError
        If there is no such table.
    """
    path, text = Path(path), table(result, name).csv()
    with replacing(path, overwrite) as part:
        part.write_bytes(text.encode("utf-8-sig"))
    return path


def _number(value: float | None, factor: float = 1.0) -> float | None:
    """A number in plain Python, None where there is none."""
    return float(f"{value * factor:.7g}") if value is not None and np.isfinite(value) else None


def _lengths(result: Result) -> tuple[float, str]:
    """Factor and unit of lengths in the scan, which the details have in px."""
    return (result.details.step, "nm") if result.details.step else (1.0, "px")


def _radii(result: Result) -> tuple[float, str]:
    """Factor and unit of lengths in the patterns."""
    axis = result.axes[3]
    return (result.details.reciprocal_step, "1/nm") if result.details.reciprocal_step else (axis.scale, axis.units)


def _classes(result: Result) -> Table:
    step, unit = _lengths(result)
    rows: list[tuple[Cell, ...]] = []
    for c in result.findings.classes:
        found = result.details.of(c.label)
        sizes = found.sizes if found is not None else None
        rows.append(
            (
                c.label, c.name, " ".join(map(str, c.members)), "yes" if c.crystalline else "no",
                c.fold if c.crystalline else None, _number(c.share, 100), _number(c.fraction, 100), _number(c.anisotropy),
                _number(c.coherence), sizes.count if sizes is not None else None,
                len(sizes.diameters) if sizes is not None else None,
                _number(sizes.mean, step) if sizes is not None else None,
                _number(sizes.spread, step) if sizes is not None else None,
            )
        )  # fmt: skip
    heads = (
        "class", "name", "components", "crystalline", "symmetry (fold)", "intensity (%)", "area (%)", "anisotropy",
        "coherence", "particles", "particles measured", f"diameter mean ({unit})", f"diameter standard deviation ({unit})",
    )  # fmt: skip
    return Table("classes", "one row a class", heads, tuple(rows))


def _components(result: Result) -> Table:
    classes, tree, totals = result.classes, result.tree, result.factors.totals
    shares = totals / max(float(totals.sum()), 1e-30)
    x, y = result.axes[1], result.axes[0]
    rows: list[tuple[Cell, ...]] = [
        (
            k, int(classes.labels[k]), result.findings.classes[int(classes.labels[k])].name, _number(shares[k], 100),
            _number(classes.rotations[k]), "yes" if classes.mirrored[k] else "no",
            _number(classes.shifts[k, 0], y.scale), _number(classes.shifts[k, 1], x.scale), _number(tree.anisotropy[k]),
            _number(tree.coherence[k]), "yes" if tree.apart[k] else "no", "yes" if k in classes.moved else "no",
        )
        for k in range(result.factors.rank)
    ]  # fmt: skip
    heads = (
        "component", "class", "class name", "intensity (%)", "rotation (degree)", "mirrored", f"shift y ({y.units})",
        f"shift x ({x.units})", "anisotropy", "coherence", "set apart as glass", "moved by hand",
    )  # fmt: skip
    return Table("components", "one row a component", heads, tuple(rows))


def _particles(result: Result) -> Table:
    step, unit = _lengths(result)
    rows: list[tuple[Cell, ...]] = []
    for d in result.details.classes:
        name = result.findings.classes[d.label].name
        rows += [
            (
                d.label, name, " ".join(map(str, p.members)), _number(p.centre[0], step), _number(p.centre[1], step),
                p.shape, _number(p.diameter, step), _number(p.uncertainty, step), _number(p.residual),
                _number(p.fwhm, step), _number(p.autocorrelation, step), _number(p.equivalent, step),
                "yes" if p.at_probe_limit else "no", "yes" if p.touches_edge else "no",
            )
            for p in d.particles
        ]  # fmt: skip
    heads = (
        "class", "class name", "components", f"centre y ({unit})", f"centre x ({unit})", "shape", f"diameter ({unit})",
        f"uncertainty ({unit})", "residual", f"width at half maximum ({unit})", f"autocorrelation width ({unit})",
        f"equivalent diameter ({unit})", "at the probe limit", "touches the edge",
    )  # fmt: skip
    return Table("particles", "one row a particle; centres from the first position", heads, tuple(rows))


def _spacings(result: Result) -> Table:
    step, unit = _radii(result)
    known = result.details.reciprocal_step
    rows: list[tuple[Cell, ...]] = []
    for d in result.details.classes:
        name = result.findings.classes[d.label].name
        lines: list[tuple[str, float, int | None, float]]
        lines = [("spots", f.radius, f.count, f.intensity) for f in families(d.reading.spots)]
        lines += [("ring", r.radius, None, r.height) for r in d.reading.rings]
        rows += [
            (
                d.label, name, kind, _number(radius, step), _number(1 / (radius * known)) if known else None, count,
                _number(strength),
            )
            for kind, radius, count, strength in lines
        ]  # fmt: skip
    heads = (
        "class", "class name", "kind", f"radius ({unit})", "spacing (nm)", "spots", "intensity (part of the pattern)",
    )  # fmt: skip
    return Table("spacings", "one row a family of spots, or a ring of the radial profile", heads, tuple(rows))


def _merges(result: Result) -> Table:
    tree, (y, x) = result.tree, result.axes[:2]
    rows: list[tuple[Cell, ...]] = [
        (
            tree.size + i, int(row[0]), int(row[1]), tree.kind[i], _number(row[2]), int(row[3]), _number(row[4]),
            _number(row[5], y.scale), _number(row[6], x.scale), _number(tree.similarity[i]),
            "yes" if tree.mirrored[i] else "no", _number(tree.p_values[i]),
        )
        for i, row in enumerate(tree.merges)
    ]  # fmt: skip
    heads = (
        "made", "first", "second", "joined by", "height", "components", "rotation (degree)", f"shift y ({y.units})",
        f"shift x ({x.units})", "correlation", "mirrored", "p value",
    )  # fmt: skip
    return Table("merges", "one row a merge of the tree; components come first in the numbers", heads, tuple(rows))


_MAKERS: dict[str, Callable[[Result], Table]] = {
    "classes": _classes,
    "components": _components,
    "particles": _particles,
    "spacings": _spacings,
    "merges": _merges,
}


def shown(rows: Sequence[Sequence[Cell]]) -> list[list[str]]:
    """Cells as text for a reader: numbers with three significant digits."""

    def text(cell: Cell) -> str:
        if isinstance(cell, float):
            return f"{cell:#.3g}".rstrip(".") if cell else "0"
        return "–" if cell in (None, "") else str(cell)

    return [[text(cell) for cell in row] for row in rows]
