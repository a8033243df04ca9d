"""A class in words: its name, members, symmetry, sizes and spacings, as the table and the card say them."""

from __future__ import annotations

from stem4d_panel.cluster.classes import Classes
from stem4d_panel.measure.details import ClassDetail, Details
from stem4d_panel.measure.findings import ClassFinding
from stem4d_panel.measure.sizes import SizeStatistics
from stem4d_panel.measure.spots import families

SHAPES = {"sphere": "a sphere", "disc": "a disc", "gaussian": "a Gaussian", "sphere-squared": "a squared sphere"}


def class_name(c: ClassFinding) -> str:
    """What a class is called: its number, and the name that it was given."""
    return f"class {c.label}" + (f" · {c.name}" if c.name else "")


def symmetry(c: ClassFinding) -> str:
    """Its symmetry, or that it is no crystal."""
    if not c.crystalline:
        return "not crystalline: glass or background"
    return f"crystalline, {c.fold}-fold" if c.fold > 1 else "crystalline, no symmetry found"


def members(c: ClassFinding, classes: Classes, most: int) -> str:
    """The components that were joined, with their rotations where it is crystalline."""
    turns = [f"{i} ({classes.rotations[i]:.0f}°)" if c.crystalline else str(i) for i in c.members[:most]]
    return ", ".join(turns) + (f" +{len(c.members) - most}" if len(c.members) > most else "")


def diameter(details: Details, found: ClassDetail) -> str:
    """Mean ± spread (number) in nm or px of what could be measured, else why nothing could."""
    text, sizes = details.diameter(found.label), found.sizes
    if text is not None:
        return text
    if sizes is None:
        return "–"
    if sizes.at_probe_limit:
        return "at the probe limit"
    return f"no {sizes.shape} fits" if sizes.unfitted else "cut by the edge" if sizes.at_edge else "–"


def left_out(sizes: SizeStatistics) -> str:
    """Which particles have no diameter, and why."""
    parts = (
        (sizes.at_probe_limit, "at the probe limit"),
        (sizes.at_edge, "cut by the edge"),
        (sizes.unfitted, f"where no {sizes.shape} fits"),
    )
    return ", ".join(f"{n} {why}" for n, why in parts if n)


def how_measured(details: Details) -> str:
    """What the diameters rest on."""
    step, unit = (details.step, "nm") if details.step else (1.0, "px")
    blur = f"a blur of {details.blur * step:.2f} {unit} (standard deviation) taken off"
    return f"from {SHAPES.get(details.shape, details.shape)} fitted to each particle with {blur}"


def spacing(details: Details, radius: float) -> str:
    """What a radius in a pattern (px) stands for, without its unit: a spacing in nm, else the radius in px."""
    return f"{1 / (radius * details.reciprocal_step):.3f}" if details.reciprocal_step else f"{radius:.1f}"


def spacings(details: Details, found: ClassDetail) -> str:
    """Of the three strongest families of spots, from the innermost outwards."""
    strongest = sorted(families(found.reading.spots), key=lambda f: -f.intensity)[:3]
    radii = sorted(f.radius for f in strongest)
    if not radii:
        return "no spots"
    return ", ".join(spacing(details, r) for r in radii) + (" nm" if details.reciprocal_step else " px")
