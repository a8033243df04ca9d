"""Interactive bimodal analysis of 4D-STEM scans.

The public names are imported when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Analysis": "analysis",
    "Cancelled": "errors",
    "DataError": "errors",
    "Result": "results.result",
    "Scan": "scan.scan",
    "SettingError": "errors",
    "Settings": "settings",
    "Stem4dError": "errors",
    "Workbench": "app.workbench",
    "load_result": "results.store",
    "open_scan": "scan.readers",
    "sample_scan": "scan.sample",
}
__all__ = sorted(_WHERE)  # noqa: PLE0605 - made from one list

if TYPE_CHECKING:
    from stem4d_panel.analysis import Analysis as Analysis
    from stem4d_panel.app.workbench import Workbench as Workbench
    from stem4d_panel.errors import Cancelled as Cancelled
    from stem4d_panel.errors import DataError as DataError
    from stem4d_panel.errors import SettingError as SettingError
    from stem4d_panel.errors import Stem4dError as Stem4dError
    from stem4d_panel.results.result import Result as Result
    from stem4d_panel.results.store import load_result as load_result
    from stem4d_panel.scan.readers import open_scan as open_scan
    from stem4d_panel.scan.sample import sample_scan as sample_scan
    from stem4d_panel.scan.scan import Scan as Scan
    from stem4d_panel.settings import Settings as Settings


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
