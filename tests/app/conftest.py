"""A session that has analysed a small scan."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sessions import run

from stem4d_panel.app.session import Session
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings


@pytest.fixture
def session(small: Scan) -> Iterator[Session]:
    made = Session(small, Settings.make({"rank": 5}), lambda then: then())
    made.start()
    run(made)
    yield made
    made.close()  # else it goes on with the other ranks
