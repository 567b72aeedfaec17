# mypy: allow-untyped-defs, allow-untyped-calls
"""What the kernels of the grid formats have in common: the search of the reference, one sub-block a lane.

Row arrays (`values`, `roots`, `weights`) hold a sub-block's weights side by side; lane arrays (`xt`, `wt`, `qt`) hold
element i of every sub-block in row i. The search for the best of a key's neighbours turns the other way: sixteen
neighbours in the lanes, one group of weights after the other.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from kernels import codebooks
from kernels.cpu.halves import MAGNITUDE, nearest_int, nearest_int_scalar
from kernels.cpu.lanes import (
    WIDE,
    Lanes,
    allocating,
    bits_of,
    inlined,
    larger,
    largest,
    literal_operation,
    load,
    load_source,
    operation,
    root,
    select,
    smaller,
    smallest,
    splat,
    store,
    to_int,
    transpose,
)

f32 = np.float32
i32 = np.int32

LARGEST = f32(np.finfo(np.float32).max)
OFF_GRID, ALL, ALWAYS = 0, 1, 2  # which groups choose again for the best scale
_LAST = i32(0x7FFFFFFF)


class Tables(NamedTuple):
    """Of a grid, read-only: what kernels look up.

    Neighbours come in tiles of sixteen, the last of a key repeated to fill its tile: `levels` has twice their codes
    plus one, [tiles, dims, 16], `near` their positions in the grid, [tiles, 16].
    """

    word_of_key: NDArray[np.int32]
    tiles_of_key: NDArray[np.int32]  # [keys, 2]: where the tiles of a key start and end
    levels: NDArray[np.int8]
    near: NDArray[np.int32]
    points: NDArray[np.float32]  # [words, dims]: twice the codes plus one; then eight zeros


@cache
def tables(name: str) -> Tables:
    """The tables of a grid, each flat."""
    grid = codebooks.grid(name)
    near, points = grid.neighbours, 2 * grid.codes + 1
    tiles = (near.counts + 15) // 16
    ends = np.cumsum(tiles, dtype=np.int32)
    key_of_tile = np.repeat(np.arange(len(tiles)), tiles)
    tile_of_key = np.arange(len(key_of_tile)) - (ends - tiles)[key_of_tile]
    number = np.minimum(tile_of_key[:, None] * 16 + np.arange(16), near.counts[key_of_tile][:, None] - 1)
    words = near.words[near.starts[key_of_tile][:, None] + number]
    levels = np.ascontiguousarray(points[words].transpose(0, 2, 1))
    places = np.stack([ends - tiles, ends], axis=1)
    padded = np.append(points.astype(np.float32), np.zeros(8, np.float32))
    found = Tables(grid.word_of_key, places.reshape(-1), levels.reshape(-1), words.reshape(-1), padded)
    for array in found:
        array.flags.writeable = False
    return found


class WithTables:
    """A kernel that is given the tables of its grid as its last argument."""

    def __init__(self, kernel: Callable[..., Any], grid: str) -> None:
        self._kernel: Any = kernel
        self._grid = grid

    def __call__(self, *arguments: Any) -> Any:
        return self._kernel(*arguments, tables(self._grid))

    @property
    def _cache(self) -> Any:
        return self._kernel._cache

    @_cache.setter
    def _cache(self, kept: Any) -> None:
        self._kernel._cache = kept


@operation
def pick(typing_context, array, at):
    """array[at], `at` never negative: numba's own indexing asks, in the innermost loops too often."""

    def emit(context, builder, sig, args):
        source = context.make_array(sig.args[0])(context, builder, args[0])
        return builder.load(builder.gep(source.data, [context.cast(builder, args[1], sig.args[1], types.intp)]))

    return array.dtype(array, at), emit


@operation
def load_levels(typing_context, array, at):
    """Sixteen signed bytes as floats."""
    lanes = Lanes("f32", 16)

    def emit(context, builder, sig, args):
        source = context.make_array(sig.args[0])(context, builder, args[0])
        start = context.cast(builder, args[1], sig.args[1], types.intp)
        small = ir.VectorType(ir.IntType(8), 16)
        loaded = builder.load(builder.bitcast(builder.gep(source.data, [start]), small.as_pointer()))
        loaded.align = 1
        return builder.sitofp(builder.sext(loaded, Lanes("i32", 16).llvm), lanes.llvm)

    return lanes(array, at), emit


@literal_operation
def numbered(typing_context, n):
    """0, 1, 2, ... in n lanes."""
    lanes = Lanes("i32", n.literal_value)

    def emit(context, builder, sig, args):
        return ir.Constant(lanes.llvm, list(range(lanes.n)))

    return lanes(n), emit


@operation
def first_set(typing_context, mask):
    """The lowest lane of sixteen in which the mask is set; one is."""

    def emit(context, builder, sig, args):
        bits = builder.zext(builder.bitcast(args[0], ir.IntType(16)), ir.IntType(32))
        return builder.cttz(bits, ir.Constant(ir.IntType(1), 1))

    return types.int32(mask), emit


@inlined
def load_superblocks(x, at, count, buffer):
    """Copies weights as floats and gives the largest magnitude, as bits."""
    peak = splat(0, 16)
    for i in range(0, count, 16):
        v = load_source(x, at + i, 16)
        peak = larger(peak, bits_of(v) & splat(MAGNITUDE, 16))
        store(buffer, i, v)
    return largest(peak)


@inlined
def mean_square(buffer, at, factor):
    """`factor` times the mean square of a superblock."""
    total = f32(0)
    for i in range(at, at + 256):
        total += buffer[i] * buffer[i]
    return f32(factor) * total / f32(256)


@inlined
def weigh_by_square(buffer, count, factor, share, weights):
    """x**2 plus a share of `factor` times the superblock's mean square."""
    for s in range(0, count, 256):
        added = f32(share) * mean_square(buffer, s, factor) if share != 0 else f32(0)
        for i in range(s, s + 256, 16):
            v = load(buffer, i, 16)
            store(weights, i, splat(added, 16) + v * v if share != 0 else v * v)


@inlined
def weigh_by_importance(buffer, importance, at, count, factor, weights):
    """importance * sqrt(sigma2 + x**2) for superblocks from weight `at` of all rows on."""
    for s in range(0, count, 256):
        sigma2 = splat(mean_square(buffer, s, factor), 16)
        column = (at + s) % importance.size
        for i in range(0, 256, 16):
            v = load(buffer, s + i, 16)
            store(weights, s + i, load(importance, column + i, 16) * root(sigma2 + v * v))


@inlined
def _least(buffer, weights, at):
    """The one of eight weights whose sign matters least."""
    place, least = 0, weights[at] * buffer[at] * buffer[at]
    for i in range(1, 8):
        cost = weights[at + i] * buffer[at + i] * buffer[at + i]
        if cost < least:
            least, place = cost, i
    return place


@inlined
def split_signs(buffer, weights, count, even, values, signs):
    """Magnitudes and sign bits; with `even`, an even number of signs in eight, of which seven bits are kept."""
    for g in range(count // 8):
        bits, number = i32(0), i32(0)
        for i in range(8):
            v = buffer[8 * g + i]
            negative = v < 0
            values[8 * g + i] = -v if negative else v
            bits |= i32(negative) << i32(i)
            number += i32(negative)
        if even:
            if number & i32(1):
                i = _least(buffer, weights, 8 * g)
                values[8 * g + i] = -values[8 * g + i]
                bits ^= i32(1) << i32(i)
            bits &= i32(127)
        signs[g] = bits


@inlined
def to_lanes(rows, size, target):
    """target[i * WIDE + lane] = rows[lane * size + i]."""
    for lane in range(0, WIDE, 16):
        for i in range(0, size, 16):
            transpose(rows, lane * size + i, size, target, i * WIDE + lane, WIDE)


@inlined
def take_roots(weights, roots):
    for i in range(0, weights.size, 16):
        store(roots, i, root(load(weights, i, 16)))


@inlined
def lane_peaks(xt, size):
    """The largest value of each sub-block."""
    peak = load(xt, 0, WIDE)
    for i in range(WIDE, size * WIDE, WIDE):
        peak = larger(peak, load(xt, i, WIDE))
    return peak


@inlined
def nearest_place(levels, start, end, values, roots, at, dims, scale):
    """Of the neighbours in tiles start..end, the place of the one of least distance: tile * 16 + lane."""
    best, tile = splat(LARGEST, 16), splat(start, 16)
    for t in range(start, end):
        distance = splat(f32(0), 16)
        for i in range(dims):
            q = load_levels(levels, (t * dims + i) * 16)
            difference = splat(scale, 16) * q - splat(pick(values, at + i), 16)
            distance = distance + splat(pick(roots, at + i), 16) * difference * difference
        better = distance < best
        best, tile = select(better, distance, best), select(better, splat(t, 16), tile)
    return place_of_least(best, tile, start, end)


@inlined
def place_of_least(best, tile, start, end):
    """The first place, tile * 16 + lane, of the least distance."""
    bits = bits_of(best)
    least = bits == splat(smallest(bits), 16)
    if end - start == 1:
        return i32(16) * start + first_set(least)
    place = (tile << splat(4, 16)) | numbered(16)
    return smallest(select(least, place, splat(_LAST, 16)))


@inlined
def _round(xt, inverse, keys, size, dims, code_bits, top):
    """The keys of all groups, their codes rounded."""
    zero, one, half = splat(f32(0), WIDE), splat(f32(1), WIDE), splat(f32(0.5), WIDE)
    for g in range(size // dims):
        key = splat(0, WIDE)
        for i in range(dims):
            code = nearest_int(half * (inverse * load(xt, (g * dims + i) * WIDE, WIDE) - one), WIDE)
            code = larger(zero, smaller(splat(f32(top), WIDE), code))
            key = key | (to_int(code) << splat(code_bits * i, WIDE))
        store(keys, g * WIDE, key)


@inlined
def _snap(tables, keys, words, values, roots, scales, wanted, on_grid, off, size, dims):
    """The words of wanted lanes: those their keys spell, or the best near them. on_grid has a bit for each group."""
    groups, count = size // dims, 0
    for lane in range(WIDE):
        bits = i32(0)
        for g in range(groups):
            word = pick(tables.word_of_key, pick(keys, g * WIDE + lane))
            words[lane * groups + g] = word
            bits |= i32(word >= 0) << i32(g)
            off[count] = lane * groups + g
            count += i32(word < 0) & wanted[lane]
        on_grid[lane] = bits
    for k in range(count):
        place = np.uint32(pick(off, k))  # unsigned, so that the division is a shift
        owner = place // np.uint32(groups)
        key = pick(keys, place % np.uint32(groups) * np.uint32(WIDE) + owner)
        start, end = pick(tables.tiles_of_key, 2 * key), pick(tables.tiles_of_key, 2 * key + 1)
        found = nearest_place(tables.levels, start, end, values, roots, i32(place) * dims, dims, pick(scales, owner))
        words[place] = pick(tables.near, found)


@inlined
def _spell(tables, words, rows, qt, size, dims):
    """What the words stand for, in lanes. Rows and points have room for eight more, which the next word overwrites."""
    for place in range(WIDE * (size // dims)):
        store(rows, place * dims, load(tables.points, max(pick(words, place), i32(0)) * dims, 8))
    to_lanes(rows, size, qt)


@inlined
def _sums(xt, wt, qt, size):
    """sum(w x q) and sum(w q q)."""
    sum_qx, sum_q2 = splat(f32(0), WIDE), splat(f32(0), WIDE)
    for i in range(0, size * WIDE, WIDE):
        w, q = load(wt, i, WIDE), load(qt, i, WIDE)
        sum_qx = sum_qx + w * load(xt, i, WIDE) * q
        sum_q2 = sum_q2 + w * q * q
    return sum_qx, sum_q2


@inlined
def _merge(words, best_words, wanted, best_on_grid, refine, groups):
    """Puts the best words back where the last choice does not count."""
    for lane in range(WIDE):
        for g in range(groups):
            kept = refine == OFF_GRID and best_on_grid[lane] & (i32(1) << i32(g)) != 0
            if wanted[lane] == 0 or kept:
                words[lane * groups + g] = best_words[lane * groups + g]


@allocating
def search_words(
    tables, xt, wt, values, roots, peaks, scales, some, words, size, dims, code_bits, top, trials, step, refine
):
    """Replaces the first `scales` by the best; fills words[lane * groups + g]. Only lanes that are in `some` count.

    A scale below 0 stands for signs that all change; one that is not a number becomes 0.
    """
    groups = size // dims
    everything = (i32(1) << i32(groups)) - i32(1)
    qt, rows = np.empty(size * WIDE, f32), np.empty(size * WIDE + 8, f32)
    keys, off, best_words = np.empty(groups * WIDE, i32), np.empty(groups * WIDE + 1, i32), np.zeros(groups * WIDE, i32)
    trial_scales, flags, wanted = np.empty(WIDE, f32), np.empty(WIDE, f32), np.empty(WIDE, i32)
    on_grid, best_on_grid = np.empty(WIDE, i32), np.empty(WIDE, i32)
    zero, one = splat(f32(0), WIDE), splat(f32(1), WIDE)
    for lane in range(WIDE):
        best_on_grid[lane] = everything if refine == OFF_GRID else i32(0)
        wanted[lane] = some[lane]
    peak, scale, best = load(peaks, 0, WIDE), load(scales, 0, WIDE), zero
    for k in range(-trials, trials + 2):
        # The last round is no trial: sub-blocks that want it choose again for the best scale.
        last = k > trials
        inverse = splat(f32(2 * top + 1) + f32(k) * f32(step), WIDE) / peak
        trial_scale = one / inverse
        if last:
            store(scales, 0, scale)
            for lane in range(WIDE):
                again = refine == ALWAYS or best_on_grid[lane] != everything
                wanted[lane] = i32(some[lane] != 0 and scales[lane] > 0 and again)
                flags[lane] = f32(wanted[lane])
            inverse, trial_scale = one / scale, scale
        store(trial_scales, 0, trial_scale)
        _round(xt, inverse, keys, size, dims, code_bits, top)
        _snap(tables, keys, words, values, roots, trial_scales, wanted, on_grid, off, size, dims)
        if last:
            _merge(words, best_words, wanted, best_on_grid, refine, groups)
        _spell(tables, words, rows, qt, size, dims)
        sum_qx, sum_q2 = _sums(xt, wt, qt, size)
        if last:
            refined = (load(flags, 0, WIDE) != zero) & (sum_q2 > zero)
            scale = select(refined, sum_qx / sum_q2, scale)
            continue
        better = (sum_q2 > zero) & (sum_qx * sum_qx > best * sum_q2)
        scale = select(better, sum_qx / sum_q2, scale)
        best = select(better, scale * sum_qx, best)
        store(flags, 0, select(better, one, zero))
        for lane in range(WIDE):
            if flags[lane] != 0 and some[lane] != 0:
                best_on_grid[lane] = on_grid[lane]
                for g in range(lane * groups, lane * groups + groups):
                    best_words[g] = words[g]
    store(scales, 0, select(scale == scale, scale, zero))


@inlined
def clear_empty(scales, some, signs, size):
    """Zeros in lanes that do not count; in others signs that all change where the scale is below 0."""
    per_lane = size // 8
    for lane in range(WIDE):
        if not some[lane]:
            scales[lane] = f32(0)
            for g in range(lane * per_lane, (lane + 1) * per_lane):
                signs[g] = 0
        elif scales[lane] < 0:
            scales[lane] = -scales[lane]
            for g in range(lane * per_lane, (lane + 1) * per_lane):
                signs[g] ^= 255


@inlined
def largest_scale(scales, at, count):
    top = f32(0)
    for j in range(at, at + count):
        top = max(top, scales[j])
    return top


@inlined
def odd_multiple(inverse, scale, top):
    """The s of 0..top for which (2 s + 1) / inverse is nearest to the scale."""
    return max(i32(0), min(i32(top), nearest_int_scalar(f32(0.5) * (inverse * scale - f32(1)))))
