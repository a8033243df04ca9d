"""The chain: an immutable pair of scan and settings whose stages are computed once and cached."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stem4d_panel.cluster.classes import ClassMaker
from stem4d_panel.cluster.stability import branch_stability
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.factorize import factors as factors_stage
from stem4d_panel.factorize.evidence import Evidence, evidence_steps
from stem4d_panel.prepare.halves import halves_steps, is_thinnable
from stem4d_panel.runtime.cache import Cache, shared_cache
from stem4d_panel.runtime.progress import Progress, Steps, finish
from stem4d_panel.scan.calibration import Calibration, calibrate
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import DataSettings, Settings
from stem4d_panel.stages import ORDER, STAGES, Given, recipe

if TYPE_CHECKING:
    from stem4d_panel.cluster.classes import Classes
    from stem4d_panel.cluster.positions import Positions
    from stem4d_panel.cluster.tree import Tree
    from stem4d_panel.factorize.factors import Compression, Factors
    from stem4d_panel.measure.details import Details
    from stem4d_panel.measure.findings import Findings
    from stem4d_panel.prepare.frames import Frames, Look
    from stem4d_panel.prepare.survey import Survey
    from stem4d_panel.results.result import Result


@dataclass(frozen=True, eq=False)
class _Timed:
    """A stage's value and the wall time that it took."""

    value: Any
    seconds: float


class Analysis:
    """A scan with settings; each stage is computed when it is first asked for, and shared through a cache.

    Parameters
    ----------
    scan : Scan, path or array-like
        Anything but a Scan is opened first.
    settings : Settings, optional
        Defaults to the defaults.
    cache : Cache, optional
        Defaults to the one of the process.
    client : distributed.Client, optional
        Of a Dask cluster whose workers make and hold the frames. They read the file under the same path, or the scan is
        a Dask array; statistics and the direct beam are still measured here.
    **changes
        Changes to the settings by short name (``rank``, ``threshold``, ``seed``) or by full name with two underscores
        for the dot (``prepare__bin=2``).

    Raises
    ------
    SettingError, DataError
        Here and from every stage, in one line.
    """

    def __init__(
        self,
        scan: Any,
        settings: Settings | None = None,
        cache: Cache | None = None,
        client: Any = None,
        **changes: Any,
    ) -> None:
        self.settings = (settings or Settings.make()).replace(_full_names(changes))
        self.scan, self.client = as_scan(scan, self.settings.data), client
        self.cache = shared_cache if cache is None else cache
        self._keys: dict[str, str] = {}
        self._held: dict[str, _Timed] = {}  # own values stay, however small the cache's budget is

    @classmethod
    def from_result(cls, result: Result | str | Path, scan: Any = None) -> Analysis:
        """The analysis that a saved result came from, at the settings it was saved with.

        Parameters
        ----------
        result : Result or path
        scan : Scan, path or array-like, optional
            Taken as it is. When absent, the scan's file is looked for beside that of the result.

        Raises
        ------
        DataError
            If the scan is not found, or one of the two cannot be opened.
        """
        from stem4d_panel.results.source import open_source
        from stem4d_panel.results.store import load_result

        folder = Path(result).absolute().parent if isinstance(result, (str, Path)) else None
        found = load_result(result) if isinstance(result, (str, Path)) else result
        return cls(open_source(found, folder) if scan is None else scan, found.settings)

    def replace(self, settings: Settings | Mapping[str, Any] | None = None, **changes: Any) -> Analysis:
        """The same scan with other settings; what does not depend on the change is shared."""
        base = settings if isinstance(settings, Settings) else self.settings.replace(settings or {})
        new = Analysis(self.scan, base, self.cache, self.client, **changes)
        keys = {new.key(stage) for stage in ORDER}
        new._held = {key: value for key, value in self._held.items() if key in keys}
        return new

    def key(self, stage: str) -> str:
        """Identifies a stage's value: the data, the settings used so far and the versions of the code."""
        if stage not in self._keys:
            self._keys[stage] = self._digest(stage)
        return self._keys[stage]

    def _digest(self, stage: str) -> str:
        used = [
            (n, version, [(name, self.settings.get(name)) for name in names]) for n, version, names in recipe(stage)
        ]
        if ORDER.index(stage) >= ORDER.index("compression"):  # one for all ranks of the slider
            used.append(("size", 0, [("rank", max(self.settings.factorize.rank, self.settings.factorize.rank_max))]))
        where = self.client.id if self.client is not None else ""
        return hashlib.sha256(repr((self.scan.fingerprint, used, where)).encode()).hexdigest()

    def _found(self, stage: str) -> _Timed | None:
        key = self.key(stage)
        if "factorize.rank" in self.settings.explicit and ORDER.index(stage) >= ORDER.index("factors"):
            # a default that was clamped is no answer to the same rank when it is stated
            factors = self._held.get(self.key("factors")) or self.cache.get(self.key("factors"))
            if factors is None or factors.value.rank != self.settings.factorize.rank:
                return None
        found = self._held.get(key) or self.cache.get(key)
        if found is not None:
            self._held[key] = found
        return found

    def ready(self, stage: str) -> bool:
        """Whether a stage's value is there."""
        return self._found(stage) is not None

    def peek(self, stage: str) -> Any | None:
        """A stage's value if it is there."""
        found = self._found(stage)
        return None if found is None else found.value

    def steps(self, stage: str = "details") -> Steps[Any]:
        """Compute a stage and what it needs, step by step; returns its value."""
        found = self._found(stage) or self._recalled(stage)
        if found is None:
            needs = {}
            for name in STAGES[stage].needs:
                needs[name] = yield from self.steps(name)
            started = time.perf_counter()
            value = yield from STAGES[stage].make(self._given, **needs)
            key, found = self.key(stage), _Timed(value, time.perf_counter() - started)
            self._held[key] = found
            self.cache.put(key, found)
            if self._can_be_kept:
                from stem4d_panel.results import kept

                kept.keep(stage, key, found.value, found.seconds)
        return found.value

    @property
    def _can_be_kept(self) -> bool:
        """Whether values may go into the cache folder: those of a file, computed here."""
        return self.scan.source is not None and self.client is None

    def _recalled(self, stage: str) -> _Timed | None:
        """A stage's value from the cache folder, if one is stated."""
        if not self._can_be_kept:
            return None
        from stem4d_panel.results import kept

        recalled = kept.recall(stage, self.key(stage))
        if recalled is None:
            return None
        value, rank = recalled[0], self.settings.factorize.rank
        if "factorize.rank" in self.settings.explicit and rank != getattr(value, "rank", getattr(value, "size", rank)):
            return None  # of a default that was clamped, as above
        found = self._held[self.key(stage)] = _Timed(*recalled)
        self.cache.put(self.key(stage), found)
        return found

    def run(self, stage: str = "details", report: Callable[[Progress], None] | None = None) -> Any:
        """Compute a stage, handing progress to `report`; returns its value."""
        return finish(self.steps(stage), report)

    @property
    def _given(self) -> Given:
        return Given(self.scan, self.calibration, self.settings, self.client)

    @cached_property
    def calibration(self) -> Calibration:
        """What is known of the microscope."""
        return calibrate(self.scan, self.settings.calibration)

    @cached_property
    def survey(self) -> Survey:
        """Statistics of the raw scan."""
        return self.run("survey")  # type: ignore[no-any-return]

    @cached_property
    def look(self) -> Look:
        """Bad pixels, direct beam and radii of the mask."""
        return self.run("look")  # type: ignore[no-any-return]

    @cached_property
    def frames(self) -> Frames:
        """The prepared matrix."""
        return self.run("frames")  # type: ignore[no-any-return]

    @cached_property
    def compression(self) -> Compression:
        """The prepared matrix and its leading singular vectors."""
        return self.run("compression")  # type: ignore[no-any-return]

    @cached_property
    def factors(self) -> Factors:
        """Maps and patterns."""
        return self.run("factors")  # type: ignore[no-any-return]

    @cached_property
    def tree(self) -> Tree:
        """Merges of the components."""
        return self.run("tree")  # type: ignore[no-any-return]

    @cached_property
    def branches(self) -> ClassMaker:
        """The branches of the tree, integrated when they are cut."""
        return self.run("branches")  # type: ignore[no-any-return]

    @cached_property
    def classes(self) -> Classes:
        """Classes at the threshold."""
        return self.run("classes")  # type: ignore[no-any-return]

    @cached_property
    def findings(self) -> Findings:
        """What the classes say of the sample."""
        return self.run("findings")  # type: ignore[no-any-return]

    @cached_property
    def details(self) -> Details:
        """What the pattern of each class says, and the sizes of its particles."""
        return self.run("details")  # type: ignore[no-any-return]

    def evidence_steps(self, ranks: Sequence[int] | None = None) -> Steps[Evidence]:
        """What speaks for each rank, step by step; ``1..factorize.rank_max`` where no ranks are named.

        Raises
        ------
        DataError
            If nothing can be held out: the scan holds no counts, the settings take their square root, or the frames are
            larger than the memory they may take.
        """
        frames = yield from self.steps("frames")
        compression = yield from self.steps("compression")
        factorize = self.settings.factorize
        top = min(factorize.rank_max, frames.largest_rank)
        wanted = list(range(1, top + 1)) if ranks is None else [int(r) for r in ranks]
        for rank in wanted:
            if not 1 <= rank <= frames.largest_rank:
                raise SettingError(
                    f"ranks: {rank} is not from 1 to {frames.largest_rank}, the most that the scan allows"
                )
        if not is_thinnable(self.scan, frames):
            raise DataError(f"{self.scan.name}: no held-out evidence: it needs counts, prepared without a square root")
        if not frames.in_memory:
            raise DataError(f"{self.scan.name}: no held-out evidence: two halves of the scan do not fit the memory")
        base = self.replace(rank=1).key("factors")  # the same whatever the present rank
        key = hashlib.sha256(repr((base, factors_stage.EVIDENCE_VERSION, wanted)).encode()).hexdigest()
        found = self.cache.get(key)
        if found is None:
            halves = yield from halves_steps(self.scan, frames, self.settings.prepare, factorize.seed)
            constraints, _ = factors_stage.constraints_of(frames, factorize)
            found = yield from evidence_steps(
                halves,
                compression.low,
                wanted,
                factorize.seed,
                joined=max(1.0, 4 * np.pi * frames.smooth**2),
                constraints=constraints,
            )
            self.cache.put(key, found)
        return found

    def evidence(self, ranks: Sequence[int] | None = None) -> Evidence:
        """What speaks for each rank; see :meth:`evidence_steps`."""
        return finish(self.evidence_steps(ranks))

    def stability_steps(self, seeds: int = 3) -> Steps[np.ndarray]:
        """How well each branch is found again by factorisations with other seeds, shape (2 k - 1,); see `branch_stability`.

        Parameters
        ----------
        seeds : int
            Number of other factorisations, of seeds that follow the present one.
        """
        if seeds < 1:
            raise SettingError(f"seeds: {seeds} is less than 1")
        factors, tree = (yield from self.steps("factors")), (yield from self.steps("tree"))
        key = hashlib.sha256(repr((self.key("tree"), "stability", seeds)).encode()).hexdigest()
        found = self.cache.get(key)
        if found is None:
            others = []
            for i in range(seeds):
                yield Progress("stability", i, seeds, "seed")
                other = self.replace(seed=(self.settings.factorize.seed + i + 1) % 2**32, rank=factors.rank)
                others.append(((yield from other.steps("factors")), (yield from other.steps("tree"))))
            found = branch_stability(factors, tree, others)
            self.cache.put(key, found)
        return found

    def stability(self, seeds: int = 3) -> np.ndarray:
        """How well each branch is found again; see :meth:`stability_steps`."""
        return finish(self.stability_steps(seeds))

    def positions_steps(self, measured: bool = False) -> Steps[Positions]:
        """Every position clustered under rotation, rather than the components; see `cluster.positions`.

        Parameters
        ----------
        measured : bool
            Take the prepared frames themselves in place of the model's patterns, which the factors have freed of noise.
        """
        from stem4d_panel.cluster.positions import position_steps

        frames, factors = (yield from self.steps("frames")), (yield from self.steps("factors"))
        tree = yield from self.steps("tree")
        return (
            yield from position_steps(
                factors.maps,
                factors.patterns,
                factors.mask,
                frames.centre,
                background=tuple(int(i) for i in np.flatnonzero(tree.apart)),
                frames=frames.unfolded() if measured else None,
                seed=self.settings.factorize.seed,
            )
        )

    def positions(self, measured: bool = False) -> Positions:
        """Every position clustered; see :meth:`positions_steps`."""
        return finish(self.positions_steps(measured))

    def path_steps(self) -> Steps[int]:
        """Factors and tree of every rank of the slider's range into the cache, the nearest to the present rank first.

        Returns
        -------
        int
            How many ranks are there.
        """
        frames = yield from self.steps("frames")
        top = min(self.settings.factorize.rank_max, frames.largest_rank)
        here = min(self.settings.factorize.rank, top)
        ranks = sorted(range(1, top + 1), key=lambda rank: (abs(rank - here), -rank))
        for done, rank in enumerate(ranks):
            yield Progress("path", done, len(ranks), "rank")
            yield from self.replace(rank=rank).steps("branches")
        return len(ranks)

    def preview_steps(self) -> Steps[dict[str, Any]]:
        """A first look at the present rank, from the compressed data alone: factors, tree, classes and findings by name."""
        frames, compression = (yield from self.steps("frames")), (yield from self.steps("compression"))
        factors = yield from factors_stage.preview_factors_steps(
            frames, self.settings.factorize, compression, self._given.clamp
        )
        tree = yield from STAGES["tree"].make(self._given, frames=frames, factors=factors)
        branches = ClassMaker(factors, tree, frames.centre, self.settings.cluster)
        classes = yield from STAGES["classes"].make(self._given, branches=branches)
        findings = yield from STAGES["findings"].make(self._given, factors=factors, tree=tree, classes=classes)
        return {"factors": factors, "tree": tree, "classes": classes, "findings": findings}

    def seconds(self) -> dict[str, float]:
        """Wall time of each stage when it was computed."""
        found = {name: self._found(name) for name in ORDER}
        return {name: timed.seconds for name, timed in found.items() if timed is not None}

    def result(self) -> Result:
        """All products as one value, computed where need be."""
        from stem4d_panel.results import provenance
        from stem4d_panel.results.result import Result

        details, frames, factors = self.run("details"), self.run("frames"), self.run("factors")
        classes, findings = self.run("classes"), self.run("findings")
        return Result(
            name=self.scan.name,
            axes=frames.axes,
            centre=frames.centre,
            mask=frames.mask,
            mean_pattern=frames.mean,
            factors=factors,
            tree=self.run("tree"),
            classes=classes,
            findings=findings,
            details=details,
            settings=self.settings,
            calibration=self.calibration.as_dict(),
            source=provenance.describe_source(self.scan),
            preparation=provenance.describe_preparation(frames),
            warnings=tuple(w for part in (self.scan, frames, factors, classes, findings) for w in part.warnings),
            seconds=self.seconds(),
            provenance=provenance.describe_program(),
        )

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Save the result as one HDF5 file that HyperSpy and NeXus tools open.

        Raises
        ------
        DataError
            If the file exists and `overwrite` is not set, or it cannot be written.
        """
        from stem4d_panel.results.store import save_result

        return save_result(self.result(), path, overwrite=overwrite)


def as_scan(data: Any, settings: DataSettings | None = None) -> Scan:
    """A Scan from a Scan, a path (opened with the settings), an array or a HyperSpy signal.

    Raises
    ------
    DataError
        If it is none of these, or cannot be opened.
    """
    if isinstance(data, Scan):
        return data
    if isinstance(data, (str, Path)):
        from stem4d_panel.scan.readers import open_scan

        return open_scan(data, settings=settings)
    return Scan.from_array(data)


def _full_names(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in changes.items()}
