"""Branches found again by other factorisations."""

from __future__ import annotations

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.cluster.stability import branch_maps, branch_stability
from stem4d_panel.errors import SettingError
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.scan import Scan


@pytest.fixture(scope="module")
def analysis(small: Scan) -> Analysis:
    return Analysis(small, cache=Cache(), rank=5)


def test_every_branch_is_found_again_in_itself(analysis: Analysis) -> None:
    found = branch_stability(analysis.factors, analysis.tree, [(analysis.factors, analysis.tree)])
    np.testing.assert_allclose(found, 1, atol=1e-6)


def test_the_branch_maps_are_the_sums_where_they_lie(analysis: Analysis) -> None:
    maps, factors = branch_maps(analysis.factors, analysis.tree), analysis.factors
    np.testing.assert_allclose(maps[:5], factors.maps)
    np.testing.assert_allclose(maps[-1], factors.maps.sum(axis=0), rtol=1e-5)


def test_crystals_are_found_again_with_other_seeds_and_noise_less_so(analysis: Analysis) -> None:
    found = analysis.stability(seeds=2)
    assert found.shape == (9,)
    crystals = np.flatnonzero(~analysis.tree.apart)
    assert found[crystals].min() > 0.95
    np.testing.assert_array_equal(analysis.stability(seeds=2), found)


def test_a_branch_that_is_nowhere_else_is_not_found(analysis: Analysis) -> None:
    rng = np.random.default_rng(0)
    factors = analysis.factors
    noise = type(factors)(
        rng.random(factors.maps.shape).astype(np.float32), factors.patterns, factors.mask, 0.1, np.ones(1), 1, True, ()
    )
    crystals = np.flatnonzero(~analysis.tree.apart)
    assert branch_stability(factors, analysis.tree, [(noise, analysis.tree)])[crystals].max() < 0.3


def test_no_other_seed_is_refused(analysis: Analysis) -> None:
    with pytest.raises(SettingError, match="seeds: 0 is less than 1"):
        analysis.stability(seeds=0)
