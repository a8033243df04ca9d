"""Findings: symmetry, which position belongs to what, and how it is turned."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.polar import spectra, to_polar
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.measure.findings import Findings, fold_of, map_coherence, measure
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


def fold(image: np.ndarray) -> int:
    polar = to_polar(image[None].astype(np.float32), MASK, CENTRE)
    return fold_of(spectra(polar, "ring")[0], polar.values.shape[2])


@pytest.mark.parametrize("n", [6, 4, 3, 2])
def test_the_symmetry_of_a_pattern_is_counted(n: int) -> None:
    assert fold(star(n)) == n
    assert fold(star(n) + 0.6 * np.where(MASK, np.exp(-((RADIUS - 14) ** 2) / 30), 0)) == n
    noisy = np.random.default_rng(0).poisson(200 * star(n) + 1.0) * MASK
    assert fold(noisy) == n


def test_a_pattern_without_symmetry_has_one() -> None:
    assert fold(star(1)) == 1
    assert fold(spots([0, 50, 170])) == 1
    assert fold(np.zeros((N, N))) == 1


def test_a_rectangle_of_spots_is_twofold_and_a_lattice_at_its_own_turn_the_higher() -> None:
    assert fold(spots([30, 150, 210, 330])) == 2
    assert fold(star(6) + spots([38 + 60 * i for i in range(6)], 20)) == 6


def scene() -> tuple[Factors, Classes]:
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
        np.zeros((3, 2)),
        np.stack([patterns[0], patterns[1]]).astype(np.float32),
        located,
        located,
    )
    return factors, classes


def measured(factors: Factors, classes: Classes, **changes: float) -> Findings:
    settings = Settings.make({"measure.coherence": 0.1} | {f"measure.{k}": v for k, v in changes.items()})
    return measure(factors, classes, CENTRE, 0.5, settings.measure)


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
    factors, classes = scene()
    classes.rotations[2] = np.nextafter(90, 0)
    orientation = measured(factors, classes).orientation
    assert np.nanmax(orientation) < 90


def test_classes_are_put_into_numbers() -> None:
    glass, crystal = findings().classes
    assert (glass.label, glass.members, glass.crystalline, glass.fold) == (0, (0,), False, 1)
    assert (crystal.label, crystal.members, crystal.crystalline, crystal.fold) == (1, (1, 2), True, 4)
    assert crystal.fraction == pytest.approx(36 / 192)
    assert glass.fraction == pytest.approx(155 / 192)
    assert crystal.share == pytest.approx((16 * 4 + 20 * 2) / (191 * 10 + 16 * 4 + 20 * 2), rel=1e-5)
    assert glass.share + crystal.share == pytest.approx(1)
    assert glass.anisotropy < 0.2
    assert crystal.anisotropy > 0.8


def test_the_anisotropy_that_counts_as_crystalline_is_a_setting() -> None:
    assert [c.crystalline for c in findings(anisotropy=0.0, coherence=0.0).classes] == [True, True]
    assert [c.crystalline for c in findings(anisotropy=1.0).classes] == [False, False]
    assert np.isnan(findings(anisotropy=1.0).orientation).all()


def test_where_all_is_crystal_every_measured_position_belongs_to_one() -> None:
    factors, classes = scene()
    factors.maps[0, :, 8:] = 0
    factors.maps[0, 0, 8] = 3
    classes.located[0] = factors.maps[0]
    found = measured(factors, classes, anisotropy=0.0, coherence=0.0)
    assert (found.position_labels[factors.maps.sum(axis=0) > 0] >= 0).all()
    assert (found.position_labels[factors.maps.sum(axis=0) == 0] == -1).all()


def test_a_particle_is_coherent_and_noise_is_not() -> None:
    y, x = np.mgrid[:40, :50]
    particle = np.exp(-((y - 18) ** 2 + (x - 30) ** 2) / (2 * 4**2))
    noise = np.random.default_rng(0).random((40, 50))
    assert map_coherence(particle, 3) > 0.8
    assert abs(map_coherence(noise, 3)) < 0.1
    assert map_coherence(particle, 3) > map_coherence(particle + noise, 3) > map_coherence(noise, 3)
    assert map_coherence(1e-6 * particle, 3) == pytest.approx(map_coherence(particle, 3))


def test_an_even_map_has_no_coherence() -> None:
    for image in (np.zeros((8, 9)), np.full((8, 9), 7.3), np.ones((1, 1))):
        assert map_coherence(image, 2) == 0


def test_a_class_of_incoherent_maps_is_not_crystalline() -> None:
    factors, classes = scene()
    factors.maps[1:] = np.random.default_rng(0).random((2, 12, 16))
    assert [c.crystalline for c in measured(factors, classes, coherence=0.4).classes] == [False, False]
