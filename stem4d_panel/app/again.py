"""From a saved result back to its scan: found beside the result, or asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import panel_material_ui as pmui

from stem4d_panel.app.session import Session


class ScanOffer:
    """A button that goes on from the scan of the saved result that is shown, where that scan is found.

    Parameters
    ----------
    session : Session
    folder : Path or None
        The one that is served; what lies outside it is not found.
    """

    def __init__(self, session: Session, folder: Path | None) -> None:
        self.session, self._root = session, None if folder is None else folder.resolve()
        self._result: Any = None  # the one whose scan was looked for
        self._source: Path | None = None
        self.button = pmui.Button(
            label="Continue from the scan", size="small", visible=False, margin=(2, 8), width=190, css_classes=["from-scan"]
        )  # fmt: skip
        self.button.on_click(lambda _: session.continue_from(self._source, self._root))
        session.param.watch(lambda _: self._look(), "shown")

    def _look(self) -> None:
        result = self.session.result
        if result is self._result:
            return
        self._result, self._source = result, None
        if result is None:
            self.button.visible = False
            return
        from stem4d_panel.results.recipe import sample_seed
        from stem4d_panel.scan.readers import shown as harmless

        name = result.source.get("file")
        self._source = self._found(result)
        self.button.visible = self._source is not None or sample_seed(result.source.get("name"), name) == 0
        if not self.button.visible:
            scan = "which was an array in memory" if not name else f"{harmless(name)}, which is not beside it"
            self.session.say("info", f"a saved result; to change more of it, open its scan, {scan}")

    def _found(self, result: Any) -> Path | None:
        from stem4d_panel.results.source import find_source

        data, _ = self.session.asked
        folders = [Path(data).absolute().parent] if isinstance(data, (str, Path)) else []
        found = (find_source(result.source, folder) for folder in [*folders, *filter(None, [self._root])])
        return next((path for path in found if path is not None and self._may_be_seen(path)), None)

    def _may_be_seen(self, path: Path) -> bool:
        return self._root is None or path.resolve().is_relative_to(self._root)
