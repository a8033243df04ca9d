"""Reading a pattern: spots, spacings, angles, symmetry, the part without a centre, and what holds where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.measure.reading import (
    Reading,
    angle_between,
    d_spacing,
    fold_of,
    odd_part,
    read_pattern,
    symmetrised,
)
from stem4d_panel.measure.spots import Spot, find_spots
from stem4d_panel.scan.units import wavelength_nm

COUNTS = 4000


def grid(n: int, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, x = np.indices((n, n))
    return y - centre[0], x - centre[1], np.hypot(y - centre[0], x - centre[1])


class Made:
    """A pattern of Gaussian spots at g (ky, kx) on a halo, of which counts are drawn."""

    def __init__(
        self,
        g: np.ndarray,
        n: int = 40,
        centre: tuple[float, float] = (19.7, 19.4),
        weights: np.ndarray | None = None,
        sigma: float = 0.8,
        halo: float = 0.3,
    ) -> None:
        self.centre, self.g = centre, np.asarray(g, float)
        ky, kx, radius = grid(n, centre)
        self.mask = (radius >= 3) & (radius <= n / 2 - 1.5)
        spots = np.zeros((n, n))
        for (gy, gx), weight in zip(self.g, np.ones(len(g)) if weights is None else weights, strict=True):
            spots += weight * np.exp(-((ky - gy) ** 2 + (kx - gx) ** 2) / (2 * sigma**2))
        ring = (np.exp(-radius / 5) + np.exp(-(((radius - n / 4) / 3) ** 2))) * self.mask
        spots *= self.mask
        self.clean = (1 - halo) * spots / max(spots.sum(), 1e-30) + halo * ring / ring.sum()

    def draw(self, seed: int, counts: float = COUNTS) -> np.ndarray:
        return np.random.default_rng(seed).poisson(self.clean * counts).astype(np.float32)

    def read(self, seed: int, counts: float = COUNTS) -> Reading:
        return read_pattern(self.draw(seed, counts), self.mask, self.centre)


def star(fold: int, radius: float, start: float = 13.0) -> np.ndarray:
    angles = np.deg2rad(start + 360 / fold * np.arange(fold))
    return radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def lattice(first: float, second: float, angle: float, turn: float, most: float) -> np.ndarray:
    a, b = np.deg2rad(turn), np.deg2rad(turn + angle)
    basis = np.array([[first * np.sin(a), first * np.cos(a)], [second * np.sin(b), second * np.cos(b)]])
    g = np.array([(h, k) for h in range(-4, 5) for k in range(-4, 5) if (h, k) != (0, 0)]) @ basis
    return g[np.hypot(*g.T) < most]


def matched(reading: Reading, g: np.ndarray) -> np.ndarray:
    """Distance of each spot of the reading from the nearest made one."""
    at = np.array([(s.ky, s.kx) for s in reading.spots])
    distance: np.ndarray = np.hypot(*(at[:, None] - g[None]).T).T
    assert len(np.unique(distance.argmin(axis=1))) == len(at)
    return distance.min(axis=1)


@pytest.mark.parametrize("sigma", [0.7, 1.0])
def test_spots_of_noisy_patterns_are_found_to_a_fifth_of_a_pixel(sigma: float) -> None:
    made = Made(lattice(8.1, 8.1, 90, 17, 13), sigma=sigma)
    assert len(made.g) == 8
    for seed in range(10):
        reading = made.read(seed)
        assert len(reading.spots) == 8
        assert matched(reading, made.g).max() < 0.2
        assert all(spot.friedel for spot in reading.spots)
        assert all(spot.snr >= 5 for spot in reading.spots)
        assert [s.radius for s in reading.spots] == sorted(s.radius for s in reading.spots)
        for spot in reading.spots:
            assert spot.radius == pytest.approx(np.hypot(spot.ky, spot.kx))
            turn = np.deg2rad(spot.angle)
            assert (spot.ky, spot.kx) == pytest.approx((spot.radius * np.sin(turn), spot.radius * np.cos(turn)))


def test_spots_of_a_large_clean_pattern_are_found_whatever_their_width() -> None:
    g = lattice(16.3, 23.1, 90, 31, 60)
    for sigma in (0.9, 1.5, 2.5):
        made = Made(g, 128, (63.2, 64.1), sigma=sigma)
        reading = read_pattern(made.clean.astype(np.float32), made.mask, made.centre)
        assert len(reading.spots) == len(g)
        assert matched(reading, g).max() < 0.05
        assert fold_of(reading.symmetry) == 2
        assert reading.angle_between == pytest.approx(90, abs=0.2)


def test_the_intensity_is_the_sum_above_the_ring_and_weak_spots_are_weaker() -> None:
    g, weights = star(4, 11.3), np.array([1.0, 0.5, 1.0, 0.25])
    made = Made(g, weights=weights, sigma=0.8)
    spots = read_pattern((made.clean * 1e4).astype(np.float32), made.mask, made.centre).spots
    sums = {round(((s.angle - 13) % 360) / 90) % 4: s.intensity for s in spots}
    total = 0.7 * 1e4 / weights.sum()
    assert [sums[i] / total for i in range(4)] == pytest.approx(weights, rel=0.06)


def test_spacings_are_right_to_a_percent_and_angles_to_a_degree() -> None:
    step = 0.5  # 1/nm a pixel
    for seed in range(5):
        for angle, second in ((90.0, 8.4), (60.0, 6.9), (73.0, 8.4)):
            made = Made(lattice(6.9, second, angle, 41, 13), sigma=0.8)
            reading = made.read(seed, 2 * COUNTS)
            for radius in np.unique(np.round(np.hypot(*made.g.T), 6)):
                family = [s.radius for s in reading.spots if abs(s.radius - radius) < 0.5]
                assert d_spacing(float(np.mean(family)), step, "1/nm") == pytest.approx(1 / (radius * step), rel=0.01)
            assert reading.angle_between == pytest.approx(angle, abs=1)


@pytest.mark.parametrize("fold", [2, 3, 4, 6])
def test_the_symmetry_is_counted_under_noise(fold: int) -> None:
    g = np.concatenate([star(fold, 8.2), star(fold, 13.1, start=40.0)])
    for seed in range(5):
        reading = Made(g).read(seed)
        assert fold_of(reading.symmetry) == fold
        assert reading.symmetry[fold] > 0.8
        assert {n for n, strength in reading.symmetry.items() if strength > 0.6} == {
            n for n in (2, 3, 4, 6) if fold % n == 0
        }


def test_what_has_no_symmetry_or_a_lower_one_is_not_called_higher() -> None:
    for seed in range(5):
        assert fold_of(Made(np.array([[9, 0], [3, 10], [-4, -8], [2, -12]])).read(seed).symmetry) == 1
        assert fold_of(Made(star(1, 9)).read(seed).symmetry) == 1
        assert fold_of(Made(lattice(7, 9.5, 90, 20, 9.6)).read(seed).symmetry) == 2
        trigonal = Made(star(6, 10), weights=np.array([1, 0.15, 1, 0.15, 1, 0.15]))
        assert fold_of(trigonal.read(seed).symmetry) == 3


def test_symmetry_is_taken_over_what_is_kept_beside_a_beam_stop() -> None:
    made = Made(np.concatenate([star(4, 8.2), star(4, 13.1, start=40.0)]))
    ky, kx, _ = grid(40, made.centre)
    stop = (np.abs(ky - 0.2 * kx) < 3) & (kx > 0)
    made.mask = made.mask & ~stop
    reading = read_pattern(made.draw(0) * made.mask, made.mask, made.centre)
    assert fold_of(reading.symmetry) == 4
    assert reading.symmetry[4] > 0.8
    assert reading.odd < 0.2
    assert len(reading.spots) == 7  # one of the eight lies under the stop
    assert sum(spot.friedel for spot in reading.spots) == 6


def test_the_odd_part_is_none_for_a_centrosymmetric_pattern_and_the_made_one_else() -> None:
    even = Made(lattice(8.1, 8.1, 90, 17, 13))
    assert read_pattern(even.clean, even.mask, even.centre).odd < 0.02
    assert max(even.read(seed).odd for seed in range(5)) < 0.12
    for weak in (0.7, 0.4):
        made = Made(star(2, 11.0), weights=np.array([1.0, weak]), sigma=0.8)
        half = (1 - weak) / (1 + weak)  # the odd part of each spot over its even part
        expected = half / np.sqrt(1 + half**2)
        assert read_pattern(made.clean, made.mask, made.centre).odd == pytest.approx(expected, abs=0.04)
        assert np.mean([made.read(seed).odd for seed in range(5)]) == pytest.approx(expected, abs=0.06)
        odd = odd_part(made.clean * 1e4, made.mask, made.centre)
        ky, kx, _ = grid(40, made.centre)
        strong, other = (float(odd[np.hypot(ky - g[0], kx - g[1]) < 3].sum()) for g in made.g)
        assert strong == pytest.approx(0.7e4 * half / 2, rel=0.05)
        assert other == pytest.approx(-strong, rel=0.05)


def test_a_halo_under_noise_has_hardly_a_false_spot() -> None:
    ring = Made(star(1, 9), halo=1.0)
    for counts, most in ((1000, 3), (COUNTS, 3), (20000, 3)):
        false = [len(find_spots(ring.draw(seed, counts), ring.mask, ring.centre)[0]) for seed in range(100)]
        assert sum(false) <= most
        assert max(false) <= 1
    large = Made(star(1, 9), 128, (63.2, 64.1), halo=1.0)
    assert find_spots(large.clean.astype(np.float32), large.mask, large.centre)[0] == ()


def test_known_noise_raises_the_threshold() -> None:
    made = Made(star(4, 11.3))
    assert len(made.read(0).spots) == 4
    assert read_pattern(made.draw(0), made.mask, made.centre, noise=100.0).spots == ()
    image = np.sqrt(np.maximum(made.clean * COUNTS, 0.1))
    assert len(read_pattern(made.draw(0), made.mask, made.centre, noise=image).spots) == 4


def test_nothing_is_found_at_masked_pixels_or_outside_the_inscribed_circle() -> None:
    g = np.array([[6.0, 5.0], [13.0, 13.0], [0.0, 15.4], [-4.0, 1.0]])
    made = Made(g)
    ky, kx, radius = grid(40, made.centre)
    mask = (radius < 15.5) | (radius > 17.5)  # the second spot beyond the circle is kept, the third cut through
    mask &= np.hypot(ky + 4, kx - 1) > 1.5  # only the wings of the fourth
    spots = read_pattern((made.clean * 1e4).astype(np.float32), mask & (radius >= 3), made.centre).spots
    assert [(round(s.ky), round(s.kx)) for s in spots] == [(6, 5)]


def test_rings_are_found_with_their_radius_height_and_width() -> None:
    centre = (31.2, 32.3)
    _, _, radius = grid(64, centre)
    made = 5 * np.exp(-((radius - 13.4) ** 2) / (2 * 1.7**2)) + 2 * np.exp(-((radius - 23.7) ** 2) / (2 * 1.5**2)) + 1.0
    mask = radius > 4
    noisy = np.random.default_rng(0).poisson(20 * made) / 20
    for image in (made, noisy):
        reading = read_pattern(image, mask, centre)
        assert [ring.radius for ring in reading.rings] == pytest.approx([13.4, 23.7], abs=0.2)
        assert [ring.height for ring in reading.rings] == pytest.approx([5, 2], rel=0.1)
        assert [ring.width for ring in reading.rings] == pytest.approx([2.355 * 1.7, 2.355 * 1.5], rel=0.1)
        assert reading.spots == ()
    assert len(reading.radii) == len(reading.profile) == len(reading.spread)
    inner = np.abs(reading.radii - 7) < 1.5  # even there: what scatters is the noise
    assert reading.spread[inner] == pytest.approx(np.sqrt(reading.profile[inner] / 20), rel=0.3)


def test_spacings_in_every_unit() -> None:
    wavelength = wavelength_nm(300)
    assert d_spacing(10, 0.25, "1/nm") == pytest.approx(0.4)
    # both units of the same detector
    assert d_spacing(10, 0.25 * wavelength * 1e3, "mrad", wavelength) == pytest.approx(0.4)
    assert d_spacing(8.7, 1.0, "mrad", wavelength) == pytest.approx(0.226, abs=0.001)
    assert d_spacing(10, 1.0, "mrad") is None
    assert d_spacing(10, 1.0, "px", wavelength) is None
    assert d_spacing(0, 0.25, "1/nm") is None


def test_the_angle_needs_two_directions_and_pairs_go_first() -> None:
    def spot(ky: float, kx: float, friedel: bool) -> Spot:
        return Spot(ky, kx, float(np.hypot(ky, kx)), float(np.rad2deg(np.arctan2(ky, kx)) % 360), 1.0, 9.0, friedel)

    pairs = (spot(0.2, 8, True), spot(0.2, -8, True), spot(9.3, 0, True), spot(-8.7, 0, True))
    assert angle_between(()) is None
    assert angle_between(pairs[:2]) is None
    assert angle_between(pairs) == pytest.approx(90)  # the centre's error of (0.2..0.3, 0) is gone
    assert angle_between((spot(3, 3, False), *pairs)) == pytest.approx(90)
    assert angle_between((spot(3, 3, False), *pairs[:2])) == pytest.approx(45, abs=2)  # one direction of pairs


def test_averaging_over_the_turns_lowers_the_noise_and_passes_over_masked_pixels() -> None:
    made = Made(np.concatenate([star(4, 8.2), star(4, 13.1, start=40.0)]))
    noisy = made.draw(0) * made.mask
    out = symmetrised(noisy, made.mask, made.centre, 4)
    truth = made.clean * COUNTS
    assert out.dtype == np.float32
    assert not out[~made.mask].any()
    assert np.linalg.norm((out - truth)[made.mask]) < 0.7 * np.linalg.norm((noisy - truth)[made.mask])
    assert read_pattern(out, made.mask, made.centre).symmetry[4] > 0.97
    assert symmetrised(noisy, made.mask, made.centre, 1) == pytest.approx(noisy)

    ky, kx, _ = grid(40, made.centre)
    mask = made.mask & (np.hypot(ky - made.g[0, 0], kx - made.g[0, 1]) > 3)  # one spot of four hidden
    hidden = symmetrised(truth * mask, mask, made.centre, 4)
    for g in made.g[1:4]:
        near = np.hypot(ky - g[0], kx - g[1]) < 2
        assert hidden[near].sum() == pytest.approx(truth[near].sum(), rel=0.05)


def test_nothing_to_read_gives_nothing() -> None:
    mask = grid(40, (19.5, 19.5))[2] < 18
    cases = [
        (np.zeros((40, 40), np.float32), mask),
        (np.ones((40, 40), np.float32), mask),
        (np.ones((40, 40), np.float32), np.zeros_like(mask)),
    ]
    for pattern, kept in cases:
        reading = read_pattern(pattern, kept, (19.5, 19.5))
        assert reading.spots == ()
        assert reading.rings == ()
        assert reading.angle_between is None
        assert fold_of(reading.symmetry) == 1
        assert reading.odd == 0
        assert reading.symmetry == {2: 0, 3: 0, 4: 0, 6: 0}
        assert not reading.spread.any()
        assert len(reading.radii) == len(reading.profile)
        assert bool(len(reading.radii)) == bool(kept.any())
    assert not symmetrised(np.ones((40, 40)), np.zeros_like(mask), (19.5, 19.5), 4).any()


def test_a_single_ring_of_pixels_is_read() -> None:
    made = Made(star(4, 10.0), centre=(19.5, 19.5))
    mask = np.abs(grid(40, made.centre)[2] - 10) < 0.6
    reading = read_pattern(made.clean * 1e4, mask, made.centre)
    assert reading.rings == ()
    assert reading.spots == ()  # every peak touches the mask
    assert fold_of(reading.symmetry) in {1, 4}
    assert np.isfinite(reading.profile).all()
    assert np.all(np.abs(reading.radii - 10) < 2)


def test_what_cannot_be_read_is_refused() -> None:
    mask = np.ones((8, 8), bool)
    with pytest.raises(DataError, match="pattern"):
        read_pattern(np.zeros((8, 9)), mask, (3.5, 3.5))
    with pytest.raises(DataError, match="finite"):
        read_pattern(np.full((8, 8), np.nan), mask, (3.5, 3.5))
    with pytest.raises(SettingError, match="fold"):
        symmetrised(np.zeros((8, 8)), mask, (3.5, 3.5), 0)
