"""Drawings of a result, one function each; what they are called stands in `plots`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from stem4d_panel.measure.products import ring_means
from stem4d_panel.measure.spots import families
from stem4d_panel.results import class_text
from stem4d_panel.results.colours import (
    INK,
    WHEEL,
    class_colours,
    class_overlay,
    limits,
    orientation_overlay,
    period,
    periods,
    strengths,
    wheel,
)
from stem4d_panel.results.geometry import ABOVE, branches, circle, label_places
from stem4d_panel.results.paper import (
    WIDTH,
    How,
    chosen,
    frame,
    grid,
    heading,
    note,
    over_counts,
    pattern,
    picture,
    tallness,
)
from stem4d_panel.results.result import Result

_COLUMNS = 10  # of the gallery
_BINS = 14
_FEW = 3  # spacings named where patterns stand side by side


def classes(result: Result, how: How) -> Figure:
    """Where each class lies, in its colour, over all counts."""
    y, x = result.axes[:2]
    rows = 0.2 + 0.17 * result.classes.count  # inches, of the legend
    figure, (ax,) = grid(1, 1, (0.75 * WIDTH, max(0.5 * WIDTH * tallness(y, x), rows)))
    colours = class_colours(result.findings)
    picture(ax, over_counts(result, class_overlay(strengths(result.classes.located), colours)), y, x)
    handles = [
        Patch(facecolor=colour, label=f"{heading(result, c.label, longest=40)}, {100 * c.fraction:.1f} %")
        for c, colour in zip(result.findings.classes, colours, strict=True)
    ]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, frameon=False)
    return figure


def class_maps(result: Result, how: How) -> Figure:
    """How strong each class is at each position."""
    y, x = result.axes[:2]
    labels, colours = chosen(result, how), class_colours(result.findings)
    side = 0.4 * WIDTH if len(labels) == 1 else WIDTH / 4
    figure, places = grid(len(labels), 4, (side, side * tallness(y, x) + 0.25))
    for ax, label in zip(places, labels, strict=True):
        image = result.classes.located[label]
        low, high = limits(image)
        picture(ax, image, y, x, cmap="inferno", vmin=low, vmax=high)
        frame(ax, colours[label])
        ax.set_title(heading(result, label))
    return figure


def class_patterns(result: Result, how: How) -> Figure:
    """The rotation-corrected pattern of each class."""
    labels, colours = chosen(result, how), class_colours(result.findings)
    side = 0.5 * WIDTH if len(labels) == 1 else WIDTH / 4
    figure, places = grid(len(labels), 4, (side, side * tallness(*result.axes[2:]) + 0.25))
    for ax, label in zip(places, labels, strict=True):
        pattern(ax, result, result.classes.patterns[label], how.scale)
        frame(ax, colours[label])
        ax.set_title(heading(result, label))
        if how.rings:
            _spacings(ax, result, label, None if how.label is not None else _FEW)
    return figure


def _spacings(ax: Axes, result: Result, label: int, most: int | None) -> None:
    """Circles through the strongest families of spots, each with its spacing."""
    details, found = result.details, result.details.of(label)
    if found is None:
        return
    strongest = sorted(families(found.reading.spots), key=lambda f: -f.intensity)[:most]
    radii, step = sorted(f.radius for f in strongest), result.axes[3].scale
    spots = np.array([(spot.kx, -spot.ky) for spot in found.reading.spots]).reshape(-1, 2)
    unit = "nm" if details.reciprocal_step else "px"
    for radius, (x, y) in zip(radii, label_places(radii, spots) * step, strict=True):
        ax.plot(*circle(radius * step).T, color="white", linewidth=0.6, linestyle=":", alpha=0.7)
        ax.text(
            x, y, f"{class_text.spacing(details, radius)} {unit}", color="white", size=5.5, ha="center", va="center",
            bbox={"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def components(result: Result, how: How) -> Figure:
    """Maps over patterns of all components, in the order of the tree."""
    order, labels, colours = result.tree.order, result.classes.labels, class_colours(result.findings)
    columns = min(_COLUMNS, len(order))
    bands = -(-len(order) // columns)
    side = WIDTH / max(columns, 4)
    tall = [tallness(*result.axes[:2]), tallness(*result.axes[2:])]
    figure = Figure(
        figsize=(side * columns, bands * (side * sum(tall) + 0.25)),
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02),
    )
    places = figure.subplots(2 * bands, columns, squeeze=False, height_ratios=tall * bands)
    for ax in places.ravel():
        ax.set_axis_off()
    shares = result.factors.totals / max(float(result.factors.totals.sum()), 1e-30)
    for at, k in enumerate(order):
        row, column = 2 * (at // columns), at % columns
        above, below = places[row, column], places[row + 1, column]
        for ax in (above, below):
            ax.set_axis_on()
        low, high = limits(result.factors.maps[k])
        picture(above, result.factors.maps[k], *result.axes[:2], bar=at == 0, cmap="inferno", vmin=low, vmax=high)
        pattern(below, result, result.factors.patterns[k], how.scale, bar=at == 0)
        above.set_title(f"{k} · {100 * shares[k]:.1f} %", size=6.5, pad=3)
        for ax in (above, below):
            frame(ax, colours[int(labels[k])])
    return figure


def dendrogram(result: Result, how: How) -> Figure:
    """How components were joined into classes."""
    tree, classes = result.tree, result.classes
    figure, (ax,) = grid(1, 1, (WIDTH, 0.4 * WIDTH))
    drawn = branches(tree, classes, class_colours(result.findings))
    drawn = sorted(drawn, key=lambda s: s[4] != ABOVE)  # colours over grey
    ax.add_collection(LineCollection([[s[:2], s[2:4]] for s in drawn], colors=[s[4] for s in drawn], linewidths=1.4))
    top = max(0.3, float(tree.merges[:, 2].max()) if len(tree.merges) else 0.3) * 1.08
    ax.set(xlim=(-0.7, tree.size - 0.3), ylim=(0, top), ylabel="1 − correlation", xlabel="component")
    ax.set_xticks(range(tree.size), [str(k) for k in tree.order])
    ax.tick_params(axis="x", length=0, labelrotation=90 if tree.size > 40 else 0)
    if tree.suggestion.chance < top:
        ax.axhspan(tree.suggestion.chance, top, facecolor="#8a8a8a", alpha=0.15, linewidth=0, label="joined by chance")
    text = f"threshold {classes.threshold:.3f}" + (" (suggested)" if classes.suggested else "")
    ax.axhline(classes.threshold, color="#d62728", linestyle="--", linewidth=1, label=text)
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, borderaxespad=0.2)
    return figure


def orientation(result: Result, how: How) -> Figure:
    """How crystals are turned in the plane."""
    findings, (y, x) = result.findings, result.axes[:2]
    there_is = np.isin(findings.position_labels, chosen(result, how)) & np.isfinite(findings.orientation)
    there = [findings.classes[int(c)] for c in np.unique(findings.position_labels[there_is])]
    if not there:
        return note("no position has an orientation")
    wheels: dict[float, list[int]] = {}
    for c in there:
        wheels.setdefault(period(c), []).append(c.label)
    figure = Figure(figsize=(0.72 * WIDTH, max(0.5 * WIDTH * tallness(y, x), 0.95 * len(wheels))), layout="constrained")
    grid = figure.add_gridspec(len(wheels), 2, width_ratios=(3, 1))
    ax = figure.add_subplot(grid[:, 0])
    angles = np.where(there_is, findings.orientation, np.float32(np.nan))
    picture(ax, over_counts(result, orientation_overlay(angles, periods(findings))), y, x)
    for row, (every, which) in enumerate(sorted(wheels.items())):
        _wheel(figure.add_subplot(grid[row, 1]), every, which)
    return figure


def _wheel(ax: Axes, every: float, labels: Sequence[int]) -> None:
    """The colours of orientations at the angles they stand for; clockwise, from +kx towards +ky, which points down."""
    ax.imshow(wheel(every, 240), extent=(-WHEEL, WHEEL, -WHEEL, WHEEL))
    ax.set_axis_off()
    for angle in [0.0] if every >= 360 else [0.0, every]:
        turn = np.deg2rad(angle)
        ax.text(1.45 * np.cos(turn), -1.45 * np.sin(turn), f"{angle:.0f}°", size=6.5, ha="center", va="center")
    ax.set_title(("class " if len(labels) == 1 else "classes ") + ", ".join(map(str, labels)), size=7, pad=2)


def sizes(result: Result, how: How) -> Figure:
    """Diameters of the particles of each class."""
    details, colours = result.details, class_colours(result.findings)
    found = {d.label: d.sizes for d in details.classes if d.sizes is not None and d.label in chosen(result, how)}
    if not found:
        return note("no particles were measured")
    step, unit = (details.step, "nm") if details.step else (1.0, "px")
    figure, places = grid(len(found), 4, (WIDTH / 4, 1.6))
    for ax, (label, sizes) in zip(places, found.items(), strict=True):
        diameters = sizes.diameters * step
        right = 1.3 * float(diameters.max(initial=0.0)) or 1.0
        ax.hist(diameters, bins=_BINS, range=(0.0, right), color=colours[label], alpha=0.9)
        if sizes.mean is not None:
            ax.axvline(sizes.mean * step, color=INK, linewidth=1)
        if sizes.mean is not None and sizes.spread is not None:
            ax.axvspan(
                (sizes.mean - sizes.spread) * step,
                (sizes.mean + sizes.spread) * step,
                color="#808080",
                alpha=0.2,
                linewidth=0,
            )
        ax.set(xlim=(0, right), xlabel=f"diameter ({unit})", ylabel="particles")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        left_out = class_text.left_out(sizes)
        ax.set_title(heading(result, label, details.diameter(label) or f"0 of {sizes.count} particles measured"))
        if left_out:
            ax.text(0.98, 0.96, left_out.replace(", ", "\n"), size=6, ha="right", va="top", transform=ax.transAxes)
    return figure


def profiles(result: Result, how: How) -> Figure:
    """Mean intensity over radius in each class, with its spread and its rings."""
    details, axis, labels = result.details, result.axes[3], chosen(result, how)
    step, unit = (details.reciprocal_step, "1/nm") if details.reciprocal_step else (axis.scale, axis.units)
    figure, places = grid(len(labels), 4, (WIDTH / 4, 1.5))
    colours = class_colours(result.findings)
    for ax, label in zip(places, labels, strict=True):
        found = details.of(label)
        if found is not None:
            r = found.reading
            radii, profile, spread = r.radii, r.profile, r.spread
        else:
            radii, profile, spread = ring_means(result.classes.patterns[label], result.mask, result.centre)
        rings = [ring.radius * step for ring in found.reading.rings] if found is not None else []
        for ring in rings:
            ax.axvline(ring, color="#808080", linewidth=0.7, linestyle="--")
        ax.fill_between(
            radii * step,
            np.maximum(profile - spread, 0),
            profile + spread,
            color=colours[label],
            alpha=0.3,
            linewidth=0,
        )
        ax.plot(radii * step, profile, color=colours[label])
        top = 1.05 * float((profile + spread).max(initial=0.0)) or 1.0
        ax.set(xlim=(0, None), ylim=(0, top), xlabel=f"radius ({unit})", yticks=[])
        ax.set_title(heading(result, label))
    places[0].set_ylabel("intensity")
    return figure


def error(result: Result, how: How) -> Figure:
    """Relative error over the iterations."""
    factors = result.factors
    figure, (ax,) = grid(1, 1, (WIDTH / 2, WIDTH / 3.4))
    ax.plot(np.arange(1, len(factors.error_curve) + 1), factors.error_curve, color="#0072B2")
    ax.set(xlabel="iteration", ylabel="relative error")
    ax.set_title(
        f"rank {factors.rank}, {factors.relative_error:.4f}" + ("" if factors.converged else ", not converged")
    )
    return figure
