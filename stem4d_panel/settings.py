"""Every parameter of the chain, declared once.

Each group is a :class:`param.Parameterized` class whose parameters are constant after construction, so an instance is a
checked, immutable value. :class:`Settings` holds one instance of each group; widgets, command-line options, TOML files,
provenance and help texts are all made from the declarations here.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import param

from stem4d_panel.errors import SettingError

SHORT_NAMES = {"rank": "factorize.rank", "threshold": "cluster.threshold", "seed": "factorize.seed"}


class _Declared:
    """What every parameter here carries beside param's own slots: a unit, and whether it is folded away at first."""

    def __init__(self, default: Any, *, unit: str = "", advanced: bool = False, **options: Any) -> None:
        super().__init__(default=default, constant=True, **options)  # type: ignore[call-arg] # of the param class beside it
        self.unit = unit
        self.advanced = advanced

    if TYPE_CHECKING:  # a group's attribute is the parameter's value

        def __get__(self, group: Any, owner: Any = None) -> Any: ...


class Real(_Declared, param.Number):
    """A finite float; ``None`` only where declared so."""

    __slots__ = ["advanced", "unit"]

    def _validate_value(self, val: Any, allow_None: bool) -> None:
        if val is not None and (isinstance(val, bool) or not isinstance(val, (int, float)) or not math.isfinite(val)):
            raise ValueError("is not a finite number")
        super()._validate_value(val, allow_None)


class Whole(_Declared, param.Integer):
    """An integer, booleans refused; ``None`` only where declared so."""

    __slots__ = ["advanced", "unit"]

    def _validate_value(self, val: Any, allow_None: bool) -> None:
        if isinstance(val, bool):
            raise ValueError("is not a whole number")
        super()._validate_value(val, allow_None)


class Choice(_Declared, param.Selector):
    """One of a few words."""

    __slots__ = ["advanced", "unit"]


class Group(param.Parameterized):
    """Base of the groups: equal by value, immutable after construction."""

    @classmethod
    def declared(cls) -> dict[str, Any]:
        """The group's parameters by name, in the order of declaration."""
        own = [name for name, value in vars(cls).items() if isinstance(value, param.Parameter) and name != "name"]
        return {name: cls.param[name] for name in own}

    def as_dict(self) -> dict[str, Any]:
        """Values by name."""
        return {name: getattr(self, name) for name in self.declared()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.as_dict().values())))


class CalibrationSettings(Group):
    """What the user says of the microscope; empty means "as the file says"."""

    scan_step = Real(
        None,
        allow_None=True,
        bounds=(1e-4, 1e6),
        unit="nm",
        doc="Distance between neighbouring probe positions, both directions.",
    )
    detector_step = Real(
        None, allow_None=True, bounds=(1e-6, 1e4), doc="Size of a detector pixel, in the unit of detector_units."
    )
    detector_units = Choice("1/nm", objects=["1/nm", "mrad"], doc="Unit in which detector_step is given.")
    voltage = Real(
        None,
        allow_None=True,
        bounds=(1.0, 3000.0),
        unit="kV",
        doc="Accelerating voltage; converts mrad and 1/nm into each other.",
    )
    convergence = Real(
        None, allow_None=True, bounds=(1e-3, 200.0), unit="mrad", doc="Convergence semi-angle of the probe."
    )
    probe_size = Real(
        None,
        allow_None=True,
        bounds=(1e-3, 1e4),
        unit="nm",
        doc="FWHM of the probe; else computed from voltage and convergence as 0.51 wavelengths per angle.",
    )


class PrepareSettings(Group):
    """From the measured scan to the frames that are factorised."""

    nonfinite = Choice(
        "refuse",
        objects=["refuse", "mask"],
        advanced=True,
        doc="Values that are not finite: refuse the scan, or leave out the detector pixels that have any.",
    )
    negative = Choice(
        "clip",
        objects=["clip", "refuse"],
        advanced=True,
        doc="Values below zero: set to zero and count them, or refuse the scan.",
    )
    hot_pixels = Choice(
        "repair",
        objects=["repair", "mask", "off"],
        doc="Hot and dead detector pixels: replaced by the mean of their sound neighbours, left out, or kept.",
    )
    hot_ratio = Real(
        2.0,
        bounds=(1.1, 100.0),
        advanced=True,
        doc="A pixel is hot when its mean exceeds that of its brightest neighbour by this factor, dead when it falls below the darkest by as much.",
    )
    centre = Choice(
        "quadratic",
        objects=["quadratic", "plane", "constant", "off"],
        doc="Surface fitted to the direct beam's position over the scan (descan); patterns are brought to one centre along it. 'off' moves nothing.",
    )
    centre_ky = Real(
        None,
        allow_None=True,
        bounds=(0.0, 1e5),
        unit="px",
        advanced=True,
        doc="Row of the direct beam, pixel centres at whole numbers; empty means found in the data.",
    )
    centre_kx = Real(
        None,
        allow_None=True,
        bounds=(0.0, 1e5),
        unit="px",
        advanced=True,
        doc="Column of the direct beam; empty means found in the data.",
    )
    mask_inner = Real(
        None,
        allow_None=True,
        bounds=(0.0, 1e4),
        unit="px",
        doc="Radius of the central disc that is left out; empty means where the direct beam has fallen into the scattering around it.",
    )
    mask_outer = Real(
        None,
        allow_None=True,
        bounds=(1.0, 1e5),
        unit="px",
        doc="Outer radius kept; empty means the largest circle that stays on the detector after alignment.",
    )
    bin = Whole(
        None,
        allow_None=True,
        bounds=(1, 256),
        unit="px",
        doc="Detector pixels summed into one, along each axis; empty means as many as leave at most 64 across.",
    )
    smooth = Real(
        None,
        allow_None=True,
        bounds=(0.0, 20.0),
        unit="px",
        doc="Gaussian smoothing over the scan (standard deviation); empty means 0.8 of the probe's, or 1 px where the probe is unknown.",
    )
    normalise = Choice("off", objects=["off", "position"], doc="Divide each pattern by its counts inside the mask.")
    noise = Choice(
        "keenan-kotula",
        objects=["keenan-kotula", "off", "sqrt"],
        doc="Noise scaling before the factorisation: by the roots of the row and column means (undone in the results), none, or the square root of the data (breaks additivity).",
    )


class FactorizeSettings(Group):
    """Non-negative matrix factorisation."""

    rank = Whole(20, bounds=(1, 1000), doc="Number of components.")
    rank_max = Whole(30, bounds=(2, 1000), advanced=True, doc="Upper end of the rank slider.")
    solver = Choice(
        "hals",
        objects=["hals", "mu", "als", "kl"],
        advanced=True,
        doc="Algorithm: accelerated HALS; multiplicative updates or alternating least squares, for comparison with the papers; Kullback-Leibler divergence, for raw counts.",
    )
    start = Choice(
        "nndsvda",
        objects=["nndsvda", "nndsvd", "random"],
        doc="Initial factors: from a singular value decomposition (zeros filled with the mean, or kept), or random from the seed.",
    )
    starts = Whole(
        3,
        bounds=(1, 100),
        advanced=True,
        doc="Starts tried on the compressed data; the best continues, the others are random.",
    )
    compress = Choice(
        "on",
        objects=["on", "off"],
        advanced=True,
        doc="Factorise the leading singular vectors first and finish on the full data; off iterates on the full data alone.",
    )
    resolution = Real(
        1.0,
        bounds=(0.0, 1.0),
        doc="How strictly maps are held to the probe's resolution: 1 lets no map be finer than 0.8 of the probe, 0 leaves them free.",
    )
    holes = Real(
        1.0,
        bounds=(0.0, 1.0),
        doc="How strictly dark holes in patterns are filled: 1 lifts every pixel to the lower 40 % of its ring, 0 leaves them.",
    )
    max_iter = Whole(
        300, bounds=(1, 100_000), doc="Most iterations on the full data without constraints or compression."
    )
    polish = Whole(
        5,
        bounds=(1, 1000),
        advanced=True,
        doc="Iterations on the full data after the compressed ones, under constraints.",
    )
    tol = Real(
        1e-4,
        bounds=(0.0, 1.0),
        advanced=True,
        doc="Stop when the relative error falls by less than this part of itself over five iterations.",
    )
    seed = Whole(0, bounds=(0, 2**32 - 1), doc="Seed of every random number of the factorisation.")


class ClusterSettings(Group):
    """From components to classes."""

    method = Choice(
        "reintegrate",
        objects=["reintegrate", "average", "complete", "single"],
        doc="Agglomeration: correlate again after each merge with the pair rotated onto each other and integrated, or a fixed linkage of the first distances.",
    )
    centring = Choice(
        "ring",
        objects=["ring", "none"],
        doc="Remove the mean of every radius before correlating (compares the anisotropic part), or correlate as they are.",
    )
    threshold = Real(
        None,
        allow_None=True,
        bounds=(0.0, 2.0),
        doc="Pseudo-distance (1 - correlation) at which the tree is cut; empty means the suggested one.",
    )


class MeasureSettings(Group):
    """From classes to findings."""

    anisotropy = Real(
        0.5,
        bounds=(0.0, 1.0),
        doc="A class counts as crystalline when this part of its pattern's norm is left after the mean of every radius is removed.",
    )
    coherence = Real(
        0.5,
        bounds=(-1.0, 1.0),
        doc="... and its strongest map correlates with itself at three times the resolution by this much: crystals are larger than the probe, speckle of a glass is not.",
    )
    level = Real(
        0.5,
        bounds=(0.0, 1.0),
        doc="A position belongs to a crystalline class where its located map reaches this part of its maximum.",
    )


GROUPS: dict[str, type[Group]] = {
    "calibration": CalibrationSettings,
    "prepare": PrepareSettings,
    "factorize": FactorizeSettings,
    "cluster": ClusterSettings,
    "measure": MeasureSettings,
}


def declared() -> Iterator[tuple[str, Any]]:
    """Every parameter as (full name, declaration)."""
    for group, cls in GROUPS.items():
        for name, parameter in cls.declared().items():
            yield f"{group}.{name}", parameter


def declaration(name: str) -> Any:
    """The declaration of a parameter by its full or short name.

    Raises
    ------
    SettingError
        If there is no such parameter.
    """
    full = SHORT_NAMES.get(name, name)
    group, _, short = full.partition(".")
    if group not in GROUPS or short not in GROUPS[group].declared():
        close = get_close_matches(full, [n for n, _ in declared()], n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(close)}?" if close else f"groups are {', '.join(GROUPS)}"
        raise SettingError(f"{name}: no such parameter; {hint}")
    return GROUPS[group].declared()[short]


def limits(parameter: Any) -> str:
    """In words, what a parameter accepts."""
    if isinstance(parameter, Choice):
        return "one of " + ", ".join(map(str, parameter.objects))
    kind = "a whole number" if isinstance(parameter, Whole) else "a number"
    low, high = parameter.bounds or (None, None)
    text = f"{kind} from {low:.10g} to {high:.10g}" if low is not None and high is not None else kind
    return f"{text}{' ' + parameter.unit if parameter.unit else ''}{', or empty' if parameter.allow_None else ''}"


@dataclass(frozen=True)
class Settings:
    """A checked, immutable set of all parameters.

    `explicit` names those that somebody has set, whatever the value: a default may be clamped where a scan is too small
    for it, a stated value may not.

    Raises
    ------
    SettingError
        From every way of making one, if a name is unknown or a value outside its limits.
    """

    calibration: CalibrationSettings
    prepare: PrepareSettings
    factorize: FactorizeSettings
    cluster: ClusterSettings
    measure: MeasureSettings
    explicit: frozenset[str] = field(default=frozenset(), compare=False)

    @classmethod
    def make(cls, changes: Mapping[str, Any] | None = None) -> Settings:
        """The defaults with `changes` (full or short names) applied."""
        return cls(**{name: group() for name, group in GROUPS.items()}).replace(changes or {})

    def replace(self, changes: Mapping[str, Any]) -> Settings:
        """A copy with `changes` applied; all are accepted, or none."""
        new: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            parameter = declaration(name)
            group, _, short = SHORT_NAMES.get(name, name).partition(".")
            try:
                value = _plain(parameter, value)
                GROUPS[group](**{short: value})
            except (ValueError, TypeError, OverflowError) as error:
                raise _refusal(f"{group}.{short}", value, parameter) from error
            new.setdefault(group, {})[short] = value
        groups = {
            name: GROUPS[name](**{**getattr(self, name).as_dict(), **new[name]}) if name in new else getattr(self, name)
            for name in GROUPS
        }
        named = {SHORT_NAMES.get(name, name) for name in changes}
        return Settings(**groups, explicit=self.explicit | named)

    def get(self, name: str) -> Any:
        """A value by its full or short name."""
        declaration(name)
        group, _, short = SHORT_NAMES.get(name, name).partition(".")
        return getattr(getattr(self, group), short)

    def as_dict(self) -> dict[str, Any]:
        """All values by full name."""
        return {f"{group}.{name}": value for group in GROUPS for name, value in getattr(self, group).as_dict().items()}

    def changes(self) -> dict[str, Any]:
        """The values that differ from the defaults, by full name."""
        plain = Settings.make().as_dict()
        return {name: value for name, value in self.as_dict().items() if value != plain[name]}

    def digest(self, *groups: str) -> str:
        """Hexadecimal digest of the canonical form of `groups` (all of them when none is named)."""
        text = json.dumps({g: getattr(self, g).as_dict() for g in groups or GROUPS}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _plain(parameter: Any, value: Any) -> Any:
    """A number of any kind (NumPy's, a whole one for a real) as Python's own, so that equal settings have equal digests."""
    if isinstance(value, bool):
        return value
    if isinstance(parameter, Real) and isinstance(value, numbers.Real):
        return float(value) + 0.0  # -0.0 becomes 0.0
    if isinstance(parameter, Whole) and isinstance(value, numbers.Integral):
        return int(value)
    return value


def _refusal(name: str, value: Any, parameter: Any) -> SettingError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return SettingError(f"{name}: {shown} is not allowed; it takes {limits(parameter)}")


def parse_value(name: str, text: str) -> Any:
    """A parameter's value from text, as on the command line; empty or ``none`` means None where that is allowed."""
    parameter = declaration(name)
    if isinstance(parameter, Choice):
        return text
    if parameter.allow_None and text.strip().lower() in ("", "none"):
        return None
    try:
        return int(text) if isinstance(parameter, Whole) else float(text)
    except ValueError as error:
        raise _refusal(name, text, parameter) from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """Changes by full name from a TOML file with one table a group.

    Raises
    ------
    SettingError
        If the file cannot be read as TOML, or holds a table or name that does not exist.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingError(f"{path.name}: cannot be read as TOML: {reason}") from error
    changes: dict[str, Any] = {}
    for group, values in tables.items():
        if not isinstance(values, dict):
            raise SettingError(f"{path.name}: {group} stands outside a table; tables are {', '.join(GROUPS)}")
        for name, value in values.items():
            declaration(f"{group}.{name}")
            changes[f"{group}.{name}"] = value
    return changes
