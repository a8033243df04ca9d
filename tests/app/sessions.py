"""Sessions without a screen."""

from __future__ import annotations

from stem4d_panel.app.session import Session
from stem4d_panel.runtime.jobs import compute
from stem4d_panel.runtime.progress import Steps


def run(session: Session) -> None:
    """Wait for the session's work, which is told in the compute thread."""
    while session.busy:
        compute.submit(f"after/{id(session)}", nothing).wait(60)  # the thread takes turns: by then it has told more


def nothing() -> Steps[None]:
    return
    yield  # a generator without a step
