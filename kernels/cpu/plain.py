# mypy: allow-untyped-defs, allow-untyped-calls
"""What kernels.numbers does to every weight: extremes, integer and FP8 codes, four-bit blocks, sums.

All take a flat float32 array. A matrix of rows of `columns` is cut into tiles of `tile_rows` by `tile_columns`, and a
value per tile lies in a flat array, row of tiles after row of tiles.
"""

import numpy as np

from kernels.cpu.halves import MAGNITUDE
from kernels.cpu.lanes import (
    bits_of,
    float_of,
    inlined,
    kernel,
    larger,
    largest,
    load_source,
    nearest,
    scalar_float,
    select,
    smaller,
    splat,
    store,
    to_bytes,
    to_int,
    to_words,
)
from kernels.cpu.ternary import quads

f32 = np.float32
f64 = np.float64
i32 = np.int32

_INFINITE = i32(0x7F800000)


@inlined
def _widen(x, at, n, below, above, magnitude):
    v = load_source(x, at, n)
    zero = splat(f32(0), n)
    return larger(zero - v, below), larger(v, above), larger(magnitude, bits_of(v) & splat(MAGNITUDE, n))


@kernel
def extremes(x, columns, tile_rows, tile_columns, below, above):
    """Widens `below` and `above` by each tile's largest -v and v; gives the bits of the largest magnitude."""
    tiles = -(-columns // tile_columns)
    peak = i32(0)
    for row in range(x.size // columns):
        for tile in range(tiles):
            at = row * columns + tile * tile_columns
            end = row * columns + min(columns, (tile + 1) * tile_columns)
            whole = at + (end - at) // 16 * 16
            b, a, m = splat(f32(0), 16), splat(f32(0), 16), splat(0, 16)
            for i in range(at, whole, 16):
                b, a, m = _widen(x, i, 16, b, a, m)
            b1, a1, m1 = splat(f32(0), 1), splat(f32(0), 1), splat(0, 1)
            for i in range(whole, end):
                b1, a1, m1 = _widen(x, i, 1, b1, a1, m1)
            g = row // tile_rows * tiles + tile
            below[g] = max(below[g], scalar_float(max(largest(bits_of(b)), largest(bits_of(b1)))))
            above[g] = max(above[g], scalar_float(max(largest(bits_of(a)), largest(bits_of(a1)))))
            peak = max(peak, largest(m), largest(m1))
    return peak


@inlined
def _put_integers(x, at, out, n, inverse, zero, low, high):
    code = nearest(load_source(x, at, n) * splat(inverse, n)) + splat(zero, n)
    kept = larger(splat(low, n), smaller(splat(high, n), code))
    store(out, at, to_bytes(to_int(kept)))


@kernel
def integers(x, columns, tile_rows, tile_columns, inverse, zero, low, high, out):
    """Stores round(x * inverse) + zero as bytes, kept between low and high (float32)."""
    tiles = -(-columns // tile_columns)
    for row in range(x.size // columns):
        for tile in range(tiles):
            at = row * columns + tile * tile_columns
            end = row * columns + min(columns, (tile + 1) * tile_columns)
            whole = at + (end - at) // 16 * 16
            g = row // tile_rows * tiles + tile
            for i in range(at, whole, 16):
                _put_integers(x, i, out, 16, inverse[g], zero[g], low, high)
            for i in range(whole, end):
                _put_integers(x, i, out, 1, inverse[g], zero[g], low, high)


@inlined
def _put_fp8(x, at, out, n, scale, mantissa, bias, top, overflow):
    bits = bits_of(load_source(x, at, n) / splat(scale, n))
    magnitude = bits & splat(MAGNITUDE, n)
    shift = i32(23) - mantissa
    magic = (i32(127 + 24) - bias - mantissa) << i32(23)  # a float whose last bit is the smallest FP8 number
    small = bits_of(float_of(magnitude) + float_of(splat(magic, n))) - splat(magic, n)
    odd = (magnitude >> splat(shift, n)) & splat(1, n)
    moved = ((i32(127) - bias) << i32(23)) - (i32(1) << (shift - i32(1))) + i32(1)
    normal = (magnitude - splat(moved, n) + odd) >> splat(shift, n)
    code = select(magnitude < splat((i32(128) - bias) << i32(23), n), small, normal)
    code = select(code > splat(top, n), splat(overflow, n), code)
    code = select(magnitude > splat(_INFINITE, n), splat(0x7F, n), code)
    store(out, at, to_bytes(code | ((bits >> splat(24, n)) & splat(0x80, n))))


@kernel
def fp8(x, columns, tile_rows, tile_columns, scale, mantissa, bias, top, overflow, out):
    """Stores x / scale as FP8 bytes, halves to even; codes above `top` become `overflow`."""
    tiles = -(-columns // tile_columns)
    for row in range(x.size // columns):
        for tile in range(tiles):
            at = row * columns + tile * tile_columns
            end = row * columns + min(columns, (tile + 1) * tile_columns)
            whole = at + (end - at) // 16 * 16
            g = row // tile_rows * tiles + tile
            for i in range(at, whole, 16):
                _put_fp8(x, i, out, 16, scale[g], mantissa, bias, top, overflow)
            for i in range(whole, end):
                _put_fp8(x, i, out, 1, scale[g], mantissa, bias, top, overflow)


@kernel
def four_bit(x, block, limits, steps, first_code, peaks, out):
    """Stores blocks as codes, the first of two weights in the high nibble, and their largest magnitudes.

    A code is `first_code` plus the steps of all limits that the scaled weight exceeds.
    """
    one, minus_one = splat(f32(1), 32), splat(f32(-1), 32)
    for b in range(x.size // block):
        peak = splat(0, 32)
        for i in range(b * block, (b + 1) * block, 32):
            peak = larger(peak, bits_of(load_source(x, i, 32)) & splat(MAGNITUDE, 32))
        peaks[b] = scalar_float(largest(peak))
        inverse = f32(1) / max(peaks[b], f32(1e-38))
        for i in range(b * block, (b + 1) * block, 32):
            scaled = larger(minus_one, smaller(one, load_source(x, i, 32) * splat(inverse, 32)))
            code = splat(first_code, 32)
            for k in range(15):
                code = code + select(scaled > splat(limits[k], 32), splat(steps[k], 32), splat(0, 32))
            four = quads(to_bytes(code))
            low = ((four << splat(4, 8)) & splat(0xF0, 8)) | ((four >> splat(8, 8)) & splat(0x0F, 8))
            high = ((four >> splat(4, 8)) & splat(0xF000, 8)) | ((four >> splat(16, 8)) & splat(0x0F00, 8))
            store(out, i // 2, to_words(low | high))


@kernel
def magnitude_sums(x, size, sums):
    """The sum of |x| over each stretch of `size`, in sixteen interleaved float64 sums."""
    for g in range(sums.size):
        parts = np.zeros(16, np.float64)
        whole = size // 16 * 16
        for i in range(g * size, g * size + whole, 16):
            for lane in range(16):
                parts[lane] += f64(abs(x[i + lane]))
        for lane in range(size - whole):
            parts[lane] += f64(abs(x[g * size + whole + lane]))
        for lane in range(16):
            sums[g] += parts[lane]


@inlined
def _squared_error(v, scale, inverse, zero, low, high):
    code = max(low, min(high, np.rint(v * inverse) + zero))
    error = f64(v) - f64((code - zero) * scale)
    return error * error


@kernel
def squared_errors(x, size, scale, inverse, zero, low, high, sums):
    """The sum of squared errors of integer codes over each stretch of `size`, as magnitude_sums adds."""
    for g in range(sums.size):
        parts = np.zeros(16, np.float64)
        whole = size // 16 * 16
        for i in range(g * size, g * size + whole, 16):
            for lane in range(16):
                parts[lane] += _squared_error(x[i + lane], scale[g], inverse[g], zero[g], low, high)
        for lane in range(size - whole):
            v = x[g * size + whole + lane]
            parts[lane] += _squared_error(v, scale[g], inverse[g], zero[g], low, high)
        for lane in range(16):
            sums[g] += parts[lane]
