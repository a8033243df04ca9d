"""Every parameter of the chain, declared once.

Each group is a :class:`param.Parameterized` class whose parameters are constant after construction, so an instance is a
checked, immutable value. :class:`Settings` holds one instance of each group; widgets, command-line options, TOML files,
provenance and help texts are all made from the declarations here.
"""

from __future__ import annotations

import hashlib
import json
import numbers
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from stem4d_panel.by_hand import Moves, Names
from stem4d_panel.errors import SettingError
from stem4d_panel.parameters import Choice, Group, Real, RefusedError, Shape, Text, Whole, limits

_NUMBER = r"\d{1,5}(\.\d{1,6})?"
_POLYGON = rf"{_NUMBER},{_NUMBER}( {_NUMBER},{_NUMBER}){{2,}}"
_BEAM_STOP = rf"^(below {_NUMBER}|{_POLYGON}(; {_POLYGON})*)$"

SHORT_NAMES = {
    "rank": "factorize.rank",
    "threshold": "cluster.threshold",
    "seed": "factorize.seed",
    "scan_shape": "data.scan_shape",
}


class DataSettings(Group):
    """How a file is opened: what it does not say itself."""

    scan_shape = Shape(
        None,
        allow_None=True,
        doc="Positions y,x into which a stack of frames is folded; empty means as the file says.",
    )
    flyback = Whole(
        0,
        bounds=(0, 100_000),
        doc="Frames at the end of each row, beside those of scan_shape, that were taken while the beam went back; they are left out.",
    )
    first_frame = Whole(
        None,
        allow_None=True,
        bounds=(0, 2**40),
        doc="Number of the frame in a stack with which the scan begins; what follows the last row is left out, too. Empty means that the scan takes all frames.",
    )
    detector_shape = Shape(None, allow_None=True, doc="Pixels ky,kx of a frame in a raw binary file.")
    dtype = Choice(
        "uint16",
        objects=[
            "uint8",
            "int8",
            "uint16",
            "int16",
            "uint32",
            "int32",
            "uint64",
            "int64",
            "float16",
            "float32",
            "float64",
        ],
        doc="Data type of a raw binary file.",
    )
    byte_order = Choice("little", objects=["little", "big"], advanced=True, doc="Byte order of a raw binary file.")
    offset = Whole(
        0,
        bounds=(0, 2**50),
        unit="bytes",
        advanced=True,
        doc="What stands before the first frame of a raw binary file.",
    )
    gap = Whole(
        0, bounds=(0, 2**31), unit="bytes", advanced=True, doc="What stands behind each frame of a raw binary file."
    )
    linked = Choice(
        "refuse",
        objects=["refuse", "folder"],
        advanced=True,
        doc="Parts of an HDF5 file that lie in other files: refuse them, or read those in the folder of the file and below.",
    )


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
        objects=["quadratic", "plane", "constant", "smooth", "off"],
        doc="Surface fitted to the direct beam's position over the scan (descan); patterns are brought to one centre along it. 'smooth' follows offsets of rows and slow changes beyond a quadratic surface; 'off' moves nothing.",
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
    align = Choice(
        "even",
        objects=["even", "bilinear", "cubic", "integer", "fourier"],
        advanced=True,
        doc="How a frame is read between its pixels: by a quadratic spline, which blurs and keeps noise alike wherever it reads; bilinear; cubic; the nearest pixel; or by phase ramps, which ring about the direct beam.",
    )
    ellipse = Choice(
        "auto",
        objects=["auto", "given", "off"],
        doc="Elliptical distortion: corrected as measured on the glass ring when it is clear, as given by ellipse_ratio and ellipse_angle, or only measured.",
    )
    ellipse_ratio = Real(
        1.0, bounds=(1.0, 2.0), advanced=True, doc="Long axis over short axis of what should be a ring (ellipse=given)."
    )
    ellipse_angle = Real(
        0.0,
        bounds=(-180.0, 180.0),
        unit="°",
        advanced=True,
        doc="Direction of the long axis, from +kx towards +ky (ellipse=given).",
    )
    beam_stop = Text(
        None,
        allow_None=True,
        regex=_BEAM_STOP,
        example="below 0.3",
        advanced=True,
        doc="Detector pixels left out: 'below 0.3' for the shadows whose mean lies below that part of the bright side of their ring, or the corners ky,kx of polygons in pixels, as in '40,30 90,30 90,36; 0,0 5,0 5,9'.",
    )
    saturated = Choice(
        "keep",
        objects=["keep", "mask"],
        advanced=True,
        doc="Pixels that reach the top of their data type, or a clip level below it: kept with a warning, or left out.",
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
    background = Choice(
        "off",
        objects=["off", "radial"],
        advanced=True,
        doc="Subtract from each pattern, radius by radius, the percentile of its ring; never below zero. What is left is no longer counts and not additive.",
    )
    background_percentile = Real(
        25.0,
        bounds=(0.0, 100.0),
        unit="%",
        advanced=True,
        doc="Percentile over the azimuth that background=radial takes off.",
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
        1,
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

    similarity = Choice(
        "bimodal",
        objects=["bimodal", "patterns", "maps"],
        doc="What is compared: parts on one place are joined as they lie and crystals under rotation; patterns alone; maps alone, under a shift.",
    )
    method = Choice(
        "reintegrate",
        objects=["reintegrate", "average", "complete", "single", "ward"],
        doc="Agglomeration under rotation: correlate again after each merge with the pair rotated onto each other and integrated, or a fixed linkage of the first distances.",
    )
    threshold = Real(
        None,
        allow_None=True,
        bounds=(0.0, 2.0),
        doc="Pseudo-distance (1 - correlation) at which the tree is cut; empty means the suggested one.",
    )
    centring = Choice(
        "equal",
        objects=["equal", "ring", "none"],
        doc="Before correlating: remove the mean of every radius and bring the rings to equal strength, so that places count above intensities; remove the means only; or nothing.",
    )
    noise = Choice(
        "corrected",
        objects=["corrected", "none"],
        advanced=True,
        doc="Divide a correlation by what counting noise leaves of it between equal patterns, so that distances mean the same at any dose.",
    )
    place = Real(
        0.41,
        bounds=(0.0, 1.0),
        advanced=True,
        doc="Correlation of two maps from which they lie on one place (bimodal).",
    )
    glass = Real(
        0.5,
        bounds=(0.0, 1.0),
        advanced=True,
        doc="Components are set apart as glass when less than this part of their pattern's norm is left after the mean of every radius is removed, noise taken off; 0 sets nothing apart.",
    )
    coherence = Real(
        0.5,
        bounds=(-1.0, 1.0),
        advanced=True,
        doc="Components that hold up to .75 there are set apart, too, when their map correlates with itself at three times the resolution by less than this: crystals are larger than the probe, speckle is not.",
    )
    friedel = Choice(
        "off",
        objects=["off", "fold"],
        advanced=True,
        doc="Fold patterns with themselves turned by 180 degrees before they are compared: robust for thin crystals, blind to polarity.",
    )
    mirror = Choice(
        "off",
        objects=["off", "allowed"],
        advanced=True,
        doc="Let patterns match mirrored as well; which do is reported.",
    )
    integrate = Choice(
        "sum",
        objects=["sum", "mean", "energy"],
        advanced=True,
        doc="Weight of a component when branches are integrated: its intensity, one, or the energy of its map.",
    )
    overlap = Real(
        0.25,
        bounds=(0.01, 1.0),
        advanced=True,
        doc="Part of the field two maps must share when one is shifted onto the other.",
    )
    moves = Text(
        None,
        allow_None=True,
        example="3>1, 5>",
        check=Moves.parse,
        advanced=True,
        doc="Components moved by hand: 3>1 into the class of component 1, 5> into a class of its own; with the rank in front, as in '20: 3>1', they are applied at that rank only.",
    )
    names = Text(
        None,
        allow_None=True,
        example="0=B2, 4=icosahedral",
        check=Names.parse,
        advanced=True,
        doc="Names of classes by a component that they hold; of several in one class the strongest gives the name. The rank may stand in front, as in '20: 0=B2'.",
    )


class MeasureSettings(Group):
    """From classes to findings."""

    level = Real(
        0.5,
        bounds=(0.0, 1.0),
        doc="A position belongs to a crystalline class where its located map reaches this part of its maximum.",
    )
    shape = Choice(
        "sphere",
        objects=["sphere", "disc", "gaussian", "sphere-squared"],
        doc="Shape that is blurred by the probe and fitted to each particle's map; a Gaussian's diameter is its full width at half maximum; a sphere squared is for intensities that go as the square of the thickness.",
    )


GROUPS: dict[str, type[Group]] = {
    "data": DataSettings,
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


@lru_cache(maxsize=1000)
def _full(name: str) -> str:
    """The full name of a parameter that is declared."""
    declaration(name)
    return SHORT_NAMES.get(name, name)


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

    data: DataSettings
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
                reason = str(error) if isinstance(error, RefusedError) else ""
                raise _refusal(f"{group}.{short}", value, parameter, reason) from error
            new.setdefault(group, {})[short] = value
        groups = {
            name: GROUPS[name](**{**getattr(self, name).as_dict(), **new[name]}) if name in new else getattr(self, name)
            for name in GROUPS
        }
        named = {SHORT_NAMES.get(name, name) for name in changes}
        return Settings(**groups, explicit=self.explicit | named)

    def get(self, name: str) -> Any:
        """A value by its full or short name."""
        return self._values[_full(name)]

    def as_dict(self) -> dict[str, Any]:
        """All values by full name."""
        return dict(self._values)

    @cached_property
    def _values(self) -> dict[str, Any]:
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
    if isinstance(parameter, Shape) and isinstance(value, (tuple, list)):
        return ",".join(str(int(n)) if isinstance(n, numbers.Integral) else str(n) for n in value)
    return value


def _refusal(name: str, value: Any, parameter: Any, reason: str = "") -> SettingError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    why = f": {reason}" if reason else ""
    return SettingError(f"{name}: {shown} is not allowed{why}; it takes {limits(parameter)}")


def parse_value(name: str, text: str) -> Any:
    """A parameter's value from text, as on the command line; empty or ``none`` means None where that is allowed."""
    parameter = declaration(name)
    if isinstance(parameter, Choice):
        return text
    if parameter.allow_None and text.strip().lower() in ("", "none"):
        return None
    if isinstance(parameter, Text):
        return text.strip()
    if isinstance(parameter, Shape):
        return "".join(text.split())
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
