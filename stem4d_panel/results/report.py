"""The report: one HTML file that holds all it shows, needs no script and no network, and prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stem4d_panel import __version__
from stem4d_panel.results import class_text
from stem4d_panel.results.colours import class_colours
from stem4d_panel.results.page import bullets, data_table, document, facts, figure, notice, swatch
from stem4d_panel.results.plots import shows, svg_text
from stem4d_panel.results.result import Result
from stem4d_panel.results.tables import shown, table
from stem4d_panel.results.text import safe_text
from stem4d_panel.runtime.files import replacing
from stem4d_panel.settings import Settings, declaration

PAPERS = (
    ("F. Uesugi et al., Ultramicroscopy 221 (2021) 113168", "10.1016/j.ultramic.2020.113168"),
    ("K. Kimoto et al., Sci. Rep. 14 (2024) 2901", "10.1038/s41598-024-53289-5"),
    ("K. Kimoto et al., Sci. Rep. 15 (2025) 39143", "10.1038/s41598-025-23541-7"),
)
_SECTIONS = {
    "where": "Where the classes lie", "classes": "The classes", "components": "The components",
    "preparation": "Calibration and preparation", "settings": "Settings", "origin": "Where this comes from",
}  # fmt: skip
_KNOWN = {
    "scan_step_y": "scan step along y", "scan_step_x": "scan step along x", "detector_step_ky": "pixel along ky",
    "detector_step_kx": "pixel along kx", "voltage": "voltage", "convergence": "convergence semi-angle",
    "probe_size": "probe size (FWHM)",
}  # fmt: skip
_ORIGINS = {"file": "read from the file", "user": "stated by the user", "computed": "computed", "none": "not known"}


def save_report(result: Result, path: str | Path, overwrite: bool = False) -> Path:
    """Write the report of a result.

    Raises
    ------
    DataError
        If the file exists and `overwrite` is not set, or it cannot be written.
    """
    path = Path(path)
    with replacing(path, overwrite) as part:
        part.write_text(report(result), encoding="utf-8")
    return path


def report(result: Result) -> str:
    """The report as one HTML document."""
    bodies = {
        "where": _where(result), "classes": _classes(result), "components": _components(result),
        "preparation": _preparation(result), "settings": _settings(result), "origin": _origin(result),
    }  # fmt: skip
    return document(
        result.name,
        "4D-STEM scan taken apart into components and classes by non-negative matrix factorisation and clustering under rotation.",
        _facts(result) + _warnings(result) + _notes(result),
        {key: (_SECTIONS[key], body) for key, body in bodies.items()},
        "stem4d report",
    )


# ---- what stands first ------------------------------------------------------------------------------------------------


def _facts(result: Result) -> str:
    shape = [int(n) for n in result.source.get("shape") or ()]
    factors, classes = result.factors, result.classes
    y, x, ky, kx = result.axes
    known = {
        "positions": f"{y.size} × {x.size}",
        "pixels": f"{shape[2]} × {shape[3]}" if len(shape) == 4 else f"{ky.size} × {kx.size}",
        "components": str(factors.rank),
        "relative error": f"{factors.relative_error:.4f}",
        "classes": str(classes.count),
        "threshold": f"{classes.threshold:.3f}",
    }
    return facts(known)


def _warnings(result: Result) -> str:
    """What speaks against trusting the rest."""
    factors, said = result.factors, list(result.warnings)
    if not factors.converged and not any("not converged" in text for text in said):
        said.append(f"the factorisation had not converged after {factors.iterations} iterations")
    bare = [name for name, axis in (("scan", result.axes[1]), ("detector", result.axes[3])) if axis.units == "px"]
    if bare:
        said.append(f"no calibration of the {' and the '.join(bare)}: lengths there are in pixels")
    for name, text in (
        ("values_saturated", "saturated"),
        ("values_not_finite", "not finite"),
        ("values_negative", "negative"),
    ):
        if count := result.preparation.get(name):
            said.append(f"{count:,} values were {text}")
    if left_out := result.preparation.get("positions_left_out"):
        said.append(f"{left_out:,} positions were left out")
    return notice(list(dict.fromkeys(said)))


def _notes(result: Result) -> str:
    """What was chosen for the user, and by the user's hand."""
    said, settings, tree = [], result.settings, result.tree
    if result.classes.suggested:
        said.append(f"The threshold is the suggested one: {tree.suggestion.reason}.")
    if settings.prepare.bin is None and result.preparation.get("bin"):
        said.append(f"Binning by {result.preparation['bin']} was chosen from the data.")
    if settings.prepare.smooth is None and result.preparation.get("smooth_px"):
        said.append(f"Smoothing over the scan by {result.preparation['smooth_px']:.2f} px was chosen from the data.")
    if "factorize.rank" not in settings.explicit:
        said.append(f"The rank of {result.factors.rank} is the default; try others before you believe a class.")
    if result.classes.moved:
        said.append(f"Moved into other classes by hand: components {', '.join(map(str, result.classes.moved))}.")
    if tree.suggestion.chance <= result.classes.threshold:
        said.append(
            f"The threshold lies above {tree.suggestion.chance:.2f}, from where on unrelated patterns join by chance."
        )
    return f'<section class="notes"><h2>Good to know</h2>{bullets(said)}</section>' if said else ""


# ---- sections ---------------------------------------------------------------------------------------------------------


def _where(result: Result) -> str:
    first = _figure(
        result, "classes", "Each class in its colour, as strong as it is there, over the sum of all counts."
    )
    turned = "Rotation of each crystal in the plane against its class pattern, from +kx towards +ky; in the wheel, the colours of one period are strong."
    maps = "Sum of the maps of each class's components where they lie, each on a scale of its own."
    return (
        f'<div class="pair">{first}{_figure(result, "orientation", turned)}</div>{_figure(result, "class-maps", maps)}'
    )


def _classes(result: Result) -> str:
    colours = class_colours(result.findings)
    rows = []
    for c in result.findings.classes:
        found = result.details.of(c.label)
        rows.append(
            [
                swatch(colours[c.label]) + str(c.label), safe_text(c.name), f"{100 * c.share:.1f} %", f"{100 * c.fraction:.1f} %",
                safe_text(class_text.symmetry(c)), safe_text(class_text.diameter(result.details, found)) if found else "–",
                safe_text(class_text.spacings(result.details, found)) if found else "–",
                safe_text(class_text.members(c, result.classes, 12)),
            ]
        )  # fmt: skip
    heads = [
        "class",
        "name",
        "intensity",
        "area",
        "symmetry",
        "diameter (particles)",
        "strongest spacings",
        "components (rotation)",
    ]
    how = safe_text(class_text.how_measured(result.details))
    text = {1, 4, 7}
    parts = [
        data_table("Classes, sorted by intensity", heads, rows, text),
        f"<p>Diameters are {how}: mean ± standard deviation over the particles.</p>" if result.details.classes else "",
        _figure(
            result,
            "class-patterns",
            "Rotation-corrected mean patterns, square root of the intensity; dotted: the strongest spacings.",
        ),
        _figure(result, "profiles", "Mean over the azimuth; shaded: ± its spread; dashed: rings."),
        _figure(result, "sizes", "Diameters of the particles; line: mean; shaded: ± standard deviation."),
    ]
    for name in ("spacings", "particles"):
        made = table(result, name)
        if made.rows:
            parts.append(f"<h3>{name.capitalize()}</h3>" + _plain_table(result, name))
    return "\n".join(parts)


def _components(result: Result) -> str:
    gallery = "Map over pattern of each component, in the order of the tree, framed in the colour of its class; above: its number and part of the intensity."
    tree = "How far the components correlate; those joined below the threshold are a class. Shaded: unrelated patterns join by chance."
    error = "Relative error after each iteration, those on the compressed data first."
    return "\n".join(
        [
            _figure(result, "components", gallery), _figure(result, "dendrogram", tree),
            _plain_table(result, "components"), f'<div class="pair">{_figure(result, "error", error)}</div>',
        ]
    )  # fmt: skip


def _preparation(result: Result) -> str:
    rows = []
    for name, known in result.calibration.items():
        value = "–" if known.get("value") is None else f"{known['value']:.4g} {safe_text(known.get('unit', ''))}"
        rows.append([_KNOWN.get(name, safe_text(name)), value, _ORIGINS.get(str(known.get("origin")), "not known")])
    return data_table("Calibration", ["quantity", "value", "origin"], rows, {0, 2}) + bullets(_prepared(result))


def _prepared(result: Result) -> Iterator[str]:
    p = result.preparation
    hot, dead = len(p.get("hot_pixels") or ()), len(p.get("dead_pixels") or ())
    yield f"{hot} hot and {dead} dead pixels were repaired."
    if p.get("centre_px"):
        text = f"The direct beam lies at ky {p['centre_px'][0]:.2f}, kx {p['centre_px'][1]:.2f} px"
        if p.get("descan_range_px"):
            text += f" and moves over the scan by {p['descan_range_px'][0]:.1f} × {p['descan_range_px'][1]:.1f} px; this was taken off"
        yield text + "."
    if p.get("outer_px") is not None:
        yield f"Pixels between {p['inner_px']:g} and {p['outer_px']:g} px from the direct beam were kept: {p['pixels_kept']:,} after binning by {p['bin']}."
    for reason, count in (p.get("pixels_masked") or {}).items():
        yield f"{count:,} pixels were masked: {reason}."
    if p.get("ellipse_corrected"):
        yield f"The ellipse of the rings (axis ratio {p['ellipse_corrected'][0]:.3f}) was corrected."
    elif p.get("ellipse_ratio") is not None:
        yield f"The rings have an axis ratio of {p['ellipse_ratio']:.3f} ± {p['ellipse_ratio_error']:.3f}, which was not corrected."
    if p.get("smooth_px"):
        yield f"Frames were smoothed over the scan by {p['smooth_px']:.2f} px (standard deviation)."
    yield (
        "All steps are linear in the counts."
        if p.get("linear")
        else "A step that is not linear in the counts was taken."
    )


def _settings(result: Result) -> str:
    defaults = Settings.make().as_dict()
    changed = {n: v for n, v in result.settings.as_dict().items() if v != defaults[n]}
    if not changed:
        return "<p>All settings have their defaults.</p>"
    rows = [
        [f"<code>{safe_text(n)}</code>", _value(v), _value(defaults[n]), safe_text(declaration(n).doc)]
        for n, v in changed.items()
    ]
    return data_table(
        "Settings that differ from the defaults", ["setting", "value", "default", "meaning"], rows, {0, 1, 2, 3}
    )


def _value(value: object) -> str:
    return "automatic" if value is None else f"<code>{safe_text(value)}</code>"


def _origin(result: Result) -> str:
    source, program = result.source, result.provenance
    known = {
        "data": " · ".join(str(source[n]) for n in ("file", "dataset") if source.get(n)) or result.name,
        "shape and type": f"{' × '.join(map(str, source.get('shape') or ()))} {source.get('dtype', '')}",
        "size": f"{source['bytes']:,} bytes" if source.get("bytes") else "",
        "fingerprint": source.get("fingerprint", ""),
        "analysed": program.get("created_utc", ""),
        "program": f"{program.get('program', 'stem4d_panel')} {program.get('version', '')}",
        "python and platform": f"{program.get('python', '')}, {program.get('platform', '')}",
        "packages": ", ".join(f"{n} {v}" for n, v in (program.get("packages") or {}).items()),
        "time taken": f"{sum(result.seconds.values()):.1f} s" if result.seconds else "",
    }
    rows = [[k, safe_text(v)] for k, v in known.items() if str(v).strip()]
    papers = "".join(f'<li>{text}, <a href="https://doi.org/{doi}">{doi}</a></li>' for text, doi in PAPERS)
    return (
        data_table("Data and program", ["what", "value"], rows, {0, 1})
        + f"<h3>How to cite</h3><p>The stem4d_panel developers, stem4d_panel {safe_text(program.get('version', __version__))}: "
        f"interactive bimodal analysis of 4D-STEM scans; and the papers whose method it follows:</p><ul>{papers}</ul>"
    )


def _figure(result: Result, name: str, caption: str) -> str:
    return figure(svg_text(result, name), name, shows(name).rstrip("."), caption)


def _plain_table(result: Result, name: str) -> str:
    made = table(result, name)
    cells = shown(made.rows)
    text = {i for i in range(1, len(made.heads)) if any(isinstance(row[i], str) and row[i] for row in made.rows)}
    colours = class_colours(result.findings)
    at = made.heads.index("class")
    for row in cells:
        label = row[at]
        row[:] = [safe_text(cell) for cell in row]
        row[at] = swatch(colours[int(label)]) + row[at]
    return data_table(made.says, made.heads, cells, text)
