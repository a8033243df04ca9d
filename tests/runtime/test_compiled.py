"""Compiled loops where nothing can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import stem4d_panel

CODE = """
import numpy as np
from stem4d_panel.measure.virtual import _weighted
from stem4d_panel.prepare import kernels
print(_weighted(np.ones((3, 4), np.float32), np.arange(3), np.array([1, 2]), np.array([1.0, 2.0], np.float32)))
"""


def test_loops_run_where_no_folder_can_keep_them(tmp_path: Path) -> None:
    """Not beside the source, not in the user's folder, not in numba's own; files in their places refuse even root."""
    package = tmp_path / "stem4d_panel"
    shutil.copytree(Path(stem4d_panel.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [package, *(d for d in package.rglob("*") if d.is_dir())]:
        (folder / "__pycache__").write_text("")
    nowhere = str(package / "__pycache__" / "x")
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE", "NUMBA_CACHE_DIR"), nowhere)
    found = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=tmp_path,
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "[3. 3. 3.]\n", found.stderr
    assert found.stderr.count("compiled loops cannot be kept") == 1
