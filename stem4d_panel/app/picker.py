"""The file picker: folders below the one that is served, what is in a file before it is opened, the shape of a stack.

All its parts are there from the first and only change what they show. Files are looked into in the compute thread.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app.served import Entry, Served
from stem4d_panel.app.session import Session
from stem4d_panel.app.shape_chooser import ShapeChooser, in_words
from stem4d_panel.app.text import Html, safe_text
from stem4d_panel.app.work import look_steps, sums_steps
from stem4d_panel.errors import DataError, SettingError, Stem4dError
from stem4d_panel.runtime.jobs import Job, compute
from stem4d_panel.runtime.memory import in_bytes
from stem4d_panel.runtime.progress import Progress, Steps
from stem4d_panel.scan.about import Contents
from stem4d_panel.scan.chosen import recall, remember
from stem4d_panel.scan.memory import estimate
from stem4d_panel.scan.readers import Candidate, listed, shown
from stem4d_panel.scan.stack import Guess, guess_shapes
from stem4d_panel.settings import DataSettings

SAMPLE = "simulated sample"
_UP = "‹ up"
_MANY = 200  # entries that are shown at a time; a filter finds the others
_FEW = 12  # entries below which there is no filter
_LISTED = 6  # arrays that are told of a file


class Picker:
    """Chooses what a session opens.

    Parameters
    ----------
    session : Session
    folder : Path or None
        The folder that is served; None means that there is nothing to pick.
    """

    def __init__(self, session: Session, folder: Path | None) -> None:
        self.session = session
        self._served = None if folder is None else Served(folder)
        self._here = Path() if self._served is None else self._served.root
        self._entries: list[Entry] = []
        self._picked: Path | None = None  # the file whose details are shown
        self._opened: Path | None = None  # the file that was opened last, to which the settings of the data belong
        self._contents: Contents | None = None
        self._looked_with = DataSettings()
        self._job: Job | None = None
        self._listener: Callable[[Job], None] | None = None
        self._quiet = False
        self._make()
        session.param.watch(lambda e: self._settings_changed(e.new.data), "settings")
        if self._served is not None:
            self._list()

    def _make(self) -> None:
        wide = {"sizing_mode": "stretch_width"}
        self.where = Html("", margin=(8, 8, 4, 8), css_classes=["picker-folder"], **wide)
        self.again = pmui.Button(
            label="Refresh", size="small", variant="text", margin=(2, 8), width=70, sx={"textTransform": "none"}
        )
        self.filter = pmui.TextInput(
            label="Filter", placeholder="part of a name", size="small", visible=False, margin=(8, 8), **wide
        )
        self.list = pmui.MenuList(
            items=[], css_classes=["picker-list"], margin=(0, 8),
            sx={
                "maxHeight": 208, "overflowY": "auto", "border": "1px solid rgba(128,128,128,.35)", "borderRadius": "4px",
                "& .MuiListItemButton-root": {"py": 0}, "& .MuiListItemText-root": {"my": "3px", "overflowWrap": "anywhere"},
            }, **wide,
        )  # fmt: skip
        self.about = Html("", visible=False, margin=(8, 8, 2, 8), css_classes=["picker-about"], **wide)
        self.dataset = pmui.Select(label="Dataset", options=[], visible=False, size="small", margin=(8, 8), **wide)
        self.shapes = ShapeChooser(self._shape_chosen)
        self.open = pmui.Button(
            label="Open", size="small", visible=False, margin=(4, 8), css_classes=["picker-open"], **wide
        )
        self.again.on_click(lambda _: self._list())
        self.filter.param.watch(lambda _: self._show_entries(), "value_input")
        self.list.on_click(self._clicked)
        self.dataset.param.watch(lambda _: self._dataset_chosen(), "value")
        self.open.on_click(lambda _: self._open_pressed())
        top = pn.Row(self.where, self.again, margin=0, **wide)
        parts = [top, self.filter, self.list, self.about, self.dataset, self.shapes.layout, self.open]
        there = self._served is not None  # else the page need not carry them
        self.layout = pn.Column(*(parts if there else []), visible=there, margin=0, **wide)

    @property
    def busy(self) -> bool:
        """Whether a file is being looked into."""
        with self.session._lock:  # between two jobs of one file it is still busy
            return self._job is not None

    def close(self) -> None:
        """Let go of the work."""
        self._release()

    # ---- folders -----------------------------------------------------------------------------------------------------

    def enter(self, name: str) -> None:
        """Show a folder inside the present one, or the one above for ``..``; a refusal is told in place of details."""
        if self._served is None:
            return
        try:
            self._here = self._served.inside(self._here.parent if name == ".." else self._here / name)
        except DataError as error:
            self._drop()
            self._refuse(error)
            return
        self.filter.param.update(value="", value_input="")
        self._list()

    def pick(self, name: str) -> None:
        """Look into a file of the present folder, or into all pictures of it for an empty name."""
        if self._served is None:
            return
        self._drop()
        try:
            self._picked = self._served.inside(self._here / name)
        except DataError as error:
            self._refuse(error)
            return
        self._look()

    def _list(self) -> None:
        if self._served is None:
            return
        self._drop()
        try:
            self._entries = self._served.entries(self._here)
        except DataError as error:
            self._entries = []
            self._refuse(error)
        parts = [self._served.root.name, *self._here.relative_to(self._served.root).parts]
        self.where.object = f'<div style="font-size:12px;overflow-wrap:anywhere">{safe_text(" / ".join(parts))}</div>'
        self.filter.visible = len(self._entries) > _FEW
        self._show_entries()

    def _show_entries(self) -> None:
        if self._served is None:
            return
        wanted = str(self.filter.value_input or "").casefold()
        found = [e for e in self._entries if wanted in e.name.casefold()]
        at_root = self._here == self._served.root
        first = _item(SAMPLE, "sample", "") if at_root else _item(_UP, "folder", "..")
        items = [first, *(_item(_label(e), e.kind, e.name) for e in found[:_MANY])]
        if len(found) > _MANY:
            items.append({**_item(f"{len(found) - _MANY} more: filter them", "none", ""), "selectable": False})
        self.list.param.update(items=items, active=None)

    def _clicked(self, item: Any) -> None:
        """An entry of the list; it is one of those that were made here, whatever the page sends."""
        if not isinstance(item, dict):
            return
        if item["kind"] == "folder":
            self.enter(item["name"])
        elif item["kind"] == "sample":
            self._drop()
            self._opened = None
            self.session.open(None)
        elif item["kind"] != "none":
            self.pick(item["name"])

    # ---- what is in a file -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        path, served = self._picked, self._served
        assert path is not None and served is not None  # noqa: S101, PT018
        how = self.session.settings.data if path == self._opened else DataSettings()
        self._looked_with = how
        self._tell(f"looking into {safe_text(path.name)} …")
        key = f"look/{path}/{served.root}/{how.as_dict()}"
        self._submit(key, lambda: look_steps(path, how, served.root), self._looked, self._refuse)

    def _looked(self, contents: Contents) -> None:
        self._contents = contents
        usable = [*contents.scans, *contents.stacks]
        if contents.is_result:
            self._tell(f"{_head(contents)}<br>a saved result")
            self.open.param.update(label="Open", visible=True)
            return
        if not usable:
            text = f"{contents.name}: holds no scan of four axes and no stack of frames: {listed(contents.arrays)}"
            self._refuse(DataError(text))
            return
        self._quiet = True
        first = next((c for c in usable if 0 not in c.shape), usable[0])
        self.dataset.param.update(
            options={_of_array(c): c.path for c in usable}, value=first.path, visible=len(usable) > 1
        )
        self._quiet = False
        self._show_array(first)

    def _array(self) -> Candidate | None:
        """The array that is chosen."""
        if self._contents is None or self._contents.is_result:
            return None
        return next((c for c in self._contents.arrays if c.path == self.dataset.value), None)

    def _dataset_chosen(self) -> None:
        array = self._array()
        if not self._quiet and array is not None:
            self._release()
            self._show_array(array)

    def _show_array(self, array: Candidate) -> None:
        contents = self._contents
        assert contents is not None  # noqa: S101
        lines = [_head(contents), *_arrays_told(contents, array)]
        before: Guess | None = None
        shape = array.shape
        if len(shape) == 3:
            before = recall(contents.identity, array.path or None, array.frames)
            ny, nx, _ = before or next(iter(guess_shapes(array.frames, array.per_row)), Guess(1, array.frames))
            shape = (ny, nx, *shape[1:])
        lines.append(self._memory(shape, array.dtype))
        self._tell("<br>".join(filter(None, lines)))
        self.open.param.update(
            label=f"Open as {in_words(before)}" if before else "Open",
            visible=len(array.shape) == 4 or before is not None,
        )
        if len(array.shape) == 4:
            self.shapes.hide()
            return
        self.shapes.offer(array.frames, array.per_row, before)
        if array.frames:
            self._sum(array)

    def _sum(self, array: Candidate) -> None:
        path, served, contents, how = self._picked, self._served, self._contents, self._looked_with
        assert path is not None and served is not None and contents is not None  # noqa: S101, PT018
        self.shapes.say("reading the frames for their pictures")
        dataset, identity = array.path or None, contents.identity
        self._submit(
            f"sums/{path}/{served.root}/{dataset}/{identity}/{how.as_dict()}",
            lambda: sums_steps(path, dataset, how, served.root, identity),
            self.shapes.draw,
            lambda error: self.shapes.say(f"no pictures: {_line(error)}"),
            lambda progress: self.shapes.say(f"reading the frames for their pictures · {progress.percent} %"),
        )

    def _memory(self, shape: tuple[int, ...], dtype: str) -> str:
        if len(shape) != 4 or 0 in shape:
            return ""
        needed = estimate((shape[0], shape[1], shape[2], shape[3]), np.dtype(dtype), self.session.settings)
        text = f"analysis needs {in_bytes(needed.needed)} of memory"
        if needed.free is not None:
            text += f", {in_bytes(needed.free)} are free"
        return f"⚠ {text}" if needed.fits is False else text

    # ---- opening -----------------------------------------------------------------------------------------------------

    def _open_pressed(self) -> None:
        array, contents = self._array(), self._contents
        if array is None or contents is None:
            self._open(None, None, stays=contents is None)
        elif len(array.shape) == 4:
            self._open(array.path or None, None)
        elif (before := recall(contents.identity, array.path or None, array.frames)) is not None:
            self._open(array.path or None, before)

    def _shape_chosen(self, guess: Guess) -> None:
        array, contents = self._array(), self._contents
        if array is not None and contents is not None:
            remember(contents.identity, array.path or None, guess)
            self._open(array.path or None, guess)

    def _open(self, dataset: str | None, guess: Guess | None, stays: bool = False) -> None:
        """Open what is picked; the details of what needs settings first stay."""
        path, served, session = self._picked, self._served, self.session
        if path is None or served is None:
            return
        changes: dict[str, Any] = {}
        if guess is not None:
            shape = f"{guess.ny},{guess.nx}"
            changes = {"data.scan_shape": shape, "data.flyback": guess.flyback, "data.first_frame": None}
        elif not stays and session.settings.data.scan_shape is not None:
            changes = {"data.scan_shape": None, "data.flyback": 0}  # they were of another array of the same file
        self._opened = path
        if not stays:
            self._drop()
        with session._lock:  # nothing is heard of the first opening when the settings lead to a second
            session.open(path, dataset, served.root)
            session.change(changes)

    def _settings_changed(self, data: DataSettings) -> None:
        """What was stated of an opened file that could not be read without it: look again."""
        waits = self._picked is not None and self._picked == self._opened and self._contents is None
        if waits and data != self._looked_with:
            self._look()

    # ---- jobs and what is shown --------------------------------------------------------------------------------------

    def _submit(
        self,
        key: str,
        make: Callable[[], Steps[Any]],
        then: Callable[[Any], None],
        failed: Callable[[BaseException], None],
        going: Callable[[Progress], None] | None = None,
    ) -> None:
        """Ask for work in place of what was asked for before."""

        def listen(job: Job) -> None:  # in the compute thread
            self.session._call(lambda: self._hear(job, then, failed, going))

        with self.session._lock:
            self._release()
            self._listener = listen
            self._job = compute.submit(key, make, listen)

    def _release(self) -> None:
        with self.session._lock:
            job, self._job = self._job, None
            if job is not None:
                compute.release(job, self._listener)

    def _hear(
        self,
        job: Job,
        then: Callable[[Any], None],
        failed: Callable[[BaseException], None],
        going: Callable[[Progress], None] | None,
    ) -> None:
        with self.session._lock:
            if self.session.closed or job is not self._job:
                return
            if job.state in ("waiting", "running"):
                if going is not None and job.progress is not None:
                    going(job.progress)
                return
            self._job = None
            if job.state == "done":
                then(job.result)
            elif job.error is not None and job.state == "failed":
                failed(job.error)

    def _drop(self) -> None:
        """Forget what was picked, and show nothing of it."""
        self._release()
        self._picked = self._contents = None
        self.about.visible = self.dataset.visible = self.open.visible = False
        self.shapes.hide()

    def _refuse(self, error: BaseException) -> None:
        """One line in place of details; what only wants settings can be opened, and they then belong to it."""
        hint = (
            "<br>Open it, then state this under “What the file does not say”."
            if isinstance(error, SettingError)
            else ""
        )
        self._tell(f'<span style="color:#d32f2f">{safe_text(_line(error))}</span>{hint}')
        self.open.param.update(label="Open", visible=bool(hint))

    def _tell(self, text: str) -> None:
        """Show HTML made here."""
        self.about.param.update(
            object=f'<div style="font-size:12px;line-height:1.5;overflow-wrap:anywhere">{text}</div>', visible=True
        )


def _item(label: str, kind: str, name: str) -> dict[str, Any]:
    """An entry of the list; only its label goes to the page."""
    return {"label": label, "icon": None, "kind": kind, "name": name}


def _label(entry: Entry) -> str:
    names = {"folder": f"▸ {shown(entry.name)}", "pictures": "all pictures of this folder"}
    return names.get(entry.kind, shown(entry.name))


def _line(error: BaseException) -> str:
    return str(error) if isinstance(error, Stem4dError) else f"{type(error).__name__}: {error}"


def _head(contents: Contents) -> str:
    return (
        f"<b>{safe_text(contents.name, 80)}</b> · {in_bytes(contents.bytes_on_disk)} · {safe_text(contents.form, 60)}"
    )


def _of_array(array: Candidate) -> str:
    """An array in words: its path, shape and data type."""
    return f"{shown(array.path)} {' × '.join(map(str, array.shape))} {shown(array.dtype)[:60]}".strip()


def _arrays_told(contents: Contents, chosen: Candidate) -> list[str]:
    """The first few arrays of a file, the chosen one first."""
    others = [a for a in contents.arrays if a is not chosen]
    lines = [safe_text(_of_array(a)) for a in [chosen, *others][:_LISTED]]
    return lines + ([f"and {len(others) + 1 - _LISTED} more arrays"] if len(others) >= _LISTED else [])
