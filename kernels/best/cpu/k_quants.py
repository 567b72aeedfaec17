# mypy: allow-untyped-defs, allow-untyped-calls
"""Q2_K to Q6_K with lower error: the searches of the reference with one sub-block a lane, WIDE of them at once."""

import numpy as np

from kernels.best.cpu.frame import ROOM, between, improve, stored_f16
from kernels.best.cpu.parts import (
    half,
    load_bytes,
    top,
    total,
)
from kernels.best.searches import Q2_K, Q3_K, Q3_K_PLAIN, Q4_K, Q5_K, Q6_K
from kernels.cpu.halves import layout, put_f16
from kernels.cpu.lanes import (
    WIDE,
    absolute,
    inlined,
    kernel,
    larger,
    load,
    nearest,
    select,
    smaller,
    splat,
    store,
    to_bytes,
    to_float,
    to_int,
)
from kernels.formats import FORMATS

f32 = np.float32
f64 = np.float64
i32 = np.int32

_SIZE = FORMATS["Q4_K"].block_size
_Q2_K, _Q3_K, _Q4_K, _Q5_K, _Q6_K = (layout(name) for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"))
_HUGE = f32(3e38)
assert 2 * max(Q2_K.grid, Q4_K.grid, Q5_K.grid) <= ROOM

_two_bit, _four_bit, _five_bit = between(0, 3), between(0, 15), between(0, 31)
_three_bit, _six_bit = between(-4, 3), between(-32, 31)


# Scale and minimum.


@inlined
def _code(v, inverse, low, levels):
    code = smaller(nearest((v - low) * inverse), splat(f32(levels), WIDE))
    return larger(code, splat(f32(0), WIDE))


@inlined
def _measure(difference, mean_absolute):
    return absolute(difference) if mean_absolute else difference * difference


@inlined
def affine_error(xt, wt, how, scale, low, mean_absolute):
    """The error of each sub-block with its best codes."""
    inverse, error = splat(f32(1), WIDE) / scale, splat(f32(0), WIDE)
    for i in range(how.size):
        v = load(xt, i * WIDE, WIDE)
        difference = scale * _code(v, inverse, low, how.levels) + low - v
        error = error + load(wt, i * WIDE, WIDE) * _measure(difference, mean_absolute)
    return error


@inlined
def affine_sums(xt, wt, how, inverse, low):
    """sum(w q), sum(w q q) and sum(w q x) of each sub-block."""
    sum_l, sum_l2, sum_xl = splat(f32(0), WIDE), splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(how.size):
        v = load(xt, i * WIDE, WIDE)
        code = _code(v, inverse, low, how.levels)
        wl = load(wt, i * WIDE, WIDE) * code
        sum_l = sum_l + wl
        sum_l2 = sum_l2 + wl * code
        sum_xl = sum_xl + wl * v
    return sum_l, sum_l2, sum_xl


@inlined
def _fitted(sums, sum_w, sum_x):
    """Scale and low end of least squares for given codes, low end at most 0; and whether there is one."""
    sum_l, sum_l2, sum_xl = sums
    zero = splat(f32(0), WIDE)
    determinant = sum_w * sum_l2 - sum_l * sum_l
    scale = (sum_w * sum_xl - sum_x * sum_l) / determinant
    low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant
    positive = low > zero
    scale, low = select(positive, sum_xl / sum_l2, scale), select(positive, zero, low)
    return scale, low, (determinant > zero) & (scale > zero)


@inlined
def _search_affine(xt, wt, how, mean_absolute):
    """The float scale and low end of each sub-block, and the curve of its error around them."""
    zero, one, worst = splat(f32(0), WIDE), splat(f32(1), WIDE), splat(-_HUGE, WIDE)
    low = load(xt, 0, WIDE)
    high, sum_w, sum_x = low, zero, zero
    for i in range(how.size):
        v, w = load(xt, i * WIDE, WIDE), load(wt, i * WIDE, WIDE)
        low, high = smaller(v, low), larger(v, high)
        sum_w = sum_w + w
        sum_x = sum_x + w * v
    low = smaller(low, zero)
    span = high - low
    best, scale, best_low = worst, span / splat(f32(how.levels), WIDE), low
    for p in range(how.stretches):
        stretched = span / splat(f32(how.levels) + f32(how.first) + f32(how.step) * f32(p), WIDE)
        inverse = one / stretched
        for q in range(how.shifts):
            start = smaller(low + stretched * splat(f32(how.shift) + f32(how.shift_step) * f32(q), WIDE), zero)
            sums = affine_sums(xt, wt, how, inverse, start)
            trial, trial_low, found = _fitted(sums, sum_w, sum_x)
            if mean_absolute:
                gain = zero - affine_error(xt, wt, how, trial, trial_low, True)
            else:
                gain = trial * sums[2] + trial_low * sum_x
            better = select(found, gain, worst) > best
            best = select(better, gain, best)
            scale, best_low = select(better, trial, scale), select(better, trial_low, best_low)
    low = best_low
    error = affine_error(xt, wt, how, scale, low, mean_absolute)
    for _ in range(how.polish):
        trial, trial_low, found = _fitted(affine_sums(xt, wt, how, one / scale, low), sum_w, sum_x)
        trial_error = affine_error(xt, wt, how, trial, trial_low, mean_absolute)
        better = select(found, trial_error, error) < error
        error = select(better, trial_error, error)
        scale, low = select(better, trial, scale), select(better, trial_low, low)
    sum_l, sum_l2, _ = affine_sums(xt, wt, how, one / scale, low)
    mean = sum_l / sum_w
    return scale, low, mean, sum_l2 - sum_l * mean, sum_w, sum_x


@inlined
def _grid_value(peak, how, k):
    return half(peak / splat(f32(how.top) + f32(0.4) - f32(how.reach) * f32(k) / f32(how.grid), WIDE))


@inlined
def _integer(value, inverse, limit):
    return larger(smaller(nearest(value * inverse), limit), splat(f32(0), WIDE))


@inlined
def _search_super_scales(found, how, room):
    """d, dmin and integers of least error, if the error were the parabola around the searched scales and low ends."""
    scale, low, mean, curve, sum_w, _ = found
    count = _SIZE // how.size
    zero, one, limit = splat(f32(0), WIDE), splat(f32(1), WIDE), splat(f32(how.top), WIDE)
    peak, depth = top(scale, count), top(zero - low, count)
    for q in range(how.grid):
        dmin = _grid_value(depth, how, q)
        store(room, q * WIDE, dmin)
        store(room, (how.grid + q) * WIDE, one / dmin)
    best = splat(_HUGE, WIDE)
    best_d, best_dmin = _grid_value(peak, how, 0), _grid_value(depth, how, 0)
    best_scale, best_minimum = zero, zero
    for p in range(how.grid):
        d = _grid_value(peak, how, p)
        integer = _integer(scale, one / d, limit)
        change = d * integer - scale
        wanted = low - mean * change
        known = curve * change * change
        inner, inner_dmin, inner_minimum = splat(_HUGE, WIDE), best_dmin, zero
        for q in range(how.grid):
            dmin = load(room, q * WIDE, WIDE)
            minimum = _integer(zero - wanted, load(room, (how.grid + q) * WIDE, WIDE), limit)
            miss = dmin * minimum + wanted
            error = total(known + sum_w * miss * miss, count)
            better = error < inner
            inner, inner_dmin = select(better, error, inner), select(better, dmin, inner_dmin)
            inner_minimum = select(better, minimum, inner_minimum)
        better = inner < best
        best, best_d = select(better, inner, best), select(better, d, best_d)
        best_dmin = select(better, inner_dmin, best_dmin)
        best_scale, best_minimum = select(better, integer, best_scale), select(better, inner_minimum, best_minimum)
    return best_d, best_dmin, best_scale, best_minimum


@inlined
def _around(xt, wt, how, d, dmin, scale, minimum, mean_absolute):
    """The best of scale and minimum one up, one down or as they are, not one up and one down, by the true error."""
    zero, limit, best = splat(f32(0), WIDE), splat(f32(how.top), WIDE), splat(_HUGE, WIDE)
    best_scale, best_minimum = scale, minimum
    for up in range(-1, 2):
        trial = larger(smaller(scale + splat(f32(up), WIDE), limit), zero)
        for deeper in range(-1, 2):
            if up * deeper < 0:
                continue
            trial_minimum = larger(smaller(minimum + splat(f32(deeper), WIDE), limit), zero)
            error = affine_error(xt, wt, how, d * trial, zero - dmin * trial_minimum, mean_absolute)
            better = error < best
            best = select(better, error, best)
            best_scale = select(better, trial, best_scale)
            best_minimum = select(better, trial_minimum, best_minimum)
    return total(best, _SIZE // how.size), best_scale, best_minimum


@inlined
def _refit_affine(xt, wt, how, d, dmin, scale, minimum, sum_w, sum_x):
    """d and dmin of least squares for the codes of the superblock, or as they were where there are none."""
    count, zero = _SIZE // how.size, splat(f32(0), WIDE)
    inverse = splat(f32(1), WIDE) / (d * scale)
    sum_l, sum_l2, sum_xl = affine_sums(xt, wt, how, inverse, zero - dmin * minimum)
    a11 = total(scale * scale * sum_l2, count)
    a12 = zero - total(scale * minimum * sum_l, count)
    a22 = total(minimum * minimum * sum_w, count)
    b1, b2 = total(scale * sum_xl, count), zero - total(minimum * sum_x, count)
    determinant = a11 * a22 - a12 * a12
    trial, trial_min = (a22 * b1 - a12 * b2) / determinant, (a11 * b2 - a12 * b1) / determinant
    found = (determinant > zero) & (trial > zero) & (trial_min > zero)
    return select(found, half(trial), d), select(found, half(trial_min), dmin)


@inlined
def _search_two(xt, wt, room, how, known):
    return _affine(xt, wt, room, how, not known)


@inlined
def _search_four_and_five(xt, wt, room, how, known):
    return _affine(xt, wt, room, how, False)


@inlined
def _affine(xt, wt, room, how, mean_absolute):
    """d, dmin, scales and minima of the superblocks in the lanes."""
    found = _search_affine(xt, wt, how, mean_absolute)
    d, dmin, scale, minimum = _search_super_scales(found, how, room)
    error, scale, minimum = _around(xt, wt, how, d, dmin, scale, minimum, mean_absolute)
    for _ in range(how.rounds):
        trial, trial_min = _refit_affine(xt, wt, how, d, dmin, scale, minimum, found[4], found[5])
        trial_error, new, new_minimum = _around(xt, wt, how, trial, trial_min, scale, minimum, mean_absolute)
        better = trial_error < error
        error = select(better, trial_error, error)
        d, dmin = select(better, trial, d), select(better, trial_min, dmin)
        scale, minimum = select(better, new, scale), select(better, new_minimum, minimum)
    return d, dmin, scale, minimum


# Scale alone.


@inlined
def _signed_error(xt, wt, how, level, scale):
    """The error of each sub-block with its best codes."""
    inverse, error = splat(f32(1), WIDE) / scale, splat(f32(0), WIDE)
    for i in range(how.size):
        v = load(xt, i * WIDE, WIDE)
        difference = scale * level(v * inverse, WIDE) - v
        error = error + load(wt, i * WIDE, WIDE) * (difference * difference)
    return error


@inlined
def _signed_sums(xt, wt, how, level, inverse):
    """sum(w q x) and sum(w q q) of each sub-block."""
    sum_lx, sum_l2 = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(how.size):
        v = load(xt, i * WIDE, WIDE)
        code = level(v * inverse, WIDE)
        wl = load(wt, i * WIDE, WIDE) * code
        sum_lx = sum_lx + wl * v
        sum_l2 = sum_l2 + wl * code
    return sum_lx, sum_l2


@inlined
def _search_signed(xt, wt, how, level):
    """The float scale of each sub-block."""
    zero = splat(f32(0), WIDE)
    magnitude, peak = zero, zero
    for i in range(how.size):
        v = load(xt, i * WIDE, WIDE)
        found = absolute(v) > magnitude
        magnitude, peak = select(found, absolute(v), magnitude), select(found, v, peak)
    best, scale = zero, zero
    for side in range(2):
        base = zero - peak if side else peak
        for k in range(how.starts):
            inverse = splat(f32(how.first) + f32(how.step) * f32(k), WIDE) / base
            sum_lx, sum_l2 = _signed_sums(xt, wt, how, level, inverse)
            trial = sum_lx / sum_l2
            gain = trial * sum_lx
            better = gain > best
            best, scale = select(better, gain, best), select(better, trial, scale)
    return scale


@inlined
def _signed_around(xt, wt, how, level, d, scale):
    """The best integer scale near `scale`, by the true error of the superblock."""
    low, high, best = splat(f32(-how.top - 1), WIDE), splat(f32(how.top), WIDE), splat(_HUGE, WIDE)
    best_scale = scale
    for k in range(-how.around, how.around + 1):
        trial = larger(smaller(scale + splat(f32(k), WIDE), high), low)
        error = _signed_error(xt, wt, how, level, d * trial)
        better = error < best
        best, best_scale = select(better, error, best), select(better, trial, best_scale)
    return best, best_scale


@inlined
def signed(xt, wt, how, level):
    """d and scales of the superblocks in the lanes."""
    zero, one, count = splat(f32(0), WIDE), splat(f32(1), WIDE), _SIZE // how.size
    scale = _search_signed(xt, wt, how, level)
    peak = top(absolute(scale), count)
    error, best_d, best_scale = splat(_HUGE, WIDE), half(peak / splat(f32(how.top), WIDE)), zero
    for p in range(how.grid):
        for side in range(2):
            # With d negative the largest scale may be one larger.
            longest = f32(how.top + side) + f32(0.4) - f32(how.reach) * f32(p) / f32(how.grid)
            d = half(peak / splat(longest if side == 0 else -longest, WIDE))
            trial_error, trial = _signed_around(xt, wt, how, level, d, nearest(scale * (one / d)))
            trial_error = total(trial_error, count)
            better = trial_error < error
            error = select(better, trial_error, error)
            best_d, best_scale = select(better, d, best_d), select(better, trial, best_scale)
    for _ in range(how.rounds):
        sum_lx, sum_l2 = _signed_sums(xt, wt, how, level, one / (best_d * best_scale))
        fitted = total(best_scale * sum_lx, count) / total(best_scale * best_scale * sum_l2, count)
        d = half(select(absolute(fitted) > zero, fitted, best_d))
        trial_error, trial = _signed_around(xt, wt, how, level, d, best_scale)
        trial_error = total(trial_error, count)
        better = trial_error < error
        error = select(better, trial_error, error)
        best_d, best_scale = select(better, d, best_d), select(better, trial, best_scale)
    return best_d, zero, best_scale, zero


# Bytes.


@inlined
def _pack_six_bit(block, d, dmin, scales, minima, j0):
    """d, dmin and scales of Q4_K, and of Q5_K alike; j in order, as the upper four share bytes with the lower."""
    put_f16(block, _Q4_K.d, d)
    put_f16(block, _Q4_K.dmin, dmin)
    for j in range(8):
        scale, minimum, at = i32(scales[j0 + j]), i32(minima[j0 + j]), _Q4_K.scales + j
        if j < 4:
            block[at], block[at + 4] = scale, minimum
        else:
            block[at + 4] = (scale & i32(15)) | ((minimum & i32(15)) << i32(4))
            block[at - 4] |= (scale >> i32(4)) << i32(6)
            block[at] |= (minimum >> i32(4)) << i32(6)


@inlined
def _unpack_six_bit(block, at, scales, minima):
    d, dmin = stored_f16(block, at + _Q4_K.d), stored_f16(block, at + _Q4_K.dmin)
    for j in range(8):
        p = at + _Q4_K.scales + j
        if j < 4:
            scale, minimum = i32(block[p]) & i32(63), i32(block[p + 4]) & i32(63)
        else:
            scale = (i32(block[p + 4]) & i32(15)) | ((i32(block[p - 4]) >> i32(6)) << i32(4))
            minimum = (i32(block[p + 4]) >> i32(4)) | ((i32(block[p]) >> i32(6)) << i32(4))
        scales[j], minima[j] = d * f32(scale), dmin * f32(minimum)


@inlined
def _pack_q4(block, d, dmin, scales, minima, j0, codes, start):
    _pack_six_bit(block, d, dmin, scales, minima, j0)
    for i in range(0, 128, 16):
        at = start + i // 32 * 64 + i % 32
        low, high = to_int(load(codes, at, 16)), to_int(load(codes, at + 32, 16))
        store(block, _Q4_K.qs + i, to_bytes(low | (high << splat(4, 16))))


@inlined
def _unpack_q4(block, at, scales, minima, codes):
    _unpack_six_bit(block, at, scales, minima)
    for i in range(0, 128, 16):
        packed, to = load_bytes(block, at + _Q4_K.qs + i, 16), i // 32 * 64 + i % 32
        store(codes, to, to_float(packed & splat(15, 16)))
        store(codes, to + 32, to_float(packed >> splat(4, 16)))


@kernel
def q4_k(x, importance, out, first, last):
    improve(
        x, importance, out, first, last, Q4_K, _Q4_K.size, False, _search_four_and_five, _four_bit, _pack_q4, _unpack_q4
    )


@inlined
def _pack_q5(block, d, dmin, scales, minima, j0, codes, start):
    _pack_six_bit(block, d, dmin, scales, minima, j0)
    for element in range(0, 32, 16):
        fifth = splat(0, 16)
        for pair in range(4):
            at = start + 64 * pair + element
            low, high = to_int(load(codes, at, 16)), to_int(load(codes, at + 32, 16))
            nibbles = (low & splat(15, 16)) | ((high & splat(15, 16)) << splat(4, 16))
            store(block, _Q5_K.qs + 32 * pair + element, to_bytes(nibbles))
            fifth = fifth | ((low >> splat(4, 16)) << splat(2 * pair, 16))
            fifth = fifth | ((high >> splat(4, 16)) << splat(2 * pair + 1, 16))
        store(block, _Q5_K.qh + element, to_bytes(fifth))


@inlined
def _unpack_q5(block, at, scales, minima, codes):
    _unpack_six_bit(block, at, scales, minima)
    one, i4 = splat(1, 16), splat(4, 16)
    for element in range(0, 32, 16):
        fifth = load_bytes(block, at + _Q5_K.qh + element, 16)
        for pair in range(4):
            packed, to = load_bytes(block, at + _Q5_K.qs + 32 * pair + element, 16), 64 * pair + element
            low, high = (fifth >> splat(2 * pair, 16)) & one, (fifth >> splat(2 * pair + 1, 16)) & one
            store(codes, to, to_float((packed & splat(15, 16)) | (low << i4)))
            store(codes, to + 32, to_float((packed >> i4) | (high << i4)))


@kernel
def q5_k(x, importance, out, first, last):
    improve(
        x, importance, out, first, last, Q5_K, _Q5_K.size, False, _search_four_and_five, _five_bit, _pack_q5, _unpack_q5
    )


@inlined
def pack_pairs(block, at, codes, start):
    """2-bit codes: byte j of a half holds weights j, j + 32, j + 64 and j + 96 of that half."""
    for i in range(0, 64, 16):
        packed = splat(0, 16)
        for k in range(4):
            code = to_int(load(codes, start + i // 32 * 128 + i % 32 + 32 * k, 16))
            packed = packed | ((code & splat(3, 16)) << splat(2 * k, 16))
        store(block, at + i, to_bytes(packed))


@inlined
def _pack_q2(block, d, dmin, scales, minima, j0, codes, start):
    put_f16(block, _Q2_K.d, d)
    put_f16(block, _Q2_K.dmin, dmin)
    for j in range(16):
        block[_Q2_K.scales + j] = i32(scales[j0 + j]) | (i32(minima[j0 + j]) << i32(4))
    pack_pairs(block, _Q2_K.qs, codes, start)


@inlined
def _unpack_q2(block, at, scales, minima, codes):
    d, dmin = stored_f16(block, at + _Q2_K.d), stored_f16(block, at + _Q2_K.dmin)
    for j in range(16):
        packed = i32(block[at + _Q2_K.scales + j])
        scales[j], minima[j] = d * f32(packed & i32(15)), dmin * f32(packed >> i32(4))
    for i in range(0, 64, 16):
        packed = load_bytes(block, at + _Q2_K.qs + i, 16)
        for k in range(4):
            to = i // 32 * 128 + i % 32 + 32 * k
            store(codes, to, to_float((packed >> splat(2 * k, 16)) & splat(3, 16)))


@kernel
def q2_k(x, importance, out, first, last):
    improve(x, importance, out, first, last, Q2_K, _Q2_K.size, True, _search_two, _two_bit, _pack_q2, _unpack_q2)


@inlined
def _pack_q6(block, d, dmin, scales, minima, j0, codes, start):
    put_f16(block, _Q6_K.d, d)
    bias, m15, i4, i2, i6 = splat(32, 16), splat(15, 16), splat(4, 16), splat(2, 16), splat(6, 16)
    for j in range(16):
        block[_Q6_K.scales + j] = i32(scales[j0 + j]) & i32(255)
    for part in range(4):
        at = start + part // 2 * 128 + part % 2 * 16
        q1, q2 = to_int(load(codes, at, 16)) + bias, to_int(load(codes, at + 32, 16)) + bias
        q3, q4 = to_int(load(codes, at + 64, 16)) + bias, to_int(load(codes, at + 96, 16)) + bias
        ql = _Q6_K.ql + part // 2 * 64 + part % 2 * 16
        store(block, ql, to_bytes((q1 & m15) | ((q3 & m15) << i4)))
        store(block, ql + 32, to_bytes((q2 & m15) | ((q4 & m15) << i4)))
        high = (q1 >> i4) | ((q2 >> i4) << i2) | ((q3 >> i4) << i4) | ((q4 >> i4) << i6)
        store(block, _Q6_K.qh + part // 2 * 32 + part % 2 * 16, to_bytes(high))


@inlined
def _signed_byte(byte):
    return i32(byte) - i32(256) if byte > 127 else i32(byte)


@inlined
def _unpack_q6(block, at, scales, minima, codes):
    bias, m15, m3, i4 = splat(32, 16), splat(15, 16), splat(3, 16), splat(4, 16)
    d = stored_f16(block, at + _Q6_K.d)
    for j in range(16):
        scales[j], minima[j] = d * f32(_signed_byte(block[at + _Q6_K.scales + j])), f32(0)
    for part in range(4):
        to, ql = part // 2 * 128 + part % 2 * 16, at + _Q6_K.ql + part // 2 * 64 + part % 2 * 16
        high = load_bytes(block, at + _Q6_K.qh + part // 2 * 32 + part % 2 * 16, 16)
        low, other = load_bytes(block, ql, 16), load_bytes(block, ql + 32, 16)
        store(codes, to, to_float(((low & m15) | ((high & m3) << i4)) - bias))
        store(codes, to + 32, to_float(((other & m15) | (((high >> splat(2, 16)) & m3) << i4)) - bias))
        store(codes, to + 64, to_float(((low >> i4) | (((high >> i4) & m3) << i4)) - bias))
        store(codes, to + 96, to_float(((other >> i4) | ((high >> splat(6, 16)) << i4)) - bias))


@inlined
def _search_six(xt, wt, room, how, known):
    return signed(xt, wt, how, _six_bit)


@kernel
def q6_k(x, importance, out, first, last):
    improve(x, importance, out, first, last, Q6_K, _Q6_K.size, False, _search_six, _six_bit, _pack_q6, _unpack_q6)


@inlined
def _pack_q3(block, d, dmin, scales, minima, j0, codes, start):
    put_f16(block, _Q3_K.d, d)
    for j in range(12):
        block[_Q3_K.scales + j] = 0
    for j in range(16):
        biased = i32(scales[j0 + j]) + i32(32)
        block[_Q3_K.scales + j % 8] |= (biased & i32(15)) << i32(4 * (j // 8))
        block[_Q3_K.scales + 8 + j % 4] |= (biased >> i32(4)) << i32(2 * (j // 4))
    for i in range(_SIZE):
        codes[start + i] += f32(4)
    pack_pairs(block, _Q3_K.qs, codes, start)
    for i in range(0, 32, 16):
        third = splat(0, 16)
        for k in range(8):
            code = to_int(load(codes, start + 32 * k + i, 16))
            third = third | ((code >> splat(2, 16)) << splat(k, 16))
        store(block, _Q3_K.hmask + i, to_bytes(third))


@inlined
def _unpack_q3(block, at, scales, minima, codes):
    d = stored_f16(block, at + _Q3_K.d)
    for j in range(16):
        low = (i32(block[at + _Q3_K.scales + j % 8]) >> i32(4 * (j // 8))) & i32(15)
        high = (i32(block[at + _Q3_K.scales + 8 + j % 4]) >> i32(2 * (j // 4))) & i32(3)
        scales[j], minima[j] = d * f32((low | (high << i32(4))) - i32(32)), f32(0)
    for i in range(0, _SIZE, 16):
        pair = load_bytes(block, at + _Q3_K.qs + i // 128 * 32 + i % 32, 16) >> splat(i % 128 // 32 * 2, 16)
        third = load_bytes(block, at + _Q3_K.hmask + i % 32, 16) >> splat(i // 32, 16)
        code = (pair & splat(3, 16)) | ((third & splat(1, 16)) << splat(2, 16))
        store(codes, i, to_float(code - splat(4, 16)))


@inlined
def _search_three(xt, wt, room, how, known):
    return signed(xt, wt, how if known else Q3_K_PLAIN, _three_bit)


@kernel
def q3_k(x, importance, out, first, last):
    improve(x, importance, out, first, last, Q3_K, _Q3_K.size, False, _search_three, _three_bit, _pack_q3, _unpack_q3)
