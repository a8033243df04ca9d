"""The built-in sample: reproducible, and what its truth says is in its data."""

import hashlib

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from stem4d_panel.errors import SettingError
from stem4d_panel.scan.sample import sample_scan

CENTRE = 47.5
STEP = 0.22  # 1/nm
# reflection from which the rotation is counted: its |g| in 1/nm and the pattern's symmetry, worked out by hand
REFERENCE = {
    "CuZr B2 [001]": (np.sqrt(2) / 0.326, 4),
    "CuZr B2 [111]": (np.sqrt(2) / 0.326, 6),
    "CuZr2 C11b [110]": (6 / 1.118, 2),
}


@pytest.fixture(scope="module")
def scan():
    return sample_scan(0)


@pytest.fixture(scope="module")
def bright():
    """Enough electrons that noise does not hide a fault."""
    return sample_scan(5, electrons=20_000)


@pytest.fixture(scope="module")
def glass():
    return sample_scan(0, crystals=0, electrons=5000)


def radius():
    ky, kx = np.indices((96, 96)) - CENTRE
    return np.hypot(ky, kx)


def digest(scan):
    return hashlib.sha256(scan.data.tobytes()).hexdigest()


def test_form_and_calibration(scan):
    assert scan.shape == (64, 64, 96, 96)
    assert scan.dtype == np.uint16
    assert [a.units for a in scan.axes] == ["nm", "nm", "1/nm", "1/nm"]
    assert {a.origin for a in scan.axes} == {"file"}
    assert scan.instrument == {"voltage": 300, "convergence": 1}
    assert scan.name == "sample (seed 0)"
    assert scan.axes[0].scale == scan.truth.scan_step
    assert scan.axes[2].offset + scan.axes[2].scale * CENTRE == pytest.approx(0)


def test_the_seed_decides_whatever_the_threads(scan, bright, monkeypatch):
    found = set()
    for threads in ("1", "2"):
        monkeypatch.setenv("STEM4D_THREADS", threads)
        found.add(digest(sample_scan(0)))
    assert found == {digest(scan)}
    assert bright.truth.crystals[0] != scan.truth.crystals[0]


def test_counts_are_the_electrons(scan, bright):
    for made, electrons in ((scan, 400), (bright, 20_000)):
        clean = made.data.copy()
        clean[:, :, *made.truth.hot_pixels.T] = 0
        assert clean.sum((2, 3)).mean() == pytest.approx(electrons, rel=0.01)


def test_noise_is_that_of_counting(bright):
    """All electrons are counted, so that a pattern's sum varies by counting alone: the variance is the mean."""
    sums = bright.data.sum((2, 3), dtype=float)
    assert sums.var() == pytest.approx(sums.mean(), rel=0.12)


def test_descan_is_where_the_direct_beam_is(bright):
    window = slice(38, 58)
    beam = bright.data[:, :, window, window].astype(float) * (radius()[window, window] < 7)
    place = np.arange(96)[window] - CENTRE
    total = beam.sum((2, 3))
    found = np.stack([(beam.sum(3) @ place) / total, (beam.sum(2) @ place) / total])
    # the background is cut by the window and pulls towards its middle: a few per cent of the excursion
    assert np.abs(found - bright.truth.descan).max() < 0.1
    assert np.abs(bright.truth.descan).max(axis=(1, 2)) == pytest.approx([1.2, 1.2])
    for axis in (0, 1):
        slope, _ = np.polyfit(bright.truth.descan[axis].ravel(), found[axis].ravel(), 1)
        assert slope == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("which", ["scan", "bright", "glass"])
def test_hot_pixels_stand_out_from_their_neighbours(which, request):
    made = request.getfixturevalue(which)
    mean = made.data.mean((0, 1)) + 0.01  # the corners are all but empty
    padded = np.pad(mean, 1, mode="reflect")
    around = np.max([padded[1 + i : 97 + i, 1 + j : 97 + j] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j], axis=0)
    brightest = np.argsort((mean / around).ravel())[::-1][:5]
    assert {tuple(p) for p in made.truth.hot_pixels} == {divmod(p, 96) for p in brightest}


def crystal_pattern(scan, index):
    """The mean pattern where a crystal is thick and alone, less that of the glass, moved back by whole pixels."""
    truth = scan.truth
    alone = np.delete(truth.chord, index, 0).sum(0) == 0
    thick = (truth.chord[index] > 0.6 * truth.chord[index].max()) & alone
    data = scan.data.copy()
    data[:, :, *truth.hot_pixels.T] = 0

    def mean(where):
        shifts = -np.round(truth.descan[:, where]).astype(int).T
        return np.mean([np.roll(p, s, (0, 1)) for p, s in zip(data[where], shifts, strict=True)], axis=0)

    return mean(thick) - mean(truth.chord.sum(0) == 0)


def test_rotation_is_the_angle_of_the_reference_spot(bright):
    for i, crystal in enumerate(bright.truth.crystals):
        pattern = crystal_pattern(bright, i)
        length, fold = REFERENCE[crystal.class_name]
        assert crystal.fold == fold
        angles = np.deg2rad(crystal.rotation + np.arange(-180, 180) / fold)
        ky, kx = (np.round(CENTRE + length / STEP * f(angles)).astype(int) for f in (np.sin, np.cos))
        ring = np.sum(
            [[pattern[y + a, x + b] for a in (-1, 0, 1) for b in (-1, 0, 1)] for y, x in zip(ky, kx, strict=True)],
            axis=1,
        )
        weight = np.maximum(ring - 0.5 * ring.max(), 0)
        off = np.arange(-180, 180) / fold
        assert abs(np.average(off, weights=weight)) < 2.5, crystal


def test_spots_grow_with_the_chord(bright):
    truth = bright.truth
    for i, chord in enumerate(truth.chord):
        if (truth.masks[i] & np.delete(truth.masks, i, 0).any(0)).any():
            continue
        pattern = crystal_pattern(bright, i) * (radius() > 12)
        spots = binary_dilation(pattern > 0.3 * pattern.max(), np.ones((3, 3)))
        counts = bright.data[:, :, spots].sum(2, dtype=float)
        assert np.corrcoef(counts[truth.masks[i]], chord[truth.masks[i]])[0, 1] > 0.85


@pytest.mark.parametrize("seed", range(6))
def test_crystals(seed):
    from stem4d_panel.scan.sample import _truth

    truth = _truth(np.random.default_rng(seed), 10)
    masks = truth.masks.reshape(10, -1).astype(int)
    overlaps = masks @ masks.T - np.diag(masks.sum(1))
    assert overlaps.max() > 15
    assert truth.chord.sum(0).max() < 15  # fits the foil
    kinds = [c.class_name for c in truth.crystals]
    assert set(kinds) == set(REFERENCE)
    assert min(kinds.count(k) for k in REFERENCE) >= 2
    assert all(5.8 <= c.diameter <= 8.2 for c in truth.crystals)
    for i, first in enumerate(truth.crystals):
        assert 0 <= first.rotation < 360 / first.fold
        assert truth.chord[i].max() == pytest.approx(first.diameter, rel=0.02)
        weight = truth.chord[i] / truth.chord[i].sum()
        assert [(weight * n).sum() * 0.55 for n in np.indices((64, 64))] == pytest.approx(first.centre, abs=0.1)
        for second in truth.crystals[:i]:
            if first.class_name == second.class_name:
                period = 360 / first.fold
                assert abs((first.rotation - second.rotation + period / 2) % period - period / 2) > 5


def test_glass_alone(glass):
    assert glass.truth.crystals == ()
    assert glass.truth.chord.shape == (0, 64, 64)
    data = glass.data.copy()
    data[:, :, *glass.truth.hot_pixels.T] = 0
    # the halo's first maximum is even around the ring and its speckle averages out over the scan
    mean = data.mean((0, 1))
    profile = [mean[(radius() >= r) & (radius() < r + 1)].mean() for r in range(10, 30)]
    assert (10.5 + np.argmax(profile)) * STEP == pytest.approx(4.26, abs=0.2)
    ring = (radius() > 18) & (radius() < 20.5) & (mean > 0)
    assert mean[ring].std() / mean[ring].mean() < 0.1
    # in one pattern it has a contrast of a few ten per cent beyond that of counting
    counts = data[:, :, ring].astype(float)
    contrast = np.sqrt(((counts.var((0, 1)) - counts.mean((0, 1))) / counts.mean((0, 1)) ** 2).mean())
    assert 0.25 < contrast < 0.55


def test_speckle_is_as_wide_as_the_probe_and_the_disc(glass):
    mean = glass.data.mean((0, 1))
    ring = np.argwhere((radius() > 18) & (radius() < 20.5))
    ring = np.array([p for p in ring if np.abs(glass.truth.hot_pixels - p).max(1).min() > 10])
    ky, kx = ring.T

    def covariance(scan_shift, detector_shift):
        first = glass.data[:, :, ky, kx] - mean[ky, kx]
        second = glass.data[:, :, ky, kx + detector_shift] - mean[ky, kx + detector_shift]
        return (first[:, : 64 - scan_shift] * second[:, scan_shift:]).mean()

    beside = covariance(1, 1)
    assert 0.1 < covariance(1, 3) / beside < 0.6
    assert 0.2 < covariance(2, 1) / beside < 0.7
    assert abs(covariance(6, 1) / beside) < 0.1
    assert abs(covariance(1, 9) / beside) < 0.2


@pytest.mark.parametrize(
    ("name", "value"), [("seed", -1), ("electrons", 0), ("electrons", float("nan")), ("crystals", -1), ("crystals", 99)]
)
def test_limits_are_named(name, value):
    with pytest.raises(SettingError, match=f"^{name}:"):
        sample_scan(**{name: value})


def test_a_crowded_field_ends():
    from stem4d_panel.scan.sample import MOST_CRYSTALS, _truth

    for count in (1, 2, 3, 4, MOST_CRYSTALS):
        assert len(_truth(np.random.default_rng(count), count).crystals) == count
