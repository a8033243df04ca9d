"""The jobs of a session: opening, the whole chain, what may be asked next; and a start on them before a page asks."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stem4d_panel.errors import DataError, Stem4dError
from stem4d_panel.runtime.jobs import Job, compute
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.settings import DataSettings, Settings

if TYPE_CHECKING:
    import numpy as np

    from stem4d_panel.scan.about import Contents

STEP_STAGES = {
    "Data": ("survey",),
    "Prepare": ("look", "frames"),
    "Factorise": ("factors",),
    "Cluster": ("tree", "classes", "findings"),
}
_PREVIEW_FROM = 2e7  # values in the prepared matrix; a smaller one is factorised before a preview is drawn


def opening_key(data: Any, dataset: str | None, settings: Settings, root: Path | None = None) -> str:
    """Of the job that opens data: the same for all who ask for the same, and may see the same."""
    if data is None or isinstance(data, (str, Path)):
        return f"open/{data}/{root}/{dataset}/{settings.digest('data')}"
    return f"open/{id(data)}"


def running_key(analysis: Any) -> str:
    """Of the job that computes the whole chain."""
    return f"run/{analysis.key('findings')}"


@functools.lru_cache(maxsize=1)
def _sample() -> Any:
    from stem4d_panel.scan.sample import sample_scan

    return sample_scan()


def open_steps(data: Any, dataset: str | None, settings: Settings, root: Path | None = None) -> Steps[Any]:
    """Open data of any kind, a file only inside `root`; returns a Scan or a Result."""
    # before the imports
    yield Progress("data", 0, 1, "step", "opening" if data is not None else "simulating the sample")
    from stem4d_panel.analysis import as_scan
    from stem4d_panel.results.result import Result
    from stem4d_panel.scan.scan import Scan

    if isinstance(data, (Scan, Result)):
        return data
    if data is None:
        return _sample()
    if isinstance(data, (str, Path)):
        return _open_file(Path(data), dataset, settings, root)
    return as_scan(data)


def _open_file(path: Path, dataset: str | None, settings: Settings, root: Path | None) -> Any:
    from stem4d_panel.results.store import is_result, load_result
    from stem4d_panel.scan.probe import probe
    from stem4d_panel.scan.readers import check_place, open_scan, reader_kind

    _, before = reader_kind(path, settings.data)
    check_place(path, before, root)
    probe(path)
    if not is_result(path):
        return open_scan(path, dataset, settings=settings.data, root=root)
    result = load_result(path)
    check_place(path, before, root)
    return result


def look_steps(path: Path, settings: DataSettings, root: Path) -> Steps[Contents]:
    """What is in a file of the folder `root`, from its headers."""
    yield Progress("data", 0, 1, "step", "looking into a file")
    from stem4d_panel.scan.about import contents
    from stem4d_panel.scan.probe import probe
    from stem4d_panel.scan.readers import check_place, reader_kind

    check_place(path, reader_kind(path, settings)[1], root)
    probe(path)
    return contents(path, settings, root)


def sums_steps(path: Path, dataset: str | None, settings: DataSettings, root: Path, identity: str) -> Steps[np.ndarray]:
    """The sum of each frame of a stack in a file of the folder `root`, read once and then cached."""
    from stem4d_panel.runtime.cache import shared_cache
    from stem4d_panel.scan.about import open_frames
    from stem4d_panel.scan.stack import frame_sums_steps

    key = f"frame sums/{path}/{dataset}/{identity}/{settings.as_dict()}"
    sums = shared_cache.get(key)
    if sums is None:
        frames, _ = open_frames(path, dataset, settings, root)
        sums = yield from frame_sums_steps(frames)
        shared_cache.put(key, sums)
    return sums


def walk_steps(analysis: Any) -> Steps[Any]:
    """All ranks into the cache, then the evidence for each; None where there can be none.

    Of frames that do not lie in memory each rank costs two reads of all of it, so none is computed that nobody asked for.
    """
    frames = yield from analysis.steps("frames")
    if not frames.in_memory:
        return None
    yield from analysis.path_steps()
    try:
        return (yield from analysis.evidence_steps())
    except DataError:
        return None


def run_steps(analysis: Any, preview: Callable[[dict[str, Any]], None] | None = None) -> Steps[Any]:
    """The whole chain; a step at the end of each stage, so that what is ready is shown.

    Raises
    ------
    DataError
        Before anything is read, if the memory that is left beside other jobs does not hold it.
    """
    from stem4d_panel.runtime.memory import limits

    with limits.promised(_needed(analysis), analysis.scan.name):
        return (yield from _run_steps(analysis, preview))


def _needed(analysis: Any) -> int:
    """Bytes that the chain will still fill."""
    from stem4d_panel.scan.memory import estimate

    if analysis.ready("factors"):
        return 0

    memory = estimate(analysis.scan.shape, analysis.scan.dtype, analysis.settings)
    return memory.factors if analysis.ready("frames") else memory.needed


def _run_steps(analysis: Any, preview: Callable[[dict[str, Any]], None] | None) -> Steps[Any]:
    for stages in STEP_STAGES.values():
        for stage in stages:
            if (
                preview is not None
                and stage == "factors"
                and not analysis.ready(stage)
                and analysis.peek("frames").matrix.size >= _PREVIEW_FROM
            ):
                preview((yield from analysis.preview_steps()))
            value = yield from analysis.steps(stage)
            yield Progress(stage, 1, 1, "stage")
    return value


class HeadStart:
    """Work on the data that a server was started with, until the first page asks for its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._over = False

    def begin(self, data: str | Path | None, settings: Settings) -> None:
        """Open the data and analyse them with these settings; a page that asks for the same joins."""

        def opened(job: Job) -> None:  # in the compute thread
            if job.state != "done":
                return
            from stem4d_panel.analysis import Analysis
            from stem4d_panel.scan.scan import Scan

            if isinstance(job.result, Scan):
                try:
                    analysis = Analysis(job.result, settings)
                    self._take(running_key(analysis), lambda: run_steps(analysis), None)
                except Stem4dError:
                    return  # the page says it

        self._take(opening_key(data, None, settings), lambda: open_steps(data, None, settings), opened)

    def let_go(self) -> None:
        """A page has asked: whatever it does not want ends."""
        with self._lock:
            self._over, job, self._job = True, self._job, None
        if job is not None:
            compute.release(job)

    def _take(self, key: str, make: Callable[[], Steps[Any]], listener: Callable[[Job], None] | None) -> None:
        with self._lock:
            if not self._over:
                self._job = compute.submit(key, make, listener)


head_start = HeadStart()
