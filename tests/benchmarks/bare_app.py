"""The floor of the latency benchmark: a Bokeh server app that replaces one 512 × 512 float32 image on a tap, drag or slider."""

from __future__ import annotations

import itertools

import numpy as np
from bokeh.events import Pan, Tap
from bokeh.io import curdoc
from bokeh.layouts import column
from bokeh.models import Slider
from bokeh.plotting import figure

rng = np.random.default_rng(0)
images = [rng.random((512, 512), np.float32) for _ in range(8)]
turn = itertools.count(1)
fig = figure(name="bare", frame_width=310, frame_height=310, x_range=(0, 1), y_range=(0, 1))
drawn = fig.image(image=[images[0]], x=0, y=0, dw=1, dh=1)
fig.toolbar.active_drag = None


def replace() -> None:
    drawn.data_source.data = {"image": [images[next(turn) % len(images)]]}


for event in (Tap, Pan):
    fig.on_event(event, lambda _: replace())
slider = Slider(start=0, end=100, value=50, name="bare-slider")
slider.on_change("value", lambda attr, old, new: replace())
curdoc().add_root(column(fig, slider))
