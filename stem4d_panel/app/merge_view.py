"""The two patterns that a merge of the dendrogram has joined, side by side, the second turned back onto the first."""

from __future__ import annotations

import numpy as np
import panel as pn

from stem4d_panel.app import palette
from stem4d_panel.app.figures import Frame
from stem4d_panel.app.plain import Plate, pane
from stem4d_panel.app.session import Session
from stem4d_panel.app.text import caption_below, say
from stem4d_panel.cluster.joined import Joined, joined
from stem4d_panel.cluster.tree import Tree

_GAP = 4  # pixels of the patterns between the two
_HINT = "point at a junction: the two patterns that it joins"
_NAMES = {"place": "the maps", "rotation": "the patterns", "glass": "the radial profiles"}


def side_by_side(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two patterns on one scale as RGBA, uint8, shape (y, 2 x + gap, 4), transparent between them."""
    pictures = [
        palette.painted(v, palette.limits(v), "inferno") for v in (palette.scaled(p, "root") for p in (first, second))
    ]
    gap = np.zeros((first.shape[0], _GAP, 4), np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1]], axis=1)


def described(tree: Tree, merge: int, found: Joined) -> str:
    """A merge in words."""
    a, b = (", ".join(map(str, m[:4])) + (" …" if len(m) > 4 else "") for m in found.members)
    kind = tree.kind[merge]
    text = f"{a} ⟷ {b}: {_NAMES[kind]} correlate by {tree.similarity[merge]:.2f}"
    if kind == "rotation":
        text += f", turned by {found.rotation:.1f}°" + (" and mirrored" if found.mirrored else "")
    chance = tree.p_values[merge]
    return text + (f", by chance in {100 * chance:.2g} %" if np.isfinite(chance) else "")


class MergeView:
    """A small figure beside the dendrogram."""

    def __init__(self, session: Session, width: int) -> None:
        self.session = session
        self._shown: tuple[Tree, int] | None = None  # tree and row of the merge that is shown
        self._picture = Plate()
        self._frame = Frame("merge", (width, width // 2), self._picture.hook)
        self.pane = pane(self._frame, toolbar=None)
        self.caption = caption_below(width, _HINT, lines=4, margin=(8, 8))
        session.param.watch(lambda _: self._forget(), "shown")
        self.layout = pn.Row(self.caption, self.pane, margin=(8, 0, 0, 0))

    def show(self, merge: int) -> None:
        """Show a merge, by its row in the tree."""
        tree = self.session.shown.tree
        if self._shown is not None and self._shown[0] is tree and self._shown[1] == merge:
            return
        self._shown = tree, merge
        found = joined(self.session.branches(), merge)
        picture = side_by_side(found.first, found.second)
        h, w = picture.shape[:2]
        width = self._frame.size[0]
        self._frame.resize((0, -h, w, 0), (width, max(60, round(width * h / w))))
        self._picture.draw(self._frame.box, picture)
        say(self.caption, described(tree, merge, found))

    def _forget(self) -> None:
        """Another tree: what is shown belongs to one that is gone."""
        if self._shown is None or self._shown[0] is self.session.shown.tree:
            return
        self._shown = None
        self._picture.draw(self._frame.box, np.zeros((2, 2, 4), np.uint8))
        say(self.caption, _HINT)
