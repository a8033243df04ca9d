"""What importing costs, and what no module may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "stem4d_panel").rglob("*.py"))
SCREEN = ("panel", "panel_material_ui", "holoviews", "bokeh", "datashader")


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after `code`."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {*SCREEN, "numpy", "scipy", "h5py", "numba", "sklearn", "dask", "rsciio", "pint", "param"}
    assert not heavy & loaded_by("import stem4d_panel")


def test_the_chain_loads_no_screen() -> None:
    loaded = loaded_by(
        "import stem4d_panel.analysis, stem4d_panel.results.store, stem4d_panel.scan.readers, stem4d_panel.scan.sample"
    )
    assert "numpy" in loaded
    assert not set(SCREEN) & loaded


def test_a_page_is_made_with_holoviews_loaded_and_without_what_is_loaded_behind() -> None:
    """Panel imports parts of HoloViews once another thread has begun to: one of the two would fail now and then."""
    loaded = loaded_by("import stem4d_panel.app.workbench")
    assert "holoviews" in loaded
    assert not {"datashader", "numba", "sklearn"} & loaded


def test_every_public_name_is_there() -> None:
    code = "import stem4d_panel as s; assert s.__all__ and set(s.__all__) <= set(dir(s)); [getattr(s, n) for n in s.__all__]"
    assert "stem4d_panel" in loaded_by(code)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import stem4d_panel

    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = stem4d_panel.Nonsense


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_unpickles(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not names & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in names
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
