"""Moving, undistorting and binning in one go, so that a frame is interpolated once, and what of the detector that reads."""

from __future__ import annotations

import numpy as np

from stem4d_panel.prepare.kernels import FORMS, load, move_and_bin, warp_and_bin

NO_PIXELS = np.zeros((0, 2), np.int64)


def align_and_bin(frames: np.ndarray, shifts: np.ndarray, factor: int, out: np.ndarray, form: str = "bilinear") -> None:
    """Read each frame at `shifts` beyond its grid and sum `factor` × `factor` pixels into one.

    Parameters
    ----------
    frames : ndarray, shape (n, ky, kx)
    shifts : ndarray, shape (n, 2), float32
        A frame's centre less the common centre, detector pixels.
    factor : int
        Pixels summed along each axis.
    out : ndarray, shape (n, ky // factor, kx // factor), float32
        Written; what would be read beyond the edge counts as zero.
    form : {"integer", "bilinear", "even", "cubic", "fourier"}
    """
    shape = out.shape[1:]
    kept = np.arange(shape[0] * shape[1])
    Resampler(frames.shape[1:], factor, form, kept).write(
        frames, shifts, out.reshape(len(out), -1), np.zeros(shape), np.zeros(frames.shape[1:], bool), NO_PIXELS
    )


class Resampler:
    """How raw frames become rows of binned pixels.

    Parameters
    ----------
    shape : tuple of int
        Detector pixels (ky, kx).
    factor : int
        Pixels summed along each axis.
    form : {"integer", "bilinear", "even", "cubic", "fourier"}
        How a frame is read between its pixels.
    kept : ndarray, shape (m,), int
        Flat indices of the binned pixels to keep.
    grid : ndarray, shape (2, ky, kx), float32, optional
        Where the undistorted pixels lie on the detector, for a frame at the common centre.
    """

    def __init__(
        self, shape: tuple[int, ...], factor: int, form: str, kept: np.ndarray, grid: np.ndarray | None = None
    ) -> None:
        self.shape, self.factor, self.form, self.kept, self.grid = shape, factor, form, kept, grid

    def write(
        self,
        raw: np.ndarray,
        shifts: np.ndarray,
        rows: np.ndarray,
        total: np.ndarray,
        bad: np.ndarray,
        mended: np.ndarray,
    ) -> None:
        """Write raw frames (n, ky, kx) into `rows` (n, m) and add their sum to `total` (float64).

        `bad` (ky, kx) are the pixels from which no other is mended, `mended` (b, 2) those that are.
        """
        form = FORMS.index("integer" if self.form == "fourier" else self.form)
        if self.form == "fourier":
            loaded = np.empty(raw.shape, np.float32)
            for i in range(len(raw)):
                load(raw[i], bad, mended, loaded[i], 0, 0)
            raw, shifts, mended = moved_by_fourier(loaded, shifts), np.zeros_like(shifts), NO_PIXELS
        if self.grid is None:
            move_and_bin(raw, bad, mended, shifts, form, self.factor, self.kept, rows, total)
        else:
            warp_and_bin(raw, bad, mended, shifts, self.grid, form, self.factor, self.kept, rows, total)


def moved_by_fourier(frames: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Frames (n, ky, kx) read `shifts` (n, 2) beyond their grid by phase ramps, float32; they wrap around at the edge."""
    from scipy import fft

    ny, nx = frames.shape[1:]
    spectrum = fft.rfft2(frames, workers=1)
    spectrum *= np.exp(2j * np.pi * shifts[:, :1] * np.fft.fftfreq(ny)).astype(np.complex64)[:, :, None]
    spectrum *= np.exp(2j * np.pi * shifts[:, 1:] * np.fft.rfftfreq(nx)).astype(np.complex64)[:, None, :]
    return np.asarray(fft.irfft2(spectrum, s=(ny, nx), workers=1, overwrite_x=True), np.float32)


def covered(
    shape: tuple[int, int],
    shifts: np.ndarray,
    factor: int,
    form: str = "bilinear",
    out: np.ndarray | None = None,
    grid: np.ndarray | None = None,
) -> np.ndarray:
    """Binned pixels that read only pixels of the detector that count, at every position, shape (ky // factor, ...), bool.

    Parameters
    ----------
    shape : tuple of int
        Detector pixels (ky, kx).
    shifts : ndarray, shape (n, 2)
    factor, form, grid
        See :class:`Resampler`.
    out : ndarray, shape (ky, kx), bool, optional
        Detector pixels that are left out.
    """
    places = np.indices(shape) if grid is None else grid
    low, high = shifts.min(axis=0)[:, None, None], shifts.max(axis=0)[:, None, None]
    if form in ("integer", "even"):
        reach = 1 if form == "even" else 0
        first, last = np.floor(places + low + 0.5) - reach, np.floor(places + high + 0.5) + reach
    else:
        reach = 1 if form == "cubic" else 0
        first, last = np.floor(places + low) - reach, np.ceil(places + high) + reach
    edge = np.array(shape)[:, None, None] - 1
    fine = ((first >= 0) & (last <= edge)).all(axis=0)
    if out is not None and out.any():  # pixels left out in each box, from sums over all boxes at the corner
        sums = np.pad(out.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        (y0, x0), (y1, x1) = np.clip(first, 0, edge).astype(int), np.clip(last, 0, edge).astype(int) + 1
        fine &= sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0] == 0
    ny, nx = shape[0] // factor, shape[1] // factor
    return np.asarray(fine[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor).all(axis=(1, 3)))
