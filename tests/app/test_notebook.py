"""Messages of a notebook's page."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

from bokeh.document import Document
from bokeh.models import Span
from bokeh.plotting import figure
from pyviz_comms import Comm

from stem4d_panel.app.notebook import _in_main_thread
from stem4d_panel.app.plain import FigurePane


def test_messages_are_taken_in_by_the_kernels_own_thread_in_order() -> None:
    taken: list[tuple[str, int]] = []
    comm = SimpleNamespace(_handle_msg=lambda message: taken.append((message, threading.get_ident())))

    async def kernel() -> None:
        _in_main_thread(comm, asyncio.get_running_loop())
        await asyncio.to_thread(lambda: [comm._handle_msg(name) for name in "abc"])  # as a subshell does
        await asyncio.sleep(0)
        comm._handle_msg("d")

    asyncio.run(kernel())
    assert taken == [(name, threading.get_ident()) for name in "abcd"]


def test_everything_that_one_message_tells_of_a_figure_is_heard() -> None:
    heard: list[tuple[int, float]] = []
    spans = [Span(location=0.0) for _ in range(2)]

    def make() -> object:
        made = figure()
        for i, span in enumerate(spans):
            span.on_change("location", lambda attr, old, new, i=i: heard.append((i, new)))
            made.add_layout(span)
        return made

    document = Document()
    document.add_root(FigurePane(make, []).get_root(document, Comm()))
    document.hold()  # as Panel does for each message
    for i, span in enumerate(spans):
        span.location = 1.0 + i
    document.unhold()
    assert heard == [(0, 1.0), (1, 2.0)]
