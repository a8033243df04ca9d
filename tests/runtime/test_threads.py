"""Blocks over threads."""

from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_info

from stem4d_panel.runtime.threads import map_blocks, thread_count


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize(("count", "block"), [(10, 3), (10, 10), (10, 99), (1, 1), (7, 0), (0, 4)])
def test_blocks_cover_everything_once_and_in_order(
    count: int, block: int, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEM4D_THREADS", threads)
    spans = map_blocks(lambda start, stop: (start, stop), count, block)
    assert [i for start, stop in spans for i in range(start, stop)] == list(range(count))


def test_blocks_run_in_as_many_threads_as_asked_with_blas_held_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEM4D_THREADS", "2")
    both = threading.Barrier(2, timeout=20)

    def work(start: int, stop: int) -> int:
        both.wait()  # passes only if two run at once
        return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)

    assert map_blocks(work, 2, 1) == [1, 1]


def test_the_error_of_a_block_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEM4D_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        map_blocks(lambda start, stop: 1 // start, 4, 1)


@pytest.mark.parametrize(("asked", "count"), [("5", 5), ("0", 1)])
def test_the_environment_sets_the_threads(asked: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEM4D_THREADS", asked)
    assert thread_count() == count


@pytest.mark.parametrize("asked", ["", "many", "-2"])
def test_what_is_no_number_of_threads_is_ignored(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEM4D_THREADS", raising=False)
    plain = thread_count()
    monkeypatch.setenv("STEM4D_THREADS", asked)
    assert thread_count() == plain >= 1
