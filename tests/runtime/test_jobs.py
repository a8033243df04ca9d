"""Jobs: shared, cancelled, failing and taking turns. Steps are held by events, so nothing here depends on time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stem4d_panel.errors import Cancelled
from stem4d_panel.runtime.jobs import Compute, Job
from stem4d_panel.runtime.progress import Pace, Progress, Steps, finish, in_time

WAIT = 20.0  # seconds after which a test gives up; never waited for in full


class Held:
    """Work that stops in its first step until it is let go, and counts how often it ran."""

    def __init__(self, steps: int = 3) -> None:
        self.steps, self.runs, self.done = steps, 0, 0
        self.started, self.go, self.closed = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> Steps[str]:
        self.runs += 1
        try:
            self.started.set()
            assert self.go.wait(WAIT)
            for i in range(self.steps):
                yield Progress("work", i, self.steps)
                self.done += 1
            return "result"
        finally:
            self.closed.set()


@pytest.fixture
def compute() -> Compute:
    return Compute()


@pytest.fixture
def held() -> Iterator[Held]:
    work = Held()
    yield work
    work.go.set()


def endless(seen: Callable[[], bool] = lambda: False) -> Steps[str]:
    while not seen():
        yield Progress("endless", 0, 1)
    return "seen"


def quick() -> Steps[str]:
    yield Progress("quick", 0, 1)
    return "quick"


def test_a_job_returns_its_result_and_its_progress(compute: Compute, held: Held) -> None:
    told: list[tuple[str, int | None]] = []
    held.go.set()
    job = compute.submit("a", held, lambda j: told.append((j.state, j.progress.done if j.progress else None)))
    assert job.wait(WAIT) == "result"
    assert job.state == "done"
    assert job.progress == Progress("work", 2, 3)
    assert told[0][0] == "running"
    assert compute.submit("b", quick).wait(WAIT) == "quick"  # the listener has been told by then
    assert told[-1] == ("done", 2)


def test_one_key_asked_for_twice_runs_once(compute: Compute, held: Held) -> None:
    first = compute.submit("a", held)
    assert held.started.wait(WAIT)
    second = compute.submit("a", held)
    assert second is first
    held.go.set()
    assert first.wait(WAIT) == second.wait(WAIT) == "result"
    assert held.runs == 1


def test_a_key_asked_for_after_its_end_runs_again(compute: Compute, held: Held) -> None:
    held.go.set()
    compute.submit("a", held).wait(WAIT)
    compute.submit("a", held).wait(WAIT)
    assert held.runs == 2


def test_cancel_takes_effect_at_the_next_step(compute: Compute, held: Held) -> None:
    job = compute.submit("a", held)
    assert held.started.wait(WAIT)
    compute.cancel(job)
    held.go.set()
    with pytest.raises(Cancelled):
        job.wait(WAIT)
    assert job.state == "cancelled"
    assert held.closed.is_set()
    assert held.done == 0


def test_a_waiting_job_that_is_cancelled_never_starts(compute: Compute, held: Held) -> None:
    blocker, waiting = held, Held()
    first, second = compute.submit("a", blocker), compute.submit("b", waiting)
    assert blocker.started.wait(WAIT)
    assert compute.ahead_of(second) == 1
    compute.cancel(second)
    blocker.go.set()
    with pytest.raises(Cancelled):
        second.wait(WAIT)
    assert first.wait(WAIT) == "result"
    assert waiting.runs == 0


def test_one_of_two_letting_go_does_not_end_the_others_job(compute: Compute, held: Held) -> None:
    heard: list[str] = []

    def listener(job: Job) -> None:
        heard.append(job.state)

    mine, theirs = compute.submit("a", held), compute.submit("a", held, listener)
    assert held.started.wait(WAIT)
    compute.release(theirs, listener)
    heard.clear()
    held.go.set()
    assert mine.wait(WAIT) == "result"
    assert compute.submit("b", quick).wait(WAIT) == "quick"
    assert heard == []  # and who has let go hears no more


def test_a_job_ends_when_the_last_lets_go(compute: Compute, held: Held) -> None:
    one, two = compute.submit("a", held), compute.submit("a", held)
    assert held.started.wait(WAIT)
    compute.release(one)
    compute.release(two)
    held.go.set()
    with pytest.raises(Cancelled):
        two.wait(WAIT)


def test_who_asks_while_a_job_is_being_cancelled_gets_one_of_his_own(compute: Compute) -> None:
    started, go = threading.Event(), threading.Event()
    again: list[Job] = []

    def work() -> Steps[str]:
        try:
            started.set()
            assert go.wait(WAIT)
            yield Progress("work", 0, 1)
        finally:
            again.append(compute.submit("a", quick))
        return "never"

    job = compute.submit("a", work)
    assert started.wait(WAIT)
    compute.cancel(job)
    go.set()
    with pytest.raises(Cancelled):
        job.wait(WAIT)
    assert again[0].wait(WAIT) == "quick"


def test_a_failing_job_tells_and_the_thread_lives_on(compute: Compute) -> None:
    def broken() -> Steps[str]:
        yield Progress("broken", 0, 1)
        raise ZeroDivisionError("one over nothing")

    def stillborn() -> Any:
        raise MemoryError("too large")

    for work, kind in ((broken, ZeroDivisionError), (stillborn, MemoryError)):
        job = compute.submit("a", work)
        with pytest.raises(kind):
            job.wait(WAIT)
        assert job.state == "failed"
    assert compute.submit("b", quick).wait(WAIT) == "quick"


def test_a_job_that_fails_while_it_is_cancelled_does_not_end_the_thread(compute: Compute) -> None:
    started, go = threading.Event(), threading.Event()

    def stubborn() -> Steps[str]:
        try:
            started.set()
            assert go.wait(WAIT)
            yield Progress("stubborn", 0, 1)
        finally:
            raise ZeroDivisionError
        return "never"

    job = compute.submit("a", stubborn)
    assert started.wait(WAIT)
    compute.cancel(job)
    go.set()
    with pytest.raises(Cancelled):
        job.wait(WAIT)
    assert compute.submit("b", quick).wait(WAIT) == "quick"


def test_a_failing_listener_harms_nobody(compute: Compute, held: Held) -> None:
    heard: list[str] = []

    def closed_session(job: Job) -> None:
        raise RuntimeError("the session has gone")

    compute.submit("a", held, closed_session)
    job = compute.submit("a", held, lambda j: heard.append(j.state))
    held.go.set()
    assert job.wait(WAIT) == "result"
    assert compute.submit("b", quick).wait(WAIT) == "quick"
    assert heard[-1] == "done"


def test_two_jobs_take_turns(compute: Compute) -> None:
    stepped = threading.Event()

    def other() -> Steps[str]:
        yield Progress("other", 0, 1)
        stepped.set()
        return "other"

    first = compute.submit("a", lambda: endless(stepped.is_set))  # ends only if the other is stepped as well
    second = compute.submit("b", other)
    assert first.wait(WAIT) == "seen"
    assert second.wait(WAIT) == "other"


def test_waiting_gives_up_after_its_time(compute: Compute, held: Held) -> None:
    job = compute.submit("a", held)
    with pytest.raises(TimeoutError, match="a: not done"):
        job.wait(0.01)


def test_steps_can_be_run_without_a_thread() -> None:
    seen: list[Progress] = []
    assert finish(quick(), seen.append) == "quick"
    assert seen == [Progress("quick", 0, 1)]


def test_progress_in_words_and_percent() -> None:
    progress = Progress("factorise", 31, 300, "iteration", "error 0.1342")
    assert str(progress) == "factorise · iteration 31/300 · error 0.1342"
    assert progress.percent == 10
    assert Progress("look", 0, 0).percent == 0


def test_idle_work_waits_for_all_other_work_and_for_a_quiet_moment(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stem4d_panel.runtime.jobs.QUIET", 0.0)
    order: list[str] = []

    def work(name: str) -> Steps[str]:
        for i in range(3):
            order.append(name)
            yield Progress(name, i, 3)
        return name

    go = Held(1)
    first = compute.submit("held", go)
    assert go.started.wait(WAIT)
    idle = compute.submit("idle", lambda: work("idle"), idle=True)
    asked = compute.submit("asked", lambda: work("asked"))
    assert compute.ahead_of(asked) == 1  # nobody waits for the idle one
    go.go.set()
    assert [job.wait(WAIT) for job in (first, asked, idle)] == ["result", "asked", "idle"]
    assert order == ["asked"] * 3 + ["idle"] * 3


def test_idle_work_that_comes_later_has_its_turn_beside_what_goes_on(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stem4d_panel.runtime.jobs.QUIET", 0.0)
    stop = threading.Event()
    long = compute.submit("long", lambda: endless(stop.is_set), idle=True)
    assert compute.submit("short", quick, idle=True).wait(WAIT) == "quick"
    assert long.state == "running"
    stop.set()
    assert long.wait(WAIT) == "seen"


def test_idle_work_that_somebody_asks_for_is_idle_no_longer(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stem4d_panel.runtime.jobs.QUIET", 10 * WAIT)
    idle = compute.submit("work", quick, idle=True)
    assert compute.submit("other", quick).wait(WAIT) == "quick"
    assert idle.state == "waiting"
    assert compute.submit("work", quick) is idle
    assert idle.wait(WAIT) == "quick"


def test_idle_work_that_nobody_wants_ends_at_once(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stem4d_panel.runtime.jobs.QUIET", 10 * WAIT)
    idle = compute.submit("work", quick, idle=True)
    compute.cancel(idle)
    with pytest.raises(Cancelled):
        idle.wait(WAIT)


def test_who_waits_hears_how_many_are_ahead_and_who_works_with_how_many_he_shares(compute: Compute, held: Held) -> None:
    first = compute.submit("a", held)
    assert held.started.wait(WAIT)
    heard: list[str] = []
    second = compute.submit("b", lambda: endless(lambda: False))
    third = compute.submit("c", quick, lambda job: heard.append(f"{job.state} {compute.ahead_of(job)}"))
    assert compute.says(second) == "waiting · 1 ahead of you"
    assert compute.says(third) == "waiting · 2 ahead of you"
    compute.cancel(second)
    assert compute.ahead_of(third) == compute.beside(third) == 1
    held.go.set()
    assert third.wait(WAIT) == "quick"
    assert first.wait(WAIT) == "result"
    assert heard[0] == "waiting 0"  # it was told that it moved up


def test_time_left_follows_from_how_fast_a_stage_went() -> None:
    pace = Pace()
    assert pace.left(Progress("a", 10, 100, "row"), 5.0) is None
    assert pace.left(Progress("a", 20, 100, "row"), 5.5) is None  # too soon
    assert pace.left(Progress("a", 30, 100, "row"), 9.0) == pytest.approx(4 / 20 * 70)
    assert pace.left(Progress("b", 30, 100, "row"), 10.0) is None  # another stage
    assert pace.left(Progress("b", 10, 100, "row"), 12.0) is None  # begun again
    assert pace.left(Progress("b", 60, 100, "row"), 14.0) == pytest.approx(2 / 50 * 40)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (12.1, "13 s"), (90, "90 s"), (91, "2 min"), (5400, "90 min"), (5401, "2 h")]
)
def test_times_in_words(seconds: float, text: str) -> None:
    assert in_time(seconds) == text


def test_a_job_says_its_progress_and_the_time_left(compute: Compute, held: Held) -> None:
    job = compute.submit("a", held)
    assert held.started.wait(WAIT)
    job.progress, job.left = Progress("factorise", 31, 300, "iteration", "error 0.1342"), 7.2
    said = compute.says(job)
    assert said == "factorise · iteration 31/300 · error 0.1342 · at most 8 s left"
    compute.submit("b", quick)
    assert compute.says(job) == f"{said} · taking turns with 1 other"
    compute.cancel(job)


def test_idle_work_has_but_a_slice_now_and_then_while_a_hand_moves(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stem4d_panel.runtime.jobs.QUIET", 0.0)
    monkeypatch.setattr("stem4d_panel.runtime.jobs.SLICE", 1e-3)
    monkeypatch.setattr("stem4d_panel.runtime.jobs.PATIENCE", 10 * WAIT)
    begun, moved, done = threading.Event(), threading.Event(), []

    def work() -> Steps[str]:
        yield Progress("idle", 0, 2, "step")
        begun.set()
        moved.wait(WAIT)
        for i in range(2):
            done.append(i)
            time.sleep(0.01)  # longer than a slice
            yield Progress("idle", i, 2, "step")
        return "rested"

    idle = compute.submit("idle", work, idle=True)
    assert begun.wait(WAIT)
    monkeypatch.setattr("stem4d_panel.runtime.jobs.QUIET", 10 * WAIT)
    compute.hush()
    moved.set()
    assert compute.submit("asked", quick).wait(WAIT) == "quick"  # others are not held up
    assert compute.submit("again", quick).wait(WAIT) == "quick"
    assert done == [0]  # the slice in which the hand began to move was its last
    monkeypatch.setattr("stem4d_panel.runtime.jobs.QUIET", 0.0)
    compute.hush()
    compute.submit("wake", quick).wait(WAIT)
    assert idle.wait(WAIT) == "rested"
