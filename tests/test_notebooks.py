"""The lessons run from top to bottom, and say what they promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run(name: str, folder: Path) -> list[str]:
    """Execute a notebook; what each of its code cells printed or showed as text."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return [_text(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _text(outputs: list[Any]) -> str:
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs)


@pytest.mark.filterwarnings("ignore:.*Proactor event loop.*")
def test_first_look_finds_all_crystals_of_the_sample(tmp_path: Path) -> None:
    texts = run("01_first_look.ipynb", tmp_path)
    assert any("10 of 10 crystals found" in text for text in texts)
    assert any("4 classes at 0.3" in text for text in texts)


def test_dashboard_shows_a_workbench(tmp_path: Path) -> None:
    (text,) = run("dashboard.ipynb", tmp_path)
    assert "Workbench" in text


def test_notebooks_are_kept_executed_and_without_the_screens_scripts() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code), f"{path.name} has cells that were not executed"
        assert path.stat().st_size < 200_000
