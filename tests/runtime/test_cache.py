"""The cache keeps what was used last, under its budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from stem4d_panel.runtime.cache import Cache, size_of


@dataclass
class Pair:
    one: np.ndarray
    two: tuple[np.ndarray, ...]


def kilobytes(n: int) -> np.ndarray:
    return np.zeros(n * 1024, np.uint8)


def test_sizes_count_the_arrays_wherever_they_lie() -> None:
    assert size_of(kilobytes(3)) == 3 * 1024
    assert 6 * 1024 <= size_of(Pair(kilobytes(1), (kilobytes(2), kilobytes(3)))) < 6 * 1024 + 200


def test_a_value_comes_back_as_it_is() -> None:
    cache, value = Cache(), kilobytes(1)
    cache.put("a", value)
    assert cache.get("a") is value
    assert "a" in cache
    assert cache.get("b") is None
    assert "b" not in cache


def test_the_budget_holds_and_the_longest_unused_goes_first() -> None:
    cache = Cache(budget=10 * 1024)
    for key in "abc":
        cache.put(key, kilobytes(3))
    cache.get("a")
    cache.put("d", kilobytes(3))
    assert [k for k in "abcd" if k in cache] == ["a", "c", "d"]
    cache.put("e", kilobytes(7))
    assert [k for k in "abcde" if k in cache] == ["d", "e"]


def test_looking_whether_a_value_is_there_is_no_use_of_it() -> None:
    cache = Cache(budget=2 * 1024)
    cache.put("a", kilobytes(1))
    cache.put("b", kilobytes(1))
    assert "a" in cache
    cache.put("c", kilobytes(1))
    assert "a" not in cache


def test_the_newest_value_stays_even_above_the_budget() -> None:
    cache = Cache(budget=1024)
    cache.put("a", kilobytes(1))
    cache.put("b", kilobytes(50))
    assert [k for k in "ab" if k in cache] == ["b"]


def test_a_value_put_again_takes_the_place_of_the_old() -> None:
    cache = Cache(budget=4 * 1024)
    cache.put("b", kilobytes(1))
    for _ in range(5):
        cache.put("a", kilobytes(3))
    assert "b" in cache


@pytest.mark.parametrize("count", [200])
def test_many_small_values_stay_within_the_budget(count: int) -> None:
    cache = Cache(budget=64 * 50)
    for i in range(count):
        cache.put(str(i), 1.5)
    assert [i for i in range(count) if str(i) in cache] == list(range(count - 50, count))
