"""The report: whole in one file, its warnings first, its text literal, readable by machines."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import html

from stem4d_panel.errors import DataError
from stem4d_panel.results.offers import FIGURES
from stem4d_panel.results.report import PAPERS, report, save_report
from stem4d_panel.results.result import Result
from stem4d_panel.results.tables import table

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def text(found: Result) -> str:
    return report(found)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without figures, which take their time."""
    monkeypatch.setattr(
        sys.modules["stem4d_panel.results.report"], "svg_text", lambda *_: '<svg width="1pt" height="1pt"/>'
    )


@pytest.fixture(scope="module")
def document(text: str) -> html.HtmlElement:
    return html.document_fromstring(text)


def test_it_loads_nothing_and_runs_nothing(text: str, document: html.HtmlElement) -> None:
    assert not document.xpath("//script | //iframe | //object | //embed | //link | //base | //form")
    assert not [a for e in document.iter() for a in e.attrib if str(a).lower().startswith("on")]
    for element in document.iter():
        for name, value in element.attrib.items():
            if name.rpartition("}")[2].rpartition(":")[2] in ("href", "src"):
                link = element.tag == "a" and value.startswith(("#", "https://doi.org/"))
                assert link or value.startswith(("#", "data:image/png;base64,")), value[:80]
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in document.xpath("//meta[@http-equiv]/@content")[0]


def test_what_a_class_or_a_scan_is_called_stays_text(
    found: Result, hostile: str, document: html.HtmlElement, undrawn: None
) -> None:
    assert not document.xpath("//main//b")
    assert hostile in document.xpath("//table")[0].text_content()
    bad = "<img src=x onerror=alert(1)>.hspy"
    other = html.document_fromstring(report(replace(found, name=bad, warnings=(f"{bad}: odd",))))
    assert other.xpath("//h1")[0].text == bad
    assert not other.xpath("//img")
    assert bad in other.xpath("//section[@class='notice']")[0].text_content()


def test_every_figure_and_table_can_be_heard(found: Result, document: html.HtmlElement) -> None:
    figures = document.xpath("//figure")
    assert len(figures) == len(FIGURES)
    for figure in figures:
        assert figure.xpath("./*[local-name()='svg'][@role='img']/@aria-label")[0]
        assert figure.xpath("./figcaption")[0].text
    for one in document.xpath("//table"):
        assert one.xpath("./caption")[0].text
        assert all(th.get("scope") == "col" and th.text_content() for th in one.xpath("./thead/tr/th"))
        assert all(row.xpath("./th[@scope='row']") for row in one.xpath("./tbody/tr"))
    ids = document.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert document.get("lang") == "en-GB"
    assert len(document.xpath("//h1")) == 1


def test_it_holds_the_numbers_of_the_result(found: Result, document: html.HtmlElement) -> None:
    rows = document.xpath("//table")[0].xpath("./tbody/tr")
    assert len(rows) == found.classes.count
    first = found.findings.classes[0]
    assert f"{100 * first.share:.1f} %" in rows[0].text_content()
    assert len(document.xpath("//section[@aria-labelledby='components']//tbody/tr")) == found.factors.rank
    for detail in found.details.classes:
        if (size := found.details.diameter(detail.label)) is not None:
            assert size in rows[detail.label].text_content()
    assert len(table(found, "spacings").rows) == len(document.xpath("//h3[.='Spacings']/following::table[1]/tbody/tr"))
    settings = document.xpath("//section[@aria-labelledby='settings']")[0].text_content()
    assert "factorize.rank" in settings
    assert "prepare.noise" not in settings  # a default
    assert "300 kV" in document.xpath("//section[@aria-labelledby='preparation']")[0].text_content()


def test_warnings_come_first(found: Result, undrawn: None) -> None:
    axes = tuple(replace(a, scale=1.0, units="px", origin="none") for a in found.axes)
    bad = replace(
        found,
        axes=axes,
        factors=replace(found.factors, converged=False),
        preparation={**found.preparation, "values_saturated": 12, "positions_left_out": 3},
        details=replace(found.details, step=None, reciprocal_step=None),
    )
    document = html.document_fromstring(report(bad))
    notice = document.xpath("//main/section[@class='notice']")[0]
    assert notice.xpath("count(preceding-sibling::section)") == 0
    said = notice.text_content()
    for part in (
        "had not converged",
        "no calibration of the scan and the detector",
        "12 values were saturated",
        "3 positions",
    ):
        assert part in said
    assert (
        "Moved into other classes by hand: components 4"
        in document.xpath("//section[@class='notes']")[0].text_content()
    )


def test_the_papers_are_those_of_the_readme() -> None:
    readme, cff = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CITATION.cff"))
    for _, doi in PAPERS:
        assert doi in readme
        assert doi in cff


def test_a_file_that_is_there_stays(found: Result, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("mine")
    with pytest.raises(DataError, match=r"^r\.html: exists already"):
        save_report(found, path)
    assert path.read_text() == "mine"
