"""Virtual detectors against sums made frame by frame."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import DataError
from stem4d_panel.measure.virtual import Detector, Outline, draft_step, virtual_image
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


@pytest.fixture(scope="module")
def analysis(small: Scan) -> Analysis:
    return Analysis(small, Settings.make({"rank": 3}), cache=Cache())


@pytest.mark.parametrize("detector", [Detector(4.2, -3.1, 0, 3.5), Detector(0, 0, 5, 9), Detector(12, 12, 0, 30)])
def test_counts_on_the_detector_as_it_follows_the_beam(analysis: Analysis, small: Scan, detector: Detector) -> None:
    look, data = analysis.look, np.asarray(small.data)
    bad = look.bad.mask(data.shape[2:]) | look.masks.out
    ky, kx = np.indices(data.shape[2:])
    wanted = np.zeros(data.shape[:2])
    for y, x in np.ndindex(*wanted.shape):
        cy, cx = np.round(look.descan.fitted[:, y, x])
        on = np.hypot(ky - cy - detector.ky, kx - cx - detector.kx)
        wanted[y, x] = data[y, x][(on >= detector.inner) & (on <= detector.outer) & ~bad].sum()
    np.testing.assert_allclose(virtual_image(detector, data, look), wanted, rtol=1e-6)


def test_an_outline_counts_what_it_encloses_in_several_runs_of_a_row(analysis: Analysis, small: Scan) -> None:
    # a horseshoe, open downwards: the middle rows hold two runs
    corners = ((-6.5, -6.5), (-6.5, 6.5), (6.5, 6.5), (6.5, 3.5), (-3.5, 3.5), (-3.5, -3.5), (6.5, -3.5), (6.5, -6.5))
    outline = Outline(corners).moved(1.0, -2.0)
    ky, kx = np.indices((13, 13)) - 6
    shoe = np.ones((13, 13), bool)
    shoe[3:, 3:10] = False
    np.testing.assert_array_equal(outline.covers(ky + 1, kx - 2), shoe)
    look, data = analysis.look, np.asarray(small.data)
    good = ~(look.bad.mask(data.shape[2:]) | look.masks.out)
    wanted = np.zeros(data.shape[:2])
    for y, x in np.ndindex(*wanted.shape):
        cy, cx = np.round(look.descan.fitted[:, y, x]).astype(int)
        rows, columns = np.nonzero(shoe)
        rows, columns = rows - 6 + cy + 1, columns - 6 + cx - 2
        inside = (rows >= 0) & (rows < data.shape[2]) & (columns >= 0) & (columns < data.shape[3])
        rows, columns = rows[inside], columns[inside]
        wanted[y, x] = data[y, x][rows, columns][good[rows, columns]].sum()
    np.testing.assert_allclose(virtual_image(outline, data, look), wanted, rtol=1e-6)


def test_in_steps_it_sees_what_it_would_see_there(analysis: Analysis, small: Scan) -> None:
    detector, look, data = Detector(4.2, -3.1, 0, 3.5), analysis.look, np.asarray(small.data)
    for where in (data, object()):
        whole = virtual_image(detector, where, look, analysis.frames)
        for step in (2, 3, 5, 40):
            some = virtual_image(detector, where, look, analysis.frames, step)
            np.testing.assert_array_equal(some, whole[::step, ::step])


def test_a_draft_is_in_steps_where_the_whole_takes_many_pixels() -> None:
    disc = Detector(0, 0, 0, 10)  # 317 pixels
    assert draft_step(disc, (64, 64, 96, 96)) == 1
    assert draft_step(disc, (256, 256, 128, 128)) == 2
    assert draft_step(disc, (512, 512, 128, 128)) == 3
    assert draft_step(Detector(0, 0, 0, 30), (512, 512, 128, 128)) == 7
    assert draft_step(Detector(0.5, 0.5, 0, 0.1), (512, 512, 128, 128)) == 1  # nothing at all


def test_data_that_lie_elsewhere_are_taken_from_the_frames(analysis: Analysis, small: Scan) -> None:
    detector = Detector(0, 0, 5, 9)
    frames = analysis.frames
    image = virtual_image(detector, object(), analysis.look, frames)
    ky, kx = ((np.arange(n) - c) * frames.bin for n, c in zip(frames.detector_shape, frames.centre, strict=True))
    wanted = frames.unfolded()[:, :, detector.covers(ky[:, None], kx[None]) & frames.mask].sum(axis=-1)
    np.testing.assert_allclose(image, wanted, rtol=1e-4, atol=1e-3)
    raw = virtual_image(detector, np.asarray(small.data), analysis.look)
    assert np.corrcoef(image.ravel(), raw.ravel())[0, 1] > 0.9
    with pytest.raises(DataError, match=r"^virtual detector: needs the scan or its prepared frames in memory$"):
        virtual_image(detector, object(), analysis.look)
