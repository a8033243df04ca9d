"""Settings: what is taken, what is refused and how, and that a value once made stays what it is."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stem4d_panel.errors import SettingError
from stem4d_panel.parameters import Choice, Real, Shape, Text, Whole, limits, sizes
from stem4d_panel.settings import GROUPS, SHORT_NAMES, Settings, declaration, declared, parse_value, read_toml

NAMES = [name for name, _ in declared()]


def refusal(changes: dict[str, Any]) -> str:
    """The message with which a change of the defaults is refused."""
    with pytest.raises(SettingError) as caught:
        Settings.make(changes)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


def other_value(name: str) -> Any:
    """A value that the parameter takes and that is not its default."""
    parameter = declaration(name)
    if isinstance(parameter, Choice):
        return next(word for word in parameter.objects if word != parameter.default)
    if isinstance(parameter, Text):
        return parameter.example
    if isinstance(parameter, Shape):
        return "3,4"
    low, high = parameter.bounds
    return next(
        v
        for v in (2 if isinstance(parameter, Whole) else 2.0, low, high)
        if v != parameter.default and low <= v <= high
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_is_declared_in_full(name: str) -> None:
    parameter = declaration(name)
    assert parameter.doc.endswith(".")
    assert len(parameter.doc) > 15
    assert "\n" not in parameter.doc
    if isinstance(parameter, Choice):
        assert parameter.default in parameter.objects
        assert len(set(parameter.objects)) == len(parameter.objects) >= 2
    elif isinstance(parameter, Text):
        assert Settings.make({name: parameter.example}).get(name) == parameter.example
    elif not isinstance(parameter, Shape):
        low, high = parameter.bounds
        assert math.isfinite(low)
        assert math.isfinite(high)
        assert low < high
        assert parameter.default is not None or parameter.allow_None
    assert Settings.make({name: parameter.default}) == Settings.make()


@pytest.mark.parametrize("name", NAMES)
def test_the_limits_hold_and_are_named(name: str) -> None:
    parameter = declaration(name)
    if isinstance(parameter, Choice):
        bad: list[Any] = ["nonsense", None, True, 1, ["off"]]
    elif isinstance(parameter, Text):
        bad = ["nonsense", "", True, 1, ["off"], "\n"]
    elif isinstance(parameter, Shape):
        bad = [
            "",
            "3",
            "3x4",
            "0,4",
            "3,4,5",
            "-1,4",
            "3.0,4",
            "3,٤",
            "3,4\n",
            (3,),
            (3, 4.0),
            (3, 0),
            [3, True, 4],
            3,
            True,
            b"3,4",
        ]
    else:
        low, high = parameter.bounds
        assert {Settings.make({name: v}).get(name) for v in (low, high)} == {low, high}
        bad = [
            low - 1,
            high + 1,
            math.nan,
            math.inf,
            -math.inf,
            True,
            False,
            "3",
            "",
            [3],
            1j,
            np.float32("nan"),
            10**400,
        ]
        bad += [2.5, 2.0] if isinstance(parameter, Whole) else []
        bad += [] if parameter.allow_None else [None]
    for value in bad:
        text = refusal({name: value})
        assert text.startswith(f"{name}: ")
        assert limits(parameter) in text


@pytest.mark.parametrize("value", [0, -1, True, 2.5, math.nan, "3"])
def test_a_forged_rank_is_refused_by_its_name(value: Any) -> None:
    assert (
        refusal({"rank": value}) == f"factorize.rank: {value!r} is not allowed; it takes a whole number from 1 to 1000"
    )


def test_bin_500_is_refused() -> None:
    assert refusal({"prepare.bin": 500}).startswith(
        "prepare.bin: 500 is not allowed; it takes a whole number from 1 to 256 px"
    )


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("factorise.rank", "factorize.rank"),
        ("prepare.bins", "prepare.bin"),
        ("cluster.treshold", "cluster.threshold"),
        ("calibration.voltage_kv", "calibration.voltage"),
    ],
)
def test_an_unknown_name_brings_a_suggestion(wrong: str, meant: str) -> None:
    text = refusal({wrong: 1})
    assert text.startswith(f"{wrong}: no such parameter")
    assert meant in text


@pytest.mark.parametrize(
    "name", ["zzzzzz", "factorize", "factorize.", ".rank", "factorize.name", "factorize.param", "cluster.__class__"]
)
def test_what_is_no_parameter_is_refused(name: str) -> None:
    assert "no such parameter" in refusal({name: 1})


def test_a_change_is_taken_whole_or_not_at_all() -> None:
    before = Settings.make({"rank": 7})
    same = before.as_dict()
    with pytest.raises(SettingError, match=r"prepare\.bin"):
        before.replace({"threshold": 0.9, "prepare.bin": 500})
    with pytest.raises(SettingError, match="no such"):
        before.replace({"threshold": 0.9, "nope": 1})
    assert before.as_dict() == same
    assert before.replace({"threshold": 0.9}).get("cluster.threshold") == 0.9
    assert before.as_dict() == same


def test_settings_cannot_be_changed_in_place() -> None:
    settings = Settings.make()
    with pytest.raises(FrozenInstanceError):
        settings.factorize = settings.factorize  # type: ignore[misc]
    for group in GROUPS:
        for name in GROUPS[group].declared():
            with pytest.raises(TypeError):
                setattr(getattr(settings, group), name, other_value(f"{group}.{name}"))
    assert settings == Settings.make()


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_counts_in_equality_and_digest(name: str) -> None:
    plain, changed = Settings.make(), Settings.make({name: other_value(name)})
    group = name.partition(".")[0]
    assert changed != plain
    assert changed.changes() == {name: other_value(name)}
    assert changed.digest() != plain.digest()
    assert changed.digest(group) != plain.digest(group)
    rest = [g for g in GROUPS if g != group]
    assert changed.digest(*rest) == plain.digest(*rest)


def test_equal_settings_have_one_digest_and_one_hash() -> None:
    forms: list[dict[str, Any]] = [
        {"prepare.mask_inner": 0, "rank": 5},
        {"prepare.mask_inner": 0.0, "factorize.rank": 5},
        {"prepare.mask_inner": -0.0, "rank": np.int64(5)},
        {"prepare.mask_inner": np.float32(0), "rank": 5},
    ]
    made = [Settings.make(f) for f in forms]
    assert all(s == made[0] for s in made)
    assert len({s.digest() for s in made}) == 1
    assert len({hash(s) for s in made}) == 1


def test_a_real_takes_whole_numbers_and_keeps_a_float() -> None:
    for name, parameter in declared():
        if isinstance(parameter, Real):
            value = Settings.make({name: 2 if parameter.bounds[1] >= 2 else 1}).get(name)
            assert type(value) is float


def test_the_digest_is_the_same_in_another_process() -> None:
    changes = {"rank": 9, "threshold": 0.1, "prepare.hot_ratio": 1.7}
    code = f"from stem4d_panel.settings import Settings; print(Settings.make({changes!r}).digest())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        )
        for seed in ("1", "2")
    ]
    assert {run.stdout.strip() for run in runs} == {Settings.make(changes).digest()}


def test_what_somebody_has_set_is_remembered_even_at_its_default() -> None:
    settings = Settings.make({"rank": 20}).replace({"prepare.bin": None})
    assert settings.explicit == {"factorize.rank", "prepare.bin"}
    assert Settings.make().explicit == frozenset()
    assert settings == Settings.make()


def test_short_names_stand_for_full_ones() -> None:
    for short, full in SHORT_NAMES.items():
        assert Settings.make({short: other_value(full)}).get(full) == Settings.make({full: other_value(full)}).get(
            short
        )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rank", "12", 12),
        ("threshold", "0.3", 0.3),
        ("threshold", "1", 1.0),
        ("threshold", "", None),
        ("prepare.bin", "None", None),
        ("prepare.bin", "2", 2),
        ("prepare.centre", "plane", "plane"),
        ("prepare.beam_stop", " below 0.3 ", "below 0.3"),
        ("prepare.beam_stop", "1,2 3,4.5 5,6; 0,0 9,0 9,9", "1,2 3,4.5 5,6; 0,0 9,0 9,9"),
        ("prepare.beam_stop", "", None),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: Any) -> None:
    assert Settings.make({name: parse_value(name, text)}).get(name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rank", "2.5"),
        ("rank", "none"),
        ("rank", "many"),
        ("rank", ""),
        ("threshold", "nan"),
        ("threshold", "inf"),
        ("prepare.bin", "1e3"),
        ("prepare.centre", ""),
        ("prepare.beam_stop", "below"),
        ("prepare.beam_stop", "1,2 3,4"),
        ("prepare.beam_stop", "1,2 3,4 5,-6"),
        ("prepare.beam_stop", "1,2 3,4 5,6;"),
    ],
)
def test_text_that_is_no_value_is_refused_with_the_limits(name: str, text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.make({name: parse_value(name, text)})
    assert limits(declaration(name)) in str(caught.value)


@pytest.mark.parametrize("value", ["3,4", (3, 4), [3, 4], (np.int64(3), np.uint8(4))])
def test_two_sizes_are_kept_as_text(value: Any) -> None:
    settings = Settings.make({"scan_shape": value})
    assert settings.data.scan_shape == "3,4"
    assert sizes(settings.data.scan_shape) == (3, 4)
    assert parse_value("scan_shape", " 3, 4 ") == "3,4"
    assert parse_value("scan_shape", "none") is None


def test_settings_come_back_from_toml(tmp_path: Path) -> None:
    settings = Settings.make({n: other_value(n) for n in NAMES})
    lines = []
    for group in GROUPS:
        lines.append(f"[{group}]")
        lines += [f"{n} = {v!r}".replace("'", '"') for n, v in getattr(settings, group).as_dict().items()]
    path = tmp_path / "recipe.toml"
    path.write_text("\n".join(lines))
    assert Settings.make(read_toml(path)) == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[factorize\nrank = 3", "cannot be read as TOML"),
        ("rank = 3", "stands outside a table"),
        ("[factorise]\nrank = 3", "factorise.rank"),
        ("[factorize]\nranks = 3", "factorize.rank"),
        ("[factorize]\nrank = 0", "factorize.rank: 0"),
        ("[factorize]\nrank = 3.0", "factorize.rank: 3.0"),
        ("[factorize.rank]\nvalue = 3", "factorize.rank"),
        ("[cluster]\nthreshold = nan", "cluster.threshold: nan"),
        ("[cluster]\nthreshold = 2024-01-01", "cluster.threshold"),
    ],
)
def test_a_bad_toml_file_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as caught:
        Settings.make(read_toml(path))
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_or_binary_toml_file_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (binary, tmp_path / "absent.toml", tmp_path):
        with pytest.raises(SettingError, match=path.name):
            read_toml(path)
