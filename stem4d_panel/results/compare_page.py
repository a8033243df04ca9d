"""The comparison of several results as one page: which structures they share, and how alike all their classes are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from stem4d_panel.cluster.polar import rotate_pattern
from stem4d_panel.results import class_text
from stem4d_panel.results.colours import CRYSTALLINE
from stem4d_panel.results.compare import Comparison, compare
from stem4d_panel.results.page import bullets, data_table, document, facts, figure, notice, swatch
from stem4d_panel.results.paper import WIDTH, frame, grid, pattern, tallness
from stem4d_panel.results.plots import alone, as_svg
from stem4d_panel.results.result import Result
from stem4d_panel.results.text import safe_text
from stem4d_panel.runtime.files import replacing

_COLUMNS = 5  # patterns beside each other
_NUMBERED = 24  # classes up to which each similarity is written into the matrix
_LONGEST = 22  # letters of a scan's name above a picture


def save_comparison(
    results: Sequence[Result], path: str | Path, threshold: float | None = None, overwrite: bool = False
) -> Comparison:
    """Compare results and write the page of it.

    Raises
    ------
    DataError
        As `compare`, or if the file exists and `overwrite` is not set, or it cannot be written.
    """
    found = compare(results, threshold)
    with replacing(Path(path), overwrite) as part:
        part.write_text(comparison_page(results, found), encoding="utf-8")
    return found


def comparison_page(results: Sequence[Result], found: Comparison) -> str:
    """The comparison as one HTML document."""
    groups = sorted(set(found.groups.tolist()))
    everywhere = sum(len({found.members[i].result for i in found.of(g)}) == len(results) for g in groups)
    known = {
        "scans": str(len(results)),
        "crystalline classes": str(len(found.members)),
        "structures": str(len(groups)),
        "in every scan": str(everywhere),
        "threshold": f"{found.threshold:.3f}",
    }
    said = [*found.warnings, *(f"{r.name}: {text}" for r in results for text in r.warnings)]
    how = [
        "Structures are crystalline classes whose patterns correlate over the rotation angle, joined by average linkage up to the threshold.",
        f"The threshold: {found.reason}.",
        f"Patterns were brought onto one scale in {found.unit}, the coarsest, and cut to the radii that all of them hold.",
    ]
    sections = {
        "structures": ("The structures", _structures(results, found, groups)),
        "alike": (
            "How alike the classes are",
            _alike(results, found) if found.members else "<p>No crystalline class.</p>",
        ),
        "scans": ("The scans", _scans(results)),
    }
    first = facts(known) + notice(said) + f'<section class="notes"><h2>Good to know</h2>{bullets(how)}</section>'
    title = f"{len(results)} scans compared"
    return document(title, "Classes of several 4D-STEM scans, matched under rotation.", first, sections, "stem4d")


def _colour(group: int) -> str:
    return CRYSTALLINE[group % len(CRYSTALLINE)]


def _structures(results: Sequence[Result], found: Comparison, groups: list[int]) -> str:
    heads = [
        "structure",
        "scan",
        "class",
        "intensity",
        "area",
        "symmetry",
        "diameter (particles)",
        "strongest spacings",
        "similarity",
        "turned by",
    ]
    rows, pictures = [], []
    for group in groups:
        members = found.of(group)
        for i in members:
            result = results[found.members[i].result]
            c = result.findings.classes[found.members[i].label]
            detail = result.details.of(c.label)
            rows.append([
                swatch(_colour(group)) + str(group), safe_text(result.name), safe_text(class_text.class_name(c)), f"{100 * c.share:.1f} %",
                f"{100 * c.fraction:.1f} %", safe_text(class_text.symmetry(c)),
                safe_text(class_text.diameter(result.details, detail)) if detail else "–",
                safe_text(class_text.spacings(result.details, detail)) if detail else "–",
                f"{found.similarity[members[0], i]:.3f}", f"{round(float(found.rotations[members[0], i]), 1) % 360:.1f}°",
            ])  # fmt: skip
        with alone():
            svg = as_svg(_patterns(results, found, members, group))
        scans = len({found.members[i].result for i in members})
        caption = f"Structure {group}, in {scans} of {len(results)} scans: rotation-corrected patterns, each turned back onto the first."
        pictures.append(figure(svg, f"structure-{group}", f"Patterns of structure {group}", caption))
    if not rows:
        return "<p>No crystalline class.</p>"
    caption = "Crystalline classes by structure; similarity and rotation against the first of each structure"
    return "".join(pictures) + data_table(caption, heads, rows, {1, 2, 5, 7})


def _patterns(results: Sequence[Result], found: Comparison, members: list[int], group: int) -> Figure:
    """Patterns of one structure, turned as the first lies."""
    side = WIDTH / _COLUMNS
    shape = tallness(*results[found.members[members[0]].result].axes[2:])
    drawn, places = grid(len(members), _COLUMNS, (side, side * shape + 0.35))
    for ax, i in zip(places, members, strict=True):
        result, label = results[found.members[i].result], found.members[i].label
        turn = -float(found.rotations[members[0], i])
        image = rotate_pattern(result.classes.patterns[label], result.mask, result.centre, turn)
        pattern(ax, result, image, "root")
        frame(ax, _colour(group))
        ax.set_title(f"{_short(result.name)}\nclass {label}", size=7)
    return drawn


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _alike(results: Sequence[Result], found: Comparison) -> str:
    with alone():
        svg = as_svg(_matrix(results, found))
    return figure(
        svg,
        "alike",
        "Similarity of all classes",
        "Correlation of each pair of classes over the rotation angle, structures together.",
    )


def _matrix(results: Sequence[Result], found: Comparison) -> Figure:
    order = [i for g in sorted(set(found.groups.tolist())) for i in found.of(g)]
    values = found.similarity[np.ix_(order, order)]
    n = len(order)
    side = float(np.clip(0.34 * n + 1.8, 3.0, WIDTH))
    drawn = Figure(figsize=(side, side * 0.86), layout="constrained")
    ax = drawn.subplots()
    image = ax.imshow(values, cmap="viridis", vmin=0, vmax=1)
    names = [f"{_short(results[found.members[i].result].name)} · {found.members[i].label}" for i in order]
    ax.set_xticks(range(n), names, rotation=90)
    ax.set_yticks(range(n), names)
    for ticks in (ax.get_xticklabels(), ax.get_yticklabels()):
        for tick in ticks:
            tick.set_fontsize(6)
    if n <= _NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            ax.text(
                column, row, f"{value:.2f}", ha="center", va="center", size=5, color="black" if value > 0.6 else "white"
            )
    drawn.colorbar(image, ax=ax, shrink=0.7, label="similarity")
    return drawn


def _scans(results: Sequence[Result]) -> str:
    heads = ["scan", "file", "positions", "rank", "relative error", "classes", "crystalline", "converged"]
    rows = [
        [
            safe_text(r.name), safe_text(r.source.get("file") or "–"), f"{r.axes[0].size} × {r.axes[1].size}", str(r.factors.rank),
            f"{r.factors.relative_error:.4f}", str(r.classes.count), str(sum(c.crystalline for c in r.findings.classes)),
            "yes" if r.factors.converged else "not",
        ]
        for r in results
    ]  # fmt: skip
    return data_table("The scans and their factorisations", heads, rows, {1})
