# mypy: allow-untyped-defs, allow-untyped-calls
"""IQ2_XXS, IQ2_XS and IQ2_S: groups of eight weights, in sub-blocks of 32 or 16."""

import numpy as np

from kernels.cpu.grid_search import (
    ALWAYS,
    OFF_GRID,
    WithTables,
    clear_empty,
    lane_peaks,
    largest_scale,
    load_superblocks,
    odd_multiple,
    search_words,
    split_signs,
    take_roots,
    to_lanes,
    weigh_by_importance,
    weigh_by_square,
)
from kernels.cpu.halves import layout, nearest_int, put_f16
from kernels.cpu.lanes import (
    WIDE,
    allocating,
    any_of,
    inlined,
    kernel,
    load,
    select,
    smaller,
    splat,
    store,
    to_float,
    to_int,
)

f32 = np.float32
i32 = np.int32

_XXS, _XS, _S = layout("IQ2_XXS"), layout("IQ2_XS"), layout("IQ2_S")
_SUPERBLOCKS_OF_32 = WIDE // 8
_SUPERBLOCKS_OF_16 = WIDE // 16
_TINY = f32(1e-15)
_TINY_S = f32(1e-8)


@inlined
def _as_byte(code):
    """What is left of a code that is stored as a byte: -1 becomes 255."""
    return to_float(to_int(code) & splat(255, WIDE))


@inlined
def _error(xt, wt, inverse, scale, top, whole):
    """The weighted error of codes up to `top`; with `whole`, of codes as bytes without that limit."""
    error = splat(f32(0), WIDE)
    for i in range(0, 32 * WIDE, WIDE):
        v = load(xt, i, WIDE)
        code = nearest_int(inverse * v, WIDE)
        code = _as_byte(code) if whole else smaller(splat(f32(top), WIDE), code)
        difference = v - scale * code
        error = error + load(wt, i, WIDE) * difference * difference
    return error


@inlined
def _positive_scale(xt, wt, lt, peak, top):
    """make_qp_quants for 32 weights: nine trials, then sweeps of single-code moves."""
    zero, one, limit = splat(f32(0), WIDE), splat(f32(1), WIDE), splat(f32(top), WIDE)
    inverse = limit / peak
    best = _error(xt, wt, inverse, one / inverse, top, True)
    for k in range(-4, 5):
        if k == 0:
            continue
        trial = splat(f32(0.1) * f32(k) + f32(top), WIDE) / peak
        error = _error(xt, wt, trial, one / trial, top, False)
        better = error < best
        best, inverse = select(better, error, best), select(better, trial, inverse)
    sum_lx, sum_l2 = zero, zero
    for i in range(0, 32 * WIDE, WIDE):
        v, w = load(xt, i, WIDE), load(wt, i, WIDE)
        code = smaller(limit, nearest_int(inverse * v, WIDE))
        sum_lx = sum_lx + w * v * code
        sum_l2 = sum_l2 + w * code * code
        store(lt, i, _as_byte(code))
    for _sweep in range(5):
        moved = zero != zero
        for i in range(0, 32 * WIDE, WIDE):
            v, w, old = load(xt, i, WIDE), load(wt, i, WIDE), load(lt, i, WIDE)
            rest_lx, rest_l2 = sum_lx - w * v * old, sum_l2 - w * old * old
            new = smaller(limit, nearest_int(v * rest_l2 / rest_lx, WIDE))
            new_lx, new_l2 = rest_lx + w * v * new, rest_l2 + w * new * new
            better = (rest_lx > zero) & (rest_l2 > zero) & (new != old)
            better = better & (new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2)
            moved = moved | better
            store(lt, i, select(better, _as_byte(new), old))
            sum_lx, sum_l2 = select(better, new_lx, sum_lx), select(better, new_l2, sum_l2)
        if not any_of(moved):
            break
    return select(sum_l2 > zero, sum_lx / sum_l2, zero)


@allocating
def _search_32(buffer, weights, tables, scales, some, words, signs):
    """Scales, words and signs of WIDE sub-blocks of 32, for IQ2_XXS."""
    values, roots = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    xt, wt, lt = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    peaks = np.empty(WIDE, f32)
    split_signs(buffer, weights, 32 * WIDE, True, values, signs)
    take_roots(weights, roots)
    to_lanes(values, 32, xt)
    to_lanes(weights, 32, wt)
    peak = lane_peaks(xt, 32)
    store(peaks, 0, peak)
    for lane in range(WIDE):
        some[lane] = peaks[lane] >= _TINY
    scale = _positive_scale(xt, wt, lt, peak, 4)
    store(scales, 0, scale)
    store(peaks, 0, scale * splat(f32(3), WIDE))
    for lane in range(WIDE):
        some[lane] = some[lane] != 0 and not peaks[lane] <= 0
    search_words(tables, xt, wt, values, roots, peaks, scales, some, words, 32, 8, 2, 2, 6, 0.1, ALWAYS)
    clear_empty(scales, some, signs, 32)


@allocating
def _search_16(buffer, weights, even, smallest, tables, scales, some, words, signs):
    """Scales, words and signs of WIDE sub-blocks of 16."""
    values, roots = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    xt, wt, peaks = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32), np.empty(WIDE, f32)
    split_signs(buffer, weights, 16 * WIDE, even, values, signs)
    take_roots(weights, roots)
    to_lanes(values, 16, xt)
    to_lanes(weights, 16, wt)
    peak = lane_peaks(xt, 16)
    store(peaks, 0, peak)
    store(scales, 0, peak / splat(f32(5), WIDE))
    for lane in range(WIDE):
        some[lane] = peaks[lane] >= smallest
    search_words(tables, xt, wt, values, roots, peaks, scales, some, words, 16, 8, 2, 2, 9, 0.1, OFF_GRID)
    clear_empty(scales, some, signs, 16)


@inlined
def _put_xxs(out, at, s, scales, words, signs):
    out[at : at + _XXS.size] = 0
    top = largest_scale(scales, 8 * s, 8)
    if top == 0:
        return
    d = top / f32(31)
    put_f16(out, at + _XXS.d, d)
    for j in range(8):
        rest = odd_multiple(f32(1) / d, scales[8 * s + j], 15) << i32(28)
        for g in range(4):
            rest |= (i32(signs[32 * s + 4 * j + g]) & i32(127)) << i32(7 * g)
        for k in range(4):
            out[at + _XXS.qs + 8 * j + k] = words[32 * s + 4 * j + k]
            out[at + _XXS.qs + 8 * j + 4 + k] = (rest >> i32(8 * k)) & i32(255)


@inlined
def _put_four_bit_scales(out, at, s, scales, d):
    for j in range(16):
        out[at + j // 2] |= odd_multiple(f32(1) / d, scales[16 * s + j], 15) << i32(4 * (j % 2))


@inlined
def _put_xs(out, at, s, scales, words, signs):
    out[at : at + _XS.size] = 0
    top = largest_scale(scales, 16 * s, 16)
    if top == 0:
        return
    d = top / f32(31)
    put_f16(out, at + _XS.d, d)
    for k in range(32):
        packed = words[32 * s + k] | ((i32(signs[32 * s + k]) & i32(127)) << i32(9))
        out[at + _XS.qs + 2 * k] = packed & i32(255)
        out[at + _XS.qs + 2 * k + 1] = packed >> i32(8)
    _put_four_bit_scales(out, at + _XS.scales, s, scales, d)


@inlined
def _put_s(out, at, s, scales, words, signs):
    out[at : at + _S.size] = 0
    for k in range(32):
        word = words[32 * s + k]
        out[at + _S.qs + k] = word & i32(255)
        out[at + _S.qs + 32 + k] = signs[32 * s + k]
        out[at + _S.qh + k // 4] |= (word >> i32(8)) << i32(2 * (k % 4))
    top = largest_scale(scales, 16 * s, 16)
    if top == 0:
        return
    d = top / f32(31)
    put_f16(out, at + _S.d, d * f32(0.9875))
    _put_four_bit_scales(out, at + _S.scales, s, scales, d)


@kernel
def _iq2_xxs_weighted(x, importance, out, first, last, tables):
    buffer, weights = np.zeros(32 * WIDE, f32), np.zeros(32 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(4 * WIDE, i32), np.empty(4 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS_OF_32):
        count = min(_SUPERBLOCKS_OF_32, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_importance(buffer, importance, 256 * b, 32 * WIDE, 1, weights)
        _search_32(buffer, weights, tables, scales, some, words, signs)
        for s in range(count):
            _put_xxs(out, (b + s) * _XXS.size, s, scales, words, signs)
    return peak


@kernel
def _iq2_xs_weighted(x, importance, out, first, last, tables):
    buffer, weights = np.zeros(16 * WIDE, f32), np.zeros(16 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(2 * WIDE, i32), np.empty(2 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS_OF_16):
        count = min(_SUPERBLOCKS_OF_16, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_importance(buffer, importance, 256 * b, 16 * WIDE, 1, weights)
        _search_16(buffer, weights, True, _TINY, tables, scales, some, words, signs)
        for s in range(count):
            _put_xs(out, (b + s) * _XS.size, s, scales, words, signs)
    return peak


@kernel
def _iq2_s(x, out, first, last, tables):
    buffer, weights = np.zeros(16 * WIDE, f32), np.zeros(16 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(2 * WIDE, i32), np.empty(2 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS_OF_16):
        count = min(_SUPERBLOCKS_OF_16, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_square(buffer, 16 * WIDE, 2, 0.25, weights)
        _search_16(buffer, weights, False, _TINY_S, tables, scales, some, words, signs)
        for s in range(count):
            _put_s(out, (b + s) * _S.size, s, scales, words, signs)
    return peak


@kernel
def _iq2_s_weighted(x, importance, out, first, last, tables):
    buffer, weights = np.zeros(16 * WIDE, f32), np.zeros(16 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(2 * WIDE, i32), np.empty(2 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS_OF_16):
        count = min(_SUPERBLOCKS_OF_16, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_importance(buffer, importance, 256 * b, 16 * WIDE, 2, weights)
        _search_16(buffer, weights, False, _TINY_S, tables, scales, some, words, signs)
        for s in range(count):
            _put_s(out, (b + s) * _S.size, s, scales, words, signs)
    return peak


iq2_xxs_weighted, iq2_xs_weighted = WithTables(_iq2_xxs_weighted, "IQ2_XXS"), WithTables(_iq2_xs_weighted, "IQ2_XS")
iq2_s, iq2_s_weighted = WithTables(_iq2_s, "IQ2_S"), WithTables(_iq2_s_weighted, "IQ2_S")
