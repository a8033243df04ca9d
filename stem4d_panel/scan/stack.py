"""Stacks of frames: the scan shapes that their number allows, and folding them into one.

Many cameras count frames and know nothing of the scan. A row may end in frames taken while the beam goes back
(flyback), and frames may come before the first row and after the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stem4d_panel.errors import DataError
from stem4d_panel.parameters import sizes
from stem4d_panel.runtime.progress import Progress
from stem4d_panel.scan.scan import BLOCK_BYTES
from stem4d_panel.settings import DataSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stem4d_panel.runtime.progress import Steps

_FLYBACK = 3  # frames a row that are taken for flyback where the scan is then square
_NARROWEST = 16  # such a scan; in small ones it is chance


class Guess(NamedTuple):
    """A scan shape, as `DataSettings` takes it."""

    ny: int
    nx: int
    flyback: int = 0

    def __str__(self) -> str:
        return f"{self.ny},{self.nx}" + (f" with data.flyback={self.flyback}" if self.flyback else "")


def guess_shapes(frames: int, per_row: int | None = None, limit: int = 6, flyback: int | None = None) -> list[Guess]:
    """The scan shapes into which a number of frames fits exactly, the most plausible first.

    Parameters
    ----------
    frames : int
    per_row : int, optional
        Frames a row as the file's metadata have them, flyback among them.
    limit : int
        Of the length of the list.
    flyback : int, optional
        Frames a row that are known to be flyback; the squares that it leaves come first.

    Returns
    -------
    list of Guess
        What the metadata say; squares; squares once a few frames a row are taken for flyback; then by the ratio of the
        sides, of two with the same ratio the wide one first.
    """
    if frames < 1:
        return []
    if flyback is not None:
        rows = [(g.ny, g.nx + g.flyback - flyback) for g in guess_shapes(frames, per_row, limit)]
        known = dict.fromkeys(Guess(ny, nx, flyback) for ny, nx in rows if nx > 0)
        return sorted(known, key=lambda g: g.ny != g.nx)
    found: list[Guess] = []
    if per_row and per_row > 1 and frames % per_row == 0:
        found.append(Guess(frames // per_row, per_row))
    root = math.isqrt(frames)
    if root * root == frames:
        found.append(Guess(root, root))
    # n (n + f) = frames has at most one solution n for each f
    for back in range(1, _FLYBACK + 1):
        n = (math.isqrt(back * back + 4 * frames) - back) // 2
        if n >= _NARROWEST and n * (n + back) == frames:
            found.append(Guess(n, n, back))
    for short in range(root, 0, -1):
        if len(found) >= limit + 2:
            break
        if frames % short == 0:
            found += [Guess(short, frames // short), Guess(frames // short, short)]
    return list(dict.fromkeys(found))[:limit]


@dataclass(frozen=True)
class Folding:
    """How frames become positions (y, x); see `DataSettings`."""

    shape: tuple[int, int] | None = None
    flyback: int = 0
    first: int | None = None

    @classmethod
    def of(cls, settings: DataSettings) -> Folding:
        """As the settings have it."""
        return cls(sizes(settings.scan_shape), settings.flyback, settings.first_frame)

    @property
    def wanted(self) -> int:
        """Frames that the scan takes, flyback included; 0 where no shape is stated."""
        return self.shape[0] * (self.shape[1] + self.flyback) if self.shape else 0

    def fills(self, frames: int) -> bool:
        """Whether so many frames make the scan: exactly, or at least where its first frame is stated."""
        if self.first is None:
            return frames == self.wanted
        return frames >= self.first + self.wanted

    def refusal(self, frames: int) -> str:
        """Why so many frames do not make the scan."""
        assert self.shape is not None  # noqa: S101
        ny, nx = self.shape
        row = f"{nx} + {self.flyback}" if self.flyback else str(nx)
        first = f" from frame {self.first} on" if self.first else ""
        return f"do not fill data.scan_shape {ny},{nx}{first} ({ny} × {row} = {self.wanted} frames)"

    def fold(self, data: Any, name: str) -> tuple[Any, list[str]]:
        """Frames, or a scan of another shape, as (y, x, ky, kx), lazily; and what was left out.

        Raises
        ------
        DataError
            If rows are no longer than the flyback.
        """
        if self.shape is None:
            return self._cropped(data, name)
        detector = tuple(int(n) for n in data.shape[-2:])
        frames = math.prod(data.shape[:-2])
        first = self.first or 0
        notes = [f"{first} frames before the scan left out"] if first else []
        if (after := frames - first - self.wanted) > 0:
            notes.append(f"{after} frames after the scan left out")
        if self.flyback:
            notes.append(f"{self.flyback} frames at the end of each row left out")
        if not notes and tuple(data.shape[:-2]) == self.shape:
            return data, []
        ny, nx = self.shape
        stack = _as_stack(data, nx + self.flyback)[first : first + self.wanted]
        if not isinstance(stack, np.ndarray):  # whole rows of the scan in a chunk, so that folding moves nothing
            row = (nx + self.flyback) * math.prod(detector) * stack.dtype.itemsize
            stack = stack.rechunk((max(1, BLOCK_BYTES // max(1, row)) * (nx + self.flyback), -1, -1))
        return stack.reshape(ny, nx + self.flyback, *detector)[:, :nx], notes

    def _cropped(self, data: Any, name: str) -> tuple[Any, list[str]]:
        """A scan whose shape the file has, without the flyback."""
        if not self.flyback:
            return data, []
        nx = int(data.shape[1]) - self.flyback
        if nx < 1:
            raise DataError(f"{name}: rows of {data.shape[1]} frames are not longer than data.flyback {self.flyback}")
        return _lazy(data, 1)[:, :nx], [f"{self.flyback} frames at the end of each row left out"]


def _lazy(data: Any, rows: int) -> Any:
    """An array that is sliced without being read."""
    import dask.array as da

    if isinstance(data, (np.ndarray, da.Array)):
        return data
    return da.from_array(data, chunks=(rows, *data.shape[1:]), name=False)


def _as_stack(data: Any, row: int) -> Any:
    """Frames one after the other, shape (frames, ky, kx)."""
    if data.ndim == 3:
        frame = math.prod(data.shape[1:]) * data.dtype.itemsize
        return _lazy(data, max(1, BLOCK_BYTES // max(1, frame * row)) * row)
    if isinstance(data, np.ndarray) and not data.flags.c_contiguous:  # else reshaping would read it all
        import dask.array as da

        data = da.from_array(data, chunks=(1, *data.shape[1:]), name=False)
    return _lazy(data, 1).reshape(-1, *data.shape[-2:])


def frame_sums_steps(frames: Any) -> Steps[np.ndarray]:
    """The sum of each frame of a stack, read once.

    Parameters
    ----------
    frames : array-like, shape (frames, ky, kx)

    Returns
    -------
    ndarray, shape (frames,), float64
    """
    count = int(frames.shape[0])
    sums = np.zeros(count)
    step = max(1, BLOCK_BYTES // max(1, math.prod(frames.shape[1:]) * frames.dtype.itemsize))
    for start in range(0, count, step):
        yield Progress("frames", start, count, "frame")
        block = np.asarray(frames[start : start + step])
        sums[start : start + step] = block.sum(axis=(1, 2), dtype=np.float64)
    return sums


def virtual_images(sums: np.ndarray, guesses: Sequence[Guess]) -> list[np.ndarray]:
    """What the scan would look like in each shape, for a choice by eye: rows that fit together make an image.

    Parameters
    ----------
    sums : ndarray, shape (frames,)
        Of `frame_sums_steps`.
    guesses : sequence of Guess

    Returns
    -------
    list of ndarray, each of shape (y, x)
    """
    return [sums[: g.ny * (g.nx + g.flyback)].reshape(g.ny, g.nx + g.flyback)[:, : g.nx] for g in guesses]
