"""Findings: symmetry, which position belongs to what, and how it is turned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stem4d_panel.by_hand import Names
from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.tree import Suggestion, Tree
from stem4d_panel.errors import SettingError
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.measure.findings import Findings, measure
from stem4d_panel.settings import Settings

N, CENTRE = 48, (23.5, 23.5)
KY, KX = np.mgrid[:N, :N] - 23.5
RADIUS = np.hypot(KY, KX)
MASK = (RADIUS >= 3) & (RADIUS <= 23)


def spots(angles: list[float], radius: float = 14) -> np.ndarray:
    image = np.zeros((N, N))
    for angle in np.deg2rad(angles):
        image += np.exp(-((KY - radius * np.sin(angle)) ** 2 + (KX - radius * np.cos(angle)) ** 2) / 3)
    return np.where(MASK, image, 0)


def star(fold: int, start: float = 8.0) -> np.ndarray:
    return spots([start + 360 * i / fold for i in range(fold)])


def scene() -> tuple[Factors, Tree, Classes]:
    """Glass everywhere, two turned grains of a fourfold kind, and a corner where nothing was measured."""
    maps = np.zeros((3, 12, 16), np.float32)
    maps[0] = 10
    maps[1, 2:6, 2:6], maps[2, 7:11, 9:14] = 4, 2
    maps[:, 11, 15] = 0
    halo = np.where(MASK, np.exp(-((RADIUS - 12) ** 2) / 20), 0)
    patterns = np.stack([halo, star(4, 0), star(4, 125)])
    patterns /= patterns.sum((1, 2), keepdims=True)
    factors = Factors(maps, patterns.astype(np.float32), MASK, 0.1, np.ones(1), 1, True, ())
    located = np.stack([maps[0], maps[1] + maps[2]])
    classes = Classes(
        0.25,
        True,
        np.array([0, 1, 1]),
        np.array([0.0, 0.0, 125.0]),
        np.zeros(3, bool),
        np.zeros((3, 2)),
        np.stack([patterns[0], patterns[1]]).astype(np.float32),
        located,
        located,
        np.stack([np.zeros(360), np.cos(np.deg2rad(4 * np.arange(360)))]),
    )
    two = np.zeros(2)
    tree = Tree(
        np.array([[1, 2, 0.1, 2, 125, 0, 0], [0, 3, 1, 3, 0, 0, 0]]), ("rotation", "glass"), np.zeros((3, 3)),
        np.zeros((3, 3)), np.array([0.1, 0.9, 0.85]), np.array([0.2, 0.8, 0.7]), np.array([True, False, False]), two,
        np.zeros(2, bool), two, (0, 1, 2), Suggestion(0.25, 0.0, 1.0, ""),
    )  # fmt: skip
    return factors, tree, classes


def measured(factors: Factors, tree: Tree, classes: Classes, **changes: float) -> Findings:
    settings = Settings.make({f"measure.{k}": v for k, v in changes.items()})
    return measure(factors, tree, classes, settings.measure)


def findings(**changes: float) -> Findings:
    return measured(*scene(), **changes)


def test_every_position_has_the_class_that_was_put_there() -> None:
    expected = np.zeros((12, 16), int)
    expected[2:6, 2:6] = expected[7:11, 9:14] = 1
    expected[11, 15] = -1
    np.testing.assert_array_equal(findings().position_labels, expected)


def test_the_level_decides_how_much_of_a_class_counts() -> None:
    labels = findings(level=0.6).position_labels  # the second grain reaches half of the first's height
    assert (labels[7:11, 9:14] == 0).all()
    assert (labels[2:6, 2:6] == 1).all()


def test_orientation_is_the_rotation_modulo_the_symmetry_and_nan_elsewhere() -> None:
    orientation = findings().orientation
    expected = np.full((12, 16), np.nan)
    expected[2:6, 2:6], expected[7:11, 9:14] = 0, 35
    np.testing.assert_allclose(orientation, expected, atol=1e-4)


def test_orientation_stays_below_the_period_in_single_precision() -> None:
    factors, tree, classes = scene()
    classes.rotations[2] = np.nextafter(90, 0)
    orientation = measured(factors, tree, classes).orientation
    assert np.nanmax(orientation) < 90


def test_classes_are_put_into_numbers() -> None:
    glass, crystal = findings().classes
    assert (glass.label, glass.members, glass.crystalline, glass.fold) == (0, (0,), False, 1)
    assert (crystal.label, crystal.members, crystal.crystalline, crystal.fold) == (1, (1, 2), True, 4)
    assert crystal.fraction == pytest.approx(36 / 192)
    assert glass.fraction == pytest.approx(155 / 192)
    assert crystal.share == pytest.approx((16 * 4 + 20 * 2) / (191 * 10 + 16 * 4 + 20 * 2), rel=1e-5)
    assert glass.share + crystal.share == pytest.approx(1)
    assert (glass.anisotropy, glass.coherence) == (0.1, 0.2)
    assert (crystal.anisotropy, crystal.coherence) == (0.9, 0.8)


def test_a_class_is_crystalline_when_one_of_its_components_was_not_set_apart() -> None:
    factors, tree, classes = scene()
    tree.apart[:] = [True, True, False]
    assert [c.crystalline for c in measured(factors, tree, classes).classes] == [False, True]
    tree.apart[:] = True
    found = measured(factors, tree, classes)
    assert [(c.crystalline, c.fold) for c in found.classes] == [(False, 1), (False, 1)]
    assert np.isnan(found.orientation).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ["", ""]),
        ("2=weak", ["", "weak"]),
        ("2=weak, 1=strong", ["", "strong"]),
        ("3: 0=glass", ["glass", ""]),
        ("4: 0=glass", ["", ""]),
    ],
)
def test_a_class_is_called_as_its_strongest_named_member(text: str | None, expected: list[str]) -> None:
    settings = Settings.make().measure
    found = measure(*scene(), settings, Names.parse(text))
    assert [c.name for c in found.classes] == expected
    said = ("cluster.names: made at rank 4, not applied at rank 3",)
    assert found.warnings == (said if text and text.startswith("4") else ())
    plain = measure(*scene(), settings)
    assert [replace(c, name="") for c in found.classes] == list(plain.classes)
    np.testing.assert_array_equal(found.position_labels, plain.position_labels)


def test_a_component_that_is_not_there_has_no_name() -> None:
    with pytest.raises(SettingError, match=r"^cluster\.names: component 3 is not from 0 to 2, those of rank 3$"):
        measure(*scene(), Settings.make().measure, Names.parse("3=a"))


def test_where_all_is_crystal_every_measured_position_belongs_to_one() -> None:
    factors, tree, classes = scene()
    factors.maps[0, :, 8:] = 0
    factors.maps[0, 0, 8] = 3
    classes.located[0] = factors.maps[0]
    tree.apart[:] = False
    found = measured(factors, tree, classes)
    assert (found.position_labels[factors.maps.sum(axis=0) > 0] >= 0).all()
    assert (found.position_labels[factors.maps.sum(axis=0) == 0] == -1).all()
