"""The preparation chain from scan to matrix and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.prepare.rolling import smooth_over_scan
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan

PLAIN: dict[str, Any] = {
    "prepare__centre": "off",
    "prepare__hot_pixels": "off",
    "prepare__mask_inner": 0.0,
    "prepare__mask_outer": 1e4,
    "prepare__bin": 1,
    "prepare__smooth": 0.0,
    "prepare__noise": "off",
}


def prepared(scan: Any, **changes: Any) -> Frames:
    return Analysis(scan, cache=Cache(), **changes).frames


def refusal(scan: Any, **changes: Any) -> str:
    with pytest.raises((SettingError, DataError)) as caught:
        prepared(scan, **changes)
    assert str(caught.value).isprintable()
    return str(caught.value)


def cube(frames: Frames) -> np.ndarray:
    """The matrix with its scaling undone, shape (y, x, ky, kx)."""
    out = np.zeros((*frames.scan_shape, *frames.detector_shape))
    rows = np.zeros((frames.matrix.shape[0], *frames.detector_shape))
    rows[:, frames.mask] = frames.matrix * frames.row_scale[:, None].astype(float) * frames.column_scale
    out[frames.positions] = rows
    return out


def test_with_everything_off_the_counts_stay_as_they_are(small: Scan) -> None:
    frames = prepared(small, **PLAIN)
    assert frames.is_counts
    assert frames.linear
    assert frames.mask.all()
    np.testing.assert_array_equal(cube(frames), small.data)
    np.testing.assert_allclose(frames.mean, small.data.mean((0, 1)), rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 3])
def test_binning_sums_counts(small: Scan, factor: int) -> None:
    frames = prepared(small, **{**PLAIN, "prepare__bin": factor})
    n = 32 // factor
    blocks = small.data[:, :, : n * factor, : n * factor].reshape(14, 18, n, factor, n, factor).sum((3, 5))
    np.testing.assert_array_equal(cube(frames), blocks)


def test_masked_pixels_are_absent_from_the_matrix(small: Scan) -> None:
    frames = prepared(small, prepare__mask_inner=5.0, prepare__mask_outer=12.0, prepare__bin=1)
    assert frames.matrix.shape == (frames.positions.sum(), frames.mask.sum())
    ky, kx = np.indices(frames.mask.shape)
    radius = np.hypot(ky - frames.centre[0], kx - frames.centre[1])
    np.testing.assert_array_equal(frames.mask, (radius >= 5) & (radius <= 12))
    assert frames.matrix.dtype == np.float32
    assert frames.matrix.flags.c_contiguous
    assert (frames.matrix >= 0).all()
    assert (frames.mean[~frames.mask] == 0).all()


def test_noise_scaling_is_undone_by_folding() -> None:
    rng = np.random.default_rng(0)
    a, p = rng.uniform(0.5, 5, (6, 7)), rng.uniform(0.1, 9, (8, 9))
    counts = a[:, :, None, None] * p
    frames = prepared(counts, **{**PLAIN, "prepare__noise": "keenan-kotula"})
    assert np.ptp(frames.row_scale) > 0.1
    assert np.ptp(frames.column_scale) > 0.1
    u, s, vt = np.linalg.svd(frames.matrix.astype(np.float64), full_matrices=False)
    maps, patterns = frames.fold_maps(np.abs(u[:, :1]) * s[0]), frames.fold_patterns(np.abs(vt[:1]))
    np.testing.assert_allclose(maps[0][:, :, None, None] * patterns[0], counts, rtol=1e-5)


def test_noise_scaling_evens_the_noise() -> None:
    rng = np.random.default_rng(0)
    expected = np.outer(rng.uniform(5, 60, 400), rng.uniform(0.2, 5, 80)).reshape(20, 20, 8, 10)
    counts = rng.poisson(expected).astype(np.uint16)
    frames = prepared(counts, **{**PLAIN, "prepare__noise": "keenan-kotula"})
    noise = frames.matrix - expected.reshape(400, 80) / frames.row_scale[:, None] / frames.column_scale
    assert np.ptp(np.log(noise.std(axis=0))) < 0.4
    raw = counts.reshape(400, 80) - expected.reshape(400, 80)
    assert np.ptp(np.log(raw.std(axis=0))) > 1


def test_the_square_root_is_labelled_as_not_additive(small: Scan) -> None:
    frames = prepared(small, **{**PLAIN, "prepare__noise": "sqrt"})
    np.testing.assert_allclose(cube(frames) ** 2, small.data, atol=1e-3)
    assert not frames.linear
    assert not frames.is_counts
    assert any("not additive" in w for w in frames.warnings)


def test_smoothing_keeps_a_constant_scan_constant() -> None:
    pattern = np.random.default_rng(0).uniform(1, 9, (8, 8)).astype(np.float32)
    frames = prepared(np.broadcast_to(pattern, (7, 9, 8, 8)), **{**PLAIN, "prepare__smooth": 1.7})
    np.testing.assert_allclose(cube(frames), np.broadcast_to(pattern, (7, 9, 8, 8)), rtol=1e-5)
    assert not frames.is_counts


def test_smoothing_is_a_gaussian_over_the_scan_alone() -> None:
    from scipy.ndimage import gaussian_filter

    data = np.random.default_rng(0).uniform(0, 1, (41, 39, 3)).astype(np.float32)
    inside = np.s_[8:-8, 8:-8]
    np.testing.assert_allclose(
        smooth_over_scan(data, 1.3)[inside], gaussian_filter(data, (1.3, 1.3, 0), truncate=6)[inside], atol=1e-3
    )


def test_smoothing_follows_from_probe_and_step(small: Scan) -> None:
    airy = 0.51 * 1.9687e-3 / 1.5e-3  # nm, FWHM at 300 kV and 1.5 mrad
    assert prepared(small).smooth == pytest.approx(0.8 * airy / 2.3548 / 0.5, rel=1e-3)
    wide = prepared(small, calibration__probe_size=2.3548)
    assert wide.smooth == pytest.approx(0.8 / 0.5)
    bare = prepared(Scan.from_array(small.data))
    assert bare.smooth == 1
    assert any("unknown" in w for w in bare.warnings)


def test_positions_without_counts_are_left_out_and_come_back_as_zeros(small: Scan) -> None:
    data = small.data.copy()
    data[3, 4:6], data[0, 0] = 0, 0
    frames = prepared(data, prepare__smooth=0.0)
    empty = np.zeros((14, 18), bool)
    empty[3, 4:6], empty[0, 0] = True, True
    np.testing.assert_array_equal(frames.positions, ~empty)
    assert frames.matrix.shape[0] == 14 * 18 - 3
    maps = frames.fold_maps(np.ones((len(frames.matrix), 2)))
    assert (maps[:, empty] == 0).all()
    assert (maps[:, ~empty] > 0).all()
    assert any("3 positions" in w for w in frames.warnings)


def test_pixels_without_counts_leave_the_mask(small: Scan) -> None:
    data = small.data.copy()
    data[:, :, 20:22] = 0
    frames = prepared(data, **{**PLAIN, "prepare__noise": "keenan-kotula"})
    assert not frames.mask[20:22].any()
    assert frames.mask.sum() == frames.matrix.shape[1] == 30 * 32
    assert np.isfinite(frames.matrix).all()


def test_normalised_patterns_have_equal_counts(small: Scan) -> None:
    frames = prepared(small, **{**PLAIN, "prepare__normalise": "position", "prepare__mask_inner": 5.0})
    sums = frames.matrix.sum(axis=1)
    np.testing.assert_allclose(sums, sums[0], rtol=1e-5)
    assert sums[0] == pytest.approx(small.data[:, :, frames.mask].sum() / (14 * 18), rel=1e-4)


def test_patterns_are_brought_to_one_centre(small: Scan) -> None:
    def wander(frames: Frames) -> float:
        ky, kx = np.indices(frames.mask.shape)
        weights = cube(frames) * (np.hypot(ky - frames.centre[0], kx - frames.centre[1]) < 5)
        return float(((weights * kx).sum((2, 3)) / weights.sum((2, 3))).mean(axis=0).std())

    plain = {**PLAIN, "prepare__centre": "off"}
    assert wander(prepared(small, **plain)) > 0.2
    assert wander(prepared(small, **{**plain, "prepare__centre": "plane"})) < 0.03


def test_axes_are_binned_with_their_zero_at_the_beam(small: Scan) -> None:
    for factor in (1, 2, 3):
        frames = prepared(small, prepare__bin=factor)
        for axis, centre, n in zip(frames.axes[2:], frames.centre, frames.mask.shape, strict=True):
            assert axis.size == n == 32 // factor
            assert axis.scale == pytest.approx(0.3 * factor)
            assert axis.offset + axis.scale * centre == pytest.approx(0)
            assert axis.units == "1/nm"
        assert centre_of_beam(frames.look.mean) == pytest.approx(
            [factor * c + (factor - 1) / 2 for c in frames.centre], abs=0.1
        )
        assert [(a.scale, a.units) for a in frames.axes[:2]] == [(0.5, "nm")] * 2


def centre_of_beam(image: np.ndarray) -> list[float]:
    ky, kx = np.indices(image.shape)
    weights = np.where(image > image.max() / 2, image, 0)
    return [float((weights * k).sum() / weights.sum()) for k in (ky, kx)]


def test_the_users_calibration_goes_before_the_files(small: Scan) -> None:
    frames = prepared(
        small,
        calibration__scan_step=0.8,
        calibration__detector_step=0.4,
        calibration__detector_units="mrad",
        prepare__bin=2,
    )
    assert [(a.scale, a.units, a.origin) for a in frames.axes] == [(0.8, "nm", "user")] * 2 + [
        (0.8, "mrad", "user")
    ] * 2


@pytest.mark.parametrize("given", [{"centre_ky": 13.0, "centre_kx": 17.0}, {"centre_ky": 13.0}, {"centre_kx": 17.0}])
def test_a_stated_centre_is_taken_and_the_movement_kept(small: Scan, given: dict[str, float]) -> None:
    found = prepared(small, prepare__bin=1)
    stated = prepared(small, prepare__bin=1, **{f"prepare__{k}": v for k, v in given.items()})
    expected = (given.get("centre_ky", found.centre[0]), given.get("centre_kx", found.centre[1]))
    assert stated.centre == pytest.approx(expected, abs=1e-3)
    moved = stated.look.descan.fitted - found.look.descan.fitted
    np.testing.assert_allclose(
        moved, np.broadcast_to((np.array(expected) - found.centre)[:, None, None], moved.shape), atol=0.02
    )


def test_a_hot_pixels_value_does_not_matter(small: Scan) -> None:
    one, two = small.data.copy(), small.data.copy()
    one[:, :, 8, 20], two[:, :, 8, 20] = 700, 3000
    for way in ("repair", "mask"):
        frames = [prepared(d, prepare__hot_pixels=way, prepare__bin=2) for d in (one, two)]
        assert [f.look.bad.hot.tolist() for f in frames] == [[[8, 20]]] * 2
        np.testing.assert_array_equal(frames[0].mask, frames[1].mask)
        np.testing.assert_allclose(frames[0].matrix, frames[1].matrix, rtol=1e-5)
        assert frames[0].mask[4, 10] == (way == "repair")
    kept = prepared(two, prepare__hot_pixels="off", prepare__bin=2)
    assert kept.look.bad.all.size == 0
    assert kept.mask[4, 10]


def test_values_that_are_not_finite_are_refused_with_their_place(small: Scan) -> None:
    data = small.data.astype(np.float32)
    data[5, 6, 7, 8] = np.nan
    text = refusal(Scan.from_array(data, name="holes"))
    assert text.startswith("holes: 1 values are not finite, the first at y=5, x=6, ky=7, kx=8")
    assert "prepare.nonfinite=mask" in text


def test_pixels_with_values_that_are_not_finite_can_be_left_out(small: Scan) -> None:
    data = small.data.astype(np.float32)
    full = prepared(data, **PLAIN)
    data[5, 6, 7, 8], data[0, 0, 20, 20] = np.nan, -np.inf
    frames = prepared(data, **PLAIN, prepare__nonfinite="mask")
    assert np.argwhere(full.mask & ~frames.mask).tolist() == [[7, 8], [20, 20]]
    assert np.isfinite(frames.matrix).all()
    np.testing.assert_array_equal(cube(frames)[:, :, frames.mask], small.data[:, :, frames.mask])
    moving = prepared(data, prepare__nonfinite="mask", prepare__bin=2)
    assert not moving.mask[3, 4]
    assert np.isfinite(moving.matrix).all()


def test_negative_values_are_set_to_zero_or_refused(small: Scan) -> None:
    data = small.data.astype(np.int32)
    data[2, 3, 4, 5] = -7
    frames = prepared(data, **PLAIN)
    assert cube(frames)[2, 3, 4, 5] == 0
    assert any("1 values below zero" in w for w in frames.warnings)
    assert "prepare.negative" in refusal(data, prepare__negative="refuse")


def test_a_scan_without_counts_is_refused() -> None:
    assert "no counts" in refusal(Scan.from_array(np.zeros((3, 3, 8, 8), np.uint8), name="dark"))


def test_descan_that_no_smooth_surface_follows_is_told() -> None:
    rng = np.random.default_rng(0)
    k = np.arange(32)
    jump = np.where(np.arange(16) % 4 < 2, -1.5, 1.5)
    disc = 60 / (1 + np.exp(4 * (np.hypot(k[:, None] - 15.5, k - 15.5 - jump[:, None, None]) - 3)))
    data = rng.poisson(np.broadcast_to(disc + 0.2, (10, 16, 32, 32))).astype(np.uint16)
    assert any("the fit is poor" in w for w in prepared(data).warnings)
    steady = rng.poisson(np.broadcast_to(disc[0] + 0.2, (10, 16, 32, 32))).astype(np.uint16)
    assert not any("the fit is poor" in w for w in prepared(steady).warnings)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"prepare__bin": 33}, "prepare.bin: 33"),
        ({"prepare__mask_inner": 3000.0}, "prepare.mask_inner: 3000"),
        ({"prepare__mask_inner": 9.0, "prepare__mask_outer": 8.0}, "prepare.mask_outer: 8"),
        ({"prepare__mask_outer": 1.0}, "prepare.mask_outer: 1"),
        ({"prepare__centre_ky": 32.0, "prepare__centre_kx": 3.0}, "prepare.centre_ky: 32"),
        ({"prepare__centre_kx": 500.0}, "prepare.centre_kx: 500"),
    ],
)
def test_what_does_not_fit_the_detector_is_refused_by_its_name(small: Scan, changes: dict[str, Any], name: str) -> None:
    assert refusal(small, **changes).startswith(name)


def test_the_size_of_the_blocks_does_not_matter(small: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepared(small, prepare__hot_pixels="mask")
    blocks = Scan.blocks

    def rows(self: Scan) -> Iterator[tuple[slice, np.ndarray]]:
        return blocks(self, 1)

    monkeypatch.setattr(Scan, "blocks", rows)
    assert len(list(small.blocks())) == 14
    parts = prepared(small, prepare__hot_pixels="mask")
    np.testing.assert_array_equal(parts.mask, whole.mask)
    np.testing.assert_allclose(parts.matrix, whole.matrix, rtol=1e-5, atol=1e-6)


def test_preparing_leaves_the_scan_alone(small: Scan) -> None:
    data = small.data.astype(np.float32)
    data[0, 0, 0, 0] = -1
    data[:, :, 3, 3] = 900
    before = data.copy()
    prepared(data)
    np.testing.assert_array_equal(data, before)


def test_descan_radii_and_hot_pixels_of_the_sample(glass: Scan) -> None:
    look = Analysis(glass).look
    truth = glass.truth
    assert truth is not None
    error = look.descan.fitted - (truth.descan + (np.array(glass.detector_shape) - 1)[:, None, None] / 2)
    assert np.sqrt(np.mean(error**2)) < 0.05
    assert sorted(look.bad.hot.tolist()) == sorted(truth.hot_pixels.tolist())
    assert look.bad.dead.size == 0


def test_a_radial_background_is_the_percentile_of_each_ring(small: Scan) -> None:
    plain = {**PLAIN, "prepare__smooth": 1.0, "prepare__mask_inner": 5.0}
    before, after = (
        cube(prepared(small, **plain, prepare__background=way, prepare__background_percentile=40.0))
        for way in ("off", "radial")
    )
    frames = prepared(small, **plain, prepare__background="radial")
    assert not frames.is_counts
    assert not frames.linear
    assert any("not additive" in w for w in frames.warnings)
    ky, kx = np.indices((32, 32))
    ring = np.round(np.hypot(ky - frames.centre[0], kx - frames.centre[1])).astype(int)
    at = frames.mask & (ring == 9)
    expected = np.maximum(before[3, 7, at] - np.percentile(before[3, 7, at], 40), 0)
    np.testing.assert_allclose(after[3, 7, at], expected, atol=1e-4)
    assert (after >= 0).all()
    assert after[:, :, at].mean() < 0.7 * before[:, :, at].mean()


def test_what_does_not_move_is_not_interpolated(small: Scan) -> None:
    for form in ("even", "cubic", "bilinear"):
        frames = prepared(small, **PLAIN, prepare__align=form)
        np.testing.assert_array_equal(cube(frames), small.data)


@pytest.mark.parametrize("form", ["even", "bilinear", "cubic", "integer", "fourier"])
def test_every_form_of_alignment_gives_frames(small: Scan, form: str) -> None:
    plain = {"prepare__ellipse": "off", "prepare__mask_inner": 7.0}  # beyond the ringing of phase ramps
    frames = prepared(small, prepare__align=form, **plain)
    assert np.isfinite(frames.matrix).all()
    assert (frames.matrix >= 0).all()
    reference = prepared(small, **plain)
    both = frames.mask & reference.mask
    lifted = 0.1 if form == "fourier" else 0.02  # what phase ramps leave below zero becomes zero
    assert frames.mean[both].sum() == pytest.approx(reference.mean[both].sum(), rel=lifted)


def test_a_stated_ellipse_is_corrected_unless_frames_are_only_moved(small: Scan) -> None:
    stated = {"prepare__ellipse": "given", "prepare__ellipse_ratio": 1.1, "prepare__ellipse_angle": 20.0}
    assert prepared(small, **stated).look.undistort == (1.1, 20.0)
    moved = prepared(small, **stated, prepare__align="fourier")
    assert moved.look.undistort is None
    assert any("prepare.align=fourier" in w for w in moved.warnings)
    assert prepared(small, prepare__ellipse="given").look.undistort is None
