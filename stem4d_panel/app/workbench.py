"""The workbench: the whole screen, in a notebook cell, in `stem4d serve`, in `panel serve`."""

from __future__ import annotations

import contextvars
import io
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

# before any page: Panel looks for parts of it once another thread has begun to import it, and the two may stop each other
import holoviews.plotting  # noqa: F401
import panel as pn
import panel_material_ui as pmui
from panel.io.document import hold

from stem4d_panel.app import address as addresses
from stem4d_panel.app import delivery, notebook, presence, shell
from stem4d_panel.app.actions import Actions
from stem4d_panel.app.again import ScanOffer
from stem4d_panel.app.badges import Bar
from stem4d_panel.app.boot import boot
from stem4d_panel.app.class_table import ClassTable  # noqa: F401  # known before the page is sent: see there
from stem4d_panel.app.controls import THEME, Controls
from stem4d_panel.app.hints import Hints
from stem4d_panel.app.session import Session
from stem4d_panel.app.stills import stills
from stem4d_panel.app.text import caption, safe_text, say
from stem4d_panel.settings import Settings

SIDEBAR = 330
_SENDING = 15  # milliseconds between two looks whether the other views may follow
_LONGEST = 0.7  # seconds after which that is not waited for: a page may be slow, a hand move for long
_PATIENCE = 0.3  # seconds that a page waits for a result that is in the cache


class Workbench(pn.viewable.Viewer):
    """The whole app.

    Parameters
    ----------
    data : path, Scan, Result, array-like, HyperSpy signal or None
        What to analyse; None means the simulated sample.
    settings : Settings, optional
        Settings to begin with.
    folder : path, optional
        Folder whose files can be opened from the screen; nothing outside it can.
    address : mapping, optional
        Arguments of the page's address, which say how it begins and then follow what is changed; see `app.address`.
    **changes
        Changes to the settings, such as ``rank=9``.

    Raises
    ------
    SettingError
        If a setting is refused. What is wrong with the data shows on the screen.
    """

    def __init__(
        self,
        data: Any = None,
        *,
        settings: Settings | None = None,
        folder: str | Path | None = None,
        address: Mapping[str, Sequence[bytes | str]] | None = None,
        **changes: Any,
    ) -> None:
        super().__init__()
        delivery.mend()
        wanted = (settings or Settings.make()).replace({n.replace("__", "."): v for n, v in changes.items()})
        self._document = pn.state.curdoc if pn.state.curdoc and pn.state.curdoc.session_context else None
        self._loop, self._context = notebook.main_loop(), contextvars.copy_context()
        self._folder = Path(folder) if folder is not None else None
        self._address = dict(address) if address is not None else None
        self.session = self._session(data, wanted, address)
        if self._document is not None:
            self.session.within = partial(hold, self._document)
        self.controls = Controls(self.session, self._folder, self._save)
        self.actions = Actions(self.session, self._play, everywhere=self._document is not None)
        self.screen: Any = None
        self._started = False
        # what waits for the page: Panel forgets a change made after the page was sent and before it has loaded
        self._held: list[Callable[[], None]] | None = None if self._document is None else []
        self._gate = threading.Condition()  # the compute thread adds to it
        self._body = pn.Column(caption("Loading the figures …", margin=16), sizing_mode="stretch_width", margin=0)
        self._progress = Bar(sizing_mode="stretch_width", margin=(12, 8))
        self._status = caption(
            "starting", margin=(6, 8), sizing_mode="stretch_width", min_width=180, max_width=460, css_classes=["status"]
        )
        self._cancel = pmui.Button(
            label="Cancel", size="small", variant="outlined", disabled=True, margin=(2, 8), width=80
        )
        self._cancel.on_click(lambda _: self.session.cancel())
        self._run = pmui.Button(label="Run", size="small", visible=False, margin=(2, 8), width=80)
        self._run.on_click(lambda _: self.session.refresh())
        self._scan = ScanOffer(self.session, self._folder)
        self._alert = pmui.Alert(
            object="",
            severity="info",
            closeable=True,
            visible=False,
            sizing_mode="stretch_width",
            margin=(2, 8),
            css_classes=["message"],
        )
        self._main = pn.Column(
            pn.Row(
                self._status,
                self._progress,
                self._scan.button,
                self._run,
                self._cancel,
                sizing_mode="stretch_width",
                margin=0,
            ),
            self._alert,
            Hints(sizing_mode="stretch_width", margin=(2, 8)),
            self._body,
            sizing_mode="stretch_width",
            margin=0,
        )
        self._view: Any = None
        self.session.param.watch(lambda *_: self._show_progress(), ["progress", "steps"])
        self.session.param.watch(lambda _: self.call(self._keep_stills), "shown_after")  # when all views have drawn it
        self.session.param.watch(lambda e: self._show_message(e.new), "message", onlychanged=False)
        if address is not None:
            addresses.Follower(self.session, self.actions.bar, self.call, wanted, data, self._folder)
        if self._document is None:
            boot.now()
            self._fill()
            if not notebook.in_kernel():
                self._start()
        else:
            if boot.done:
                self._fill_before_it_is_sent()
            else:
                boot.when_ready(self._ready)
            pn.state.onload(self._loaded)
            _clean_up_after(self)
            presence.watch(self._document, weakref.ref(self))

    def __panel__(self) -> Any:
        if self._view is None:
            side = pn.Column(self.controls.layout, width=SIDEBAR, margin=(0, 6, 0, 0))
            self._main.insert(0, self.actions.bar)  # where there is no header
            self._view = pmui.Row(side, self._main, sizing_mode="stretch_width", margin=0, theme_config=THEME)
        return self._view

    def page(self, poll: bool = False) -> Any:
        """The whole browser page, with a header and the choice of light and dark.

        Parameters
        ----------
        poll : bool
            Whether the page, until its widgets are drawn, asks the server's ``progress`` how far it has come.
        """
        title = caption(_headline(self.session.shown), margin=(8, 12), styles={"color": "white"})
        self.session.param.watch(lambda e: say(title, _headline(e.new)), "shown")
        self.actions.bar.styles = {"color": "white"}
        page = pmui.Page(
            title="stem4d",
            sidebar=[self.controls.layout],
            main=[self._main],
            header=[title, pn.HSpacer(), self.actions.bar],
            sidebar_width=SIDEBAR,
            sidebar_resizable=False,
            theme_config=THEME,
            template=shell.template(poll),
            busy_indicator=None,
        )
        delivery.let_be_busy(page)
        return page

    def servable(self, *args: Any, **kwargs: Any) -> Any:
        """Serve the page when run by a server; in a notebook, nothing but the workbench itself."""
        if self._document is not None:
            self.page().servable(*args, **kwargs)
        return self

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if notebook.in_kernel() and self._document is None:
            self._held = [] if self._held is None else self._held
            return notebook.bundle(self.__panel__(), self._connected)
        return super()._repr_mimebundle_(include, exclude)

    def close(self) -> None:
        """Let go of the work and of the figures."""
        boot.forget(self._ready)
        self.session.close()
        self.controls.picker.close()
        if self.screen is not None:
            self.screen.close()

    # ---- what happens ------------------------------------------------------------------------------------------------

    def call(self, then: Callable[[], None]) -> None:
        """Run `then` where the screen may be changed: in the event loop of the server or the kernel, at once elsewhere."""
        with self._gate:
            if self._held is not None:
                self._held.append(then)
                self._gate.notify()
                return
        if self._document is not None:
            if not self.session.closed:
                self._document.add_next_tick_callback(partial(self._together, then))
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(then, context=self._context)
        else:
            then()

    def afterwards(self, then: Callable[[], None]) -> None:
        """Run `then` as `call` does, when the page has been sent what has changed so far and no hand moves."""
        page, until = self._document, time.monotonic() + _LONGEST
        if page is None or self._held is not None:
            self.call(then)
            return

        def look() -> None:
            if (delivery.is_leaving(page) or self.session.moves) and time.monotonic() < until:
                page.add_timeout_callback(look, _SENDING)
            else:
                self._together(then)

        if not self.session.closed:
            page.add_timeout_callback(look, _SENDING)

    def _together(self, then: Callable[[], None]) -> None:
        """What `then` changes goes to the page as one message: each of its own would wait for the one before."""
        with self.session.within():
            then()

    def _fill_before_it_is_sent(self) -> None:
        """Figures and what is known already go out with the page: nothing is drawn twice."""
        self._start()
        until = time.monotonic() + _PATIENCE
        while self.session.busy and (left := until - time.monotonic()) > 0:
            with self._gate:
                self._gate.wait_for(lambda: self._held, timeout=left)
                held, self._held = self._held or [], []
            for then in held:
                then()
        self._fill()

    def _loaded(self) -> None:
        boot.start()
        self._connected()

    def _connected(self) -> None:
        """The page shows the view: it gets what was held back, since it would have missed what came before."""
        with self._gate:
            held, self._held = self._held or [], None
        for then in [*held, self._start, self._show_progress, self._complete]:
            self.call(then)  # later: events that arise while Panel takes in a message of the page never leave

    def _start(self) -> None:
        """Begin the work, once: in a notebook when the page has connected."""
        if not self._started:
            self._started = True
            self.session.start()

    def _ready(self) -> None:  # in the background thread, or at once
        self.call(self._fill)

    def _fill(self) -> None:
        if boot.error is not None:
            self.session.say("error", f"the figures cannot be loaded: {boot.error}")
            return
        from stem4d_panel.app.screen import content

        self.screen, layout = content(self.session)
        self._body[:] = [layout]
        self._show_progress()
        self._complete()

    def _keep_stills(self) -> None:
        """Keep what is seen of a page that nobody has touched yet, for the next one of its address."""
        session = self.session
        if self._address is None or self.screen is None or session.busy or stills.has(self._address):
            return
        drawn = session.shown.findings is not None and session.shown_after is session.shown  # by the maps, too
        if drawn and self.screen.is_untouched():
            stills.keep(self._address, session.asked[0], self.screen.stills())

    def _complete(self) -> None:
        """The figures that can wait, once the page has drawn the others: before, it would lose what is added."""
        if self.screen is not None and (self._held is None or self._document is None):
            self.screen.complete()

    def _show_progress(self) -> None:
        progress, session = self.session.progress, self.session
        self._cancel.disabled = not session.busy
        done = all(state == "up to date" for state, _ in session.steps.values())
        self._run.visible = not session.busy and not done and session.analysis is not None
        if self._held is not None:
            say(self._status, "connecting")
        elif session.busy:
            say(self._status, session.doing() or "working")
            self._progress.show(progress.percent if progress is not None else 0)
        else:
            say(self._status, "not up to date" if not done else "ready" if self.screen else "loading the figures")
            self._progress.show(100 if done else 0)
            self._keep_stills()

    def _show_message(self, message: tuple[str, str] | None) -> None:
        if message is None:
            self._alert.visible = False
            return
        kind, text = message
        if kind == "error" and self.session.shown.axes is None and self._folder is not None:
            text += ". Choose another file on the left, or the simulated sample"
        # a message closed by hand does not keep the next one from showing
        self._alert.param.update(object=safe_text(text), severity=kind, visible=True, closed=False)

    def _session(self, data: Any, settings: Settings, address: Mapping[str, Sequence[bytes | str]] | None) -> Session:
        """The session that an address asks for, or that of the data where it asks for nothing."""
        place = addresses.read(address or {}, self._folder)
        root = None
        if place.path is not None and self._folder is not None:
            data, root = place.path, self._folder
        session = Session(
            None if place.sample else data,
            settings.replace(place.changes),
            _caller(weakref.ref(self), "call"),
            dataset=place.dataset,
            root=root,
            afterwards=_caller(weakref.ref(self), "afterwards"),
        )
        session.once_open(place.changes, place.refusals)
        session.once_shown(place.chosen)
        return session

    def _play(self) -> None:
        if self.screen is not None:
            toggle = self.screen.ranks.play
            toggle.value = not toggle.value

    def _save(self) -> io.BytesIO:
        from stem4d_panel.results.store import save_result

        result = self.session.current_result()
        if result is None:
            self.session.say("error", "there is no finished result to save yet")
            return io.BytesIO()
        with tempfile.TemporaryDirectory() as folder:
            return io.BytesIO(save_result(result, Path(folder) / "result.hspy").read_bytes())


def _caller(workbench: weakref.ref[Workbench], method: str) -> Callable[[Callable[[], None]], None]:
    """Calls a method of a workbench without keeping it alive."""

    def call(then: Callable[[], None]) -> None:
        alive = workbench()
        if alive is not None:
            getattr(alive, method)(then)

    return call


def _clean_up_after(workbench: Workbench) -> None:
    alive = weakref.ref(workbench)

    def destroyed(_: Any) -> None:
        found = alive()
        if found is not None:
            found.close()
        presence.gone()

    pn.state.on_session_destroyed(destroyed)


def _headline(shown: Any) -> str:
    if shown.axes is None:
        return ""
    y, x, _, kx = shown.axes
    return f"{shown.name} · {y.size} × {x.size} · {x.scale:.3g} {x.units} · {kx.scale:.3g} {kx.units}"
