"""Labels, rotations and diameters against a known truth, at the suggested threshold and default settings.

`STEM4D_BENCH_DRAWS` sets the draws of each cell (3).
"""

from __future__ import annotations

import os

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from tables import table
from truths import cases, truth_of

from stem4d_panel.analysis import Analysis
from stem4d_panel.measure.recovery import adjusted_rand, recovery, true_classes
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.truth import Truth

DRAWS = int(os.environ.get("STEM4D_BENCH_DRAWS", "3"))
RANKS = (8, 10, 14, 20)


def plain_way(analysis: Analysis, truth: Truth) -> float:
    """Ward's method on the Euclidean distances of the patterns, cut at the true number of classes."""
    factors = analysis.factors
    patterns = factors.patterns[:, factors.mask]
    true = true_classes(factors.maps, truth)
    labels = fcluster(linkage(patterns, "ward"), len(set(true)), "maxclust")
    belongs = true > 0
    return adjusted_rand(true[belongs], labels[belongs])


def diameter_errors(analysis: Analysis, truth: Truth) -> list[float]:
    """Relative error of each particle, of a component that belongs to a crystal, against the nearest crystal."""
    details = analysis.details
    step = details.step or 1.0
    belongs = true_classes(analysis.factors.maps, truth) > 0
    errors = []
    for particle in (p for c in details.classes for p in c.particles if belongs[p.members[0]]):
        centre = np.array(particle.centre) * step
        nearest = min(truth.crystals, key=lambda c: float(np.hypot(*(centre - np.array(c.centre)))))
        if particle.diameter is not None:
            errors.append(particle.diameter * step / nearest.diameter - 1)
    return errors


def test_labels_rotations_and_diameters() -> None:
    rows = [
        ("data", "rank", "ARI", "least", "with glass", "Euclidean", "rotation / deg", "diameters / %", "worst / %"),
    ]
    for name, make in cases():
        scans = [make(seed) for seed in range(DRAWS)]
        analyses = [Analysis(scan, cache=Cache()) for scan in scans]
        for rank in RANKS:
            ari, plain, mixed, turns, sizes = [], [], 0, [], []
            for scan, first in zip(scans, analyses, strict=True):
                truth, analysis = truth_of(scan), first.replace(rank=rank)
                found = recovery(analysis.factors.maps, analysis.classes.labels, analysis.classes.rotations, truth)
                ari.append(found.ari_crystal or 0.0)
                mixed += found.crystal_with_glass
                turns.append(found.rotation_err_deg or 0.0)
                plain.append(plain_way(analysis, truth))
                sizes += diameter_errors(analysis, truth)
            rows.append(
                (
                    name, str(rank), f"{np.mean(ari):.3f}", f"{min(ari):.2f}", str(mixed), f"{np.mean(plain):.2f}",
                    f"{max(turns):.2f}", f"{100 * np.mean(sizes):+.1f}", f"{100 * np.abs(sizes).max():.0f}",
                )
            )  # fmt: skip
            assert np.mean(ari) > np.mean(plain)
    table(f"labels, rotations and diameters at the suggested threshold, {DRAWS} draws", rows)
