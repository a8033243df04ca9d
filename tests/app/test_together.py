"""Several sessions on one compute thread: shared work, places in the queue, memory for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sessions import nothing, run

from stem4d_panel.app import session as module
from stem4d_panel.app.session import Session
from stem4d_panel.runtime.jobs import compute
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.memory import estimate
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

WAIT = 30.0  # seconds after which a test gives up; never waited for in full


def session(data: Any, **settings: Any) -> Session:
    return Session(data, Settings.make(settings), lambda then: then())


class Gate:
    """Holds the compute thread until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        inside = threading.Event()

        def hold() -> Steps[None]:
            inside.set()
            assert self.go.wait(WAIT)
            yield Progress("gate", 0, 1)

        self.job = compute.submit(f"gate/{id(self)}", hold)
        assert inside.wait(WAIT)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.go.set()
    made.job.wait(WAIT)


def test_what_two_sessions_want_is_computed_once(small: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    real = module.run_steps

    def counted(analysis: Any, *more: Any) -> Steps[Any]:
        ran.append(analysis)
        return (yield from real(analysis, *more))

    monkeypatch.setattr(module, "run_steps", counted)
    gate = Gate()
    both = [session(small, rank=4, **{"factorize.seed": 71}) for _ in range(2)]
    for one in both:
        one.start()
    gate.go.set()
    for one in both:
        run(one)
    assert len(ran) == 1
    assert both[0].shown.factors is both[1].shown.factors is not None
    for one in both:
        one.close()


def test_who_waits_is_told_how_many_are_ahead(small: Scan, gate: Gate) -> None:
    first, second = (session(small, rank=4, **{"factorize.seed": 80 + i}) for i in range(2))
    first.start()  # the opening of the same scan is one job
    second.start()
    assert first.doing() == second.doing() == "waiting · 1 ahead of you"
    gate.go.set()
    run(first)
    run(second)
    assert first.doing() == ""
    first.close()
    second.close()


def test_one_page_that_goes_leaves_the_others_work_and_the_last_ends_it(small: Scan, gate: Gate) -> None:
    one, two = (session(small, rank=4, **{"factorize.seed": 90}) for _ in range(2))
    one.start()
    two.start()
    job = one._job
    assert job is two._job
    one.rest()
    assert not one.busy
    two.close()
    gate.go.set()
    compute.submit("behind", nothing).wait(WAIT)
    assert job.state == "cancelled"
    one.close()


def test_a_change_while_the_work_runs_leaves_one_job_and_no_stale_result(small: Scan, gate: Gate) -> None:
    one = session(small, rank=4)
    ranks: list[int] = []
    one.param.watch(lambda e: ranks.append(e.new.factors.rank) if e.new.factors is not None else None, "shown")
    one.start()
    gate.go.set()
    run(one)
    ranks.clear()
    held = Gate()
    before = len(compute._jobs)
    for rank in (6, 8, 5, 5, 7):  # another before the last is done, and one twice
        one.change({"rank": rank, "factorize.seed": 31})
        one.refresh()
    assert sum(job._wanted > 0 and job.key.startswith("run/") for job in compute._jobs) == 1
    assert len(compute._jobs) >= before
    held.go.set()
    run(one)
    assert set(ranks) == {7}
    one.close()


def test_two_who_ask_for_half_of_the_memory_and_more_are_not_both_served(
    small: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = estimate(small.shape, small.dtype, Settings.make({"rank": 3})).needed
    monkeypatch.setattr("stem4d_panel.runtime.memory.free_memory", lambda: int(1.5 * need))
    monkeypatch.setattr("stem4d_panel.scan.memory.free_memory", lambda: int(1.5 * need))
    told, until = threading.Event(), time.monotonic() + WAIT

    def held(*_: Any) -> Steps[None]:
        while not told.is_set() and time.monotonic() < until:
            yield Progress("held", 0, 1)

    monkeypatch.setattr("stem4d_panel.app.work._run_steps", held)
    one, two = (session(small, rank=3, **{"prepare.smooth": 0.31 + 0.01 * i}) for i in range(2))  # frames of their own
    for each in (one, two):
        each.param.watch(lambda _: told.set(), "message")
        each.start()
    run(one)
    run(two)
    messages = [s.message for s in (one, two) if s.message is not None]
    assert len(messages) == 1
    kind, text = messages[0]
    assert kind == "error"
    assert text.startswith("small: its analysis needs ")
    assert "of other work that goes on; try again when that has ended" in text
    one.close()
    two.close()
