"""Patterns compared over the rotation angle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from stem4d_panel.cluster.glass import anisotropy
from stem4d_panel.cluster.patterns import pattern_set
from stem4d_panel.cluster.polar import correlate, norms, rotate_pattern, spectra, to_polar, turned
from stem4d_panel.settings import Settings

N = 64
CENTRE = (31.5, 31.5)
KY, KX = np.mgrid[:N, :N]
Spot = tuple[float, float, float]  # radius in px, angle in degrees from +kx towards +ky, height


def annulus(inner: float = 4, outer: float = 31, centre: tuple[float, float] = CENTRE) -> np.ndarray:
    radius = np.hypot(KY - centre[0], KX - centre[1])
    return (radius >= inner) & (radius <= outer)


def pattern(
    spots: list[Spot], turn: float = 0.0, halo: float = 0.0, centre: tuple[float, float] = CENTRE
) -> np.ndarray:
    """Gaussian spots turned by `turn` degrees about the centre, over a halo; zero outside the annulus."""
    image = halo * np.exp(-((np.hypot(KY - centre[0], KX - centre[1]) - 16) ** 2) / 20)
    for radius, angle, height in spots:
        phi = np.deg2rad(angle + turn)
        image = image + height * np.exp(
            -((KY - centre[0] - radius * np.sin(phi)) ** 2 + (KX - centre[1] - radius * np.cos(phi)) ** 2) / 3
        )
    image = np.where(annulus(centre=centre), image, 0)
    return (image / max(image.sum(), 1e-30)).astype(np.float32)


def ring(radius: float, fold: int = 6, start: float = 0.0, height: float = 1.0) -> list[Spot]:
    return [(radius, start + 360.0 * i / fold, height) for i in range(fold)]


def hexagonal(radius: float) -> list[Spot]:
    """The first two rings of a hexagonal lattice."""
    return ring(radius) + ring(radius * 3**0.5, start=30, height=0.5)


def pair(
    one: np.ndarray, other: np.ndarray, centring: str = "ring", mask: np.ndarray | None = None
) -> tuple[float, float]:
    """Similarity, and the rotation of `other` against `one`."""
    polar = to_polar(np.stack([one, other]), annulus() if mask is None else mask, CENTRE)
    spectrum = spectra(polar, centring)
    similarity, rotation = correlate(spectrum[0], spectrum[1:], polar.values.shape[2])
    return float(similarity[0]), float(rotation[0])


def apart(a: float, b: float, period: float = 360) -> float:
    """Distance of two angles in degrees."""
    return abs((a - b + period / 2) % period - period / 2)


LOPSIDED: list[Spot] = [(10, 0, 1.0), (17, 100, 0.7), (24, 215, 0.9), (14, 290, 0.4)]


@pytest.mark.parametrize("turn", range(0, 60, 7))
@pytest.mark.parametrize(
    ("one", "other"),
    [(ring(22), ring(14)), (hexagonal(22), hexagonal(16)), (ring(18, 4), ring(22)), (ring(18, 4), ring(14))],
    ids=["made case", "two rings", "square and wide", "square and narrow"],
)
def test_two_lattices_of_different_spacing_are_not_equal_at_any_rotation(
    one: list[Spot], other: list[Spot], turn: int
) -> None:
    first, second = pattern(one, halo=0.5), pattern(other, turn, halo=0.5)
    assert pair(first, second)[0] < 0.2
    assert pair(second, first)[0] < 0.2


@pytest.mark.parametrize("radius", [14, 22])
@pytest.mark.parametrize("turn", [0, 3.7, 11, 30, 45.5, 59, 133, 301])
def test_one_lattice_is_itself_at_any_rotation(radius: float, turn: float) -> None:
    similarity, rotation = pair(pattern(hexagonal(radius), halo=0.5), pattern(hexagonal(radius), turn, halo=0.5))
    assert similarity > 0.98
    assert apart(rotation, turn, 60) < 0.5


def test_the_two_lattices_are_a_trap_for_sums_over_the_radius() -> None:
    polar = to_polar(np.stack([pattern(ring(22)), pattern(ring(14), 20)]), annulus(), CENTRE)
    one, other = fft.rfft((polar.values * polar.radii[:, None]).sum(axis=1), axis=1)
    one[0] = other[0] = 0
    curve = fft.irfft(one.conj() * other)
    size = np.sqrt(fft.irfft(abs(one) ** 2)[0] * fft.irfft(abs(other) ** 2)[0])
    assert curve.max() / size > 0.9


def test_without_centring_the_halo_makes_everything_alike() -> None:
    one, other = pattern(ring(22), halo=2), pattern(ring(14), halo=2)
    assert pair(one, other, "none")[0] > 0.5
    assert pair(one, other, "ring")[0] < 0.2


def test_a_spot_at_kx_turned_to_ky_reads_90() -> None:
    at_kx, at_ky = np.zeros((2, N, N), np.float32)
    at_kx[31:33, 50:52], at_ky[50:52, 31:33] = 1, 1
    similarity, rotation = pair(at_kx, at_ky)
    assert similarity > 0.98
    assert rotation == pytest.approx(90, abs=0.5)
    assert pair(at_ky, at_kx)[1] == pytest.approx(270, abs=0.5)


@pytest.mark.parametrize("turn", [0.0, 0.3, 12.4, 89.6, 123.45, 200.0, 359.7])
def test_the_angle_of_turned_spots_is_found_below_the_sampling(turn: float) -> None:
    similarity, rotation = pair(pattern(LOPSIDED), pattern(LOPSIDED, turn))
    assert similarity > 0.98
    assert apart(rotation, turn) < 0.5
    assert 0 <= rotation < 360


def test_the_angle_holds_for_weak_noisy_patterns() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.poisson(4000 * pattern(LOPSIDED, t, halo=0.3)).astype(np.float32) for t in (0, 77))
    assert apart(pair(one, other)[1], 77) < 1


@pytest.mark.parametrize("turn", [0, 17.0, 90, 211.5])
def test_rotating_a_pattern_turns_it_by_the_same_convention(turn: float) -> None:
    rotated = rotate_pattern(pattern(LOPSIDED), annulus(), CENTRE, turn)
    assert np.corrcoef(rotated.ravel(), pattern(LOPSIDED, turn).ravel())[0, 1] > 0.99
    assert apart(pair(pattern(LOPSIDED), rotated)[1], turn) < 0.5
    back = rotate_pattern(rotated, annulus(), CENTRE, -turn)
    assert np.corrcoef(back.ravel(), pattern(LOPSIDED).ravel())[0, 1] > 0.99
    assert rotated.min() >= 0
    assert (rotated[~annulus()] == 0).all()


def test_rotating_a_halo_changes_nothing() -> None:
    halo = pattern([], halo=1)
    rotated = rotate_pattern(halo, annulus(), CENTRE, 33)
    np.testing.assert_allclose(rotated, halo, atol=0.03 * halo.max())


def test_rotating_a_spectrum_equals_rotating_the_pattern() -> None:
    patterns = np.stack([pattern(LOPSIDED), pattern(LOPSIDED, 48)])
    polar = to_polar(patterns, annulus(), CENTRE)
    spectrum = spectra(polar, "ring")
    moved = turned(spectrum[0], 48)
    similarity, rotation = correlate(moved, spectrum[1:], polar.values.shape[2])
    assert similarity[0] > 0.98
    assert apart(float(rotation[0]), 0) < 0.5


def test_a_centre_off_the_middle_is_respected() -> None:
    centre = (29.2, 33.8)
    mask = annulus(outer=27, centre=centre)
    polar = to_polar(np.stack([pattern(LOPSIDED, t, centre=centre) for t in (0, 65)]), mask, centre)
    spectrum = spectra(polar, "ring")
    similarity, rotation = correlate(spectrum[0], spectrum[1:], polar.values.shape[2])
    assert similarity[0] > 0.98
    assert apart(float(rotation[0]), 65) < 0.5


def test_masked_pixels_do_not_speak() -> None:
    mask = annulus()
    mask[40:44, 8:20] = False
    one, other = pattern(LOPSIDED), pattern(LOPSIDED, 30)
    spoiled = np.where(mask, one, 5.0).astype(np.float32)
    assert pair(spoiled, other, mask=mask) == pytest.approx(pair(np.where(mask, one, 0), other, mask=mask))
    polar = to_polar(one[None], mask, CENTRE)
    assert polar.radii.min() >= 3.5
    assert polar.radii.max() <= 31.5


def test_anisotropy_is_0_for_a_halo_and_near_1_for_spots() -> None:
    images = np.stack([pattern([], halo=1), pattern(LOPSIDED), np.zeros((N, N), np.float32)])
    polar = to_polar(images, annulus(), CENTRE)
    values = anisotropy(pattern_set(polar, np.zeros(polar.values.shape[:2]), Settings.make().cluster, "none"))
    assert values[0] < 0.05
    assert values[1] > 0.9
    assert values[2] == 0


@pytest.mark.parametrize("centring", ["ring", "none"])
def test_norms_are_those_of_the_polar_patterns(centring: str) -> None:
    polar = to_polar(np.stack([pattern(LOPSIDED, halo=1), pattern(hexagonal(14))]), annulus(), CENTRE)
    values = polar.values - (polar.values.mean(axis=2, keepdims=True) if centring == "ring" else 0)
    expected = np.sqrt((values**2 * polar.radii[:, None]).sum((1, 2)))
    np.testing.assert_allclose(norms(spectra(polar, centring), polar.values.shape[2]), expected, rtol=1e-4)


def test_an_empty_pattern_is_like_nothing() -> None:
    empty = np.zeros((N, N), np.float32)
    assert pair(empty, pattern(LOPSIDED))[0] == 0
    assert pair(pattern(LOPSIDED), empty)[0] == 0
    assert pair(empty, empty)[0] == 0
