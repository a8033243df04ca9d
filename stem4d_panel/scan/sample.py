"""The built-in sample: a simulated 4D-STEM scan of an annealed Zr-Cu-Al glass, with its truth.

What is simulated
-----------------
A foil of glass holds spherical crystals of three kinds (a structure seen along a zone axis), turned at random in the
plane and tilted a little. At a probe position the expected pattern is the sum of

* the direct beam: the disc of the convergence angle, softened by the detector's point spread, holding whatever is not
  scattered;
* the halo of the glass: two rings under a speckle that is correlated over the probe and over the disc, obeys Friedel's
  law and moves with the specimen, scaled by the thickness of glass left there;
* a smooth background that falls from the centre, the same everywhere;
* the spots of each crystal: discs at its reciprocal lattice points, scaled by the crystal's chord blurred by the probe.

The direct beam wanders smoothly over the scan (descan), a few detector pixels are hot, and the counts are Poisson.

Limits
------
Scattering is kinematic and single, and linear in thickness: no dynamical effect, no double diffraction between crystals
that lie above each other, no interference inside a disc and none between glass and crystal. Atoms scatter in proportion
to their atomic number under one Gaussian envelope, which stands for form factor and thermal motion. Tilt enters through
the excitation errors of a sphere's shape transform alone and does not move the spots. The speckle has the size and
strength of a glass's, but no medium-range order. The probe is a Gaussian in real space. Foil and background are even;
there is no ellipticity, no strain, no drift, no detector gain. Crystals that overlap in projection are taken to lie at
different depths; depth is not otherwise modelled. All of this makes the sample easier than a foil: it is made for trying,
teaching and testing, not for conclusions about Zr-Cu-Al.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stem4d_panel.errors import SettingError
from stem4d_panel.runtime.threads import blas_threads, map_blocks
from stem4d_panel.scan.scan import Axis, Scan
from stem4d_panel.scan.truth import Crystal, Truth
from stem4d_panel.scan.units import wavelength_nm

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SCAN = 64  # positions a side
DETECTOR = 96  # pixels a side
SCAN_STEP = 0.55  # nm
DETECTOR_STEP = 0.22  # 1/nm
VOLTAGE = 300.0  # kV
CONVERGENCE = 1.0  # mrad
PROBE_SIGMA = 0.45  # nm; FWHM 1.06 nm, near that of the Airy disc for the angle above
FOIL = 15.0  # nm
MOST_CRYSTALS = 14
MOST_ELECTRONS = 1e6

_PIXEL = (DETECTOR - 1) / 2
_DISC = CONVERGENCE * 1e-3 / wavelength_nm(VOLTAGE) / DETECTOR_STEP  # radius of the direct disc, px
_POINT_SPREAD = 0.7  # standard deviation, px
_DESCAN = 1.2  # largest excursion along each axis, px
_HALO = 0.16  # part of the electrons scattered into the halo by the whole foil
_BACKGROUND = 0.05  # part of the electrons in the smooth background
_CRYSTAL = 1.6e-9  # part of the electrons a spot of unit strength takes for each nm of crystal
_ENVELOPE = 8.5  # 1/nm; amplitudes fall to 1/e there
_TILT = math.radians(1.2)  # largest tilt off the zone axis
_SPECKLE = 0.4  # standard deviation of the halo's speckle over its mean
_GRAIN = 2.0  # px between the speckle's independent values before they are blurred over the disc
_DIAMETERS = (5.8, 8.2)  # nm
_HOT = 5


@dataclass(frozen=True)
class Zone:
    """A structure seen along a zone axis.

    Attributes
    ----------
    cell : tuple of float
        Edges of the orthogonal unit cell in nm.
    atoms : tuple
        (atomic number, x, y, z) with fractional coordinates.
    axis, reference : tuple of int
        The zone axis [uvw], and the reflection hkl in it from which rotations are counted.
    fold : int
        Rotational symmetry of the pattern at no tilt.
    """

    name: str
    cell: tuple[float, float, float]
    atoms: tuple[tuple[int, float, float, float], ...]
    axis: tuple[int, int, int]
    reference: tuple[int, int, int]
    fold: int

    def spots(self) -> tuple[Doubles, Doubles]:
        """Reflections that reach the detector.

        Returns
        -------
        g : ndarray, shape (n, 2)
            Along the reference and a quarter turn from it, in 1/nm.
        strength : ndarray, shape (n,)
            Squared modulus of the structure factor over the cell's volume, in 1/nm^6.
        """
        reach = DETECTOR / 2 * DETECTOR_STEP
        most = [int(reach * edge) + 1 for edge in self.cell]
        hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), -1).reshape(-1, 3)
        hkl = hkl[(hkl @ np.array(self.axis) == 0) & hkl.any(axis=1)]
        along = np.array(self.reference) / self.cell
        normal = np.array(self.axis) * self.cell
        across = np.cross(normal, along)
        frame = np.stack([along / np.linalg.norm(along), across / np.linalg.norm(across)], 1)
        g = (hkl / self.cell) @ frame
        length = np.linalg.norm(g, axis=1)
        numbers, places = np.array([a[0] for a in self.atoms]), np.array([a[1:] for a in self.atoms])
        amplitude = np.abs(np.exp(2j * np.pi * hkl @ places.T) @ numbers) * np.exp(-((length / _ENVELOPE) ** 2))
        strength = (amplitude / math.prod(self.cell)) ** 2
        seen = (length < reach) & (strength > 1e-3 * strength.max())
        return g[seen], strength[seen]


# lattice parameters in nm: CuZr from 0.326, CuZr2 (MoSi2 type, Zr at z = 0.346) from 0.322 and 1.118
_B2 = ((29, 0.0, 0.0, 0.0), (40, 0.5, 0.5, 0.5))
_C11B = tuple((n, t, t, (z + t) % 1) for n, z in ((29, 0.0), (40, 0.346), (40, -0.346)) for t in (0.0, 0.5))
ZONES = (
    Zone("CuZr B2 [001]", (0.326,) * 3, _B2, (0, 0, 1), (1, 1, 0), 4),
    Zone("CuZr B2 [111]", (0.326,) * 3, _B2, (1, 1, 1), (1, -1, 0), 6),
    Zone("CuZr2 C11b [110]", (0.322, 0.322, 1.118), _C11B, (1, 1, 0), (0, 0, 6), 2),
)


def sample_scan(seed: int = 0, *, electrons: float = 400.0, crystals: int = 10) -> Scan:
    """Simulate a scan of 64 × 64 positions and 96 × 96 pixels, with its truth.

    Parameters
    ----------
    seed : int
        The same seed and parameters give the same bytes, whatever the number of threads.
    electrons : float
        Electrons that meet the specimen at each position.
    crystals : int
        How many crystals the glass holds, 0 for glass alone. From 2 on, at least two overlap in projection; from 6 on,
        each of the three kinds is there twice or more.

    Returns
    -------
    Scan
        uint16 counts in the order y, x, ky, kx, calibrated in nm and 1/nm, with `Scan.truth`.

    Raises
    ------
    SettingError
        If a parameter lies outside its limits.
    """
    _check(seed, electrons, crystals)
    layout, grains, counts = np.random.SeedSequence(seed).spawn(3)
    rng = np.random.default_rng(layout)
    truth = _truth(rng, crystals)
    with blas_threads(1):  # the sums of a product may depend on the threads that share it
        patterns = np.array([_crystal_pattern(rng, c) for c in truth.crystals]).reshape(-1, DETECTOR, DETECTOR)
        hot = np.zeros((DETECTOR, DETECTOR), np.float32)
        hot[tuple(truth.hot_pixels.T)] = electrons * rng.uniform(0.008, 0.02, len(truth.hot_pixels))
        model = _Model(truth, patterns.astype(np.float32), hot, _noise(grains), electrons)
        data = _draw(model, counts)
    y, x = (Axis(name, SCAN, SCAN_STEP, 0.0, "nm", "file") for name in "yx")
    ky, kx = (Axis(name, DETECTOR, DETECTOR_STEP, -_PIXEL * DETECTOR_STEP, "1/nm", "file") for name in ("ky", "kx"))
    instrument = {"voltage": VOLTAGE, "convergence": CONVERGENCE}
    other = "" if (electrons, crystals) == (400.0, 10) else f", {electrons:g} electrons, {crystals} crystals"
    return Scan(data, (y, x, ky, kx), name=f"sample (seed {seed}{other})", instrument=instrument, truth=truth)


def _check(seed: int, electrons: float, crystals: int) -> None:
    if not 0 <= seed < 2**32:
        raise SettingError(f"seed: {seed!r} is not allowed; it takes a whole number from 0 to {2**32 - 1}")
    if not 1 <= electrons <= MOST_ELECTRONS:
        raise SettingError(f"electrons: {electrons!r} is not allowed; it takes a number from 1 to {MOST_ELECTRONS:g}")
    if not 0 <= crystals <= MOST_CRYSTALS:
        raise SettingError(f"crystals: {crystals!r} is not allowed; it takes a whole number from 0 to {MOST_CRYSTALS}")


def _truth(rng: np.random.Generator, count: int) -> Truth:
    """Draw crystals, descan and hot pixels."""
    diameters = rng.uniform(*_DIAMETERS, count)
    centres = _place(rng, diameters)
    first = int(rng.integers(len(ZONES)))
    kinds = [(first + i) % len(ZONES) for i in range(count)]  # so that no overlapping pair is of one kind
    rotations = _rotations(rng, kinds)
    made = tuple(
        Crystal(ZONES[k].name, r, ZONES[k].fold, float(d), (float(c[0]), float(c[1])))
        for k, r, d, c in zip(kinds, rotations, diameters, centres, strict=True)
    )
    chord = np.array([_chord(c) for c in made]).reshape(-1, SCAN, SCAN)
    return Truth(made, chord, _descan(rng), _hot_pixels(rng), SCAN_STEP)


def _place(rng: np.random.Generator, diameters: Doubles) -> Doubles:
    """Centres (y, x) in nm, shape (n, 2): whole inside the field, apart but for one or two overlapping pairs."""
    field = (SCAN - 1) * SCAN_STEP
    partners = {1: 0, 3: 2} if len(diameters) > 3 else {1: 0}
    centres = np.zeros((0, 2))
    for i, diameter in enumerate(diameters):
        room = 1.02
        while True:
            centre = rng.uniform(diameter / 2, field - diameter / 2, 2)
            if i in partners:
                other = partners[i]
                angle = rng.uniform(0, 2 * np.pi)
                reach = rng.uniform(0.55, 0.75) * (diameter + diameters[other]) / 2
                centre = centres[other] + reach * np.array([math.sin(angle), math.cos(angle)])
            free = np.ones(i, bool)
            if i in partners:
                free[partners[i]] = False
            needed = room * (diameter + diameters[:i]) / 2
            inside = bool(np.all(np.abs(centre - field / 2) <= (field - diameter) / 2))
            if inside and bool(np.all(np.linalg.norm(centres - centre, axis=1)[free] >= needed[free])):
                break
            room *= 0.9995  # a crowded field must end too
        centres = np.vstack([centres, centre])
    return centres


def _rotations(rng: np.random.Generator, kinds: list[int]) -> list[float]:
    """In-plane rotations in degrees, [0, 360/fold): at random, those of one kind kept apart."""
    turns = [0.0] * len(kinds)
    for kind, zone in enumerate(ZONES):
        members = [i for i, k in enumerate(kinds) if k == kind]
        period = 360 / zone.fold
        start = rng.uniform(0, period)
        for slot, i in enumerate(rng.permutation(members).tolist()):
            turns[i] = float((start + period * (slot + rng.uniform(-0.25, 0.25)) / len(members)) % period)
    return turns


def _chord(crystal: Crystal) -> Doubles:
    """Projected thickness of a sphere in nm, shape (y, x)."""
    y, x = np.indices((SCAN, SCAN)) * SCAN_STEP
    off = (y - crystal.centre[0]) ** 2 + (x - crystal.centre[1]) ** 2
    chord: Doubles = 2 * np.sqrt(np.maximum(crystal.diameter**2 / 4 - off, 0))
    return chord


def _descan(rng: np.random.Generator) -> Doubles:
    """Quadratic wander of the direct beam (ky, kx) over the scan in px, shape (2, y, x)."""
    v, u = np.indices((SCAN, SCAN)) / (SCAN - 1) * 2 - 1
    terms = np.stack([np.ones_like(u), v, u, v * v, u * v, u * u])
    weights = rng.uniform(0.4, 1, (2, 6)) * rng.choice([-1, 1], (2, 6)) * [0.2, 1, 1, 0.5, 0.5, 0.5]
    surface = np.tensordot(weights, terms, 1)
    descan: Doubles = _DESCAN * surface / np.abs(surface).max(axis=(1, 2), keepdims=True)
    return descan


def _hot_pixels(rng: np.random.Generator) -> NDArray[np.intp]:
    """Detector pixels (ky, kx), shape (h, 2), away from the direct beam, the border and each other."""
    ky, kx = np.indices((DETECTOR, DETECTOR))
    radius = np.hypot(ky - _PIXEL, kx - _PIXEL)
    pixels = np.argwhere((radius > 10) & (radius < _PIXEL - 4))
    chosen: list[NDArray[np.intp]] = []
    for pixel in rng.permutation(pixels):
        if all(np.abs(pixel - other).max() > 3 for other in chosen):
            chosen.append(pixel)
        if len(chosen) == _HOT:
            break
    return np.array(chosen)


def _disc(distance: Doubles) -> Doubles:
    """Profile of the direct disc, softened by the point spread and of unit sum, at a distance in px from its centre."""
    from scipy.special import erfc

    area = np.pi * (_DISC**2 + _POINT_SPREAD**2)  # of the profile over the plane, to 1e-3 for a disc this wide
    profile: Doubles = erfc((distance - _DISC) / (math.sqrt(2) * _POINT_SPREAD)) / 2 / area
    return profile


def _crystal_pattern(rng: np.random.Generator, crystal: Crystal) -> Doubles:
    """Part of the electrons that a nm of a crystal sends into each pixel, shape (ky, kx); its tilt is drawn here.

    A sphere of radius R keeps exp(-(2 pi s R)^2 / 5) of a reflection with excitation error s (its shape transform to
    second order), with s = g . tilt - wavelength g^2 / 2.
    """
    zone = next(z for z in ZONES if z.name == crystal.class_name)
    g, strength = zone.spots()
    size, towards = _TILT * math.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
    error = g @ (size * np.array([math.cos(towards), math.sin(towards)])) - wavelength_nm(VOLTAGE) / 2 * (g**2).sum(1)
    strength = _CRYSTAL * strength * np.exp(-((np.pi * error * crystal.diameter) ** 2) / 5)
    turn = math.radians(crystal.rotation)
    kx = (g[:, 0] * math.cos(turn) - g[:, 1] * math.sin(turn)) / DETECTOR_STEP + _PIXEL
    ky = (g[:, 0] * math.sin(turn) + g[:, 1] * math.cos(turn)) / DETECTOR_STEP + _PIXEL
    pixel = np.arange(DETECTOR)
    distance = np.hypot(pixel[:, None] - ky[:, None, None], pixel - kx[:, None, None])
    return np.tensordot(strength, _disc(distance), 1)


def _glass_patterns() -> tuple[Doubles, Doubles]:
    """Halo and background, each of unit sum, shape (ky, kx)."""
    ky, kx = (np.indices((DETECTOR, DETECTOR)) - _PIXEL) * DETECTOR_STEP
    k = np.hypot(ky, kx)
    rings = ((1.0, 4.26, 0.62), (0.2, 7.3, 1.1), (0.08, 0.0, 8.0))  # height, place and width in 1/nm
    halo = np.sum([height * np.exp(-(((k - place) / width) ** 2)) for height, place, width in rings], axis=0)
    background = np.exp(-k / 1.8)
    return halo / halo.sum(), background / background.sum()


def _rows_of(points: Doubles, centres: Doubles, sigma: float) -> Floats:
    """Gaussian weights from `centres` to `points`, shape (points, centres), each row of unit norm."""
    weights = np.exp(-((points[:, None] - centres) ** 2) / (2 * sigma**2))
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), np.float32)


@dataclass(frozen=True, eq=False)
class _Speckle:
    """White noise over scan and detector, and the kernels that blur it over the probe and over the disc.

    `noise` has the shape (y + 2 r, x + 2 r, m, m) with the probe's kernel reaching r positions; `probe` (2 r + 1,),
    `across` (x, x + 2 r), `disc` (ky, m).
    """

    noise: Floats
    probe: Floats
    across: Floats
    disc: Floats

    def row(self, y: int) -> Floats:
        """Find the factor on the halo along a row of the scan, mean 1, shape (x, ky, kx)."""
        m = self.noise.shape[-1]
        field: Floats = np.tensordot(self.probe, self.noise[y : y + len(self.probe)], 1)
        field = np.asarray(self.across @ field.reshape(len(field), -1)).reshape(-1, m, m)
        field = np.asarray(self.disc @ field @ self.disc.T)
        share = 1 - math.sqrt(1 - _SPECKLE**2 / 2)  # (a + b n)^2 with a^2 + b^2 = 1 has the variance 4 b^2 - 2 b^4
        field *= np.float32(math.sqrt(share))
        field += np.float32(math.sqrt(1 - share))
        return np.asarray(np.square(field, out=field))


def _noise(seed: np.random.SeedSequence) -> _Speckle:
    """Draw the white noise, each row of the scan from its own random numbers."""
    sigma = PROBE_SIGMA / SCAN_STEP
    reach = math.ceil(3 * sigma)
    rows = SCAN + 2 * reach
    blur = math.hypot(_DISC / 2, _POINT_SPREAD)  # a disc's standard deviation along a line is half its radius
    half = _GRAIN * math.ceil((_PIXEL + 2 * blur) / _GRAIN)
    grains = np.arange(-half + _GRAIN / 2, half, _GRAIN)  # even in number and symmetric, for the pairs of Friedel's law
    noise = np.empty((rows, rows, len(grains), len(grains)), np.float32)
    children = seed.spawn(rows)

    def draw(start: int, stop: int) -> None:
        for i in range(start, stop):
            white = np.random.default_rng(children[i]).standard_normal(noise.shape[1:], np.float32)
            np.add(white, white[:, ::-1, ::-1], out=noise[i])
            noise[i] *= np.float32(math.sqrt(0.5))

    map_blocks(draw, rows, 1)
    place = np.arange(-reach, SCAN + reach, dtype=float)
    probe = _rows_of(np.zeros(1), np.arange(-reach, reach + 1, dtype=float), sigma)[0]
    across = _rows_of(np.arange(SCAN, dtype=float), place, sigma)
    disc = _rows_of(np.arange(DETECTOR, dtype=float) - _PIXEL, np.asarray(grains, float), blur)
    return _Speckle(noise, probe, across, disc)


@dataclass(frozen=True, eq=False)
class _Model:
    """What the expected counts are made from; `patterns` (n, ky, kx) per nm, `hot` (ky, kx) in electrons."""

    truth: Truth
    patterns: Floats
    hot: Floats
    speckle: _Speckle
    electrons: float


def _draw(model: _Model, seed: np.random.SeedSequence) -> NDArray[np.uint16]:
    """Draw the counts of the whole scan, each row from its own random numbers."""
    from scipy.ndimage import gaussian_filter

    chords = model.truth.chord
    sigma = PROBE_SIGMA / SCAN_STEP
    thickness = gaussian_filter(chords, (0, sigma, sigma)) if len(chords) else chords
    halo, background = (p.astype(np.float32) for p in _glass_patterns())
    children = seed.spawn(SCAN)
    data = np.empty((SCAN, SCAN, DETECTOR, DETECTOR), np.uint16)

    def row(start: int, stop: int) -> None:
        for y in range(start, stop):
            here = thickness[:, y].T.astype(np.float32)
            glass = np.float32(_HALO) * (1 - here.sum(1) / np.float32(FOIL))
            expected = model.speckle.row(y)
            expected *= halo
            expected *= glass[:, None, None]
            expected += np.tensordot(here, model.patterns, 1)
            expected += np.float32(_BACKGROUND) * background
            descan = model.truth.descan[:, y]
            left = 1 - expected.sum(axis=(1, 2), dtype=np.float64)
            expected = _shifted(expected, descan)
            _add_direct(expected, descan, left)
            expected *= np.float32(model.electrons)
            expected += model.hot
            drawn = np.random.default_rng(children[y]).poisson(expected)
            data[y] = np.minimum(drawn, np.iinfo(np.uint16).max)

    map_blocks(row, SCAN, 1)
    return data


def _shifted(patterns: Floats, descan: Doubles) -> Floats:
    """Patterns (n, ky, kx) moved by `descan` (2, n) px, never negative.

    By phase ramps, which suits patterns that are smooth on the scale of a pixel; the direct beam is not and is drawn in
    its place instead.
    """
    from scipy import fft

    spectrum = fft.rfft2(patterns, workers=1)
    ky, kx = np.fft.fftfreq(DETECTOR), np.fft.rfftfreq(DETECTOR)
    spectrum *= np.exp(-2j * np.pi * descan[0][:, None] * ky).astype(np.complex64)[:, :, None]
    spectrum *= np.exp(-2j * np.pi * descan[1][:, None] * kx).astype(np.complex64)[:, None, :]
    moved = fft.irfft2(spectrum, s=patterns.shape[1:], workers=1, overwrite_x=True)
    return np.asarray(np.maximum(moved, 0, out=moved))


def _add_direct(patterns: Floats, descan: Doubles, weight: Doubles) -> None:
    """Add the direct disc, moved by `descan` (2, n) px, to patterns (n, ky, kx) in place."""
    reach = math.ceil(_DISC + 6 * _POINT_SPREAD + _DESCAN)
    window = slice(DETECTOR // 2 - reach, DETECTOR // 2 + reach)
    pixel = np.arange(DETECTOR)[window] - _PIXEL
    distance = np.hypot((pixel - descan[0][:, None])[:, :, None], (pixel - descan[1][:, None])[:, None, :])
    patterns[:, window, window] += (weight[:, None, None] * _disc(distance)).astype(np.float32)
