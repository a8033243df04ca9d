"""The rank path, previews, and what the data bear."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.prepare.halves import halves_steps
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.scan import Scan
from stem4d_panel.stages import STAGES


@pytest.fixture(scope="module")
def noise() -> Scan:
    return Scan.from_array(np.random.default_rng(0).poisson(2, (24, 24, 24, 24)).astype(np.uint16))


@pytest.fixture(scope="module")
def three() -> Scan:
    """Three patterns in three stripes of the scan."""
    rng = np.random.default_rng(1)
    patterns = rng.gamma(0.5, 3, (3, 24, 24))
    maps = np.zeros((24, 24, 3))
    for j in range(3):
        maps[:, 8 * j : 8 * j + 8, j] = 1
    return Scan.from_array(rng.poisson(np.tensordot(maps, patterns, 1)).astype(np.uint16))


RAW = {"prepare__mask_inner": 0.0, "prepare__mask_outer": 99.0, "prepare__centre": "off"}


def test_pure_noise_gives_no_evidence_for_more_than_one_component(noise: Scan) -> None:
    found = Analysis(noise, cache=Cache(), **RAW).evidence(range(1, 7))
    assert (found.best, found.lowest) == (1, 1)
    assert found.reason.startswith("no evidence for more than one component")
    assert np.diff(found.held_out).min() > 0


def test_three_patterns_are_told_to_be_three(three: Scan) -> None:
    free = {"prepare__smooth": 0.0, "factorize__holes": 0.0}
    found = Analysis(three, cache=Cache(), **RAW, **free).evidence(range(1, 7))
    assert found.lowest == 3
    assert found.held_out[2] == found.held_out.min() == 0
    assert found.stability[2] > 0.95
    assert found.stability[2] > found.stability[5]
    assert found.reason.startswith("rank 3")


def test_the_halves_are_independent_and_add_up_to_the_whole(noise: Scan) -> None:
    analysis = Analysis(noise, cache=Cache(), **RAW, prepare__smooth=0.0)
    frames = analysis.frames
    first, second = finish(halves_steps(noise, frames, analysis.settings.prepare, 0))
    np.testing.assert_allclose(first + second, frames.matrix, rtol=1e-4, atol=1e-4)
    a, b = (x - x.mean(axis=0) for x in (first, second))
    correlation = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
    assert abs(correlation) < 4 / np.sqrt(a.size)  # of Poisson noise; the whole's own noise would give .5


def test_evidence_does_not_depend_on_the_present_rank_and_is_kept(three: Scan) -> None:
    analysis = Analysis(three, cache=Cache(), **RAW)
    assert analysis.replace(rank=2).evidence([1, 2]) is analysis.evidence([1, 2])


def test_what_is_no_count_gives_no_evidence_and_says_so(noise: Scan) -> None:
    with pytest.raises(DataError, match="no held-out evidence: it needs counts"):
        Analysis(noise.data.astype(np.float32), cache=Cache(), **RAW).evidence([1, 2])
    with pytest.raises(DataError, match="square root"):
        Analysis(noise, cache=Cache(), **RAW, prepare__noise="sqrt").evidence([1, 2])
    with pytest.raises(SettingError, match="ranks: 0 is not from 1 to"):
        Analysis(noise, cache=Cache(), **RAW).evidence([0])


def test_the_path_makes_every_rank_from_one_compression(small: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Counter[str] = Counter()
    for name, stage in list(STAGES.items()):
        monkeypatch.setitem(STAGES, name, replace(stage, make=_counting(name, stage.make, made)))
    analysis = Analysis(small, cache=Cache(), rank=4, factorize__rank_max=6)
    assert finish(analysis.path_steps()) == 6
    assert made["compression"] == made["frames"] == 1
    assert made["factors"] == made["tree"] == 6
    assert all(analysis.replace(rank=rank).ready("tree") for rank in range(1, 7))
    alone = Analysis(small, cache=Cache(), rank=6, factorize__rank_max=6).factors
    np.testing.assert_array_equal(alone.maps, analysis.replace(rank=6).factors.maps)  # whatever was there before


def _counting(stage: str, make, made: Counter[str]):
    def counted(*args, **needs):
        made[stage] += 1
        return (yield from make(*args, **needs))

    return counted


def test_a_preview_is_near_the_polished_factors_and_says_what_it_is(small: Scan) -> None:
    analysis = Analysis(small, cache=Cache(), rank=5)
    found = finish(analysis.preview_steps())
    assert set(found) == {"factors", "tree", "classes", "findings"}
    assert found["factors"].rank == 5
    assert any("preview" in w for w in found["factors"].warnings)
    assert not analysis.ready("factors")
    assert found["factors"].relative_error == pytest.approx(analysis.factors.relative_error, rel=0.05)
