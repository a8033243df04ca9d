"""Exports of a session without a screen: live results, what is not there yet, failures."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from sessions import run

from stem4d_panel.app import export_view
from stem4d_panel.app.export_view import EMD, REPORT, TABLE, ExportView
from stem4d_panel.app.session import Session
from stem4d_panel.errors import DataError
from stem4d_panel.results.text import file_stem


def exported(view: ExportView) -> bytes | None:
    view.button._handle_click()
    if view.thread is not None:
        view.thread.join(60)
    data = view.button.data
    return None if data is None else base64.b64decode(data.partition(",")[2])


def test_a_live_result_is_exported_once_it_is_measured(session: Session) -> None:
    view = ExportView(session)
    analysis = session.analysis
    if not analysis.ready("details"):
        assert exported(view) is None
        assert session.message == ("info", "the classes are still being measured; export them in a moment")
        analysis.run("details")
    view.what.value = TABLE
    view.table.value = "classes"
    table = exported(view)
    assert table is not None
    assert len(table.splitlines()) == 1 + session.shown.classes.count
    assert view.button.filename == "small-classes.csv"
    view.what.value = EMD
    made = exported(view)
    assert made is not None
    assert made.startswith(b"\x89HDF")
    assert not view.button.disabled
    run(session)


def test_a_failure_becomes_a_message_and_no_file(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.analysis.run("details")
    view = ExportView(session)

    failures: list[Exception] = []

    def fail(*args: Any) -> bytes:
        raise failures[-1]

    monkeypatch.setattr(export_view, "packed", fail)
    assert view.what.value == REPORT
    for error, says in (
        (DataError("a: no room"), "a: no room"),
        (ValueError("odd"), "the export failed: ValueError: odd"),
    ):
        failures.append(error)
        assert exported(view) is None
        assert session.message == ("error", says)
        assert not view.button.disabled


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scan.hspy", "scan"), ("found.stem4d.hspy", "found"), ("../../etc/passwd", "passwd"), ("<b>\n x.npy", "b_x"),
        ("", "result"), ("...", "result"), ("結晶 1.blo", "結晶_1"), ("a" * 300, "a" * 80),
    ],
)  # fmt: skip
def test_names_of_files_are_safe(name: str, stem: str) -> None:
    assert file_stem(name) == stem
