"""Classes of several results: the same structures are found again, whatever the scan, its scale and its rotation."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.cluster.polar import rotate_pattern
from stem4d_panel.errors import DataError
from stem4d_panel.results.compare import compare
from stem4d_panel.results.compare_page import comparison_page
from stem4d_panel.results.result import Result
from stem4d_panel.scan.sample import sample_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


def analysed(scan: Scan, **settings: Any) -> Result:
    return Analysis(scan, Settings.make({n.replace("__", "."): v for n, v in settings.items()})).result()


@pytest.fixture(scope="module")
def two() -> list[Result]:
    """Two scans with other crystals of the same three structures, prepared on two scales."""
    return [analysed(sample_scan(0), rank=12), analysed(sample_scan(1), rank=12, prepare__bin=1)]


def turned(result: Result, degrees: float) -> Result:
    patterns = [rotate_pattern(p, result.mask, result.centre, degrees) for p in result.classes.patterns]
    return replace(result, name="turned", classes=replace(result.classes, patterns=np.array(patterns)))


def test_structures_are_found_again_in_another_scan_on_another_scale(two: list[Result]) -> None:
    found = compare(two)
    assert two[0].axes[3].scale != two[1].axes[3].scale
    assert found.unit == "1/nm"
    assert found.warnings == ()
    folds = [two[m.result].findings.classes[m.label].fold for m in found.members]
    for group in set(found.groups.tolist()):  # the three structures have three symmetries
        assert {found.members[i].result for i in found.of(group)} == {0, 1}
        assert len({folds[i] for i in found.of(group)}) == 1
    assert len(set(found.groups.tolist())) == len(set(folds)) == 3


def test_a_turned_scan_has_the_same_structures_turned(two: list[Result]) -> None:
    first = two[0]
    found = compare([first, turned(first, 37)])
    half = len(found.members) // 2
    np.testing.assert_array_equal(found.groups[:half], found.groups[half:])
    for i in range(half):
        fold = first.findings.classes[found.members[i].label].fold
        assert found.similarity[i, half + i] > 0.95
        off = (found.rotations[i, half + i] - 37) % (360 / fold)
        assert min(off, 360 / fold - off) < 0.5


def test_the_page_shows_each_structure_with_its_patterns_and_says_what_it_rests_on(two: list[Result]) -> None:
    named = [replace(two[0], name="a <i>first</i>", warnings=("seen <twice>",)), two[1]]
    page = comparison_page(named, compare(named))
    assert page.count("<figure>") == 4  # three structures and the matrix
    assert "in 2 of 2 scans" in page
    assert "a &lt;i&gt;first&lt;/i&gt;: seen &lt;twice&gt;" in page
    assert "<i>" not in page
    assert "<script" not in page
    assert "360.0°" not in page
    assert compare(named).reason in html.unescape(page)
    for structure in range(3):
        assert f'id="structure-{structure}-' in page


def test_what_the_comparison_rests_on_is_said(two: list[Result]) -> None:
    first = two[0]
    px = replace(first, name="unknown", details=replace(first.details, reciprocal_step=None))
    found = compare([first, px], threshold=0.2)
    assert (found.unit, found.threshold, found.reason) == ("px", 0.2, "as given")
    assert found.warnings == ("compared in binned pixels: the scale of unknown is not known in 1/nm",)
    glass = tuple(replace(c, crystalline=False) for c in first.findings.classes)
    none = compare([replace(first, findings=replace(first.findings, classes=glass))] * 2)
    assert none.members == ()
    assert none.reason == "no crystalline class"
    with pytest.raises(DataError, match=r"^results: 1 given; a comparison takes 2 or more$"):
        compare([first])
    far = replace(first, name="far", details=replace(first.details, reciprocal_step=20.0))
    with pytest.raises(DataError, match=r"px from the beam to the edge in common; 8 are needed$"):
        compare([first, far])
