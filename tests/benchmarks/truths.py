"""Scans with a known truth, drawn anew for every seed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from stem4d_panel.measure.recovery import PROBE_SIGMA
from stem4d_panel.scan.sample import sample_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.scan.truth import Crystal, Truth

SHARED = Path(__file__).parents[2].parent / "shared"
GLASS = SHARED / "data" / "glass-a"


def glass(electrons: float, seed: int) -> Scan:
    """The simulated glass of seven crystals at a dose in electrons a pattern."""
    sys.path.insert(0, str(SHARED / "score"))
    from draw import draw

    scan = Scan.from_array(
        draw(GLASS, electrons, seed), scan_step=0.34, detector_step=0.25, voltage=300, convergence=1.0
    )
    return replace(scan, truth=_glass_truth())


def _glass_truth() -> Truth:
    meta, arrays = json.loads((GLASS / "truth.json").read_text()), np.load(GLASS / "truth.npz")
    crystals = tuple(
        Crystal(
            c["class_name"],
            c["rotation_deg"],
            c["symmetry_fold"],
            c["diameter_nm"],
            (c["center_xyz_nm"][1], c["center_xyz_nm"][0]),
        )
        for c in meta["precipitates"]
    )
    descan = np.stack([arrays["descan_y_px"], arrays["descan_x_px"]])
    return Truth(
        crystals, arrays["chord_nm"].astype(float), descan, np.array(meta["hot_pixels_yx"]), meta["scan_step_nm"]
    )


def truth_of(scan: Scan) -> Truth:
    assert scan.truth is not None
    return scan.truth


def blurred(scan: Scan) -> np.ndarray:
    """Thickness of each crystal as the probe blurs it, shape (n, y, x)."""
    truth = truth_of(scan)
    return np.array([gaussian_filter(c.astype(float), PROBE_SIGMA / truth.scan_step) for c in truth.chord])


CASES: list[tuple[str, Callable[[int], Scan]]] = [
    ("glass-a 3,000", lambda seed: glass(3000, seed)),
    ("glass-a 300", lambda seed: glass(300, seed)),
    ("glass-a 100", lambda seed: glass(100, seed)),
    ("sample", sample_scan),
]


def cases() -> list[tuple[str, Callable[[int], Scan]]]:
    """Those whose data are here."""
    if GLASS.exists():
        return CASES
    print("glass-a: the data are not here")
    return CASES[-1:]
