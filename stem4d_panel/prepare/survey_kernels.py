"""Compiled loops of the survey: each frame is read from memory once, in its own type; see `kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np

from stem4d_panel.prepare.kernels import FLAGS, flush
from stem4d_panel.runtime.compiled import compiled


@compiled(fastmath=FLAGS)
def survey_frames(
    raw: np.ndarray, lowest: Any, sums: np.ndarray, squares: np.ndarray, highest: np.ndarray,
    at_highest: np.ndarray, nonfinite: np.ndarray, total: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Add frames (n, pixels) to the sums of the survey; all arrays but `raw` are written.

    `lowest` is the least value of their type. `sums`, `squares` (pixels) float64; `highest` (pixels), of the frames' type,
    and `at_highest` (pixels) float32, how often it was met; `nonfinite` (pixels) bool; `total` (n) float64, zeros at first;
    `counts` (3): values not finite, below zero, and the flat index of the first that is not finite, -1 where there is none.
    """
    n, pixels = raw.shape
    size, few = 2048, 16  # pixels and frames that stay in the nearest cache, while they are read three times
    part, square = np.zeros(size, np.float32), np.zeros(size, np.float32)
    high, times, none = np.empty(size, raw.dtype), np.zeros(size, np.uint16), np.zeros(size, raw.dtype)
    high[:] = lowest
    for left in range(0, pixels, size):
        right = min(pixels, left + size)
        for start in range(0, n, few):
            stop = min(n, start + few)
            odd = np.float32(0)
            for i in range(start, stop, 2):
                other = raw[i + 1, left:right] if i + 1 < stop else none[: right - left]
                first, second, more = _add_pair(raw[i, left:right], other, part, square)
                total[i] += first
                if i + 1 < stop:
                    total[i + 1] += second
                odd += more
            for i in range(start, stop):
                _raise(raw[i, left:right], high)
            for i in range(start, stop):
                _meet(raw[i, left:right], high, times)
            flush(part[: right - left], sums[left:right])  # single precision for a few frames, double for all
            flush(square[: right - left], squares[left:right])
            _outdo(high[: right - left], times, lowest, highest[left:right], at_highest[left:right])
            if odd > 0:
                _odd_values(raw, start, stop, left, right, sums, squares, nonfinite, total, counts)


@compiled(fastmath=FLAGS)
def _add_pair(
    values: np.ndarray, others: np.ndarray, part: np.ndarray, square: np.ndarray
) -> tuple[np.float32, np.float32, np.float32]:
    """Add two frames to sums and squares; their own sums, and how many values are below zero or not finite."""
    first = second = odd = np.float32(0)  # a count, too, so that all lanes are alike
    for p in range(len(values)):
        value, other = np.float32(values[p]), np.float32(others[p])
        sound, other_sound = value >= 0 and value < np.inf, other >= 0 and other < np.inf
        odd += (np.float32(0) if sound else np.float32(1)) + (np.float32(0) if other_sound else np.float32(1))
        value = value if sound else np.float32(0)
        other = other if other_sound else np.float32(0)
        part[p] += value + other
        square[p] += value * value + other * other
        first += value
        second += other
    return first, second, odd


@compiled(fastmath=FLAGS)
def _raise(values: np.ndarray, high: np.ndarray) -> None:
    for p in range(len(values)):
        value = values[p]
        high[p] = value if value > high[p] and value < np.inf else high[p]


@compiled(fastmath=FLAGS)
def _meet(values: np.ndarray, high: np.ndarray, times: np.ndarray) -> None:
    for p in range(len(values)):
        times[p] += np.uint16(values[p] == high[p])


@compiled(fastmath=FLAGS)
def _outdo(high: np.ndarray, times: np.ndarray, lowest: Any, highest: np.ndarray, at_highest: np.ndarray) -> None:
    """Take in what a few frames reach and how often, and begin anew."""
    for p in range(len(high)):
        value, before = high[p], highest[p]
        met, more = at_highest[p], np.float32(times[p])  # read in any case, so that several are done at once
        both = met + more
        at_highest[p] = more if value > before else both if value == before else met
        highest[p] = value if value > before else before
        high[p] = lowest
        times[p] = np.uint16(0)


@compiled(fastmath=FLAGS)
def _odd_values(
    raw: np.ndarray, start: int, stop: int, left: int, right: int, sums: np.ndarray, squares: np.ndarray,
    nonfinite: np.ndarray, total: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Count what is not finite or below zero; the statistics are those of what was measured, in the scan's own units."""
    for i in range(start, stop):
        for p in range(left, right):
            exact = np.float64(raw[i, p])
            if not np.isfinite(exact):
                place = i * raw.shape[1] + p
                counts[2] = place if counts[0] == 0 else min(counts[2], place)
                counts[0] += 1
                nonfinite[p] = True
            elif exact < 0:
                counts[1] += 1
                sums[p] += exact
                squares[p] += exact * exact
                total[i] += exact
