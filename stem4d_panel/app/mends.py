"""What a page mends in Panel and Bokeh, once they are there and before anything is drawn."""

from __future__ import annotations

from stem4d_panel.app import echo, unchanged, unhurried

MENDS = f"{echo.MEND}\n;{unchanged.MEND}\n;{unhurried.MEND}"
