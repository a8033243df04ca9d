"""Scans that several tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stem4d_panel.results.result import Result
from stem4d_panel.scan.sample import sample_scan
from stem4d_panel.scan.scan import Scan

UI = "tests/ui/"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes the first begins with what takes longest: the tests with a browser."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(UI))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One process alone has the browsers, which would be in each other's way; a file of other tests stays together."""
    from xdist.scheduler import LoadScopeScheduling

    class BrowsersApart(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return UI if nodeid.startswith(UI) else nodeid.split("::", maxsplit=1)[0]

    return BrowsersApart(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared simulated scans beside the repository."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no shared scans: {path.parent.name}/{path.name} is not beside the repository")
    return path


@pytest.fixture(scope="session")
def glass() -> Scan:
    """The built-in sample with its truth."""
    return sample_scan(seed=0)


@pytest.fixture(scope="session")
def small() -> Scan:
    """A scan made in a moment: a halo, a direct beam that moves, three crystals of two kinds; 14 × 18 × 32 × 32 counts."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:14, :18]
    ky, kx = np.mgrid[:32, :32] - 15.5
    expected = np.full((14, 18, 32, 32), 0.1)
    for v, u, fold, radius, turn in ((4, 4, 4, 8.0, 10), (9, 12, 4, 8.0, 47), (3, 13, 6, 11.0, 25)):
        grain = np.clip(1 - np.hypot(y - v, x - u) / 3.5, 0, None)
        for angle in np.deg2rad(turn + np.arange(fold) * 360 / fold):
            spot = np.exp(-((ky - radius * np.sin(angle)) ** 2 + (kx - radius * np.cos(angle)) ** 2) / 2)
            expected += 60 * grain[..., None, None] * spot
    expected += 2 * np.exp(-((np.hypot(ky, kx) - 9) ** 2) / 8)
    move = 0.06 * (x - 8.5)
    expected += 900 / (1 + np.exp(3 * (np.hypot(ky, kx - move[..., None, None]) - 2.5)))
    return Scan.from_array(
        rng.poisson(expected).astype(np.uint16),
        scan_step=0.5,
        detector_step=0.3,
        voltage=300,
        convergence=1.5,
        name="small",
    )


@pytest.fixture(scope="session")
def hostile() -> str:
    """A class's name that must stay text wherever it is written."""
    return "<b onload>ü $x$ & co"


@pytest.fixture(scope="session")
def found(small: Scan, hostile: str) -> Result:
    """A result of the small scan, with names of classes and a component moved by hand."""
    from stem4d_panel.analysis import Analysis

    names, moves = f"5: 0={hostile}, 1=@SUM(A1)", "5: 4>"
    return Analysis(small, rank=5, prepare__bin=1, seed=3, cluster__names=names, cluster__moves=moves).result()
