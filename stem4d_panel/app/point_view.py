"""The pattern at the chosen position, or the mean of a region: as measured, as the model has it, and what is left over."""

from __future__ import annotations

import numpy as np
import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app.look_bar import LookBar
from stem4d_panel.app.pattern_figure import PatternFigure, detector_axes, nm_unit
from stem4d_panel.app.session import Session
from stem4d_panel.app.showing import Shown
from stem4d_panel.app.text import caption_below, say
from stem4d_panel.errors import DataError, Stem4dError
from stem4d_panel.prepare.frames import Frames
from stem4d_panel.results.class_text import class_name

MODES = ["measured", "prepared", "model", "residual"]
Region = tuple[int, int, int, int]
_MOST = 2**26  # bytes of raw patterns that are read for the mean of a region


class PointView:
    """One pattern of where the user points."""

    def __init__(self, session: Session, width: int, bar: LookBar) -> None:
        self.session, self.bar = session, bar
        self.mode = pmui.Select(label="Here", options=MODES, value=MODES[0], size="small", width=108, margin=(4, 2))
        self.caption = caption_below(width, "tap or drag on the map: the pattern measured there")
        self.figure = PatternFigure("measured", width)
        session.param.watch(lambda *_: self.refresh(), ["point", "region", "shown_after"])
        self.mode.param.watch(lambda _: self.refresh(), "value")
        bar.watch(self.refresh)
        self.layout = pn.Column(
            pn.Row(self.mode, bar.layout, margin=0, height=58),
            self.figure.pane,
            self.caption,
            width=width + 46,
            margin=0,
        )

    def refresh(self) -> None:
        """Draw the pattern of the chosen position or region, or of the strongest position before any is chosen."""
        shown, mode = self.session.shown, self.mode.value
        if shown.scan is None or shown.look is None:
            if shown.factors is not None:
                say(self.caption, "a saved result holds no measured patterns: open its scan to see them")
            return
        region = self._region()
        field = detector_axes(shown)
        inner = shown.look.inner * field[1].scale
        self.figure.calibrate(field[1].units, nm_unit(shown))
        try:
            if mode == "measured" or shown.frames is None:
                image, note = _measured(shown, region)
                self.figure.draw(image, field, field, self.bar.look, inner)
            elif mode == "prepared" or shown.factors is None:
                image, note = _prepared(shown.frames, region), "prepared"
                self.figure.draw(image, shown.axes[2:], field, self.bar.look)
            else:
                image, note = _model(shown, region), "model"
                if mode == "model":
                    self.figure.draw(image, shown.axes[2:], field, self.bar.look)
                else:
                    image, note = _prepared(shown.frames, region) - image, "prepared less model, white at zero"
                    self.figure.draw_signed(image, shown.axes[2:], field, self.bar.look)
        except (Stem4dError, OSError) as error:
            self.session.say("error", str(error))
            return
        say(self.caption, f"{self._where(region)} · {float(image.sum()):,.0f} counts{', ' + note if note else ''}")

    def _region(self) -> Region:
        """Positions (y0, x0, y1, x1), the last ones included."""
        shown = self.session.shown
        if self.session.region is not None:
            region: Region = self.session.region
            return region
        if self.session.point is not None:
            return (*self.session.point, *self.session.point)
        total = shown.virtual if shown.virtual is not None else shown.survey.total
        y, x = np.unravel_index(int(total.argmax()), total.shape)
        return int(y), int(x), int(y), int(x)

    def _where(self, region: Region) -> str:
        y0, x0, y1, x1 = region
        findings = self.session.shown.findings
        if (y0, x0) != (y1, x1):
            return f"mean of y {y0}–{y1}, x {x0}–{x1}"
        text = f"y {y0}, x {x0}"
        if findings is not None:
            label, angle = int(findings.position_labels[y0, x0]), float(findings.orientation[y0, x0])
            text += f" · {class_name(findings.classes[label])}" if label >= 0 else " · left out"
            text += f" · turned {angle:.0f}°" if np.isfinite(angle) else ""
        return text


def _measured(shown: Shown, region: Region) -> tuple[np.ndarray, str]:
    """Mean of the raw patterns, bad pixels left dark; of a large region, of positions in equal steps."""
    y0, x0, y1, x1 = region
    bytes_each = float(np.prod(shown.scan.detector_shape)) * shown.scan.dtype.itemsize
    step = max(1, int(np.ceil(np.sqrt((y1 - y0 + 1) * (x1 - x0 + 1) * bytes_each / _MOST))))
    total, n = np.zeros(shown.scan.detector_shape, np.float64), 0
    for y in range(y0, y1 + 1, step):
        for x in range(x0, x1 + 1, step):
            total += np.nan_to_num(shown.scan.pattern(y, x))
            n += 1
    total[tuple(shown.look.bad.all.T)] = 0
    return np.asarray(total / n, np.float32), "" if step == 1 else f"one position in {step} each way"


def _prepared(frames: Frames, region: Region) -> np.ndarray:
    """Mean of the prepared frames, noise scaling undone."""
    if not isinstance(frames.matrix, np.ndarray):
        raise DataError(
            "prepared frames: lie on the workers of a cluster; only what was measured and the model are here"
        )
    y0, x0, y1, x1 = region
    rows = np.cumsum(frames.positions.ravel()).reshape(frames.scan_shape) - 1
    inside = rows[y0 : y1 + 1, x0 : x1 + 1][frames.positions[y0 : y1 + 1, x0 : x1 + 1]]
    kept = frames.matrix[inside] * frames.row_scale[inside, None]
    count = (y1 - y0 + 1) * (x1 - x0 + 1)
    return np.asarray(frames.fold_patterns(kept.sum(axis=0, keepdims=True) / count)[0])


def _model(shown: Shown, region: Region) -> np.ndarray:
    """Mean of the model's patterns."""
    y0, x0, y1, x1 = region
    weights = shown.factors.maps[:, y0 : y1 + 1, x0 : x1 + 1].mean(axis=(1, 2))
    return np.asarray(np.tensordot(weights, shown.factors.patterns, axes=1))
