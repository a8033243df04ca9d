"""Alignment and binning against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from stem4d_panel.prepare.align import NO_PIXELS, Resampler, align_and_bin, covered
from stem4d_panel.prepare.ellipse import stretch, undistorting_grid
from stem4d_panel.prepare.kernels import FORMS


def aligned(frames: np.ndarray, shifts: np.ndarray, factor: int, form: str = "bilinear") -> np.ndarray:
    n, ny, nx = frames.shape
    out = np.empty((n, ny // factor, nx // factor), np.float32)
    align_and_bin(frames.astype(np.float32), shifts.astype(np.float32), factor, out, form)
    return out


def reference(frames: np.ndarray, shifts: np.ndarray, factor: int) -> np.ndarray:
    """Bilinear shift by SciPy, then a sum over blocks."""
    n, ny, nx = frames.shape
    moved = np.stack(
        [
            ndimage.shift(f, -s, order=1, mode="grid-constant", prefilter=False)
            for f, s in zip(frames, shifts, strict=True)
        ]
    )
    moved = moved[:, : ny // factor * factor, : nx // factor * factor]
    return moved.reshape(n, ny // factor, factor, nx // factor, factor).sum((2, 4))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_equals_a_shift_and_a_block_sum(factor: int) -> None:
    rng = np.random.default_rng(factor)
    frames = rng.poisson(20, (12, 17, 14)).astype(np.float64)
    shifts = rng.uniform(-4, 4, (12, 2)).astype(np.float32).astype(np.float64)
    shifts[0], shifts[1], shifts[2] = 0, (-1, 2), (1.5, -2)
    np.testing.assert_allclose(aligned(frames, shifts, factor), reference(frames, shifts, factor), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_counts_inside_are_conserved(factor: int) -> None:
    rng = np.random.default_rng(3)
    frames = np.zeros((6, 18, 18))
    frames[:, 6:12, 6:12] = rng.poisson(50, (6, 6, 6))
    shifts = rng.uniform(-3, 3, (6, 2))
    np.testing.assert_allclose(aligned(frames, shifts, factor).sum((1, 2)), frames.sum((1, 2)), rtol=1e-5)


def test_a_frame_is_brought_back_by_its_own_displacement() -> None:
    y, x = np.mgrid[:24, :20]

    def blob(dy: float, dx: float) -> np.ndarray:
        return np.exp(-((y - 12 - dy) ** 2 + (x - 9 - dx) ** 2) / 18)

    out = aligned(np.stack([blob(2, -1)]), np.array([[2.0, -1.0]]), 1)[0]
    np.testing.assert_allclose(out[3:-3, 3:-3], blob(0, 0)[3:-3, 3:-3], atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("reach", [0.0, 0.4, 2.7])
def test_covered_pixels_are_those_that_miss_no_count(factor: int, reach: float) -> None:
    rng = np.random.default_rng(1)
    shifts = rng.uniform(-reach, reach, (9, 2))
    shifts[0] = 0
    full = aligned(np.ones((9, 16, 13)), shifts, factor) > factor**2 - 1e-3
    np.testing.assert_array_equal(covered((16, 13), shifts, factor), full.all(axis=0))


def test_whole_shifts_lose_only_whole_pixels() -> None:
    assert covered((8, 8), np.array([[1.0, 0.0], [0.0, -2.0]]), 1).sum() == 7 * 6


def warped(frames: np.ndarray, shifts: np.ndarray, grid: np.ndarray, factor: int, form: str) -> np.ndarray:
    shape = (frames.shape[1] // factor, frames.shape[2] // factor)
    rows = np.empty((len(frames), shape[0] * shape[1]), np.float32)
    resampler = Resampler(frames.shape[1:], factor, form, np.arange(rows.shape[1]), grid)
    total = np.zeros(shape)
    resampler.write(frames, shifts.astype(np.float32), rows, total, np.zeros(frames.shape[1:], bool), NO_PIXELS)
    np.testing.assert_allclose(total.ravel(), rows.sum(axis=0, dtype=np.float64), rtol=1e-5)
    return rows.reshape(-1, *shape)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_an_undistorted_grid_moves_as_the_fast_way_does(form: str, factor: int) -> None:
    rng = np.random.default_rng(factor)
    frames = rng.poisson(5, (8, 17, 14)).astype(np.uint16)
    shifts = rng.uniform(-4, 4, (8, 2)).astype(np.float32)
    shifts[0] = 0
    grid = np.indices((17, 14)).astype(np.float32)
    np.testing.assert_allclose(
        warped(frames, shifts, grid, factor, form), aligned(frames, shifts, factor, form), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("form", [*FORMS, "fourier"])
def test_every_form_brings_a_wide_blob_back(form: str) -> None:
    y, x = np.mgrid[:40, :36]

    def blob(dy: float, dx: float) -> np.ndarray:
        return 100 * np.exp(-((y - 20 - dy) ** 2 + (x - 17 - dx) ** 2) / 40)

    shifts = np.array([[1.3, -2.4], [-0.5, 0.5], [0.0, 3.0]])
    out = aligned(np.stack([blob(*s) for s in shifts]), shifts, 1, form)
    for frame in out:
        mass = frame / frame.sum()
        tolerance = 0.52 if form == "integer" else 0.02
        assert abs((mass * y).sum() - 20) < tolerance
        assert abs((mass * x).sum() - 17) < tolerance


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(20, 22), (17, 19)])
def test_whole_pixels_are_summed_exactly_whatever_is_left_out_or_mended(dtype: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    raw = rng.poisson(5, (40, *shape)).astype(dtype)
    if dtype[0] != "u":
        raw[3, 5, 6] = -7  # counts as nothing
    if dtype.startswith("f"):
        raw[4, 2, 3], raw[4, 9, 1] = np.nan, np.inf
    out_shape = (shape[0] // 2, shape[1] // 2)
    wanted = np.ones(out_shape, bool)
    wanted[3:5, 2:5] = wanted[0, :3] = False  # rows with a hole, and without their beginning
    kept, mended = np.flatnonzero(wanted), np.array([[8, 14]])
    bad = np.zeros(shape, bool)
    bad[8, 14] = True
    for shift in ((0, 0), (2, -3), (-1, 1)):
        rows, total = np.empty((40, len(kept)), np.float32), np.zeros(out_shape)
        shifts = np.tile(np.array(shift, np.float32), (40, 1))
        Resampler(shape, 2, "integer", kept).write(raw, shifts, rows, total, bad, mended)
        clean = np.where(np.isfinite(raw) & (raw > 0), raw, 0).astype(float)
        around = clean[:, 7:10, 13:16].sum((1, 2)) - clean[:, 8, 14]
        clean[:, 8, 14] = around / 8
        moved = np.zeros_like(clean)
        (y0, x0), (ny, nx) = shift, shape
        moved[:, max(0, -y0) : ny - max(0, y0), max(0, -x0) : nx - max(0, x0)] = clean[
            :, max(0, y0) : ny - max(0, -y0), max(0, x0) : nx - max(0, -x0)
        ]
        cut = moved[:, : out_shape[0] * 2, : out_shape[1] * 2]
        sums = cut.reshape(40, out_shape[0], 2, out_shape[1], 2).sum((2, 4))
        np.testing.assert_allclose(rows, sums[:, wanted], rtol=1e-6)
        np.testing.assert_allclose(total, np.where(wanted, sums.sum(0), 0), rtol=1e-6)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_even_form_blurs_and_keeps_noise_alike_at_any_phase(factor: int) -> None:
    phases = np.linspace(0, 1, 21)
    shifts = np.stack([phases, 0 * phases], axis=1)
    spike = np.zeros((21, 24, 24))
    spike[:, 12, 12] = 1

    def noise_and_width(form: str) -> tuple[np.ndarray, np.ndarray]:
        fine = aligned(spike, shifts, 1, form).sum(axis=2)
        place = (fine * np.arange(24)).sum(1)
        width = (fine * (np.arange(24) - place[:, None]) ** 2).sum(1)
        # variance that white noise keeps: squares of the weights of one binned pixel, which spikes at all places show
        rows = np.zeros((24, 24, 24))
        rows[np.arange(24), np.arange(24), :] = 1
        kept = [
            (aligned(rows, np.tile([[p, 0.0]], (24, 1)), factor, form)[:, 12 // factor, 4] ** 2).sum() for p in phases
        ]
        return np.array(kept), width

    even, bilinear = noise_and_width("even"), noise_and_width("bilinear")
    assert np.ptp(even[1]) < 1e-5
    assert np.ptp(bilinear[1]) > 0.2
    assert np.ptp(even[0]) / even[0].mean() < 0.5 * np.ptp(bilinear[0]) / bilinear[0].mean()


def test_an_ellipse_is_undone_and_counts_stay() -> None:
    y, x = np.indices((48, 50)) - np.array([23.4, 24.9])[:, None, None]
    middle = (23.4, 24.9)
    matrix = undistorting_grid((48, 50), middle, 1.1, 30.0)
    stretched = np.tensordot(np.linalg.inv(stretch(1.1, 30.0)), (y, x), 1)
    ring = 50 * np.exp(-(((np.hypot(*stretched) - 12) / 3) ** 2)).astype(np.float32)
    expected = 50 * np.exp(-(((np.hypot(y, x) - 12) / 3) ** 2))
    out = warped(ring[None], np.zeros((1, 2)), matrix, 1, "cubic")[0]
    np.testing.assert_allclose(out, expected, atol=0.5)
    assert np.abs(ring - expected).max() > 8
    assert out.sum() == pytest.approx(ring.sum(), rel=1e-3)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bent", [False, True])
def test_what_reads_a_pixel_left_out_or_the_edge_is_not_covered(form: str, factor: int, bent: bool) -> None:
    rng = np.random.default_rng(2)
    shape = (36, 34)
    shifts = np.concatenate([rng.uniform(-1.7, 1.7, (400, 2)), [[-1.7, -1.7], [1.7, 1.7]]]).astype(np.float32)
    out = np.zeros(shape, bool)
    out[9, 12], out[15, 4] = True, True
    grid = undistorting_grid(shape, (17.5, 16.5), 1.06, 40.0) if bent else np.indices(shape).astype(np.float32)
    kept = covered(shape, shifts, factor, form, out, grid if bent else None)
    ones = np.where(out, 0, 1).astype(np.uint16)
    spoilt = np.where(out, 5000, 1).astype(np.uint16)
    for image in (ones, spoilt):
        read = warped(np.broadcast_to(image, (402, *shape)), shifts, grid, factor, form)
        np.testing.assert_allclose(read[:, kept], factor**2, rtol=1e-4)
    assert kept.sum() > 0.35 * kept.size
