"""Figures for papers and reports, made of a result alone: vector graphics with scale bars, drawn by matplotlib.

Matplotlib's object interface only, and one figure at a time: its settings are those of the whole process, and a server
draws for many users. The same result gives the same file, byte for byte.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stem4d_panel import __version__
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.results.colours import INK
from stem4d_panel.results.offers import ENDINGS, FIGURES
from stem4d_panel.results.result import Result
from stem4d_panel.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stem4d_panel.results.paper import How

SCALES = ("root", "log", "linear")
_DPI = 300
_STYLE: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8, "axes.titlesize": 8,
    "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "axes.linewidth": 0.6,
    "lines.linewidth": 1.2, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "text.color": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.facecolor": "none", "figure.facecolor": "none",
    "image.interpolation": "nearest", "text.parse_math": False,  # a $ in a name is a $
    "svg.fonttype": "none", "svg.hashsalt": "stem4d_panel", "pdf.fonttype": 42,
}  # fmt: skip
_ALONE = threading.RLock()


def draw(result: Result, name: str, **options: Any) -> Figure:
    """Draw a figure of a result.

    Parameters
    ----------
    result : Result
    name : str
        One of `FIGURES`.
    **options
        See `paper.How`; each figure takes those that `FIGURES` names.

    Raises
    ------
    SettingError
        If the figure is not known, or does not take an option or its value.
    """
    with alone():
        return _maker(name)(result, _how(result, name, options))


def save_figure(result: Result, name: str, path: str | Path, overwrite: bool = False, **options: Any) -> Path:
    """Draw a figure and write it as what the ending says: .svg, .pdf or .png.

    Text stays text: in an SVG as it is, in a PDF with its font embedded.

    Raises
    ------
    DataError
        If the ending is another, the file exists and `overwrite` is not set, or it cannot be written.
    SettingError
        As :func:`draw`.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise DataError(
            f"{path.name}: figures are written as {', '.join(ENDINGS)}, not as {ending or 'a file without one'}"
        )
    with alone():
        figure = draw(result, name, **options)
        with replacing(path, overwrite) as part:
            figure.savefig(part, format=ending[1:], dpi=_DPI, facecolor="white", metadata=_metadata(ending))
    return path


def svg_text(result: Result, name: str, **options: Any) -> str:
    """A figure as the text of an SVG with a transparent ground, for a page; see :func:`draw`."""
    with alone():
        return as_svg(draw(result, name, **options))


def as_svg(figure: Figure) -> str:
    """A figure that was drawn inside :func:`alone`, as the text of an SVG."""
    out = io.StringIO()
    figure.savefig(out, format="svg", dpi=_DPI, metadata=_metadata(".svg"))
    return out.getvalue()


def _metadata(ending: str) -> dict[str, str | None]:
    """Who made it, and nothing that changes from one day to the next."""
    program = f"stem4d_panel {__version__}"
    if ending == ".svg":
        return {"Creator": program, "Date": None}
    return {"Creator": program, "CreationDate": None} if ending == ".pdf" else {"Software": program}


@contextmanager
def alone() -> Iterator[None]:
    """Our style, in one thread at a time; a sign that the font lacks is no reason to warn."""
    import matplotlib as mpl

    with _ALONE, mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # whatever the user's own matplotlibrc says
        mpl.rcParams.update(_STYLE)
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _how(result: Result, name: str, options: dict[str, Any]) -> How:
    from stem4d_panel.results.paper import How

    check_name(name)
    takes = FIGURES[name]
    for option in options:
        if option not in takes:
            known = f"takes {', '.join(takes)}" if takes else "takes no options"
            raise SettingError(f"{option}: the figure {name} {known}")
    how = How(**options)
    count = result.classes.count
    if how.label is not None and (isinstance(how.label, bool) or how.label not in range(count)):
        raise SettingError(f"label: {how.label} is not a class; the result has 0 to {count - 1}")
    if how.scale not in SCALES:
        raise SettingError(f"scale: {how.scale!r} is not one of {', '.join(SCALES)}")
    return how


def shows(name: str) -> str:
    """What a figure shows, as a sentence."""
    return _maker(name).__doc__ or ""


def check_name(name: str) -> None:
    """Refuse a figure that is none of `FIGURES`."""
    if name not in FIGURES:
        raise SettingError(f"figure: {name!r} is not one of {', '.join(FIGURES)}")


def _maker(name: str) -> Callable[[Result, How], Figure]:
    """The function in `drawings` that draws a figure."""
    check_name(name)
    from stem4d_panel.results import drawings

    return getattr(drawings, name.replace("-", "_"))  # type: ignore[no-any-return]
