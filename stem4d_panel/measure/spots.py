"""Spots of a diffraction pattern: where they lie, to parts of a pixel, and how far they stand out of their ring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

THRESHOLD = 5.0  # a spot's least height in standard deviations of its ring
CONTRAST = 0.05  # its least height in parts of its ring's background: steps of a smooth halo are no spots
RANGE = 0.01  # its least height in parts of the highest spot's
ROUNDS = 3  # spots are found, taken out of the background, and found again
NARROWEST, WIDEST = 0.7, 5.0  # standard deviation of a spot, px
WINDOW = 0.9  # least width of the window in which a centre is sought, px: a disc of one pixel is hardly sampled
FAMILY_GAP = 0.5  # px between the lengths of spots that count as one family
APERTURE = 2.5  # radius within which a spot is summed, standard deviations


@dataclass(frozen=True)
class Spot:
    """One spot.

    Attributes
    ----------
    ky, kx : float
        Offset from the centre in px.
    radius : float
        Its length, px.
    angle : float
        Degrees in [0, 360) from +kx towards +ky.
    intensity : float
        Sum above the background of its ring.
    snr : float
        Height over the standard deviation of its ring, both after a blur as wide as a spot.
    friedel : bool
        Whether a spot was found at the opposite side of the centre.
    """

    ky: float
    kx: float
    radius: float
    angle: float
    intensity: float
    snr: float
    friedel: bool


@dataclass(frozen=True)
class Family:
    """Spots of about one length: mean radius in px weighted by intensity, their number and summed intensity."""

    radius: float
    count: int
    intensity: float


def families(spots: tuple[Spot, ...]) -> tuple[Family, ...]:
    """Spots gathered by their length, from the innermost outwards; a gap of more than half a pixel parts two families."""
    groups: list[list[Spot]] = []
    for spot in sorted(spots, key=lambda s: s.radius):
        if groups and spot.radius - groups[-1][-1].radius <= FAMILY_GAP:
            groups[-1].append(spot)
        else:
            groups.append([spot])
    out = []
    for group in groups:
        total = sum(s.intensity for s in group)
        radius = sum(s.radius * s.intensity for s in group) / total if total > 0 else group[0].radius
        out.append(Family(radius, len(group), total))
    return tuple(out)


@dataclass(frozen=True, eq=False)
class Ground:
    """A pattern apart from its background.

    Attributes
    ----------
    kept : ndarray, shape (ky, kx), bool
        Pixels that hold data and lie inside the inscribed circle.
    radius : ndarray, shape (ky, kx)
        Distance from the centre in px.
    residual : ndarray, shape (ky, kx)
        Pattern less the median of its ring; 0 where nothing is kept.
    background : ndarray, shape (ky, kx)
    width : float
        Standard deviation of a spot in px.
    blurred : ndarray, shape (ky, kx)
        Residual blurred by a Gaussian of this width.
    noise : ndarray, shape (ky, kx)
        Standard deviation of `blurred` in each ring, from the median absolute deviation or, where it is higher, from
        the statistics of counts; never below a fifth of the least height of a spot.
    """

    kept: np.ndarray
    radius: np.ndarray
    residual: np.ndarray
    background: np.ndarray
    width: float
    blurred: np.ndarray
    noise: np.ndarray


def find_spots(
    pattern: np.ndarray, mask: np.ndarray, centre: tuple[float, float], noise: np.ndarray | float | None = None
) -> tuple[tuple[Spot, ...], Ground]:
    """Spots of a pattern, from the innermost outwards, and the background that they were found on.

    Parameters
    ----------
    pattern : ndarray, shape (ky, kx)
    mask : ndarray, shape (ky, kx), bool
        Pixels that hold data.
    centre : tuple of float
        Direct beam (ky, kx) in pixels.
    noise : ndarray, shape (ky, kx), or float, optional
        Standard deviation of a pixel, where it is known: no ring counts as quieter.

    Notes
    -----
    A spot is a maximum of the pattern less its ring's median, blurred by a Gaussian as wide as the spots (a matched
    filter); the width follows from the pattern's autocorrelation. It must stand five standard deviations out of its
    ring. All this is done three times, each time with the spots found before taken out of the statistics. Its centre is
    the Gaussian-weighted centre of mass, repeated until it rests (the windowed positions of SExtractor: Bertin and
    Arnouts, Astron. Astrophys. Suppl. 117 (1996) 393), from pixels whose opposite about that centre is kept as well.
    Spots that touch a masked pixel with their peak are left out, since their centre cannot be known. Discs that nearly
    fill their ring are not told from its background.
    """
    kept, radius = _inscribed(mask, centre)
    free = kept
    for number in range(ROUNDS):
        ground = _ground(np.asarray(pattern, np.float64), kept, free, radius, noise, crowded=number == 0)
        width = ground.width
        peaks = _peaks(ground)
        free = kept.copy()
        for peak in peaks:
            free &= ~_near(mask.shape, peak, APERTURE * width)
    found: list[tuple[float, float, float, float]] = []
    reach = max(2.0, 2 * width)
    for peak in peaks:  # the highest first
        place = _refined(ground, peak)
        if place is None or any(np.hypot(place[0] - f[0], place[1] - f[1]) < reach for f in found):
            continue
        aperture = kept & _near(mask.shape, place, max(1.5, APERTURE * width))
        found.append((*place, float(ground.residual[aperture].sum()), float((ground.blurred / ground.noise)[peak])))
    return _spots(found, centre, max(1.0, width)), ground


def blur(values: np.ndarray, kept: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur from kept pixels alone; 0 elsewhere."""
    weight = ndimage.gaussian_filter(kept.astype(np.float64), sigma, mode="constant")
    sums = ndimage.gaussian_filter(np.where(kept, values, 0.0), sigma, mode="constant")
    return np.where(kept, sums / np.maximum(weight, 1e-9), 0.0)


def _inscribed(mask: np.ndarray, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Kept pixels inside the inscribed circle, and every pixel's distance from the centre."""
    y, x = np.indices(mask.shape)
    radius = np.hypot(y - centre[0], x - centre[1])
    limit = min(centre[0], centre[1], mask.shape[0] - 1 - centre[0], mask.shape[1] - 1 - centre[1])
    return mask & (radius <= limit), radius


def _rings(
    values: np.ndarray,
    used: np.ndarray,
    radius: np.ndarray,
    half: float,
    least: int = 0,
    of: Callable[[np.ndarray], float] = np.median,
) -> np.ndarray:
    """Median of the used pixels of each ring of 2 `half` px, between the rings interpolated, shape (ky, kx).

    With `least`, the smallest one within so many rings on both sides. With `of`, another statistic than the median.
    """
    known, found = [], []
    distance, kept = radius[used], values[used]
    for ring in range(int(distance.max(initial=0)) + 2):
        inside = kept[np.abs(distance - ring) <= half]
        if inside.size:
            known.append(ring)
            found.append(float(of(inside)))
    if not known:
        return np.zeros(radius.shape)
    lowest = ndimage.minimum_filter1d(np.array(found), 2 * least + 1, mode="nearest")
    return np.asarray(np.interp(radius, known, lowest))


def _counted(
    pattern: np.ndarray, residual: np.ndarray, free: np.ndarray, radius: np.ndarray, sigma: float
) -> np.ndarray:
    """Noise of the blurred pattern if its pixels are counts in an unknown unit, shape (ky, kx).

    The median deviation of a few counts is 0, and their sum reaches further up than a normal law has it. Variance v and
    mean m of a ring give the unit g = v / m; the blur leaves the variance v / 4 pi sigma^2, and the third cumulant is
    g / 3 pi sigma^2 times the variance. The Cornish-Fisher expansion then puts the value at z standard deviations
    higher by (z^2 - 1) / 6 of that factor.
    """
    variance = _rings(residual**2, free, radius, 1.5, of=np.mean)
    mean = _rings(np.abs(pattern), free, radius, 1.5, of=np.mean)
    unit = np.divide(variance, mean, out=np.zeros_like(mean), where=mean > 0)
    skew = (THRESHOLD - 1 / THRESHOLD) / 6 * unit / (3 * np.pi * sigma**2)
    return np.asarray(np.sqrt(variance / (4 * np.pi * sigma**2)) + skew)


def _ground(
    pattern: np.ndarray,
    kept: np.ndarray,
    free: np.ndarray,
    radius: np.ndarray,
    noise: np.ndarray | float | None,
    crowded: bool,
) -> Ground:
    """Background and noise from the `free` pixels; `crowded` while these may hold spots."""
    background = _rings(pattern, free, radius, 0.75)
    residual = np.where(kept, pattern - background, 0.0)
    sigma = _width(residual, kept)
    blurred = blur(residual, kept, sigma)
    # three pixels wide, so that the inmost rings hold enough of them; spots may fill half a ring, so that at first the
    # quietest ring nearby counts
    spread = 1.4826 * _rings(np.abs(blurred), free, radius, 1.5, int(np.ceil(3 * sigma)) if crowded else 0)
    if not crowded:
        spread = np.maximum(spread, _counted(pattern, residual, free, radius, sigma))
    highest = float(blurred.max(initial=0.0))
    floor = np.maximum(RANGE * highest, CONTRAST * np.abs(background)) / THRESHOLD
    if noise is not None:
        variance = np.broadcast_to(np.asarray(noise, np.float64) ** 2, pattern.shape)
        # a blur by sigma divides the variance by the kernel's area, 4 pi sigma^2
        spread = np.maximum(spread, np.sqrt(blur(variance, kept, sigma) / (4 * np.pi * sigma**2)))
    return Ground(kept, radius, residual, background, sigma, blurred, np.maximum(np.maximum(spread, floor), 1e-30))


def _width(residual: np.ndarray, kept: np.ndarray) -> float:
    """Standard deviation of the spots in px, from the autocorrelation over the first pixels.

    Spots of standard deviation s make it exp(-d^2 / 4 s^2) at a distance d. White noise stands at d = 0 alone, which is
    not used.
    """
    size = tuple(2 * n for n in residual.shape)
    pairs = fft.irfft2(np.abs(fft.rfft2(kept.astype(np.float64), size)) ** 2, size)
    products = fft.irfft2(np.abs(fft.rfft2(residual, size)) ** 2, size)
    distance = np.hypot(fft.fftfreq(size[0], 1 / size[0])[:, None], fft.fftfreq(size[1], 1 / size[1]))
    lags = (distance > 0.5) & (distance < 2 * WIDEST) & (pairs > 0.5)
    first = np.abs(distance - 1) < 0.1
    level = float(products[first].sum() / max(float(pairs[first].sum()), 1.0))
    if level <= 0:
        return NARROWEST
    values = products[lags] / pairs[lags] / level
    far = distance[lags] ** 2
    # only up to where it first falls below a third: beyond lie other spots
    end = far[values < 1 / 3].min(initial=np.inf)
    near = (far < end) | (far < 2.1)
    values, far = np.maximum(values[near], 1e-3), far[near]
    if len(np.unique(np.round(far, 6))) < 2:  # a mask one pixel wide
        return NARROWEST
    slope = float(np.polyfit(far, np.log(values), 1, w=np.sqrt(values))[0])
    return float(np.clip(np.sqrt(-1 / (4 * slope)), NARROWEST, WIDEST)) if slope < 0 else NARROWEST


def _near(shape: tuple[int, ...], place: tuple[float, float], reach: float) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((y - place[0]) ** 2 + (x - place[1]) ** 2 <= reach**2)


def _peaks(ground: Ground) -> list[tuple[int, int]]:
    """Pixels of maxima above the threshold, the highest first."""
    high, kept = ground.blurred, ground.kept
    reach = int(np.ceil(max(1.0, ground.width)))
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    top = ndimage.maximum_filter(high, footprint=y * y + x * x <= reach * reach + 1, mode="constant")
    whole = ndimage.binary_erosion(kept)  # the four neighbours kept too
    at = np.argwhere(whole & (high >= top) & (high >= THRESHOLD * ground.noise) & (high > 0))
    order = np.argsort(-high[tuple(at.T)], kind="stable")
    return [(int(i), int(j)) for i, j in at[order]]


def _refined(ground: Ground, peak: tuple[int, int]) -> tuple[float, float] | None:
    """Centre of a spot to parts of a pixel; None where it leaves its peak or what is kept."""
    ny, nx = ground.kept.shape
    width = max(ground.width, WINDOW)
    reach = int(np.ceil(3 * width))
    y, x = np.mgrid[
        max(0, peak[0] - reach) : min(ny, peak[0] + reach + 1), max(0, peak[1] - reach) : min(nx, peak[1] + reach + 1)
    ]
    values = ground.residual[y, x]
    at = np.array(peak, float)
    for _ in range(30):
        mirror_y, mirror_x = np.round(2 * at[0] - y).astype(int), np.round(2 * at[1] - x).astype(int)
        there = (mirror_y >= 0) & (mirror_y < ny) & (mirror_x >= 0) & (mirror_x < nx)
        there &= ground.kept[np.clip(mirror_y, 0, ny - 1), np.clip(mirror_x, 0, nx - 1)] & ground.kept[y, x]
        weight = there * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * width**2)) * values
        total = float(weight.sum())
        if total <= 0:
            return None
        # under a window as wide as the spot the centre of mass goes half the way
        step = 2 * np.array([(weight * (y - at[0])).sum(), (weight * (x - at[1])).sum()]) / total
        at = at + step
        if np.abs(at - peak).max() > max(1.0, ground.width):
            return None
        if np.abs(step).max() < 1e-3:
            break
    return (float(at[0]), float(at[1])) if ground.kept[round(at[0]), round(at[1])] else None


def _spots(
    found: list[tuple[float, float, float, float]], centre: tuple[float, float], tolerance: float
) -> tuple[Spot, ...]:
    """Spots with their polar place and partners, from the innermost outwards."""
    at = np.array([(f[0] - centre[0], f[1] - centre[1]) for f in found]).reshape(-1, 2)
    paired = (np.hypot(*(at[:, None] + at[None]).T) <= tolerance).any(axis=0) if len(at) else np.zeros(0, bool)
    spots = [
        Spot(
            ky=float(ky),
            kx=float(kx),
            radius=float(np.hypot(ky, kx)),
            angle=float(np.rad2deg(np.arctan2(ky, kx)) % 360),
            intensity=intensity,
            snr=snr,
            friedel=bool(partner),
        )
        for (ky, kx), (_, _, intensity, snr), partner in zip(at, found, paired, strict=True)
    ]
    return tuple(sorted(spots, key=lambda spot: (spot.radius, spot.angle)))
