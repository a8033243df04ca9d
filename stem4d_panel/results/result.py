"""A finished analysis as one value: what is saved, loaded and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stem4d_panel.cluster.classes import Classes
from stem4d_panel.cluster.tree import Tree
from stem4d_panel.factorize.factors import Factors
from stem4d_panel.measure.details import Details
from stem4d_panel.measure.findings import Findings
from stem4d_panel.scan.scan import Axis
from stem4d_panel.settings import Settings


@dataclass(frozen=True, eq=False)
class Result:
    """All products of the chain, without the frames.

    Attributes
    ----------
    name : str
        Name of the scan.
    axes : tuple of Axis
        y, x, and the binned ky, kx with their zero at the direct beam.
    centre : tuple of float
        Direct beam (ky, kx) in binned pixels.
    mask : ndarray, shape (ky, kx), bool
    mean_pattern : ndarray, shape (ky, kx), float32
        Aligned and binned, zero where masked.
    factors, tree, classes, findings, details :
        As the stages made them.
    settings : Settings
    calibration : mapping
        Values with unit and origin.
    source : mapping
        Name, size, shape and the like of what was analysed, without folders.
    preparation : mapping
        Counts of what was masked, clipped or left out, the fitted descan and radii.
    warnings : tuple of str
    seconds : mapping
        Wall time of each stage that was computed for this result.
    provenance : mapping
        Versions, time, platform.
    """

    name: str
    axes: tuple[Axis, Axis, Axis, Axis]
    centre: tuple[float, float]
    mask: np.ndarray
    mean_pattern: np.ndarray
    factors: Factors
    tree: Tree
    classes: Classes
    findings: Findings
    details: Details
    settings: Settings
    calibration: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
