"""Blurred shapes: what a sphere, a disc or a Gaussian looks like through the probe, and which one a map's particle is.

A map of a particle is its projected shape blurred by the probe, by the smoothing of the frames over the scan, and by
the kernel that limits the resolution of the maps: that one is applied after each least-squares step, so it comes on top.
All three are Gaussian and add in quadrature; the fits take their sum in scan pixels as one width. Without the third, a
point reads as a sphere of 4.5 standard deviations of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from stem4d_panel.errors import DataError, SettingError

SHAPES = ("sphere", "disc", "gaussian", "sphere-squared")
LEAST_BLUR = 12**-0.5  # px, of a scan pixel itself: positions cannot show less
BLUR_KNOWN = 0.05  # relative error of the blur that must not be taken for a size
_FWHM = math.sqrt(8 * math.log(2))  # of a Gaussian, in standard deviations
_POWER = {"disc": 0, "sphere": 1, "sphere-squared": 2}  # of a sphere's thickness
# variance along one axis in parts of the squared diameter
_VARIANCE = {"gaussian": 1 / _FWHM**2} | {shape: 1 / (16 + 4 * power) for shape, power in _POWER.items()}


@dataclass(frozen=True)
class Fit:
    """A blurred shape fitted to one particle; lengths in scan pixels.

    Attributes
    ----------
    centre : tuple of float
        (y, x).
    diameter : float
        Of the sphere or disc; the full width at half maximum of the Gaussian.
    uncertainty : float
        One standard error of the diameter from the residuals, whose correlation between neighbours is counted. An
        error of the blur or of the shape is not in it.
    total, background : float
        Integral of the shape, and the constant below it.
    residual : float
        Norm of what the fit leaves, relative to that of the map less its background.
    at_probe_limit : bool
        A blur 5 % wider would explain the particle without any size, within two standard errors.
    """

    centre: tuple[float, float]
    diameter: float
    uncertainty: float
    total: float
    background: float
    residual: float
    at_probe_limit: bool


def blurred_profile(radii: np.ndarray, radius: float, shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Shape of unit integral blurred by a Gaussian of unit standard deviation, and its derivative by the radius.

    Parameters
    ----------
    radii : ndarray, shape (n,)
        Distances from the centre, in units of the blur.
    radius : float
        Half the diameter, in the same unit; of the Gaussian, its half width at half maximum.
    shape : {"sphere", "disc", "gaussian", "sphere-squared"}
        As in `fit_particle`.

    Notes
    -----
    Convolution of a round shape f with a Gaussian: ``∫ f(q) q exp(-(r² + q²) / 2) I0(r q) dq``, with q = radius sin θ
    by Gauss-Legendre quadrature.
    """
    from scipy.special import i0e, i1e

    if shape == "gaussian":
        part = (2 / _FWHM) ** 2
        variance = 1 + part * radius**2
        value = np.exp(-(radii**2) / (2 * variance)) / (2 * np.pi * variance)
        return value, value * (radii**2 / (2 * variance**2) - 1 / variance) * 2 * part * radius
    nodes, weights = _legendre(24 + 8 * int(3 * radius / 8))
    sine, cosine = np.sin((nodes + 1) * np.pi / 4), np.cos((nodes + 1) * np.pi / 4)
    power = _POWER[shape]
    weights = weights * sine * cosine ** (power + 1) * (power + 2) / 8
    q, r = radius * sine, radii[:, None]
    gauss = np.exp(-((r - q) ** 2) / 2)
    even = gauss * i0e(r * q)
    return even @ weights, (gauss * r * i1e(r * q) - q * even) @ (weights * sine)


@lru_cache(maxsize=64)
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


def blur_of(probe_sigma: float, shape: str) -> float:
    """The blur that a fit reckons with, in scan pixels: never below that of a scan pixel itself.

    Raises
    ------
    SettingError
        If the width or the shape lies outside its limits.
    """
    if not 0 <= probe_sigma < math.inf:
        raise SettingError(f"probe_sigma: is {probe_sigma} px; must be finite and not below 0")
    if shape not in SHAPES:
        raise SettingError(f"shape: is {shape!r}; one of {', '.join(SHAPES)}")
    return max(float(probe_sigma), LEAST_BLUR)


def draw(fit: Fit, y: np.ndarray, x: np.ndarray, blur: float, shape: str) -> np.ndarray:
    """What a fit gives above its background at some positions, shape (n,); all lengths in scan pixels."""
    numbers = np.array([fit.total / blur, 0.0, *fit.centre, fit.diameter / 2]) / blur
    return _model(numbers, y / blur, x / blur, shape)[0]


def fit_particle(image: np.ndarray, window: np.ndarray, probe_sigma: float, shape: str = "sphere") -> Fit | None:
    """Fit amplitude, centre, size and background of a blurred shape by least squares.

    Parameters
    ----------
    image : ndarray, shape (y, x)
    window : ndarray, shape (y, x), bool
        Positions to fit: one particle and some background around it.
    probe_sigma : float
        Standard deviation of all that blurred the map, scan pixels: probe, smoothing of the frames and the kernel that
        limits the maps, in quadrature.
    shape : {"sphere", "disc", "gaussian", "sphere-squared"}
        Profile of the intensity: the projected thickness of a sphere, 2 sqrt(R² - r²), of a disc or of a Gaussian; or
        the square of the sphere's thickness, 4 (R² - r²), as in two-beam diffraction at the Bragg condition from
        crystals thin against the extinction length. There a sphere reads 11 % low, and 5 % where the intensity goes
        with the power 1.45 of the thickness.

    Returns
    -------
    Fit or None
        None where the window holds no particle, or the fit leaves it.

    Raises
    ------
    SettingError
        If the width or the shape lies outside its limits.
    DataError
        If the image is no finite (y, x) array, or the window has another shape.
    """
    from scipy.optimize import least_squares

    blur = blur_of(probe_sigma, shape)
    if image.ndim != 2 or not np.isfinite(image).all():
        raise DataError(f"image: has the shape {image.shape}; needs finite values, (y, x)")
    if window.shape != image.shape:
        raise DataError(f"window: has the shape {window.shape}, the image {image.shape}")
    seen = image[window].astype(np.float64)
    if len(seen) < 12 or np.ptp(seen) <= 1e-9 * np.abs(seen).max():
        return None
    # lengths in units of the blur, intensities in those of the height: numbers of order one
    y, x = (c / blur for c in np.nonzero(window))
    floor = float(np.quantile(seen, 0.1))
    height = float(seen.max()) - floor
    seen = (seen - floor) / height
    core = seen >= 0.5
    area = float(core.sum()) / blur**2
    centre = (np.average(c[core], weights=seen[core]) for c in (y, x))
    start = np.array([area + 2 * np.pi, 0.0, *centre, max(0.5, (area / np.pi) ** 0.5)])

    @lru_cache(maxsize=1)  # values and slopes are asked for one after the other
    def at(numbers: bytes) -> tuple[np.ndarray, np.ndarray]:
        return _model(np.frombuffer(numbers), y, x, shape)

    found = least_squares(
        lambda p: at(p.tobytes())[0] - seen,
        start,
        lambda p: at(p.tobytes())[1],
        method="lm",
        x_scale=(start[0], 1, 1, 1, 1),
        xtol=1e-6,
        ftol=1e-8,
        max_nfev=60,
    )
    total, background, cy, cx, radius = (float(v) for v in found.x)
    radius, edge = abs(radius), 1 / blur
    inside = all(c.min() - edge <= v <= c.max() + edge for c, v in ((y, cy), (x, cx)))
    if not (found.success and total > 0 and radius <= math.hypot(np.ptp(y), np.ptp(x)) and inside):
        return None
    # its square stays linear down to a point; the derivative by it is taken a little off zero
    near = max(radius, 0.05)
    slopes = _model(np.array([total, background, cy, cx, near]), y, x, shape)[1] / (1, 1, 1, 1, 2 * near)
    variance = _covariance(slopes, found.fun, window)[4, 4]
    error = 2 * (math.sqrt(radius**2 + math.sqrt(max(0.0, variance))) - radius)
    least = math.sqrt(((1 + BLUR_KNOWN) ** 2 - 1) / _VARIANCE[shape])
    return Fit(
        centre=(cy * blur, cx * blur),
        diameter=2 * radius * blur,
        uncertainty=error * blur,
        total=total * blur**2 * height,
        background=floor + background * height,
        residual=float(np.linalg.norm(found.fun) / np.linalg.norm(seen - background)),
        at_probe_limit=2 * (radius - error) <= least,
    )


def _model(numbers: np.ndarray, y: np.ndarray, x: np.ndarray, shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Values, shape (n,), and derivatives by (total, background, y, x, radius), shape (n, 5), in units of the blur."""
    from scipy.interpolate import CubicSpline

    total, background, cy, cx, radius = numbers
    dy, dx = y - cy, x - cx
    r = np.hypot(dy, dx)
    # smooth over the blur, so a spline through four points a standard deviation is exact to 1e-5
    grid = np.linspace(0, r.max() + 0.5, 8 + int(4 * r.max()))
    profiles = np.stack(blurred_profile(grid, abs(radius), shape), axis=1)
    spline = CubicSpline(grid, profiles, bc_type=((1, np.zeros(2)), "not-a-knot"))
    value, by_radius = spline(r).T
    slope = -total * spline(r, 1)[:, 0] / np.maximum(r, 1e-12)
    by_size = total * math.copysign(1.0, radius) * by_radius
    return total * value + background, np.stack([value, np.ones_like(r), slope * dy, slope * dx, by_size], axis=1)


def _covariance(slopes: np.ndarray, rest: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Covariance of least squares, shape (5, 5), for noise that is correlated as the residuals are.

    The sandwich of the derivatives, shape (n, 5), with a Gaussian correlation of the noise; its width follows from that
    of next neighbours.
    """
    fields = np.zeros((1 + slopes.shape[1], *window.shape))
    fields[:, window] = np.vstack([rest, slopes.T])
    power = float((rest**2).mean())
    near = _neighbours(fields[0]) / max(_neighbours(window), 1) / max(power, 1e-300)
    kernel = min(max(near, 0.0), 0.95) ** (np.arange(-12, 13) ** 2.0)
    spread = ndimage.correlate1d(fields[1:], kernel, axis=1, mode="constant")
    spread = ndimage.correlate1d(spread, kernel, axis=2, mode="constant")[:, window].T
    inverse, middle = np.linalg.pinv(slopes.T @ slopes), slopes.T @ spread
    freedom = max(len(rest) - float(np.trace(inverse @ middle)), 1.0)
    return np.asarray(inverse @ middle @ inverse * (power * len(rest) / freedom))


def _neighbours(field: np.ndarray) -> float:
    """Sum of the products of next neighbours."""
    return float((field[1:] * field[:-1]).sum() + (field[:, 1:] * field[:, :-1]).sum())
