"""Results of older layouts are read, those of newer ones refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import DataError
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import load_result, save_result
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan

LATER = [
    "coherence",
    "apart",
    "mirrored",
    "leaf_order",
    "merge_similarity",
    "merge_mirrored",
    "merge_p_values",
    "class_autocorrelation",
]


@pytest.fixture(scope="module")
def result(small: Scan) -> Result:
    return Analysis(small, cache=Cache(), rank=4, prepare__bin=1).result()


def rewrite(entry: h5py.Group, name: str, value: Any) -> None:
    del entry[name]
    entry[name] = json.dumps(value, sort_keys=True)


def made_old(path: Path) -> None:
    """Take out of a result what layout 1 did not have, and put back what it had."""
    with h5py.File(path, "r+") as f:
        f.attrs["stem4d_layout"] = 1
        entry = f["entry"]
        for name in (*LATER, "class_maps/names", "labels/moved"):
            del entry[name]
        notes = {p: json.loads(entry[f"{p}/note/data"].asstr()[()]) for p in entry if p.startswith("process_")}
        kind = {entry[f"{p}/note/description"].asstr()[()]: p for p in notes}
        notes[kind["calibration"]]["source"] = notes.pop(kind["data"])["source"]
        del entry[kind["data"]]
        for name in ("suggestion", "moved", "warnings"):
            del notes[kind["cluster"]][name]
        for name in ("details", "warnings"):
            del notes[kind["measure"]][name]
        for found in notes[kind["measure"]]["classes"]:
            del found["coherence"], found["name"]
        for process, note in notes.items():
            rewrite(entry, f"{process}/note/data", note)
        recipe = json.loads(entry["provenance/recipe_json"].asstr()[()])
        recipe = {n: v for n, v in recipe.items() if not n.startswith("data.") and n != "cluster.names"}
        recipe["measure.anisotropy"] = 0.5
        rewrite(entry, "provenance/recipe_json", recipe)
        text = json.dumps(recipe, sort_keys=True)
        del entry["provenance/recipe_sha256"]
        entry["provenance/recipe_sha256"] = hashlib.sha256(text.encode()).hexdigest()


def test_the_first_layout_opens_with_what_it_holds_and_says_what_it_lacks(result: Result, tmp_path: Path) -> None:
    path = save_result(result, tmp_path / "old.hspy")
    made_old(path)
    old = load_result(path)
    for part in ("maps", "patterns", "error_curve"):
        np.testing.assert_array_equal(getattr(old.factors, part), getattr(result.factors, part))
    for part in ("labels", "rotations", "shifts", "patterns", "maps"):
        np.testing.assert_array_equal(getattr(old.classes, part), getattr(result.classes, part))
    assert sorted(old.tree.order) == list(range(4))
    # what was set apart is seen from the classes that hold no crystal
    np.testing.assert_array_equal(old.tree.apart, result.tree.apart)
    assert np.isnan(old.tree.p_values).all()
    assert old.source == result.source
    assert old.settings.factorize == result.settings.factorize
    assert old.details.classes == ()
    assert "saved by an early version" in old.warnings[-1]
    again = load_result(save_result(old, tmp_path / "again.hspy"))  # now of the present layout
    assert again.warnings == old.warnings
    np.testing.assert_array_equal(again.tree.order, old.tree.order)


@pytest.mark.parametrize(
    ("layout", "says"),
    [(99, "has layout 99, this version reads up to 3; update stem4d_panel"), (0, "has layout 0; the oldest is 1")],
)
def test_other_layouts_are_refused_by_number(result: Result, tmp_path: Path, layout: int, says: str) -> None:
    path = save_result(result, tmp_path / "other.hspy")
    with h5py.File(path, "r+") as f:
        f.attrs["stem4d_layout"] = layout
    with pytest.raises(DataError) as caught:
        load_result(path)
    assert str(caught.value) == f"other.hspy: {says}"


def test_an_old_result_with_a_part_missing_is_refused(result: Result, tmp_path: Path) -> None:
    path = save_result(result, tmp_path / "old.hspy")
    made_old(path)
    with h5py.File(path, "r+") as f:
        del f["entry/patterns"]
    with pytest.raises(DataError, match="is damaged or not a result"):
        load_result(path)
