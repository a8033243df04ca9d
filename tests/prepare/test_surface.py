"""Surfaces through the descan: what they follow, what pulls them not, and that a poor fit is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from distorted import sample_with_descan

from stem4d_panel.analysis import Analysis
from stem4d_panel.prepare.surface import fit_surface, shared_part
from stem4d_panel.scan.sample import sample_scan
from stem4d_panel.scan.scan import Scan

Y, X = np.indices((64, 64))
V, U = Y / 31.5 - 1, X / 31.5 - 1
QUADRATIC = np.stack([V * V - 0.5 * U * V + U, U * U + 0.4 * V])
BEYOND = {
    "nothing": 0 * U,
    "sawtooth of rows": Y % 8 / 7 - 0.5,
    "every other row": 0.3 * np.where(Y % 2, 1, -1),
    "rows that walk": np.cumsum(np.random.default_rng(5).normal(0, 0.1, 64))[:, None] + 0 * U,
    "slow": 0.6 * np.sin(5 * U + 3 * V),
    "slow and sawtooth": 0.6 * np.sin(5 * U + 3 * V) + Y % 8 / 7 - 0.5,
}


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def measured(truth: np.ndarray, noise: float, crystals: bool = False) -> np.ndarray:
    values = truth + np.random.default_rng(0).normal(0, noise, truth.shape)
    if crystals:
        values[:, 10:20, 12:24] += 0.8
        values[:, 40:48, 40:50] -= 0.5
    return values


@pytest.mark.parametrize("crystals", [False, True])
@pytest.mark.parametrize("form", BEYOND)
def test_a_smoothed_fit_follows_rows_and_slow_changes_and_no_crystal(form: str, crystals: bool) -> None:
    truth = QUADRATIC + BEYOND[form]
    values = measured(truth, 0.03, crystals)
    fitted = fit_surface(values, "smooth")
    assert rms(fitted - truth) < (0.07 if crystals and "slow" in form else 0.05)  # .3 to .5 px away without
    assert shared_part(values - fitted) < 0.06
    if form != "nothing":
        assert shared_part(values - fit_surface(values, "quadratic")) > 0.2


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
def test_where_there_is_nothing_more_the_smoothed_fit_is_the_quadratic_one(noise: float) -> None:
    values = measured(QUADRATIC, noise)
    assert rms(fit_surface(values, "smooth") - fit_surface(values, "quadratic")) < 0.1 * noise


def test_unknown_positions_are_bridged() -> None:
    truth = QUADRATIC + BEYOND["slow and sawtooth"]
    values = measured(truth, 0.03)
    values[:, 30:33, 20:26] = np.nan
    assert rms((fit_surface(values, "smooth") - truth)[:, 30:33, 20:26]) < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 3), (5, 64)])
def test_small_scans_are_fitted(shape: tuple[int, int]) -> None:
    values = 20 + np.random.default_rng(0).normal(0, 0.05, (2, *shape))
    assert np.abs(fit_surface(values, "smooth") - 20).max() < 0.25


@pytest.mark.parametrize("seed", range(10))
def test_noise_shares_nothing(seed: int) -> None:
    rest = np.random.default_rng(seed).normal(0, 0.3, (2, 48, 56))
    assert shared_part(rest) == 0
    assert shared_part(rest + 0.2 * np.sin(np.arange(56) / 4)) == pytest.approx(0.14, abs=0.03)


def is_told(scan: Scan, surface: str = "quadratic") -> bool:
    return any("the fit is poor" in w for w in Analysis(scan, prepare__centre=surface).look.warnings)


def test_the_fit_of_the_sample_is_never_called_poor() -> None:
    for seed in range(10):
        assert not is_told(sample_scan(seed)), seed


@pytest.mark.parametrize("electrons", [400, 100])
@pytest.mark.parametrize(
    "form", [lambda y, x: y % 8 / 7 - 0.5, lambda y, x: x % 16 / 15 - 0.5, lambda y, x: 0.2 * np.where(y % 2, 1, -1)]
)
def test_a_sawtooth_is_told_and_followed(
    monkeypatch: pytest.MonkeyPatch, form: Callable[[np.ndarray, np.ndarray], np.ndarray], electrons: float
) -> None:
    def extra(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.stack([0.2 * form(y, x), 0.6 * form(y, x)])

    scan = sample_with_descan(monkeypatch, extra, 1, electrons)
    assert is_told(scan)
    assert scan.truth is not None
    error = [
        rms(Analysis(scan, prepare__centre=surface).look.descan.fitted - scan.truth.descan - 47.5)
        for surface in ("quadratic", "smooth")
    ]
    by_row = form(Y, X)[0, 0] == form(Y, X)[0, 9]
    assert error[1] < (0.05 if by_row else error[0])
