"""The grid formats IQ3 and IQ2 with lower error: of all words the one of least error, for scales that a block can hold.

Arrays are [weights of a sub-block, sub-blocks]. Magnitudes and signs are apart: a level below 0 is one whose sign is
not that of the weight, which an even number of minus signs in eight may ask for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.best.halves import Halves, halves
from kernels.best.reference.parts import (
    F32,
    HUGE,
    ONE_F,
    U8,
    ZERO,
    f32,
    half,
    is_improved,
    lanes_of,
    larger,
    smaller,
    sum_in_order,
    top,
    total,
)
from kernels.best.searches import IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS, Words
from kernels.codebooks import grid
from kernels.formats import FORMATS
from kernels.reference import DECODERS
from kernels.reference.grid_search import importance_weights, nibbles, squares_mean

I32 = NDArray[np.int32]
Mask = NDArray[np.bool_]

FAR = f32(1e36)  # no weight's error counts more, so that sums stay finite


@dataclass(frozen=True)
class Lanes:
    """Sub-blocks to search: what an error costs, and what of it a wrong sign costs, which is 0 where none is needed."""

    x: F32  # magnitudes
    weights: F32
    wrong: F32  # 4 * weight * x
    odd: Mask  # [eights, sub-blocks]: an odd number of minus signs


@dataclass(frozen=True)
class Found:
    """The error of each superblock, and f16 d times its unit, in each of its sub-blocks; levels."""

    error: F32
    d: F32
    levels: F32

    def improved(self, better: Mask, other: "Found") -> "Found":
        """What `other` found where it is better."""
        error, d = np.where(better, other.error, self.error), np.where(better, other.d, self.d)
        return Found(error, d, np.where(better, other.levels, self.levels))


Choose = Callable[[Lanes, F32, Words], F32]  # the levels of least error for a scale of each sub-block


def _lanes(x: F32, weights: F32, how: Words) -> Lanes:
    magnitudes, wrong = np.abs(x), np.zeros_like(x)
    odd = np.zeros((len(x) // 8, x.shape[1]), np.bool_)
    if how.even:
        odd = (x < 0).reshape(-1, 8, x.shape[1]).sum(axis=1) % 2 == 1
        wrong = np.where(np.repeat(odd, 8, axis=0), weights * magnitudes * f32(4), ZERO)
    return Lanes(magnitudes, weights, wrong, odd)


# The best words for given scales. Here arrays are [groups, sub-blocks], or [.., groups, sub-blocks].


def of_halves(terms: list[list[F32]], join: Callable[[F32, F32], F32]) -> F32:
    """For every half, its terms joined: terms[i][code] -> [halves, groups, sub-blocks]."""
    joined = np.stack(terms[0])
    for term in terms[1:]:
        joined = np.concatenate([join(joined, of_code) for of_code in term])
    return joined


def _with_keys(values: F32, tree: Halves) -> I32:
    """Values that are not negative as integers in their order, keys of their halves for the lowest bits."""
    bits: I32 = (values.view(np.int32) & ~_key_mask(tree)) | tree.keys[:, None, None]
    return bits


def _key_mask(tree: Halves) -> np.int32:
    return np.int32((1 << int(tree.keys[-1]).bit_length()) - 1)


def best_keys(first: F32, second: F32, flips: tuple[F32, F32] | None, tree: Halves) -> tuple[F32, I32]:
    """The least sum over all words, and its key; with flips, of words in which the sign of one weight is wrong."""
    mask, shift = _key_mask(tree), int(_key_mask(tree)).bit_length()
    best = np.full(first.shape[1:], HUGE, np.float32)
    found = np.zeros(first.shape[1:], np.int32)
    packed = _with_keys(second, tree)
    flipped = packed if flips is None else _with_keys(second + flips[1], tree)
    for number, start, end in zip(tree.firsts, tree.starts, tree.starts[1:], strict=False):
        seconds = tree.seconds[start:end]
        least = packed[seconds].min(axis=0)
        error = first[number] + (least & ~mask).view(np.float32)
        if flips is not None:
            other = flipped[seconds].min(axis=0)
            other_error = first[number] + (other & ~mask).view(np.float32)
            error = (first[number] + flips[0][number]) + (least & ~mask).view(np.float32)
            less = other_error < error
            error, least = np.where(less, other_error, error), np.where(less, other, least)
        better = error < best
        key = tree.keys[number] | ((least & mask) << shift)
        best, found = np.where(better, error, best), np.where(better, key, found)
    return best, found


def _levels_of(keys: I32, how: Words) -> F32:
    """[groups, sub-blocks] -> [groups, dims, sub-blocks]."""
    words = grid(how.grid)
    codes = (keys[:, None] >> (words.bits * np.arange(words.dims))[:, None]) & ((1 << words.bits) - 1)
    levels: F32 = np.array(how.levels, np.float32)[codes]
    return levels


def _with_wrong_sign(levels: F32, wrong: F32, scale: F32, these: Mask) -> F32:
    """The sign of the weight changed for which it costs least, where `these` [groups, sub-blocks]."""
    least, place = np.full(these.shape, HUGE), np.zeros(these.shape, np.int32)
    for i in range(levels.shape[1]):
        cost = wrong[:, i] * (scale * levels[:, i])
        less = cost < least
        least, place = np.where(less, cost, least), np.where(less, i, place)
    here = these[:, None] & (place[:, None] == np.arange(levels.shape[1])[:, None])
    return np.where(here, -levels, levels)


def _choose(lanes: Lanes, scale: F32, how: Words) -> F32:
    """The levels of least error for a scale of each sub-block."""
    dims, tree = grid(how.grid).dims, halves(how.grid)
    x, weights, wrong = (values.reshape(-1, dims, len(scale)) for values in (lanes.x, lanes.weights, lanes.wrong))
    costs, flips = [], []
    for i in range(dims):
        differences = [scale * f32(level) - x[:, i] for level in how.levels]
        costs.append([smaller(weights[:, i] * (d * d), FAR) for d in differences])
        flips.append([smaller(wrong[:, i] * (scale * f32(level)), FAR) for level in how.levels])
    first, second = of_halves(costs[: dims // 2], np.add), of_halves(costs[dims // 2 :], np.add)
    if not how.even:
        return _levels_of(best_keys(first, second, None, tree)[1], how).reshape(lanes.x.shape)
    least = of_halves(flips[: dims // 2], smaller), of_halves(flips[dims // 2 :], smaller)
    error, keys = best_keys(first, second, least, tree)
    these = lanes.odd
    if dims == 4:  # of two groups that share their signs, one has the wrong one
        right, right_keys = best_keys(first, second, None, tree)
        later = right[0::2] + error[1::2] < error[0::2] + right[1::2]
        these = np.stack([lanes.odd & ~later, lanes.odd & later], axis=1).reshape(right.shape)
        keys = np.where(these, keys, right_keys)
    return _with_wrong_sign(_levels_of(keys, how), wrong, scale, these).reshape(lanes.x.shape)


# The search.


def sums_of(lanes: Lanes, levels: F32) -> tuple[F32, F32]:
    """sum(w q x) and sum(w q q)."""
    wq = lanes.weights * levels
    return sum_in_order(wq * lanes.x), sum_in_order(wq * levels)


def _error(lanes: Lanes, levels: F32, scale: F32) -> F32:
    difference = scale * levels - lanes.x
    return sum_in_order(lanes.weights * (difference * difference))


def _around(scale: F32, k: int, how: Words) -> F32:
    moved: F32 = scale + f32(k)
    return larger(smaller(moved, f32(how.top)), ZERO)


def _odd(scale: F32) -> F32:
    return scale + scale + ONE_F


def _starts(lanes: Lanes, how: Words, choose: Choose, base: F32) -> tuple[list[tuple[F32, F32]], F32]:
    """The sums of several starts, and the scale that is best among theirs."""
    best, scale, sums = np.zeros_like(base), np.zeros_like(base), []
    for k in range(how.starts):
        start = base / (f32(how.first) + f32(how.step) * f32(k))
        sum_qx, sum_q2 = sums_of(lanes, choose(lanes, start, how))
        trial = sum_qx / sum_q2
        gain = trial * sum_qx
        better = gain > best
        best, scale = np.where(better, gain, best), np.where(better, trial, scale)
        sums.append((sum_qx, sum_q2))
    return sums, scale


def _estimate(sums: list[tuple[F32, F32]], nearest: F32, d: F32, how: Words) -> tuple[F32, F32]:
    """How much the error sinks for the best integer scales with codes that starts gave, and those scales."""
    best, scale = np.full_like(nearest, -HUGE), nearest
    for k in (-1, 0, 1):
        trial = _around(nearest, k, how)
        s: F32 = d * _odd(trial)
        gain = np.full_like(s, -HUGE)
        for sum_qx, sum_q2 in sums:
            linear: F32 = (s + s) * sum_qx
            gain = larger(linear - s * s * sum_q2, gain)
        better = gain > best
        best, scale = np.where(better, gain, best), np.where(better, trial, scale)
    return best, scale


def _estimated(lanes: Lanes, how: Words, choose: Choose, base: F32) -> tuple[F32, F32]:
    """d times its unit and integer scales that promise most."""
    count = how.block // how.size
    sums, scales = _starts(lanes, how, choose, base)
    peak = top(scales, count)
    best, d, scale = np.full_like(peak, -HUGE), np.zeros_like(peak), np.zeros_like(peak)
    for p in range(how.trials):
        longest = f32(2 * how.top + 1.9) - f32(how.reach) * f32(p) / f32(how.trials)
        trial_d = half(peak / (longest * f32(how.unit))) * f32(how.unit)
        nearest = np.rint((scales * (ONE_F / trial_d) - ONE_F) * f32(0.5))
        gain, trial = _estimate(sums, _around(nearest, 0, how), trial_d, how)
        gain = total(gain, count)
        better = gain > best
        best, d, scale = (np.where(better, a, b) for a, b in ((gain, best), (trial_d, d), (trial, scale)))
    return d, scale


def _measured(lanes: Lanes, how: Words, *, d: F32, multiple: F32, levels: F32) -> Found:
    """What levels come to."""
    error = _error(lanes, levels, d * multiple)
    return Found(total(error, how.block // how.size), d, levels)


def _fitted(lanes: Lanes, how: Words, *, multiple: F32, levels: F32) -> F32:
    """The f16 d of least error, times its unit."""
    count = how.block // how.size
    sum_qx, sum_q2 = sums_of(lanes, levels)
    fitted: F32 = total(multiple * sum_qx, count) / total(multiple * multiple * sum_q2, count)
    return half(fitted / f32(how.unit)) * f32(how.unit)


def search(lanes: Lanes, how: Words, choose: Choose, base: F32) -> tuple[Found, F32]:
    """What was found, and integer scales; starts divide `base`."""
    d, scale = _estimated(lanes, how, choose, base)
    multiple = _odd(scale)
    found = _measured(lanes, how, d=d, multiple=multiple, levels=choose(lanes, d * multiple, how))
    for r in range(how.rounds + 1):
        d = _fitted(lanes, how, multiple=multiple, levels=found.levels)
        levels = choose(lanes, d * multiple, how) if r < how.rounds else found.levels
        other = _measured(lanes, how, d=d, multiple=multiple, levels=levels)
        found = found.improved(other.error < found.error, other)
    return found, scale


# Bytes.


@dataclass(frozen=True)
class Codes:
    """What blocks hold: d [n], integer scales [n, subs], words [n, 256 / dims], sign bits [n, 32], a bit a weight."""

    d: NDArray[np.float16]
    scales: I32
    words: I32
    signs: U8


@dataclass(frozen=True)
class Parts:
    """What formats differ in: the lanes of x and weights [n, 256]; what starts divide, for the bytes that there are;
    words; codes [n, 256] and signs; bytes."""

    lanes: Callable[[F32, F32, Words], Lanes]
    base: Callable[[Lanes, U8], F32]
    choose: Choose
    codes: Callable[[F32, Found, Words], tuple[I32, U8]]
    pack: Callable[[np.ndarray, Codes], None]


def _signs_and_scales(codes: Codes) -> NDArray[np.uint32]:
    """28 sign bits and a 4-bit scale of each 32 weights."""
    seven = (codes.signs & 127).reshape(-1, 8, 4).astype(np.uint32) << np.array([0, 7, 14, 21], np.uint32)
    packed: NDArray[np.uint32] = (codes.scales.astype(np.uint32) << 28) | np.bitwise_or.reduce(seven, axis=2)
    return packed


def _pack_iq3_xxs(block: np.ndarray, codes: Codes) -> None:
    block["d"] = codes.d
    block["qs"][:, :64] = codes.words
    block["qs"][:, 64:] = _signs_and_scales(codes).astype("<u4").view(np.uint8)


def _pack_iq3_s(block: np.ndarray, codes: Codes) -> None:
    block["d"] = codes.d
    block["qs"] = codes.words & 255
    block["qh"] = np.packbits((codes.words >> 8).astype(np.uint8), axis=1, bitorder="little")
    block["signs"] = codes.signs
    block["scales"] = nibbles(codes.scales)


def _pack_iq2_xxs(block: np.ndarray, codes: Codes) -> None:
    block["d"] = codes.d
    parts = np.empty((len(block), 8, 2), "<u4")
    parts[:, :, 0] = codes.words.astype(np.uint8).view("<u4")
    parts[:, :, 1] = _signs_and_scales(codes)
    block["qs"] = parts.reshape(-1, 16).view("<u2")


def _pack_iq2_xs(block: np.ndarray, codes: Codes) -> None:
    block["d"] = codes.d
    block["qs"] = codes.words | ((codes.signs & 127).astype(np.int32) << 9)
    block["scales"] = nibbles(codes.scales)


def _pack_iq2_s(block: np.ndarray, codes: Codes) -> None:
    block["d"] = codes.d
    block["qs"][:, :32] = codes.words & 255
    block["qs"][:, 32:] = codes.signs
    block["qh"] = np.bitwise_or.reduce((codes.words >> 8).reshape(-1, 8, 4) << np.array([0, 2, 4, 6]), axis=2)
    block["scales"] = nibbles(codes.scales)


def _weights(x: F32, importance: F32 | None, how: Words) -> F32:
    """What errors cost, as GGML counts it: [n, 256]."""
    if importance is not None:
        return importance_weights(x, importance, how.factor)
    if how.share == 0:
        return x * x
    return f32(how.share) * squares_mean(x, how.factor)[:, None] + x * x


def _codes_and_signs(x: F32, found: Found, how: Words) -> tuple[I32, U8]:
    levels = np.ascontiguousarray(found.levels.T).reshape(-1, 256)
    codes = np.searchsorted(np.array(how.levels, np.float32), np.abs(levels)).astype(np.int32)
    return codes, np.packbits((x < 0) != (levels < 0), axis=1, bitorder="little")


def _peaks(lanes: Lanes, packed: U8) -> F32:
    peaks: F32 = lanes.x.max(axis=0)
    return peaks


def _lanes_of(x: F32, weights: F32, how: Words) -> Lanes:
    return _lanes(lanes_of(x, how.size), lanes_of(weights, how.size), how)


def _parts(pack: Callable[[np.ndarray, Codes], None]) -> Parts:
    return Parts(_lanes_of, _peaks, _choose, _codes_and_signs, pack)


def improve(name: str, x: F32, importance: F32 | None, packed: U8, *, how: Words, parts: Parts) -> None:
    """Replaces blocks by what is found, where that decodes with less error.

    Without importance the search is for an even one, and what it finds must be no worse by GGML's own measure.
    """
    weights = importance_weights(x, np.ones_like(x) if importance is None else importance, how.factor)
    costs = _weights(x, importance, how)
    lanes = parts.lanes(x, weights, how)
    found, scale = search(lanes, how, parts.choose, parts.base(lanes, packed))
    codes, signs = parts.codes(x, found, how)
    words, n = grid(how.grid), len(x)
    keys = (codes.reshape(n, -1, words.dims) << (words.bits * np.arange(words.dims))).sum(axis=2)
    block = np.zeros(n, FORMATS[name].dtype)
    d = (found.d / f32(how.unit)).reshape(n, -1)[:, 0].astype(np.float16)
    parts.pack(block, Codes(d, scale.astype(np.int32).reshape(n, -1), words.word_of_key[keys], signs))
    ours = block.view(np.uint8).reshape(n, -1)
    decode = DECODERS[name]
    better = is_improved(decode(ours), decode(packed), x, costs, evenly=importance is None)
    packed[better] = ours[better]


def search_iq3_xxs(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Four weights a word, signs of eight even, 32 weights a scale."""
    improve("IQ3_XXS", x, importance, packed, how=IQ3_XXS, parts=_parts(_pack_iq3_xxs))


def search_iq3_s(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Four weights a word, 32 weights a scale."""
    improve("IQ3_S", x, importance, packed, how=IQ3_S, parts=_parts(_pack_iq3_s))


def search_iq2_xxs(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Eight weights a word, their signs even, 32 weights a scale."""
    improve("IQ2_XXS", x, importance, packed, how=IQ2_XXS, parts=_parts(_pack_iq2_xxs))


def search_iq2_xs(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Eight weights a word, their signs even, 16 weights a scale."""
    improve("IQ2_XS", x, importance, packed, how=IQ2_XS, parts=_parts(_pack_iq2_xs))


def search_iq2_s(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Eight weights a word, 16 weights a scale."""
    improve("IQ2_S", x, importance, packed, how=IQ2_S, parts=_parts(_pack_iq2_s))


SEARCHES = {
    "IQ3_XXS": search_iq3_xxs,
    "IQ3_S": search_iq3_s,
    "IQ2_XXS": search_iq2_xxs,
    "IQ2_XS": search_iq2_xs,
    "IQ2_S": search_iq2_s,
}
