"""What happens between the page that is sent and the page that has loaded."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from bokeh.document import Document
from bokeh.models import Plot
from panel.io.state import set_curdoc

from stem4d_panel import Workbench
from stem4d_panel.app import workbench as module
from stem4d_panel.app.boot import Boot, boot
from stem4d_panel.scan.scan import Scan


@pytest.fixture
def doc() -> Iterator[Document]:
    boot.now()
    made = Document()
    context = SimpleNamespace(
        id="page",
        server_context=None,
        session=None,
        request=SimpleNamespace(arguments={}, headers={}, cookies={}),
        destroyed=False,
    )
    made._session_context = lambda: context
    with set_curdoc(made):
        yield made


def names(doc: Document) -> set[str]:
    return {f.name for f in doc.select({"type": Plot})}


def test_a_page_that_is_sent_before_the_figures_can_be_drawn_is_left_as_it_is_until_it_has_loaded(
    small: Scan, doc: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "boot", Boot())
    workbench = Workbench(small, rank=4)
    before = len(doc.session_callbacks)
    workbench._ready()  # the figures' libraries are there before the page is
    assert len(doc.session_callbacks) == before
    assert workbench.screen is None
    monkeypatch.setattr(module, "boot", boot)
    workbench._loaded()
    assert len(doc.session_callbacks) > before
    for callback in list(doc.session_callbacks):
        callback.callback()
    assert workbench.screen is not None
    workbench.close()


def test_a_warm_server_sends_the_figures_with_the_page(small: Scan, doc: Document) -> None:
    workbench = Workbench(small, rank=4)
    page = workbench.page()
    page.server_doc(doc)
    first = {"maps", "patterns", "measured", "dendrogram", "gallery", "ranks", "merge"}
    assert names(doc) == first
    assert workbench._held is not None  # what comes now waits until the page has loaded
    workbench._loaded()
    for callback in list(doc.session_callbacks):
        callback.callback()
    assert names(doc) > first | {"class-map", "class-profile"}  # what lies below comes when the rest has been drawn
    workbench.close()
