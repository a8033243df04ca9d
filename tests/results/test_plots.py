"""Figures: with text as text, scale bars with units, the same bytes each time, and refused in one line."""

from __future__ import annotations

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.results.colours import class_colours
from stem4d_panel.results.offers import ENDINGS, FIGURES
from stem4d_panel.results.paper import length_text, round_length
from stem4d_panel.results.plots import draw, save_figure, shows, svg_text
from stem4d_panel.results.result import Result

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()).strip() for e in etree.fromstring(svg.encode()).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_an_svg_whose_text_is_text(found: Result, hostile: str, name: str) -> None:
    svg = svg_text(found, name)
    words = texts(svg)
    assert words
    assert shows(name).endswith(".")
    if name in ("classes", "class-maps", "orientation", "components"):
        assert any(re.fullmatch(r"[125]0* nm|0\.[125] nm", word) for word in words), words
    if name in ("class-patterns", "components"):
        assert any(re.fullmatch(r"[125]0* 1/nm|0\.[125] 1/nm", word) for word in words), words
    if name == "classes":
        assert any(hostile in word for word in words)
        assert all(colour.lower() in svg for colour in class_colours(found.findings))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_is_what_its_ending_says_and_the_same_each_time(found: Result, tmp_path: Path, ending: str) -> None:
    first = save_figure(found, "class-patterns", tmp_path / f"a{ending}", scale="log").read_bytes()
    again = save_figure(found, "class-patterns", tmp_path / f"b{ending}", scale="log").read_bytes()
    assert first == again
    assert not re.search(rb"CreationDate|dc:date|date:create", first)  # which would tell two days apart
    assert first.startswith({".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}[ending])
    if ending == ".pdf":
        assert b"/FontFile2" in first  # TrueType, embedded
        assert b"/Type3" not in first
    if ending == ".png":
        with Image.open(tmp_path / "a.png") as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_the_style_stays_ours_and_no_one_elses(found: Result) -> None:
    import matplotlib as mpl

    alone = svg_text(found, "dendrogram")
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path"}):
        assert svg_text(found, "dendrogram") == alone
        assert mpl.rcParams["font.size"] == 30


def test_threads_draw_what_one_draws(found: Result) -> None:
    names = ["dendrogram", "error", "profiles"]
    alone = [svg_text(found, name) for name in names]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda name: svg_text(found, name), names)) == alone


def test_one_class_alone_has_all_its_spacings_and_the_others_none(found: Result) -> None:
    label = next(c.label for c in found.findings.classes if c.crystalline)
    words = texts(svg_text(found, "class-patterns", label=label))
    assert sum(bool(re.fullmatch(r"0\.\d{3} nm", word)) for word in words) >= 1
    assert not any(
        re.fullmatch(r"0\.\d{3} nm", w) for w in texts(svg_text(found, "class-patterns", label=label, rings=False))
    )
    assert sum(word.startswith("class ") for word in words) == 1


def test_a_scan_without_calibration_is_drawn_in_pixels(found: Result) -> None:
    axes = tuple(replace(a, scale=1.0, units="px", origin="none") for a in found.axes)
    bare = replace(found, axes=axes, details=replace(found.details, step=None, reciprocal_step=None))
    words = [w for name in ("classes", "class-patterns", "profiles", "sizes") for w in texts(svg_text(bare, name))]
    assert any(re.fullmatch(r"[125]0* px", word) for word in words)
    assert not any("nm" in word for word in words)


def test_a_single_component_and_no_crystal_have_figures(found: Result) -> None:
    nothing = replace(found.findings.classes[0], crystalline=False)
    glass = replace(
        found,
        findings=replace(
            found.findings,
            classes=tuple(replace(c, crystalline=False) for c in found.findings.classes) or (nothing,),
            orientation=np.full_like(found.findings.orientation, np.nan),
        ),
        details=replace(found.details, classes=()),
    )
    assert "no position has an orientation" in texts(svg_text(glass, "orientation"))
    assert "no particles were measured" in texts(svg_text(glass, "sizes"))
    assert texts(svg_text(glass, "profiles"))


def test_a_sign_that_the_font_lacks_is_no_warning(found: Result) -> None:
    classes = tuple(replace(c, name="結晶") for c in found.findings.classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = texts(svg_text(replace(found, findings=replace(found.findings, classes=classes)), "classes"))
    assert any("結晶" in word for word in words)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("pie", {}, "figure: 'pie' is not one of classes, "),
        ("dendrogram", {"label": 0}, "label: the figure dendrogram takes no options"),
        ("class-patterns", {"label": 99}, "label: 99 is not a class; the result has 0 to "),
        ("class-patterns", {"label": True}, "label: True is not a class"),
        ("components", {"scale": "cube"}, "scale: 'cube' is not one of root, log, linear"),
    ],
)
def test_what_makes_no_sense_is_refused(found: Result, name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        draw(found, name, **options)
    assert str(caught.value).startswith(says)


def test_another_ending_is_refused(found: Result, tmp_path: Path) -> None:
    for name in ("a.gif", "a"):
        with pytest.raises(DataError, match=rf"^{name}: figures are written as \.svg, \.pdf, \.png"):
            save_figure(found, "error", tmp_path / name)
    save_figure(found, "error", tmp_path / "a.svg")
    with pytest.raises(DataError, match=r"^a\.svg: exists already"):
        save_figure(found, "error", tmp_path / "a.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


@pytest.mark.parametrize(("extent", "length"), [(35.2, 10), (7.0, 2), (0.9, 0.2), (4000, 1000), (1, 0.2), (19, 5)])
def test_scale_bars_have_round_lengths_of_about_a_quarter(extent: float, length: float) -> None:
    assert round_length(extent) == pytest.approx(length)


def test_long_bars_change_to_micrometres() -> None:
    assert [length_text(500, "nm"), length_text(2000, "nm"), length_text(2000, "px")] == ["500 nm", "2 µm", "2000 px"]
