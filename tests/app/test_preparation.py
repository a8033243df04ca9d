"""Pictures of what preparing found: patterns before and after, the beam's movement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sessions import run

from stem4d_panel.app.preparation import (
    LEFT,
    MAXIMUM,
    MEAN,
    MOVED,
    PREPARED,
    READ,
    VARIANCE,
    bad_pixels,
    beam,
    whole_pattern,
)
from stem4d_panel.app.session import Session
from stem4d_panel.app.showing import Shown
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


@pytest.fixture(scope="module")
def shown(small: Scan) -> Iterator[Shown]:
    data = np.array(small.data)
    data[:, :, 25, 6] = 4000  # a hot pixel
    scan = Scan.from_array(data, scan_step=0.5, detector_step=0.3, name="with a hot pixel")
    made = Session(scan, Settings.make({"rank": 4}), lambda then: then())
    made.start()
    run(made)
    yield made.shown
    made.close()


def test_patterns_before_and_after_preparing(shown: Shown) -> None:
    raw = np.asarray(shown.scan.data, np.float64)
    for mode, wanted in (
        (READ, raw.mean(axis=(0, 1))),
        (MAXIMUM, raw.max(axis=(0, 1))),
        (VARIANCE, raw.var(axis=(0, 1))),
    ):
        text, image, axes = whole_pattern(shown, mode)
        np.testing.assert_allclose(image, wanted, rtol=1e-4, atol=1e-4)
        assert text.endswith(", 1 hot or dead pixels marked")
        assert axes[0].size == 32
        (mark,) = bad_pixels(shown, mode)
        middle = (mark.min(axis=0) + mark.max(axis=0)) / 2
        assert middle == pytest.approx((axes[1].offset + 6 * axes[1].scale, -(axes[0].offset + 25 * axes[0].scale)))
    _, repaired, _ = whole_pattern(shown, MEAN)
    assert repaired[25, 6] < 10
    assert bad_pixels(shown, MEAN) == []
    _, image, axes = whole_pattern(shown, PREPARED)
    assert image.shape == (axes[0].size, axes[1].size) == shown.frames.mask.shape
    assert not image[~shown.frames.mask].any()


def test_arrows_point_where_the_beam_moves(shown: Shown) -> None:
    text, _, size, arrows = beam(shown, MOVED)  # it moves .06 px to +kx with each column, by nothing in the middle
    assert size.shape == (14, 18)
    assert size[7, 17] == pytest.approx(0.06 * 8.5, abs=0.1)
    assert size[7, 9] < 0.1
    assert "up to 0.5" in text
    x = shown.axes[1]
    for tail, tip in ((a[0], a[1]) for a in arrows):
        middle = (tail + tip)[0] / 2
        along = tip - tail
        if abs(middle - 8.5 * x.scale) > 3 * x.scale:
            assert abs(along[1]) < 0.3 * abs(along[0])
            assert (along[0] > 0) == (middle > 8.5 * x.scale)
    assert max(np.hypot(*(a[1] - a[0])) for a in arrows) == pytest.approx(
        0.95 * 2 * x.scale, rel=1e-3
    )  # two positions a cell


def test_what_the_fit_leaves_is_shown_with_its_noise_and_a_missing_beam_is_said(shown: Shown) -> None:
    text, _, size, _ = beam(shown, LEFT)
    descan = shown.look.descan
    np.testing.assert_allclose(size, np.hypot(*(descan.measured - descan.fitted)), rtol=1e-5)
    assert f"{descan.residual:.2f} px (rms)" in text
    assert "poor" not in text
    poor = replace(shown, look=replace(shown.look, descan=replace(descan, shared=0.3)))
    assert "; the fit is poor; " in beam(poor, LEFT)[0]
    lost = replace(descan, measured=np.full_like(descan.measured, np.nan))
    text, _, _, arrows = beam(replace(shown, look=replace(shown.look, descan=lost)), MOVED)
    assert text.startswith("no direct beam was found")
    assert arrows == []
