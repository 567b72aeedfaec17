# mypy: allow-untyped-defs, allow-untyped-calls
"""The frame of every search: blocks into lanes, weights, codes, bytes, and the guard that keeps GGML's where better.

What differs comes as functions, compiled into each kernel:

    search(xt, wt, room, how, known) -> (d, dmin, scale, minimum) of the sub-block in each lane; importance is known
    level(quotient, n) -> the nearest of what a code can stand for, n lanes
    pack(block, d, dmin, scales, minima, first, levels, start)    the bytes of one block
    unpack(block, at, scales, minima, levels)    what the bytes of one block say
"""

import numpy as np

from kernels.best.cpu.parts import (
    add_error,
    copy,
    importance_weights,
    in_order,
    lanes_of,
    plain_weights,
    rows_of,
    squares,
    total,
)
from kernels.best.searches import ONE, ROW
from kernels.cpu.halves import f16_value
from kernels.cpu.lanes import WIDE, allocating, inlined, larger, load, nearest, smaller, splat, store

f32 = np.float32
f64 = np.float64
i32 = np.int32

ROOM = 48  # vectors that a search may put into `room`
_INFINITY = f64(np.inf)


def between(low, high):
    """The nearest integer from low to high, as a `level` function."""

    @inlined
    def level(quotient, n):
        return larger(smaller(nearest(quotient), splat(f32(high), n)), splat(f32(low), n))

    return level


@inlined
def stored_f16(block, at):
    """The float32 of an f16 in bytes."""
    return f16_value(i32(block[at]) | (i32(block[at + 1]) << i32(8)))


@inlined
def _row_mean(x, row, columns, sums):
    """The mean square of a row: 16 sums side by side, then those in order."""
    squares_of = splat(f32(0), 16)
    for i in range(row * columns, (row + 1) * columns, 16):
        v = load(x, i, 16)
        squares_of = squares_of + v * v
    store(sums, 0, squares_of)
    result = f32(0)
    for i in range(16):
        result = result + sums[i]
    return result / f32(columns)


@inlined
def _row_means(x, columns, b, filled, how, state, sums, means):
    """The mean square of the row that each lane's block is from; state holds the last row met and its mean."""
    count = how.block // how.size
    for s in range(filled):
        row = (b + s) * how.block // columns
        if row != state[0]:
            state[0], state[1] = row, _row_mean(x, row, columns, sums)
        for j in range(count):
            means[count * s + j] = state[1]


@inlined
def _weigh(xt, wt, how, means, important):
    """Replaces the importance in wt, if there is any, by the weights of the errors."""
    if not important:
        plain_weights(xt, wt, how.size, how.plain)
    elif how.spread > 0:
        mean = total(squares(xt, how.size), how.block // how.size) * splat(f32(how.spread) / f32(how.block), WIDE)
        importance_weights(xt, wt, how.size, mean)
    elif how.spread == ROW:
        importance_weights(xt, wt, how.size, load(means, 0, WIDE))


@inlined
def _load_importance(importance, b, filled, block, target):
    """The importance of blocks from b on; each row begins anew."""
    for s in range(filled):
        column = (b + s) * block % len(importance)
        for i in range(0, block, 16):
            store(target, s * block + i, load(importance, column + i, 16))


@inlined
def _put_levels(buffer, size, level, scales, minima, levels):
    """The levels of all sub-blocks for rounded scales and minima; where a scale is 0, those of 0."""
    for j in range(WIDE):
        inverse = f32(1) / scales[j] if scales[j] != 0 else f32(0)
        for i in range(size * j, size * (j + 1), 16):
            store(levels, i, level((load(buffer, i, 16) + splat(minima[j], 16)) * splat(inverse, 16), 16))


@inlined
def _error(x, weights, start, how, scales, minima, levels, sums, mean_absolute):
    """The error of a block with these scales, minima and levels."""
    for i in range(16):
        sums[i] = f64(0)
    for i in range(0, how.block, 16):
        j = i // how.size
        value = splat(scales[j], 16) * load(levels, i, 16) - splat(minima[j], 16)
        add_error(sums, load(x, start + i, 16), value, load(weights, start + i, 16), mean_absolute)
    return in_order(sums)


@allocating
def improve(x, importance, out, first, last, how, bytes_of, mean_absolute, search, level, pack, unpack):
    """Replaces blocks in `out` by what `search` finds, where that decodes with less error.

    Without importance it must not be worse with all weights alike either.

    A block whose error is infinite stays: its scale overflowed, which is for the caller to find.
    """
    count = how.block // how.size
    group = WIDE // count
    buffer, weights = np.zeros(how.size * WIDE, f32), np.zeros(how.size * WIDE, f32)
    xt, wt, levels = np.zeros(how.size * WIDE, f32), np.zeros(how.size * WIDE, f32), np.zeros(how.size * WIDE, f32)
    room, sums, block = np.zeros(ROOM * WIDE, f32), np.empty(16, f64), np.zeros(bytes_of, np.uint8)
    ds, dmins, scales, minima = np.zeros(WIDE, f32), np.zeros(WIDE, f32), np.zeros(WIDE, f32), np.zeros(WIDE, f32)
    rounded, offsets, means = np.zeros(WIDE, f32), np.zeros(WIDE, f32), np.zeros(WIDE, f32)
    unpacked, lows, decoded = np.zeros(count, f32), np.zeros(count, f32), np.zeros(how.block, f32)
    state, partial = np.full(2, -1, f64), np.zeros(16, f32)
    important = len(importance) > 0
    mean_absolute = mean_absolute and not important
    evenly, alike = not important and how.plain != ONE, np.ones(how.size * WIDE, f32)
    for b in range(first, last, group):
        filled = min(group, last - b)
        copy(x, b * how.block, filled * how.block, buffer)
        lanes_of(buffer, xt, how.size)
        if important:
            _load_importance(importance, b, filled, how.block, weights)
            lanes_of(weights, wt, how.size)
            if how.spread == ROW:
                _row_means(x, len(importance), b, filled, how, state, partial, means)
        _weigh(xt, wt, how, means, important)
        rows_of(wt, weights, how.size)
        d, dmin, scale, minimum = search(xt, wt, room, how, important)
        store(ds, 0, d)
        store(dmins, 0, dmin)
        store(scales, 0, scale)
        store(minima, 0, minimum)
        store(rounded, 0, d * scale)
        store(offsets, 0, dmin * minimum)
        _put_levels(buffer, how.size, level, rounded, offsets, levels)
        for s in range(filled):
            at, start, j0 = (b + s) * bytes_of, s * how.block, count * s
            ours = _error(buffer, weights, start, how, rounded[j0:], offsets[j0:], levels[start:], sums, mean_absolute)
            unpack(out, at, unpacked, lows, decoded)
            theirs = _error(buffer, weights, start, how, unpacked, lows, decoded, sums, mean_absolute)
            better = ours < theirs and theirs < _INFINITY
            if better and evenly:
                ours = _error(buffer, alike, start, how, rounded[j0:], offsets[j0:], levels[start:], sums, False)
                better = ours <= _error(buffer, alike, start, how, unpacked, lows, decoded, sums, False)
            if better:
                pack(block, ds[j0], dmins[j0], scales, minima, j0, levels, start)
                for i in range(bytes_of):
                    out[at + i] = block[i]
