"""What stays itself on the screen when the rank or the threshold changes: the chosen component and class, and the colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from stem4d_panel.app import palette

if TYPE_CHECKING:
    from stem4d_panel.cluster.classes import Classes
    from stem4d_panel.factorize.factors import Factors

ALIKE = 0.5  # least cosine of two that count as the same


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines of two stacks of images, shape (a, b)."""
    flat = [stack.reshape(len(stack), -1) for stack in (a, b)]
    unit = [s / np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1e-30) for s in flat]
    return np.asarray(unit[0] @ unit[1].T)


def _matched(cosines: np.ndarray) -> dict[int, int]:
    """Pairs of the best one-to-one assignment that are alike."""
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return {int(i): int(j) for i, j in zip(rows, columns, strict=True) if cosines[i, j] >= ALIKE}


def components(before: Factors, after: Factors) -> dict[int, int]:
    """Which component of other factors is the same, by the cosine of map times pattern; none for frames of another shape."""
    if before.maps.shape[1:] != after.maps.shape[1:] or before.patterns.shape[1:] != after.patterns.shape[1:]:
        return {}
    return _matched(_cosines(before.maps, after.maps) * _cosines(before.patterns, after.patterns))


def classes(before: Classes, after: Classes) -> dict[int, int]:
    """Which of other classes is the same, by the cosine of the maps where they lie."""
    if before.located.shape[1:] != after.located.shape[1:]:
        return {}
    return _matched(_cosines(before.located, after.located))


def colours(before: Any, after: Any) -> tuple[str, ...]:
    """Colours of the classes shown after: of a class that was shown before as crystalline, or not, its own again.

    Parameters
    ----------
    before, after : Shown
    """
    wanted = palette.class_colours(after.findings)
    if before.classes is None or not before.colours:
        return tuple(wanted)
    kind = [c.crystalline for c in after.findings.classes]
    own = {
        new: before.colours[old]
        for old, new in classes(before.classes, after.classes).items()
        if before.findings.classes[old].crystalline == kind[new]
    }
    if len(set(own.values())) < len(own):  # more classes than colours: two had the same
        return tuple(wanted)
    free = {
        crystalline: iter([c for c in (palette.CRYSTALLINE if crystalline else palette.OTHER) if c not in own.values()])
        for crystalline in (True, False)
    }
    return tuple(own[i] if i in own else next(free[kind[i]], wanted[i]) for i in range(len(wanted)))
