"""The first look at a scan: a dark-field image and the mean pattern, seen while a server still loads its libraries.

It is made by a process of its own, as the imports keep the server's interpreter busy, from what needs no more than NumPy
and the reader of the file. Nobody waits for it: where it fails, or takes too long, a page begins without.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from stem4d_panel.app.palette import painted, plain
from stem4d_panel.app.sizes import WIDTH, frame_size
from stem4d_panel.app.stills import Still
from stem4d_panel.results.colours import limits, scaled
from stem4d_panel.scan.scan import Scan

_MOST = 2**27  # bytes that are read
_SIDE = 48  # positions at most along each side of a scan that is larger
_BRIGHT = 1.0  # per cent of the detector's pixels that hold the direct beam, or are hot


def first_look(scan: Scan) -> tuple[Still, Still]:
    """What can be seen of a scan before anything is known of it.

    Parameters
    ----------
    scan : Scan
        Of one beyond 128 MB, 48 × 48 positions at most are read, in equal steps.

    Returns
    -------
    image, pattern : Still
        The counts of each position but for the brightest hundredth of the detector, and the square root of the mean
        pattern, stretched to what lies below that.

    Raises
    ------
    DataError
        If the data cannot be read.
    """
    patterns = _some(scan)
    mean = patterns.mean(axis=(0, 1), dtype=float)
    dark = mean <= np.percentile(mean, 100 - _BRIGHT)
    image = patterns.sum(axis=(2, 3), dtype=float) - patterns[..., ~dark].sum(axis=-1, dtype=float)
    values = scaled(mean, "root")
    seen = values[dark & (values > 0)]
    y, x, ky, kx = scan.axes
    return (
        Still("dark-field image", plain(image, "gray")(image), frame_size(y, x, WIDTH)),
        Still("mean pattern", painted(values, limits(seen, 0.5, 100), "inferno"), frame_size(ky, kx, WIDTH)),
    )


def _some(scan: Scan) -> np.ndarray:
    """All patterns, or as many as are read of a large scan, shape (y, x, ky, kx); nothing where a value is no number."""
    if scan.nbytes <= _MOST:
        return _known(scan.rows(0, scan.shape[0]))
    side = min(_SIDE, max(1, math.isqrt(_MOST * math.prod(scan.scan_shape) // scan.nbytes)))
    ys, xs = (range(0, n, -(-n // side)) for n in scan.scan_shape)
    return np.stack([np.stack([_known(scan.pattern(y, x)) for x in xs]) for y in ys])


def _known(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values) if values.dtype.kind == "f" else values


def _main(path: str | None) -> None:
    if path is None:
        from stem4d_panel.scan.sample import sample_scan

        scan = sample_scan()
    else:
        from stem4d_panel.scan.readers import open_scan

        scan = open_scan(path)
    print("".join(still.html() for still in first_look(scan)))


if __name__ == "__main__":
    _main(sys.argv[1] if len(sys.argv) > 1 else None)
