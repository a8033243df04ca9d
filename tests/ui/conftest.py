"""A real server, a real browser: Chromium from the system, every host but this one blocked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect
from ui_screen import Screen
from ui_server import FLAGS, Server, Watched, chromium, free_port

from stem4d_panel.scan.scan import Scan


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.ui)


expect.set_options(timeout=30_000)  # milliseconds; how fast a change is seen is measured in the benchmarks


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    path = chromium()
    if path is None:
        reason = "no Chromium on the path; install the chromium package or set STEM4D_CHROMIUM"
        if os.environ.get("STEM4D_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    flags = FLAGS + (["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])
    return {**browser_type_launch_args, "executable_path": path, "args": flags}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1400, "height": 1150}}


@contextmanager
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """What starts a server of `python -m ARGUMENTS --port PORT`; all are stopped at the end."""
    started: list[Server] = []

    def start(*arguments: str, **options: Any) -> Server:
        port = free_port()
        log = tmp_path_factory.mktemp("server") / "log.txt"
        command = [sys.executable, "-m", *arguments, "--port", str(port)]
        path = options.pop("path", "")
        started.append(Server(command, f"http://127.0.0.1:{port}{path}", log, **options))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.stop()


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server that lives as long as the test."""
    with servers(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def start_lasting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server that lives as long as the tests of a file."""
    with servers(tmp_path_factory) as start:
        yield start


@pytest.fixture
def watched(page: Any) -> Watched:
    return Watched(page)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the sample."""
    with servers(tmp_path_factory) as start:
        yield start("stem4d_panel", "serve", "--no-browser")


@pytest.fixture
def screen(app: Server, watched: Watched) -> Screen:
    """The sample, analysed."""
    watched.page.goto(app.url)
    screen = Screen(watched.page)
    screen.wait_ready()
    return screen


@pytest.fixture
def small_npy(small: Scan, tmp_path: Path) -> Path:
    """The small scan as a file."""
    path = tmp_path / "scan.npy"
    np.save(path, np.asarray(small.data))
    return path
