"""The workbench on 256 × 256 positions of 128 × 128 pixels that are made in memory, 2.1 GB."""

from __future__ import annotations

import numpy as np
import panel as pn
from test_factorize import counts

from stem4d_panel import Scan, Workbench


def made() -> Scan:
    if "large" not in pn.state.cache:
        rows = counts(side=256, pixels=128, dose=500)
        data = rows.astype(np.uint16).reshape(256, 256, 128, 128)
        pn.state.cache["large"] = Scan.from_array(data, scan_step=0.5, detector_step=0.1, name="large")
    return pn.state.cache["large"]  # type: ignore[no-any-return]


Workbench(made(), rank=10).servable()
