"""What the classes say of the sample: which position belongs to which, how it is turned, how much of the area it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.by_hand import Names
from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.tree import Tree
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.measure.reading import fold_of, symmetry_from_curve
from stem4d_panel.settings import MeasureSettings

VERSION = 3  # part of the cache key: raise it when a result changes


@dataclass(frozen=True)
class ClassFinding:
    """One class in numbers.

    Attributes
    ----------
    label : int
    members : tuple of int
        Components, the strongest first.
    share : float
        Part of all fitted intensity.
    fraction : float
        Part of the positions that belong to it.
    anisotropy : float
        Part of a pattern's norm left when the mean of every radius is removed, noise taken off; the highest of the
        members'.
    coherence : float
        Autocorrelation of a map at three times the resolution, the highest of the members'.
    crystalline : bool
        Whether it holds a component that was not set apart as glass.
    fold : int
        Highest rotation symmetry (6, 4, 3, 2; 1 for none) under which the pattern correlates above 0.6 with itself.
    name : str
        As the user calls it; empty where it has no name.
    """

    label: int
    members: tuple[int, ...]
    share: float
    fraction: float
    anisotropy: float
    coherence: float
    crystalline: bool
    fold: int
    name: str = ""


@dataclass(frozen=True, eq=False)
class Findings:
    """Findings of all classes.

    Attributes
    ----------
    classes : tuple of ClassFinding
    position_labels : ndarray, shape (y, x), int
        Class of each position; -1 where it was left out.
    orientation : ndarray, shape (y, x), float32
        Degrees, rotation of the strongest crystalline member modulo 360 / fold; NaN where there is none.
    warnings : tuple of str
    """

    classes: tuple[ClassFinding, ...]
    position_labels: np.ndarray
    orientation: np.ndarray
    warnings: tuple[str, ...] = ()


def measure(
    factors: Factors, tree: Tree, classes: Classes, settings: MeasureSettings, names: Names | None = None
) -> Findings:
    """Assign positions and orientations, and put each class into numbers.

    Parameters
    ----------
    factors : Factors
    tree : Tree
    classes : Classes
    settings : MeasureSettings
    names : Names, optional
        Those given at another rank are left out with a warning.

    Raises
    ------
    SettingError
        If a component that has a name does not exist.

    Notes
    -----
    A position belongs to the crystalline class whose located map is highest there in parts of its own maximum, if it
    reaches ``measure.level``; else to the strongest of the other classes.
    """
    names, warnings = (Names() if names is None else names).at(factors.rank)
    members_of = [classes.members(c) for c in range(classes.count)]
    crystalline = np.array([not tree.apart[m].all() for m in members_of])
    peak = classes.located.max(axis=(1, 2), keepdims=True)
    relative = np.where(peak > 0, classes.located / np.where(peak > 0, peak, 1), 0) * crystalline[:, None, None]
    best = relative.argmax(axis=0)
    inside = (relative.max(axis=0) >= settings.level) & (relative.max(axis=0) > 0)
    rest = np.where(crystalline[:, None, None], -1.0, classes.located)
    others = np.where(crystalline.all(), best, rest.argmax(axis=0))
    position_labels = np.where(inside, best, others)
    position_labels[factors.maps.sum(axis=0) <= 0] = -1
    folds = [
        fold_of(symmetry_from_curve(a)) if c else 1 for a, c in zip(classes.autocorrelation, crystalline, strict=True)
    ]
    orientation = np.full(position_labels.shape, np.nan, np.float32)
    totals = factors.totals
    rows = []
    for label in range(classes.count):
        members = sorted(members_of[label], key=lambda i: -float(totals[i]))
        here = inside & (position_labels == label)
        if crystalline[label]:
            strongest = np.asarray(members)[factors.maps[members].argmax(axis=0)]
            turns = classes.rotations[strongest].astype(np.float32) % np.float32(360 / folds[label])
            orientation[here] = turns[here]
        rows.append(
            ClassFinding(
                label=label,
                members=tuple(int(i) for i in members),
                share=float(totals[members].sum() / max(float(totals.sum()), 1e-30)),
                fraction=float((position_labels == label).mean()),
                anisotropy=float(tree.anisotropy[members].max()),
                coherence=float(tree.coherence[members].max()),
                crystalline=bool(crystalline[label]),
                fold=folds[label],
                name=names.first(members),
            )
        )
    return Findings(tuple(rows), position_labels.astype(np.int32), orientation, warnings)
