"""What leaves the screen beside the result file: the report, figures, tables, arrays for py4DSTEM."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app.session import Session
from stem4d_panel.errors import Stem4dError
from stem4d_panel.results.export import Piece, emd_piece, figure_pieces, packed, report_piece, table_pieces
from stem4d_panel.results.offers import ENDINGS, FIGURES, TABLES
from stem4d_panel.results.text import file_stem

REPORT, FIGURE, TABLE, EMD = "report (HTML)", "figures", "tables (CSV)", "arrays for py4DSTEM (EMD)"
ALL = "all"
_FIELD = {"size": "small", "sizing_mode": "stretch_width", "margin": (6, 8)}


class ExportView:
    """A choice of what, and a button that makes it when it is clicked; in a thread, so that the page stays alive."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.thread: threading.Thread | None = None  # that makes the last export
        self.what = pmui.Select(label="Export", options=[REPORT, FIGURE, TABLE, EMD], value=REPORT, **_FIELD)
        self.figure = pmui.Select(label="Figure", options=[ALL, *FIGURES], value=ALL, **_FIELD)
        self.table = pmui.Select(label="Table", options=[ALL, *TABLES], value=ALL, visible=False, **_FIELD)
        self.ending = pmui.Select(label="As", options=[e[1:].upper() for e in ENDINGS], value="SVG", **_FIELD)
        self._figures = pn.Row(self.figure, self.ending, sizing_mode="stretch_width", margin=0, visible=False)
        # without a callback of its own: Panel would hand over a file after a failure, too, and work in the event loop
        self.button = pmui.FileDownload(
            label="Export", filename="report.html", disabled=True, css_classes=["export"], **_FIELD
        )
        self.button.param.update(
            variant="outlined", color="default"
        )  # as arguments, Panel warns of its own names for them
        self.what.param.watch(self._chosen, "value")
        self.button.param.watch(self._clicked, "_clicks")
        self.layout = pn.Column(
            self.what, self._figures, self.table, self.button, sizing_mode="stretch_width", margin=0
        )

    def _chosen(self, event: Any) -> None:
        self._figures.visible, self.table.visible = event.new == FIGURE, event.new == TABLE

    def enable(self) -> None:
        """There is a result."""
        self.button.disabled = self.thread is not None and self.thread.is_alive()  # which enables it at its end

    def _plan(self) -> tuple[str, Callable[[Any], list[Piece]]]:
        """What the file is called after the scan's name, and what makes its parts of a result."""
        if self.what.value == FIGURE:
            form, name = self.ending.value.lower(), self.figure.value
            if name == ALL:
                return f"figures-{form}.zip", lambda result: figure_pieces(result, endings=["." + form])
            return f"{name}.{form}", lambda result: figure_pieces(result, [name], ["." + form])
        if self.what.value == TABLE:
            name = self.table.value
            if name == ALL:
                return "tables.zip", table_pieces
            return f"{name}.csv", lambda result: table_pieces(result, [name])
        if self.what.value == EMD:
            return "result.emd", lambda result: [emd_piece(result)]
        return "report.html", lambda result: [report_piece(result)]

    def _clicked(self, event: Any) -> None:
        analysis = self.session.analysis
        if analysis is not None and not analysis.ready("details"):  # is computed in one thread alone
            self.session.say("info", "the classes are still being measured; export them in a moment")
            return
        try:
            result = self.session.current_result()
        except Stem4dError as error:
            self.session.say("error", str(error))
            return
        name, make = self._plan()
        # later: events that arise while Panel takes in a message of the page may leave after those that follow them;
        # no data: the same ones would not arrive a second time
        self.session._call(lambda: self.button.param.update(disabled=True, label="Exporting …", data=None))
        self.thread = threading.Thread(target=self._make, args=(result, name, make), daemon=True)
        self.thread.start()

    def _make(self, result: Any, name: str, make: Callable[[Any], list[Piece]]) -> None:
        """In a thread of its own: nothing here runs compiled loops, which need the compute thread."""
        made, failure = b"", ""
        try:
            made = packed(make(result))
        except Stem4dError as error:
            failure = str(error)
        except Exception as error:  # a failed export must not end in silence
            failure = f"the export failed: {type(error).__name__}: {error}"
        self.session._call(lambda: self._deliver(f"{file_stem(result.name)}-{name}", made, failure))

    def _deliver(self, name: str, made: bytes, failure: str) -> None:
        self.button.param.update(disabled=False, label="Export", filename=name)
        if failure:
            self.session.say("error", failure)
            return
        self.button.file = io.BytesIO(made)
        self.button.transfer(download=True)
        self.button.file = None  # or the next click would send it again
