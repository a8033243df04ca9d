"""The figures, put together. Imports HoloViews and datashader, so it is imported in the background."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import panel as pn

from stem4d_panel.app.card import ClassCard
from stem4d_panel.app.class_view import ClassView
from stem4d_panel.app.figures import Frame, Picture
from stem4d_panel.app.gallery_view import GalleryView
from stem4d_panel.app.look_bar import LookBar
from stem4d_panel.app.map_view import MapView
from stem4d_panel.app.pattern_view import PatternView
from stem4d_panel.app.plain import FigurePane
from stem4d_panel.app.point_view import PointView
from stem4d_panel.app.rank_view import RankView
from stem4d_panel.app.session import Session
from stem4d_panel.app.sizes import WIDTH
from stem4d_panel.app.stills import Still
from stem4d_panel.app.tree_view import TreeView


class Screen:
    """All views of one session."""

    def __init__(self, session: Session) -> None:
        self.maps = MapView(session, WIDTH)
        bar = LookBar()
        self.patterns = PatternView(session, WIDTH, bar)
        self.point = PointView(session, WIDTH, bar)
        self.tree = TreeView(session, 280, 262)
        self.gallery = GalleryView(session, 610)
        self.ranks = RankView(session, 280, 130)
        self.card = ClassCard(session)
        self.one = ClassView(session, 230)
        self._whole = False
        self._modes = self._modes_now()
        scroll = {"max-width": "100%", "overflow-x": "auto"}
        beside = pn.Column(self.gallery.layout, self.tree.merge.layout, margin=0, styles=scroll)
        groups = (
            self.maps.layout, self.patterns.layout, self.point.layout, self.tree.layout, beside, self.ranks.layout,
            self.card.layout, self.one.layout,
        )  # fmt: skip
        self.layout = pn.FlexBox(*groups, gap="4px", margin=(4, 8), sizing_mode="stretch_width")
        for view in (self.maps, self.patterns, self.point, self.tree, self.gallery, self.ranks, self.card, self.one):
            view.refresh()

    def complete(self) -> None:
        """Put in what can wait until the rest is seen, once."""
        if not self._whole:
            self._whole = True
            self.one.complete()

    def is_untouched(self) -> bool:
        """Whether nothing has been chosen or changed yet, by a hand or by the address."""
        s = self.maps.session
        chosen = (s.component, s.label, s.point, s.region, s.detector)
        return chosen == (None,) * 5 and not s.history.can_undo and self._modes == self._modes_now()

    def _modes_now(self) -> tuple[Any, ...]:
        return self.maps.mode.value, self.maps.over.value, self.patterns.mode.value, self.patterns.bar.look

    def stills(self) -> list[Still]:
        """The two pictures that are looked at first."""
        found = (self.maps.still(), self.patterns.still())
        return [still for still in found if still is not None]

    def close(self) -> None:
        """Let go of all figures, so that nothing keeps a closed page alive.

        HoloViews keeps the callbacks of every plot until that is told to clean up, and the hooks in the options of every
        layer, and with them the page. A pane forgets its figure first: it would look for another place in a page that is gone.
        """
        for pane in self.layout.select(pn.pane.HoloViews):
            for plot, _ in list(pane._plots.values()):
                for part in plot.traverse(lambda each: each):
                    part.hooks.clear()
                plot.cleanup()
            pane._plots.clear()
            pane._models.clear()
            pane.object = None
        for plain in self.layout.select(FigurePane):
            plain.close()
        self.ranks.close()


def warm_up() -> None:
    """Render a small figure once, so that the first real one is quick."""
    picture = Picture(Frame("warm", (60, 60)), ("wx", "wy"))
    hv.renderer("bokeh").get_plot(picture.layer)


def content(session: Session) -> tuple[Screen, Any]:
    """The views of a session and their layout."""
    screen = Screen(session)
    return screen, screen.layout
