"""How patterns are shown: scale, colours and how much is clipped, the same in every figure of reciprocal space."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app import palette
from stem4d_panel.app.pattern_figure import Look

SCALES = ["root", "log", "linear"]
CLIPS = ["0", "0.1", "0.3", "1", "3"]  # per cent


class LookBar:
    """Small choices; `rings` stands elsewhere than the others."""

    def __init__(self) -> None:
        def select(label: str, options: list[str], value: str, width: int) -> pmui.Select:
            return pmui.Select(label=label, options=options, value=value, size="small", width=width, margin=(4, 2))

        self.scale = select("Intensity", SCALES, "root", 70)
        self.table = select("Colours", palette.TABLES, "inferno", 86)
        self.clip = select("Clip (%)", CLIPS, "0.3", 72)
        self.rings = pmui.Switch(label="Rings", value=False, size="small", margin=(0, 4), css_classes=["rings"])
        self.layout = pn.Row(self.scale, self.table, self.clip, margin=0)

    @property
    def look(self) -> Look:
        """What is chosen."""
        return Look(self.scale.value, self.table.value, float(self.clip.value), self.rings.value)

    def watch(self, then: Callable[[], None]) -> None:
        """Call `then` after each change."""
        for widget in (self.scale, self.table, self.clip, self.rings):
            widget.param.watch(lambda _: then(), "value")
