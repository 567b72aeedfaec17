# mypy: allow-untyped-defs, allow-untyped-calls
"""Formats with one scale a block or sub-block and nothing above it: the searches of the reference, a scale a lane."""

import numpy as np

from kernels.best.cpu.frame import between, improve, stored_f16
from kernels.best.cpu.parts import half, load_bytes
from kernels.best.searches import IQ4_NL, MXFP4, NVFP4, Q1_0, Q2_0, Q4_0, Q5_0, Q8_0, TQ1_0, TQ2_0
from kernels.codebooks import IQ4_LEVELS
from kernels.cpu.halves import layout, put_f16
from kernels.cpu.lanes import (
    WIDE,
    absolute,
    bits_of,
    float_of,
    inlined,
    kernel,
    larger,
    load,
    scalar_bits,
    select,
    smaller,
    splat,
    store,
    to_bytes,
    to_float,
    to_int,
)
from kernels.reference.fp4 import e8m0_halves, ue4m3_halves

f32 = np.float32
i32 = np.int32

_HUGE = f32(3e38)
_Q4_0, _Q5_0, _Q8_0, _IQ4_NL = (layout(name) for name in ("Q4_0", "Q5_0", "Q8_0", "IQ4_NL"))
_TQ1_0, _TQ2_0, _Q2_0, _Q1_0 = (layout(name) for name in ("TQ1_0", "TQ2_0", "Q2_0", "Q1_0"))
_MXFP4, _NVFP4 = layout("MXFP4"), layout("NVFP4")

IQ4 = IQ4_LEVELS.astype(np.float32)
IQ4_MIDDLES = (IQ4[1:] + IQ4[:-1]) / f32(2)
_FP4 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
_FP4_MIDDLES = (_FP4[1:8] + _FP4[:7]) / f32(2)
_HALF_POWERS = e8m0_halves(np.arange(256, dtype=np.uint8)).astype(np.float32)
_HALF_E4M3 = ue4m3_halves(np.arange(256, dtype=np.uint8)).astype(np.float32)
_POWERS = np.array([1, 3, 9, 27, 81], np.int32)


@inlined
def _fit(xt, wt, size, level, d):
    """With the nearest levels: the error, sum(w q x) and sum(w q q)."""
    inverse = splat(f32(1), WIDE) / d
    error, sum_lx, sum_l2 = splat(f32(0), WIDE), splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(size):
        v, w = load(xt, i * WIDE, WIDE), load(wt, i * WIDE, WIDE)
        q = level(v * inverse, WIDE)
        difference = d * q - v
        error = error + w * (difference * difference)
        wq = w * q
        sum_lx = sum_lx + wq * v
        sum_l2 = sum_l2 + wq * q
    return error, sum_lx, sum_l2


@inlined
def _sums(xt, wt, size, level, inverse):
    sum_lx, sum_l2 = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        q = level(v * inverse, WIDE)
        wq = load(wt, i * WIDE, WIDE) * q
        sum_lx = sum_lx + wq * v
        sum_l2 = sum_l2 + wq * q
    return sum_lx, sum_l2


@inlined
def _peaks(xt, wt, size):
    """The largest magnitude of each lane that counts at all, and the first weight that has it."""
    magnitude, peak = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        found = (absolute(v) > magnitude) & (load(wt, i * WIDE, WIDE) > splat(f32(0), WIDE))
        magnitude, peak = select(found, absolute(v), magnitude), select(found, v, peak)
    return magnitude, peak


@inlined
def _single(xt, wt, how, level):
    """The f16 scale of each block."""
    zero, best = splat(f32(0), WIDE), splat(_HUGE, WIDE)
    _, peak = _peaks(xt, wt, how.size)
    best_d = zero
    for side in range(how.sides):
        base = zero - peak if side else peak
        for k in range(how.starts):
            inverse = splat(f32(how.first) + f32(how.step) * f32(k), WIDE) / base
            sum_lx, sum_l2 = _sums(xt, wt, how.size, level, inverse)
            for _ in range(how.rounds + 1):
                d = half(sum_lx / sum_l2)
                error, sum_lx, sum_l2 = _fit(xt, wt, how.size, level, d)
                better = error < best
                best, best_d = select(better, error, best), select(better, d, best_d)
    return splat(f32(1), WIDE), zero, best_d, zero


@inlined
def _scan(xt, wt, how, level, scale_near):
    """The 8-bit scale of each lane, halved as levels are doubled."""
    zero, best = splat(f32(0), WIDE), splat(_HUGE, WIDE)
    magnitude, _ = _peaks(xt, wt, how.size)
    best_d = zero
    for k in range(-how.below, how.above + 1):
        d = scale_near(magnitude, k)
        error, _, _ = _fit(xt, wt, how.size, level, d)
        better = error < best
        best, best_d = select(better, error, best), select(better, d, best_d)
    return splat(f32(1), WIDE), zero, best_d, zero


# Levels.


@inlined
def iq4_level(quotient, n):
    level = splat(IQ4[0], n)
    for k in range(15):
        level = select(quotient < splat(IQ4_MIDDLES[k], n), level, splat(IQ4[k + 1], n))
    return level


@inlined
def _fp4_level(quotient, n):
    magnitude, level = absolute(quotient), splat(f32(0), n)
    for k in range(7):
        level = select(magnitude > splat(_FP4_MIDDLES[k], n), splat(_FP4[k + 1], n), level)
    return float_of(bits_of(level) | (bits_of(quotient) & splat(-0x80000000, n)))


@inlined
def _sign_level(quotient, n):
    return select(quotient >= splat(f32(0), n), splat(f32(1), n), splat(f32(-1), n))


@inlined
def count_passed(level, middles, count):
    """How many of the first middles a level is above, as integers."""
    code = splat(0, 16)
    for k in range(count):
        code = select(level > splat(middles[k], 16), splat(k + 1, 16), code)
    return code


# Bytes. Fields in front of the codes are the same in most formats.


@inlined
def _put_nibbles(block, at, low, high):
    store(block, at, to_bytes((low & splat(15, 16)) | ((high & splat(15, 16)) << splat(4, 16))))


@inlined
def _unpack_nibbles(block, at, bias, levels):
    packed = load_bytes(block, at, 16)
    store(levels, 0, to_float((packed & splat(15, 16)) - splat(bias, 16)))
    store(levels, 16, to_float((packed >> splat(4, 16)) - splat(bias, 16)))


_four_bit, _five_bit, _eight_bit = between(-8, 7), between(-16, 15), between(-128, 127)
_three_levels, _four_levels = between(-1, 1), between(-1, 2)


@inlined
def _search_four_bit(xt, wt, room, how, known):
    return _single(xt, wt, how, _four_bit)


@inlined
def _pack_q4_0(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _Q4_0.d, scales[j0])
    low, high = to_int(load(levels, start, 16)), to_int(load(levels, start + 16, 16))
    _put_nibbles(block, _Q4_0.qs, low + splat(8, 16), high + splat(8, 16))


@inlined
def _unpack_q4_0(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _Q4_0.d)
    _unpack_nibbles(block, at + _Q4_0.qs, 8, levels)


@kernel
def q4_0(x, importance, out, first, last):
    improve(
        x, importance, out, first, last, Q4_0, _Q4_0.size, False, _search_four_bit, _four_bit, _pack_q4_0, _unpack_q4_0
    )


@inlined
def _search_five_bit(xt, wt, room, how, known):
    return _single(xt, wt, how, _five_bit)


@inlined
def _pack_q5_0(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _Q5_0.d, scales[j0])
    low, high = to_int(load(levels, start, 16)) + splat(16, 16), to_int(load(levels, start + 16, 16)) + splat(16, 16)
    _put_nibbles(block, _Q5_0.qs, low, high)
    for k in range(4):
        block[_Q5_0.qh + k] = 0
    for i in range(32):
        if levels[start + i] >= 0:
            block[_Q5_0.qh + i // 8] |= i32(1) << i32(i % 8)


@inlined
def _unpack_q5_0(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _Q5_0.d)
    _unpack_nibbles(block, at + _Q5_0.qs, 16, levels)
    for i in range(32):
        if (i32(block[at + _Q5_0.qh + i // 8]) >> i32(i % 8)) & i32(1):
            levels[i] += f32(16)


@kernel
def q5_0(x, importance, out, first, last):
    improve(
        x, importance, out, first, last, Q5_0, _Q5_0.size, False, _search_five_bit, _five_bit, _pack_q5_0, _unpack_q5_0
    )


@inlined
def _search_eight_bit(xt, wt, room, how, known):
    return _single(xt, wt, how, _eight_bit)


@inlined
def _pack_q8_0(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _Q8_0.d, scales[j0])
    store(block, _Q8_0.qs, to_bytes(to_int(load(levels, start, 16))))
    store(block, _Q8_0.qs + 16, to_bytes(to_int(load(levels, start + 16, 16))))


@inlined
def _unpack_q8_0(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _Q8_0.d)
    for i in range(0, 32, 16):
        code = load_bytes(block, at + _Q8_0.qs + i, 16)
        store(levels, i, to_float(select(code > splat(127, 16), code - splat(256, 16), code)))


@kernel
def q8_0(x, importance, out, first, last):
    improve(
        x,
        importance,
        out,
        first,
        last,
        Q8_0,
        _Q8_0.size,
        False,
        _search_eight_bit,
        _eight_bit,
        _pack_q8_0,
        _unpack_q8_0,
    )


@inlined
def _search_iq4(xt, wt, room, how, known):
    return _single(xt, wt, how, iq4_level)


@inlined
def _pack_iq4_nl(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _IQ4_NL.d, scales[j0])
    low = count_passed(load(levels, start, 16), IQ4_MIDDLES, 15)
    _put_nibbles(block, _IQ4_NL.qs, low, count_passed(load(levels, start + 16, 16), IQ4_MIDDLES, 15))


@inlined
def _unpack_iq4_nl(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _IQ4_NL.d)
    for i in range(16):
        packed = i32(block[at + _IQ4_NL.qs + i])
        levels[i], levels[i + 16] = IQ4[packed & i32(15)], IQ4[packed >> i32(4)]


@kernel
def iq4_nl(x, importance, out, first, last):
    improve(
        x,
        importance,
        out,
        first,
        last,
        IQ4_NL,
        _IQ4_NL.size,
        False,
        _search_iq4,
        iq4_level,
        _pack_iq4_nl,
        _unpack_iq4_nl,
    )


@inlined
def _search_three(xt, wt, room, how, known):
    return _single(xt, wt, how, _three_levels)


@inlined
def _pack_tq2_0(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _TQ2_0.d, scales[j0])
    for i in range(0, 64, 16):
        packed = splat(0, 16)
        for k in range(4):
            code = to_int(load(levels, start + i // 32 * 128 + i % 32 + 32 * k, 16)) + splat(1, 16)
            packed = packed | (code << splat(2 * k, 16))
        store(block, _TQ2_0.qs + i, to_bytes(packed))


@inlined
def _unpack_tq2_0(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _TQ2_0.d)
    for i in range(0, 64, 16):
        packed = load_bytes(block, at + _TQ2_0.qs + i, 16)
        for k in range(4):
            code = (packed >> splat(2 * k, 16)) & splat(3, 16)
            store(levels, i // 32 * 128 + i % 32 + 32 * k, to_float(code - splat(1, 16)))


@kernel
def tq2_0(x, importance, out, first, last):
    improve(
        x,
        importance,
        out,
        first,
        last,
        TQ2_0,
        _TQ2_0.size,
        False,
        _search_three,
        _three_levels,
        _pack_tq2_0,
        _unpack_tq2_0,
    )


@inlined
def _trits_at(i):
    """Of byte i of qs and qh: its first weight, how many it has and how far they are apart."""
    if i < 32:
        return i, 5, 32
    if i < 48:
        return 160 + i - 32, 5, 16
    return 240 + i - 48, 4, 4


@inlined
def _pack_tq1_0(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _TQ1_0.d, scales[j0])
    for i in range(52):
        at, count, apart = _trits_at(i)
        number = i32(0)
        for k in range(5):
            number = number * i32(3) + (i32(levels[start + at + k * apart]) + i32(1) if k < count else i32(0))
        block[_TQ1_0.qs + i] = (number * i32(256) + i32(242)) // i32(243)


@inlined
def _unpack_tq1_0(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _TQ1_0.d)
    for i in range(52):
        to, count, apart = _trits_at(i)
        packed = i32(block[at + _TQ1_0.qs + i])
        for k in range(count):
            levels[to + k * apart] = f32(((((packed * _POWERS[k]) & i32(255)) * i32(3)) >> i32(8)) - i32(1))


@kernel
def tq1_0(x, importance, out, first, last):
    improve(
        x,
        importance,
        out,
        first,
        last,
        TQ1_0,
        _TQ1_0.size,
        False,
        _search_three,
        _three_levels,
        _pack_tq1_0,
        _unpack_tq1_0,
    )


@inlined
def _search_four(xt, wt, room, how, known):
    return _single(xt, wt, how, _four_levels)


@inlined
def _pack_q2_0(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _Q2_0.d, scales[j0])
    for i in range(16):
        packed = i32(0)
        for k in range(4):
            packed |= (i32(levels[start + 4 * i + k]) + i32(1)) << i32(2 * k)
        block[_Q2_0.qs + i] = packed


@inlined
def _unpack_q2_0(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _Q2_0.d)
    for i in range(64):
        levels[i] = f32(((i32(block[at + _Q2_0.qs + i // 4]) >> i32(2 * (i % 4))) & i32(3)) - i32(1))


@kernel
def q2_0(x, importance, out, first, last):
    improve(
        x, importance, out, first, last, Q2_0, _Q2_0.size, False, _search_four, _four_levels, _pack_q2_0, _unpack_q2_0
    )


@inlined
def _search_sign(xt, wt, room, how, known):
    return _single(xt, wt, how, _sign_level)


@inlined
def _pack_q1_0(block, d, dmin, scales, minima, j0, levels, start):
    put_f16(block, _Q1_0.d, scales[j0])
    for i in range(16):
        packed = i32(0)
        for k in range(8):
            packed |= (i32(1) if levels[start + 8 * i + k] > 0 else i32(0)) << i32(k)
        block[_Q1_0.qs + i] = packed


@inlined
def _unpack_q1_0(block, at, scales, minima, levels):
    scales[0] = stored_f16(block, at + _Q1_0.d)
    for i in range(128):
        levels[i] = f32(2 * ((i32(block[at + _Q1_0.qs + i // 8]) >> i32(i % 8)) & i32(1)) - 1)


@kernel
def q1_0(x, importance, out, first, last):
    improve(
        x, importance, out, first, last, Q1_0, _Q1_0.size, False, _search_sign, _sign_level, _pack_q1_0, _unpack_q1_0
    )


# FP4. Levels are doubled, and scales half of what their byte says.


@inlined
def _power_near(magnitude, k):
    """Half of the power of two that puts the magnitude between 4 and 8, times 2**k."""
    e = (bits_of(magnitude) >> splat(23, WIDE)) + splat(k - 3, WIDE)
    return float_of(larger(smaller(e, splat(253, WIDE)), splat(1, WIDE)) << splat(23, WIDE))


@inlined
def _e4m3_near(magnitude, k):
    """Half of the unsigned E4M3 value k bytes above the one nearest to a sixth of the magnitude."""
    value = magnitude / splat(f32(6), WIDE)
    small = to_int(smaller(value * splat(f32(512), WIDE) + splat(f32(0.5), WIDE), splat(f32(7), WIDE)))
    normal = ((bits_of(value) + splat(1 << 19, WIDE)) >> splat(20, WIDE)) - splat(120 << 3, WIDE)
    usual = select(value < splat(f32(2.0**-6), WIDE), small, smaller(normal, splat(126, WIDE)))
    byte = larger(smaller(usual + splat(k, WIDE), splat(126, WIDE)), splat(1, WIDE))
    large = float_of((byte << splat(20, WIDE)) + splat(119 << 23, WIDE))
    return select(byte < splat(8, WIDE), to_float(byte) * splat(f32(2.0**-10), WIDE), large)


@inlined
def _search_mxfp4(xt, wt, room, how, known):
    return _scan(xt, wt, how, _fp4_level, _power_near)


@inlined
def _search_nvfp4(xt, wt, room, how, known):
    return _scan(xt, wt, how, _fp4_level, _e4m3_near)


@inlined
def _fp4_codes(level):
    code = count_passed(absolute(level), _FP4_MIDDLES, 7)
    return select(level < splat(f32(0), 16), code | splat(8, 16), code)


@inlined
def _pack_mxfp4(block, d, dmin, scales, minima, j0, levels, start):
    block[_MXFP4.e] = (scalar_bits(scales[j0]) >> i32(23)) + i32(1)
    _put_nibbles(block, _MXFP4.qs, _fp4_codes(load(levels, start, 16)), _fp4_codes(load(levels, start + 16, 16)))


@inlined
def _unpack_mxfp4(block, at, scales, minima, levels):
    scales[0] = _HALF_POWERS[block[at + _MXFP4.e]]
    for i in range(16):
        packed = i32(block[at + _MXFP4.qs + i])
        levels[i], levels[i + 16] = _FP4[packed & i32(15)], _FP4[packed >> i32(4)]


@kernel
def mxfp4(x, importance, out, first, last):
    improve(
        x,
        importance,
        out,
        first,
        last,
        MXFP4,
        _MXFP4.size,
        False,
        _search_mxfp4,
        _fp4_level,
        _pack_mxfp4,
        _unpack_mxfp4,
    )


@inlined
def _pack_nvfp4(block, d, dmin, scales, minima, j0, levels, start):
    for part in range(4):
        scale = scales[j0 + part]
        large = (scalar_bits(scale) - i32(119 << 23)) >> i32(20)
        block[_NVFP4.d + part] = large if scale >= f32(2.0**-7) else i32(scale * f32(1024))
        codes = _fp4_codes(load(levels, start + 16 * part, 16))
        store(levels, start + 16 * part, to_float(codes))
        for i in range(8):
            low, high = i32(levels[start + 16 * part + i]), i32(levels[start + 16 * part + 8 + i])
            block[_NVFP4.qs + 8 * part + i] = low | (high << i32(4))


@inlined
def _unpack_nvfp4(block, at, scales, minima, levels):
    for part in range(4):
        scales[part] = _HALF_E4M3[block[at + _NVFP4.d + part]]
        for i in range(8):
            packed = i32(block[at + _NVFP4.qs + 8 * part + i])
            levels[16 * part + i], levels[16 * part + 8 + i] = _FP4[packed & i32(15)], _FP4[packed >> i32(4)]


@kernel
def nvfp4(x, importance, out, first, last):
    improve(
        x,
        importance,
        out,
        first,
        last,
        NVFP4,
        _NVFP4.size,
        False,
        _search_nvfp4,
        _fp4_level,
        _pack_nvfp4,
        _unpack_nvfp4,
    )
