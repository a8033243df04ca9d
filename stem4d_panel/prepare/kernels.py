"""Compiled loops over raw frames: each reads a frame once, in its own type, and writes no copy of the block.

A value that is not finite or below zero counts as zero; a bad pixel as the mean of its sound neighbours. Not-a-number
must be seen, so the compiler may reorder sums here, but not assume that all values are finite.
"""

from __future__ import annotations

import numpy as np

from stem4d_panel.runtime.compiled import compiled

FLAGS = {"reassoc", "contract", "nsz", "arcp"}
LANES = 32  # pixels that compiled loops take at once; what is left over goes one by one
FORMS = ("integer", "bilinear", "even", "cubic")  # their numbers are the `form` of the kernels


@compiled(fastmath=FLAGS)
def clean(raw: np.ndarray, y: int, x: int) -> np.float32:
    """A value, 0 where it is below zero or not finite."""
    value = np.float32(raw[y, x])
    return value if value >= 0 and value < np.inf else np.float32(0)


@compiled(fastmath=FLAGS)
def mended_value(raw: np.ndarray, bad: np.ndarray, y: int, x: int) -> np.float32:
    """Mean of the sound neighbours in the same frame, 0 without any."""
    total, sound = np.float32(0), 0
    for v in range(max(0, y - 1), min(raw.shape[0], y + 2)):
        for u in range(max(0, x - 1), min(raw.shape[1], x + 2)):
            if not bad[v, u]:
                total += clean(raw, v, u)
                sound += 1
    return total / np.float32(max(1, sound))


@compiled(fastmath=FLAGS)
def flush(part: np.ndarray, total: np.ndarray) -> None:
    """Add to a total, and begin anew."""
    for x in range(len(part)):
        total[x] += part[x]
        part[x] = np.float32(0)


@compiled(fastmath=FLAGS)
def add_sums(values: np.ndarray, sums: np.ndarray, columns: np.ndarray) -> None:
    """Write the sums (n) of rows (n, m) and add those of the columns (m), float64."""
    for i in range(values.shape[0]):
        sums[i] = _add_row(values, i, columns)


@compiled(fastmath=FLAGS)
def _add_row(values: np.ndarray, i: int, columns: np.ndarray) -> float:
    row, total = values[i], 0.0
    for m in range(len(row)):
        columns[m] += row[m]
        total += row[m]
    return total


@compiled(fastmath=FLAGS)
def taps(at: float, form: int, weights: np.ndarray) -> tuple[int, int]:
    """Weights with which a frame is read `at` a place between its pixels: (first pixel, number of weights).

    0 the nearest pixel; 1 bilinear; 2 quadratic B-spline, which blurs alike wherever it reads; 3 cubic convolution.
    """
    if form == 0:
        weights[0] = 1
        return int(np.floor(at + 0.5)), 1
    if form == 2:
        middle = np.floor(at + 0.5)
        t = at - middle
        weights[0], weights[1], weights[2] = 0.5 * (0.5 - t) ** 2, 0.75 - t * t, 0.5 * (0.5 + t) ** 2
        return int(middle) - 1, 3
    low = np.floor(at)
    t = at - low
    if form == 1:
        weights[0], weights[1] = 1 - t, t
        return int(low), 2
    s = 1 - t
    weights[0] = -0.5 * t * s * s
    weights[1] = 1 + t * t * (1.5 * t - 2.5)
    weights[2] = 1 + s * s * (1.5 * s - 2.5)
    weights[3] = -0.5 * s * t * t
    return int(low) - 1, 4


@compiled(fastmath=FLAGS)
def load(raw: np.ndarray, bad: np.ndarray, mended: np.ndarray, frame: np.ndarray, top: int, left: int) -> None:
    """Write a raw frame (ky, kx) as float32 into a larger one, from row `top` and column `left` on.

    Pixels listed in `mended` (b, 2) are repaired, see `bad`.
    """
    for y in range(raw.shape[0]):
        _load_row(raw[y], frame[top + y, left : left + raw.shape[1]])  # a line of a whole array lies without gaps
    for b in range(mended.shape[0]):
        y, x = mended[b, 0], mended[b, 1]
        frame[top + y, left + x] = mended_value(raw, bad, y, x)


@compiled(fastmath=FLAGS)
def _load_row(source: np.ndarray, row: np.ndarray) -> None:
    for x in range(len(source)):
        value = np.float32(source[x])
        row[x] = value if value >= 0 and value < np.inf else np.float32(0)


@compiled(fastmath=FLAGS)
def move_and_bin(
    raw: np.ndarray, bad: np.ndarray, mended: np.ndarray, shifts: np.ndarray, form: int, factor: int, kept: np.ndarray,
    rows: np.ndarray, total: np.ndarray,
) -> None:  # fmt: skip
    """Read frames `shifts` beyond their grid, sum `factor` × `factor` pixels into one, and keep those that are wanted.

    Parameters
    ----------
    raw : ndarray, shape (n, ky, kx)
    bad : ndarray, shape (ky, kx), bool
    mended : ndarray, shape (b, 2)
        Those of the bad pixels that are repaired.
    shifts : ndarray, shape (n, 2), float32
    form : int
        See `taps`; negative sums of the cubic one become zero.
    factor : int
    kept : ndarray, shape (m,), int
        Flat indices of the binned pixels to keep, ascending.
    rows : ndarray, shape (n, m), float32
        Written.
    total : ndarray, shape (ky // factor, kx // factor), float64
        The sum of the pixels that are kept is added.
    """
    n, ny, nx = raw.shape
    out_y, out_x = total.shape
    more = (factor + 2) // factor  # binned pixels that the last one's weights reach beyond it
    reach = factor + 4 + min(int(np.abs(shifts[:, 1]).max()) if n else 0, nx)
    line = np.zeros(nx + 2 * reach + more * factor + 16, np.float32)  # what lies beyond the edge stays zero
    parts = np.zeros((factor, out_x + more + LANES), np.float32)  # the line by phase, so that sums run along memory
    row = np.empty(out_x + LANES, np.float32)
    slot, patched = _slots(mended, ny), np.empty((1, len(mended), nx), np.float32)
    single = np.empty(4)
    along = np.zeros((2, factor + 4), np.float32)
    first = np.empty(2, np.int64)
    spans = np.searchsorted(kept, np.arange(out_y + 1) * out_x)
    part, sums = np.zeros(len(kept), np.float32), np.zeros(len(kept))
    length = 0
    for i in range(n):
        _patch(raw[i], bad, mended, slot, patched[0])
        for axis in range(2):
            at, count = taps(float(shifts[i, axis]), form, single)
            first[axis] = min(max(at, -raw.shape[1 + axis] - 3), raw.shape[1 + axis])
            length = count + factor - 1
            along[axis] = 0
            for a in range(count):
                for b in range(factor):
                    along[axis, a + b] += np.float32(single[a])
        plain = factor == 2 == length  # two by two pixels as they are
        for oy in range(out_y):
            begin, end = spans[oy], spans[oy + 1]
            if begin == end:
                continue
            left = kept[begin] - oy * out_x
            width = kept[end - 1] - oy * out_x + 1 - left
            start, top = first[1] + left * factor, first[0] + oy * factor
            whole = width == end - begin
            if plain and whole and 0 <= start <= nx - 2 * width and 0 <= top < ny - 1 and slot[top] < 0 and slot[top + 1] < 0:  # fmt: skip
                _sum_pairs(raw, i, top, start, rows, begin, end, part)
                continue
            long = _whole((width - 1) * factor + length)
            low = max(0, min(start, nx - long))
            high = min(nx, low + long)
            add = False
            for a in range(0, length, 2):
                y, weight, other = top + a, along[0, a], along[0, a + 1]
                if other != 0 and y >= 0 and y + 1 < ny and slot[y] < 0 and slot[y + 1] < 0:
                    _add_lines(raw, i, y, low, high, weight, other, line, reach, add)
                    add = True
                    continue
                for v, w in ((y, weight), (y + 1, other)):
                    if v < 0 or v >= ny or w == 0:
                        continue
                    if slot[v] < 0:
                        _add_line(raw, i, v, low, high, w, line, reach, add)
                    else:
                        _add_line(patched, 0, slot[v], low, high, w, line, reach, add)
                    add = True
            if not add:
                line[:] = np.float32(0)
            if factor == 2 and length <= 4:
                _add_pixels(line, reach + start, along[1], row, width)
            else:
                _by_phase(line, reach + start, factor, width + more, parts)
                for b in range(0, length, 2):
                    _add_parts(parts, factor, b, along[1, b], along[1, b + 1], row, _whole(width), b > 0)
            if whole:
                _keep_all(row[:width], rows[i, begin:end], part[begin:end])
            else:
                _keep(row, kept[begin:end], rows[i, begin:end], part[begin:end])
        if i % 16 == 15 or i == n - 1:  # single precision for a few frames, double for all
            flush(part, sums)
    flat = total.reshape(-1)
    for m in range(len(kept)):
        flat[kept[m]] += sums[m]


@compiled(fastmath=FLAGS)
def _sum_pairs(
    raw: np.ndarray, i: int, y: int, start: int, rows: np.ndarray, begin: int, end: int, part: np.ndarray
) -> None:
    """Write, and add to `part`, the sums of two by two pixels from row `y`, column `start` on, where nothing is moved."""
    one, two, out, sums = raw[i, y, start:], raw[i, y + 1, start:], rows[i, begin:end], part[begin:end]
    for x in range(len(out)):
        a, b, c, d = np.float32(one[2 * x]), np.float32(one[2 * x + 1]), np.float32(two[2 * x]), np.float32(two[2 * x + 1])  # fmt: skip
        a = a if a >= 0 and a < np.inf else np.float32(0)
        b = b if b >= 0 and b < np.inf else np.float32(0)
        c = c if c >= 0 and c < np.inf else np.float32(0)
        d = d if d >= 0 and d < np.inf else np.float32(0)
        value = (a + b) + (c + d)
        out[x] = value
        sums[x] += value


@compiled(fastmath=FLAGS)
def _keep_all(row: np.ndarray, out: np.ndarray, sums: np.ndarray) -> None:
    for m in range(len(out)):
        value = row[m] if row[m] > 0 else np.float32(0)
        out[m] = value
        sums[m] += value


@compiled(fastmath=FLAGS)
def _keep(row: np.ndarray, kept: np.ndarray, out: np.ndarray, sums: np.ndarray) -> None:
    """Keep pixels of a row that begins with the first of them."""
    for m in range(len(out)):
        value = row[np.uint64(kept[m] - kept[0])]
        value = value if value > 0 else np.float32(0)
        out[m] = value
        sums[m] += value


@compiled(fastmath=FLAGS)
def _whole(length: int) -> int:
    """The next multiple of the lanes that are done at once."""
    return -(-length // LANES) * LANES


@compiled(fastmath=FLAGS)
def _slots(mended: np.ndarray, ny: int) -> np.ndarray:
    """Where rows with mended pixels are written, -1 for all others."""
    slot, count = np.full(ny, -1), 0
    for b in range(len(mended)):
        if slot[mended[b, 0]] < 0:
            slot[mended[b, 0]] = count
            count += 1
    return slot


@compiled(fastmath=FLAGS)
def _patch(raw: np.ndarray, bad: np.ndarray, mended: np.ndarray, slot: np.ndarray, patched: np.ndarray) -> None:
    """Write the rows that have mended pixels, with those mended."""
    for y in range(raw.shape[0]):
        if slot[y] >= 0:
            _load_row(raw[y], patched[slot[y]])
    for b in range(len(mended)):
        y, x = mended[b, 0], mended[b, 1]
        patched[slot[y], x] = mended_value(raw, bad, y, x)


@compiled(fastmath=FLAGS)
def _add_lines(
    raw: np.ndarray, i: int, y: int, low: int, high: int, weight: np.float32, other: np.float32, line: np.ndarray,
    reach: int, add: bool,
) -> None:  # fmt: skip
    """Write, or add, the weighted sum of a row and the next one, columns `low` to `high`."""
    one, two, out = raw[i, y, low:high], raw[i, y + 1, low:high], line[reach + low : reach + high]
    for x in range(len(out)):
        value, second = np.float32(one[x]), np.float32(two[x])
        value = value if value >= 0 and value < np.inf else np.float32(0)
        second = second if second >= 0 and second < np.inf else np.float32(0)
        before = out[x] if add else np.float32(0)
        out[x] = before + (weight * value + other * second)


@compiled(fastmath=FLAGS)
def _add_line(
    raw: np.ndarray, i: int, y: int, low: int, high: int, weight: np.float32, line: np.ndarray, reach: int, add: bool
) -> None:
    """Write, or add, a weighted row, columns `low` to `high`."""
    one, out = raw[i, y, low:high], line[reach + low : reach + high]
    for x in range(len(out)):
        value = np.float32(one[x])
        value = value if value >= 0 and value < np.inf else np.float32(0)
        before = out[x] if add else np.float32(0)
        out[x] = before + weight * value


@compiled(fastmath=FLAGS)
def _add_pixels(line: np.ndarray, start: int, weights: np.ndarray, row: np.ndarray, width: int) -> None:
    """Write the sums of four weighted pixels, every other one: the usual case, in one go."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    near, far, out = line[start:], line[start + 2 :], row[: -(-width // 8) * 8]
    for x in range(len(out)):
        out[x] = (w0 * near[2 * x] + w1 * near[2 * x + 1]) + (w2 * far[2 * x] + w3 * far[2 * x + 1])


@compiled(fastmath=FLAGS)
def _add_parts(
    parts: np.ndarray, factor: int, b: int, weight: np.float32, other: np.float32, row: np.ndarray, width: int,
    add: bool,
) -> None:  # fmt: skip
    """Write, or add, the weighted pixels `b` and `b` + 1 of every bin."""
    c = b + 1
    one = parts[b % factor, b // factor : b // factor + width]
    two = parts[c % factor, c // factor : c // factor + width]
    out = row[:width]
    for x in range(len(out)):
        before = out[x] if add else np.float32(0)
        out[x] = before + (weight * one[x] + other * two[x])


@compiled(fastmath=FLAGS)
def _by_phase(line: np.ndarray, start: int, factor: int, length: int, parts: np.ndarray) -> None:
    """Part a line into every `factor`-th pixel; four apart, since only constant steps are done at once."""
    for phase in range(factor):
        part, rest = parts[phase], line[start + phase :]
        if factor == 4:
            for x in range(length):
                part[x] = rest[4 * x]
        else:
            for x in range(length):
                part[x] = rest[x * factor]


@compiled(fastmath=FLAGS)
def warp_and_bin(
    raw: np.ndarray, bad: np.ndarray, mended: np.ndarray, shifts: np.ndarray, grid: np.ndarray, form: int, factor: int,
    kept: np.ndarray, rows: np.ndarray, total: np.ndarray,
) -> None:  # fmt: skip
    """As `move_and_bin`, for frames read at `grid` (2, ky, kx) plus their shift: a distortion is undone on the way.

    Only binned pixels that are kept are made and added to the total.
    """
    n, ny, nx = raw.shape
    out_x = total.shape[1]
    edge = 4
    padded = np.zeros((ny + 2 * edge, nx + 2 * edge), np.float32)
    along_y, along_x = np.zeros(4, np.float32), np.zeros(4, np.float32)  # what a form does not use stays zero
    for i in range(n):
        load(raw[i], bad, mended, padded, edge, edge)
        for m in range(kept.shape[0]):
            bin_y, bin_x = kept[m] // out_x, kept[m] % out_x
            binned = np.float32(0)
            for y in range(bin_y * factor, (bin_y + 1) * factor):
                for x in range(bin_x * factor, (bin_x + 1) * factor):
                    first_y = taps(grid[0, y, x] + shifts[i, 0], form, along_y)[0]
                    first_x = taps(grid[1, y, x] + shifts[i, 1], form, along_x)[0]
                    if first_y < -edge or first_x < -edge or first_y >= ny or first_x >= nx:
                        continue
                    for a in range(4):  # always four, so that the loops are unrolled
                        line = padded[np.uint64(edge + first_y + a)]
                        part = np.float32(0)
                        for b in range(4):
                            part += along_x[b] * line[np.uint64(edge + first_x + b)]
                        binned += along_y[a] * part
            value = max(binned, np.float32(0))
            rows[i, m] = value
            total[bin_y, bin_x] += value
