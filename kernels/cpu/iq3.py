# mypy: allow-untyped-defs, allow-untyped-calls
"""IQ3_XXS and IQ3_S: sub-blocks of 32 weights, eight groups of four."""

import numpy as np

from kernels.cpu.grid_search import (
    ALL,
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
from kernels.cpu.halves import layout, put_f16
from kernels.cpu.lanes import WIDE, allocating, inlined, kernel, splat, store

f32 = np.float32
i32 = np.int32

_XXS, _S = layout("IQ3_XXS"), layout("IQ3_S")
_SUPERBLOCKS = WIDE // 8
_TINY = f32(1e-8)


@allocating
def _search(buffer, weights, even, trials, refine, tables, scales, some, words, signs):
    """Scales, words and signs of WIDE sub-blocks."""
    values, roots = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    xt, wt, peaks = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(WIDE, f32)
    split_signs(buffer, weights, 32 * WIDE, even, values, signs)
    take_roots(weights, roots)
    to_lanes(values, 32, xt)
    to_lanes(weights, 32, wt)
    peak = lane_peaks(xt, 32)
    store(peaks, 0, peak)
    store(scales, 0, peak / splat(f32(15), WIDE))
    for lane in range(WIDE):
        some[lane] = peaks[lane] >= _TINY if even else peaks[lane] > 0
    search_words(tables, xt, wt, values, roots, peaks, scales, some, words, 32, 4, 3, 7, trials, 0.2, refine)
    clear_empty(scales, some, signs, 32)


@inlined
def _put_xxs(out, at, s, scales, words, signs):
    top = largest_scale(scales, 8 * s, 8)
    if top == 0:
        out[at : at + _XXS.size] = 0
        return
    d = top / f32(31)
    put_f16(out, at + _XXS.d, d * f32(1.0125))
    for k in range(64):
        out[at + _XXS.qs + k] = words[64 * s + k]
    for j in range(8):
        rest = odd_multiple(f32(1) / d, scales[8 * s + j], 15) << i32(28)
        for g in range(4):
            rest |= (i32(signs[32 * s + 4 * j + g]) & i32(127)) << i32(7 * g)
        for byte in range(4):
            out[at + _XXS.qs + 64 + 4 * j + byte] = (rest >> i32(8 * byte)) & i32(255)


@inlined
def _put_s(out, at, s, scales, some, words, signs):
    """GGML does not step over the qs and signs of a sub-block that is zero: those of all others come first."""
    out[at : at + _S.size] = 0
    place = 0
    for j in range(8 * s, 8 * s + 8):
        for g in range(8):
            out[at + _S.qh + j % 8] |= (words[8 * j + g] >> i32(8)) << i32(g)
        if not some[j]:
            continue
        for g in range(8):
            out[at + _S.qs + 8 * place + g] = words[8 * j + g] & i32(255)
        for g in range(4):
            out[at + _S.signs + 4 * place + g] = signs[4 * j + g]
        place += 1
    top = largest_scale(scales, 8 * s, 8)
    if top == 0:
        return
    d = top / f32(31)
    put_f16(out, at + _S.d, d * f32(1.033))
    for j in range(8):
        out[at + _S.scales + j // 2] |= odd_multiple(f32(1) / d, scales[8 * s + j], 15) << i32(4 * (j % 2))


@kernel
def _iq3_xxs(x, out, first, last, tables):
    buffer, weights = np.zeros(32 * WIDE, f32), np.zeros(32 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(8 * WIDE, i32), np.empty(4 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS):
        count = min(_SUPERBLOCKS, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_square(buffer, 32 * WIDE, 1, 0, weights)
        _search(buffer, weights, True, 15, OFF_GRID, tables, scales, some, words, signs)
        for s in range(count):
            _put_xxs(out, (b + s) * _XXS.size, s, scales, words, signs)
    return peak


@kernel
def _iq3_xxs_weighted(x, importance, out, first, last, tables):
    buffer, weights = np.zeros(32 * WIDE, f32), np.zeros(32 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(8 * WIDE, i32), np.empty(4 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS):
        count = min(_SUPERBLOCKS, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_importance(buffer, importance, 256 * b, 32 * WIDE, 2, weights)
        _search(buffer, weights, True, 15, OFF_GRID, tables, scales, some, words, signs)
        for s in range(count):
            _put_xxs(out, (b + s) * _XXS.size, s, scales, words, signs)
    return peak


@kernel
def _iq3_s(x, out, first, last, tables):
    buffer, weights = np.zeros(32 * WIDE, f32), np.zeros(32 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(8 * WIDE, i32), np.empty(4 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS):
        count = min(_SUPERBLOCKS, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_square(buffer, 32 * WIDE, 1, 0, weights)
        _search(buffer, weights, False, 9, ALL, tables, scales, some, words, signs)
        for s in range(count):
            _put_s(out, (b + s) * _S.size, s, scales, some, words, signs)
    return peak


@kernel
def _iq3_s_weighted(x, importance, out, first, last, tables):
    buffer, weights = np.zeros(32 * WIDE, f32), np.zeros(32 * WIDE, f32)
    scales, some = np.empty(WIDE, f32), np.empty(WIDE, i32)
    words, signs, peak = np.empty(8 * WIDE, i32), np.empty(4 * WIDE, np.uint8), i32(0)
    for b in range(first, last, _SUPERBLOCKS):
        count = min(_SUPERBLOCKS, last - b)
        peak = max(peak, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_importance(buffer, importance, 256 * b, 32 * WIDE, 2, weights)
        _search(buffer, weights, False, 9, ALL, tables, scales, some, words, signs)
        for s in range(count):
            _put_s(out, (b + s) * _S.size, s, scales, some, words, signs)
    return peak


iq3_xxs, iq3_xxs_weighted = WithTables(_iq3_xxs, "IQ3_XXS"), WithTables(_iq3_xxs_weighted, "IQ3_XXS")
iq3_s, iq3_s_weighted = WithTables(_iq3_s, "IQ3_S"), WithTables(_iq3_s_weighted, "IQ3_S")
