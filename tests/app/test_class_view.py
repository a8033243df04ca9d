"""The card of the chosen class as models: what its figures hold, and that they stay the same ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bokeh.models import Plot
from sessions import run

from stem4d_panel.app import palette
from stem4d_panel.app.boot import boot
from stem4d_panel.app.card import ClassCard
from stem4d_panel.app.class_plots import wheel
from stem4d_panel.app.class_view import ClassView, class_orientation, label_places
from stem4d_panel.app.gallery_view import GalleryView
from stem4d_panel.app.session import Session
from stem4d_panel.measure.spots import families
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

NAMES = ["class-map", "class-orientation", "class-pattern", "class-profile", "class-sizes", "class-wheel"]


def measured(session: Session) -> None:
    """Wait for the details, which come from behind."""
    there = threading.Event()
    watcher = session.param.watch(lambda e: there.set() if e.new is not None else None, "details")
    try:
        assert session.details is not None or there.wait(60)
    finally:
        session.param.unwatch(watcher)


@pytest.fixture
def session(small: Scan) -> Iterator[Session]:
    boot.now()
    made = Session(small, Settings.make({"rank": 5}), lambda then: then())
    made.start()
    run(made)
    measured(made)
    yield made
    made.close()


@pytest.fixture
def view(session: Session) -> ClassView:
    made = ClassView(session, 200)
    made.refresh()
    made.complete()
    return made


def figures(root: Any) -> dict[str, Plot]:
    return {f.name: f for f in root.select({"type": Plot})}


def columns(figure: Plot, *names: str) -> list[dict[str, Any]]:
    """Data of the glyphs that have just these columns."""
    data = [r.data_source.data for r in figure.renderers]
    return [d for d in data if set(d) == set(names)]


def crystalline(session: Session, wanted: bool = True) -> int:
    return next(c.label for c in session.shown.findings.classes if c.crystalline is wanted)


def test_figures_stay_the_same_ones_and_show_the_class_that_is_chosen(session: Session, view: ClassView) -> None:
    root = view.layout.get_root()
    before = figures(root)
    assert sorted(before) == NAMES
    seen = []
    for label in range(session.shown.classes.count):
        session.choose_class(label)
        assert f"class {label}</b>" in view.headline.object
        colour = palette.class_colours(session.shown.findings)[label]
        assert f"background:{colour}" in view.headline.object
        assert columns(before["class-profile"], "xs", "ys", "colour")[0]["colour"] == [colour]
        seen.append(np.array(before["class-map"].renderers[0].data_source.data["image"][0]))
    assert not np.array_equal(seen[0], seen[1])
    session.change({"factorize.rank": 6})
    run(session)
    measured(session)
    assert figures(root) == before


def test_histogram_and_profile_hold_what_the_details_say(session: Session, view: ClassView) -> None:
    label = crystalline(session)
    session.choose_class(label)
    found, root = session.details.of(label), figures(view.layout.get_root())
    sizes, step = found.sizes, session.details.step
    assert step == 0.5
    (bars,) = columns(root["class-sizes"], "left", "right", "bottom", "top", "colour")
    assert sum(bars["top"]) == len(sizes.diameters) > 0
    for diameter in sizes.diameters * step:
        assert any(a <= diameter <= b for a, b in zip(bars["left"], bars["right"], strict=True))
    (shade,) = columns(root["class-sizes"], "left", "right", "bottom", "top")
    wanted = [] if sizes.spread is None else [(sizes.mean - sizes.spread) * step]
    assert shade["left"] == pytest.approx(wanted)
    assert columns(root["class-sizes"], "xs", "ys")[0]["xs"][0] == pytest.approx([sizes.mean * step] * 2)
    assert root["class-sizes"].below[0].axis_label == "diameter (nm)"
    curve = next(
        d for d in columns(root["class-profile"], "xs", "ys", "colour") if len(d["xs"][0]) == len(found.reading.radii)
    )
    np.testing.assert_allclose(curve["xs"][0], found.reading.radii * session.details.reciprocal_step)
    np.testing.assert_allclose(curve["ys"][0], found.reading.profile)
    rings = columns(root["class-profile"], "xs", "ys")[0]["xs"]
    assert [a for a, _ in rings] == pytest.approx(
        [r.radius * session.details.reciprocal_step for r in found.reading.rings]
    )
    assert root["class-profile"].below[0].axis_label == "radius (1/nm)"


def test_rings_run_through_the_families_of_spots_and_name_their_spacings(session: Session, view: ClassView) -> None:
    label = crystalline(session)
    session.choose_class(label)
    figure = figures(view.layout.get_root())["class-pattern"]
    kinds, scale = families(session.details.of(label).reading.spots), session.shown.axes[3].scale
    assert kinds
    paths = next(d for d in columns(figure, "xs", "ys") if len(d["xs"]) == len(kinds))
    for family, xs, ys in zip(kinds, paths["xs"], paths["ys"], strict=True):
        np.testing.assert_allclose(np.hypot(xs, ys), family.radius * scale)
    (text,) = (d for d in columns(figure, "x", "y", "text") if len(d["text"]))
    np.testing.assert_allclose(np.hypot(text["x"], text["y"]), [f.radius * scale for f in kinds])
    assert text["text"] == [f"{1 / (f.radius * session.details.reciprocal_step):.3f}" for f in kinds]
    session.choose_class(crystalline(session, wanted=False))
    assert columns(figure, "x", "y", "text")[0]["text"] == []


def test_a_label_keeps_away_from_spots_and_from_other_labels() -> None:
    spots = np.array([(10.0, 0.0), (-10.0, 0.0), (0.0, 10.0)])
    first, second = label_places([10.0, 10.5], spots)
    assert first[1] < -6  # where there is no spot
    assert np.hypot(*(second - first)) > 4


def test_orientations_are_shown_at_the_positions_of_the_class_alone_with_its_own_period(
    session: Session, view: ClassView
) -> None:
    findings, label = session.shown.findings, crystalline(session)
    session.choose_class(label)
    angles, inside = class_orientation(findings, label), findings.position_labels == label
    assert np.isnan(angles[~inside]).all()
    np.testing.assert_array_equal(angles[inside], findings.orientation[inside])
    assert np.isfinite(angles).any()
    root = figures(view.layout.get_root())
    packed = np.asarray(root["class-orientation"].renderers[0].data_source.data["image"][0])
    rgba = np.ascontiguousarray(packed).view(np.uint8).reshape(*packed.shape, 4)[::-1].astype(int)
    grey = np.ptp(rgba[..., :3], axis=-1) == 0
    assert grey[~np.isfinite(angles)].all()
    assert not grey[np.isfinite(angles)].any()
    period = 360 / findings.classes[label].fold
    (text,) = columns(root["class-wheel"], "x", "y", "text")
    assert text["text"] == (["0°", f"{period:.0f}°"] if period < 360 else ["0° = 360°"])
    session.choose_class(crystalline(session, wanted=False))
    assert columns(root["class-wheel"], "x", "y", "text")[0]["text"] == []


def test_the_period_of_a_class_colours_it_and_not_the_highest_angle() -> None:
    angle = np.array([[50.0]])
    assert not np.array_equal(palette.orientation_overlay(angle, 60.0), palette.orientation_overlay(angle, 90.0))
    np.testing.assert_array_equal(
        palette.orientation_overlay(np.array([[0.0, 30.0]]), np.array([[60.0, 90.0]])),
        palette.orientation_overlay(np.array([[90.0, 120.0]]), 90.0),
    )
    image = wheel(90.0, 200)
    assert (image[100, 137, 3], image[100, 100, 3], image[2, 2, 3]) == (235, 0, 0)
    np.testing.assert_array_equal(image[100, 137, :3], image[137, 99, :3])  # a quarter turn on, the colours come again
    assert (image[125, 125, 3], image[75, 125, 3]) == (235, 70)  # the first period lies towards +ky, which is down


def test_what_is_no_crystal_says_so_and_shows_no_sizes(session: Session, view: ClassView) -> None:
    label = crystalline(session, wanted=False)
    root = figures(view.layout.get_root())
    session.choose_class(crystalline(session))
    session.choose_class(label)
    assert "not crystalline" in view.headline.object
    assert columns(root["class-sizes"], "left", "right", "bottom", "top", "colour")[0]["top"] == []
    assert columns(root["class-sizes"], "x", "y", "text")[0]["text"] == ["no particles"]
    assert "no particles are measured" in view._captions["sizes"].object
    assert "no orientation" in view._captions["orientation"].object
    curve = columns(root["class-profile"], "xs", "ys", "colour")[1]
    pattern, mask = session.shown.classes.patterns[label], session.shown.factors.mask
    y, x = np.indices(mask.shape)
    ring = mask & (np.round(np.hypot(y - session.shown.centre[0], x - session.shown.centre[1])) == 9)
    at = np.flatnonzero(np.isclose(curve["xs"][0], 9 * session.shown.axes[3].scale))
    assert np.asarray(curve["ys"][0])[at] == pytest.approx(pattern[ring].mean())


def test_before_the_details_are_there_it_says_measuring(session: Session, view: ClassView) -> None:
    details, label = session.details, crystalline(session)
    view._known = None
    session.details = None
    session.choose_class(label)
    root = figures(view.layout.get_root())
    assert "measuring …" in view.headline.object
    assert columns(root["class-sizes"], "x", "y", "text")[0]["text"] == ["measuring …"]
    session.details = details
    assert details.diameter(label) in view.headline.object
    assert columns(root["class-sizes"], "x", "y", "text")[0]["text"] == []


def test_particles_at_the_probe_limit_are_told(session: Session, view: ClassView) -> None:
    details, label = session.details, crystalline(session)
    sizes = replace(
        details.of(label).sizes,
        diameters=np.zeros(0),
        mean=None,
        spread=None,
        at_probe_limit=2,
        count=2,
        unfitted=0,
        at_edge=0,
    )
    found = replace(details.of(label), sizes=sizes)
    session.choose_class(label)
    session.details = replace(details, classes=(found,))
    root = figures(view.layout.get_root())
    assert columns(root["class-sizes"], "x", "y", "text")[0]["text"] == ["at the probe limit"]
    assert "0 of 2 particles measured; 2 at the probe limit" in view._captions["sizes"].object


def test_nothing_is_sent_again_while_the_class_stays_the_same(
    session: Session, view: ClassView, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = crystalline(session)
    session.choose_class(label)
    drawn: list[Any] = []
    monkeypatch.setattr(view, "_draw_pictures", drawn.append)
    members = session.shown.findings.classes[label].members
    session.change(
        {"cluster.threshold": round(session.shown.classes.threshold - 1e-3, 4)}
    )  # the same classes, made anew
    run(session)
    assert session.shown.findings.classes[label].members == members
    assert drawn == []
    session.choose_class(crystalline(session, wanted=False))
    assert len(drawn) == 1


def test_a_click_on_a_row_chooses_its_class_and_a_second_one_lets_it_go(session: Session) -> None:
    card = ClassCard(session)
    card.refresh()
    assert [row["label"] for row in card.table.rows] == list(range(session.shown.classes.count))
    card.table._handle_msg({"label": 1})
    assert session.label == card.table.chosen == 1
    for forged in ("1", {"label": "1"}, {"label": True}, {"label": 99}, {"label": -1}, {}, None):
        card.table._handle_msg(forged)
        assert session.label == 1
    card.table._handle_msg({"label": 1})
    assert session.label is None
    assert card.table.chosen == -1
    session.choose_class(0)
    assert card.table.chosen == 0


def test_a_class_is_named_in_its_row_and_a_refused_name_is_put_back(
    session: Session, view: ClassView, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ClassCard(session)
    card.refresh()
    again: list[object] = []
    monkeypatch.setattr(card.table, "draw_again", lambda: again.append(None))
    card.table._handle_msg({"label": 1, "name": "<b>B2</b>"})
    assert session.shown.findings.classes[1].name == "<b>B2</b>"
    assert [row["name"] for row in card.table.rows][1] == "<b>B2</b>"
    session.choose_class(1)
    assert "&lt;b&gt;B2" in view.headline.object
    assert not again
    card.table._handle_msg({"label": 1, "name": "a=b"})
    assert len(again) == 1
    assert session.message == ("error", "cluster.names: 'a=b' holds a comma, an equals sign or what cannot be printed")
    assert session.shown.findings.classes[1].name == "<b>B2</b>"
    card.table._handle_msg({"label": 1, "name": ""})
    assert session.shown.findings.classes[1].name == ""


def test_a_chosen_component_is_moved_from_the_gallery_and_back(session: Session) -> None:
    gallery = GalleryView(session, 600)
    gallery.refresh()
    assert gallery.move.disabled
    before = session.shown.classes.labels.copy()
    k, sibling = (int(i) for i in np.flatnonzero(before == 1)[:2])
    session.choose_component(k)
    assert not gallery.move.disabled
    assert gallery.move.value.startswith("in class 1")
    other = next(o for o in gallery.move.options if o.startswith("class 0"))
    gallery.move.value = other
    assert session.shown.classes.moved == (k,)
    assert session.component == k
    assert gallery.move.value.startswith("in class ")
    assert any(text.startswith(f"{k}* ") for text in gallery._labels.data["text"])
    gallery.move.value = "a class of its own"
    assert (session.shown.classes.labels == session.shown.classes.labels[k]).sum() == 1
    assert "a class of its own" not in gallery.move.options
    home = session.shown.classes.labels[sibling]
    gallery.move.value = next(o for o in gallery.move.options if o.startswith(f"class {home}"))
    np.testing.assert_array_equal(session.shown.classes.labels, before)  # where the tree has it
    assert session.shown.classes.moved == ()
