"""The chosen class looked at closely: mean map, pattern with its spacings, orientations, sizes, radial profile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import panel as pn

from stem4d_panel.app import palette
from stem4d_panel.app.class_plots import ProfileChart, SizesChart, Wheel
from stem4d_panel.app.figures import Frame, Glyphs, Picture, coordinates, labels, same
from stem4d_panel.app.map_view import coloured_over
from stem4d_panel.app.pattern_figure import Look, PatternFigure, nm_unit
from stem4d_panel.app.session import Session
from stem4d_panel.app.showing import Shown
from stem4d_panel.app.sizes import frame_size
from stem4d_panel.app.text import Html, caption_below, heading, safe_text, say
from stem4d_panel.measure.details import ClassDetail, Details
from stem4d_panel.measure.findings import ClassFinding, Findings
from stem4d_panel.measure.products import ring_means
from stem4d_panel.measure.spots import families
from stem4d_panel.results import class_text
from stem4d_panel.results.geometry import bounds, circle, label_places


@dataclass(frozen=True)
class Subject:
    """What is shown of a class; two are equal if nothing has to be drawn anew.

    `details` and `found` are None where the class is not crystalline, or not measured yet.
    """

    finding: ClassFinding
    colour: str
    pattern: np.ndarray
    mean_map: np.ndarray
    orientation: np.ndarray
    virtual: np.ndarray
    axes: Any
    members: str
    details: Details | None
    found: ClassDetail | None
    waiting: str

    def is_like(self, other: Subject | None) -> bool:
        """Whether another one looks the same."""
        return other is not None and same(tuple(vars(self).values()), tuple(vars(other).values()))


def class_orientation(findings: Findings, label: int) -> np.ndarray:
    """Orientation at the positions of one class, NaN elsewhere."""
    return np.where(findings.position_labels == label, findings.orientation, np.float32(np.nan))


class ClassView:
    """Figures of the class that is chosen, and what it is in words."""

    def __init__(self, session: Session, width: int) -> None:
        self.session, self.width = session, width
        self._seen: tuple[Any, ...] = ()
        self._subject: Subject | None = None
        self._known: tuple[Any, Any, Any] | None = None  # what was measured last: key of the class, details, its detail
        self.headline = Html("", margin=(0, 8), sizing_mode="stretch_width", css_classes=["class-headline"])
        self._map_frame = Frame("class-map", (width, width), scaled=True)
        self._turn_frame = Frame("class-orientation", (width, width), scaled=True)
        self._map = Picture(self._map_frame, ("class_map_x", "class_map_y"))
        self._turn = Picture(self._turn_frame, ("class_turn_x", "class_turn_y"))
        self.rings = Glyphs(_add_rings, "xs", "ys")
        self.ring_labels = labels()
        self._pattern = PatternFigure("class-pattern", width, None, self.rings.hook, self.ring_labels.hook)
        self.wheel = Wheel("class-wheel", 138)
        chart = (width + 10, width - 44)
        self.sizes, self.profile = SizesChart("class-sizes", chart), ProfileChart("class-profile", chart)
        self._captions = {name: caption_below(width) for name in ("map", "pattern", "orientation", "sizes", "profile")}
        self._map_pane, self._turn_pane = self._map_frame.pane(self._map.layer), self._turn_frame.pane(self._turn.layer)
        session.param.watch(lambda *_: self.refresh(), ["shown_after", "details", "label", "component", "point"])
        title = heading("Class · choose by a row, a branch or a component")
        # beside the table where the window is wide, else on lines of its own
        self.layout = pn.Column(title, self.headline, margin=0, styles={"flex": "1 1 1000px", "min-width": "0"})

    def complete(self) -> None:
        """Put the figures in, once: a page whose other figures are seen already has the time for them."""
        figures = {
            "map": (self._map_pane, 34), "pattern": (self._pattern.pane, 34),
            "orientation": (pn.Row(self._turn_pane, self.wheel.pane, margin=0), 184),
            "sizes": (self.sizes.pane, 76), "profile": (self.profile.pane, 46),
        }  # fmt: skip
        boxes = [
            pn.Column(figure, self._captions[name], margin=0, width=self.width + more)
            for name, (figure, more) in figures.items()
        ]
        self.layout.append(pn.FlexBox(*boxes, gap="4px", margin=0, sizing_mode="stretch_width"))

    # ---- what is shown -----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Draw the chosen class, if it or what is known of it has changed."""
        session, shown = self.session, self.session.shown
        virtual = shown.virtual
        if shown.findings is None or virtual is None:
            return
        label = session.chosen_class()
        seen = (label, shown.factors, shown.classes, shown.findings, virtual, shown.axes, session.details)
        if len(seen) == len(self._seen) and all(a is b for a, b in zip(seen, self._seen, strict=True)):
            return
        self._seen = seen
        subject = self._subject_of(shown, label, virtual)
        if subject.is_like(self._subject):
            return
        self._subject = subject
        self._draw_pictures(subject)
        self._draw_orientation(subject)
        self._draw_sizes(subject)
        self._draw_profile(subject, shown)
        self.headline.object = headline(subject)

    def _subject_of(self, shown: Shown, label: int, virtual: np.ndarray) -> Subject:
        finding = shown.findings.classes[label]
        details, found = self._measured(shown, finding) if finding.crystalline else (None, None)
        # a saved result holds no frames to measure the classes of another threshold with
        waiting = "measuring …" if self.session.result is None else "not measured at this threshold"
        return Subject(
            finding=finding,
            colour=shown.colours[label],
            pattern=shown.classes.patterns[label],
            mean_map=shown.classes.maps[label],
            orientation=class_orientation(shown.findings, label),
            virtual=virtual,
            axes=shown.axes,
            members=class_text.members(finding, shown.classes, 8),
            details=details,
            found=found,
            waiting=waiting,
        )

    def _measured(self, shown: Shown, c: ClassFinding) -> tuple[Details | None, ClassDetail | None]:
        """Details of a class; those of before while new ones are on their way and the class is still the same."""
        details = self.session.details
        key = (shown.factors, c.members, shown.classes.patterns[c.label], self.session.settings.measure.shape)
        if details is not None:
            self._known = key, details, details.of(c.label)
        if self._known is not None and same(self._known[0], key):
            return self._known[1:]
        return None, None

    def _draw_pictures(self, s: Subject) -> None:
        """Mean map, and pattern with the rings of its spots."""
        y, x = s.axes[:2]
        self._map_frame.resize(bounds(y, x), frame_size(y, x, self.width), x.units)
        self._map.show(bounds(y, x), palette.plain(s.mean_map, "inferno"), s.mean_map)
        n = len(s.finding.members)
        say(self._captions["map"], f"shift-corrected mean map of {n} components" if n > 1 else "map of one component")
        detector = s.axes[2:]
        self._pattern.calibrate(detector[1].units, nm_unit(self.session.shown))
        self._pattern.draw(s.pattern, detector, detector, Look())
        text = "rotation-corrected pattern" if s.finding.crystalline else "mean pattern"
        radii = [f.radius for f in families(s.found.reading.spots)] if s.found is not None else []
        if radii and s.details is not None:
            text += ", spacings of its spots in nm" if s.details.reciprocal_step else ", radii of its spots in px"
        elif s.finding.crystalline:
            text += ", no spots found" if s.found is not None else f", {s.waiting}"
        say(self._captions["pattern"], text)
        self._draw_rings(s, radii)

    def _draw_rings(self, s: Subject, radii: list[float]) -> None:
        """Circles through the spots, each with its spacing."""
        step = s.axes[3].scale
        self.rings.show(**coordinates([circle(r * step) for r in radii]))
        spots = s.found.reading.spots if s.found is not None else ()
        places = label_places(radii, np.array([(spot.kx, -spot.ky) for spot in spots]).reshape(-1, 2)) * step
        self.ring_labels.show(
            x=places[:, 0].tolist(),
            y=places[:, 1].tolist(),
            text=[class_text.spacing(s.details, r) for r in radii] if s.details is not None else [],
        )

    def _draw_orientation(self, s: Subject) -> None:
        y, x = s.axes[:2]
        period = palette.period(s.finding)
        angles = palette.orientation_overlay(s.orientation, period)
        self._turn_frame.resize(bounds(y, x), frame_size(y, x, self.width), x.units)
        paint = partial(coloured_over, palette.plain(s.virtual, "gray"))
        self._turn.show(bounds(y, x), paint, s.virtual, np.moveaxis(angles, -1, 0).astype(np.float32))
        there = bool(np.isfinite(s.orientation).any())
        self.wheel.show(period if there else None)
        text = f"how it is turned in the plane; the colours come again every {period:.0f}°"
        if not s.finding.crystalline:
            text = "not crystalline, so it has no orientation; the virtual image"
        elif not there:
            text = "at no position the strongest class, so no orientation is shown; the virtual image"
        say(self._captions["orientation"], text)

    def _draw_sizes(self, s: Subject) -> None:
        axis = s.axes[1]
        step, unit = (axis.scale, "nm") if axis.units == "nm" else (1.0, "px")  # as the details have it
        sizes = s.found.sizes if s.found is not None else None
        if not s.finding.crystalline:
            word, text = "no particles", "not crystalline, so no particles are measured"
        elif s.found is None or s.details is None:
            word, text = s.waiting, s.waiting
        elif sizes is None:
            word, text = "no particles", "no particles were found in its map"
        else:
            word = "" if len(sizes.diameters) else class_text.diameter(s.details, s.found)
            text = f"{len(sizes.diameters)} of {sizes.count} particles measured"
            text += f"; {class_text.left_out(sizes)}" if class_text.left_out(sizes) else ""
            text += "; line: mean, shaded: ± spread" if sizes.spread is not None else ""
        if sizes is not None and len(sizes.diameters):
            mean, spread = (None if v is None else v * step for v in (sizes.mean, sizes.spread))
            self.sizes.draw(sizes.diameters * step, mean, spread, unit, s.colour)
            self.sizes.say("")
        else:
            self.sizes.clear(word, unit)
        say(self._captions["sizes"], text)

    def _draw_profile(self, s: Subject, shown: Shown) -> None:
        """Of the reading; until it is there, and for what is no crystal, plain means over rings."""
        axis = s.axes[3]
        step, unit = (s.details.reciprocal_step, "1/nm") if s.details is not None else (None, "")
        if step is None:
            step, unit = (axis.scale, axis.units) if axis.units == "1/nm" else (1.0, "px")
        if s.found is not None:
            r = s.found.reading
            curve, rings = (r.radii, r.profile, r.spread), [ring.radius * step for ring in r.rings]
        else:
            curve, rings = ring_means(s.pattern, shown.factors.mask, shown.centre), []
        self.profile.draw(curve[0] * step, curve[1], curve[2], rings, unit, s.colour)
        text = "mean over the azimuth, shaded: ± its spread"
        if rings:
            text += f"; dashed: rings at {', '.join(f'{r:.2f}' for r in rings)} {unit}"
        say(self._captions["profile"], text)


def headline(s: Subject) -> str:
    """A class in plain words, as HTML."""
    c = s.finding
    swatch = (
        f'<span style="display:inline-block;width:12px;height:12px;border-radius:3px;vertical-align:-1px;'
        f'background:{s.colour}"></span>'
    )
    many = f"{len(c.members)} components" if len(c.members) > 1 else "one component"
    first = f"<b>{safe_text(class_text.class_name(c))}</b> · {safe_text(class_text.symmetry(c))} · {many}: {safe_text(s.members)}"
    return f'<div style="font-size:13px">{swatch} {first}<br>{safe_text(_measures(s))}</div>'


def _measures(s: Subject) -> str:
    """Sizes and spacings in one line."""
    if not s.finding.crystalline:
        return "Sizes, spacings and orientations are measured for crystalline classes only."
    if s.details is None or s.found is None:
        return s.waiting
    r, size = s.found.reading, class_text.diameter(s.details, s.found)
    parts = [
        f"diameter {size}, {class_text.how_measured(s.details)}" if s.found.sizes is not None else "no particles found",
        f"spacings {class_text.spacings(s.details, s.found)}" if r.spots else "no spots found",
        f"{r.angle_between:.1f}° between its shortest spots" if r.angle_between is not None else "",
        f"odd part {r.odd:.2f} (0: centrosymmetric)",
    ]
    return " · ".join(p for p in parts if p)


def _add_rings(figure: Any, source: Any) -> None:
    figure.multi_line("xs", "ys", source=source, line_color="white", line_width=1, line_alpha=0.5, line_dash="dotted")
