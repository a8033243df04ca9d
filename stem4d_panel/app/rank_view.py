"""What speaks for each rank: fit, held-out counts and stability against rank; a tap goes there, Play goes through all."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.models import BoxAnnotation, Span

from stem4d_panel.app.figures import Frame, Glyphs, coordinates
from stem4d_panel.app.gesture import Gesture
from stem4d_panel.app.plain import pane
from stem4d_panel.app.session import Session
from stem4d_panel.app.text import Html, heading

ERROR, HELD_OUT, STABLE = "#0072B2", "#D55E00", "#009E73"
_BEAT = 0.7  # seconds a rank is shown while all are played


def scaled(values: np.ndarray) -> np.ndarray:
    """Values between their least and their greatest, as 0 to 1."""
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / max(high - low, 1e-30))


class RankView:
    """Curves against rank, the suggested range shaded, a line at the present rank."""

    def __init__(self, session: Session, width: int, height: int) -> None:
        self.session = session
        self.play = pmui.Toggle(label="Play", value=False, size="small", margin=(2, 8), width=64, css_classes=["play"])
        title = heading("Ranks · tap one")
        legend = Html(
            '<span style="font-size:11px">'
            + " · ".join(
                f'<span style="color:{colour}">■</span> {text}'
                for colour, text in ((ERROR, "misfit"), (HELD_OUT, "held-out misfit"), (STABLE, "found in both halves"))
            )
            + " · shaded: suggested</span>",
            margin=(0, 8),
        )
        self._curves = Glyphs(_add_curves, "xs", "ys", "colour")
        self._errors: dict[int, float] = {}  # of the ranks that are there
        self._seen: tuple[Any, Any, Any] = (None, None, None)  # frames, factors, evidence
        hooks = (self._curves.hook, self._range, Gesture(self._tapped).hook)
        self._frame = Frame("ranks", (width, height), *hooks)
        self.pane = pane(self._frame, x="rank", tools="save")
        self._beat: Any = None
        self.play.param.watch(lambda e: self._start() if e.new else self._stop(), "value")
        session.param.watch(lambda *_: self.refresh(), ["evidence", "shown_after"])
        self.layout = pn.Column(pn.Row(title, self.play, margin=0), self.pane, legend, margin=0, width=width + 30)

    def _computed(self) -> list[tuple[int, float]]:
        """Ranks whose tree is there, with the relative error of each."""
        analysis = self.session.analysis
        if analysis is None:
            return []
        top = analysis.settings.factorize.rank_max
        ready = (analysis.replace(rank=rank) for rank in range(1, top + 1))
        return [(a.settings.factorize.rank, a.peek("factors").relative_error) for a in ready if a.ready("tree")]

    def _learn(self) -> bool:
        """Take in what is new: the rank that is shown, all of them when their evidence has come; whether there is any."""
        shown, evidence = self.session.shown, self.session.evidence
        if shown.frames is not self._seen[0]:
            self._errors = {}
        seen = (shown.frames, shown.factors, evidence if evidence is not None else self._seen[2])
        new = any(a is not b for a, b in zip(seen, self._seen, strict=True))
        if seen[2] is not self._seen[2]:
            self._errors |= dict(self._computed())
        self._errors[shown.factors.rank] = shown.factors.relative_error
        self._seen = seen
        return new

    def refresh(self) -> None:
        """Draw what is known."""
        shown = self.session.shown
        if shown.factors is None or not self._learn():
            return
        evidence = self._seen[2]
        ranks = np.array(sorted(self._errors))
        errors = scaled(np.array([self._errors[rank] for rank in ranks]))
        curves = [(ranks, errors, ERROR)]
        if evidence is not None:
            curves += [
                (evidence.ranks, scaled(evidence.held_out), HELD_OUT),
                (evidence.ranks, evidence.stability, STABLE),
            ]
        top = max(int(max(curve[0].max() for curve in curves)), shown.factors.rank)
        self._frame.resize((0.3, -0.06, top + 0.7, 1.06), self._frame.size)
        paths = coordinates([np.stack([x, y], axis=1) for x, y, _ in curves])
        self._curves.show(**paths, colour=[colour for _, _, colour in curves])
        self._frame.redraw(self._range)

    def _range(self, plot: Any, element: Any) -> None:
        """The suggested range, and a line at the present rank."""
        figure, evidence = plot.state, self._seen[2]
        line = next((m for m in figure.center if isinstance(m, Span)), None)
        if line is None:
            line = Span(location=0, dimension="height", line_width=2, line_color="#d62728", line_dash="dotted")
            figure.add_layout(BoxAnnotation(left=0, right=0, fill_color="#8a8a8a", fill_alpha=0.16, line_alpha=0))
            figure.add_layout(line)
        line.location = self.session.settings.factorize.rank
        shade = next(m for m in figure.center if isinstance(m, BoxAnnotation))
        if evidence is not None:
            shade.update(left=evidence.lowest - 0.5, right=evidence.highest + 0.5)

    def _tapped(self, x: float, y: float) -> None:
        rank = round(x)
        if 1 <= rank <= self.session.settings.factorize.rank_max:
            self.session.change({"factorize.rank": rank})

    # ---- play --------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._stop()
        self._beat = pn.state.add_periodic_callback(self._next, period=int(1000 * _BEAT))

    def _stop(self) -> None:
        if self._beat is not None:
            self._beat.stop()
            self._beat = None

    def _next(self) -> None:
        """The next computed rank, the first after the last; nothing while one is being drawn."""
        ranks = sorted(self._errors)
        if not ranks or self.session.busy:
            return
        here = self.session.settings.factorize.rank
        self.session.change({"factorize.rank": next((r for r in ranks if r > here), ranks[0])})

    def close(self) -> None:
        """Stop playing."""
        self._stop()


def _add_curves(figure: Any, source: Any) -> None:
    figure.multi_line("xs", "ys", line_color="colour", line_width=2, source=source)
