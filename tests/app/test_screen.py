"""The figures as models: what is drawn, without a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bokeh.models import Plot, ScaleBar, Span
from sessions import run

from stem4d_panel.app.boot import boot
from stem4d_panel.app.figures import Frame, Picture
from stem4d_panel.app.gesture import Drag
from stem4d_panel.app.pattern_figure import detector_axes, round_rings
from stem4d_panel.app.point_view import _measured, _model, _prepared
from stem4d_panel.app.screen import Screen
from stem4d_panel.app.session import Session
from stem4d_panel.app.tree_view import junctions
from stem4d_panel.errors import DataError
from stem4d_panel.measure import virtual
from stem4d_panel.measure.virtual import Detector, Outline, virtual_image
from stem4d_panel.prepare.masks import polygons
from stem4d_panel.scan.scan import Axis, Scan
from stem4d_panel.settings import Settings

CLASS = ["class-map", "class-pattern", "class-orientation", "class-wheel", "class-sizes", "class-profile"]
FIRST = ["merge", "maps", "patterns", "measured", "dendrogram", "gallery", "ranks"]
NAMES = [*FIRST, *CLASS]


@pytest.fixture
def session(small: Scan) -> Iterator[Session]:
    boot.now()
    made = Session(small, Settings.make({"rank": 5}), lambda then: then())
    yield made
    made.close()


def figures(root: Any) -> dict[str, Plot]:
    return {f.name: f for f in root.select({"type": Plot})}


def extents(figure: Plot) -> tuple[float, float, float, float]:
    return figure.x_range.start, figure.y_range.start, figure.x_range.end, figure.y_range.end


def test_every_figure_is_there_from_the_first_and_stays_the_same_one(session: Session, small: Scan) -> None:
    """A figure that takes the place of another is lost if the browser still builds the page."""
    screen = Screen(session)
    root = screen.layout.get_root()
    assert sorted(figures(root)) == sorted(FIRST)
    for _ in range(2):
        screen.complete()
        before = figures(root)
        assert sorted(before) == sorted(NAMES)
    session.start()
    run(session)
    assert figures(root) == before
    assert extents(before["dendrogram"])[::2] == (-0.7, 4.7)
    session.change({"factorize.rank": 6})
    run(session)
    other = Scan(
        np.asarray(small.data)[:, :10, :, :-4],
        (
            Axis("y", 14, 0.5, 0, "Å"),
            Axis("x", 10, 0.5, 0, "Å"),
            Axis("ky", 32, 1, 0, "px"),
            Axis("kx", 28, 1, 0, "px"),
        ),
        name="other",
    )
    session.open(other)
    run(session)
    assert figures(root) == before
    assert extents(before["dendrogram"])[::2] == (-0.7, 5.7)
    assert extents(before["maps"]) == pytest.approx((-0.25, -6.75, 4.75, 0.25))
    assert before["maps"].frame_height / before["maps"].frame_width == pytest.approx(14 / 10, abs=0.01)
    assert next(m for m in before["maps"].center if isinstance(m, ScaleBar)).unit == "Å"
    screen.close()


def test_choices_of_every_kind_follow_each_other(session: Session) -> None:
    """Two parameters change at once where one choice takes the place of another."""
    screen = Screen(session)
    session.start()
    run(session)
    session.choose_component(1)
    session.choose_class(0)
    assert (session.component, session.label) == (None, 0)
    assert screen.maps.mode.value == "class share"
    session.choose_component(2)
    assert (session.component, session.label) == (2, None)
    assert (screen.maps.mode.value, screen.patterns.mode.value) == ("component", "class")
    screen.patterns.mode.value = "component"
    session.choose_component(None)  # then no other one is shown in its place
    assert (screen.maps.mode.value, screen.patterns.mode.value) == ("classes", "mean pattern")
    session.choose_component(2)
    assert (screen.maps.mode.value, screen.patterns.mode.value) == ("component", "component")
    session.choose_region(0, 0, 2, 2)
    session.choose_point(4, 3)
    assert (session.region, session.point) == (None, (4, 3))
    assert "y 4, x 3 · " in screen.point.caption.object
    session.choose_region(1, 1, 2, 2)
    assert (session.region, session.point) == ((1, 1, 2, 2), None)
    assert "mean of y 1–2, x 1–2" in screen.point.caption.object
    screen.close()


def test_a_class_has_one_colour_in_the_gallery_and_in_the_tree(session: Session) -> None:
    screen = Screen(session)
    root = screen.layout.get_root()
    session.start()
    run(session)
    for threshold in (session.shown.classes.threshold, 0.9):
        session.change({"cluster.threshold": threshold})
        run(session)
        shown, found = session.shown, figures(root)
        wanted = [shown.colours[int(shown.classes.labels[k])] for k in shown.tree.order]
        columns = {f: [r.data_source.data.get("colour") for r in found[f].renderers] for f in ("gallery", "dendrogram")}
        assert wanted in columns["gallery"]
        assert any(column and set(column) <= set(wanted) for column in columns["dendrogram"])
    screen.close()


def test_the_line_stands_at_the_threshold_in_each_place_that_shows_the_figure(session: Session) -> None:
    screen = Screen(session)
    roots = [screen.layout.get_root() for _ in range(2)]  # as in two cells of a notebook
    session.start()
    run(session)
    for threshold in (session.shown.classes.threshold, 0.61):
        session.change({"cluster.threshold": threshold})
        run(session)
        for root in roots:
            line = next(m for m in figures(root)["dendrogram"].center if isinstance(m, Span) and m.editable)
            assert line.location == pytest.approx(threshold)
    screen.close()


def test_the_line_stays_in_the_figure_however_far_it_is_dragged_or_set(session: Session) -> None:
    screen = Screen(session)
    figure = figures(screen.layout.get_root())["dendrogram"]
    session.start()
    run(session)
    line = next(m for m in figure.center if isinstance(m, Span) and m.editable)
    line.location = 1.9  # as a hand does
    assert figure.y_range.end * 0.9 < line.location < figure.y_range.end
    while session._soon:  # what the hand wanted is taken in together
        time.sleep(0.01)
    run(session)
    heights = []
    for threshold in (1.4, 0.1):
        session.change({"cluster.threshold": threshold})
        run(session)
        assert line.location == pytest.approx(threshold)
        assert threshold < figure.y_range.end
        heights.append(figure.y_range.end)
    assert heights[0] == heights[1]  # nor does it move under the hand
    screen.close()


def test_the_line_is_not_taken_from_a_hand_that_is_ahead_of_the_picture(session: Session) -> None:
    screen = Screen(session)
    figure = figures(screen.layout.get_root())["dendrogram"]
    session.start()
    run(session)
    line = next(m for m in figure.center if isinstance(m, Span) and m.editable)
    for place in (0.4, 0.3):  # faster than anything is taken over
        line.location = place
        screen.tree.refresh()
        assert line.location == place
    while session._soon:
        time.sleep(0.01)
    run(session)
    assert (line.location, session.settings.cluster.threshold) == (0.3, 0.3)
    before = session.shown.classes.threshold
    line.location = 0.2
    line.location = before  # back before it was taken over
    while session._soon:
        time.sleep(0.01)
    run(session)
    assert session.settings.cluster.threshold == before
    session.undo()
    run(session)
    assert line.location == pytest.approx(session.shown.classes.threshold) != 0.3
    session.redo()
    run(session)
    assert line.location == 0.3
    screen.close()


def test_only_the_part_of_a_large_map_that_is_looked_at_is_sent_in_the_screen_s_pixels() -> None:
    values = np.zeros((900, 900), np.float32)
    values[100, 700] = 90.0
    frame = Frame("large", (300, 300))
    picture = Picture(frame, ("lx", "ly"))
    sent = []

    def paint(image: np.ndarray) -> np.ndarray:
        sent.append(image)
        return np.zeros((*image.shape, 4), np.uint8)

    picture.show((0, -900, 900, 0), paint, values)
    picture.layer[()]
    assert sent[-1].shape == (300, 300)
    assert sent[-1][33, 233] == pytest.approx(10)  # one of the nine positions in a pixel of the screen
    frame.zooms[0].update(x_range=(690, 720), y_range=(-120, -90))
    element = picture.layer[()]
    assert element.bounds.lbrt() == (690, -120, 720, -90)
    assert sent[-1].max() == pytest.approx(90)
    row, column = np.unravel_index(sent[-1].argmax(), sent[-1].shape)
    assert (row, column) == (100, 100)


def test_a_drag_on_the_map_chooses_a_region_and_its_mean(session: Session, small: Scan) -> None:
    screen = Screen(session)
    session.start()
    run(session)
    y, x = session.shown.axes[:2]
    at = lambda row, column: (x.offset + x.scale * column, -(y.offset + y.scale * row))  # noqa: E731
    screen.maps._dragged(Drag(*at(6, 9), *at(2, 4), ended=True))
    assert session.region == (2, 4, 6, 9)
    image, _ = _measured(session.shown, session.region)
    mean = np.asarray(small.data)[2:7, 4:10].mean(axis=(0, 1))
    mean[tuple(session.shown.look.bad.all.T)] = 0
    np.testing.assert_allclose(image, mean, rtol=1e-5)
    left = _prepared(session.shown.frames, session.region) - _model(session.shown, session.region)
    assert np.abs(left).sum() < 0.3 * _prepared(session.shown.frames, session.region).sum()
    screen.maps._dragged(Drag(*at(-5, 3), *at(1, 500), ended=True))  # beyond the scan: cut to it
    assert session.region == (0, 3, 1, x.size - 1)
    screen.close()


def test_prepared_frames_on_workers_are_said_to_be_there_and_not_drawn_black(session: Session) -> None:
    session.start()
    run(session)
    away = replace(session.shown.frames, matrix=object())
    with pytest.raises(DataError, match=r"^prepared frames: lie on the workers"):
        _prepared(away, (0, 0, 0, 0))


def test_a_scan_without_a_crystalline_class_shows_its_virtual_image(session: Session) -> None:
    screen = Screen(session)
    session.start()
    run(session)
    findings = session.shown.findings
    glass = tuple(replace(c, crystalline=False) for c in findings.classes)
    session.shown = replace(session.shown, findings=replace(findings, classes=glass))
    text, _, layers, _ = screen.maps._content()
    assert text == "no crystalline class; the virtual image"
    assert len(layers) == 1
    np.testing.assert_array_equal(layers[0], session.shown.virtual)
    screen.close()


def test_a_disc_is_drawn_moved_and_taken_away_and_a_ring_lies_around_the_beam(session: Session) -> None:
    screen = Screen(session)
    session.start()
    run(session)
    view, step = screen.patterns, detector_axes(session.shown)[1].scale

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        for ended in (False, True):
            view._dragged(Drag(start[1] * step, -start[0] * step, end[1] * step, -end[0] * step, ended))

    drag((5.0, 0.0), (5.0, 2.0))
    assert session.detector == Detector(pytest.approx(5), pytest.approx(0), 0, pytest.approx(2))
    assert screen.maps.mode.value == "virtual detector"
    drag((5.5, 0.5), (4.5, -1.5))
    assert session.detector == Detector(pytest.approx(4), pytest.approx(-2), 0, pytest.approx(2))
    drag((9.0, 9.0), (9.0, 9.1))
    assert session.detector is None
    assert screen.maps.mode.value == "classes"
    view.draw.value = "ring detector"
    drag((0.0, 8.0), (4.0, 0.0))
    assert session.detector == Detector(0, 0, pytest.approx(4), pytest.approx(8))
    view.draw.value = "mask radii"
    drag((0.0, session.shown.look.outer + 0.4), (0.0, 9.0))
    run(session)
    assert session.settings.prepare.mask_outer == 9.0
    screen.close()


def test_a_junction_shows_the_patterns_of_its_branches_until_the_tree_is_another(session: Session) -> None:
    screen = Screen(session)
    session.start()
    run(session)
    tree = session.shown.tree
    x, height = junctions(tree)
    assert screen.tree._hover._data == {"x": x[tree.size :].tolist(), "y": height[tree.size :].tolist()}
    merge = tree.size - 2
    screen.tree._pointed(merge)
    text = screen.tree.merge.caption.object
    assert "correlate by" in text
    shown = screen.tree.merge._picture.data["image"][0]
    ky, kx = session.shown.mask.shape
    assert shown.shape == (ky, 2 * kx + 4)
    screen.tree._pointed(None)  # stays
    assert screen.tree.merge.caption.object == text
    session.change({"factorize.rank": 4})
    run(session)
    assert "point at a junction" in screen.tree.merge.caption.object
    screen.close()


def drawn_on(view: Any, session: Session, corners: list[tuple[float, float]]) -> None:
    """Draw a line through corners (ky, kx) in pixels from the beam, back to the first one."""
    step = detector_axes(session.shown)[1].scale
    line = tuple((kx * step, -ky * step) for ky, kx in corners)
    for ended in (False, True):
        view._dragged(Drag(*line[0], *line[-1], ended, line))


def seen_by_detector(session: Session) -> np.ndarray:
    shown = session.shown
    return virtual_image(session.detector, shown.scan.data, shown.look, shown.frames)


def test_a_detector_looks_again_only_where_it_or_the_data_have_changed(session: Session) -> None:
    session.start()
    run(session)
    session.detector = Detector(0.0, 0.0, 3.0, 6.0)
    first = session.virtual_image()
    session.change({"factorize.rank": 4})
    run(session)
    assert session.virtual_image() is first
    session.detector = Detector(0.0, 0.0, 2.0, 6.0)
    np.testing.assert_array_equal(session.virtual_image(), seen_by_detector(session))
    assert session.virtual_image().sum() > first.sum()
    before = session.virtual_image()
    session.change({"prepare.mask_inner": 4.5})
    run(session)
    assert session.virtual_image() is not before
    np.testing.assert_array_equal(session.virtual_image(), seen_by_detector(session))


def test_while_it_is_drawn_a_detector_sees_a_large_scan_in_steps(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual, "_DRAFT", 700)
    screen = Screen(session)
    session.start()
    run(session)
    step = detector_axes(session.shown)[1].scale
    drag = Drag(0, 0, 2.2 * step, 0, False)
    screen.patterns._dragged(drag)  # 13 pixels at 252 positions
    text, _, (image,), _ = screen.maps._content()
    assert text.endswith("one position in 3 each way")
    whole = seen_by_detector(session)
    np.testing.assert_array_equal(image, whole[::3, ::3].repeat(3, 0).repeat(3, 1)[:14, :18])
    screen.patterns._dragged(replace(drag, ended=True))  # where it was, and the whole is seen
    text, _, (image,), _ = screen.maps._content()
    assert text.endswith("px")
    np.testing.assert_array_equal(image, whole)
    np.testing.assert_array_equal(screen.maps._picture._pipe.data[2][0], whole)
    screen.close()


def test_an_outlined_detector_is_drawn_and_moved_and_lies_below_the_classes(session: Session) -> None:
    screen = Screen(session)
    session.start()
    run(session)
    view = screen.patterns
    view.draw.value = "outlined detector"
    square = [(4.0, 4.0), (4.0, 8.0), (8.0, 8.0), (8.0, 4.0)]
    drawn_on(view, session, square)
    assert isinstance(session.detector, Outline)
    np.testing.assert_allclose(session.detector.corners, square)
    drawn_on(view, session, [(6.0, 6.0), (5.0, 3.0)])  # begins inside: moves it
    np.testing.assert_allclose(session.detector.corners, np.add(square, (-1, -3)))
    screen.maps.over.value = "detector"
    screen.maps.mode.value = "classes"
    text, _, arrays, _ = screen.maps._content()
    assert text.endswith("over the outline around ky 5.0, kx 3.0 px")
    np.testing.assert_array_equal(arrays[0], seen_by_detector(session))
    drawn_on(view, session, [(5.0, 3.0), (6.0, 3.0)])  # followed without leaving the classes
    assert screen.maps.mode.value == "classes"
    np.testing.assert_array_equal(screen.maps._content()[2][0], seen_by_detector(session))
    view.draw.value = "no detector"
    assert screen.maps._content()[0].endswith("over the virtual image (no detector is drawn on the patterns)")
    screen.close()


def test_a_beam_stop_is_outlined_on_the_pattern_and_left_out(session: Session) -> None:
    screen = Screen(session)
    session.start()
    run(session)
    kept = session.shown.frames.mask.sum()
    view = screen.patterns
    view.draw.value = "beam stop"
    first = [(6.0, -2.0), (6.0, 2.0), (9.0, 2.0), (9.0, -2.0)]
    drawn_on(view, session, first)
    run(session)
    centre = session.shown.look.descan.centre
    (corners,) = polygons(session.settings.prepare.beam_stop)
    np.testing.assert_allclose(corners, np.array(first) + centre, atol=0.051)
    assert session.shown.frames.mask.sum() < kept
    drawn_on(view, session, [(-6.0, -2.0), (-6.0, 2.0), (-9.0, 2.0), (-9.0, -2.0)])
    run(session)
    assert len(polygons(session.settings.prepare.beam_stop)) == 2
    assert len(view.figure._marks.data["xs"]) == 2 + 2 + 2  # circles, cross, stops
    drawn_on(view, session, [(0.0, 0.0), (0.0, 0.1)])  # encloses nothing
    assert len(polygons(session.settings.prepare.beam_stop)) == 2
    screen.close()


@pytest.mark.parametrize(("reach", "nm"), [(12.0, 1.0), (31.0, 2.5), (80.0, None), (0.37, 1.0)])
def test_rings_are_round_spacings_inside_the_picture(reach: float, nm: float | None) -> None:
    rings = round_rings(reach, "px", nm)
    assert len(rings) >= 2
    for radius, text in rings:
        assert 0.2 * reach < radius < reach
        value, unit = text.split(" ")
        assert unit == ("nm" if nm else "px")
        assert float(value) == pytest.approx(nm / radius if nm else radius)


def test_rings_are_drawn_on_both_patterns_when_asked_for(session: Session) -> None:
    screen = Screen(session)
    session.start()
    run(session)
    assert screen.patterns.figure._texts.data["text"] == []
    screen.patterns.bar.rings.value = True
    for figure in (screen.patterns.figure, screen.point.figure):
        texts = figure._texts.data["text"]
        assert texts
        assert all(text.endswith(" nm") for text in texts)
    screen.close()
