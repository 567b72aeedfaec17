# mypy: allow-untyped-defs, allow-untyped-calls
"""Searches by given weights, and what brings weights into lanes: one block or sub-block a lane, WIDE of them at once.

Row i of a lane array holds element i of every lane, so that a loop over i sums each lane left to right. With
importance, a group is WIDE blocks that follow each other, whatever rows they are cut from. Lanes without a block
compute on what was there before.
"""

import numpy as np

from kernels.cpu.halves import MAGNITUDE, f16_bits, f16_value, nearest_int
from kernels.cpu.lanes import (
    WIDE,
    absolute,
    allocating,
    any_of,
    bits_of,
    inlined,
    larger,
    largest,
    load,
    load_source,
    nearest,
    root,
    scalar_bits,
    select,
    smaller,
    splat,
    store,
    to_float,
    to_int,
    transpose,
)

f32 = np.float32
i32 = np.int32

_TINY = f32(1e-15)
_INFINITY, _NAN = f32(np.inf), f32(np.nan)


@allocating
def tiled(importance, size):
    """Importance, and its beginning again: a group of blocks of `size` weights reads on past the end of the row."""
    columns = importance.size
    tiles = np.empty(columns + WIDE * size, f32)
    tiles[:columns] = importance
    for i in range(columns, tiles.size):
        tiles[i] = tiles[i - columns]
    return tiles


@inlined
def load_group(x, at, count, buffer, start=0):
    """Copies weights as floats, to `start` of the buffer, and gives the largest magnitude, as bits."""
    peak = splat(0, 16)
    for i in range(0, count, 16):
        v = load_source(x, at + i, 16)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 16))
        store(buffer, start + i, v)
    return largest(peak)


@inlined
def to_lanes(source, at, stride, target, size, n=WIDE):
    """target[i * n + lane] = source[at + lane * stride + i]."""
    for lane in range(0, n, 16):
        for i in range(0, size, 16):
            transpose(source, at + lane * stride + i, stride, target, i * n + lane, n)


@allocating
def mean_squares(x, columns):
    """The mean square of each row, summed left to right, a row a lane."""
    rows = x.size // columns
    means = np.empty(rows + 16, f32)
    tile, turned = np.empty(256, f32), np.empty(256, f32)
    for first in range(0, rows, 16):
        total = splat(f32(0), 16)
        for column in range(0, columns, 16):
            for lane in range(16):
                row = min(first + lane, rows - 1)
                store(tile, 16 * lane, load_source(x, row * columns + column, 16))
            transpose(tile, 0, 16, turned, 0, 16)
            for i in range(16):
                v = load(turned, 16 * i, 16)
                total = total + v * v
        store(means, first, total / splat(f32(columns), 16))
    return means


@inlined
def sums_of_squares(buffer, size, turned):
    """The sum of squares of each block of `size`, left to right; `turned` has room for 16 elements."""
    total = splat(f32(0), WIDE)
    for start in range(0, size, 16):
        to_lanes(buffer, start, size, turned, 16)
        for i in range(16):
            v = load(turned, i * WIDE, WIDE)
            total = total + v * v
    return total


@inlined
def weigh(xt, wt, size, sigma2):
    """Makes weights of the importance in wt; gives their sums."""
    total = splat(f32(0), WIDE)
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        w = load(wt, i * WIDE, WIDE) * root(sigma2 + v * v)
        store(wt, i * WIDE, w)
        total = total + w
    return total


@inlined
def _clipped(values, levels):
    """Integers 0..levels next to the values; 0 for a NaN."""
    return nearest(smaller(larger(values, splat(f32(0), WIDE)), splat(f32(levels), WIDE)))


@inlined
def search_scale_and_minimum(xt, wt, lt, size, levels, scales, lows, inverses, code_lows, at):
    """make_qkx3_quants: scale and low end of each lane from `at` on, and what makes its codes.

    The codes are those of _clipped((x - code_low) * inverse). GGML's first try rounds before it clips: where the
    inverse is infinite all its codes are 0, as they are here with an inverse of 0; elsewhere they are the same.
    """
    zero = splat(f32(0), WIDE)
    low = load(xt, 0, WIDE)
    high = low
    sum_w = load(wt, 0, WIDE)
    sum_x = sum_w * low
    for i in range(1, size):
        v, w = load(xt, i * WIDE, WIDE), load(wt, i * WIDE, WIDE)
        low, high = smaller(v, low), larger(v, high)
        sum_w = sum_w + w
        sum_x = sum_x + w * v
    low = select(low > zero, zero, low)
    flat = high == low
    inverse = splat(f32(levels), WIDE) / (high - low)
    scale, best = splat(f32(1), WIDE) / inverse, zero
    inverse = select(inverse < splat(_INFINITY, WIDE), inverse, zero)
    best_inverse, best_low = inverse, low
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        difference = scale * _clipped(inverse * (v - low), levels) + low - v
        best = best + load(wt, i * WIDE, WIDE) * (difference * difference)
    for k in range(37):
        # `low` is the best minimum so far, not the smallest weight: later candidates build on earlier ones.
        inverse = splat(f32(-0.9) + f32(0.05) * f32(k) + f32(levels), WIDE) / (high - low)
        sum_l, sum_l2, sum_xl = zero, zero, zero
        for i in range(size):
            v = load(xt, i * WIDE, WIDE)
            code = _clipped(inverse * (v - low), levels)
            store(lt, i * WIDE, code)
            wl = load(wt, i * WIDE, WIDE) * code
            sum_l = sum_l + wl
            sum_l2 = sum_l2 + wl * code
            sum_xl = sum_xl + wl * v
        determinant = sum_w * sum_l2 - sum_l * sum_l
        trial_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
        trial_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
        positive = trial_low > zero
        if any_of(positive):
            trial_scale = select(positive, sum_xl / sum_l2, trial_scale)
            trial_low = select(positive, zero, trial_low)
        error = zero
        for i in range(size):
            difference = trial_scale * load(lt, i * WIDE, WIDE) + trial_low - load(xt, i * WIDE, WIDE)
            error = error + load(wt, i * WIDE, WIDE) * (difference * difference)
        better = select(determinant > zero, error, best) < best
        best = select(better, error, best)
        scale = select(better, trial_scale, scale)
        best_inverse, best_low = select(better, inverse, best_inverse), select(better, low, best_low)
        low = select(better, trial_low, low)
    store(scales, at, select(flat, zero, scale))
    store(lows, at, low)
    store(inverses, at, select(flat, zero, best_inverse))
    store(code_lows, at, best_low)


@inlined
def lane_peaks(xt, size):
    """The largest magnitude of each lane, and the first weight that has it; a NaN never wins."""
    magnitude, peak = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        found = absolute(v) > magnitude
        magnitude, peak = select(found, absolute(v), magnitude), select(found, v, peak)
    return magnitude, peak


@inlined
def _scale_sums(xt, wt, ut, size, half, wild, inverse, low_clamp, high_clamp):
    """sum(w x q) and sum(w q q) for codes q = x * inverse; a clamp that cannot bite is left out."""
    sum_lx, sum_l2 = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(size):
        value = inverse * load(xt, i * WIDE, WIDE)
        code = nearest_int(value, WIDE) if wild else nearest(value)
        if wild or high_clamp:
            code = smaller(splat(f32(half - 1), WIDE), code)
        if wild or low_clamp:
            code = larger(splat(f32(-half), WIDE), code)
        sum_lx = sum_lx + load(ut, i * WIDE, WIDE) * code
        sum_l2 = sum_l2 + load(wt, i * WIDE, WIDE) * code * code
    return sum_lx, sum_l2


@inlined
def _try_scale(sums, inverse, scale, best, best_inverse):
    """What is best after one more candidate: (scale, best, best_inverse)."""
    sum_lx, sum_l2 = sums
    zero = splat(f32(0), WIDE)
    some = sum_l2 > zero
    better = select(some, sum_lx * sum_lx, splat(f32(-1), WIDE)) > select(some, best * sum_l2, zero)
    trial = sum_lx / sum_l2
    return select(better, trial, scale), select(better, trial * sum_lx, best), select(better, inverse, best_inverse)


@inlined
def _trial_inverse(k, half, peak):
    return splat(-(f32(half) + f32(0.1) * f32(k)), WIDE) / peak


@inlined
def search_scale(xt, wt, ut, size, half, wild, scales, inverses, at):
    """make_qx_quants: the scale of each lane from `at` on, and the inverse that makes its codes, NaN where all are 0.

    The code of the peak is -(half + k/10) before rounding and no other is larger. So up to k = -6 no code reaches
    `half` and no clamp can bite, and up to k = 4 none reaches half + 1 and only the upper clamp can. Not so for `wild`
    numbers, which may be infinite or none at all.
    """
    zero = splat(f32(0), WIDE)
    magnitude, peak = lane_peaks(xt, size)
    for i in range(size):
        store(ut, i * WIDE, load(wt, i * WIDE, WIDE) * load(xt, i * WIDE, WIDE))
    inverse = splat(f32(-half), WIDE) / peak
    sum_lx, sum_l2 = _scale_sums(xt, wt, ut, size, half, wild, inverse, False, True)
    scale = select(sum_l2 != zero, sum_lx / sum_l2, zero)
    best, best_inverse = scale * sum_lx, inverse
    for k in range(-9, -5):
        inverse = _trial_inverse(k, half, peak)
        sums = _scale_sums(xt, wt, ut, size, half, wild, inverse, False, False)
        scale, best, best_inverse = _try_scale(sums, inverse, scale, best, best_inverse)
    for k in range(-5, 5):
        if k == 0:
            continue
        inverse = _trial_inverse(k, half, peak)
        sums = _scale_sums(xt, wt, ut, size, half, wild, inverse, False, True)
        scale, best, best_inverse = _try_scale(sums, inverse, scale, best, best_inverse)
    for k in range(5, 10):
        inverse = _trial_inverse(k, half, peak)
        sums = _scale_sums(xt, wt, ut, size, half, wild, inverse, True, True)
        scale, best, best_inverse = _try_scale(sums, inverse, scale, best, best_inverse)
    tiny = magnitude < splat(_TINY, WIDE)
    store(scales, at, select(tiny, zero, scale))
    store(inverses, at, select(tiny, splat(_NAN, WIDE), best_inverse))


@inlined
def _at_most(values, top):
    return smaller(splat(f32(top), WIDE), nearest_int(values, WIDE))


@inlined
def _as_byte(integers):
    return to_float(to_int(integers) & splat(255, WIDE))


@allocating
def fit_integers(values, weights, count, top):
    """make_qp_quants of row 0..count-1 of `values`: gives the scales, and replaces the values by integers, as floats.

    A negative value, which only rounding brings about, has an integer that GGML wraps to a byte: it counts as it is
    where it is new, and as the byte from then on.
    """
    zero, one = splat(f32(0), WIDE), splat(f32(1), WIDE)
    peak = zero
    for j in range(count):
        peak = larger(peak, load(values, j * WIDE, WIDE))
    inverse, best = splat(f32(top), WIDE) / peak, zero
    scale = one / inverse
    for j in range(count):
        v = load(values, j * WIDE, WIDE)
        difference = v - scale * _as_byte(nearest_int(inverse * v, WIDE))
        best = best + load(weights, j * WIDE, WIDE) * difference * difference
    for k in range(-4, 5):
        if k == 0:
            continue
        trial, error = splat(f32(0.1) * f32(k) + f32(top), WIDE) / peak, zero
        scale = one / trial
        for j in range(count):
            v = load(values, j * WIDE, WIDE)
            difference = v - scale * _at_most(trial * v, top)
            error = error + load(weights, j * WIDE, WIDE) * difference * difference
        better = error < best
        best, inverse = select(better, error, best), select(better, trial, inverse)
    integers = np.empty(count * WIDE, f32)
    scale = _descend_integers(values, weights, count, top, inverse, integers)
    tiny = peak < splat(_TINY, WIDE)
    for j in range(count):
        store(values, j * WIDE, select(tiny, zero, load(integers, j * WIDE, WIDE)))
    return select(tiny, zero, scale)


@inlined
def _descend_integers(values, weights, count, top, inverse, integers):
    """The scale after five sweeps of moves of one integer that each lower the error."""
    zero = splat(f32(0), WIDE)
    sum_lx, sum_l2 = zero, zero
    for j in range(count):
        v, w = load(values, j * WIDE, WIDE), load(weights, j * WIDE, WIDE)
        code = _at_most(inverse * v, top)
        store(integers, j * WIDE, _as_byte(code))
        sum_lx = sum_lx + w * v * code
        sum_l2 = sum_l2 + w * code * code
    for _sweep in range(5):
        moved = zero != zero
        for j in range(count):
            v, w, old = load(values, j * WIDE, WIDE), load(weights, j * WIDE, WIDE), load(integers, j * WIDE, WIDE)
            rest_lx, rest_l2 = sum_lx - w * v * old, sum_l2 - w * old * old
            new = _at_most(v * rest_l2 / rest_lx, top)
            new_lx, new_l2 = rest_lx + w * v * new, rest_l2 + w * new * new
            better = (rest_lx > zero) & (rest_l2 > zero) & (new != old)
            better = better & (new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2)
            moved = moved | better
            store(integers, j * WIDE, select(better, _as_byte(new), old))
            sum_lx, sum_l2 = select(better, new_lx, sum_lx), select(better, new_l2, sum_l2)
        if not any_of(moved):
            break
    return select(sum_l2 > zero, sum_lx / sum_l2, zero)


@inlined
def put_scale(out, at, value):
    """As put_f16, and a NaN, which overflowing weights bring about, stays one."""
    bits = f16_bits(value)
    if value != value:
        bits = i32(0x7E00) | ((scalar_bits(value) >> i32(16)) & i32(0x8000))
    out[at] = bits & i32(255)
    out[at + 1] = bits >> i32(8)
    return f16_value(bits)
