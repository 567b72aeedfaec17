# mypy: allow-untyped-defs, allow-untyped-calls
"""Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: a block of 32 weights is one vector of 32 lanes; in a weighted search it is a lane.

Where 1 / d overflows (d is subnormal) GGML's casts make every code 0, so the scale is taken as 0 and the bias
dropped.
"""

import numpy as np

from kernels.cpu.halves import MAGNITUDE, layout, put_f16
from kernels.cpu.lanes import (
    WIDE,
    allocating,
    bits_of,
    first_half,
    float_of,
    inlined,
    kernel,
    larger,
    largest,
    load,
    load_source,
    nearest,
    scalar_float,
    second_half,
    set_bits,
    smaller,
    smallest,
    splat,
    store,
    to_bytes,
    to_int,
)
from kernels.cpu.searches import (
    load_group,
    mean_squares,
    put_scale,
    search_scale,
    search_scale_and_minimum,
    tiled,
    to_lanes,
    weigh,
)

f32 = np.float32
i32 = np.int32

_Q4_0, _Q4_1, _Q5_0, _Q5_1, _Q8_0 = (layout(name) for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"))

_SIGN = i32(-0x80000000)
_BELOW_HALF = i32(0x3EFFFFFF)  # the bits of the largest float32 below 0.5
_INFINITY = f32(np.inf)


@inlined
def _reciprocal(d):
    """1 / d, and 0 where d is 0 or too small."""
    inverse = f32(1) / d
    return inverse if abs(inverse) < _INFINITY else f32(0)


@inlined
def _first_is_negative(found, lanes):
    """Whether the first lane of the mask `found` holds a negative number or -0."""
    found_bits = set_bits(found)
    negative = set_bits(bits_of(lanes) < splat(0, 32))
    return (found_bits & -found_bits & negative) != 0


@inlined
def _put_nibbles(out, at, codes):
    low = codes & splat(15, 32)
    store(out, at, to_bytes(first_half(low) | (second_half(low) << splat(4, 16))))


@inlined
def _put_fifth_bits(out, at, codes):
    fifth = set_bits(codes > splat(15, 32))
    for k in range(4):
        out[at + k] = (fifth >> i32(8 * k)) & i32(255)


@inlined
def _symmetric(v, out, at, half_range):
    """Stores d of x ~ d * (q - half_range) and gives the codes."""
    magnitude = bits_of(v) & splat(MAGNITUDE, 32)
    bits = largest(magnitude)
    peak = scalar_float(bits)
    if bits > 0 and _first_is_negative(magnitude == splat(bits, 32), v):
        peak = -peak
    d = peak / f32(-half_range)
    put_f16(out, at, d)
    inverse = _reciprocal(d)
    bias = f32(half_range) + f32(0.5) if inverse != 0 or d == 0 else f32(0)
    return smaller(splat(2 * half_range - 1, 32), to_int(v * splat(inverse, 32) + splat(bias, 32)))


@inlined
def _ordered(lanes):
    """Integers that compare as the floats do, -0 below 0; its own inverse."""
    bits = bits_of(lanes)
    return bits ^ ((bits >> splat(31, 32)) & splat(MAGNITUDE, 32))


@inlined
def _unordered(key):
    return scalar_float(key ^ ((key >> i32(31)) & MAGNITUDE))


@inlined
def _first_zero(value, v):
    """`value`, but a zero gets the sign of the first zero in the block."""
    if value != 0:
        return value
    return f32(-0.0) if _first_is_negative(v == splat(f32(0), 32), v) else f32(0)


@inlined
def _with_minimum(v, out, at, levels):
    """Stores d and m of x ~ d * q + m and gives the codes."""
    keys = _ordered(v)
    m = _first_zero(_unordered(smallest(keys)), v)
    d = (_first_zero(_unordered(largest(keys)), v) - m) / f32(levels)
    put_f16(out, at, d)
    put_f16(out, at + _Q4_1.m, m)
    inverse = _reciprocal(d)
    bias = f32(0.5)
    if inverse == 0:
        m, bias = f32(0), f32(0)
    return smaller(splat(levels, 32), to_int((v - splat(m, 32)) * splat(inverse, 32) + splat(bias, 32)))


@kernel
def q4_0(x, out, first, last):
    peak = splat(0, 32)
    for b in range(first, last):
        v = load_source(x, 32 * b, 32)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 32))
        at = b * _Q4_0.size
        _put_nibbles(out, at + _Q4_0.qs, _symmetric(v, out, at, 8))
    return largest(peak)


@kernel
def q5_0(x, out, first, last):
    peak = splat(0, 32)
    for b in range(first, last):
        v = load_source(x, 32 * b, 32)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 32))
        at = b * _Q5_0.size
        codes = _symmetric(v, out, at, 16)
        _put_fifth_bits(out, at + _Q5_0.qh, codes)
        _put_nibbles(out, at + _Q5_0.qs, codes)
    return largest(peak)


@kernel
def q4_1(x, out, first, last):
    peak = splat(0, 32)
    for b in range(first, last):
        v = load_source(x, 32 * b, 32)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 32))
        at = b * _Q4_1.size
        _put_nibbles(out, at + _Q4_1.qs, _with_minimum(v, out, at, 15))
    return largest(peak)


@kernel
def q5_1(x, out, first, last):
    peak = splat(0, 32)
    for b in range(first, last):
        v = load_source(x, 32 * b, 32)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 32))
        at = b * _Q5_1.size
        codes = _with_minimum(v, out, at, 31)
        _put_fifth_bits(out, at + _Q5_1.qh, codes)
        _put_nibbles(out, at + _Q5_1.qs, codes)
    return largest(peak)


@inlined
def _sigma2(means, b, blocks_in_row, room):
    """The mean square of the row of each block from b on."""
    for lane in range(WIDE):
        room[lane] = means[min((b + lane) // blocks_in_row, means.size - 1)]
    return load(room, 0, WIDE)


@inlined
def _searched_code(v, inverse, half_range):
    """Codes of x ~ d * (q - half_range) by the search; 0 where it found nothing."""
    if inverse != inverse:
        return splat(0, 32)
    code = smaller(splat(f32(half_range - 1), 32), nearest(v * splat(inverse, 32)))
    return to_int(larger(splat(f32(-half_range), 32), code)) + splat(half_range, 32)


@inlined
def _searched_code_with_minimum(v, inverse, low, levels):
    value = (v - splat(low, 32)) * splat(inverse, 32)
    return to_int(nearest(smaller(larger(value, splat(f32(0), 32)), splat(f32(levels), 32))))


@allocating
def _search_group(buffer, tiles, at, sigma2, half_range, scales, inverses):
    xt, wt, ut = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    to_lanes(buffer, 0, 32, xt, 32)
    to_lanes(tiles, at, 32, wt, 32)
    weigh(xt, wt, 32, sigma2)
    search_scale(xt, wt, ut, 32, half_range, False, scales, inverses, 0)


@allocating
def _search_group_with_minimum(buffer, tiles, at, sigma2, levels, scales, minima, inverses, lows):
    xt, wt, lt = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    to_lanes(buffer, 0, 32, xt, 32)
    to_lanes(tiles, at, 32, wt, 32)
    weigh(xt, wt, 32, sigma2)
    search_scale_and_minimum(xt, wt, lt, 32, levels, scales, minima, inverses, lows, 0)


@kernel
def q4_0_weighted(x, importance, out, first, last):
    buffer, tiles, means = np.zeros(32 * WIDE, f32), tiled(importance, 32), mean_squares(x, importance.size)
    scales, inverses = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, 32 * b, 32 * count, buffer))
        sigma2 = _sigma2(means, b, importance.size // 32, scales)
        _search_group(buffer, tiles, 32 * b % importance.size, sigma2, 8, scales, inverses)
        for s in range(count):
            at = (b + s) * _Q4_0.size
            put_scale(out, at + _Q4_0.d, scales[s])
            _put_nibbles(out, at + _Q4_0.qs, _searched_code(load(buffer, 32 * s, 32), inverses[s], 8))
    return peak


@kernel
def q5_0_weighted(x, importance, out, first, last):
    buffer, tiles, means = np.zeros(32 * WIDE, f32), tiled(importance, 32), mean_squares(x, importance.size)
    scales, inverses = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, 32 * b, 32 * count, buffer))
        sigma2 = _sigma2(means, b, importance.size // 32, scales)
        _search_group(buffer, tiles, 32 * b % importance.size, sigma2, 16, scales, inverses)
        for s in range(count):
            at = (b + s) * _Q5_0.size
            put_scale(out, at + _Q5_0.d, scales[s])
            codes = _searched_code(load(buffer, 32 * s, 32), inverses[s], 16)
            _put_fifth_bits(out, at + _Q5_0.qh, codes)
            _put_nibbles(out, at + _Q5_0.qs, codes)
    return peak


@kernel
def q4_1_weighted(x, importance, out, first, last):
    buffer, tiles, means = np.zeros(32 * WIDE, f32), tiled(importance, 32), mean_squares(x, importance.size)
    scales, minima = np.empty(WIDE, f32), np.empty(WIDE, f32)
    inverses, lows = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, 32 * b, 32 * count, buffer))
        sigma2 = _sigma2(means, b, importance.size // 32, scales)
        at = 32 * b % importance.size
        _search_group_with_minimum(buffer, tiles, at, sigma2, 15, scales, minima, inverses, lows)
        for s in range(count):
            at = (b + s) * _Q4_1.size
            put_scale(out, at + _Q4_1.d, scales[s])
            put_scale(out, at + _Q4_1.m, minima[s])
            codes = _searched_code_with_minimum(load(buffer, 32 * s, 32), inverses[s], lows[s], 15)
            _put_nibbles(out, at + _Q4_1.qs, codes)
    return peak


@kernel
def q5_1_weighted(x, importance, out, first, last):
    buffer, tiles, means = np.zeros(32 * WIDE, f32), tiled(importance, 32), mean_squares(x, importance.size)
    scales, minima = np.empty(WIDE, f32), np.empty(WIDE, f32)
    inverses, lows = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, 32 * b, 32 * count, buffer))
        sigma2 = _sigma2(means, b, importance.size // 32, scales)
        at = 32 * b % importance.size
        _search_group_with_minimum(buffer, tiles, at, sigma2, 31, scales, minima, inverses, lows)
        for s in range(count):
            at = (b + s) * _Q5_1.size
            put_scale(out, at + _Q5_1.d, scales[s])
            put_scale(out, at + _Q5_1.m, minima[s])
            codes = _searched_code_with_minimum(load(buffer, 32 * s, 32), inverses[s], lows[s], 31)
            _put_fifth_bits(out, at + _Q5_1.qh, codes)
            _put_nibbles(out, at + _Q5_1.qs, codes)
    return peak


@kernel
def q8_0(x, out, first, last):
    peak = i32(0)
    for b in range(first, last):
        v = load_source(x, 32 * b, 32)
        bits = largest(bits_of(v) & splat(MAGNITUDE, 32))
        peak = max(peak, bits)
        d = scalar_float(bits) / f32(127)
        at = b * _Q8_0.size
        put_f16(out, at, d)
        scaled = v * splat(_reciprocal(d), 32)
        # Adding almost a half and cutting off is roundf: halves away from zero.
        away = float_of((bits_of(scaled) & splat(_SIGN, 32)) | splat(_BELOW_HALF, 32))
        store(out, at + _Q8_0.qs, to_bytes(to_int(scaled + away)))
    return peak
