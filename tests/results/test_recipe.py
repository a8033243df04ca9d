"""An analysis taken along as text and taken back: the same labels and factors in another process."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.cli import main
from stem4d_panel.errors import DataError
from stem4d_panel.results.recipe import Origin, as_command, as_python, as_toml
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import load_result, save_result
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan import sample
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.settings import Settings, read_toml

NAME = 'it\'s "a" $(scan) of β\n#1.npy'
SETTINGS = {
    "data.scan_shape": "14,18",
    "prepare.bin": 1,
    "factorize.seed": 3,
    "cluster.threshold": 0.1 + 0.2,
    "cluster.moves": "4: 2>0, 1>",
    "cluster.names": '4: 0=it\'s "B2" 𝛽 \\n $HOME # `x`, 1=glass',
    "factorize.rank": 4,
}
# what another process does with the texts: argv holds the folder
SCRIPT = """
import os, pathlib, sys
os.chdir(sys.argv[1])
exec(pathlib.Path("copied.py").read_text(encoding="utf-8"))
analysis.save("python.hspy")
from stem4d_panel import Analysis
from stem4d_panel.cli import main
(name,) = os.listdir("scan")
assert main(["run", f"scan/{name}", "-o", "toml.hspy", "--config", "copied.toml"]) == 0
Analysis.from_result("scan.hspy", scan=f"scan/{name}").save("provenance.hspy")
"""


@pytest.fixture(scope="module")
def folder(small: Scan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of frames under a name that shells and Python would like to misread."""
    made = tmp_path_factory.mktemp("recipe")
    (made / "scan").mkdir()
    data = np.asarray(small.data)
    np.save(made / "scan.npy", data.reshape(-1, *data.shape[2:]))
    (made / "scan.npy").rename(made / "scan" / NAME)
    return made


@pytest.fixture(scope="module")
def analysis(folder: Path) -> Analysis:
    settings = Settings.make(SETTINGS)
    return Analysis(open_scan(folder / "scan" / NAME, settings=settings.data), settings, cache=Cache())


@pytest.fixture(scope="module")
def result(analysis: Analysis, folder: Path) -> Result:
    return load_result(analysis.save(folder / "scan.hspy"))


def test_python_command_toml_and_provenance_give_the_same_in_other_processes(
    analysis: Analysis, result: Result, folder: Path
) -> None:
    origin = Origin.of(analysis.scan)
    (folder / "copied.py").write_text(as_python(origin, analysis.settings), encoding="utf-8")
    (folder / "copied.toml").write_text(as_toml(origin, analysis.settings), encoding="utf-8")
    command = as_command(origin, analysis.settings)
    shell = f'stem4d() {{ {shlex.quote(sys.executable)} -m stem4d_panel "$@"; }}\n{command}'
    environment = {**os.environ, "PYTHONUTF8": "1"}
    subprocess.run(["sh", "-c", shell], cwd=folder, env=environment, check=True, capture_output=True, timeout=300)
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], env=environment, check=True, capture_output=True, timeout=300
    )
    for name in (f"{Path(NAME).stem}.stem4d.hspy", "python.hspy", "toml.hspy", "provenance.hspy"):
        again = load_result(folder / name)
        assert again.settings == result.settings, name
        assert again.settings.explicit == result.settings.explicit, name
        np.testing.assert_array_equal(again.classes.labels, result.classes.labels, err_msg=name)
        assert [c.name for c in again.findings.classes] == [c.name for c in result.findings.classes]
        for part in ("maps", "patterns"):
            one, other = getattr(again.factors, part), getattr(result.factors, part)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * other.max(), err_msg=name)
    assert result.classes.moved == (1, 2)


def test_only_what_was_set_is_told_and_what_is_automatic_stays_so(small: Scan) -> None:
    origin = Origin.of(small)
    settings = Settings.make()
    assert "ettings" not in as_python(origin, settings)
    assert "--" not in as_command(origin, settings)
    assert tomllib.loads(as_toml(origin, settings)) == {}
    stated = Settings.make({"rank": 20, "threshold": None, "prepare.bin": 2})  # a rank that is its default, but stated
    assert tomllib.loads(as_toml(origin, stated)) == {"prepare": {"bin": 2}, "factorize": {"rank": 20}}
    assert shlex.split(as_command(origin, stated), comments=True)[5:] == ["--set", "prepare.bin=2", "--rank", "20"]


@pytest.mark.parametrize("text", ["0=a\\u0041", "0='", '0="', "0=\N{GREEK SMALL LETTER BETA}𝔸", "0= # no comment"])
def test_texts_come_back_from_toml_as_they_were(text: str, small: Scan, tmp_path: Path) -> None:
    settings = Settings.make({"cluster.names": text, "factorize.tol": 1e-7, "calibration.scan_step": 1 / 3})
    path = tmp_path / "settings.toml"
    path.write_text(as_toml(Origin.of(small), settings), encoding="utf-8")
    assert Settings.make(read_toml(path)) == settings


def test_an_array_in_memory_is_said_and_its_axes_are_kept(small: Scan) -> None:
    origin = Origin.of(small)
    code, command = as_python(origin, Settings.make()), as_command(origin, Settings.make())
    for text in (code, command):
        assert text.startswith("# small (14 × 18 × 32 × 32 uint16) was an array in memory")
    with pytest.raises(DataError, match="0 axes"):  # not the sample, nor anything else
        exec(code, {})  # noqa: S102
    made: dict[str, Scan] = {}
    opening = code.partition("analysis =")[0]
    exec(opening.replace("data = None", "import numpy; data = numpy.ones((14, 18, 32, 32))"), made)  # noqa: S102
    assert [(a.scale, a.units) for a in made["scan"].axes] == [(a.scale, a.units) for a in small.axes]
    assert made["scan"].instrument == small.instrument


def test_the_sample_is_named_by_its_seed(
    small: Scan, glass: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Origin.of(glass).seed == 0
    asked: list[int] = []

    def simulated(seed: int) -> Scan:  # in place of the sample, which takes its time
        asked.append(seed)
        return replace(small, name=f"sample (seed {seed})", truth=glass.truth)

    monkeypatch.setattr(sample, "sample_scan", simulated)
    origin, settings = Origin.of(simulated(7)), Settings.make({"rank": 3, "factorize.max_iter": 5})
    assert "s4d.sample_scan(seed=7)" in as_python(origin, settings)
    words = shlex.split(as_command(origin, settings))
    assert words[2:5] == ["sample:7", "-o", "sample-7.stem4d.hspy"]
    assert main([*words[1:4], str(tmp_path / words[4]), *words[5:]]) == 0
    made = load_result(tmp_path / words[4])
    again = Analysis.from_result(made)
    assert asked == [7, 7, 7]
    assert again.scan.fingerprint == made.source["fingerprint"]
    assert again.settings == made.settings
    assert Origin.of(made).seed == 7
    other = replace(glass, name="sample (seed 0, 50 electrons, 10 crystals)")  # the seed alone does not name it
    assert Origin.of(other).seed is None


def test_names_that_begin_like_options_and_words() -> None:
    for path, word in (("-o", "./-o"), ("sample:0", "./sample:0"), ("\udcff.b", "$'\\377\\056\\142'")):
        assert f"run {word} " in as_command(Origin("x", path=path), Settings.make())


def test_the_source_is_found_beside_the_result_also_when_both_have_moved(
    analysis: Analysis, result: Result, folder: Path, tmp_path: Path
) -> None:
    path = save_result(result, tmp_path / "moved.hspy")
    with pytest.raises(DataError, match=r"npy \(.* kB\): the scan of the result is not found beside it"):
        Analysis.from_result(path)
    copy = Path(shutil.copyfile(folder / "scan" / NAME, tmp_path / NAME))  # another time of change, the same bytes
    again = Analysis.from_result(path)
    assert again.settings == result.settings
    np.testing.assert_array_equal(again.scan.pattern(3, 4), analysis.scan.pattern(3, 4))
    with copy.open("r+b") as f:  # the same name and size, other counts
        f.seek(-8, os.SEEK_END)
        f.write(b"\xff" * 8)
    with pytest.raises(DataError, match="not found beside it"):
        Analysis.from_result(path)


def test_a_result_gives_its_settings_to_a_run(result: Result, folder: Path, tmp_path: Path) -> None:
    from stem4d_panel.cli import _settings

    taken = _settings(str(folder / "scan.hspy"), ("prepare.bin=2",), {"rank": "3"})
    assert taken == result.settings.replace({"prepare.bin": 2, "rank": 3})
    wrong = tmp_path / "none.hspy"
    wrong.write_bytes(b"no result")
    assert main(["run", "scan.npy", "-o", str(tmp_path / "x.hspy"), "--config", str(wrong)]) == 2
