"""Searches for unused objects leave out what a long one has found alive, until everything is due again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from stem4d_panel.runtime import pauses


class Ring:
    """Goes only when it is searched for."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def after() -> Iterator[None]:
    pauses.keep_short()
    yield
    pauses.search_everything()


def dead_after_a_search(monkeypatch: pytest.MonkeyPatch, long: float, share: float) -> weakref.ref[Ring]:
    """An object that a search has found alive and that nobody holds now."""
    monkeypatch.setattr(pauses, "LONG", long)
    monkeypatch.setattr(pauses, "SHARE", share)
    ring = Ring()
    pauses.search_everything()
    return weakref.ref(ring)


def test_what_a_long_search_found_alive_is_left_out_until_all_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = dead_after_a_search(monkeypatch, long=0.0, share=1e-6)
    young = weakref.ref(Ring())
    assert gc.get_freeze_count() > 1000
    gc.collect()
    assert young() is None
    assert ring() is not None
    pauses.search_everything()
    assert ring() is None


def test_it_is_found_by_itself_when_everything_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = dead_after_a_search(monkeypatch, long=0.0, share=1e6)
    gc.collect()
    assert ring() is None


def test_short_searches_go_through_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = dead_after_a_search(monkeypatch, long=1e6, share=1e-6)
    gc.collect()
    assert ring() is None
    assert gc.get_freeze_count() == 0
