"""The table of classes, in their colours, and how well a known truth was recovered."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app import palette
from stem4d_panel.app.session import Session
from stem4d_panel.app.text import Html

_CELL = "padding:2px 8px;text-align:right;white-space:nowrap"


class ClassCard:
    """Classes in numbers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.table = Html("", margin=(0, 8), css_classes=["class-table"])
        self.truth = Html("", margin=(4, 8), sizing_mode="stretch_width", css_classes=["recovery"])
        heading = pmui.Typography("Classes", variant="subtitle2", margin=(6, 8, 0, 8))
        session.param.watch(lambda _: self.refresh(), "shown")
        self.layout = pn.Column(heading, self.table, self.truth, margin=0, sizing_mode="stretch_width")

    def refresh(self) -> None:
        """Draw what the session shows."""
        shown = self.session.shown
        if shown.findings is None:
            return
        colours = palette.class_colours(shown.findings)
        head = "".join(
            f'<th style="{_CELL};font-weight:500;opacity:.7" title="{tip}">{name}</th>'
            for name, tip in (
                ("class", "sorted by intensity"),
                ("members", "components that were joined, with their rotations for crystalline classes"),
                ("intensity", "part of all fitted intensity"),
                ("area", "part of the positions that belong to the class"),
                ("anisotropy", "part of the pattern's norm left without the mean of every radius"),
                ("coherence", "how far a map correlates with itself at three times the resolution"),
                ("symmetry", "highest rotation symmetry found; – for glass and background"),
            )
        )
        rows = "".join(self._row(c, colours[c.label], shown.classes) for c in shown.findings.classes)
        self.table.object = f'<table style="font-size:12px;border-collapse:collapse"><tr>{head}</tr>{rows}</table>'
        self.truth.object = self._recovery(shown)

    def _row(self, c: Any, colour: str, classes: Any) -> str:
        swatch = (
            f'<span style="display:inline-block;width:11px;height:11px;border-radius:3px;background:{colour}"></span>'
        )
        turns = ", ".join(f"{i} ({classes.rotations[i]:.0f}°)" if c.crystalline else str(i) for i in c.members[:6])
        more = f" +{len(c.members) - 6}" if len(c.members) > 6 else ""
        cells = (
            f"{swatch} {c.label}", turns + more, f"{100 * c.share:.1f} %", f"{100 * c.fraction:.1f} %",
            f"{c.anisotropy:.2f}", f"{c.coherence:.2f}", f"{c.fold}-fold" if c.crystalline else "–",
        )  # fmt: skip
        return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"

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
