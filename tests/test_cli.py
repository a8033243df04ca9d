"""The command line: its JSON, its errors and exit codes, and which setting wins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from stem4d_panel import Scan, __version__, cli, cli_run, cli_text, load_result, open_scan, sample_scan
from stem4d_panel.errors import Cancelled, DataError
from stem4d_panel.scan.write import read_truth, write_scan
from stem4d_panel.settings import Settings, declared

KEYS = {
    "input": str,
    "output": str,
    "scan_shape": list,
    "detector_shape": list,
    "rank": int,
    "relative_error": float,
    "iterations": int,
    "converged": bool,
    "n_classes": int,
    "labels": list,
    "rotations": list,
    "names": list,
    "seconds": dict,
    "peak_memory_bytes": int,
    "warnings": list,
}
QUICK = ["--set", "factorize.max_iter=5"]


def made(seed: int = 0) -> np.ndarray:
    """A direct beam, a ring and a pair of spots over half of the scan, 8 × 10 positions of 24 × 26 pixels."""
    ky, kx = np.indices((24, 26)) - np.array([11.5, 12.5])[:, None, None]
    radius = np.hypot(ky, kx)
    pattern = 300.0 * (radius < 3) + 6 * np.exp(-(((radius - 8) / 2) ** 2)) + 0.5
    spots = sum(80 * np.exp(-((ky - s) ** 2 + (kx - 2 * s) ** 2) / 2) for s in (-4, 4))
    expected = np.broadcast_to(pattern, (8, 10, 24, 26)).copy()
    expected[:, 5:] += spots
    return np.random.default_rng(seed).poisson(expected).astype(np.uint16)


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scan = Scan.from_array(made(), scan_step=0.5, detector_step=0.3, voltage=200, convergence=1.5, name="made")
    return write_scan(scan, tmp_path_factory.mktemp("scans") / "made.hspy")


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = cli.main([str(a) for a in args])
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The one line on standard error of a command that ends with exit code 2 and prints nothing."""
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith("stem4d: ")
    assert err.count("\n") == 1, err
    return err


def test_json_and_the_output(scan_file, tmp_path, capsys):
    out = tmp_path / "out.hspy"
    code, text, err = run(capsys, "run", scan_file, "-o", out, "--rank", 3, "--threshold", 0.3, "--json", *QUICK)
    assert code == 0
    assert text.count("\n") == 1
    line = json.loads(text)
    assert {key: type(value) for key, value in line.items()} == KEYS
    assert (line["input"], line["output"]) == (str(scan_file), str(out))
    assert (line["scan_shape"], line["detector_shape"], line["rank"]) == ([8, 10], [24, 26], 3)
    assert list(line["seconds"]) == ["prepare", "factorize", "cluster", "measure", "save"]
    assert all(value > 0 for value in line["seconds"].values())
    assert line["peak_memory_bytes"] > 2**20
    result = load_result(out)
    assert result.settings.factorize.rank == 3
    assert result.settings.explicit == {"factorize.rank", "cluster.threshold", "factorize.max_iter"}
    assert line["labels"] == result.classes.labels.tolist()
    assert line["rotations"] == pytest.approx(result.classes.rotations.tolist())
    assert line["n_classes"] == result.classes.count
    assert line["warnings"] == list(result.warnings)
    assert [row.split(":")[0] for row in err.splitlines()] == ["made.hspy"] * len(err.splitlines())
    assert [row.split()[1] for row in err.splitlines()][:2] == ["survey", "descan"]


def test_moves_and_names_by_hand(scan_file, tmp_path, capsys):
    out = tmp_path / "out.hspy"
    hand = ("--set", "cluster.moves=3: 2>0, 1>", "--set", "cluster.names=0=B2, 1=a: b")
    args = ("run", scan_file, "-o", out, "--rank", 3, "--overwrite", *hand, *QUICK)
    code, text, _ = run(capsys, *args, "--json")
    assert code == 0
    line, result = json.loads(text), load_result(out)
    assert line["labels"][2] == line["labels"][0] != line["labels"][1]
    assert line["names"] == [c.name for c in result.findings.classes]
    assert sorted(line["names"]) == ["B2", "a: b"]
    assert line["names"][line["labels"][0]] == "B2"
    assert result.settings.cluster.moves == "3: 2>0, 1>"
    assert result.settings.cluster.names == "0=B2, 1=a: b"
    code, text, _ = run(capsys, *args)
    assert code == 0
    assert "0 B2" in text or "1 B2" in text
    assert f"moved by hand: {', '.join(map(str, result.classes.moved))}" in text


def test_moves_of_another_rank_are_a_warning(scan_file, tmp_path, capsys):
    hand = ("--set", "cluster.moves=20: 15>0", "--set", "cluster.names=4: 0=a", "--rank", 3)
    code, text, _ = run(capsys, "run", scan_file, "-o", tmp_path / "out.hspy", "--json", *hand, *QUICK)
    assert code == 0
    line = json.loads(text)
    assert set(line["names"]) == {""}
    assert line["warnings"][-2:] == [
        "cluster.moves: made at rank 20, not applied at rank 3",
        "cluster.names: made at rank 4, not applied at rank 3",
    ]


@pytest.mark.parametrize(
    ("assigned", "says"),
    [
        ("cluster.moves=3>0", "cluster.moves: component 3 is not from 0 to 2, those of rank 3"),
        ("cluster.names=3=a", "cluster.names: component 3 is not from 0 to 2, those of rank 3"),
        ("cluster.moves=1>2,2>1", "cluster.moves: '1>2,2>1' is not allowed: the move of component 1 goes round in a"),
        ("cluster.names=B2", "cluster.names: 'B2' is not allowed: 'B2' names no component; it takes text such as"),
    ],
)
def test_moves_and_names_that_cannot_be_are_refused_before_any_work(scan_file, tmp_path, capsys, assigned, says):
    out = tmp_path / "out.hspy"
    assert says in refused(capsys, "run", scan_file, "-o", out, "--rank", 3, "--set", assigned, *QUICK)
    assert not out.exists()


def test_summary(scan_file, tmp_path, capsys):
    code, text, _ = run(capsys, "run", scan_file, "-o", tmp_path / "out.hspy", "--rank", 2, *QUICK)
    assert code == 0
    assert "scan 8 × 10, detector 24 × 26" in text
    assert "rank 2" in text
    assert "warning: not converged after 26 iterations" in text
    header, *rows = [line for line in text.splitlines() if "%" in line or "crystalline" in line]
    assert header.split()[:5] == ["class", "share", "area", "crystalline", "symmetry"]
    assert rows


def test_long_tables_are_cut(scan_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli_run, "_ROWS", 1)
    args = ("--rank", 4, "--threshold", 0, "--set", "cluster.similarity=patterns", *QUICK)
    _, text, _ = run(capsys, "run", scan_file, "-o", tmp_path / "out.hspy", *args)
    assert "and 3 more classes" in text


def test_json_has_no_nan():
    assert cli_text.finite({"a": [float("nan"), 1.5, (float("inf"),)]}) == {"a": [None, 1.5, [None]]}


@pytest.fixture
def bad(tmp_path: Path, scan_file: Path) -> dict[str, Path]:
    text, short, image, nan = (tmp_path / n for n in ("text.h5", "short.hspy", "image.h5", "nan.npy"))
    text.write_text("not HDF5\n")
    short.write_bytes(scan_file.read_bytes()[:20_000])
    with h5py.File(image, "w") as f:
        f["image"] = np.zeros((5, 6))
    data = made().astype(np.float32)
    data[1, 2, 3, 4] = np.nan
    np.save(nan, data)
    return {"missing": tmp_path / "missing.h5", "text": text, "short": short, "image": image, "nan": nan}


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "missing.h5: no such file"),
        ("text", "text.h5: not an HDF5 file"),
        ("short", "short.hspy: truncated or damaged"),
        ("image", "image.h5: "),
        ("nan", "nan.npy: 1 values are not finite, the first at y=1, x=2, ky=3, kx=4"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input(bad, tmp_path, capsys, kind, says, as_json):
    out = tmp_path / "out.hspy"
    assert says in refused(capsys, "run", bad[kind], "-o", out, *["--json"] * as_json)
    assert not out.exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--rank", "0"], "factorize.rank: 0 is not allowed; it takes a whole number from 1 to 1000"),
        (["--rank", "ten"], "factorize.rank: 'ten' is not allowed"),
        (["--rank", "500"], "factorize.rank: 500 is above 80, the most that 80 positions"),
        (["--rank", "50", "--set", "prepare.bin=6"], "factorize.rank: 50 is above"),
        (["--threshold", "nan"], "cluster.threshold: nan is not allowed"),
        (["--set", "prepare.bin=500"], "prepare.bin: 500 is not allowed; it takes a whole number from 1 to 256"),
        (["--set", "prepare.bin=200"], "prepare.bin: 200 is above the detector of 24 × 26 pixels"),
        (["--set", "prepare.centre=middle"], "prepare.centre: 'middle' is not allowed; it takes one of quadratic"),
        (["--set", "nonsense"], "--set: 'nonsense' is not allowed; it takes group.name=value"),
        (["--set", "prepare.bins=2"], "prepare.bins: no such parameter; did you mean prepare.bin"),
        (
            ["--scan-shape", "3x4"],
            "data.scan_shape: '3x4' is not allowed; it takes two whole numbers above 0 with a comma",
        ),
        (["--scan-shape", "0,4"], "data.scan_shape: '0,4' is not allowed"),
        (["--dataset", "/nope"], "made.hspy: has no dataset '/nope'"),
        (["--host", "0.0.0.0"], "No such option: --host"),  # noqa: S104
    ],
)
def test_bad_option(scan_file, tmp_path, capsys, args, says):
    if args[0] == "--rank" and len(args) > 2:  # found once the masks are known: the stages before it are told of
        code, out, err = run(capsys, "run", scan_file, "-o", tmp_path / "out.hspy", *args)
        assert (code, out) == (2, "")
        assert says in err.splitlines()[-1]
    elif "prepare.bin=200" in args:
        assert says in run(capsys, "run", scan_file, "-o", tmp_path / "out.hspy", *args)[2].splitlines()[-1]
    else:
        assert says in refused(capsys, "run", scan_file, "-o", tmp_path / "out.hspy", *args)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_checked_before_the_input(tmp_path, capsys):
    assert "factorize.rank" in refused(capsys, "run", tmp_path / "missing.h5", "-o", tmp_path / "o", "--rank", 0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[prepare]\nbins = 2\n", "prepare.bins: no such parameter"),
        ("[prepare]\nbin = 500\n", "mine.toml: prepare.bin: 500 is not allowed"),
        ("[prepare]\nbin = '2'\n", "mine.toml: prepare.bin: '2' is not allowed"),
        ("bin = 2\n", "mine.toml: bin stands outside a table"),
        ("[prepare\n", "mine.toml: cannot be read as TOML"),
        (None, "mine.toml: cannot be read as TOML"),
    ],
)
def test_bad_config(scan_file, tmp_path, capsys, text, says):
    config = tmp_path / "mine.toml"
    if text is not None:
        config.write_text(text)
    assert says in refused(capsys, "run", scan_file, "-o", tmp_path / "out.hspy", "--config", config)


def test_bad_output(scan_file, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out.hspy"
    out.write_bytes(b"mine")
    monkeypatch.setattr(cli_run, "open_scan", lambda *_, **__: pytest.fail("the output is looked at first"))
    assert "out.hspy: exists already; --overwrite replaces it" in refused(capsys, "run", scan_file, "-o", out)
    missing = tmp_path / "no" / "out.hspy"
    assert f"cannot be written: no folder {missing.parent}" in refused(capsys, "run", scan_file, "-o", missing)
    assert "is an input, which is never replaced" in refused(capsys, "run", scan_file, "-o", scan_file, "--overwrite")
    assert "is not a regular file" in refused(capsys, "run", scan_file, "-o", os.devnull, "--overwrite")
    assert "cannot be made" in refused(capsys, "run", scan_file, tmp_path / "b.hspy", "-o", out)
    with pytest.raises(DataError, match="is a folder"):
        cli_run.check_target(str(tmp_path), overwrite=True)
    assert "Missing option" in refused(capsys, "run", scan_file)
    assert out.read_bytes() == b"mine"


def test_overwrite(scan_file, tmp_path, capsys):
    out = tmp_path / "out.hspy"
    out.write_bytes(b"mine")
    assert run(capsys, "run", scan_file, "-o", out, "--rank", 1, "--overwrite", *QUICK)[0] == 0
    assert load_result(out).factors.rank == 1


def test_precedence(tmp_path):
    config = tmp_path / "mine.toml"
    config.write_text("[factorize]\nrank = 5\nseed = 7\ntol = 1\n[cluster]\nthreshold = 0.1\n")
    assigned = ["factorize.rank=4", "cluster.threshold=0.2", "rank=3"]
    none = dict.fromkeys(("rank", "threshold", "seed", "scan_shape"))
    assert cli._settings(None, (), none) == Settings.make()
    chosen = cli._settings(str(config), (), none)
    assert (chosen.get("rank"), chosen.get("threshold"), chosen.get("seed")) == (5, 0.1, 7)
    chosen = cli._settings(str(config), assigned, none)
    assert (chosen.get("rank"), chosen.get("threshold"), chosen.get("seed")) == (3, 0.2, 7)
    chosen = cli._settings(str(config), assigned, {**none, "rank": "2", "threshold": "none"})
    assert (chosen.get("rank"), chosen.get("threshold"), chosen.get("seed")) == (2, None, 7)
    assert chosen.explicit == {"factorize.rank", "factorize.seed", "factorize.tol", "cluster.threshold"}


def test_several_inputs(scan_file, bad, tmp_path, capsys):
    other = write_scan(Scan.from_array(made(1)), tmp_path / "other.hspy")
    folder = tmp_path / "a" / "b"
    args = ["-o", folder, "--rank", 2, "--json", *QUICK]
    code, out, err = run(capsys, "run", scan_file, bad["text"], other, *args)
    assert code == 2
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["input"] for line in lines] == [str(scan_file), str(other)]
    assert sorted(p.name for p in folder.iterdir()) == ["made.stem4d.hspy", "other.stem4d.hspy"]
    assert [line for line in err.splitlines() if line.startswith("stem4d: ")] == ["stem4d: text.h5: not an HDF5 file"]
    # into a folder that exists, a single input keeps its name
    assert run(capsys, "run", other, "-o", folder, "--rank", 1, "--overwrite", *QUICK)[0] == 0
    assert load_result(folder / "other.stem4d.hspy").factors.rank == 1


def test_a_batch_ends_on_a_summary_and_a_page_that_compares(scan_file, bad, tmp_path, capsys):
    other = write_scan(Scan.from_array(made(1)), tmp_path / "other <b>.hspy")
    page = tmp_path / "compared.html"
    args = ["-o", tmp_path / "out", "--rank", 2, "--compare", page, *QUICK]
    code, out, err = run(capsys, "run", scan_file, bad["text"], other, *args)
    assert code == 2
    lines = out.splitlines()
    start = lines.index("2 of 3 analysed, 1 failed")
    assert lines[start + 1].split() == [
        "input",
        "state",
        "rank",
        "error",
        "crystalline",
        "diameters",
        "warnings",
        "time",
    ]
    assert [line.split("  ")[1] for line in lines[start + 2 : start + 5]] == [
        str(scan_file),
        str(bad["text"]),
        str(other),
    ]
    assert " failed " in lines[start + 3]
    assert lines[-1].startswith(f"{page}: 2 results, ")
    html = page.read_text(encoding="utf-8")
    assert "other &lt;b&gt;" in html
    assert "<b>" not in html
    saved = sorted((tmp_path / "out").iterdir())
    code, out, err = run(capsys, "compare", *saved, "-o", page, "--threshold", 0.2, "--overwrite")
    assert (code, err) == (0, "")
    assert "structures at threshold 0.200" in out
    assert "exists already; --overwrite replaces it" in refused(capsys, "compare", *saved, "-o", page)
    assert "1 given; a comparison takes 2 or more" in refused(capsys, "compare", saved[0], "-o", tmp_path / "x.html")
    assert "ends in .html" in refused(
        capsys, "run", scan_file, other, "-o", tmp_path / "out", "--compare", tmp_path / "x"
    )


def test_two_inputs_of_one_name(scan_file, tmp_path, capsys):
    err = refused(capsys, "run", scan_file, tmp_path / "made.blo", "-o", tmp_path / "out")
    assert "made.stem4d.hspy: is the output of both" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "stem4d: cancelled"),
        (Cancelled("cancelled"), 130, "stem4d: cancelled"),
        (ZeroDivisionError("two\nlines \x1b[31m"), 1, r"stem4d: failed: ZeroDivisionError: two lines \x1b[31m"),
        (DataError("a.hspy: no"), 2, "stem4d: a.hspy: no"),
    ],
)
def test_exit_codes(scan_file, tmp_path, capsys, monkeypatch, error, code, says):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli_run, "run", fail)
    monkeypatch.delenv("STEM4D_DEBUG", raising=False)
    got, out, err = run(capsys, "run", scan_file, "-o", tmp_path / "out.hspy")
    assert (got, out) == (code, "")
    assert err.startswith(says)
    assert err.count("\n") == 1
    monkeypatch.setenv("STEM4D_DEBUG", "1")
    assert "Traceback" in run(capsys, "run", scan_file, "-o", tmp_path / "out.hspy")[2]


def test_the_worst_code_counts(tmp_path, capsys, monkeypatch):
    errors = iter([DataError("a"), RuntimeError("b")])

    def fail(*_: object) -> None:
        raise next(errors)

    monkeypatch.setattr(cli_run, "run", fail)
    assert run(capsys, "run", "a.hspy", "b.hspy", "-o", tmp_path)[0] == 2


def test_settings_command(scan_file, tmp_path, capsys):
    code, text, err = run(capsys, "settings")
    assert (code, err) == (0, "")
    config = tmp_path / "all.toml"
    config.write_text(text, encoding="utf-8")
    unchanged = cli._settings(str(config), (), {})
    assert unchanged == Settings.make()
    assert not unchanged.explicit
    out = tmp_path / "out.hspy"
    assert run(capsys, "run", scan_file, "-o", out, "--config", config, "--rank", 1, *QUICK)[0] == 0
    lines = [line.removeprefix("#") if line[:1] == "#" and line[1:2] != " " else line for line in text.splitlines()]
    tables = tomllib.loads("\n".join(line for line in lines if not line.endswith("=")))
    stated = {f"{group}.{name}": value for group, values in tables.items() for name, value in values.items()}
    assert stated == {name: value for name, value in Settings.make().as_dict().items() if value is not None}
    for name, parameter in declared():
        assert f"#{name.split('.')[1]} =" in text
        assert parameter.doc.split(";")[0][:60] in text


def test_info(scan_file, bad, capsys):
    code, out, err = run(capsys, "info", scan_file)
    assert (code, err) == (0, "")
    assert "/Experiments/scan/data  8 × 10 × 24 × 26  uint16" in out
    assert "  chunks 1 × 10 × 24 × 26\n" in out
    assert "    ky 24 × 0.3 1/nm from 0, file\n" in out
    assert "  memory: scan 99.8 kB, prepared frames 200 kB, factors " in out
    assert out.endswith(" are free: it fits\n")
    code, out, _ = run(capsys, "info", scan_file, "--json")
    about = json.loads(out)
    assert about["shape"] == [8, 10, 24, 26]
    assert about["instrument"] == {"voltage": 200.0, "convergence": 1.5}
    assert about["memory"]["frames"] == 8 * 10 * 24 * 26 * 4
    assert about["memory"]["fits"] is True
    code, out, _ = run(capsys, "info", scan_file, "--json", "--set", "prepare.bin=2")
    assert json.loads(out)["memory"]["frames"] == 8 * 10 * 12 * 13 * 4
    assert run(capsys, "info", bad["image"])[0] == 0
    for kind in ("missing", "text", "short"):
        assert bad[kind].name in refused(capsys, "info", bad[kind])


def test_frames_and_raw_binaries(tmp_path, capsys):
    stack, raw, out = tmp_path / "stack.npy", tmp_path / "camera.raw", tmp_path / "out.hspy"
    np.save(stack, made().reshape(80, 24, 26))
    raw.write_bytes(b"head" + made().tobytes())
    code, text, _ = run(capsys, "info", stack)
    assert code == 0
    assert "frames without a scan shape; data.scan_shape takes 8,10 or 10,8 or 5,16" in text
    assert "without a scan shape; data.scan_shape takes 8,10 or" in refused(capsys, "run", stack, "-o", out)
    assert "data.detector_shape: is needed for camera.raw" in refused(capsys, "info", raw)
    of_raw = ["--set", "data.detector_shape=24, 26", "--set", "data.offset=4"]
    shapes = [["--scan-shape", "8,10"], ["--set", "data.scan_shape=8,10"], ["--scan-shape", "8,10", *of_raw]]
    found = []
    for path, options in zip((stack, stack, raw), shapes, strict=True):
        code, text, err = run(capsys, "run", path, "-o", out, "--overwrite", "--rank", 2, "--json", *QUICK, *options)
        assert code == 0, err
        found.append({k: v for k, v in json.loads(text).items() if k in ("scan_shape", "relative_error", "labels")})
        assert load_result(out).settings.get("scan_shape") == "8,10"
    assert found[0] == found[1] == found[2]
    assert found[0]["scan_shape"] == [8, 10]


def test_sample(tmp_path, capsys):
    out = tmp_path / "sample.hspy"
    code, text, err = run(capsys, "sample", out, "--seed", 3)
    assert (code, err) == (0, "")
    assert "64 × 64 × 96 × 96" in text
    scan, made_again = open_scan(out), sample_scan(3)
    assert scan.axes == made_again.axes
    assert scan.instrument == made_again.instrument
    np.testing.assert_array_equal(scan.rows(0, 64), made_again.data)
    truth, again = scan.truth, made_again.truth
    assert truth is not None
    assert again is not None
    assert (truth.crystals, truth.scan_step) == (again.crystals, again.scan_step)
    for name in ("chord", "descan", "hot_pixels", "masks"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(again, name))
    assert "exists already" in refused(capsys, "sample", out)
    assert "seed: -1 is not allowed" in refused(capsys, "sample", out, "--seed", -1, "--overwrite")


def test_written_scan_in_hyperspy(scan_file):
    hyperspy = pytest.importorskip("hyperspy.api")
    signal = hyperspy.load(str(scan_file), lazy=True)
    assert signal.axes_manager.as_dictionary()["axis-1"]["scale"] == 0.5
    assert [a.name for a in signal.axes_manager._axes] == ["y", "x", "ky", "kx"]
    assert signal.axes_manager.navigation_shape == (10, 8)
    assert signal.metadata.get_item("Acquisition_instrument.TEM.beam_energy") == 200
    signal.close_file()


def test_a_scan_does_not_replace_its_own_file(tmp_path):
    path = write_scan(Scan.from_array(made()), tmp_path / "a.hspy")
    with pytest.raises(DataError, match="is the file that the scan is read from"):
        write_scan(open_scan(path), path, overwrite=True)


def test_a_truth_that_does_not_fit_is_left_out(tmp_path):
    path = tmp_path / "odd.h5"
    shape = (3, 4, 5, 6)
    with h5py.File(path, "w") as f:
        assert read_truth(f, shape) is None
        f["truth"] = h5py.ExternalLink("other.h5", "/truth")
        assert read_truth(f, shape) is None
        del f["truth"]
        group = f.create_group("truth")
        group.attrs["stem4d_truth"] = 1
        assert read_truth(f, shape) is None
        group["class_name"] = np.array([], dtype=h5py.string_dtype())
        for name in ("rotation", "fold", "diameter"):
            group[name] = np.zeros(0)
        group["centre"], group["chord"] = np.zeros((0, 2)), np.zeros((0, 3, 4))
        group["descan"], group["hot_pixels"] = np.zeros((2, 3, 4)), np.zeros((0, 2), int)
        assert read_truth(f, shape) is None
        group.attrs["scan_step"] = 0.5
        assert read_truth(f, shape) is not None
        assert read_truth(f, (4, 3, 5, 6)) is None
        group.attrs["stem4d_truth"] = 99
        assert read_truth(f, shape) is None


def test_serve_looks_for_its_path_first(tmp_path, capsys):
    assert "no such file or folder" in refused(capsys, "serve", tmp_path / "missing.h5")
    assert "it takes a token" in refused(capsys, "serve", "--host", "0.0.0.0")  # noqa: S104
    assert "No such option: --token" in refused(capsys, "serve", "--token", "where-all-can-see-it")
    assert "--port" in refused(capsys, "serve", "--port", 70_000)


def test_version_and_help(capsys):
    assert run(capsys, "--version") == (0, f"stem4d {__version__}\n", "")
    code, out, _ = run(capsys)
    assert code == 0
    assert all(name in out for name in ("serve", "run", "info", "sample", "settings"))
    code, out, _ = run(capsys, "run", "--help")
    assert code == 0
    assert "Number of components." in out
    assert "No such command 'rum'" in refused(capsys, "rum")


def _python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *args] if code else [sys.executable, "-m", "stem4d_panel", *args]
    root = str(Path(cli.__file__).parents[1])
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False)


def test_help_is_light():
    code = "import sys; from stem4d_panel.cli import main; main(['--help']); print(*sys.modules, sep='\\n', file=sys.stderr)"
    loaded = set(_python(code).stderr.split())
    assert "stem4d_panel.cli" in loaded
    assert not loaded & {
        "numpy",
        "scipy",
        "numba",
        "panel",
        "bokeh",
        "h5py",
        "stem4d_panel.analysis",
        "stem4d_panel.cli_run",
    }


def test_as_a_module(bad):
    done = _python("", "info", str(bad["missing"]))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "stem4d: missing.h5: no such file\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_takes_nothing_more():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "stem4d_panel", "settings"]
        root = str(Path(cli.__file__).parents[1])
        env = {**os.environ, "PYTHONPATH": root}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=env)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
