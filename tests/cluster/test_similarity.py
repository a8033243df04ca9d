"""All pairs of patterns compared at once."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.cluster import radial, similarity
from stem4d_panel.cluster.polar import correlate, norms, rotate_pattern, spectra, to_polar, turned
from stem4d_panel.cluster.radial import band_limit, multiplicity, powers, reduced
from stem4d_panel.cluster.similarity import between, pairwise, preview
from stem4d_panel.errors import SettingError

N, CENTRE = 40, (19.5, 19.5)
KY, KX = np.mgrid[:N, :N] - 19.5
MASK = (np.hypot(KY, KX) >= 3) & (np.hypot(KY, KX) <= 19)


def images(count: int = 14, seed: int = 0) -> np.ndarray:
    """Lopsided patterns of a few spots with noise, so that every rotation is the only one."""
    rng = np.random.default_rng(seed)
    out = np.zeros((count, N, N))
    for image in out:
        for radius, angle in zip(rng.uniform(6, 16, 5), rng.uniform(0, 2 * np.pi, 5), strict=True):
            spot = (KY - radius * np.sin(angle)) ** 2 + (KX - radius * np.cos(angle)) ** 2
            image += rng.uniform(0.3, 1) * np.exp(-spot / 4)
        image += 0.1 * rng.random((N, N))
    return np.where(MASK, out, 0).astype(np.float32)


def spectrum_of(patterns: np.ndarray) -> tuple[np.ndarray, int]:
    polar = to_polar(patterns, MASK, CENTRE)
    return spectra(polar, "ring"), polar.values.shape[2]


def apart(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
    """Distances of angles in degrees."""
    return np.abs((np.asarray(a) - b + 180) % 360 - 180)


@pytest.mark.parametrize("many", [0, 500], ids=["fewer coordinates", "all radii"])
@pytest.mark.parametrize("edge", [3, 64], ids=["many tiles", "one tile"])
@pytest.mark.parametrize("counts", [0, 1000], ids=["smooth", "counted"])
def test_the_matrix_is_correlate_row_by_row(counts: int, edge: int, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "EDGE", edge)
    monkeypatch.setattr(similarity, "MANY", many)
    patterns = images()
    if counts:
        share = patterns / patterns.sum(axis=(1, 2), keepdims=True)
        patterns = np.random.default_rng(5).poisson(counts * share).astype(np.float32)
    spectrum, angles = spectrum_of(patterns)
    found, rotations = pairwise(spectrum, angles)
    both = between(spectrum[:5], spectrum, angles)
    for i, one in enumerate(spectrum):
        expected, turns = correlate(one, spectrum, angles)
        np.testing.assert_allclose(found[i], expected, atol=1e-5)
        assert apart(rotations[i], turns).max() < 0.01
        if i < 5:
            np.testing.assert_allclose(both[0][i], expected, atol=1e-5)
            assert apart(both[1][i], turns).max() < 0.01
    np.testing.assert_array_equal(found, found.T)
    assert apart(rotations, -rotations.T).max() < 1e-9
    assert ((rotations >= 0) & (rotations < 360)).all()


def test_the_order_of_the_patterns_is_the_order_of_the_matrix() -> None:
    spectrum, angles = spectrum_of(images())
    order = np.random.default_rng(1).permutation(len(spectrum))
    found, rotations = pairwise(spectrum, angles)
    other, turns = pairwise(spectrum[order], angles)
    np.testing.assert_allclose(other, found[np.ix_(order, order)], atol=1e-6)
    assert apart(turns, rotations[np.ix_(order, order)]).max() < 0.01


@pytest.mark.parametrize("degrees", [33.0, 90.0, 207.5])
def test_turning_a_pattern_changes_its_rotation_alone(degrees: float) -> None:
    """Exact to rounding where the spectrum is turned; to .03 where the image is, which interpolates its noise too."""
    patterns = images()
    spectrum, angles = spectrum_of(patterns)
    found, rotations = pairwise(spectrum, angles)
    moved = spectrum.copy()
    moved[3] = turned(spectrum[3], degrees)
    again, turns = pairwise(moved, angles)
    np.testing.assert_allclose(again, found, atol=2e-3)  # the parabola between samples
    others = np.arange(len(spectrum)) != 3
    assert apart(turns[others, 3], rotations[others, 3] + degrees).max() < 0.3
    patterns[3] = rotate_pattern(patterns[3], MASK, CENTRE, degrees)
    np.testing.assert_allclose(pairwise(spectrum_of(patterns)[0], angles)[0], found, atol=0.03)


def test_equal_patterns_are_1_at_rotation_0_and_empty_ones_are_like_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = images(5)
    patterns[1], patterns[4] = patterns[0], 0
    spectrum, angles = spectrum_of(patterns)
    found, rotations = pairwise(spectrum, angles)
    assert found[0, 1] == pytest.approx(1, abs=1e-6)
    assert apart(rotations[0, 1], 0) < 0.01
    np.testing.assert_array_equal(np.diag(found), [1, 1, 1, 1, 0])
    assert (np.diag(rotations) == 0).all()
    assert (found[4] == 0).all()
    assert np.isfinite(rotations).all()
    fast = preview(spectrum, angles)
    assert (fast.similarity[4] == 0).all()
    assert np.isfinite(fast.error)
    for many in (500, 0):
        monkeypatch.setattr(similarity, "MANY", many)
        assert (pairwise(np.zeros_like(spectrum), angles)[0] == 0).all()
        np.testing.assert_array_equal(np.diag(pairwise(spectrum, angles)[0]), [1, 1, 1, 1, 0])
    monkeypatch.undo()
    assert pairwise(spectrum[:0], angles)[0].shape == (0, 0)


def test_a_matrix_beyond_the_limit_is_refused_with_both_numbers() -> None:
    spectrum, angles = spectrum_of(images(5))
    assert pairwise(spectrum, angles, limit=16 * 25)[0].shape == (5, 5)
    with pytest.raises(SettingError, match=r"^patterns: 5 .* takes 4$"):
        pairwise(spectrum, angles, limit=16 * 25 - 1)
    with pytest.raises(SettingError, match=r"^patterns: 5 .* takes 4$"):
        preview(spectrum, angles, limit=16 * 25 - 1)


def test_powers_add_up_to_the_norms_and_the_band_limit_holds_all_but_what_is_neglected() -> None:
    spectrum, angles = spectrum_of(images())
    power = powers(spectrum, angles)
    np.testing.assert_allclose(np.sqrt(power.sum(axis=1)), norms(spectrum, angles), rtol=1e-5)
    for neglected in (1e-7, 1e-3):
        kept = band_limit(power, neglected)
        lost = power[:, kept:].sum(axis=1) / power.sum(axis=1)
        assert lost.max() <= neglected
        assert (power[:, kept - 1 :].sum(axis=1) / power.sum(axis=1)).max() > neglected
    assert band_limit(powers(spectrum, angles), 1e-3) < spectrum.shape[1]


def rejoined(runs: list[np.ndarray]) -> np.ndarray:
    """Norms and scalar products do not depend on the coordinates, so runs may be laid side by side."""
    widest = max(run.shape[2] for run in runs)
    return np.concatenate([np.pad(run, ((0, 0), (0, 0), (0, widest - run.shape[2]))) for run in runs]).swapaxes(0, 1)


@pytest.mark.parametrize("neglected", [1e-6, 1e-3])
def test_fewer_coordinates_hold_all_but_what_is_neglected_of_every_pattern(neglected: float) -> None:
    spectrum, angles = spectrum_of(images(60))
    power = powers(spectrum, angles)
    runs = reduced(spectrum, power, angles, neglected)
    assert sum(run.shape[0] * run.shape[2] for run in runs) < 0.7 * spectrum.shape[1] * spectrum.shape[2]
    low, kept = rejoined(runs), sum(len(run) for run in runs)
    lost = 1 - powers(low, angles).sum(axis=1) / power.sum(axis=1)
    assert -1e-6 < lost.min()
    assert lost.max() <= neglected + 1e-7
    assert lost.max() > neglected / 10  # no more is kept than is needed
    weights, sizes = multiplicity(spectrum.shape[1], angles) / angles, np.sqrt(power.sum(axis=1))
    whole = np.einsum("amr,bmr,m->abm", spectrum.conj(), spectrum, weights, optimize=True)
    whole[:, :, :kept] -= np.einsum("amr,bmr,m->abm", low.conj(), low, weights[:kept], optimize=True)
    assert (np.abs(whole.sum(axis=2)) / np.outer(sizes, sizes)).max() < neglected + 1e-6


def test_a_rare_pattern_is_compared_as_exactly_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that no sample holds: its rings and harmonics are those of no other pattern."""
    monkeypatch.setattr(radial, "SAMPLE", 5)
    monkeypatch.setattr(similarity, "MANY", 0)
    spectrum, angles = spectrum_of(images(12))
    spectrum[:, 40:] = 0
    spectrum[:, :, :8] = 0
    spectrum[7] = 0
    spectrum[7, 20:70, :8] = np.random.default_rng(2).standard_normal((50, 8)) * (1 + 1j)
    spectrum[7] *= norms(spectrum[:1], angles)[0] / norms(spectrum[7:8], angles)[0]
    spectrum[9] += spectrum[7]
    found, _ = pairwise(spectrum, angles)
    for i, one in enumerate(spectrum):
        np.testing.assert_allclose(found[i], correlate(one, spectrum, angles)[0], atol=1e-5)
    assert found[7, 9] > 0.3


def test_the_matrix_does_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "EDGE", 5)
    monkeypatch.setattr(similarity, "MANY", 0)
    spectrum, angles = spectrum_of(images(23))
    monkeypatch.setenv("STEM4D_THREADS", "3")
    many = *pairwise(spectrum, angles), preview(spectrum, angles).similarity
    monkeypatch.setenv("STEM4D_THREADS", "1")
    for one, other in zip((*pairwise(spectrum, angles), preview(spectrum, angles).similarity), many, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("many", [0, 500], ids=["fewer coordinates", "all radii"])
def test_harmonics_that_hold_nothing_may_be_missing(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "MANY", many)
    spectrum, angles = spectrum_of(images())
    spectrum[:, 60:] = 0
    spectrum[:, 16:24] = 0  # a run of harmonics between others
    found, _ = pairwise(spectrum, angles)
    for i, one in enumerate(spectrum):
        np.testing.assert_allclose(found[i], correlate(one, spectrum, angles)[0], atol=1e-5)


def test_the_preview_says_how_far_it_is_off() -> None:
    spectrum, angles = spectrum_of(images(40))
    exact, rotations = pairwise(spectrum, angles)
    fast = preview(spectrum, angles)
    assert fast.checked == 40 * 39 // 2
    assert fast.error == pytest.approx(np.abs(fast.similarity - exact).max(), abs=1e-6)  # all pairs are checked here
    assert fast.error < 0.03
    sure = (exact > 0.6) & ~np.eye(40, dtype=bool)
    assert np.median(apart(fast.rotations, rotations)[sure]) < 0.2
    coarse = preview(spectrum, angles, harmonics=12, rank=3)
    assert coarse.error > 3 * fast.error
