# mypy: allow-untyped-defs, allow-untyped-calls
"""Q2_K to Q6_K: the searches of the reference with one sub-block a lane, WIDE of them at once.

A group is as many superblocks as fill the lanes. Its weights are transposed so that row i of `xt` holds element i of
every sub-block; a loop over i then sums each sub-block left to right. The last group may be partly empty: its spare
lanes compute on what the group before left there, and nothing of them is stored.

With importance a superblock is a lane, and its sub-blocks are searched one after the other: so the sums over
superblocks, and the search over their scales that comes last, run left to right in lanes too.
"""

import numpy as np

from kernels.cpu.halves import (
    MAGNITUDE,
    layout,
    nearest_int,
    nearest_int_bits,
    nearest_int_scalar,
    put_f16,
    signed_peak,
)
from kernels.cpu.lanes import (
    WIDE,
    absolute,
    allocating,
    any_of,
    bits_of,
    first_half,
    inlined,
    kernel,
    larger,
    largest,
    load,
    nearest,
    root,
    scalar_float,
    second_half,
    select,
    smaller,
    splat,
    store,
    to_bytes,
    to_float,
    to_int,
)
from kernels.cpu.searches import (
    fit_integers,
    load_group,
    put_scale,
    search_scale,
    search_scale_and_minimum,
    sums_of_squares,
    tiled,
    to_lanes,
    weigh,
)
from kernels.formats import FORMATS

f32 = np.float32
i32 = np.int32

_SIZE = FORMATS["Q4_K"].block_size
_Q2_K, _Q3_K, _Q4_K, _Q5_K, _Q6_K = (layout(name) for name in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"))
_GROUP_OF_32 = WIDE // 8  # superblocks in a group when a sub-block has 32 weights
_GROUP_OF_16 = WIDE // 16
_TINY = f32(1e-15)
_ROUNDABLE = f32(2**22)  # nearest_int wraps beyond
_Q3_LANES = 64
_ROWS = 16 * _Q3_LANES  # the elements of that many sub-blocks
_PART = WIDE // 2  # lanes of one register, or of few: what a mask costs least
_Q3_BATCH = 128  # superblocks searched together, so that the queues fill lanes


@inlined
def _rms_weights(xt, wt, size):
    """Root mean square of the sub-block plus magnitude of the weight."""
    squares = splat(f32(0), WIDE)
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        squares = squares + v * v
    mean = root(squares / splat(f32(size), WIDE))
    for i in range(size):
        store(wt, i * WIDE, mean + absolute(load(xt, i * WIDE, WIDE)))


@inlined
def _absolute_weights(xt, wt, size):
    for i in range(size):
        store(wt, i * WIDE, absolute(load(xt, i * WIDE, WIDE)))


@inlined
def _code(v, inverse, low, levels):
    zero, top = splat(f32(0), WIDE), splat(f32(levels), WIDE)
    return larger(zero, smaller(top, nearest_int(inverse * (v - low), WIDE)))


@inlined
def _measure(difference, mean_absolute):
    return absolute(difference) if mean_absolute else difference * difference


@inlined
def _search_scale_and_minimum(
    xt, wt, lt, size, levels, start, candidates, mean_absolute, scales, minima, inverses, lows
):
    """make_qkx2_quants; of the codes it keeps what makes them: the inverse scale and the low end of their candidate."""
    zero, one = splat(f32(0), WIDE), splat(f32(1), WIDE)
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
    scale, best = one / inverse, zero
    best_inverse, best_low = inverse, low
    for i in range(size):
        v = load(xt, i * WIDE, WIDE)
        difference = scale * _code(v, inverse, low, levels) + low - v
        best = best + load(wt, i * WIDE, WIDE) * _measure(difference, mean_absolute)
    for k in range(candidates):
        # `low` is the best minimum so far, not the smallest weight: later candidates build on earlier ones.
        inverse = splat(f32(start) + f32(0.1) * f32(k) + f32(levels), WIDE) / (high - low)
        sum_l, sum_l2, sum_xl = zero, zero, zero
        for i in range(size):
            v = load(xt, i * WIDE, WIDE)
            store(lt, i * WIDE, _code(v, inverse, low, levels))
        for i in range(size):  # apart, so that neither constants nor sums leave the registers
            v, code = load(xt, i * WIDE, WIDE), load(lt, i * WIDE, WIDE)
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
            error = error + load(wt, i * WIDE, WIDE) * _measure(difference, mean_absolute)
        better = select(determinant > zero, error, best) < best
        best = select(better, error, best)
        scale = select(better, trial_scale, scale)
        best_inverse, best_low = select(better, inverse, best_inverse), select(better, low, best_low)
        low = select(better, trial_low, low)
    store(scales, 0, select(flat, zero, scale))
    store(minima, 0, zero - low)
    store(inverses, 0, select(flat, zero, best_inverse))
    store(lows, 0, best_low)


@inlined
def _peak(values, at, count):
    """The largest value above 0, else 0; a NaN never wins."""
    peak = f32(0)
    for j in range(at, at + count):
        peak = values[j] if values[j] > peak else peak
    return peak


@inlined
def _put_six_bit(out, at, j, scale, minimum):
    """Scale and minimum j of 8 into the 12 bytes at `at`; j in order, as the upper four share bytes with the lower."""
    if j < 4:
        out[at + j] = scale
        out[at + j + 4] = minimum
        return
    out[at + j + 4] = (scale & i32(15)) | ((minimum & i32(15)) << i32(4))
    out[at + j - 4] |= (scale >> i32(4)) << i32(6)
    out[at + j] |= (minimum >> i32(4)) << i32(6)


@inlined
def _put_six_bit_scales(out, at, scales, minima, j0):
    """d, dmin and scales of Q4_K, and of Q5_K alike. Replaces the searched scales and minima by the rounded ones."""
    top, bottom = _peak(scales, j0, 8), _peak(minima, j0, 8)
    inverse = f32(63) / top if top > 0 else f32(0)
    inverse_min = f32(63) / bottom if bottom > 0 else f32(0)
    d = put_f16(out, at + _Q4_K.d, top / f32(63))
    dmin = put_f16(out, at + _Q4_K.dmin, bottom / f32(63))
    for j in range(8):
        scale = min(nearest_int_scalar(inverse * scales[j0 + j]) & i32(255), i32(63))
        minimum = min(nearest_int_scalar(inverse_min * minima[j0 + j]) & i32(255), i32(63))
        _put_six_bit(out, at + _Q4_K.scales, j, scale, minimum)
        scales[j0 + j] = d * f32(scale)
        minima[j0 + j] = dmin * f32(minimum)


@inlined
def _final_codes(v, j, levels, clip_first, scales, minima, inverses, lows):
    """Codes of 16 weights of sub-block j for its rounded scale, or those of the search where that is 0."""
    zero, top = splat(f32(0), 16), splat(f32(levels), 16)
    if scales[j] != 0:
        quotient = (v + splat(minima[j], 16)) / splat(scales[j], 16)
    else:
        quotient = (v - splat(lows[j], 16)) * splat(inverses[j], 16)
        if clip_first:
            quotient = smaller(larger(quotient, zero), top)
    return to_int(larger(zero, smaller(top, nearest_int(quotient, 16))))


@inlined
def _put_q4_codes(out, at, buffer, j0, clip_first, scales, minima, inverses, lows):
    for i in range(0, 128, 16):
        j, element = j0 + i // 32 * 2, i % 32
        v, u = load(buffer, 32 * j + element, 16), load(buffer, 32 * j + 32 + element, 16)
        low = _final_codes(v, j, 15, clip_first, scales, minima, inverses, lows)
        high = _final_codes(u, j + 1, 15, clip_first, scales, minima, inverses, lows)
        store(out, at + _Q4_K.qs + i, to_bytes(low | (high << splat(4, 16))))


@kernel
def q4_k(x, out, first, last):
    buffer, xt = np.zeros(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    wt, lt = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    scales, minima = np.empty(WIDE, f32), np.empty(WIDE, f32)
    inverses, lows = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, _GROUP_OF_32):
        count = min(_GROUP_OF_32, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        to_lanes(buffer, 0, 32, xt, 32)
        _rms_weights(xt, wt, 32)
        _search_scale_and_minimum(xt, wt, lt, 32, 15, -1.0, 21, False, scales, minima, inverses, lows)
        for s in range(count):
            at = (b + s) * _Q4_K.size
            _put_six_bit_scales(out, at, scales, minima, 8 * s)
            _put_q4_codes(out, at, buffer, 8 * s, False, scales, minima, inverses, lows)
    return peak


@inlined
def _put_q5_codes(out, at, buffer, j0, clip_first, scales, minima, inverses, lows):
    m15, i4 = splat(15, 16), splat(4, 16)
    for element in range(0, 32, 16):
        fifth = splat(0, 16)
        for pair in range(4):
            j = j0 + 2 * pair
            v, u = load(buffer, 32 * j + element, 16), load(buffer, 32 * j + 32 + element, 16)
            low = _final_codes(v, j, 31, clip_first, scales, minima, inverses, lows)
            high = _final_codes(u, j + 1, 31, clip_first, scales, minima, inverses, lows)
            store(out, at + _Q5_K.qs + 32 * pair + element, to_bytes((low & m15) | ((high & m15) << i4)))
            fifth = fifth | ((low >> i4) << splat(2 * pair, 16)) | ((high >> i4) << splat(2 * pair + 1, 16))
        store(out, at + _Q5_K.qh + element, to_bytes(fifth))


@kernel
def q5_k(x, out, first, last):
    buffer, xt = np.zeros(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    wt, lt = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    scales, minima = np.empty(WIDE, f32), np.empty(WIDE, f32)
    inverses, lows = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, _GROUP_OF_32):
        count = min(_GROUP_OF_32, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        to_lanes(buffer, 0, 32, xt, 32)
        _rms_weights(xt, wt, 32)
        _search_scale_and_minimum(xt, wt, lt, 32, 31, -0.5, 16, False, scales, minima, inverses, lows)
        for s in range(count):
            at = (b + s) * _Q5_K.size
            _put_six_bit_scales(out, at, scales, minima, 8 * s)
            _put_q5_codes(out, at, buffer, 8 * s, False, scales, minima, inverses, lows)
    return peak


@inlined
def _put_four_bit_scales(out, at, scales, minima, j0):
    """Scales, d and dmin of Q2_K. Replaces the sixteen searched scales and minima by the rounded ones."""
    top, bottom = _peak(scales, j0, 16), _peak(minima, j0, 16)
    d = put_f16(out, at + _Q2_K.d, top / f32(15))
    dmin = put_f16(out, at + _Q2_K.dmin, bottom / f32(15))
    inverse, inverse_min = f32(15) / top, f32(15) / bottom
    for j in range(16):
        scale = nearest_int_scalar(inverse * scales[j0 + j]) if top > 0 else i32(0)
        minimum = nearest_int_scalar(inverse_min * minima[j0 + j]) if bottom > 0 else i32(0)
        packed = (scale | (minimum << i32(4))) & i32(255)
        out[at + _Q2_K.scales + j] = packed
        scales[j0 + j] = d * f32(packed & i32(15))
        minima[j0 + j] = dmin * f32(packed >> i32(4))


@inlined
def _put_q2_codes(out, at, buffer, j0, clip_first, scales, minima, inverses, lows):
    for part in range(4):
        packed = splat(0, 16)
        j = j0 + part // 2 * 8 + part % 2
        for k in range(4):
            v = load(buffer, 16 * (j + 2 * k), 16)
            codes = _final_codes(v, j + 2 * k, 3, clip_first, scales, minima, inverses, lows)
            packed = packed | (codes << splat(2 * k, 16))
        store(out, at + _Q2_K.qs + 16 * part, to_bytes(packed))


@kernel
def q2_k(x, out, first, last):
    buffer, xt = np.zeros(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    wt, lt = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    scales, minima = np.empty(WIDE, f32), np.empty(WIDE, f32)
    inverses, lows = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, _GROUP_OF_16):
        count = min(_GROUP_OF_16, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        to_lanes(buffer, 0, 16, xt, 16)
        _absolute_weights(xt, wt, 16)
        _search_scale_and_minimum(xt, wt, lt, 16, 3, -0.5, 16, True, scales, minima, inverses, lows)
        for s in range(count):
            at = (b + s) * _Q2_K.size
            _put_four_bit_scales(out, at, scales, minima, 16 * s)
            _put_q2_codes(out, at, buffer, 16 * s, False, scales, minima, inverses, lows)
    return peak


@allocating
def _turned(rows, count):
    """Rows of `count` sub-blocks, a superblock a lane, as superblocks of `count` numbers each."""
    turned = np.empty(count * WIDE, f32)
    for j in range(count):
        for s in range(WIDE):
            turned[s * count + j] = rows[j * WIDE + s]
    return turned


@allocating
def _fit_group(buffer, tiles, at, size, levels, factor, top):
    """Both searches of the WIDE superblocks in the buffer: by sub-block, and over the scales and minima they give.

    Gives d and dmin of each superblock; scale, minimum, inverse and low end of each sub-block, superblock by
    superblock. Importance weighs by `factor` times the mean square of the superblock.
    """
    count = _SIZE // size
    xt, wt, lt = np.empty(size * WIDE, f32), np.empty(size * WIDE, f32), np.empty(size * WIDE, f32)
    scales, minima, sums = np.empty(count * WIDE, f32), np.empty(count * WIDE, f32), np.empty(count * WIDE, f32)
    inverses, lows = np.empty(count * WIDE, f32), np.empty(count * WIDE, f32)
    sigma2 = splat(f32(factor), WIDE) * sums_of_squares(buffer, _SIZE, xt) / splat(f32(_SIZE), WIDE)
    for j in range(count):
        to_lanes(buffer, size * j, _SIZE, xt, size)
        to_lanes(tiles, at + size * j, _SIZE, wt, size)
        store(sums, j * WIDE, weigh(xt, wt, size, sigma2))
        search_scale_and_minimum(xt, wt, lt, size, levels, scales, minima, inverses, lows, j * WIDE)
    d, dmin = np.empty(WIDE, f32), np.empty(WIDE, f32)
    store(d, 0, fit_integers(scales, sums, count, top))
    for j in range(count):
        store(minima, j * WIDE, splat(f32(0), WIDE) - load(minima, j * WIDE, WIDE))
    store(dmin, 0, fit_integers(minima, sums, count, top))
    return d, dmin, _turned(scales, count), _turned(minima, count), _turned(inverses, count), _turned(lows, count)


@inlined
def _put_fitted_six_bit(out, at, d, dmin, largest_byte, scales, minima, j0):
    """d, dmin and scales of Q4_K, and of Q5_K alike. Replaces the integers by the scales and minima they stand for.

    GGML clips the bytes of Q5_K; those of Q4_K run into each other, so they are read back.
    """
    d, dmin = put_scale(out, at + _Q4_K.d, d), put_scale(out, at + _Q4_K.dmin, dmin)
    at += _Q4_K.scales
    for j in range(8):
        scale, minimum = min(i32(scales[j0 + j]), i32(largest_byte)), min(i32(minima[j0 + j]), i32(largest_byte))
        _put_six_bit(out, at, j, scale, minimum)
    for j in range(4):
        first, second, upper = i32(out[at + j]), i32(out[at + j + 4]), i32(out[at + j + 8])
        scales[j0 + j], minima[j0 + j] = d * f32(first & i32(63)), dmin * f32(second & i32(63))
        scales[j0 + j + 4] = d * f32((upper & i32(15)) | ((first >> i32(6)) << i32(4)))
        minima[j0 + j + 4] = dmin * f32((upper >> i32(4)) | ((second >> i32(6)) << i32(4)))


@kernel
def q4_k_weighted(x, importance, out, first, last):
    buffer, tiles = np.zeros(_SIZE * WIDE, f32), tiled(importance, _SIZE)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        at = b * _SIZE % importance.size
        d, dmin, scales, minima, inverses, lows = _fit_group(buffer, tiles, at, 32, 15, 2, 63)
        for s in range(count):
            at = (b + s) * _Q4_K.size
            _put_fitted_six_bit(out, at, d[s], dmin[s], 255, scales, minima, 8 * s)
            _put_q4_codes(out, at, buffer, 8 * s, True, scales, minima, inverses, lows)
    return peak


@kernel
def q5_k_weighted(x, importance, out, first, last):
    buffer, tiles = np.zeros(_SIZE * WIDE, f32), tiled(importance, _SIZE)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        at = b * _SIZE % importance.size
        d, dmin, scales, minima, inverses, lows = _fit_group(buffer, tiles, at, 32, 31, 2, 63)
        for s in range(count):
            at = (b + s) * _Q5_K.size
            _put_fitted_six_bit(out, at, d[s], dmin[s], 63, scales, minima, 8 * s)
            _put_q5_codes(out, at, buffer, 8 * s, True, scales, minima, inverses, lows)
    return peak


@inlined
def _put_fitted_four_bit(out, at, d, dmin, scales, minima, j0):
    """Scales, d and dmin of Q2_K. Replaces the integers by the scales and minima they stand for."""
    d, dmin = put_scale(out, at + _Q2_K.d, d), put_scale(out, at + _Q2_K.dmin, dmin)
    for j in range(16):
        packed = (i32(scales[j0 + j]) | (i32(minima[j0 + j]) << i32(4))) & i32(255)
        out[at + _Q2_K.scales + j] = packed
        scales[j0 + j] = d * f32(packed & i32(15))
        minima[j0 + j] = dmin * f32(packed >> i32(4))


@kernel
def q2_k_weighted(x, importance, out, first, last):
    buffer, tiles = np.zeros(_SIZE * WIDE, f32), tiled(importance, _SIZE)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        at = b * _SIZE % importance.size
        d, dmin, scales, minima, inverses, lows = _fit_group(buffer, tiles, at, 16, 3, 1, 15)
        for s in range(count):
            at = (b + s) * _Q2_K.size
            _put_fitted_four_bit(out, at, d[s], dmin[s], scales, minima, 16 * s)
            _put_q2_codes(out, at, buffer, 16 * s, True, scales, minima, inverses, lows)
    return peak


@inlined
def _square_weights(xt, wt):
    for i in range(16):
        v = load(xt, i * WIDE, WIDE)
        store(wt, i * WIDE, v * v)


@inlined
def _final_q6(buffer, j, scales, inverses):
    """Codes + 32 of sub-block j for its rounded scale; else those of the search; 0 where that found nothing."""
    v = load(buffer, 16 * j, 16)
    if scales[j] != 0:
        quotient = v / splat(scales[j], 16)
    elif inverses[j] == inverses[j]:
        quotient = v * splat(inverses[j], 16)
    else:
        return splat(0, 16)
    code = larger(splat(f32(-32), 16), smaller(splat(f32(31), 16), nearest_int(quotient, 16)))
    return to_int(code) + splat(32, 16)


@inlined
def _put_signed_scales(out, at, scales, j0, peak):
    """Scales and d of Q6_K. Replaces the sixteen searched scales by the rounded ones."""
    inverse = f32(-128) / peak
    d = put_f16(out, at + _Q6_K.d, f32(1) / inverse)
    integers = smaller(nearest_int_bits(load(scales, j0, 16) * splat(inverse, 16), 16), splat(127, 16))
    store(out, at + _Q6_K.scales, to_bytes(integers))
    store(scales, j0, splat(d, 16) * to_float(integers))


@inlined
def _put_q6(out, at, buffer, j0, scales, inverses):
    """A whole superblock of Q6_K."""
    peak = signed_peak(load(scales, j0, 16))
    if abs(peak) < _TINY:
        out[at : at + _Q6_K.size] = 0
        return
    _put_signed_scales(out, at, scales, j0, peak)
    m15, i4, i2, i6 = splat(15, 16), splat(4, 16), splat(2, 16), splat(6, 16)
    for part in range(4):
        half, side = part // 2, part % 2
        j = j0 + 8 * half + side
        q1, q2 = _final_q6(buffer, j, scales, inverses), _final_q6(buffer, j + 2, scales, inverses)
        q3, q4 = _final_q6(buffer, j + 4, scales, inverses), _final_q6(buffer, j + 6, scales, inverses)
        ql = at + _Q6_K.ql + 64 * half + 16 * side
        store(out, ql, to_bytes((q1 & m15) | ((q3 & m15) << i4)))
        store(out, ql + 32, to_bytes((q2 & m15) | ((q4 & m15) << i4)))
        high = (q1 >> i4) | ((q2 >> i4) << i2) | ((q3 >> i4) << i4) | ((q4 >> i4) << i6)
        store(out, at + _Q6_K.qh + 32 * half + 16 * side, to_bytes(high))


@kernel
def q6_k(x, out, first, last):
    buffer, xt = np.zeros(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    wt, ut = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    scales, inverses = np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, _GROUP_OF_16):
        count = min(_GROUP_OF_16, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        to_lanes(buffer, 0, 16, xt, 16)
        _square_weights(xt, wt)
        search_scale(xt, wt, ut, 16, 32, False, scales, inverses, 0)
        for s in range(count):
            _put_q6(out, (b + s) * _Q6_K.size, buffer, 16 * s, scales, inverses)
    return peak


@kernel
def q6_k_weighted(x, importance, out, first, last):
    """GGML takes the importance as the weight itself, unlike in the other K-quants."""
    buffer, xt = np.zeros(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    wt, ut = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    scales, inverses = np.empty(WIDE, f32), np.empty(WIDE, f32)
    tiles = tiled(importance, 16)
    peak = i32(0)
    for b in range(first, last, _GROUP_OF_16):
        count = min(_GROUP_OF_16, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        to_lanes(buffer, 0, 16, xt, 16)
        to_lanes(tiles, b * _SIZE % importance.size, 16, wt, 16)
        search_scale(xt, wt, ut, 16, 32, False, scales, inverses, 0)
        for s in range(count):
            _put_q6(out, (b + s) * _Q6_K.size, buffer, 16 * s, scales, inverses)
    return peak


@inlined
def _start_q3(xt, lx, l2, codes, at, part):
    """make_q3_quants up to its sweeps: leaves codes and the terms of both sums; gives these sums and the peak.

    No code of the start is below -4, so only the upper clamp can bite.
    """
    magnitude, peak = splat(f32(0), _PART), splat(f32(0), _PART)
    for i in range(part, part + _ROWS, _Q3_LANES):
        v = load(xt, i, _PART)
        found = absolute(v) > magnitude
        magnitude, peak = select(found, absolute(v), magnitude), select(found, v, peak)
    inverse = splat(f32(-4), _PART) / peak
    sum_lx, sum_l2 = splat(f32(0), _PART), splat(f32(0), _PART)
    for i in range(part, part + _ROWS, _Q3_LANES):
        v = load(xt, i, _PART)
        code = smaller(splat(f32(3), _PART), nearest_int(inverse * v, _PART))
        term_lx, term_l2 = _terms(v, code)
        sum_lx, sum_l2 = sum_lx + term_lx, sum_l2 + term_l2
        store(lx, i, term_lx)
        store(l2, i, term_l2)
        store(codes, at + i, code)
    return sum_lx, sum_l2, magnitude


@inlined
def _terms(v, code):
    """w x q and w q q, where w = x x."""
    w = v * v
    return w * v * code, w * code * code


@inlined
def _may_move(xt, lx, l2, codes, at, part, sum_lx, sum_l2):
    """Not 0 where a code of the start may move: where one is not the nearest for what the others ask.

    As long as nothing moves the sums stay as they are, so this needs no order. GGML moves nothing where sum(w x q) is
    not above 0. A positive peak gets the code -4, and then no term of that sum is.
    """
    zero, one = splat(f32(0), _PART), splat(f32(1), _PART)
    moves = zero
    for i in range(part, part + _ROWS, _Q3_LANES):
        wanted = load(xt, i, _PART) * (sum_l2 - load(l2, i, _PART)) / (sum_lx - load(lx, i, _PART))
        clipped = larger(splat(f32(-4), _PART), smaller(splat(f32(3), _PART), wanted))
        near = absolute(clipped - load(codes, at + i, _PART)) < splat(f32(0.5), _PART)
        moves = select(near & (absolute(wanted) < splat(_ROUNDABLE, _PART)), moves, one)
    return select(sum_lx <= zero, zero, moves)


@inlined
def _descend_q3(xt, lx, l2, codes, at, sums_lx, sums_l2, moved, sweeps):
    """The sweeps of make_q3_quants, moves of one code that each lower the error; `moved` is not 0 where the last did.

    A sub-block that did not change in one sweep does not change in the next, so lanes need not stop by themselves.
    A sweep is a chain of dependent steps: taking the parts in turn, the CPU works on one while another waits.
    """
    zero = splat(f32(0), _PART)
    for _sweep in range(sweeps):
        for part in range(0, _Q3_LANES, _PART):
            store(moved, part, zero)
        for i in range(0, _ROWS, _Q3_LANES):
            for part in range(0, _Q3_LANES, _PART):
                v, old = load(xt, i + part, _PART), load(codes, at + i + part, _PART)
                term_lx, term_l2 = load(lx, i + part, _PART), load(l2, i + part, _PART)
                sum_lx, sum_l2 = load(sums_lx, part, _PART), load(sums_l2, part, _PART)
                rest_lx, rest_l2 = sum_lx - term_lx, sum_l2 - term_l2
                new = larger(
                    splat(f32(-4), _PART), smaller(splat(f32(3), _PART), nearest_int(v * rest_l2 / rest_lx, _PART))
                )
                new_term_lx, new_term_l2 = _terms(v, new)
                new_lx, new_l2 = rest_lx + new_term_lx, rest_l2 + new_term_l2
                better = (rest_lx > zero) & (new != old) & (new_l2 > zero)
                better = better & (new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2)
                code = select(better, new, old)
                store(codes, at + i + part, code)
                store(lx, i + part, select(better, new_term_lx, term_lx))
                store(l2, i + part, select(better, new_term_l2, term_l2))
                store(sums_lx, part, select(better, new_lx, sum_lx))
                store(sums_l2, part, select(better, new_l2, sum_l2))
                store(moved, part, bits_of(load(moved, part, _PART)) | (bits_of(code) ^ bits_of(old)))
        some = False
        for part in range(0, _Q3_LANES, _PART):
            some |= any_of(load(moved, part, _PART) != zero)
        if not some:
            break


@inlined
def _fitted_q3(sum_lx, sum_l2, magnitude):
    zero = splat(f32(0), _PART)
    return select((magnitude >= splat(_TINY, _PART)) & (sum_l2 > zero), sum_lx / sum_l2, zero)


@allocating
def _search_q3(x, start, count, buffer, scales, codes, places):
    """make_q3_quants of `count` sub-blocks of x: code i of sub-block j is codes[places[j] + i * _Q3_LANES].

    Four of five sub-blocks are settled at their start. The others queue, so that few lanes wait for others: all of
    them for two sweeps, and those still moving then once more from the start, for all five.
    """
    xt, lx, l2 = np.empty(_ROWS, f32), np.empty(_ROWS, f32), np.empty(_ROWS, f32)
    moved, queue = np.empty(_Q3_LANES, f32), np.empty(count, np.uint32)
    waiting, at, peak = 0, 0, i32(0)
    for first in range(0, count, _Q3_LANES):
        lanes = min(_Q3_LANES, count - first)
        peak = max(peak, load_group(x, start + 16 * first, 16 * lanes, buffer, 16 * first))
        to_lanes(buffer, 16 * first, 16, xt, 16, _Q3_LANES)
        for part in range(0, _Q3_LANES, _PART):
            sum_lx, sum_l2, magnitude = _start_q3(xt, lx, l2, codes, at, part)
            store(scales, first + part, _fitted_q3(sum_lx, sum_l2, magnitude))
            store(moved, part, _may_move(xt, lx, l2, codes, at, part, sum_lx, sum_l2))
        for lane in range(lanes):
            places[first + lane] = at + lane
            queue[waiting] = first + lane
            waiting += moved[lane] != 0
        at += _ROWS
    for sweeps in (2, 5):
        waiting, at = _serve_queue(buffer, queue, waiting, sweeps, scales, codes, places, at)
    return peak


@allocating
def _serve_queue(buffer, queue, waiting, sweeps, scales, codes, places, at):
    """Searches the sub-blocks in the queue; gives how many are in it after, and the next free place for codes."""
    rows, xt, lx, l2 = np.zeros(_ROWS, f32), np.empty(_ROWS, f32), np.empty(_ROWS, f32), np.empty(_ROWS, f32)
    sums_lx, sums_l2 = np.empty(_Q3_LANES, f32), np.empty(_Q3_LANES, f32)
    magnitudes, moved = np.empty(_Q3_LANES, f32), np.empty(_Q3_LANES, f32)
    kept = 0
    for first in range(0, waiting, _Q3_LANES):
        lanes = min(_Q3_LANES, waiting - first)
        for lane in range(lanes):
            store(rows, 16 * lane, load(buffer, 16 * queue[first + lane], 16))
        to_lanes(rows, 0, 16, xt, 16, _Q3_LANES)
        for part in range(0, _Q3_LANES, _PART):
            sum_lx, sum_l2, magnitude = _start_q3(xt, lx, l2, codes, at, part)
            store(sums_lx, part, sum_lx)
            store(sums_l2, part, sum_l2)
            store(magnitudes, part, magnitude)
        _descend_q3(xt, lx, l2, codes, at, sums_lx, sums_l2, moved, sweeps)
        for part in range(0, _Q3_LANES, _PART):
            sum_lx, sum_l2 = load(sums_lx, part, _PART), load(sums_l2, part, _PART)
            store(sums_lx, part, _fitted_q3(sum_lx, sum_l2, load(magnitudes, part, _PART)))
        for lane in range(lanes):
            j = queue[first + lane]
            scales[j], places[j] = sums_lx[lane], at + lane
            queue[kept] = j
            kept += moved[lane] != 0
        at += _ROWS
    return kept, at


@inlined
def _keep_searched_q3_codes(buffer, j, codes, place):
    """Replaces the weights of sub-block j by the codes + 4 of the search, 0 where it counts as zero."""
    largest_bits = largest(bits_of(load(buffer, 16 * j, 16)) & splat(MAGNITUDE, 16))
    for i in range(16):
        code = codes[place + i * _Q3_LANES] + f32(4)
        buffer[16 * j + i] = code if scalar_float(largest_bits) >= _TINY else f32(0)


@inlined
def _put_q3_integers(out, at, integers):
    """The twelve bytes of sixteen scales + 32: nibbles of scales 0..7 and 8..15, then the top bits of all."""
    low, high = integers & splat(15, 16), integers >> splat(4, 16)
    store(out, at, to_bytes(first_half(low) | (second_half(low) << splat(4, 8))))
    high = first_half(high) | (second_half(high) << splat(4, 8))
    store(out, at + 8, to_bytes(first_half(high) | (second_half(high) << splat(2, 4))))


@inlined
def _put_q3_scales(out, at, scales, j0):
    """Scales and d of Q3_K. Replaces the sixteen searched scales by the rounded ones."""
    v = load(scales, j0, 16)
    peak = signed_peak(v)
    inverse = f32(-32) / peak
    d = put_f16(out, at + _Q3_K.d, f32(1) / inverse if peak != 0 else f32(0))
    integers, biased = splat(-32, 16), splat(0, 16)
    if peak != 0:
        wrapped = (nearest_int_bits(v * splat(inverse, 16), 16) << splat(24, 16)) >> splat(24, 16)
        integers = larger(splat(-32, 16), smaller(splat(31, 16), wrapped))
        biased = integers + splat(32, 16)
    _put_q3_integers(out, at + _Q3_K.scales, biased)
    store(scales, j0, splat(d, 16) * to_float(integers))


@inlined
def _final_q3(buffer, j, scales):
    """Codes + 4 of sub-block j for its rounded scale; where that is 0, what the buffer holds."""
    v = load(buffer, 16 * j, 16)
    if scales[j] != 0:
        code = nearest_int(v / splat(scales[j], 16), 16)
        v = larger(splat(f32(-4), 16), smaller(splat(f32(3), 16), code)) + splat(f32(4), 16)
    return to_int(v)


@inlined
def _put_q3_codes(out, at, buffer, j0, scales):
    for side in range(2):
        third = splat(0, 16)
        for half in range(2):
            packed = splat(0, 16)
            for k in range(4):
                codes = _final_q3(buffer, j0 + 8 * half + 2 * k + side, scales)
                packed = packed | ((codes & splat(3, 16)) << splat(2 * k, 16))
                third = third | ((codes >> splat(2, 16)) << splat(4 * half + k, 16))
            store(out, at + _Q3_K.qs + 32 * half + 16 * side, to_bytes(packed))
        store(out, at + _Q3_K.hmask + 16 * side, to_bytes(third))


@kernel
def q3_k(x, out, first, last):
    count = 16 * _Q3_BATCH
    buffer, codes = np.zeros(16 * count, f32), np.empty(3 * 16 * (count + _Q3_LANES), f32)
    scales, places = np.empty(count, f32), np.empty(count, np.uint32)
    peak = i32(0)
    for b in range(first, last, _Q3_BATCH):
        count = min(_Q3_BATCH, last - b)
        peak = max(peak, _search_q3(x, b * _SIZE, 16 * count, buffer, scales, codes, places))
        for s in range(count):
            at = (b + s) * _Q3_K.size
            _put_q3_scales(out, at, scales, 16 * s)
            if any_of(load(scales, 16 * s, 16) == splat(f32(0), 16)):  # rare
                for j in range(16 * s, 16 * s + 16):
                    if scales[j] == 0:
                        _keep_searched_q3_codes(buffer, j, codes, places[j])
            _put_q3_codes(out, at, buffer, 16 * s, scales)
    return peak


@inlined
def _put_fitted_q3_scales(out, at, d, inverse, scales, rounded, s):
    """Scales and d of Q3_K for superblock s; the rounded scales go to `rounded`."""
    d = put_scale(out, at + _Q3_K.d, d)
    for j in range(16):
        rounded[16 * s + j] = scales[j * WIDE + s]
    integers = splat(-32, 16)
    if inverse == inverse:
        wanted = nearest_int_bits(load(rounded, 16 * s, 16) * splat(inverse, 16), 16)
        integers = larger(splat(-32, 16), smaller(splat(31, 16), wanted))
    _put_q3_integers(out, at + _Q3_K.scales, integers + splat(32, 16))
    store(rounded, 16 * s, splat(d, 16) * to_float(integers))


@inlined
def _keep_searched_q3(buffer, j, inverse):
    """Replaces the weights of sub-block j by the codes + 4 of the search."""
    code = nearest(splat(inverse, 16) * load(buffer, 16 * j, 16)) if inverse == inverse else splat(f32(-4), 16)
    store(buffer, 16 * j, larger(splat(f32(-4), 16), smaller(splat(f32(3), 16), code)) + splat(f32(4), 16))


@kernel
def q3_k_weighted(x, importance, out, first, last):
    buffer, tiles = np.zeros(_SIZE * WIDE, f32), tiled(importance, _SIZE)
    xt, wt, ut = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    scales, inverses, sums = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    rounded, d, inverse = np.empty(16 * WIDE, f32), np.empty(WIDE, f32), np.empty(WIDE, f32)
    peak = i32(0)
    for b in range(first, last, WIDE):
        count = min(WIDE, last - b)
        peak = max(peak, load_group(x, b * _SIZE, count * _SIZE, buffer))
        sigma2 = splat(f32(2), WIDE) * sums_of_squares(buffer, _SIZE, xt) / splat(f32(_SIZE), WIDE)
        for j in range(16):
            to_lanes(buffer, 16 * j, _SIZE, xt, 16)
            to_lanes(tiles, b * _SIZE % importance.size + 16 * j, _SIZE, wt, 16)
            store(sums, j * WIDE, weigh(xt, wt, 16, sigma2))
            search_scale(xt, wt, ut, 16, 4, False, scales, inverses, j * WIDE)
        search_scale(scales, sums, ut, 16, 32, True, d, inverse, 0)
        for s in range(count):
            at = (b + s) * _Q3_K.size
            _put_fitted_q3_scales(out, at, d[s], inverse[s], scales, rounded, s)
            for j in range(16):
                if rounded[16 * s + j] == 0:
                    _keep_searched_q3(buffer, 16 * s + j, inverses[j * WIDE + s])
            _put_q3_codes(out, at, buffer, 16 * s, rounded)
    return peak
