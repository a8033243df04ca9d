"""What the pattern of a class says by itself: its radial profile, rings, spots, symmetry and part without a centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from stem4d_panel.cluster.polar import Polar, rotate_pattern, to_polar
from stem4d_panel.errors import DataError, SettingError
from stem4d_panel.measure.spots import Ground, Spot, find_spots

SYMMETRIC = 0.6  # least strength of a symmetry that a pattern is said to have
TURNS = {6: (60, 120, 180), 4: (90, 180), 3: (120,), 2: (180,)}  # degrees; the other turns are their opposites
PARALLEL = 10.0  # degrees below which two spots count as one direction
RADIAL_STEP = 0.5  # px
RING_ERRORS = 4.0  # a ring's least height in standard errors of the profile
RING_RANGE = 0.02  # and in parts of the profile's highest value


@dataclass(frozen=True)
class Ring:
    """A maximum of the radial profile.

    Attributes
    ----------
    radius : float
        In px, refined between the samples by a parabola.
    height : float
        Above the higher of the two minima beside it (its prominence).
    width : float
        Full width at half that height, px.
    """

    radius: float
    height: float
    width: float


@dataclass(frozen=True, eq=False)
class Reading:
    """A pattern in numbers.

    Attributes
    ----------
    radii : ndarray, shape (n,)
        In px, every half pixel where pixels are kept.
    profile : ndarray, shape (n,)
        Mean of the kept pixels within a pixel of each radius, the near ones weighted more.
    spread : ndarray, shape (n,)
        Their standard deviation over the azimuth.
    rings : tuple of Ring
        From the innermost outwards.
    spots : tuple of Spot
        From the innermost outwards.
    angle_between : float or None
        Degrees, up to 90, between the two shortest spots that are not parallel; None without two such.
    symmetry : dict of int to float
        Strength of the rotation symmetries 2, 3, 4 and 6; see `symmetry_of`.
    odd : float
        Part of the ring-mean-removed pattern's norm that changes its sign under half a turn: 0 for a centrosymmetric
        pattern, 0.71 where nothing has a partner. Noise adds to it.
    """

    radii: np.ndarray
    profile: np.ndarray
    spread: np.ndarray
    rings: tuple[Ring, ...]
    spots: tuple[Spot, ...]
    angle_between: float | None
    symmetry: dict[int, float]
    odd: float


def read_pattern(
    pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float], noise: np.ndarray | float | None = None
) -> Reading:
    """Read a pattern: profile, rings, spots, symmetry.

    Parameters
    ----------
    pattern : ndarray, shape (ky, kx)
    mask : ndarray, shape (ky, kx), bool
        Pixels that hold data. Nothing outside the inscribed circle is read.
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    noise : ndarray, shape (ky, kx), or float, optional
        Standard deviation of a pixel, where it is known. Without it the scatter within each ring stands for it.

    Raises
    ------
    DataError
        If pattern and mask are not images of one shape, or the pattern is not finite.
    """
    if pattern.ndim != 2 or pattern.shape != mask.shape:
        raise DataError(f"pattern: has the shape {pattern.shape}, its mask {mask.shape}; both need one (ky, kx)")
    if not np.isfinite(pattern[mask]).all():
        raise DataError("pattern: holds values that are not finite at kept pixels")
    spots, ground = find_spots(pattern, mask, centre, noise)
    radii, profile, spread, error = _profile(np.asarray(pattern, np.float64), ground)
    symmetry, odd = symmetry_of(ground, centre)
    return Reading(
        radii=radii,
        profile=profile,
        spread=spread,
        rings=_rings(radii, profile, error),
        spots=spots,
        angle_between=angle_between(spots),
        symmetry=symmetry,
        odd=odd,
    )


def fold_of(symmetry: Mapping[int, float]) -> int:
    """Highest symmetry whose strength reaches 0.6; 1 for none.

    A four- or sixfold pattern is twofold as well, so that the highest is named. Twofold says little: by Friedel's law
    every thin specimen's pattern is. It is the symmetry of the intensities: a crystal tilted off its axis has a lower
    one than its lattice.
    """
    return next((fold for fold in TURNS if symmetry[fold] >= SYMMETRIC), 1)


def symmetry_from_curve(autocorrelation: np.ndarray) -> dict[int, float]:
    """Strength of each rotation symmetry from a pattern's autocorrelation over the angle; noise is not taken off.

    Parameters
    ----------
    autocorrelation : ndarray, shape (angles,)
        1 at no turn.
    """
    angles = len(autocorrelation)
    return {fold: float(min(autocorrelation[d * angles // 360] for d in turns)) for fold, turns in TURNS.items()}


def d_spacing(radius_px: float, scale: float, units: str, wavelength_nm: float | None = None) -> float | None:
    """Lattice spacing in nm that belongs to a radius in a pattern.

    Parameters
    ----------
    radius_px : float
    scale : float
        Detector step, in `units` a pixel of the pattern.
    units : str
        ``1/nm``, where d = 1 / q; ``mrad``, where d = wavelength / angle (Bragg's law for small angles). Anything else
        counts as unknown.
    wavelength_nm : float, optional
        Needed for ``mrad``; see `stem4d_panel.scan.units.wavelength_nm`.

    Returns
    -------
    float or None
        None where it cannot be known, and at the centre.
    """
    size = radius_px * scale
    if not size > 0:
        return None
    if units == "1/nm":
        return 1 / size
    return wavelength_nm / (size * 1e-3) if units == "mrad" and wavelength_nm is not None else None


def angle_between(spots: tuple[Spot, ...]) -> float | None:
    """Angle in degrees, up to 90, between the two shortest spots that are not parallel; None without two such.

    Friedel pairs go before lone spots, among which the false ones are. A pair counts by half the way from one spot to
    the other, which does not depend on the centre.
    """
    at = np.array([(spot.ky, spot.kx) for spot in spots]).reshape(-1, 2)
    pairs = at[[spot.friedel for spot in spots]]
    if len(pairs):
        pairs = (pairs - pairs[np.hypot(*(pairs[:, None] + pairs[None]).T).argmin(axis=0)]) / 2
    for vectors in (pairs, at):
        order = np.argsort(np.hypot(*vectors.T), kind="stable")
        for count, second in enumerate(order):
            for first in order[:count]:
                a, b = vectors[first], vectors[second]
                angle = float(np.rad2deg(np.arctan2(abs(a[0] * b[1] - a[1] * b[0]), abs(a @ b))))
                if angle >= PARALLEL:
                    return angle
    return None


def symmetrised(pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float], fold: int) -> np.ndarray:
    """Pattern averaged over the turns of a symmetry, shape (ky, kx), float32; masked pixels zero.

    Each pixel is the mean over those turns that bring a kept pixel there.

    Raises
    ------
    SettingError
        If the fold is less than 1.
    """
    if fold < 1:
        raise SettingError(f"fold: {fold} is less than 1")
    sums, count = np.where(mask, pattern, 0).astype(np.float64), mask.astype(np.float64)
    for turn in range(1, fold):
        turned, there = _turned(pattern, mask, centre, 360 * turn / fold)
        sums += turned * there
        count += there
    return (sums / np.maximum(count, 1)).astype(np.float32)


def odd_part(pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Half the difference of a pattern and itself turned by 180 degrees, shape (ky, kx), float32.

    0 where it or its opposite is masked. It is what violates Friedel's law.
    """
    turned, there = _turned(pattern, mask, centre, 180)
    return np.where(there, (pattern - turned) / 2, 0).astype(np.float32)


def symmetry_of(ground: Ground, centre: tuple[float, float]) -> tuple[dict[int, float], float]:
    """Strength of each rotation symmetry of a pattern, and its part that is odd under half a turn.

    The pattern, its background taken off and blurred by the width of a spot against noise, is resampled in polar
    coordinates, and the mean of every radius removed. Its correlation with itself turned is taken over what is kept in
    both, weighted by the radius (so that each pixel of the pattern counts once). The strength of a symmetry is the
    least correlation over its turns: 1 for a perfect one, near 0 or below for none.

    Returns
    -------
    symmetry : dict of int to float
        For 6, 4, 3 and 2.
    odd : float
        From 0 to 1.
    """
    if not ground.kept.any():
        return dict.fromkeys(TURNS, 0.0), 0.0
    polar = to_polar(ground.blurred[None], ground.kept, centre)
    kept = _kept_polar(polar, ground.kept, centre)
    values = polar.values[0].astype(np.float64)
    means = (values * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
    values = np.where(kept, values - means[:, None], 0)
    scores: dict[int, float] = {}
    odd = 0.0
    for degrees in (60, 90, 120, 180):
        turn = values.shape[1] * degrees // 360
        other = np.roll(values, turn, axis=1)
        weight = (kept & np.roll(kept, turn, axis=1)) * polar.radii[:, None]
        both, one, two = (float((weight * product).sum()) for product in (values * other, values**2, other**2))
        scores[degrees] = both / float(np.sqrt(one * two)) if one * two > 0 else 0.0
        if degrees == 180 and one > 0:  # here two equals one, since every pair of samples is counted from both ends
            odd = float(np.sqrt(max(0.0, one - both) / (2 * one)))
    return {fold: min(scores[degrees] for degrees in turns) for fold, turns in TURNS.items()}, odd


def _kept_polar(polar: Polar, kept: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Whether the nearest pixel of each polar sample is kept, shape (radii, angles)."""
    phi = np.arange(polar.values.shape[2]) * (2 * np.pi / polar.values.shape[2])
    ky = np.round(centre[0] + polar.radii[:, None] * np.sin(phi)).astype(int)
    kx = np.round(centre[1] + polar.radii[:, None] * np.cos(phi)).astype(int)
    return np.asarray(kept[np.clip(ky, 0, kept.shape[0] - 1), np.clip(kx, 0, kept.shape[1] - 1)])


def _turned(
    pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float], degrees: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pattern turned about the centre, and where both it and the unturned one are kept."""
    if not mask.any():
        return np.zeros(mask.shape), mask
    angle = np.deg2rad(degrees)
    y, x = np.indices(mask.shape)
    dy, dx = y - centre[0], x - centre[1]
    source = [
        centre[0] + np.cos(angle) * dy - np.sin(angle) * dx,
        centre[1] + np.sin(angle) * dy + np.cos(angle) * dx,
    ]
    there = ndimage.map_coordinates(mask.astype(np.uint8), source, order=0, mode="constant") > 0
    return rotate_pattern(pattern, mask, centre, degrees), mask & there


def _profile(pattern: np.ndarray, ground: Ground) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Radii, mean, standard deviation over the azimuth, and standard error of the mean."""
    distance, values = ground.radius[ground.kept], pattern[ground.kept]
    rows = []
    for radius in np.arange(0, distance.max(initial=-1.0) + RADIAL_STEP, RADIAL_STEP):
        weight = np.maximum(1 - np.abs(distance - radius), 0)
        total = float(weight.sum())
        if total > 0.5:  # at least half a pixel
            mean = float((weight * values).sum() / total)
            variance = float((weight * (values - mean) ** 2).sum() / total)
            rows.append((radius, mean, np.sqrt(variance), np.sqrt(variance * float((weight**2).sum())) / total))
    radii, profile, spread, error = np.array(rows).reshape(-1, 4).T
    return radii, profile, spread, error


def _rings(radii: np.ndarray, profile: np.ndarray, error: np.ndarray) -> tuple[Ring, ...]:
    """Maxima of the profile that stand out of its error."""
    from scipy.signal import find_peaks, peak_widths

    if len(profile) < 3:
        return ()
    least = np.maximum(RING_ERRORS * error, RING_RANGE * float(profile.max()))
    peaks, found = find_peaks(profile, prominence=0)
    good = found["prominences"] >= least[peaks]
    peaks, heights = peaks[good], found["prominences"][good]
    widths = peak_widths(profile, peaks, rel_height=0.5)[0] * RADIAL_STEP
    rings = []
    for peak, height, width in zip(peaks, heights, widths, strict=True):
        left, top, right = profile[peak - 1 : peak + 2]
        bend = left - 2 * top + right
        offset = 0.5 * (left - right) / bend if bend < 0 else 0.0
        rings.append(Ring(float(radii[peak] + offset * RADIAL_STEP), float(height), float(width)))
    return tuple(rings)
