"""Compiling the kernels in a process of its own, beside the imports of a server's first start.

numba keeps what it compiles on disk; as long as nothing is there, this saves the first page some ten seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def is_needed() -> bool:
    """Whether nothing compiled is found where numba keeps it: its own folder, or beside the kernels."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(own).rglob("kernels.*.nbi")] if own else [_PACKAGE.glob("*/__pycache__/kernels.*.nbi")]
    return not any(any(place) for place in places)


def begin() -> None:
    """Start it if it is needed; nobody waits for it, and a kernel that is asked for before is compiled there."""
    if sys.executable and is_needed():
        command = [sys.executable, "-m", "stem4d_panel.app.precompile"]
        subprocess.Popen(  # noqa: S603 - this module itself
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def _compile() -> None:
    """The chain up to the factors on a scan of a few positions, of the type that detectors write."""
    import numpy as np

    from stem4d_panel.factorize.factors import factorise_steps
    from stem4d_panel.prepare import look_steps, prepare_steps
    from stem4d_panel.prepare.survey import survey_steps
    from stem4d_panel.runtime.progress import finish
    from stem4d_panel.scan.calibration import calibrate
    from stem4d_panel.scan.scan import Scan
    from stem4d_panel.settings import Settings

    y, x = np.indices((24, 24)) - 11.5
    beam = 200 * np.exp(-(y**2 + x**2) / 6) + 5
    counts = np.random.default_rng(0).poisson(np.broadcast_to(beam, (6, 7, 24, 24))).astype(np.uint16)
    scan, settings = Scan.from_array(counts), Settings.make({"factorize.rank": 3})
    survey = finish(survey_steps(scan))
    look = finish(look_steps(scan, survey, settings.prepare))
    frames = finish(prepare_steps(scan, look, calibrate(scan, settings.calibration), settings.prepare))
    finish(factorise_steps(frames, settings.factorize))


if __name__ == "__main__":
    _compile()
