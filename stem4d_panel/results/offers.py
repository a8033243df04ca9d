"""What can be written of a result, by name: for menus and help, which load nothing heavy."""

from __future__ import annotations

ENDINGS = (".svg", ".pdf", ".png")  # of figures
# each with the options that it takes, see `paper.How`
FIGURES: dict[str, tuple[str, ...]] = {
    "classes": (),
    "class-maps": ("label",),
    "class-patterns": ("label", "scale", "rings"),
    "orientation": ("label",),
    "sizes": ("label",),
    "profiles": ("label",),
    "components": ("scale",),
    "dendrogram": (),
    "error": (),
}
TABLES = ("classes", "components", "particles", "spacings", "merges")
