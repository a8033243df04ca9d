"""Factors: folded, scaled, sorted, and honest about what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import SettingError
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan


def fit(scan: Scan, **changes: Any) -> tuple[Analysis, Factors]:
    analysis = Analysis(scan, cache=Cache(), **changes)
    return analysis, analysis.factors


def test_patterns_have_unit_sum_and_components_fall_in_intensity(small: Scan) -> None:
    analysis, factors = fit(small, rank=5)
    np.testing.assert_allclose(factors.patterns.sum((1, 2)), 1, rtol=1e-5)
    assert (np.diff(factors.totals) <= 0).all()
    assert (factors.patterns[:, ~factors.mask] == 0).all()
    assert factors.maps.shape == (5, 14, 18)
    assert factors.maps.min() >= 0
    assert factors.converged
    np.testing.assert_array_equal(factors.mask, analysis.frames.mask)


def test_the_model_is_in_the_counts_of_the_scan(small: Scan) -> None:
    analysis, factors = fit(small, rank=5, prepare__bin=1, prepare__smooth=0.0, factorize__holes=0.0)
    mean = np.mean([[factors.model(y, x) for x in range(18)] for y in range(14)], axis=(0, 1))
    measured = analysis.frames.mean
    assert np.linalg.norm(mean - measured) < 0.05 * np.linalg.norm(measured)


def test_the_stated_error_is_that_of_the_prepared_matrix(small: Scan) -> None:
    analysis, factors = fit(small, rank=4, prepare__noise="off")
    frames = analysis.frames
    model = np.tensordot(factors.maps[:, frames.positions].T, factors.patterns[:, frames.mask], 1)
    expected = np.linalg.norm(frames.matrix - model) / np.linalg.norm(frames.matrix)
    assert factors.relative_error == pytest.approx(expected, rel=1e-3)


def test_the_noise_scaling_does_not_show_in_the_unit_of_the_maps(small: Scan) -> None:
    totals = [fit(small, rank=4, prepare__noise=n)[1].totals.sum() for n in ("keenan-kotula", "off")]
    assert totals[0] == pytest.approx(totals[1], rel=0.03)


def test_a_stated_rank_above_the_matrix_is_refused_with_the_limits() -> None:
    scan = Scan.from_array(np.random.default_rng(0).poisson(9, (3, 4, 16, 16)).astype(np.uint16))
    with pytest.raises(SettingError, match=r"^factorize\.rank: 13 is above 12, .* 12 positions × \d+ pixels allow$"):
        fit(scan, rank=13)
    with pytest.raises(SettingError, match="20 is above 12"):
        fit(scan, rank=20)  # the default's value, but stated


def test_the_default_rank_is_clamped_with_a_notice() -> None:
    scan = Scan.from_array(np.random.default_rng(0).poisson(9, (3, 4, 16, 16)).astype(np.uint16))
    factors = fit(scan)[1]
    assert factors.rank == 12
    assert any("rank 12 in place of the default 20" in w for w in factors.warnings)


def test_one_iteration_is_told_to_be_too_few(small: Scan) -> None:
    factors = fit(small, rank=4, factorize__max_iter=1, factorize__compress="off")[1]
    assert not factors.converged
    assert factors.iterations == len(factors.error_curve) == 1
    assert any("not converged after 1 iteration" in w for w in factors.warnings)


def test_empty_components_are_told() -> None:
    data = np.zeros((4, 4, 8, 8))
    data[:2, :, :4], data[2:, :, 4:] = 3, 5
    options = {
        "prepare__mask_inner": 0.0,
        "prepare__mask_outer": 99.0,
        "prepare__smooth": 0.0,
        "factorize__start": "nndsvd",
    }
    factors = fit(Scan.from_array(data), rank=6, **options)[1]
    assert np.isfinite(factors.patterns).all()
    assert np.isfinite(factors.maps).all()
    empty = int((factors.totals == 0).sum())
    assert any(f"{empty} of 6 components are empty" in w for w in factors.warnings) == (empty > 0)


def test_positions_without_counts_have_empty_maps(small: Scan) -> None:
    data = small.data.copy()
    data[6, 7] = 0
    factors = fit(Scan.from_array(data), rank=4, prepare__smooth=0.0)[1]
    assert (factors.maps[:, 6, 7] == 0).all()
    assert (factors.maps.sum(axis=0) > 0).sum() == 14 * 18 - 1
