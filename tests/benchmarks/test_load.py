"""Many users on one server: opening and events beside a Panel app of one callback, leaks, and a soak.

Pages are websockets without a browser. An event is a tap on another component in the gallery, answered when all that it
changes has come back; each page waits for the answer and then 0.3 s. The client runs in this process, on the same cores.
`STEM4D_BENCH_SOAK` is the length of the soak in minutes (0: none), `STEM4D_BENCH_USERS` the numbers of users (1,10,30).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw_page import RawPage, tap
from tables import table
from tornado.httpclient import AsyncHTTPClient
from ui_server import Server, free_port

AsyncHTTPClient.configure(None, max_clients=100)  # else pages wait for each other before they are asked for
HERE = Path(__file__).parent
USERS = [int(n) for n in os.environ.get("STEM4D_BENCH_USERS", "1,10,30").split(",")]
SOAK = float(os.environ.get("STEM4D_BENCH_SOAK", "0"))
EVENTS, THINK, PATIENCE = 8, 0.3, 60.0
RANK = 20  # of the built-in sample


@contextmanager
def served(kind: str, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    server = Server(
        [sys.executable, str(HERE / "load_server.py"), kind, str(port)],
        f"http://127.0.0.1:{port}",
        tmp_path / f"{kind}.txt",
        env={**os.environ, "BOKEH_RESOURCES": "server"},
    )
    try:
        yield server.url
        with suppress(FileNotFoundError):
            log = (tmp_path / f"{kind}.txt").read_text()
            assert "Traceback" not in log, log[-3000:]
    finally:
        server.stop()


class User:
    """A page and what it does."""

    def __init__(self, page: RawPage) -> None:
        self.page, self.count = page, itertools.count(1)

    async def event(self) -> float:
        """Seconds that an event takes."""
        raise NotImplementedError

    async def ready(self) -> None:
        """Wait until the page shows what events act on."""


class Slider(User):
    """Moves the slider of the one callback."""

    async def event(self) -> float:
        value = 1000 + next(self.count) + 0.5
        start = time.perf_counter()
        slider = next(i for i, m in self.page.models.items() if m["name"].endswith("Slider"))
        await self.page.change(slider, "value", value)
        await self.page.until(lambda m: f"it is {value}" in json.dumps(m.content))
        return time.perf_counter() - start


class Gallery(User):
    """Chooses one component after another."""

    async def ready(self) -> None:
        self.store = self.page.store("gallery")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            await self.event()  # in which another component is shown once there are any
            if self.chosen:
                return
            await asyncio.sleep(0.2)
        raise TimeoutError("no component was ever there")

    async def event(self) -> float:
        count = next(self.count)
        place = count % 8
        start = time.perf_counter()
        await self.page.change(self.store, "data", tap(30 + 60.0 * place, -60.0, count))
        answer = await self.page.until(lambda m: m.changed(self.store, "tags"))
        self.chosen = len(answer.content["events"]) > 1
        return time.perf_counter() - start


async def open_user(kind: type[User], url: str) -> tuple[User, float]:
    start = time.perf_counter()
    page = await RawPage.open(url)
    return kind(page), time.perf_counter() - start


async def events(user: User, count: int) -> list[float]:
    """Times of events, a think time apart; one that gets no answer counts as an error, infinite."""
    times = []
    for _ in range(count):
        try:
            times.append(await asyncio.wait_for(user.event(), PATIENCE))
        except (TimeoutError, ConnectionError) as error:
            print(f"  {type(user).__name__}: {error!r}")
            times.append(float("inf"))
        await asyncio.sleep(THINK)
    return times


async def state(url: str) -> dict[str, Any]:
    answer = await AsyncHTTPClient().fetch(f"{url}/state", request_timeout=PATIENCE)
    return json.loads(answer.body)  # type: ignore[no-any-return]


async def closed(url: str) -> dict[str, Any]:
    """The server's state once it has let go of all sessions, whose pages are closed."""
    await AsyncHTTPClient().fetch(f"{url}/expire", request_timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while (found := await state(url))["sessions"]:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.3)
    await asyncio.sleep(3)  # it gives memory back
    return await state(url)


def ms(values: list[float], share: float) -> float:
    return 1000 * float(np.percentile(values, share))


async def measure(kind: type[User], url: str, count: int) -> dict[str, Any]:
    """So many users who open their pages at once, then act."""
    opened = await asyncio.gather(*[open_user(kind, url) for _ in range(count)])
    users = [user for user, _ in opened]
    for user in users:
        await user.ready()
    times = list(itertools.chain(*await asyncio.gather(*[events(user, EVENTS) for user in users])))
    memory = (await state(url))["resident"]
    for user in users:
        await user.page.close()
    await closed(url)
    return {"open": [took for _, took in opened], "events": times, "resident": memory}


async def fitting(url: str, users: int, fits: int) -> list[float]:
    """Events of users while others fit one thing after another, each a new one."""
    opened = await asyncio.gather(*[open_user(Gallery, url) for _ in range(users + fits)])
    pages = [user for user, _ in opened]
    for user in pages:
        await user.ready()
    stop = asyncio.Event()
    workers = [asyncio.create_task(fit(user, i, stop)) for i, user in enumerate(pages[users:])]
    await asyncio.sleep(1)
    times = list(itertools.chain(*await asyncio.gather(*[events(user, EVENTS) for user in pages[:users]])))
    stop.set()
    done = sum(await asyncio.gather(*workers))
    print(f"  {done} changes of the smoothing meanwhile")
    for user in pages:
        await user.page.close()
    await closed(url)
    return times


async def fit(user: User, which: int, stop: asyncio.Event) -> int:
    """Change what the frames depend on, again and again; how often."""
    widget = user.page.widget("Smooth (px)")
    for done in itertools.count():
        if stop.is_set():
            return done
        await user.page.change(widget, "value", f"{0.5 + 0.1 * which + 0.001 * done:.4f}")
        with suppress(TimeoutError):
            await asyncio.wait_for(user.page.until(lambda m: False), 2.0)
    raise AssertionError


def report(title: str, found: dict[str, dict[int, dict[str, Any]]]) -> None:
    rows = [("users", "app", "open p50 ms", "p95", "max", "event p50 ms", "p95", "ratio of p95", "errors", "RSS MB")]
    for count in USERS:
        floor = ms(found["one_callback"][count]["events"], 95)
        for kind, by in found.items():
            one = by[count]
            errors = sum(not np.isfinite(t) for t in one["events"])
            rows.append(
                (
                    str(count), kind, *(f"{ms(one['open'], p):.0f}" for p in (50, 95, 100)),
                    *(f"{ms(one['events'], p):.0f}" for p in (50, 95)), f"{ms(one['events'], 95) / floor:.2f}", str(errors),
                    f"{one['resident'] / 1e6:.0f}",
                )
            )  # fmt: skip
    table(title, rows)


def run(work: Awaitable[Any]) -> Any:
    return asyncio.run(work)  # type: ignore[arg-type]


def test_many_users(tmp_path: Path) -> None:
    found: dict[str, dict[int, dict[str, Any]]] = {}

    async def all_of(kind: type[User], url: str, name: str) -> None:
        await measure(kind, url, 2)  # what is compiled or imported at first use
        found[name] = {count: await measure(kind, url, count) for count in USERS}

    with served("one_callback", tmp_path) as url:
        run(all_of(Slider, url, "one_callback"))
    with served("workbench", tmp_path) as url:
        run(all_of(Gallery, url, "workbench"))
        busy = run(fitting(url, USERS[-1], 2))
    report(f"load, {EVENTS} events a user, load average {os.getloadavg()[0]:.1f}", found)
    sizes = [found["workbench"][n]["resident"] for n in USERS]
    slope = np.polyfit(USERS, sizes, 1)[0] / 1e6 if len(USERS) > 1 else float("nan")
    table(
        f"{USERS[-1]} users while two sessions fit",
        [
            ("event p50 ms", "p95", "errors", "RSS MB a session"),
            (f"{ms(busy, 50):.0f}", f"{ms(busy, 95):.0f}", str(sum(not np.isfinite(t) for t in busy)), f"{slope:.1f}"),
        ],
    )
    assert np.isfinite([t for by in found.values() for one in by.values() for t in one["events"]]).all()
    assert np.isfinite(busy).all()


def test_thirty_pages_opened_and_closed_leave_nothing(tmp_path: Path) -> None:
    """At most two live workbenches after a collection, and less than 5 MB of growth between later cycles."""

    async def cycles(url: str) -> list[dict[str, Any]]:
        found = []
        for _ in range(5):
            opened = await asyncio.gather(*[open_user(Gallery, url) for _ in range(30)])
            for user, _ in opened:
                await user.ready()
                await user.page.close()
            found.append(await closed(url))
        return found

    with served("workbench", tmp_path) as url:
        found = run(cycles(url))
    rows = [("cycle of 30 pages", "alive", "RSS MB"), *((str(i), str(f["alive"]), f"{f['resident'] / 1e6:.1f}") for i, f in enumerate(found, 1))]  # fmt: skip
    table("leaks", rows)
    assert max(f["alive"] for f in found) <= 2
    assert found[-1]["resident"] - found[-2]["resident"] < 5e6


@pytest.mark.skipif(not SOAK, reason="STEM4D_BENCH_SOAK is 0 minutes")
def test_soak(tmp_path: Path) -> None:
    """Users come and go for a long time; the memory does not grow."""
    samples: list[tuple[float, int, int]] = []

    async def user(url: str, until: float, errors: list[float]) -> None:
        while time.monotonic() < until:
            one, _ = await open_user(Gallery, url)
            await one.ready()
            errors += [t for t in await events(one, 40) if not np.isfinite(t)]
            await one.page.close()

    async def soak(url: str) -> list[float]:
        errors: list[float] = []
        begin = time.monotonic()
        until = begin + 60 * SOAK
        users = [asyncio.create_task(user(url, until, errors)) for _ in range(5)]
        while time.monotonic() < until:
            await asyncio.sleep(max(5.0, 6 * SOAK))
            now = await state(url)
            samples.append(((time.monotonic() - begin) / 60, now["resident"], now["alive"]))
        await asyncio.gather(*users)
        last = await closed(url)
        samples.append(((time.monotonic() - begin) / 60, last["resident"], last["alive"]))
        return errors

    with served("workbench", tmp_path) as url:
        errors = run(soak(url))
    table("soak, 5 users who stay 40 events each", [("minute", "RSS MB", "alive"), *((f"{m:.1f}", f"{r / 1e6:.0f}", str(a)) for m, r, a in samples)])  # fmt: skip
    assert not errors
