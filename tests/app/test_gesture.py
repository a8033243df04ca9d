"""A hand on a figure, as the server hears of it."""

from __future__ import annotations

from pages import run, served, until
from raw_page import RawPage, drag

from stem4d_panel.measure.virtual import Detector
from stem4d_panel.scan.scan import Scan


def test_a_drag_is_meant_as_was_chosen_before_it(small: Scan) -> None:
    """Both arrive at once where the server was busy, and Panel takes in a widget's change a moment later."""

    async def work() -> None:
        async with served(small, rank=4) as pages:
            page = await RawPage.open(pages.url)
            workbench = next(iter(pages.workbenches))
            await until(lambda: workbench._held is None and not workbench.session.busy)
            await page.change(page.widget("A drag draws"), "value", "ring detector")
            await page.change(page.store("patterns"), "data", drag((0.1, 0.0), (0.3, 0.0), 1))
            await until(lambda: workbench.session.detector is not None)
            found = workbench.session.detector
            assert isinstance(found, Detector)
            assert found.inner > 0
            await page.close()
            await pages.ended()

    run(work())
