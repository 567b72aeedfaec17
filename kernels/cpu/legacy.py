# mypy: allow-untyped-defs, allow-untyped-calls
"""Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: a block of 32 weights is one vector of 32 lanes; in a weighted search it is a lane.

Where 1 / d overflows (d is subnormal) GGML's casts make every code 0, so the scale is taken as 0 and the bias
dropped.
"""

import numpy as np

from kernels.cpu.halves import MAGNITUDE, f16_lanes, layout
from kernels.cpu.lanes import (
    WIDE,
    absolute,
    allocating,
    any_of,
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
    second_half,
    select,
    set_bits,
    smaller,
    splat,
    store,
    to_bytes,
    to_int,
    to_words,
    transpose,
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
def _reciprocals(d):
    """1 / d, and 0 where d is 0 or too small."""
    inverse = splat(f32(1), 16) / d
    return select(absolute(inverse) < splat(_INFINITY, 16), inverse, splat(f32(0), 16))


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
def _extremes_of_blocks(x, b, count, room, peak):
    """The smallest and largest weights of 16 blocks from b on, a block a lane; lanes past `count` hold what was there.

    Also the largest magnitudes so far, as bits: in those a NaN is not lost.
    """
    for s in range(count):
        v = load_source(x, 32 * (b + s), 32)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 32))
        low, high = smaller(first_half(v), second_half(v)), larger(first_half(v), second_half(v))
        store(room, 16 * s, smaller(first_half(low), second_half(low)))
        store(room, 16 * s + 8, larger(first_half(high), second_half(high)))
    transpose(room, 0, 16, room, 256, 16)
    low, high = load(room, 256, 16), load(room, 384, 16)
    for i in range(1, 8):
        low, high = smaller(load(room, 256 + 16 * i, 16), low), larger(load(room, 384 + 16 * i, 16), high)
    return low, high, peak


@inlined
def _symmetric(x, b, count, half_range, room, halves, inverses, biases, peak):
    """Of x ~ d * (q - half_range): d as f16, 1 / d and what is added before codes are cut off, for 16 blocks."""
    zero = splat(f32(0), 16)
    low, high, peak = _extremes_of_blocks(x, b, count, room, peak)
    peaks = select(high > zero - low, high, select(high == zero - low, zero, low))
    store(inverses, 0, peaks)
    tie = (high == zero - low) & (high > zero)
    if any_of(tie):  # rare: the first of equals decides
        store(biases, 0, select(tie, high, zero))
        for s in range(count):
            if biases[s] > 0:
                v = load_source(x, 32 * (b + s), 32)
                negative = _first_is_negative(absolute(v) == splat(biases[s], 32), v)
                inverses[s] = -biases[s] if negative else biases[s]
    d = load(inverses, 0, 16) / splat(f32(-half_range), 16)
    inverse = _reciprocals(d)
    store(halves, 0, to_words(f16_lanes(d, 16)))
    store(inverses, 0, inverse)
    store(biases, 0, select((inverse != zero) | (d == zero), splat(f32(half_range) + f32(0.5), 16), zero))
    return peak


@inlined
def _symmetric_codes(x, b, s, half_range, inverses, biases):
    value = load_source(x, 32 * (b + s), 32) * splat(inverses[s], 32) + splat(biases[s], 32)
    return smaller(splat(2 * half_range - 1, 32), to_int(value))


@inlined
def _first_zero(value, v):
    """`value`, but a zero gets the sign of the first zero in the block."""
    if value != 0:
        return value
    return f32(-0.0) if _first_is_negative(v == splat(f32(0), 32), v) else f32(0)


@inlined
def _with_minimum(x, b, count, levels, room, halves, inverses, minima, peak):
    """Of x ~ d * q + m: d and m as f16, 1 / d and m, for 16 blocks; m is 0 where every code is 0."""
    zero = splat(f32(0), 16)
    low, high, peak = _extremes_of_blocks(x, b, count, room, peak)
    if any_of((low == zero) | (high == zero)):  # rare
        store(minima, 0, low)
        store(inverses, 0, high)
        for s in range(count):
            v = load_source(x, 32 * (b + s), 32)
            minima[s], inverses[s] = _first_zero(minima[s], v), _first_zero(inverses[s], v)
        low, high = load(minima, 0, 16), load(inverses, 0, 16)
    d = (high - low) / splat(f32(levels), 16)
    inverse = _reciprocals(d)
    store(halves, 0, to_words(f16_lanes(d, 16)))
    store(halves, 32, to_words(f16_lanes(low, 16)))
    store(inverses, 0, inverse)
    store(minima, 0, select(inverse == zero, zero, low))
    return peak


@inlined
def _codes_with_minimum(x, b, s, levels, inverses, minima):
    value = (load_source(x, 32 * (b + s), 32) - splat(minima[s], 32)) * splat(inverses[s], 32)
    bias = f32(0) if inverses[s] == 0 else f32(0.5)
    return smaller(splat(levels, 32), to_int(value + splat(bias, 32)))


@inlined
def _put_half(out, at, halves, s):
    out[at], out[at + 1] = halves[2 * s], halves[2 * s + 1]


@kernel
def q4_0(x, out, first, last):
    room, halves, peak = np.zeros(512, f32), np.empty(32, np.uint8), splat(0, 32)
    inverses, biases = np.empty(16, f32), np.empty(16, f32)
    for b in range(first, last, 16):
        count = min(16, last - b)
        peak = _symmetric(x, b, count, 8, room, halves, inverses, biases, peak)
        for s in range(count):
            at = (b + s) * _Q4_0.size
            _put_half(out, at + _Q4_0.d, halves, s)
            _put_nibbles(out, at + _Q4_0.qs, _symmetric_codes(x, b, s, 8, inverses, biases))
    return largest(peak)


@kernel
def q5_0(x, out, first, last):
    room, halves, peak = np.zeros(512, f32), np.empty(32, np.uint8), splat(0, 32)
    inverses, biases = np.empty(16, f32), np.empty(16, f32)
    for b in range(first, last, 16):
        count = min(16, last - b)
        peak = _symmetric(x, b, count, 16, room, halves, inverses, biases, peak)
        for s in range(count):
            at = (b + s) * _Q5_0.size
            codes = _symmetric_codes(x, b, s, 16, inverses, biases)
            _put_half(out, at + _Q5_0.d, halves, s)
            _put_fifth_bits(out, at + _Q5_0.qh, codes)
            _put_nibbles(out, at + _Q5_0.qs, codes)
    return largest(peak)


@kernel
def q4_1(x, out, first, last):
    room, halves, peak = np.zeros(512, f32), np.empty(64, np.uint8), splat(0, 32)
    inverses, minima = np.empty(16, f32), np.empty(16, f32)
    for b in range(first, last, 16):
        count = min(16, last - b)
        peak = _with_minimum(x, b, count, 15, room, halves, inverses, minima, peak)
        for s in range(count):
            at = (b + s) * _Q4_1.size
            _put_half(out, at + _Q4_1.d, halves, s)
            _put_half(out, at + _Q4_1.m, halves, 16 + s)
            _put_nibbles(out, at + _Q4_1.qs, _codes_with_minimum(x, b, s, 15, inverses, minima))
    return largest(peak)


@kernel
def q5_1(x, out, first, last):
    room, halves, peak = np.zeros(512, f32), np.empty(64, np.uint8), splat(0, 32)
    inverses, minima = np.empty(16, f32), np.empty(16, f32)
    for b in range(first, last, 16):
        count = min(16, last - b)
        peak = _with_minimum(x, b, count, 31, room, halves, inverses, minima, peak)
        for s in range(count):
            at = (b + s) * _Q5_1.size
            codes = _codes_with_minimum(x, b, s, 31, inverses, minima)
            _put_half(out, at + _Q5_1.d, halves, s)
            _put_half(out, at + _Q5_1.m, halves, 16 + s)
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


@inlined
def _largest_of_blocks(x, b, count, partial, turned):
    """The largest magnitudes of 16 blocks from b on, as bits; lanes past `count` hold what was there."""
    for s in range(count):
        magnitude = bits_of(load_source(x, 32 * (b + s), 32)) & splat(MAGNITUDE, 32)
        store(partial, 16 * s, larger(first_half(magnitude), second_half(magnitude)))
    transpose(partial, 0, 16, turned, 0, 16)
    peaks = bits_of(load(turned, 0, 16))
    for i in range(1, 16):
        peaks = larger(peaks, bits_of(load(turned, 16 * i, 16)))
    return peaks


@kernel
def q8_0(x, out, first, last):
    partial, turned, inverses = np.zeros(256, f32), np.empty(256, f32), np.empty(16, f32)
    halves, peak = np.empty(32, np.uint8), splat(0, 16)
    for b in range(first, last, 16):
        count = min(16, last - b)
        peaks = _largest_of_blocks(x, b, count, partial, turned)
        peak = larger(peak, peaks)
        d = float_of(peaks) / splat(f32(127), 16)
        store(inverses, 0, _reciprocals(d))
        store(halves, 0, to_words(f16_lanes(d, 16)))
        for s in range(count):
            at = (b + s) * _Q8_0.size
            _put_half(out, at + _Q8_0.d, halves, s)
            scaled = load_source(x, 32 * (b + s), 32) * splat(inverses[s], 32)
            # Adding almost a half and cutting off is roundf: halves away from zero.
            away = float_of((bits_of(scaled) & splat(_SIGN, 32)) | splat(_BELOW_HALF, 32))
            store(out, at + _Q8_0.qs, to_bytes(to_int(scaled + away)))
    return largest(peak)
