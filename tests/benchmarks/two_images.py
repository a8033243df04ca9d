"""The floor of the first picture: two images of HoloViews side by side."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import panel as pn

hv.extension("bokeh")
pn.extension()
image = hv.Image(np.random.default_rng(0).random((128, 128), np.float32)).opts(frame_width=310, frame_height=310)
pn.Row(pn.pane.HoloViews(image), pn.pane.HoloViews(image)).servable()
