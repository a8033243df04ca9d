"""The table of classes, in their colours, and how well a known truth was recovered."""

from __future__ import annotations

from typing import Any

import panel as pn

from stem4d_panel.app.class_table import ClassTable
from stem4d_panel.app.session import Session
from stem4d_panel.app.text import Html, heading
from stem4d_panel.by_hand import LONGEST
from stem4d_panel.results.class_text import class_name, diameter, members, spacings, symmetry

HEADS = [
    ("class", "sorted by intensity"),
    ("members", "components that were joined, with their rotations for crystalline classes"),
    ("intensity", "part of all fitted intensity"),
    ("area", "part of the positions that belong to the class"),
    ("aniso.", "part of the pattern's norm left without the mean of every radius, noise taken off"),
    ("coher.", "how far a map correlates with itself at three times the resolution"),
    ("symmetry", "highest rotation symmetry found; – for glass and background"),
    ("stable", "correlation of its map with the best branch of factorisations with three other seeds"),
    ("diameter", "mean ± standard deviation (number) of shapes blurred by the probe and fitted to the particles"),
    ("spacings", "of the spots of the rotation-corrected pattern, the three strongest families"),
]


class ClassCard:
    """Classes in numbers; a click on a row chooses its class, a second one lets it go."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.table = ClassTable(
            self._clicked,
            self._named,
            longest=LONGEST,
            heads=[list(h) for h in HEADS],
            margin=(0, 8),
            css_classes=["class-table"],
        )
        self.truth = Html("", margin=(4, 8), sizing_mode="stretch_width", css_classes=["recovery"])
        title = heading("Classes · tap a row, or write its name")
        session.param.watch(lambda *_: self.refresh(), ["shown_after", "details", "stability"])
        session.param.watch(lambda _: self._mark(), "label")
        narrow = {"max-width": "100%", "min-width": "0"}  # in a narrow window the table scrolls
        self.layout = pn.Column(title, self.table, self.truth, margin=0, width=730, styles=narrow)

    def refresh(self) -> None:
        """Draw what the session shows."""
        shown = self.session.shown
        if shown.findings is None:
            return
        colours = shown.colours
        rows = [self._row(c, colours[c.label], shown.classes) for c in shown.findings.classes]
        if rows != self.table.rows:
            self.table.rows = rows
        self._mark()
        self.truth.object = self._recovery(shown)

    def _clicked(self, label: int) -> None:
        self.session.choose_class(None if label == self.session.label else label)

    def _named(self, label: int, name: str) -> None:
        if not self.session.name_class(label, name):
            self.table.draw_again()

    def _mark(self) -> None:
        self.table.chosen = -1 if self.session.label is None else self.session.label

    def _row(self, c: Any, colour: str, classes: Any) -> dict[str, Any]:
        cells = [
            str(c.label), members(c, classes, 3), f"{100 * c.share:.1f} %", f"{100 * c.fraction:.1f} %",
            f"{c.anisotropy:.2f}", f"{c.coherence:.2f}", f"{c.fold}-fold" if c.crystalline else "–",
            self._stability(c), *self._measured(c),
        ]  # fmt: skip
        return {
            "label": c.label,
            "colour": colour,
            "name": c.name,
            "says": f"{class_name(c)}, {symmetry(c)}",
            "cells": cells,
        }

    def _measured(self, c: Any) -> tuple[str, str]:
        """Diameter and spacings."""
        details = self.session.details
        if not c.crystalline:
            return "–", "–"
        if details is None:  # a saved result holds those of its own threshold alone
            return ("…", "…") if self.session.result is None else ("–", "–")
        found = details.of(c.label)
        return (diameter(details, found), spacings(details, found)) if found is not None else ("–", "–")

    def _stability(self, c: Any) -> str:
        """Of the branch that is the class."""
        found, tree = self.session.stability, self.session.shown.tree
        if found is None or len(found) != 2 * tree.size - 1:
            return "…"
        below = set(c.members)
        return next((f"{found[i]:.2f}" for i, leaves in enumerate(tree.leaves()) if set(leaves) == below), "–")

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
