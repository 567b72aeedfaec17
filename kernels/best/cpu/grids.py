# mypy: allow-untyped-defs, allow-untyped-calls
"""The grid formats IQ3 and IQ2 with lower error: the searches of the reference, a sub-block a lane.

Lane arrays hold element i of every sub-block in row i. Words are looked for in sixteen lanes at a time, so that the
sums of all halves of words stay in the cache next to the CPU: they lie in `room`, in the parts that _COSTS and so on
name.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.best import halves
from kernels.best.cpu.grid_bytes import (
    pack_iq2_s,
    pack_iq2_xs,
    pack_iq2_xxs,
    pack_iq3_s,
    pack_iq3_xxs,
    unpack_iq2_s,
    unpack_iq2_xs,
    unpack_iq2_xxs,
    unpack_iq3_s,
    unpack_iq3_xxs,
)
from kernels.best.cpu.parts import add_error, copy, half, in_order, lanes_of, rows_of, top, total
from kernels.best.searches import IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS
from kernels.cpu.grid_search import pick, weigh_by_importance, weigh_by_square
from kernels.cpu.halves import layout
from kernels.cpu.lanes import (
    WIDE,
    absolute,
    allocating,
    bits_of,
    float_of,
    inlined,
    kernel,
    larger,
    load,
    nearest,
    select,
    set_bits,
    smaller,
    splat,
    store,
    to_float,
    to_int,
)

f32 = np.float32
f64 = np.float64
i32 = np.int32

_XXS3, _S3, _XXS2, _XS2, _S2 = (layout(name) for name in ("IQ3_XXS", "IQ3_S", "IQ2_XXS", "IQ2_XS", "IQ2_S"))
_HUGE, _FAR = f32(3e38), f32(1e36)
_LARGEST = i32(0x7FFFFFFF)
_INFINITY = f64(np.inf)

_HALF = 16 * 81  # room for a value of each half of a word
_COSTS, _FLIPS, _FIRST = 0, 512, 1024
_FIRST_FLIPS, _SECOND, _SECOND_FLIPS = _FIRST + _HALF, _FIRST + 2 * _HALF, _FIRST + 3 * _HALF
FOUND = _FIRST + 4 * _HALF  # of up to four words: error and key, error and key with a wrong sign; twice with shifts
_ROOM = FOUND + 4 * 4 * 2 * 16


class WithHalves:
    """A kernel that is given the halves of its grid's words as its last argument."""

    def __init__(self, compiled: Callable[..., Any], grid_name: str) -> None:
        self._kernel: Any = compiled
        self._grid = grid_name

    def __call__(self, *arguments: Any) -> Any:
        return self._kernel(*arguments, halves.halves(self._grid))

    @property
    def _cache(self) -> Any:
        return self._kernel._cache

    @_cache.setter
    def _cache(self, kept: Any) -> None:
        self._kernel._cache = kept


# The best words for given scales.


@inlined
def _put_terms(xt, wt, yt, at, dims, scale, shift, how, room):
    """Of a group of weights, what each code costs, and what a wrong sign costs then."""
    far, count = splat(_FAR, 16), len(how.levels)
    for i in range(dims):
        v, w = load(xt, at + i * WIDE, 16), load(wt, at + i * WIDE, 16)
        wrong = load(yt, at + i * WIDE, 16) if how.even else v
        for c in range(count):
            value = scale * splat(f32(how.levels[c]) + shift, 16)
            difference = value - v
            store(room, _COSTS + (i * count + c) * 16, smaller(w * (difference * difference), far))
            if how.even:
                store(room, _FLIPS + (i * count + c) * 16, smaller(wrong * value, far))


@inlined
def _join(room, terms, n, levels, target, least):
    """For every half word of n codes its terms added, or the least of them."""
    for c in range(levels):
        store(room, target + c * 16, load(room, terms + c * 16, 16))
    count = levels
    for i in range(1, n):
        for c in range(levels - 1, -1, -1):
            term = load(room, terms + (i * levels + c) * 16, 16)
            for k in range(count):
                before = load(room, target + k * 16, 16)
                store(room, target + (c * count + k) * 16, smaller(before, term) if least else before + term)
        count *= levels


@inlined
def _put_keys(room, keys, mask):
    """Makes the values of second halves integers in their order, with keys for the lowest bits."""
    for k in range(len(keys)):
        value, key = load(room, _SECOND + k * 16, 16), splat(pick(keys, k), 16)
        store(room, _SECOND + k * 16, (bits_of(value) & splat(~mask, 16)) | key)


@inlined
def _put_flipped_keys(room, keys, mask):
    """As _put_keys, for the sums with the least that a wrong sign costs."""
    for k in range(len(keys)):
        value = load(room, _SECOND + k * 16, 16) + load(room, _SECOND_FLIPS + k * 16, 16)
        store(room, _SECOND_FLIPS + k * 16, (bits_of(value) & splat(~mask, 16)) | splat(pick(keys, k), 16))


@inlined
def _least(room, values, seconds, start, end):
    least = splat(_LARGEST, 16)
    for t in range(start, end):
        least = smaller(least, bits_of(load(room, values + pick(seconds, t) * i32(16), 16)))
    return least


@inlined
def _find_words(room, tree, mask, bits, even, target):
    """The least sum over all words, and its key; with `even` also that of words with one wrong sign."""
    best, found, keep = splat(_HUGE, 16), splat(0, 16), splat(~mask, 16)
    best_flipped, found_flipped = best, found
    for a in range(len(tree.firsts)):
        number, start, end = pick(tree.firsts, a), pick(tree.starts, a), pick(tree.starts, a + 1)
        own = splat(pick(tree.keys, number), 16)
        first = load(room, _FIRST + number * 16, 16)
        least = _least(room, _SECOND, tree.seconds, start, end)
        value = float_of(least & keep)
        error = first + value
        better = error < best
        best = select(better, error, best)
        found = select(better, own | ((least & splat(mask, 16)) << splat(bits, 16)), found)
        if even:
            other = _least(room, _SECOND_FLIPS, tree.seconds, start, end)
            other_error = first + float_of(other & keep)
            error = (first + load(room, _FIRST_FLIPS + number * 16, 16)) + value
            less = other_error < error
            error, other = select(less, other_error, error), select(less, other, least)
            better = error < best_flipped
            best_flipped = select(better, error, best_flipped)
            found_flipped = select(better, own | ((other & splat(mask, 16)) << splat(bits, 16)), found_flipped)
    store(room, target, best)
    store(room, target + 16, found)
    store(room, target + 32, best_flipped)
    store(room, target + 48, found_flipped)


@inlined
def find_group(xt, wt, yt, at, dims, bits, scale, shift, how, room, tree, target):
    """The best word of a group of weights: its error and key, and those with one wrong sign."""
    n, half_bits, count = dims // 2, bits * (dims // 2), len(how.levels)
    mask = i32((1 << half_bits) - 1)
    _put_terms(xt, wt, yt, at, dims, scale, shift, how, room)
    _join(room, _COSTS, n, count, _FIRST, False)
    _join(room, _COSTS + n * count * 16, n, count, _SECOND, False)
    if how.even:
        _join(room, _FLIPS, n, count, _FIRST_FLIPS, True)
        _join(room, _FLIPS + n * count * 16, n, count, _SECOND_FLIPS, True)
        _put_flipped_keys(room, tree.keys, mask)
    _put_keys(room, tree.keys, mask)
    _find_words(room, tree, mask, half_bits, how.even, target)


@inlined
def level_of(key, i, bits, how):
    """The level of code i of a word."""
    code = (key >> splat(bits * i, 16)) & splat((1 << bits) - 1, 16)
    level = splat(f32(how.levels[0]), 16)
    for c in range(1, len(how.levels)):
        level = select(code >= splat(c, 16), splat(f32(how.levels[c]), 16), level)
    return level


@inlined
def _spell(yt, qt, at, dims, bits, scale, key, how):
    """Writes the levels of a word; gives the place of the weight whose sign may be wrong at the least cost."""
    least, place = splat(_HUGE, 16), splat(0, 16)
    for i in range(dims):
        level = level_of(key, i, bits, how)
        store(qt, at + i * WIDE, level)
        if how.even:
            cost = load(yt, at + i * WIDE, 16) * (scale * level)
            less = cost < least
            least, place = select(less, cost, least), select(less, splat(i, 16), place)
    return place


@inlined
def _turn_sign(qt, at, dims, place, these):
    for i in range(dims):
        level = load(qt, at + i * WIDE, 16)
        turned = these & (place == splat(i, 16))
        store(qt, at + i * WIDE, select(turned, splat(f32(0), 16) - level, level))


@inlined
def _put_eight(yt, ot, qt, eight, part, dims, bits, scale, how, room):
    """The levels of eight weights, in which one sign is wrong where their number must become even."""
    odd = load(ot, eight * WIDE + part, 16) != splat(f32(0), 16)
    first, second = FOUND, FOUND + 64 * (8 // dims - 1)
    later = load(room, first, 16) + load(room, second + 32, 16) < load(room, first + 32, 16) + load(room, second, 16)
    for g in range(8 // dims):
        at = (eight * 8 + g * dims) * WIDE + part
        # Of two words that share their signs one has the wrong one.
        these = odd & (later if g == 1 else later == (odd != odd)) if dims == 4 else odd
        right, wrong = bits_of(load(room, FOUND + 64 * g + 16, 16)), bits_of(load(room, FOUND + 64 * g + 48, 16))
        place = _spell(yt, qt, at, dims, bits, scale, select(these, wrong, right), how)
        if how.even:
            _turn_sign(qt, at, dims, place, these)


@inlined
def _choose(xt, wt, yt, ot, qt, scales, dims, bits, how, room, tree):
    """The levels of least error for a scale of each sub-block."""
    for part in range(0, WIDE, 16):
        scale = load(scales, part, 16)
        for eight in range(how.size // 8):
            for g in range(8 // dims):
                at = (eight * 8 + g * dims) * WIDE + part
                find_group(xt, wt, yt, at, dims, bits, scale, f32(0), how, room, tree, FOUND + 64 * g)
            _put_eight(yt, ot, qt, eight, part, dims, bits, scale, how, room)


# The search.


@inlined
def _sums(xt, wt, qt, size):
    """sum(w q x) and sum(w q q)."""
    sum_qx, sum_q2 = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(0, size * WIDE, WIDE):
        q = load(qt, i, WIDE)
        wq = load(wt, i, WIDE) * q
        sum_qx = sum_qx + wq * load(xt, i, WIDE)
        sum_q2 = sum_q2 + wq * q
    return sum_qx, sum_q2


@inlined
def _error_of(xt, wt, qt, size, scale):
    error = splat(f32(0), WIDE)
    for i in range(0, size * WIDE, WIDE):
        difference = scale * load(qt, i, WIDE) - load(xt, i, WIDE)
        error = error + load(wt, i, WIDE) * (difference * difference)
    return error


@inlined
def _near(scale, k, how):
    return larger(smaller(scale + splat(f32(k), WIDE), splat(f32(how.top), WIDE)), splat(f32(0), WIDE))


@inlined
def _odd(scale):
    return scale + scale + splat(f32(1), WIDE)


@inlined
def _keep(better, source, target, size):
    """Copies the levels of lanes that are better."""
    for i in range(0, size * WIDE, WIDE):
        store(target, i, select(better, load(source, i, WIDE), load(target, i, WIDE)))


@inlined
def _starts(xt, wt, yt, ot, qt, base, scales, sums, dims, bits, how, choose, room, tree):
    """Fills the sums of several starts; gives the scale that is best among theirs."""
    best, scale = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for k in range(how.starts):
        store(scales, 0, base / splat(f32(how.first) + f32(how.step) * f32(k), WIDE))
        choose(xt, wt, yt, ot, qt, scales, dims, bits, how, room, tree)
        sum_qx, sum_q2 = _sums(xt, wt, qt, how.size)
        store(sums, 2 * k * WIDE, sum_qx)
        store(sums, (2 * k + 1) * WIDE, sum_q2)
        trial = sum_qx / sum_q2
        gain = trial * sum_qx
        better = gain > best
        best, scale = select(better, gain, best), select(better, trial, scale)
    return scale


@inlined
def _estimate(sums, nearest_scale, d, how):
    """How much the error sinks for the best integer scales with codes that starts gave, and those scales."""
    best, scale = splat(-_HUGE, WIDE), nearest_scale
    for k in range(-1, 2):
        trial = _near(nearest_scale, k, how)
        s = d * _odd(trial)
        gain = splat(-_HUGE, WIDE)
        for p in range(how.starts):
            fits, squares = load(sums, 2 * p * WIDE, WIDE), load(sums, (2 * p + 1) * WIDE, WIDE)
            gain = larger((s + s) * fits - s * s * squares, gain)
        better = gain > best
        best, scale = select(better, gain, best), select(better, trial, scale)
    return best, scale


@inlined
def _estimated(sums, scales, how):
    """d times its unit and integer scales that promise most."""
    one, count = splat(f32(1), WIDE), how.block // how.size
    peak = top(scales, count)
    best, best_d, best_scale = splat(-_HUGE, WIDE), splat(f32(0), WIDE), splat(f32(0), WIDE)
    for p in range(how.trials):
        longest = f32(2 * how.top + 1.9) - f32(how.reach) * f32(p) / f32(how.trials)
        d = half(peak / splat(longest * f32(how.unit), WIDE)) * splat(f32(how.unit), WIDE)
        nearest_scale = nearest((scales * (one / d) - one) * splat(f32(0.5), WIDE))
        gain, trial = _estimate(sums, _near(nearest_scale, 0, how), d, how)
        gain = total(gain, count)
        better = gain > best
        best = select(better, gain, best)
        best_d, best_scale = select(better, d, best_d), select(better, trial, best_scale)
    return best_d, best_scale


@allocating
def _search(xt, wt, yt, ot, lt, base, dims, bits, how, choose, room, tree):
    """d times its unit, and integer scales; fills the levels lt. Starts divide `base`."""
    count, unit = how.block // how.size, splat(f32(how.unit), WIDE)
    qt, scales = np.zeros(how.size * WIDE, f32), np.zeros(WIDE, f32)
    sums = np.zeros(2 * how.starts * WIDE, f32)
    found = _starts(xt, wt, yt, ot, qt, base, scales, sums, dims, bits, how, choose, room, tree)
    d, scale = _estimated(sums, found, how)
    best, best_d, multiple = splat(_HUGE, WIDE), d, _odd(scale)
    for r in range(how.rounds + 2):
        if r > 0:
            sum_qx, sum_q2 = _sums(xt, wt, lt, how.size)
            fitted = total(multiple * sum_qx, count) / total(multiple * multiple * sum_q2, count)
            d = half(fitted / unit) * unit
        if r <= how.rounds:
            store(scales, 0, d * multiple)
            choose(xt, wt, yt, ot, qt, scales, dims, bits, how, room, tree)
        else:
            qt[:] = lt
        error = total(_error_of(xt, wt, qt, how.size, d * multiple), count)
        better = (error < best) | (splat(r, WIDE) == splat(0, WIDE))
        best, best_d = select(better, error, best), select(better, d, best_d)
        _keep(better, qt, lt, how.size)
    return best_d, scale


# The frame.


@inlined
def _peaks(xt, size):
    """The largest magnitude of each sub-block."""
    peak = splat(f32(0), WIDE)
    for i in range(0, size * WIDE, WIDE):
        peak = larger(absolute(load(xt, i, WIDE)), peak)
    return peak


@inlined
def _scales_for(xt, wt, qt, size):
    """The scales of least error for levels; where there is none above 0, one that fits the largest weight."""
    sum_qx, sum_q2 = _sums(xt, wt, qt, size)
    scale = sum_qx / sum_q2
    return select(scale > splat(f32(0), WIDE), scale, _peaks(xt, size) / splat(f32(1.5), WIDE))


@inlined
def _split(xt, wt, yt, ot, how):
    """Makes weights magnitudes; fills what a wrong sign costs, and where one is asked for."""
    zero, one, four = splat(f32(0), WIDE), splat(f32(1), WIDE), splat(f32(4), WIDE)
    for eight in range(how.size // 8):
        number = splat(0, WIDE)
        for i in range(8 * eight * WIDE, 8 * (eight + 1) * WIDE, WIDE):
            v = load(xt, i, WIDE)
            number = number + to_int(select(v < zero, one, zero))
            store(xt, i, absolute(v))
        odd = to_float(number & splat(1 if how.even else 0, WIDE))
        store(ot, eight * WIDE, odd)
        for i in range(8 * eight * WIDE, 8 * (eight + 1) * WIDE, WIDE):
            cost = load(wt, i, WIDE) * load(xt, i, WIDE) * four
            store(yt, i, select(odd != zero, cost, zero))


@inlined
def _put_codes(x, levels, start, how, codes, signs):
    """The codes of 256 levels, and a bit for each weight that is to be below 0."""
    for i in range(0, 256, 16):
        magnitude, code = absolute(load(levels, start + i, 16)), splat(f32(0), 16)
        for c in range(len(how.levels) - 1):
            passed = magnitude > splat(f32(how.levels[c]), 16)
            code = code + select(passed, splat(f32(1), 16), splat(f32(0), 16))
        store(codes, i, code)
    zero = splat(f32(0), 32)
    for i in range(0, 256, 32):
        signs[i // 32] = set_bits((load(x, start + i, 32) < zero) ^ (load(levels, start + i, 32) < zero))


@inlined
def _put_words(codes, dims, bits, words, tree):
    """The words that 256 codes spell."""
    for k in range(256 // dims):
        key = i32(0)
        for i in range(dims):
            key |= i32(codes[k * dims + i]) << i32(bits * i)
        words[k] = pick(tree.word_of_key, key)


@inlined
def _error(x, weights, start, how, scales, j0, levels, at, unsigned, sums):
    """The error of a superblock; if `unsigned`, levels stand for magnitudes."""
    for i in range(16):
        sums[i] = f64(0)
    zero = splat(f32(0), 16)
    for i in range(0, 256, 16):
        v = load(x, start + i, 16)
        value = splat(scales[j0 + i // how.size], 16) * load(levels, at + i, 16)
        if unsigned:
            value = select(v < zero, zero - value, value)
        add_error(sums, v, value, load(weights, start + i, 16), False)
    return in_order(sums)


@allocating
def improve(x, importance, out, first, last, how, dims, bits, bytes_of, choose, put_codes, pack, unpack, tree):
    """Replaces blocks in `out` by what is found, where that decodes with less error.

    Without importance the search is for an even one, and what it finds must be no worse by GGML's own measure and with
    all weights alike.

    choose(xt, wt, yt, ot, qt, scales, dims, bits, how, room, tree) fills qt with the levels of the best words;
    put_codes(x, levels, start, how, codes, signs), pack(block, d, scales, j0, words, signs) and unpack(block, at, how,
    scales, levels, tree) are about one superblock.
    """
    count, room = how.block // how.size, np.zeros(_ROOM, f32)
    group, size = WIDE // count, how.size * WIDE
    buffer, weights, levels = np.zeros(size, f32), np.zeros(size, f32), np.zeros(size, f32)
    xt, wt, yt, lt = np.zeros(size, f32), np.zeros(size, f32), np.zeros(size, f32), np.zeros(size, f32)
    alike = np.ones(size, f32)
    ot, sums, block = np.zeros(size // 8, f32), np.zeros(16, f64), np.zeros(bytes_of, np.uint8)
    ds, scales, rounded, theirs = np.zeros(WIDE, f32), np.zeros(WIDE, f32), np.zeros(WIDE, f32), np.zeros(16, f32)
    codes, words, signs, unpacked = np.zeros(256, f32), np.zeros(64, i32), np.zeros(8, i32), np.zeros(256, f32)
    for b in range(first, last, group):
        filled = min(group, last - b)
        copy(x, b * 256, filled * 256, buffer)
        if len(importance) > 0:
            weigh_by_importance(buffer, importance, b * 256, size, how.factor, weights)
        else:
            weigh_by_importance(buffer, alike, 0, size, how.factor, weights)
        lanes_of(buffer, xt, how.size)
        lanes_of(weights, wt, how.size)
        if len(importance) == 0:
            weigh_by_square(buffer, size, how.factor, how.share, weights)
        if how.shift == 0:
            _split(xt, wt, yt, ot, how)
            base = _peaks(xt, how.size)
        else:
            for s in range(filled):
                unpack(out, (b + s) * bytes_of, how, theirs, unpacked, tree)
                levels[s * 256 : (s + 1) * 256] = unpacked
            lanes_of(levels, lt, how.size)
            base = _scales_for(xt, wt, lt, how.size)
        d, scale = _search(xt, wt, yt, ot, lt, base, dims, bits, how, choose, room, tree)
        store(ds, 0, d)
        store(scales, 0, scale)
        store(rounded, 0, d * _odd(scale))
        rows_of(lt, levels, how.size)
        for s in range(filled):
            at, start, j0 = (b + s) * bytes_of, s * 256, s * count
            unpack(out, at, how, theirs, unpacked, tree)
            before = _error(buffer, weights, start, how, theirs, 0, unpacked, 0, False, sums)
            after = _error(buffer, weights, start, how, rounded, j0, levels, start, how.shift == 0, sums)
            better = after < before and before < _INFINITY
            if better and len(importance) == 0:
                after = _error(buffer, alike, start, how, rounded, j0, levels, start, how.shift == 0, sums)
                better = after <= _error(buffer, alike, start, how, theirs, 0, unpacked, 0, False, sums)
            if better:
                put_codes(buffer, levels, start, how, codes, signs)
                _put_words(codes, dims, bits, words, tree)
                block[:] = 0
                pack(block, ds[j0] / f32(how.unit), scales, j0, words, signs)
                for i in range(bytes_of):
                    out[at + i] = block[i]


@allocating
def _improve(x, importance, out, first, last, how, dims, bits, bytes_of, pack, unpack, tree):
    """`improve` where signs are apart."""
    improve(x, importance, out, first, last, how, dims, bits, bytes_of, _choose, _put_codes, pack, unpack, tree)


@kernel
def _iq3_xxs(x, importance, out, first, last, tree):
    _improve(x, importance, out, first, last, IQ3_XXS, 4, 3, _XXS3.size, pack_iq3_xxs, unpack_iq3_xxs, tree)


@kernel
def _iq3_s(x, importance, out, first, last, tree):
    _improve(x, importance, out, first, last, IQ3_S, 4, 3, _S3.size, pack_iq3_s, unpack_iq3_s, tree)


@kernel
def _iq2_xxs(x, importance, out, first, last, tree):
    _improve(x, importance, out, first, last, IQ2_XXS, 8, 2, _XXS2.size, pack_iq2_xxs, unpack_iq2_xxs, tree)


@kernel
def _iq2_xs(x, importance, out, first, last, tree):
    _improve(x, importance, out, first, last, IQ2_XS, 8, 2, _XS2.size, pack_iq2_xs, unpack_iq2_xs, tree)


@kernel
def _iq2_s(x, importance, out, first, last, tree):
    _improve(x, importance, out, first, last, IQ2_S, 8, 2, _S2.size, pack_iq2_s, unpack_iq2_s, tree)


iq3_xxs, iq3_s = WithHalves(_iq3_xxs, "IQ3_XXS"), WithHalves(_iq3_s, "IQ3_S")
iq2_xxs, iq2_xs, iq2_s = (
    WithHalves(_iq2_xxs, "IQ2_XXS"),
    WithHalves(_iq2_xs, "IQ2_XS"),
    WithHalves(_iq2_s, "IQ2_S"),
)
