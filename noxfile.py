"""Lint, tests and benchmarks, each in an environment of its own: `nox -s lint`, `nox -s tests`, `nox -s benchmarks`."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.sessions = ["lint", "tests"]
nox.options.stop_on_first_error = True
nox.options.default_venv_backend = "virtualenv"

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PLAYWRIGHT_PATH = (
    "from playwright.sync_api import sync_playwright as p\nwith p() as q: print(q.chromium.executable_path)"
)


def install(session: nox.Session, *what: str) -> None:
    """Install wheels, pinned by constraints.txt on the Python that it was made with, else by none.

    STEM4D_CONSTRAINTS names another file of pins; empty, it pins nothing.
    """
    pins = os.environ.get("STEM4D_CONSTRAINTS", "constraints.txt" if sys.version_info[:2] == (3, 11) else "")
    session.install("--only-binary=:all:", *(["-c", pins] if pins else []), *what)


def works(program: str | None) -> bool:
    return program is not None and Path(program).is_file() and os.access(program, os.X_OK)


def find_chromium() -> str | None:
    return next(filter(works, (os.environ.get("STEM4D_CHROMIUM"), *map(shutil.which, CHROMIUM))), None)


def chromium(session: nox.Session) -> str | None:
    """A browser for the tests: the one on the path, else Debian's (as root), else playwright's own, else none."""
    quietly = {"silent": True, "external": True, "success_codes": range(256)}
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not find_chromium() and as_root and shutil.which("apt-get"):
        session.run("apt-get", "update", "-qq", **quietly)
        session.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", **quietly)
    if found := find_chromium():
        return found
    session.run("playwright", "install", *(["--with-deps"] if as_root else []), "chromium", **quietly)
    path = str(session.run("python", "-c", PLAYWRIGHT_PATH, silent=True, success_codes=range(256))).strip()
    return path if works(path) else None


@nox.session
def lint(session: nox.Session) -> None:
    install(session, ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-logo")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    install(session, ".[test]")
    if browser := chromium(session):
        session.env["STEM4D_CHROMIUM"] = browser
    else:
        session.warn("no Chromium found or installed: the browser tests skip, or fail if STEM4D_REQUIRE_BROWSER is 1")
    logging.getLogger().setLevel(
        logging.CRITICAL
    )  # pytest's closing line is the last one; the exit code tells the rest
    # two at a time, of which one has the browsers to itself (tests/conftest.py)
    session.run("pytest", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    install(session, ".[test]")
    session.run("pytest", "tests/benchmarks", "-q", "-s", *session.posargs)
