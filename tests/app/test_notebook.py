"""Messages of a notebook's page."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

from stem4d_panel.app.notebook import _in_main_thread


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
