"""The table of classes, in their colours, and how well a known truth was recovered."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app.session import Session
from stem4d_panel.app.text import Html

_CELL = "padding:2px 5px;text-align:right;white-space:nowrap"


class ClassCard:
    """Classes in numbers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.table = Html("", margin=(0, 8), css_classes=["class-table"])
        self.truth = Html("", margin=(4, 8), sizing_mode="stretch_width", css_classes=["recovery"])
        heading = pmui.Typography("Classes", variant="subtitle2", margin=(6, 8, 0, 8))
        session.param.watch(lambda _: self.refresh(), ["shown", "details", "stability"])
        self.layout = pn.Column(heading, self.table, self.truth, margin=0, width=730)

    def refresh(self) -> None:
        """Draw what the session shows."""
        shown = self.session.shown
        if shown.findings is None:
            return
        colours = shown.colours
        head = "".join(
            f'<th style="{_CELL};font-weight:500;opacity:.7" title="{tip}">{name}</th>'
            for name, tip in (
                ("class", "sorted by intensity"),
                ("members", "components that were joined, with their rotations for crystalline classes"),
                ("intensity", "part of all fitted intensity"),
                ("area", "part of the positions that belong to the class"),
                ("anisotropy", "part of the pattern's norm left without the mean of every radius, noise taken off"),
                ("coherence", "how far a map correlates with itself at three times the resolution"),
                ("symmetry", "highest rotation symmetry found; – for glass and background"),
                ("found again", "correlation of its map with the best branch of factorisations with three other seeds"),
                (
                    "diameter",
                    "mean ± standard deviation (number) of shapes blurred by the probe and fitted to the particles",
                ),
                ("spacings", "of the spots of the rotation-corrected pattern, the three strongest families"),
            )
        )
        details = self.session.details
        rows = "".join(self._row(c, colours[c.label], shown.classes, details) for c in shown.findings.classes)
        self.table.object = f'<table style="font-size:11px;border-collapse:collapse"><tr>{head}</tr>{rows}</table>'
        self.truth.object = self._recovery(shown)

    def _row(self, c: Any, colour: str, classes: Any, details: Any) -> str:
        swatch = (
            f'<span style="display:inline-block;width:11px;height:11px;border-radius:3px;background:{colour}"></span>'
        )
        turns = ", ".join(f"{i} ({classes.rotations[i]:.0f}°)" if c.crystalline else str(i) for i in c.members[:3])
        more = f" +{len(c.members) - 3}" if len(c.members) > 3 else ""
        cells = (
            f"{swatch} {c.label}", turns + more, f"{100 * c.share:.1f} %", f"{100 * c.fraction:.1f} %",
            f"{c.anisotropy:.2f}", f"{c.coherence:.2f}", f"{c.fold}-fold" if c.crystalline else "–",
            self._stability(c), _diameter(details, c), _spacings(details, c),
        )  # fmt: skip
        return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"

    def _stability(self, c: Any) -> str:
        """Of the branch that is the class."""
        found, tree = self.session.stability, self.session.shown.tree
        if found is None or len(found) != 2 * tree.size - 1:
            return "…"
        members = set(c.members)
        return next((f"{found[i]:.2f}" for i, below in enumerate(tree.leaves()) if set(below) == members), "–")

    def _recovery(self, shown: Any) -> str:
        truth = getattr(shown.scan, "truth", None)
        if truth is None or shown.classes is None:
            return ""
        from stem4d_panel.measure.recovery import recovery

        r = recovery(shown.factors.maps, shown.classes.labels, shown.classes.rotations, truth)
        angle = "–" if r.rotation_err_deg is None else f"{r.rotation_err_deg:.1f}°"
        ari = "–" if r.ari_crystal is None else f"{r.ari_crystal:.2f}"
        return (
            f'<div style="font-size:12px;margin-top:4px"><b>Against the known truth</b>: {r.found} of {r.of} crystals found · '
            f"map correlation {r.map_corr:.3f} · classes of crystals (ARI) {ari} · largest rotation error {angle}</div>"
        )


def _diameter(details: Any, c: Any) -> str:
    """Mean ± spread (number) in nm or px, of what could be measured."""
    if not c.crystalline:
        return "–"
    if details is None:
        return "…"
    text, found = details.diameter(c.label), details.of(c.label)
    if text is not None:
        return str(text)
    sizes = found.sizes if found is not None else None
    if sizes and sizes.at_probe_limit:
        return "at the probe limit"
    return f"no {sizes.shape} fits" if sizes and sizes.unfitted else "–"


def _spacings(details: Any, c: Any) -> str:
    """Spacings of the three strongest families of spots, from the innermost outwards."""
    from stem4d_panel.measure.spots import families

    found = details.of(c.label) if details is not None and c.crystalline else None
    if found is None:
        return "–" if details is not None or not c.crystalline else "…"
    strongest = sorted(families(found.reading.spots), key=lambda f: -f.intensity)[:3]
    radii = sorted(f.radius for f in strongest)
    if not radii:
        return "no spots"
    if details.reciprocal_step:
        return ", ".join(f"{1 / (r * details.reciprocal_step):.3f}" for r in radii) + " nm"
    return ", ".join(f"{r:.1f}" for r in radii) + " px"
