"""Compiled loops that follow the direct beam, and the mean of frames brought to one centre; see `kernels`."""

from __future__ import annotations

import numpy as np

from stem4d_panel.prepare.kernels import FLAGS, LANES, clean, flush, mended_value
from stem4d_panel.runtime.compiled import compiled


@compiled(fastmath=FLAGS)
def window_means(
    raw: np.ndarray, bad: np.ndarray, centres: np.ndarray, radius: float, offset: np.ndarray, spread: np.ndarray,
    counts: np.ndarray,
) -> None:  # fmt: skip
    """Mean offset of the intensity from `centres` within `radius`, with its variance and the counts it rests on.

    The window has a soft edge so that it moves smoothly with its centre. `raw` (n, ky, kx), `bad` (ky, kx) bool,
    `centres` (n, 2); `offset` (n, 2), `spread` (n) and `counts` (n) are written.
    """
    ny, nx = bad.shape
    reach = radius + 0.5
    line = np.empty(nx, np.float32)
    spoilt = _rows_with(bad)
    for i in range(raw.shape[0]):
        cy, cx = centres[i, 0], centres[i, 1]
        left = max(0, int(np.ceil(cx - reach)))
        right = min(nx, int(np.floor(cx + reach)) + 1)
        right = min(nx, left + -(-max(0, right - left) // LANES) * LANES)  # what the window leaves out has no weight
        left = max(0, right - -(-max(0, right - left) // LANES) * LANES)
        total = sum_y = sum_x = sum_r = 0.0
        for y in range(max(0, int(np.ceil(cy - reach))), min(ny - 1, int(np.floor(cy + reach))) + 1):
            dy = y - cy
            place = (np.float32(left - cx), np.float32(dy * dy), np.float32(reach))
            if spoilt[y]:
                for x in range(left, right):
                    line[x] = mended_value(raw[i], bad, y, x) if bad[y, x] else clean(raw[i], y, x)
                mass, first, second = _window_row(line[left:right], place)
            else:
                mass, first, second = _window_row(raw[i, y, left:right], place)
            total += mass
            sum_y += mass * dy
            sum_x += first
            sum_r += second
        safe = max(total, 1e-12)
        offset[i, 0], offset[i, 1] = sum_y / safe, sum_x / safe
        spread[i] = sum_r / safe / 2
        counts[i] = total


@compiled(fastmath=FLAGS)
def _window_row(
    values: np.ndarray, place: tuple[np.float32, np.float32, np.float32]
) -> tuple[np.float32, np.float32, np.float32]:
    """Weighted sum of a line of pixels, and with their offset along it and their squared distance from the centre."""
    start, away, reach = place
    mass = first = second = np.float32(0)
    for x in range(len(values)):
        value = np.float32(values[x])
        dx = start + np.float32(x)
        square = away + dx * dx
        edge = min(np.float32(1), max(np.float32(0), reach - np.sqrt(square)))
        weight = edge * (value if value >= 0 and value < np.inf else np.float32(0))
        mass += weight
        first += weight * dx
        second += weight * square
    return mass, first, second


@compiled(fastmath=FLAGS)
def _rows_with(marked: np.ndarray) -> np.ndarray:
    found = np.zeros(marked.shape[0], np.bool_)
    for y in range(marked.shape[0]):
        found[y] = marked[y].any()
    return found


@compiled(fastmath=FLAGS)
def add_moved(raw: np.ndarray, good: np.ndarray, moves: np.ndarray, total: np.ndarray) -> None:
    """Add frames (n, ky, kx), read `moves` (n, 2) whole pixels beyond their grid, to `total` (ky, kx) float64.

    Only pixels that are `good` (ky, kx) count.
    """
    ny, nx = total.shape
    part = np.zeros((ny, nx), np.float32)
    spoilt = _rows_with(~good)
    for i in range(raw.shape[0]):
        dy, dx = moves[i, 0], moves[i, 1]
        left, right = max(0, -dx), min(nx, nx - dx)
        for y in range(max(0, -dy), min(ny, ny - dy) if right > left else 0):
            source, row = raw[i, y + dy, left + dx : right + dx], part[y, left:right]
            if spoilt[y + dy]:
                _add_good(source, good[y + dy, left + dx : right + dx], row)
            else:
                _add(source, row)
        if i % 16 == 15 or i == raw.shape[0] - 1:  # single precision for a few frames, double for all
            for y in range(ny):
                flush(part[y], total[y])


@compiled(fastmath=FLAGS)
def _add(source: np.ndarray, row: np.ndarray) -> None:
    for x in range(len(row)):
        value = np.float32(source[x])
        row[x] += value if value >= 0 and value < np.inf else np.float32(0)


@compiled(fastmath=FLAGS)
def _add_good(source: np.ndarray, good: np.ndarray, row: np.ndarray) -> None:
    for x in range(len(row)):
        value = np.float32(source[x])
        row[x] += value if value >= 0 and value < np.inf and good[x] else np.float32(0)
