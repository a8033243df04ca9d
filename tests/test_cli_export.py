"""``stem4d report`` and ``stem4d export``: what the ending says, a folder of everything, refusals in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stem4d_panel import cli
from stem4d_panel.results import export
from stem4d_panel.results.offers import ENDINGS, FIGURES, TABLES
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import save_result


@pytest.fixture(scope="module")
def saved(found: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_result(found, tmp_path_factory.mktemp("saved") / "small.stem4d.hspy")


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, list[str], str]:
    code = cli.main([str(a) for a in args])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def test_a_report_is_written_once(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.html"
    assert run(capsys, "report", saved, "-o", out) == (0, [str(out)], "")
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    code, said, err = run(capsys, "report", saved, "-o", out)
    assert (code, said) == (2, [])
    assert "exists already; --overwrite replaces it" in err


@pytest.mark.parametrize(
    ("name", "more", "begins"),
    [
        ("a.svg", ["--figure", "class-patterns", "--label", "0", "--scale", "log"], b"<?xml"),
        ("a.PDF", [], b"%PDF"),
        ("a.csv", ["--table", "merges"], "\ufeffmade,first,second".encode()),
        ("a.csv", [], "\ufeffclass,name".encode()),
        ("a.h5", [], b"\x89HDF"),
    ],
)
def test_the_ending_says_what_is_written(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[str], begins: bytes
) -> None:
    out = tmp_path / name
    assert run(capsys, "export", saved, "-o", out, *more) == (0, [str(out)], "")
    assert out.read_bytes().startswith(begins)


def test_a_folder_takes_everything_or_what_is_named(
    found: Result, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = export.everything(found)
    wanted = {
        "report.html",
        "result.emd",
        *(f"table-{t}.csv" for t in TABLES),
        *(f + e for f in FIGURES for e in ENDINGS),
    }
    assert {piece.name for piece in pieces} == wanted
    assert len(pieces) == len(wanted)
    monkeypatch.setattr(export, "everything", lambda result: [export.emd_piece(result), *export.table_pieces(result)])
    out = tmp_path / "out"
    code, said, _ = run(capsys, "export", saved, "-o", out)
    assert code == 0
    assert (
        {Path(line).name for line in said}
        == {p.name for p in out.iterdir()}
        == {n for n in wanted if n[-3:] in ("emd", "csv")}
    )
    code, said, _ = run(capsys, "export", saved, "-o", out, "--figure", "error")
    assert [Path(line).name for line in said] == ["error.svg", "error.pdf", "error.png"]
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    code, said, err = run(capsys, "export", saved, "-o", out, "--figure", "sizes", "--table", "classes")
    assert (code, said) == (2, [])
    assert "holds table-classes.csv already" in err
    assert before == {p: p.stat().st_mtime_ns for p in out.iterdir()}  # nothing was written


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["export", "{saved}", "-o", "{tmp}/a.gif"], "what .gif means is not known; .svg, .pdf, .png, .csv, .emd, .h5, or a folder"),
        (["export", "{saved}", "-o", "{tmp}/a.svg", "--figure", "pie"], "figure: 'pie' is not one of classes"),
        (["export", "{saved}", "-o", "{tmp}/a.svg", "--figure", "error", "--figure", "sizes"], "holds one, not 2"),
        (["export", "{saved}", "-o", "{tmp}/a.svg", "--table", "classes"], "classes: cannot go into"),
        (["export", "{saved}", "-o", "{tmp}/a.emd", "--figure", "error"], "error: cannot go into"),
        (["export", "{saved}", "-o", "{tmp}/a.csv", "--label", "1"], "label: goes with a figure"),
        (["export", "{saved}", "-o", "{tmp}/a", "--label", "1"], "label: goes with one figure"),
        (["export", "{saved}", "-o", "{tmp}/a", "--figure", "error", "--table", "rows"], "table: 'rows' is not one of"),
        (["export", "{saved}", "-o", "{tmp}/a.svg", "--figure", "sizes", "--label", "99"], "label: 99 is not a class"),
        (["export", "{tmp}/none.hspy", "-o", "{tmp}/a.svg"], "none.hspy: no such file"),
        (["report", "{saved}", "-o", "{tmp}/a.pdf"], "a report is a file that ends in .html"),
        (["report", "{saved}", "-o", "{tmp}/no/a.html"], "cannot be written: no folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    code, out, err = run(capsys, *(a.format(saved=saved, tmp=tmp_path) for a in args))
    assert (code, out) == (2, [])
    assert err.startswith("stem4d: ")
    assert err.count("\n") == 1, err
    assert says in err
    assert not list(tmp_path.iterdir())


def test_the_result_itself_is_never_replaced(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = tmp_path / "link.h5"
    link.symlink_to(saved)
    before = saved.read_bytes()
    code, _, err = run(capsys, "export", saved, "-o", link, "--overwrite")
    assert code == 2
    assert "never replaced" in err
    assert saved.read_bytes() == before


def test_menus_load_nothing_heavy_and_files_no_screen() -> None:
    code = "import sys; from stem4d_panel.results import export; light = set(sys.modules); from stem4d_panel import cli_export; from stem4d_panel.results import drawings, report; print(*light & {'numba', 'scipy', 'matplotlib', 'h5py'}, *{'panel', 'bokeh', 'holoviews', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
