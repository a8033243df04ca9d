"""Detector pixels that are left out: beam stops, clipped pixels, and that every later step sees the same mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import SettingError
from stem4d_panel.prepare.masks import Masks, polygon_pixels, saturated_pixels, shadow_pixels
from stem4d_panel.prepare.survey import survey_steps
from stem4d_panel.results.provenance import describe_preparation
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.scan import Scan


def test_a_polygon_holds_the_pixels_whose_centre_is_inside() -> None:
    box = polygon_pixels("1.5,2.5 1.5,6.5 4.5,6.5 4.5,2.5", (8, 10))
    expected = np.zeros((8, 10), bool)
    expected[2:5, 3:7] = True
    np.testing.assert_array_equal(box, expected)
    both = polygon_pixels("1.5,2.5 1.5,6.5 4.5,6.5 4.5,2.5; 5.5,0 7.5,0 7.5,1.5 5.5,1.5", (8, 10))
    expected[6:8, :2] = True
    np.testing.assert_array_equal(both, expected)
    y, x = np.indices((8, 10))
    np.testing.assert_array_equal(polygon_pixels("0,0 8,0 8,8", (8, 10)), x < y)


@pytest.mark.parametrize("text", ["0,0 9,0 9,9", "0,0 0,11 5,5", "1.2,1.2 1.3,1.2 1.3,1.3"])
def test_a_polygon_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^prepare\.beam_stop: '"):
        polygon_pixels(text, (8, 10))


def stopped(scan: Scan) -> tuple[Scan, np.ndarray]:
    """The scan with the shadow of a needle that lets a twentieth of the counts through."""
    shadow = np.zeros(scan.detector_shape, bool)
    shadow[18:22, 21:] = True
    counts = np.where(shadow, np.random.default_rng(0).binomial(scan.data, 0.05), scan.data).astype(np.uint16)
    return replace(scan, data=counts), shadow


def test_the_shadow_of_a_beam_stop_is_found_and_left_out(small: Scan) -> None:
    scan, shadow = stopped(small)
    frames = Analysis(scan, cache=Cache(), prepare__beam_stop="below 0.3", prepare__bin=1).frames
    out = frames.look.masks.out
    ky, kx = np.indices(out.shape)
    lit = np.hypot(ky - 15.5, kx - 15.5) < 13  # farther out hardly a count falls with or without it
    assert out[shadow & lit].all()
    assert out.sum() <= shadow.sum() + 2 * (4 + 11)  # and a rim of a pixel
    assert not frames.mask[shadow & lit].any()
    told = describe_preparation(frames)
    assert told["pixels_masked"] == {"beam stop": int(out.sum())}


def test_without_a_beam_stop_no_shadow_is_found(glass: Scan) -> None:
    look = Analysis(glass, prepare__beam_stop="below 0.3").look
    assert look.masks.out.sum() < 0.001 * look.masks.out.size


def test_noise_is_no_shadow() -> None:
    mean = np.random.default_rng(0).poisson(20, (64, 64)) / 20
    assert not shadow_pixels(mean, (31.5, 31.5), 0.3, 20).any()
    assert not shadow_pixels(mean / 50, (31.5, 31.5), 0.3, 20).any()


@pytest.mark.parametrize("factor", [1, 2])
def test_a_polygon_is_left_out_wherever_frames_read_it(small: Scan, factor: int) -> None:
    text = "17.5,20.5 17.5,31.5 21.5,31.5 21.5,20.5"
    one, two = (d.astype(np.uint16) for d in (small.data, small.data))
    two = two.copy()
    two[:, :, 18:22, 21:] = 300
    rows = []
    for data in (one, two):
        scan = replace(small, data=data)
        frames = Analysis(scan, cache=Cache(), prepare__beam_stop=text, prepare__bin=factor).frames
        rows.append(frames)
    assert rows[0].look.masks.counts == {"beam stop": 44}
    np.testing.assert_array_equal(rows[0].mask, rows[1].mask)
    np.testing.assert_allclose(rows[0].matrix, rows[1].matrix, rtol=1e-5)


def clipped(level: int | None, top: int = 65535, dose: float = 1.0) -> Scan:
    """A bright disc and a halo, clipped at a level."""
    k = np.arange(32)
    radius = np.hypot(k[:, None] - 15.5, k - 15.5)
    expected = dose * (300 * np.exp(-((radius / 3) ** 4)) + 4 * np.exp(-(((radius - 9) / 3) ** 2)))
    counts = np.random.default_rng(0).poisson(np.broadcast_to(expected, (20, 20, 32, 32)))
    dtype = np.uint8 if top == 255 else np.uint16
    return Scan.from_array(np.minimum(counts, level if level is not None else top).astype(dtype))


@pytest.mark.parametrize(("level", "top"), [(200, 65535), (None, 255), (180, 255)])
def test_clipped_pixels_are_found_told_and_left_out(level: int | None, top: int) -> None:
    scan = clipped(level, top)
    survey = finish(survey_steps(scan))
    pixels, found = saturated_pixels(survey, 255.0 if top == 255 else 65535.0, 400)
    assert found == (level or top)
    np.testing.assert_array_equal(pixels, scan.data.max((0, 1)) == (level or top))
    kept = Analysis(scan, cache=Cache(), prepare__bin=1).look
    assert any("prepare.saturated=mask" in w for w in kept.warnings)
    assert not kept.masks.out.any()
    left = Analysis(scan, cache=Cache(), prepare__bin=1, prepare__saturated="mask").look
    np.testing.assert_array_equal(left.masks.out, pixels)
    assert left.masks.counts == {"saturated": int(pixels.sum())}


@pytest.mark.parametrize("dose", [0.001, 0.01, 0.1, 1.0, 30.0])
def test_counts_that_are_not_clipped_are_not_called_so(dose: float) -> None:
    look = Analysis(clipped(None, dose=dose), cache=Cache()).look
    assert not any("clipped" in w for w in look.warnings)


def test_reasons_are_counted() -> None:
    one, two = np.zeros((2, 4, 4), bool)
    one[0, :2], two[0, 1:3] = True, True
    masks = Masks.none((4, 4)).also("first", one).also("second", two).also("nothing", np.zeros((4, 4), bool))
    assert masks.counts == {"first": 2, "second": 2}
    np.testing.assert_array_equal(masks.out, one | two)
