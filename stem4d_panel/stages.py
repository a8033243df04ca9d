"""The stages of the chain in order: what each needs, which settings it reads, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stem4d_panel import prepare as prepare_stage
from stem4d_panel.by_hand import Moves, Names
from stem4d_panel.cluster import classes as classes_stage
from stem4d_panel.cluster import grow as tree_stage
from stem4d_panel.cluster.classes import ClassMaker
from stem4d_panel.factorize import factors as factors_stage
from stem4d_panel.measure import details as details_stage
from stem4d_panel.measure import findings as findings_stage
from stem4d_panel.prepare import chain as prepare_chain
from stem4d_panel.prepare.survey import survey_steps
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.calibration import Calibration
from stem4d_panel.scan.memory import check_analysable
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings

if TYPE_CHECKING:
    from stem4d_panel.cluster.classes import Classes
    from stem4d_panel.cluster.tree import Tree
    from stem4d_panel.factorize.factors import Compression, Factors
    from stem4d_panel.measure.details import Details
    from stem4d_panel.measure.findings import Findings
    from stem4d_panel.prepare.frames import Frames, Look
    from stem4d_panel.prepare.survey import Survey


@dataclass(frozen=True, eq=False)
class Given:
    """What all stages are made from."""

    scan: Scan
    calibration: Calibration
    settings: Settings
    client: Any = None  # of a Dask cluster

    @property
    def clamp(self) -> bool:
        """Whether a rank that is too large is lowered: a default is, a stated one is refused."""
        return "factorize.rank" not in self.settings.explicit


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    make : callable
        From what is given and the values that it needs, by name, to the steps that make its value.
    version : int
        Of the code; part of the cache key.
    needs : tuple of str
        Stages whose values it is made from.
    uses : tuple of str
        Settings that it reads, beside those of the stages before it.
    ignores : tuple of str
        Of those of the stages before it, the ones that do not change it.
    """

    make: Callable[..., Steps[Any]]
    version: int
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()


def _make_survey(given: Given) -> Steps[Survey]:
    check_analysable(given.scan, given.settings)
    return (yield from survey_steps(given.scan, given.client))


def _make_look(given: Given, survey: Survey) -> Steps[Look]:
    return (yield from prepare_stage.look_steps(given.scan, survey, given.settings.prepare, given.client))


def _make_frames(given: Given, look: Look) -> Steps[Frames]:
    return (
        yield from prepare_stage.prepare_steps(
            given.scan, look, given.calibration, given.settings.prepare, given.client
        )
    )


def _make_compression(given: Given, frames: Frames) -> Steps[Compression]:
    settings = given.settings.factorize
    rank, _ = factors_stage.choose_rank(frames, settings, given.clamp)
    return (yield from factors_stage.compression_steps(frames, settings, rank))


def _make_factors(given: Given, frames: Frames, compression: Compression) -> Steps[Factors]:
    return (yield from factors_stage.factorise_steps(frames, given.settings.factorize, given.clamp, compression))


def _make_tree(given: Given, frames: Frames, factors: Factors) -> Steps[Tree]:
    return (yield from tree_stage.grow_from_frames_steps(factors, frames, given.settings.cluster))


def _make_branches(given: Given, frames: Frames, factors: Factors, tree: Tree) -> Steps[ClassMaker]:
    yield Progress("cluster", 0, 1, "step", "turning")
    return ClassMaker(factors, tree, frames.centre, given.settings.cluster)


def _make_classes(given: Given, branches: ClassMaker) -> Steps[Classes]:
    yield Progress("cluster", 0, 1, "cut")
    settings = given.settings.cluster
    return branches.at(settings.threshold, Moves.parse(settings.moves))


def _make_findings(given: Given, factors: Factors, tree: Tree, classes: Classes) -> Steps[Findings]:
    yield Progress("measure", 0, 1, "step")
    settings = given.settings
    return findings_stage.measure(factors, tree, classes, settings.measure, Names.parse(settings.cluster.names))


def _make_details(
    given: Given, frames: Frames, factors: Factors, classes: Classes, findings: Findings
) -> Steps[Details]:
    settings = given.settings
    return (
        yield from details_stage.detail_steps(factors, classes, findings, frames, settings.factorize, settings.measure)
    )


def _of(group: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{group}.{name}" for name in names)


STAGES: dict[str, Stage] = {
    "survey": Stage(_make_survey, prepare_chain.VERSION),
    "look": Stage(
        _make_look,
        prepare_chain.VERSION,
        ("survey",),
        _of(
            "prepare", "nonfinite", "negative", "hot_pixels", "hot_ratio", "centre", "centre_ky", "centre_kx",
            "mask_inner", "mask_outer", "align", "ellipse", "ellipse_ratio", "ellipse_angle", "beam_stop", "saturated",
        ),
    ),
    "frames": Stage(
        _make_frames,
        prepare_chain.VERSION,
        ("look",),
        (
            *_of(
                "calibration", "scan_step", "detector_step", "detector_units", "voltage", "convergence", "probe_size"
            ),
            *_of("prepare", "bin", "smooth", "background", "background_percentile", "normalise", "noise"),
        ),
    ),
    "compression": Stage(_make_compression, factors_stage.VERSION, ("frames",), ("factorize.seed",)),
    "factors": Stage(
        _make_factors,
        factors_stage.VERSION,
        ("frames", "compression"),
        _of(
            "factorize", "rank", "solver", "start", "starts", "compress", "resolution", "holes", "max_iter", "polish",
            "tol",
        ),
    ),
    "tree": Stage(
        _make_tree,
        tree_stage.VERSION,
        ("frames", "factors"),
        _of(
            "cluster", "similarity", "method", "centring", "noise", "place", "glass", "coherence", "friedel", "mirror",
            "integrate", "overlap",
        ),
    ),
    "branches": Stage(_make_branches, classes_stage.VERSION, ("frames", "factors", "tree")),
    "classes": Stage(_make_classes, classes_stage.VERSION, ("branches",), _of("cluster", "threshold", "moves")),
    "findings": Stage(
        _make_findings, findings_stage.VERSION, ("factors", "tree", "classes"), ("cluster.names", "measure.level")
    ),
    "details": Stage(
        _make_details, details_stage.VERSION, ("frames", "factors", "classes", "findings"), ("measure.shape",),
        ignores=("cluster.names",),
    ),
}  # fmt: skip
ORDER = tuple(STAGES)


def recipe(stage: str) -> Iterator[tuple[str, int, list[str]]]:
    """Of a stage and those before it the name, the version and the settings that the stage depends on."""
    for name in ORDER[: ORDER.index(stage) + 1]:
        one = STAGES[name]
        yield name, one.version, [setting for setting in one.uses if setting not in STAGES[stage].ignores]
