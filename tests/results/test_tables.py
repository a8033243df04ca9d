"""Tables: numbers with units that pandas reads, names that no spreadsheet takes for formulas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stem4d_panel.errors import SettingError
from stem4d_panel.results.offers import TABLES
from stem4d_panel.results.result import Result
from stem4d_panel.results.tables import Table, save_table, shown, table


@pytest.mark.parametrize("name", TABLES)
def test_pandas_reads_every_table(found: Result, tmp_path: Path, name: str) -> None:
    made = table(found, name)
    read = pd.read_csv(save_table(found, name, tmp_path / "t.csv"))
    assert tuple(read.columns) == made.heads
    assert len(read) == len(made.rows)
    for i, head in enumerate(made.heads):
        if all(isinstance(row[i], (int, float, type(None))) for row in made.rows):
            np.testing.assert_allclose(read[head].astype(float), [np.nan if r[i] is None else r[i] for r in made.rows])


def test_values_are_those_of_the_result_in_its_units(found: Result, hostile: str, tmp_path: Path) -> None:
    components = pd.read_csv(save_table(found, "components", tmp_path / "c.csv"))
    np.testing.assert_array_equal(components["class"], found.classes.labels)
    np.testing.assert_allclose(components["rotation (degree)"], found.classes.rotations, rtol=1e-6)
    np.testing.assert_allclose(components["shift y (nm)"], found.classes.shifts[:, 0] * found.axes[0].scale, rtol=1e-6)
    assert components["moved by hand"].tolist() == ["yes" if k in found.classes.moved else "no" for k in range(5)]
    spacings = pd.read_csv(save_table(found, "spacings", tmp_path / "s.csv"))
    np.testing.assert_allclose(spacings["radius (1/nm)"] * spacings["spacing (nm)"], 1, rtol=1e-5)
    particles = pd.read_csv(save_table(found, "particles", tmp_path / "p.csv"))
    assert len(particles) == sum(len(d.particles) for d in found.details.classes)
    classes = pd.read_csv(save_table(found, "classes", tmp_path / "k.csv"))
    assert classes["intensity (%)"].sum() == pytest.approx(100, abs=1e-3)
    assert hostile in classes["name"].tolist()


def test_units_are_pixels_where_nothing_is_known(found: Result) -> None:
    axes = tuple(replace(a, scale=1.0, units="px") for a in found.axes)
    bare = replace(found, axes=axes, details=replace(found.details, step=None, reciprocal_step=None))
    assert "diameter mean (px)" in table(bare, "classes").heads
    assert "radius (px)" in table(bare, "spacings").heads
    assert all(row[4] is None for row in table(bare, "spacings").rows)


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "  =1", "\t=1"])
def test_names_are_no_formulas(name: str) -> None:
    line = Table("t", "", ("name", "number"), ((name, -1.5),)).csv().splitlines()[1]
    assert line.lstrip('"').startswith("'")
    assert line.endswith(",-1.5")


def test_spreadsheets_know_the_encoding(found: Result, tmp_path: Path) -> None:
    assert save_table(found, "classes", tmp_path / "t.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_cells_are_shown_short() -> None:
    row = ("a", "", None, 3, 0.0, 207.31, 0.23, 1234.5)
    assert shown([row]) == [["a", "–", "–", "3", "0", "207", "0.230", "1.23e+03"]]


def test_an_unknown_table_is_refused(found: Result) -> None:
    with pytest.raises(SettingError, match=r"^table: 'rows' is not one of classes, components"):
        table(found, "rows")
