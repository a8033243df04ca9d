"""The survey counts what it says it counts."""

from __future__ import annotations

import numpy as np

from stem4d_panel.prepare.survey import Survey, survey_steps
from stem4d_panel.runtime.progress import finish
from stem4d_panel.scan.scan import Scan


def survey(data: np.ndarray) -> Survey:
    return finish(survey_steps(Scan.from_array(data)))


def test_statistics_are_those_of_the_whole_scan() -> None:
    data = np.random.default_rng(0).poisson(3.0, (5, 7, 6, 8)).astype(np.uint16)
    found = survey(data)
    np.testing.assert_allclose(found.mean, data.mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.variance, data.var((0, 1)), rtol=1e-4)
    np.testing.assert_array_equal(found.maximum, data.max((0, 1)))
    np.testing.assert_array_equal(found.total, data.sum((2, 3)))
    assert (found.n_nonfinite, found.n_negative, found.n_saturated, found.first_nonfinite) == (0, 0, 0, None)


def test_values_that_are_not_finite_are_counted_and_placed() -> None:
    data = np.ones((4, 5, 6, 7), np.float32)
    data[3, 4, 5, 6], data[2, 1, 0, 3], data[2, 1, 0, 4] = np.nan, np.inf, -np.inf
    found = survey(data)
    assert found.n_nonfinite == 3
    assert found.first_nonfinite == (2, 1, 0, 3)
    assert np.argwhere(found.nonfinite).tolist() == [[0, 3], [0, 4], [5, 6]]
    assert found.n_negative == 0
    assert np.isfinite(found.mean).all()
    assert np.isfinite(found.variance).all()


def test_negative_values_are_counted() -> None:
    data = np.zeros((3, 3, 4, 4), np.int16)
    data[0, 0, 0, :3] = -1
    assert survey(data).n_negative == 3
    assert survey(data.astype(np.float64)).n_negative == 3


def test_saturation_is_the_top_of_a_narrow_integer_type() -> None:
    data = np.ones((3, 3, 4, 4), np.uint8)
    data[1, 1, 2, 2:] = 255
    assert survey(data).n_saturated == 2
    assert survey(data.astype(np.uint16)).n_saturated == 0
    assert survey(data.astype(np.float32)).n_saturated == 0
