"""Where a result comes from: the source, what preparing did, the program."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from stem4d_panel import __version__
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.results.source import sampled
from stem4d_panel.runtime.threads import thread_count
from stem4d_panel.scan.scan import Scan


def describe_source(scan: Scan) -> dict[str, Any]:
    """What was analysed: names and sizes, no folders."""
    source = scan.source
    return {
        "name": scan.name,
        "file": source.path.name if source else None,
        "dataset": source.dataset if source else None,
        "bytes": source.size if source else scan.nbytes,
        "mtime_ns": source.mtime_ns if source else None,
        "sampled": sampled(source.path) if source else None,
        "shape": list(scan.shape),
        "dtype": str(scan.dtype),
        "fingerprint": scan.fingerprint,
    }


def describe_preparation(frames: Frames) -> dict[str, Any]:
    """What was masked, clipped or left out, and what was fitted."""
    look, survey, descan = frames.look, frames.look.survey, frames.look.descan
    fitted = descan.fitted - np.array(descan.centre, np.float32)[:, None, None]
    return {
        "bin": frames.bin,
        "smooth_px": frames.smooth,
        "resolution_px": frames.resolution,
        "inner_px": look.inner,
        "outer_px": look.outer,
        "centre_px": list(descan.centre),
        "beam_radius_px": look.beam_radius,
        "descan_range_px": [float(np.ptp(fitted[0])), float(np.ptp(fitted[1]))],
        "descan_residual_px": _finite(descan.residual),
        "descan_expected_residual_px": _finite(descan.expected_residual),
        "descan_shared_residual_px": descan.shared,
        "ellipse_ratio": look.ellipse.ratio if look.ellipse else None,
        "ellipse_ratio_error": look.ellipse.error if look.ellipse else None,
        "ellipse_angle_deg": look.ellipse.angle if look.ellipse else None,
        "ellipse_corrected": list(look.undistort) if look.undistort else None,
        "pixels_masked": look.masks.counts,
        "hot_pixels": look.bad.hot.tolist(),
        "dead_pixels": look.bad.dead.tolist(),
        "values_not_finite": survey.n_nonfinite,
        "values_negative": survey.n_negative,
        "values_saturated": survey.n_saturated,
        "positions_left_out": int((~frames.positions).sum()),
        "pixels_kept": int(frames.mask.sum()),
        "is_counts": frames.is_counts,
        "linear": frames.linear,
    }


def describe_program() -> dict[str, Any]:
    """Versions, time and platform; no user or machine names."""
    packages = {}
    for name in ("numpy", "scipy", "scikit-learn", "numba", "h5py", "rosettasciio", "panel"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "program": "stem4d_panel",
        "version": __version__,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": thread_count(),
        "packages": packages,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
