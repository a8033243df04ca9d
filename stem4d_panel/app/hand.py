"""What a session does with classes that are changed by hand, and with a saved result, which knows little else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stem4d_panel.by_hand import Moves, Names
from stem4d_panel.settings import Settings

RESET = "components are made anew: moves and names of classes are reset"
OTHER_SCAN = "this is not the scan of the saved result: its settings are kept, its moves and names of classes are not"
_TEXTS = ("cluster.moves", "cluster.names")


def named(shown: Any, settings: Settings, label: int, text: str) -> dict[str, Any]:
    """The change of settings that names a class of those that are shown; nothing takes its name away."""
    from stem4d_panel.cluster.manual import name

    before = Names.parse(settings.cluster.names).at(shown.factors.rank)[0]
    new = name(before, shown.classes, shown.factors.totals, label, text)
    return {} if new == before else {"cluster.names": str(new) or None}


def moved(shown: Any, settings: Settings, component: int, label: int | None) -> dict[str, Any]:
    """The change of settings that moves a component into a class of those that are shown, or one of its own."""
    from stem4d_panel.cluster.manual import move

    before = Moves.parse(settings.cluster.moves).at(shown.factors.rank)[0]
    new = move(before, shown.classes, shown.tree, shown.factors.totals, component, label)
    return {} if new == before else {"cluster.moves": str(new) or None}


def without(settings: Settings) -> Settings:
    """The same without moves and names."""
    stated = [name for name in _TEXTS if settings.get(name) is not None]
    return settings.replace(dict.fromkeys(stated)) if stated else settings


def after_change(before: Settings, new: Settings, changes: Mapping[str, Any]) -> Settings:
    """New settings, without the old moves and names where they make components anew, which have other numbers."""

    def makers(settings: Settings) -> tuple[Any, ...]:
        factorize = {**settings.factorize.as_dict(), "rank": None}  # a rank stands with the moves and names
        return settings.data, settings.calibration, settings.prepare, factorize

    if makers(before) == makers(new):
        return new
    return new.replace({name: None for name in _TEXTS if name not in changes and new.get(name) is not None})


def is_other(scan: Any, analysis: Any, result: Any) -> bool:
    """Whether a scan is another one than that of the analysis or saved result before it; False without any."""
    if analysis is None and result is None:
        return False
    if analysis is not None:
        return bool(scan.fingerprint != analysis.scan.fingerprint)
    from stem4d_panel.results.source import is_source

    return not is_source(result.source, scan)


def replaced(before: Settings, new: Settings) -> Iterator[str]:
    """What is told when moves or names take the place of those of another rank."""
    pairs = (
        ("cluster.moves", Moves.parse(before.cluster.moves).rank, Moves.parse(new.cluster.moves).rank),
        ("cluster.names", Names.parse(before.cluster.names).rank, Names.parse(new.cluster.names).rank),
    )
    for name, old, now in pairs:
        if None not in (old, now) and old != now:
            yield f"{name}: those made at rank {old} are replaced"


def check(settings: Settings, rank: int) -> None:
    """Refuse moves and names of components that are not there.

    Raises
    ------
    SettingError
    """
    Moves.parse(settings.cluster.moves).at(rank)
    Names.parse(settings.cluster.names).at(rank)


def recut(result: Any, branches: Callable[[], Any], settings: Settings) -> tuple[Any, Any]:
    """Classes and findings of a saved result under other settings; `branches` gives its ClassMaker."""
    from stem4d_panel.measure.findings import measure

    classes, cluster, saved = result.classes, settings.cluster, result.settings
    if (cluster.threshold, cluster.moves) != (saved.cluster.threshold, saved.cluster.moves):
        classes = branches().at(cluster.threshold, Moves.parse(cluster.moves))
    elif (cluster.names, settings.measure) == (saved.cluster.names, saved.measure):
        return classes, result.findings
    return classes, measure(result.factors, result.tree, classes, settings.measure, Names.parse(cluster.names))


def as_shown(result: Any, shown: Any, details: Any, settings: Settings) -> Any:
    """A saved result with the classes that are shown; without details where they are those of other classes."""
    old = {*result.classes.warnings, *result.findings.warnings}
    kept = [text for text in result.warnings if text not in old]
    return replace(
        result,
        settings=settings,
        classes=shown.classes,
        findings=shown.findings,
        details=details or replace(result.details, classes=(), shape=settings.measure.shape),
        warnings=(*kept, *shown.classes.warnings, *shown.findings.warnings),
    )


def new_warnings(before: Any, shown: Any) -> Iterator[str]:
    """What classes and findings warn of that those shown before did not."""
    said = {text for part in (before.classes, before.findings) if part is not None for text in part.warnings}
    for part in (shown.classes, shown.findings):
        if part is not None:
            yield from (text for text in part.warnings if text not in said)
