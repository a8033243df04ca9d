"""What ``stem4d run`` does with one input after another. Heavy: imported when a run begins."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stem4d_panel.analysis import Analysis
from stem4d_panel.by_hand import Moves, Names
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.results.recipe import ENDING, is_sample
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import save_result
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.runtime.progress import Progress
from stem4d_panel.scan.probe import probe
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

_PARTS = {
    "prepare": ("survey", "look", "frames"),
    "factorize": ("compression", "factors"),
    "cluster": ("tree", "classes"),
    "measure": ("findings", "details"),
}
_SHOWN = 12  # members of a class named in the table
_ROWS = 40  # classes in the table


@dataclass(frozen=True)
class Job:
    """An input and the file that its result goes to, as they were given."""

    source: str
    target: str


@dataclass(frozen=True)
class Report:
    """A run that went well."""

    job: Job
    scan: Scan
    result: Result
    seconds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The line that ``--json`` prints."""
        factors, classes = self.result.factors, self.result.classes
        return {
            "input": self.job.source,
            "output": self.job.target,
            "scan_shape": list(self.scan.scan_shape),
            "detector_shape": list(self.scan.detector_shape),
            "rank": factors.rank,
            "relative_error": float(factors.relative_error),
            "iterations": int(factors.iterations),
            "converged": bool(factors.converged),
            "n_classes": classes.count,
            "labels": [int(i) for i in classes.labels],
            "rotations": [float(r) for r in classes.rotations],
            "names": [found.name for found in self.result.findings.classes],
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "peak_memory_bytes": peak_memory(),
            "warnings": list(self.result.warnings),
        }

    def __str__(self) -> str:
        """A summary to read."""
        factors, classes = self.result.factors, self.result.classes
        scan, detector = (" × ".join(map(str, s)) for s in (self.scan.scan_shape, self.scan.detector_shape))
        lines = [
            f"{self.job.source} -> {self.job.target}",
            f"  scan {scan}, detector {detector}, {sum(self.seconds.values()):.1f} s",
            f"  rank {factors.rank}, relative error {factors.relative_error:.4f}, {factors.iterations} iterations"
            + ("" if factors.converged else ", not converged"),
            f"  {classes.count} classes at threshold {classes.threshold:g}"
            + (" (suggested)" if classes.suggested else ""),
        ]
        rows = [("class", "share", "area", "crystalline", "symmetry", "diameter", "members: rotation in degrees")]
        for found in self.result.findings.classes[:_ROWS]:
            turned = [f"{i}: {classes.rotations[i]:.0f}" if found.crystalline else str(i) for i in found.members]
            more = f" and {len(turned) - _SHOWN} more" if len(turned) > _SHOWN else ""
            rows.append(
                (
                    f"{found.label} {found.name}".rstrip(),
                    f"{found.share:.1%}",
                    f"{found.fraction:.1%}",
                    "yes" if found.crystalline else "no",
                    str(found.fold) if found.fold > 1 else "-",
                    self.result.details.diameter(found.label) or "-",
                    ", ".join(turned[:_SHOWN]) + more,
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        lines += ["  " + "  ".join([*(c.rjust(w) for c, w in zip(row, widths, strict=False)), row[6]]) for row in rows]
        if classes.count > _ROWS:
            lines.append(f"  and {classes.count - _ROWS} more classes")
        if classes.moved:
            lines.append(f"  moved by hand: {', '.join(map(str, classes.moved))}")
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.result.warnings)])


class Batch:
    """How runs with the same settings ended."""

    def __init__(self) -> None:
        self.saved: list[str] = []
        self._rows: list[tuple[str, ...]] = []
        self._failed = 0

    def ended(self, report: Report) -> None:
        """A run that went well."""
        result = report.result
        crystalline = [c for c in result.findings.classes if c.crystalline]
        diameters = [d for c in crystalline if (d := result.details.diameter(c.label)) is not None]
        self.saved.append(report.job.target)
        self._rows.append(
            (
                report.job.source, "done" if result.factors.converged else "not converged", str(result.factors.rank),
                f"{result.factors.relative_error:.4f}", f"{len(crystalline)} of {result.classes.count}",
                ", ".join(diameters[:3]) + (" …" if len(diameters) > 3 else "") or "-", str(len(result.warnings)),
                f"{sum(report.seconds.values()):.1f} s",
            )
        )  # fmt: skip

    def failed(self, job: Job, error: BaseException) -> None:
        """A run that did not, for the reason that was told when it happened."""
        self._failed += 1
        self._rows.append((job.source, "failed", *["-"] * 6))

    def lines(self) -> Iterator[str]:
        """A table to read."""
        heads = ("input", "state", "rank", "error", "crystalline", "diameters", "warnings", "time")
        rows = [heads, *self._rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
        yield f"{len(self.saved)} of {len(self._rows)} analysed" + (f", {self._failed} failed" if self._failed else "")
        for row in rows:
            yield "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()


def check_page(path: str, overwrite: bool, count: int) -> None:
    """Refuse a page of comparison before any work is done for it.

    Raises
    ------
    DataError
        If it is no HTML file, could not be written, or there are fewer than two results to compare.
    """
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{path}: a comparison is a file that ends in .html")
    if count < 2:
        raise DataError(f"{path}: {count} given; a comparison takes 2 or more")
    check_target(path, overwrite)


def plan(inputs: Sequence[str], out: str) -> list[Job]:
    """Which input goes to which file; a folder is made where the results go into one.

    Raises
    ------
    DataError
        If two inputs would go to one file, an output is an input, or the folder cannot be made.
    """
    if len(inputs) == 1 and not os.path.isdir(out) and not out.endswith(("/", os.sep)):
        jobs = [Job(inputs[0], out)]
    else:
        jobs = [Job(source, str(Path(out) / (_stem(source) + ENDING))) for source in inputs]
        seen: dict[str, str] = {}
        for job in jobs:
            name = Path(job.target).name
            if (other := seen.setdefault(os.path.normcase(name), job.source)) is not job.source:
                raise DataError(f"{name}: is the output of both {other} and {job.source}; run them into two folders")
    for job in jobs:
        for source in inputs:
            if os.path.exists(source) and os.path.exists(job.target) and os.path.samefile(source, job.target):
                raise DataError(f"{job.target}: is an input, which is never replaced")
    if jobs[0].target is not out:
        try:
            os.makedirs(out, exist_ok=True)
        except OSError as error:
            raise DataError(f"{out}: the folder cannot be made: {error.strerror or error}") from error
    return jobs


def check_target(path: str, overwrite: bool) -> None:
    """Refuse an output that could not be written, before any work is done for it.

    Raises
    ------
    DataError
        If it exists and is not to be replaced, is no regular file, or its folder is missing or not writable.
    """
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise DataError(f"{path}: is a folder, not a file")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise DataError(f"{path}: is not a regular file")
    if os.path.exists(path) and not overwrite:
        raise DataError(f"{path}: exists already; --overwrite replaces it")
    if not os.path.isdir(folder):
        raise DataError(f"{path}: cannot be written: no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{path}: cannot be written: folder {folder} is not writable")


def run(
    job: Job,
    settings: Settings,
    dataset: str | None = None,
    overwrite: bool = False,
    client: Any = None,
) -> Report:
    """Analyse one input and save the result, progress going to standard error.

    Raises
    ------
    DataError, SettingError
        If the input, a setting for it, or the output is refused.
    """
    check_target(job.target, overwrite)
    scan = _open(job.source, dataset, settings)
    _check_rank(scan, settings)
    # without a budget: every stage is wanted until the result is saved, and the memory goes with the run
    analysis = Analysis(scan, settings, Cache(budget=sys.maxsize), client)
    with _progress(scan.name) as report:
        analysis.run(report=report)
        result = analysis.result()
        report(Progress("save", 0, 1))
        started = time.perf_counter()
        save_result(result, job.target, overwrite)
        saved = time.perf_counter() - started
    took = analysis.seconds()
    seconds = {part: sum(took.get(stage, 0.0) for stage in stages) for part, stages in _PARTS.items()}
    return Report(job, scan, result, {**seconds, "save": saved})


def _open(source: str, dataset: str | None, settings: Settings) -> Scan:
    if is_sample(source):
        from stem4d_panel.scan.sample import sample_scan

        return sample_scan(int(source.partition(":")[2]))
    probe(Path(source))
    return open_scan(source, dataset, settings=settings.data)


def _stem(source: str) -> str:
    return source.replace(":", "-") if is_sample(source) else Path(source).stem


@contextmanager
def workers(address: str | None, plain: bool) -> Iterator[Any]:
    """A client of the cluster that is asked for, or None; see `runtime.cluster.cluster`."""
    if address is None:
        yield None
        return
    from stem4d_panel.runtime.cluster import cluster

    with cluster(address, plain) as client:
        yield client


def _check_rank(scan: Scan, settings: Settings) -> None:
    """Refuse a stated rank above what the scan allows at best, and components that no rank so high has.

    Masks may lower the rank later on.
    """
    positions, pixels = math.prod(scan.scan_shape), math.prod(scan.detector_shape)
    rank = settings.factorize.rank
    if "factorize.rank" in settings.explicit and rank > min(positions, pixels):
        raise SettingError(
            f"factorize.rank: {rank} is above {min(positions, pixels)}, the most that {positions} positions × {pixels} pixels allow"
        )
    Moves.parse(settings.cluster.moves).at(rank)
    Names.parse(settings.cluster.names).at(rank)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[Progress], None]]:
    """Show progress on standard error: a bar on a terminal, else one line a stage, once it is over.

    Nothing is written of a stage in which an error ends the run, so that the error's line stands where it is looked for.
    """
    if not sys.stderr.isatty():
        yield _StageLines(name)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    text = TextColumn("{task.description}", markup=False)
    note = TextColumn("{task.fields[note]}", markup=False)
    with Bar(text, BarColumn(), note, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, note="")

        def show(progress: Progress) -> None:
            count = f"{progress.unit} {progress.done}/{progress.total}" if progress.unit else ""
            described = f"{name} · {progress.stage}"
            note = " · ".join(filter(None, (count, progress.note)))
            bar.update(task, description=described, completed=progress.done, total=progress.total, note=note)

        yield show


class _StageLines:
    """One line a stage with the seconds it took."""

    def __init__(self, name: str) -> None:
        self._name, self._stage, self._since = name, "", time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        if progress.stage == self._stage:
            return
        now = time.perf_counter()
        if self._stage:
            print(f"{self._name}: {self._stage} {now - self._since:.1f} s", file=sys.stderr, flush=True)
        self._stage, self._since = progress.stage, now


def peak_memory() -> int | None:
    """The most bytes of memory that this process has held; None where the system does not tell."""
    try:  # Linux's own count; that of getrusage takes in the process that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)
