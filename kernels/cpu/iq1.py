# mypy: allow-untyped-defs, allow-untyped-calls
"""IQ1_S and IQ1_M: every cut of the sorted weights in three, one sub-block a lane; then words near what was cut."""

import numpy as np

from kernels.cpu.grid_search import (
    LARGEST,
    WithTables,
    largest_scale,
    load_levels,
    load_superblocks,
    odd_multiple,
    pick,
    place_of_least,
    to_lanes,
    weigh_by_importance,
)
from kernels.cpu.halves import f16_bits, layout, put_f16
from kernels.cpu.lanes import WIDE, absolute, inlined, kernel, larger, load, select, splat, store

f32 = np.float32
i32 = np.int32

_S, _M = layout("IQ1_S"), layout("IQ1_M")
_SUPERBLOCKS_OF_32 = WIDE // 8
_SUPERBLOCKS_OF_16 = WIDE // 16
_SHIFT = f32(0.125)
_LOWEST = f32(np.finfo(np.float32).min)
_TINY_S = f32(1e-12)
_TINY_M = f32(1e-7)


@inlined
def _exchange(xt, wt, places, a, b):
    """Puts elements a and b of each sub-block in order; equal weights in the order they came in."""
    x, y, v, w = load(xt, a, WIDE), load(xt, b, WIDE), load(wt, a, WIDE), load(wt, b, WIDE)
    i, j = load(places, a, WIDE), load(places, b, WIDE)
    swap = (x > y) | ((x == y) & (i > j))
    store(xt, a, select(swap, y, x))
    store(xt, b, select(swap, x, y))
    store(wt, a, select(swap, w, v))
    store(wt, b, select(swap, v, w))
    store(places, a, select(swap, j, i))
    store(places, b, select(swap, i, j))


@inlined
def _sort(xt, wt, places, size):
    """Sorts each sub-block by Batcher's odd-even merges; `places` gets where each weight came from."""
    for i in range(size):
        store(places, i * WIDE, splat(f32(i), WIDE))
    run = 1
    while run < size:
        step = run
        while step > 0:
            for start in range(step % run, size - step, 2 * step):
                for i in range(start, min(start + step, size - step)):
                    if i // (2 * run) == (i + step) // (2 * run):
                        _exchange(xt, wt, places, i * WIDE, (i + step) * WIDE)
            step //= 2
        run *= 2


@inlined
def _running_sums(xt, wt, size, sums_x, sums_w):
    """Sums of w x and w over the first 0, 1, ... size weights."""
    sum_x, sum_w = splat(f32(0), WIDE), splat(f32(0), WIDE)
    store(sums_x, 0, sum_x)
    store(sums_w, 0, sum_w)
    for i in range(size):
        w = load(wt, i * WIDE, WIDE)
        sum_x, sum_w = sum_x + w * load(xt, i * WIDE, WIDE), sum_w + w
        store(sums_x, (i + 1) * WIDE, sum_x)
        store(sums_w, (i + 1) * WIDE, sum_w)


@inlined
def _consider(sum_qx, sum_q2, cut, best, scale, best_cut):
    """What is best after one more cut: (best, scale, cut)."""
    zero = splat(f32(0), WIDE)
    better = (sum_q2 > zero) & (sum_qx * sum_qx > best * sum_q2)
    scale = select(better, sum_qx / sum_q2, scale)
    return select(better, scale * sum_qx, best), scale, select(better, splat(f32(cut), WIDE), best_cut)


@inlined
def _thirds(sums, low, high, size):
    """What lies below both cuts, between them, and above."""
    at_low, at_high = load(sums, low * WIDE, WIDE), load(sums, high * WIDE, WIDE)
    return at_low - load(sums, 0, WIDE), at_high - at_low, load(sums, size * WIDE, WIDE) - at_high


@inlined
def _levels(shift):
    return splat(f32(-1) + shift, WIDE), splat(shift, WIDE), splat(f32(1) + shift, WIDE)


@inlined
def _best_cut_of_32(sums_x, sums_w, peak, scales, cuts):
    """For IQ1_S. A cut is 128 * low + 2 * high, plus 1 if the shift is downwards; -1 is none."""
    best, scale, cut = splat(_LOWEST, WIDE), peak, splat(f32(-1), WIDE)
    for low in range(33):
        for high in range(low, 33):
            x0, x1, x2 = _thirds(sums_x, low, high, 32)
            w0, w1, w2 = _thirds(sums_w, low, high, 32)
            for downwards in range(2):
                a, b, c = _levels(-_SHIFT if downwards else _SHIFT)
                sum_qx = x0 * a + x1 * b + x2 * c
                sum_q2 = w0 * a * a + w1 * b * b + w2 * c * c
                number = 128 * low + 2 * high + downwards
                best, scale, cut = _consider(sum_qx, sum_q2, number, best, scale, cut)
    store(scales, 0, scale)
    store(cuts, 0, cut)


@inlined
def _eight_sums(sums_x, sums_w, low, high, downwards):
    """sum(w q x) and sum(w q q) of one eight, from what lies below the cuts; a level is 1 below the next."""
    a, b, c = _levels(-_SHIFT if downwards else _SHIFT)
    sum_x = load(sums_x, high * WIDE, WIDE) + load(sums_x, low * WIDE, WIDE)
    all_w = load(sums_w, 16 * WIDE, WIDE) * c * c
    below_low = (a * a - b * b) * load(sums_w, low * WIDE, WIDE) + all_w
    sum_q2 = (b * b - c * c) * load(sums_w, high * WIDE, WIDE) + below_low
    return load(sums_x, 16 * WIDE, WIDE) * c - sum_x, sum_q2


@inlined
def _best_cut_of_16(first_x, first_w, second_x, second_w, peak, scales, cuts):
    """For IQ1_M. A cut is 128 * low + 4 * high plus the shift: a bit for each eight, 2 for the first; -1 is none."""
    best, scale, cut = splat(_LOWEST, WIDE), peak, splat(f32(-1), WIDE)
    for low in range(17):
        for high in range(low, 17):
            up_qx, up_q2 = _eight_sums(second_x, second_w, low, high, False)
            down_qx, down_q2 = _eight_sums(second_x, second_w, low, high, True)
            for downwards in range(2):
                qx, q2 = _eight_sums(first_x, first_w, low, high, downwards == 1)
                number = 128 * low + 4 * high + 2 * downwards
                best, scale, cut = _consider(qx + up_qx, q2 + up_q2, number, best, scale, cut)
                best, scale, cut = _consider(qx + down_qx, q2 + down_q2, number + 1, best, scale, cut)
    store(scales, 0, scale)
    store(cuts, 0, cut)


@inlined
def _downwards(shift, g, size):
    """Whether group g is shifted downwards."""
    return shift == 1 if size == 32 else (shift >> (1 - g)) & 1 == 1


@inlined
def _nearest_place(levels, start, end, buffer, weights, at, scale, bias):
    """As nearest_place, for codes that stand for half their entry in `levels` plus a bias."""
    best, tile = splat(LARGEST, 16), splat(start, 16)
    for t in range(start, end):
        distance = splat(f32(0), 16)
        for i in range(8):
            q = load_levels(levels, (t * 8 + i) * 16) * splat(f32(0.5), 16) + splat(bias, 16)
            difference = splat(scale, 16) * q - splat(pick(buffer, at + i), 16)
            distance = distance + splat(pick(weights, at + i), 16) * difference * difference
        better = distance < best
        best, tile = select(better, distance, best), select(better, splat(t, 16), tile)
    return place_of_least(best, tile, start, end)


@inlined
def _words_of_cut(tables, buffer, weights, places, codes, scales, lane, size, low, high, shift, flip, words):
    """The words that a cut spells, or the best near them; a better scale where one had to be looked for."""
    start, all_on_grid = lane * size, True
    for i in range(size):
        code = i32(i >= low) + i32(i >= high)
        codes[i32(places[i * WIDE + lane])] = i32(2) - code if flip else code
    for g in range(size // 8):
        key = i32(0)
        for i in range(8):
            key |= codes[8 * g + i] << i32(2 * i)
        word = tables.word_of_key[key]
        if word < 0:
            all_on_grid = False
            first, last = tables.tiles_of_key[2 * key], tables.tiles_of_key[2 * key + 1]
            at = start + 8 * g
            offset = -_SHIFT if _downwards(shift, g, size) else _SHIFT
            found = _nearest_place(tables.levels, first, last, buffer, weights, at, scales[lane], offset - f32(1.5))
            word = pick(tables.near, found)
        words[lane * (size // 8) + g] = word
    if all_on_grid:
        return
    sum_qx, sum_q2 = f32(0), f32(0)
    for g in range(size // 8):
        offset = -_SHIFT if _downwards(shift, g, size) else _SHIFT
        for i in range(8):
            q = tables.points[8 * words[lane * (size // 8) + g] + i] * f32(0.5) - f32(1.5) + offset
            w, v = weights[start + 8 * g + i], buffer[start + 8 * g + i]
            sum_qx += w * q * v
            sum_q2 += w * q * q
    if sum_qx > 0 and sum_q2 > 0:
        scales[lane] = sum_qx / sum_q2


@inlined
def _take_cuts(tables, buffer, weights, places, codes, scales, cuts, peaks, smallest, size, words, shifts):
    """Scales, words and shifts of all lanes from their cuts; zeros where there is none or the sub-block is zero."""
    groups, step = size // 8, 2 if size == 32 else 4
    for lane in range(WIDE):
        shifts[lane] = 0
        for g in range(lane * groups, lane * groups + groups):
            words[g] = 0
        cut = i32(cuts[lane])
        if cut < 0 or not peaks[lane] >= smallest:
            scales[lane] = f32(0)
            continue
        low, high, shift = cut // 128, cut % 128 // step, cut % step
        flip = scales[lane] < 0
        if flip:
            scales[lane], shift = -scales[lane], step - 1 - shift
        shifts[lane] = shift
        _words_of_cut(tables, buffer, weights, places, codes, scales, lane, size, low, high, shift, flip, words)
        if scales[lane] != scales[lane]:
            scales[lane] = f32(0)


@inlined
def _lane_magnitudes(xt, size):
    peak = splat(f32(0), WIDE)
    for i in range(0, size * WIDE, WIDE):
        peak = larger(peak, absolute(load(xt, i, WIDE)))
    return peak


@inlined
def _put_s(out, at, s, scales, words, shifts):
    out[at : at + _S.size] = 0
    top = largest_scale(scales, 8 * s, 8)
    d = top / f32(15)
    if top != 0:
        put_f16(out, at + _S.d, d * f32(1.125))
    for j in range(8):
        high = i32(0)
        for g in range(4):
            word = words[32 * s + 4 * j + g]
            out[at + _S.qs + 4 * j + g] = word & i32(255)
            high |= (word >> i32(8)) << i32(3 * g)
        if top != 0:
            high |= odd_multiple(f32(1) / d, scales[8 * s + j], 7) << i32(12)
            high |= i32(shifts[8 * s + j]) << i32(15)
        out[at + _S.qh + 2 * j] = high & i32(255)
        out[at + _S.qh + 2 * j + 1] = high >> i32(8)


@inlined
def _fitted_d(buffer, weights, points, s, d, scales, words, shifts):
    """The d of IQ1_M that fits all weights once words, shifts and scales are chosen."""
    sum_qx, sum_q2 = f32(0), f32(0)
    for j in range(16 * s, 16 * s + 16):
        multiple = f32(2 * odd_multiple(f32(1) / d, scales[j], 7) + 1)
        for g in range(2):
            offset = -_SHIFT if _downwards(shifts[j], g, 16) else _SHIFT
            for i in range(8):
                q = (points[8 * words[2 * j + g] + i] * f32(0.5) - f32(1.5) + offset) * multiple
                w, v = weights[16 * j + 8 * g + i], buffer[16 * j + 8 * g + i]
                sum_qx += w * q * v
                sum_q2 += w * q * q
    return sum_qx / sum_q2 if sum_q2 > 0 else d


@inlined
def _put_m(out, at, s, buffer, weights, points, scales, words, shifts):
    out[at : at + _M.size] = 0
    top = largest_scale(scales, 16 * s, 16)
    for j in range(16):
        first, second = words[32 * s + 2 * j], words[32 * s + 2 * j + 1]
        out[at + _M.qs + 2 * j] = first & i32(255)
        out[at + _M.qs + 2 * j + 1] = second & i32(255)
        high = (first >> i32(8)) | ((second >> i32(8)) << i32(4))
        if top != 0:
            shift = i32(shifts[16 * s + j])
            high |= ((shift >> i32(1)) << i32(3)) | ((shift & i32(1)) << i32(7))
        out[at + _M.qh + j] = high
    if top == 0:
        return
    d = top / f32(15)
    fitted = _fitted_d(buffer, weights, points, s, d, scales, words, shifts) * f32(1.1125)
    bits = f16_bits(fitted) if fitted == fitted else i32(0xFE00)  # what x86 makes of inf / inf
    for k in range(4):
        packed = ((bits >> i32(4 * k)) & i32(15)) << i32(12)
        for j in range(4):
            packed |= odd_multiple(f32(1) / d, scales[16 * s + 4 * k + j], 7) << i32(3 * j)
        out[at + _M.scales + 2 * k] = packed & i32(255)
        out[at + _M.scales + 2 * k + 1] = packed >> i32(8)


@kernel
def _iq1_s_weighted(x, importance, out, first, last, tables):
    buffer, weights = np.zeros(32 * WIDE, f32), np.zeros(32 * WIDE, f32)
    xt, wt, places = np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32), np.empty(32 * WIDE, f32)
    sums_x, sums_w = np.empty(33 * WIDE, f32), np.empty(33 * WIDE, f32)
    scales, cuts, peaks = np.empty(WIDE, f32), np.empty(WIDE, f32), np.empty(WIDE, f32)
    codes, words, shifts, largest_bits = np.empty(32, i32), np.empty(4 * WIDE, i32), np.empty(WIDE, i32), i32(0)
    for b in range(first, last, _SUPERBLOCKS_OF_32):
        count = min(_SUPERBLOCKS_OF_32, last - b)
        largest_bits = max(largest_bits, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_importance(buffer, importance, 256 * b, 32 * WIDE, 2, weights)
        to_lanes(buffer, 32, xt)
        to_lanes(weights, 32, wt)
        _sort(xt, wt, places, 32)
        _running_sums(xt, wt, 32, sums_x, sums_w)
        peak = _lane_magnitudes(xt, 32)
        store(peaks, 0, peak)
        _best_cut_of_32(sums_x, sums_w, peak, scales, cuts)
        _take_cuts(tables, buffer, weights, places, codes, scales, cuts, peaks, _TINY_S, 32, words, shifts)
        for s in range(count):
            _put_s(out, (b + s) * _S.size, s, scales, words, shifts)
    return largest_bits


@kernel
def _iq1_m_weighted(x, importance, out, first, last, tables):
    buffer, weights = np.zeros(16 * WIDE, f32), np.zeros(16 * WIDE, f32)
    xt, wt, places = np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32), np.empty(16 * WIDE, f32)
    part = np.empty(16 * WIDE, f32)
    first_x, first_w = np.empty(17 * WIDE, f32), np.empty(17 * WIDE, f32)
    second_x, second_w = np.empty(17 * WIDE, f32), np.empty(17 * WIDE, f32)
    scales, cuts, peaks = np.empty(WIDE, f32), np.empty(WIDE, f32), np.empty(WIDE, f32)
    codes, words, shifts, largest_bits = np.empty(32, i32), np.empty(2 * WIDE, i32), np.empty(WIDE, i32), i32(0)
    zero = splat(f32(0), WIDE)
    for b in range(first, last, _SUPERBLOCKS_OF_16):
        count = min(_SUPERBLOCKS_OF_16, last - b)
        largest_bits = max(largest_bits, load_superblocks(x, 256 * b, 256 * count, buffer))
        weigh_by_importance(buffer, importance, 256 * b, 16 * WIDE, 2, weights)
        to_lanes(buffer, 16, xt)
        to_lanes(weights, 16, wt)
        _sort(xt, wt, places, 16)
        for i in range(0, 16 * WIDE, WIDE):
            store(part, i, select(load(places, i, WIDE) < splat(f32(8), WIDE), load(wt, i, WIDE), zero))
        _running_sums(xt, part, 16, first_x, first_w)
        for i in range(0, 16 * WIDE, WIDE):
            store(part, i, select(load(places, i, WIDE) < splat(f32(8), WIDE), zero, load(wt, i, WIDE)))
        _running_sums(xt, part, 16, second_x, second_w)
        peak = _lane_magnitudes(xt, 16)
        store(peaks, 0, peak)
        _best_cut_of_16(first_x, first_w, second_x, second_w, peak, scales, cuts)
        _take_cuts(tables, buffer, weights, places, codes, scales, cuts, peaks, _TINY_M, 16, words, shifts)
        for s in range(count):
            _put_m(out, (b + s) * _M.size, s, buffer, weights, tables.points, scales, words, shifts)
    return largest_bits


iq1_s_weighted = WithTables(_iq1_s_weighted, "IQ1_S")
iq1_m_weighted = WithTables(_iq1_m_weighted, "IQ1_S")
