"""The steps on the left: each with its state and its settings, in the order in which the data pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from stem4d_panel.app.badges import Badge
from stem4d_panel.app.export_view import ExportView
from stem4d_panel.app.fields import Field, Told
from stem4d_panel.app.picker import Picker
from stem4d_panel.app.session import Session
from stem4d_panel.app.shell import STEPS
from stem4d_panel.app.text import Html, heading, safe_text
from stem4d_panel.results.text import file_stem

THEME = {
    "palette": {"primary": {"main": "#31688e"}},
    "typography": {"fontSize": 12, "htmlFontSize": 16, "fontFamily": "Roboto, system-ui, sans-serif"},
    "spacing": 6,
    "shape": {"borderRadius": 6},
    "components": {
        "MuiAccordionSummary": {"styleOverrides": {"root": {"minHeight": 38}, "content": {"margin": "5px 0"}}},
        "MuiToolbar": {"styleOverrides": {"root": {"minHeight": "48px !important"}}},
        "MuiInputLabel": {"defaultProps": {"shrink": True}},
        "MuiOutlinedInput": {"defaultProps": {"notched": True}},
        # short lists in narrow places, where the system's letters may be wide
        "MuiSelect": {
            "styleOverrides": {
                "select": {"paddingLeft": "9px", "paddingRight": "22px !important"},
                "icon": {"right": 2},
            }
        },
    },
}
_SLIDER = {"size": "small", "sizing_mode": "stretch_width", "margin": (4, 14)}


class Controls:
    """Widgets of all steps, bound to a session."""

    def __init__(self, session: Session, folder: Path | None, save: Callable[[], Any]) -> None:
        self.session, self.picker = session, Picker(session, folder)
        self.fields: dict[str, Field] = {}
        self._hints: dict[str, str] = {}
        self._told = Told()  # of the rank
        self.badges = {s: Badge(css_classes=[f"step-{s.lower()}"]) for s in STEPS}
        bodies = {
            "Data": self._data(),
            "Prepare": self._prepare(),
            "Factorise": self._factorise(),
            "Cluster": self._cluster(save),
        }
        self.layout = pmui.Accordion(
            *[(self._head(step), pn.Column(*parts, sizing_mode="stretch_width", margin=(0, 0, 6, 0))) for step, parts in bodies.items()],
            active=[0, 1, 2, 3], title_variant="subtitle2", disable_gutters=True, square=True, elevation=0, variant="outlined",
            sizing_mode="stretch_width", margin=0, theme_config=THEME,
        )  # fmt: skip
        session.param.watch(lambda _: self._show_states(), "steps")
        session.param.watch(lambda _: self._show(), "shown_after")
        session.param.watch(lambda _: self._show_settings(), "settings", onlychanged=False)
        session.param.watch(lambda e: self._show_evidence(e.new), "evidence")
        self._show_states()
        self._show_settings()

    def _head(self, step: str) -> Any:
        name = heading(step, margin=0)
        return pmui.Row(
            name, pn.HSpacer(), self.badges[step], sizing_mode="stretch_width", margin=0, sx={"alignItems": "center"}
        )

    def _field(self, name: str, **options: Any) -> Any:
        self.fields[name] = Field(self.session, name, **options)
        if name in self._hints:
            self.fields[name].hint(self._hints[name])
        return self.fields[name].widget

    def _pair(self, *names: str) -> Any:
        return pn.Row(*[self._field(n) for n in names], sizing_mode="stretch_width", margin=0)

    def _folded(self, label: str, *rows: str | tuple[str, ...]) -> Any:
        """Settings that most never touch; their widgets are made when they are unfolded, so that a page begins sooner."""
        inner = pn.Column(sizing_mode="stretch_width", margin=0)
        fold = pmui.Accordion(
            (label, inner),
            active=[],
            title_variant="caption",
            disable_gutters=True,
            square=True,
            elevation=0,
            sizing_mode="stretch_width",
            margin=(0, 2),
        )

        def unfold(_: Any) -> None:
            if fold.active and not inner:
                inner[:] = [self._field(row) if isinstance(row, str) else self._pair(*row) for row in rows]

        fold.param.watch(unfold, "active")
        return fold

    def _hint(self, name: str, text: str) -> None:
        """What an empty field stands for, now or when it is unfolded."""
        self._hints[name] = text
        if name in self.fields:
            self.fields[name].hint(text)

    # ---- the four steps ----------------------------------------------------------------------------------------------

    def _data(self) -> list[Any]:
        self.info = Html("", sizing_mode="stretch_width", margin=(4, 14))
        calibration = self._folded(
            "Calibration",
            "calibration.scan_step",
            ("calibration.detector_step", "calibration.detector_units"),
            ("calibration.voltage", "calibration.convergence"),
            "calibration.probe_size",
        )
        opening = self._folded(
            "What the file does not say",
            ("data.scan_shape", "data.flyback"),
            ("data.first_frame", "data.detector_shape"),
            ("data.dtype", "data.byte_order"),
            ("data.offset", "data.gap"),
            "data.linked",
        )
        return [self.picker.layout, self.info, opening, calibration]

    def _prepare(self) -> list[Any]:
        self.radii = pmui.RangeSlider(
            label="Mask radii (px)", start=0, end=64, step=0.5, value=(0, 64), css_classes=["mask-radii"], **_SLIDER
        )
        self.radii.param.watch(self._radii_moved, "value_throttled")
        self.auto = pmui.Button(
            label="auto", size="small", variant="outlined", color="default", margin=(10, 8), width=60
        )
        self.auto.on_click(lambda _: self.session.change({"prepare.mask_inner": None, "prepare.mask_outer": None}))
        self.prepared = Html("", sizing_mode="stretch_width", margin=(0, 14))
        more = self._folded(
            "More",
            ("prepare.centre_ky", "prepare.centre_kx"),
            ("prepare.align", "prepare.ellipse"),
            ("prepare.ellipse_ratio", "prepare.ellipse_angle"),
            ("prepare.hot_ratio", "prepare.saturated"),
            "prepare.beam_stop",
            ("prepare.background", "prepare.background_percentile"),
            "prepare.normalise",
            ("prepare.nonfinite", "prepare.negative"),
        )
        return [
            pn.Row(self.radii, self.auto, sizing_mode="stretch_width", margin=0),
            self._pair("prepare.hot_pixels", "prepare.centre"),
            self._pair("prepare.bin", "prepare.smooth"),
            self._field("prepare.noise"),
            self.prepared,
            more,
        ]

    def _factorise(self) -> list[Any]:
        top = self.session.settings.factorize.rank_max
        self.rank = pmui.IntSlider(label="Rank", start=1, end=top, value=min(top, 20), css_classes=["rank"], **_SLIDER)
        self.rank._priority_changes = ["value", "value_throttled"]  # not held back by Panel for 50 ms
        self.rank.param.watch(self._rank_moved, ["value", "value_throttled"])
        self.fitted = Html("", sizing_mode="stretch_width", margin=(0, 14))
        more = self._folded(
            "More",
            ("factorize.solver", "factorize.compress"),
            ("factorize.start", "factorize.starts"),
            ("factorize.seed", "factorize.tol"),
            ("factorize.max_iter", "factorize.polish"),
        )
        self.evidence = Html("", sizing_mode="stretch_width", margin=(0, 14), css_classes=["evidence"])
        limits = self._pair("factorize.resolution", "factorize.holes")
        return [self.rank, self.evidence, self.fitted, limits, more]

    def _cluster(self, save: Callable[[], Any]) -> list[Any]:
        self.save = pmui.FileDownload(
            callback=save,
            filename="result.stem4d.hspy",
            label="Save result",
            size="small",
            margin=(8, 8),
            sizing_mode="stretch_width",
            disabled=True,
        )
        self.export = ExportView(self.session)
        threshold = self._field("cluster.threshold", css_classes=["threshold"])
        self.suggested = Html("", sizing_mode="stretch_width", margin=(0, 14))
        return [
            threshold,
            self.suggested,
            self._pair("cluster.similarity", "cluster.method"),
            self._folded(
                "More",
                ("cluster.centring", "cluster.noise"),
                ("cluster.place", "cluster.glass"),
                ("cluster.coherence", "cluster.overlap"),
                ("cluster.friedel", "cluster.mirror"),
                ("cluster.integrate", "measure.level"),
            ),
            self.save,
            self.export.layout,
        ]

    # ---- what the user does ------------------------------------------------------------------------------------------

    def _radii_moved(self, *events: Any) -> None:
        if self._quiet:
            return
        inner, outer = (float(v) for v in self.radii.value_throttled)
        look = self.session.shown.look
        shown = (look.inner, look.outer) if look is not None else (None, None)
        changes = {
            n: v
            for n, v, s in (("prepare.mask_inner", inner, shown[0]), ("prepare.mask_outer", outer, shown[1]))
            if v != s
        }
        if changes:
            self.session.change(changes)

    def _rank_moved(self, *events: Any) -> None:
        if self._quiet:
            return
        rank = self.rank.value
        if self._told.is_echo(rank):
            self._show_settings()
            return
        analysis = self.session.analysis
        released = any(e.name == "value_throttled" for e in events)
        if rank != self.session.settings.factorize.rank and (
            released or (analysis is not None and analysis.replace(rank=rank).ready("tree"))
        ):
            self.session.change({"factorize.rank": rank})

    # ---- what is shown -----------------------------------------------------------------------------------------------

    _quiet = False

    def _show_states(self) -> None:
        for step, (state, note) in self.session.steps.items():
            self.badges[step].show(state, note)

    def _show_settings(self) -> None:
        self._quiet = True
        try:
            rank = self.session.settings.factorize.rank
            if rank != self.rank.value:
                self._told.tell(rank)
            self.rank.param.update(end=max(self.rank.end, rank), value=rank)
        finally:
            self._quiet = False

    def _show(self) -> None:
        shown = self.session.shown
        self._quiet = True
        try:
            self._show_data(shown)
            self._show_prepared(shown)
            self._show_fit(shown)
            self._show_tree(shown)
        finally:
            self._quiet = False

    def _show_data(self, shown: Any) -> None:
        if shown.axes is None:
            return
        _, x, _, kx = shown.axes
        parts = [f"<b>{safe_text(shown.name, 60)}</b>"]
        if shown.scan is not None:
            shape = shown.scan.shape
            parts.append(
                f"{shape[0]} × {shape[1]} positions, {shape[2]} × {shape[3]} pixels · {shown.scan.nbytes / 1e6:,.0f} MB · {shown.scan.dtype}"
            )
            calibration = self.session.analysis.calibration if self.session.analysis else None
            if calibration is not None:
                step, pixel = calibration.scan_step[1], calibration.detector_step[1]
                parts.append(
                    " · ".join(
                        f"{n} {q} ({q.origin})" if q.unit != "px" else f"{n} unknown"
                        for n, q in (("step", step), ("pixel", pixel))
                    )
                )
                for name, field in (
                    ("voltage", calibration.voltage),
                    ("convergence", calibration.convergence),
                    ("probe_size", calibration.probe_size),
                ):
                    self._hint(
                        f"calibration.{name}", "" if field.value is None else f"{field.value:.3g} ({field.origin})"
                    )
                self._hint("calibration.scan_step", "" if step.unit == "px" else f"{step.value:.4g}")
                self._hint("calibration.detector_step", "" if pixel.unit == "px" else f"{pixel.value:.4g} {pixel.unit}")
        if "px" in (x.units, kx.units):
            spaces = [n for n, u in (("scan", x.units), ("detector", kx.units)) if u == "px"]
            parts.append(
                f'<span style="background:#b26a00;color:white;border-radius:8px;padding:1px 7px">{" and ".join(spaces)} uncalibrated</span>'
            )
        self.info.object = '<div style="font-size:12px;line-height:1.5">' + "<br>".join(parts) + "</div>"

    def _show_prepared(self, shown: Any) -> None:
        look = shown.look
        if look is None:
            return
        end = float(max(shown.scan.detector_shape)) / 2
        self.radii.param.update(end=max(end, look.outer), value=(look.inner, look.outer))
        descan = look.descan
        span = [float(descan.fitted[i].max() - descan.fitted[i].min()) for i in (0, 1)]
        lines = [
            f"centre ky {descan.centre[0]:.2f}, kx {descan.centre[1]:.2f} px · descan {span[0]:.1f} × {span[1]:.1f} px, fit ± {descan.residual:.2f} (noise {descan.expected_residual:.2f})",
            f"{len(look.bad.hot)} hot, {len(look.bad.dead)} dead pixels"
            + "".join(f", {count} {reason}" for reason, count in look.masks.counts.items()),
        ]
        if look.ellipse is not None:
            lines.append(
                f"glass ring {look.ellipse.radius:.1f} px, axis ratio {look.ellipse.ratio:.3f} ± {look.ellipse.error:.3f}"
            )
        if shown.frames is not None:
            frames = shown.frames
            self._hint("prepare.bin", str(frames.bin))
            self._hint("prepare.smooth", f"{frames.smooth:.2f}")
            lines.append(f"{frames.matrix.shape[0]:,} positions × {frames.matrix.shape[1]:,} pixels kept")
            lines += [f"⚠ {safe_text(w)}" for w in frames.warnings]
        for name, value in (("prepare.centre_ky", descan.centre[0]), ("prepare.centre_kx", descan.centre[1])):
            self._hint(name, f"{value:.2f}")
        self.prepared.object = '<div style="font-size:11px;line-height:1.5;opacity:.8">' + "<br>".join(lines) + "</div>"

    def _show_evidence(self, evidence: Any) -> None:
        text = "" if evidence is None else f"Evidence: {safe_text(evidence.reason)}."
        self.evidence.object = f'<div style="font-size:11px;line-height:1.5;opacity:.8">{text}</div>'

    def _show_tree(self, shown: Any) -> None:
        if shown.tree is None:
            return
        found = shown.tree.suggestion
        self._hint("cluster.threshold", f"{found.threshold:.2f}")
        self.suggested.object = (
            '<div style="font-size:11px;line-height:1.5;opacity:.8">'
            f"Suggested {found.threshold:.2f}: {safe_text(found.reason)}.</div>"
        )

    def _show_fit(self, shown: Any) -> None:
        factors = shown.factors
        if factors is None:
            return
        lines = [f"relative error {factors.relative_error:.4f} · {factors.iterations} iterations"]
        lines += [f"⚠ {safe_text(w)}" for w in factors.warnings]
        self.fitted.object = '<div style="font-size:11px;line-height:1.5;opacity:.8">' + "<br>".join(lines) + "</div>"
        self.save.param.update(disabled=False, filename=f"{file_stem(shown.name)}.stem4d.hspy")
        self.export.enable()
