"""The result file: complete, readable by other programs, safe to write, and refused when it is not whole."""

from __future__ import annotations

import getpass
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import warnings
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from stem4d_panel.analysis import Analysis
from stem4d_panel.errors import DataError
from stem4d_panel.measure.recovery import cut_by_order, recovery, true_classes
from stem4d_panel.results import store
from stem4d_panel.results.result import Result
from stem4d_panel.results.store import is_result, load_result
from stem4d_panel.runtime.cache import Cache
from stem4d_panel.scan.readers import open_scan
from stem4d_panel.scan.scan import Scan
from stem4d_panel.scan.truth import Crystal, Truth


@pytest.fixture(scope="module")
def analysis(small: Scan) -> Analysis:
    return Analysis(small, cache=Cache(), rank=4, prepare__bin=1, seed=3)


@pytest.fixture(scope="module")
def result(analysis: Analysis) -> Result:
    return analysis.result()


@pytest.fixture(scope="module")
def saved(analysis: Analysis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once; tests that spoil it take a copy."""
    return analysis.save(tmp_path_factory.mktemp("results") / "small.stem4d.hspy")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(saved, tmp_path / "copy.hspy"))


def refusal(path: Path) -> str:
    """The message with which a file is refused: one line that names it and shows no folder."""
    with pytest.raises(DataError) as caught:
        load_result(path)
    text = str(caught.value)
    assert text.startswith(f"{path.name}: ")
    assert text.isprintable()
    assert str(path.parent) not in text
    return text


def same(one: Any, other: Any, where: str) -> None:
    """Compare dataclasses, arrays and plain values to the last bit."""
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}[{i}]")
    elif hasattr(one, "__dataclass_fields__"):
        assert type(one) is type(other)
        for f in fields(one):
            same(getattr(one, f.name), getattr(other, f.name), f"{where}.{f.name}")
    else:
        assert one == other, where


def test_what_is_loaded_is_what_was_saved(result: Result, saved: Path) -> None:
    loaded = load_result(saved)
    for name in (
        "factors",
        "tree",
        "classes",
        "findings",
        "axes",
        "centre",
        "mask",
        "mean_pattern",
        "settings",
        "name",
        "warnings",
    ):
        same(getattr(result, name), getattr(loaded, name), name)
    assert loaded.settings.explicit == result.settings.explicit == {"factorize.rank", "prepare.bin", "factorize.seed"}
    for name in ("calibration", "source", "preparation"):
        assert json.loads(json.dumps(getattr(result, name))) == getattr(loaded, name)
    assert set(loaded.seconds) == set(result.seconds)
    assert loaded.provenance["version"] == result.provenance["version"]


def test_a_loaded_result_can_be_saved_again(saved: Path, tmp_path: Path) -> None:
    loaded = load_result(saved)
    again = load_result(store.save_result(loaded, tmp_path / "again.hspy"))
    for f in fields(Result):
        same(getattr(loaded, f.name), getattr(again, f.name), f.name)


def test_one_component_is_saved_and_loaded(small: Scan, tmp_path: Path) -> None:
    result = Analysis(small, cache=Cache(), rank=1).result()
    loaded = load_result(store.save_result(result, tmp_path / "one.hspy"))
    assert loaded.tree.merges.shape == (0, 7)
    assert loaded.tree.kind == ()
    same(result.classes, loaded.classes, "classes")
    same(result.findings, loaded.findings, "findings")


def test_hyperspy_opens_all_five_signals(result: Result, saved: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        import hyperspy.api as hs

        signals = {s.metadata.General.title: s for s in hs.load(str(saved), reader="HSPY")}
    maps, patterns = result.factors.maps, result.factors.patterns
    expected = {
        "maps": (maps, ("component",), ("x", "y")),
        "patterns": (patterns, ("component",), ("kx", "ky")),
        "class maps": (result.classes.maps, ("class",), ("x", "y")),
        "class patterns": (result.classes.patterns, ("class",), ("kx", "ky")),
        "orientation": (result.findings.orientation, (), ("x", "y")),
    }
    assert set(signals) == set(expected)
    known = {a.name: a for a in result.axes}
    for title, (data, navigation, image) in expected.items():
        signal = signals[title]
        np.testing.assert_array_equal(signal.data, data)
        assert tuple(a.name for a in signal.axes_manager.navigation_axes) == navigation
        assert tuple(a.name for a in signal.axes_manager.signal_axes) == image
        for axis in signal.axes_manager.signal_axes:
            house = known[axis.name]
            assert (axis.scale, axis.offset, axis.units, axis.size) == (
                house.scale,
                house.offset,
                house.units,
                house.size,
            )


def test_nexus_finds_the_class_maps_to_plot(result: Result, saved: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nexusformat.nexus import nxload

        root = nxload(str(saved))
        plottable = root.get_default()
        assert plottable.nxname == "class_maps"
        assert plottable.nxclass == "NXdata"
        np.testing.assert_array_equal(plottable.nxsignal.nxvalue, result.classes.maps)
        assert [axis.nxname for axis in plottable.nxaxes] == ["c", "y", "x"]
        y, x = plottable.nxaxes[1:]
        assert (y.units, x.units) == ("nm", "nm")
        np.testing.assert_allclose(x.nxvalue, 0.5 * np.arange(18))
        processes = [g for g in root["entry"].values() if g.nxclass == "NXprocess"]
        assert [int(p.sequence_index) for p in processes] == [1, 2, 3, 4, 5, 6]


def test_the_layout_is_the_contract(saved: Path) -> None:
    shapes = {
        "maps": (4, 14, 18),
        "patterns": (4, 32, 32),
        "mask": (32, 32),
        "mean_pattern": (32, 32),
        "labels": (4,),
        "rotations": (4,),
        "shifts": (4, 2),
        "merges": (3, 7),
        "orientation": (14, 18),
        "position_labels": (14, 18),
    }
    with h5py.File(saved) as f:
        entry = f["entry"]
        assert (entry.attrs["NX_class"], entry.attrs["default"]) == ("NXentry", "class_maps")
        for name, shape in shapes.items():
            assert entry[name].attrs["NX_class"] == "NXdata"
            assert entry[name].attrs["signal"] == "data"
            assert entry[f"{name}/data"].shape == shape
        assert entry["merges/kind"].asstr()[()].tolist() == ["rotation", "rotation", "glass"]
        count = int(entry["labels/data"][()].max()) + 1
        assert entry["class_maps/data"].shape == (count, 14, 18)
        assert entry["class_patterns/data"].shape == (count, 32, 32)
        recipe = {}
        for i in range(1, 7):
            recipe |= json.loads(entry[f"process_{i}/note/data"].asstr()[()])["settings"]
    assert recipe == load_result(saved).settings.as_dict()


def test_each_array_is_stored_once(saved: Path) -> None:
    pairs = {
        "maps": "maps",
        "patterns": "patterns",
        "class maps": "class_maps",
        "class patterns": "class_patterns",
        "orientation": "orientation",
    }
    with h5py.File(saved) as f:
        for title, name in pairs.items():
            one, other = f[f"Experiments/{title}/data"], f[f"entry/{name}/data"]
            assert h5py.h5o.get_info(one.id).addr == h5py.h5o.get_info(other.id).addr
            assert h5py.h5o.get_info(one.id).rc == 2


def test_the_file_tells_nothing_of_the_machine(small: Scan, tmp_path: Path) -> None:
    folder = tmp_path / "private-folder"
    folder.mkdir()
    with h5py.File(folder / "scan.h5", "w") as f:
        f["data"] = small.data
    path = Analysis(open_scan(folder / "scan.h5"), cache=Cache(), rank=2).save(folder / "out.hspy")
    content = path.read_bytes()
    with h5py.File(path) as f:  # beside the raw bytes, every text, however it is stored
        texts: list[str] = []

        def visit(_: str, thing: h5py.Group | h5py.Dataset) -> None:
            texts.extend(str(v) for v in thing.attrs.values())
            if isinstance(thing, h5py.Dataset) and h5py.check_string_dtype(thing.dtype):
                texts.append(str(thing[()]))

        f.visititems(visit)
    secrets = ["private-folder", str(tmp_path), str(Path.home()), os.getcwd(), platform.node(), getpass.getuser()]
    for secret in secrets:
        if len(secret) > 4:  # fewer letters stand in compressed data, or in a word, by chance
            assert secret.encode() not in content
            assert not any(secret in text for text in texts)


def test_an_existing_file_is_refused_and_kept(analysis: Analysis, copy: Path) -> None:
    before = hashlib.sha256(copy.read_bytes()).digest()
    with pytest.raises(DataError, match=r"^copy\.hspy: exists already"):
        analysis.save(copy)
    assert hashlib.sha256(copy.read_bytes()).digest() == before
    other = analysis.replace(threshold=1.9)
    other.save(copy, overwrite=True)
    assert load_result(copy).classes.threshold == 1.9


def test_the_old_result_stays_whole_when_writing_fails_midway(
    analysis: Analysis, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.read_bytes()

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(DataError, match=r"^copy\.hspy: cannot be written: No space left on device"):
        analysis.save(copy, overwrite=True)
    assert copy.read_bytes() == before
    assert list(copy.parent.iterdir()) == [copy]


def test_a_truncated_file_is_refused(copy: Path) -> None:
    content = copy.read_bytes()
    for part in (0.05, 0.5, 0.99):
        copy.write_bytes(content[: int(len(content) * part)])
        refusal(copy)


def test_a_flipped_bit_in_an_array_is_noticed(copy: Path) -> None:
    with h5py.File(copy) as f:
        chunk = f["entry/maps/data"].id.get_chunk_info(0)
    content = bytearray(copy.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 16
    copy.write_bytes(content)
    refusal(copy)


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "other h5", "folder"])
def test_what_is_no_result_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing.h5"
    if kind == "text":
        path.write_text("ky kx\n1 2\n")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "other h5":
        with h5py.File(path, "w") as f:
            f["entry/data"] = np.zeros(3)
    refusal(path)
    assert not is_result(path)


def test_a_result_is_known_as_one(saved: Path) -> None:
    assert is_result(saved)


NAMES = "4: 0=glass <i>α</i>, 3=Ti₂Ni"


@pytest.fixture(scope="module")
def by_hand(analysis: Analysis) -> Analysis:
    return analysis.replace(cluster__moves="3>0", cluster__names=NAMES, threshold=0.0)


def test_names_and_moves_are_saved_and_loaded(by_hand: Analysis, tmp_path: Path) -> None:
    result, path = by_hand.result(), by_hand.save(tmp_path / "named.hspy")
    assert result.classes.moved == (3,)
    assert result.findings.classes[0].name == "glass <i>α</i>"  # of two, that of the stronger component
    assert [c.name for c in result.findings.classes[1:]] == [""] * (result.classes.count - 1)
    loaded = load_result(path)
    for name in ("classes", "findings", "settings", "warnings"):
        same(getattr(result, name), getattr(loaded, name), name)
    assert (loaded.settings.cluster.moves, loaded.settings.cluster.names) == ("3>0", NAMES)
    with h5py.File(path) as f:
        assert f["entry/labels/moved"][()].tolist() == [0, 0, 0, 1]
        assert f["entry/class_maps/names"].asstr()[()].tolist() == [c.name for c in result.findings.classes]
        note = json.loads(f["entry/process_5/note/data"].asstr()[()])
    assert note["settings"]["cluster.moves"] == "3>0"
    assert note["settings"]["cluster.names"] == NAMES
    again = load_result(store.save_result(loaded, tmp_path / "again.hspy"))
    for f_ in fields(Result):
        same(getattr(loaded, f_.name), getattr(again, f_.name), f_.name)


def test_warnings_of_another_rank_come_back_with_their_stage(analysis: Analysis, tmp_path: Path) -> None:
    path = analysis.replace(cluster__moves="20: 3>0", cluster__names="20: 0=a").save(tmp_path / "other.hspy")
    loaded = load_result(path)
    said = tuple(f"cluster.{name}: made at rank 20, not applied at rank 4" for name in ("moves", "names"))
    assert (*loaded.classes.warnings, *loaded.findings.warnings) == loaded.warnings[-2:] == said


def hyperspy_part(path: Path) -> dict[str, Any]:
    """Everything below /Experiments but for the data: attributes and values."""
    out: dict[str, Any] = {}

    def visit(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        out[name] = dict(thing.attrs)
        if isinstance(thing, h5py.Dataset):
            out[name]["shape of data"] = (thing.shape[-2:], thing.dtype)

    with h5py.File(path) as f:
        f["Experiments"].visititems(visit)
    return out


def test_what_hyperspy_reads_is_the_same_with_names(analysis: Analysis, tmp_path: Path) -> None:
    plain = analysis.save(tmp_path / "plain.hspy")
    named = analysis.replace(cluster__names=NAMES).save(tmp_path / "named.hspy")
    one, other = hyperspy_part(plain), hyperspy_part(named)
    assert one.keys() == other.keys()
    for name in one:
        for key in {k for k in one[name] if k not in ("DIMENSION_LIST", "REFERENCE_LIST")}:
            assert np.all(one[name][key] == other[name][key]), (name, key)


def rewrite(path: Path, stage: int, change: Any) -> None:
    """Change what a stage's note says."""
    with h5py.File(path, "r+") as f:
        where = f"entry/process_{stage}/note/data"
        note = json.loads(f[where].asstr()[()])
        change(note)
        del f[where]
        f[where] = json.dumps(note)


def test_a_file_without_names_and_moves_opens(copy: Path, result: Result) -> None:
    def older(note: dict[str, Any]) -> None:
        for name in ("moved", "warnings"):
            note.pop(name, None)
        for one in note.get("classes", ()):
            del one["name"]

    rewrite(copy, 5, older)
    rewrite(copy, 6, older)
    with h5py.File(copy, "r+") as f:
        del f["entry/labels/moved"], f["entry/class_maps/names"]
        provenance = f["entry/provenance"]
        recipe = json.loads(provenance["recipe_json"].asstr()[()])
        del provenance["recipe_json"], provenance["recipe_sha256"], recipe["cluster.moves"], recipe["cluster.names"]
        text = json.dumps(recipe)
        provenance["recipe_json"], provenance["recipe_sha256"] = text, hashlib.sha256(text.encode()).hexdigest()
    loaded = load_result(copy)
    for name in ("classes", "findings", "settings"):
        same(getattr(result, name), getattr(loaded, name), name)


@pytest.mark.parametrize("name", ["a,b", "a=b", "a\nb", "n" * 61, " ", 5, [], None, {"a": 1}])
def test_a_forged_name_is_refused(copy: Path, name: Any) -> None:
    rewrite(copy, 6, lambda note: note["classes"][0].update(name=name))
    assert "damaged" in refusal(copy)


@pytest.mark.parametrize("moved", [[4], [-1], ["3"], [True], [1.0], 3, "3", None])
def test_forged_moves_are_refused(copy: Path, moved: Any) -> None:
    rewrite(copy, 5, lambda note: note.update(moved=moved))
    assert "damaged" in refusal(copy)


def test_a_forged_setting_of_moves_is_refused(copy: Path) -> None:
    with h5py.File(copy, "r+") as f:
        provenance = f["entry/provenance"]
        text = json.dumps(json.loads(provenance["recipe_json"].asstr()[()]) | {"cluster.moves": "1>2, 2>1"})
        del provenance["recipe_json"], provenance["recipe_sha256"]
        provenance["recipe_json"], provenance["recipe_sha256"] = text, hashlib.sha256(text.encode()).hexdigest()
    assert "cluster.moves: '1>2, 2>1' is not allowed" in refusal(copy)


def test_a_newer_layout_is_refused_with_the_remedy(copy: Path) -> None:
    with h5py.File(copy, "r+") as f:
        f.attrs["stem4d_layout"] = 99
    assert "update stem4d_panel" in refusal(copy)


def test_settings_that_were_tampered_with_are_noticed(copy: Path) -> None:
    with h5py.File(copy, "r+") as f:
        text = f["entry/provenance/recipe_json"].asstr()[()]
        del f["entry/provenance/recipe_json"]
        f["entry/provenance/recipe_json"] = text.replace('"factorize.rank": 4', '"factorize.rank": 5')
    assert "checksum" in refusal(copy)


def test_settings_of_another_version_are_told_as_such(copy: Path) -> None:
    with h5py.File(copy, "r+") as f:
        provenance = f["entry/provenance"]
        text = json.dumps(json.loads(provenance["recipe_json"].asstr()[()]) | {"cluster.novelty": 1})
        del provenance["recipe_json"], provenance["recipe_sha256"]
        provenance["recipe_json"], provenance["recipe_sha256"] = text, hashlib.sha256(text.encode()).hexdigest()
    assert "cluster.novelty" in refusal(copy)


@pytest.mark.parametrize(
    "name",
    [
        "entry",
        "entry/maps",
        "entry/maps/data",
        "entry/merges/kind",
        "entry/provenance",
        "entry/provenance/centre",
        "entry/process_4",
        "entry/process_6/note/data",
        "entry/title",
    ],
)
@pytest.mark.parametrize("left", ["nothing", "a number", "a folder", "a text"])
def test_a_file_with_a_part_missing_or_spoiled_is_refused(copy: Path, name: str, left: str) -> None:
    with h5py.File(copy, "r+") as f:
        del f[name]
        if left == "a number":
            f[name] = 3.5
        elif left == "a folder":
            f.create_group(name)
        elif left == "a text" and name != "entry/title":
            f[name] = "[]"
        elif left == "a text":
            return
    refusal(copy)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("maps", (3, 14, 18)),
        ("maps", (4, 14)),
        ("patterns", (4, 32, 31)),
        ("mask", (31, 32)),
        ("labels", (5,)),
        ("merges", (2, 7)),
        ("class_maps", (1, 14, 18)),
        ("orientation", (18, 14)),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(copy: Path, name: str, shape: tuple[int, ...]) -> None:
    with h5py.File(copy, "r+") as f:
        kind = f[f"entry/{name}/data"].dtype
        del f[f"entry/{name}/data"]
        f[f"entry/{name}/data"] = np.zeros(shape, kind)
    assert name in refusal(copy)


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_recovery", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.shared
@pytest.mark.parametrize("at_true", [False, True])
def test_the_reference_script_scores_the_file_as_we_do(shared_data: Path, tmp_path: Path, at_true: bool) -> None:
    script = shared_data.parent / "score" / "recovery.py"
    if not script.is_file():
        pytest.skip("no shared/score/recovery.py beside the repository")
    folder = shared_data / "glass-a"
    path = Analysis(folder / "glass-a.hspy", rank=9).save(tmp_path / "glass.hspy")
    expected = load_script(script).score(path, folder, at_true)
    meta, arrays = json.loads((folder / "truth.json").read_text()), np.load(folder / "truth.npz")
    crystals = tuple(
        Crystal(p["class_name"], p["rotation_deg"], p["symmetry_fold"], p["diameter_nm"], (0, 0))
        for p in meta["precipitates"]
    )
    descan = np.stack([arrays["descan_y_px"], arrays["descan_x_px"]])
    truth = Truth(crystals, arrays["chord_nm"], descan, arrays["hot_pixels"], meta["scan_step_nm"])
    loaded = load_result(path)
    labels = loaded.classes.labels
    if at_true:
        labels = cut_by_order(loaded.tree.merges, len(set(true_classes(loaded.factors.maps, truth).tolist())))
    ours = asdict(recovery(loaded.factors.maps, labels, loaded.classes.rotations, truth))
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert ours[name] == (
            value if value is None else pytest.approx(value, abs=1e-2 if name == "rotation_err_deg" else 1e-4)
        ), name
