"""Heavy imports, once a process, in one background thread; pages that were opened before get their figures then."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Boot:
    """Imports HoloViews, datashader and the chain's libraries, and renders a first figure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._waiting: list[Callable[[], None]] = []
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether all is there."""
        return self._done.is_set()

    def start(self) -> None:
        """Begin, if that has not happened yet."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stem4d-boot", daemon=True)
                self._thread.start()

    def now(self) -> None:
        """Begin, and wait until all is there."""
        self.start()
        self._done.wait()

    def when_ready(self, then: Callable[[], None]) -> None:
        """Call `then` at once if all is there, else from the background thread when it is."""
        with self._lock:
            if not self._done.is_set():
                self._waiting.append(then)
                return
        then()

    def forget(self, then: Callable[[], None]) -> None:
        """Let go of a page that was closed before."""
        with self._lock:
            if then in self._waiting:
                self._waiting.remove(then)

    def _run(self) -> None:
        try:
            from stem4d_panel import analysis  # noqa: F401 - the chain's own libraries
            from stem4d_panel.app import screen

            screen.warm_up()
        except Exception as error:  # shown in the page in place of the figures
            log.exception("the figures' libraries cannot be loaded")
            self.error = error
        with self._lock:
            self._done.set()
            waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()


boot = Boot()
