"""Hot and dead detector pixels: found in the mean pattern, repaired from their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stem4d_panel.prepare.survey import Survey

_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


@dataclass(frozen=True, eq=False)
class BadPixels:
    """Detector pixels (ky, kx) found to be hot or dead, shape (n, 2) each."""

    hot: np.ndarray
    dead: np.ndarray

    @property
    def all(self) -> np.ndarray:
        """Hot pixels, then dead ones, shape (n, 2)."""
        return np.concatenate([self.hot, self.dead])

    def mask(self, shape: tuple[int, int]) -> np.ndarray:
        """True where a pixel is hot or dead."""
        out = np.zeros(shape, bool)
        out[tuple(self.all.T)] = True
        return out


NO_BAD_PIXELS = BadPixels(np.zeros((0, 2), int), np.zeros((0, 2), int))


def _neighbours(image: np.ndarray, fill: float) -> np.ndarray:
    """The eight neighbours of every pixel, shape (8, ky, kx), `fill` beyond the edge."""
    padded = np.pad(image, 1, constant_values=fill)
    ny, nx = image.shape
    return np.stack([padded[1 + dy : 1 + dy + ny, 1 + dx : 1 + dx + nx] for dy, dx in _AROUND])


def find_bad_pixels(mean: np.ndarray, positions: int, ratio: float, survey: Survey | None = None) -> BadPixels:
    """Pixels that no optics can make: far above the brightest, or far below the darkest, of their eight neighbours.

    A point spread and a moving beam keep neighbours alike in the mean pattern, even in sharp spots. A difference counts
    only beyond five standard deviations of the mean of Poisson counts.

    Parameters
    ----------
    mean : ndarray, shape (ky, kx)
        Mean pattern in counts.
    positions : int
        Number of patterns in the mean.
    ratio : float
        Factor above the brightest (below the darkest) neighbour.
    survey : Survey, optional
        Its variances are judged as well: a pixel is also hot when its variance exceeds that of its most varying neighbour
        by the square of the factor (noisy), dead when it falls below the least by as much (stuck). A single event, such
        as a cosmic ray, makes no pixel hot.
    """
    brightest = _neighbours(mean, -np.inf).max(axis=0)
    hot = _beyond(mean, brightest, ratio, positions)
    # a hot neighbour must not make sound pixels look dead
    calm = np.where(hot, np.inf, mean)
    darkest = _neighbours(calm, np.inf).min(axis=0)
    dead = ~hot & np.isfinite(darkest) & _beyond(np.where(np.isfinite(darkest), darkest, 0), mean, ratio, positions)
    if survey is not None:
        noisy, stuck = _odd_variance(survey, positions, ratio**2)
        hot, dead = hot | noisy, (dead | stuck) & ~(hot | noisy)
    return BadPixels(np.argwhere(hot), np.argwhere(dead))


def _odd_variance(survey: Survey, positions: int, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that vary far more than the most varying neighbour, and far less than the least."""
    variance = survey.variance.astype(np.float64)
    lone = (survey.maximum - survey.mean).astype(np.float64) ** 2 / positions  # what the largest value alone adds
    # of counts, and of what varies besides: standard deviation of a variance
    doubt = np.sqrt((variance + 2 * variance**2) / positions)
    noisy = (
        variance - lone > ratio * _neighbours(variance + 5 * doubt, -np.inf).max(axis=0) + 5 * doubt + 25 / positions
    )
    calm = np.where(noisy, np.inf, variance - lone - 5 * doubt)
    least = _neighbours(calm, np.inf).min(axis=0)
    stuck = ~noisy & np.isfinite(least) & (least > ratio * (variance + 5 / positions))
    return noisy, stuck


def _beyond(high: np.ndarray, low: np.ndarray, ratio: float, positions: int) -> np.ndarray:
    high, low = np.maximum(high, 0), np.maximum(low, 0)
    return np.asarray(high > ratio * low + 5 * np.sqrt((high + low) / positions) + 5 / positions)


def repair(frames: np.ndarray, bad: np.ndarray) -> None:
    """Replace bad pixels, in place, by the mean of their sound neighbours in the same frame.

    Parameters
    ----------
    frames : ndarray, shape (n, ky, kx), float
    bad : ndarray, shape (b, 2)
        Pixels (ky, kx); one without a sound neighbour becomes zero.
    """
    ny, nx = frames.shape[1:]
    known = {(int(y), int(x)) for y, x in bad}
    for y, x in known:
        near = [(y + dy, x + dx) for dy, dx in _AROUND if 0 <= y + dy < ny and 0 <= x + dx < nx]
        sound = [p for p in near if p not in known]
        frames[:, y, x] = np.mean([frames[:, v, u] for v, u in sound], axis=0) if sound else 0.0
