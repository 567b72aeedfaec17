"""IQ2_XXS, IQ2_XS and IQ2_S: eight weights a grid word of 2-bit codes, signs apart. From ggml-quants.c."""

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import grid, parity_signs
from kernels.formats import FORMATS
from kernels.reference.grid_search import (
    Trials,
    by_sub_block,
    even_magnitudes,
    importance_weights,
    nibbles,
    odd_multiples,
    search_blocks,
    search_words,
    spread,
    squares_mean,
)
from kernels.reference.iq3 import signed_values
from kernels.reference.k_quants import nearest_int, sum_in_order

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

f32 = np.float32
_ZERO, _ONE = f32(0), f32(1)
_TINY = f32(1e-15)  # GROUP_MAX_EPS
_XXS_TRIALS = Trials(count=6, step=0.1, refine="always")
_TRIALS = Trials(count=9, step=0.1, refine="off grid")
_VALUES = np.array([8, 25, 43], np.float32)


def _scaled(d: NDArray[np.float16], scales: NDArray[np.integer]) -> F32:
    values: F32 = d.astype(np.float32)[:, None] * (f32(0.5) + scales.astype(np.float32)) * f32(0.25)
    return values


def _from_nibbles(packed: U8) -> U8:
    return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)


def positive_scale(x: F32, weights: F32, *, top: int) -> F32:
    """The scale of least weighted error for codes up to `top`: nine trials, then single-code moves (make_qp_quants).

    [elements, sub-blocks] -> [sub-blocks]. Codes of negative x are kept as bytes, as GGML keeps them: -1 is 255.
    """
    peak = x.max(axis=0)
    inverse: F32 = f32(top) / peak
    best = _error(x, weights, _bytes(nearest_int(inverse * x)), _ONE / inverse)
    for k in (-4, -3, -2, -1, 1, 2, 3, 4):
        trial = (f32(0.1) * f32(k) + f32(top)) / peak
        error = _error(x, weights, np.minimum(nearest_int(trial * x), top).astype(np.float32), _ONE / trial)
        better = error < best
        best, inverse = np.where(better, error, best), np.where(better, trial, inverse)
    codes = np.minimum(nearest_int(inverse * x), top).astype(np.float32)
    wx = weights * x
    sum_lx, sum_l2 = sum_in_order(wx * codes), sum_in_order(weights * codes * codes)
    codes = _bytes(codes.astype(np.int32))
    for _ in range(5):
        # A sub-block that did not change in one sweep does not change in the next.
        for i in range(len(x)):
            old = codes[i]
            rest_lx, rest_l2 = sum_lx - wx[i] * old, sum_l2 - weights[i] * old * old
            new = np.minimum(nearest_int(x[i] * rest_l2 / rest_lx), top).astype(np.float32)
            new_lx, new_l2 = rest_lx + wx[i] * new, rest_l2 + weights[i] * new * new
            better = (rest_lx > 0) & (rest_l2 > 0) & (new != old)
            better &= new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2
            codes[i] = np.where(better, _bytes(new.astype(np.int32)), old)
            sum_lx, sum_l2 = np.where(better, new_lx, sum_lx), np.where(better, new_l2, sum_l2)
    return np.where(sum_l2 > 0, sum_lx / sum_l2, _ZERO)


def _bytes(codes: NDArray[np.int32]) -> F32:
    return (codes & 255).astype(np.float32)


def _error(x: F32, weights: F32, codes: F32, scale: F32) -> F32:
    difference = x - scale * codes
    return sum_in_order(weights * difference * difference)


def encode_iq2_xxs_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """d, then for each 32 weights 4 words, 28 sign bits and a 4-bit scale: x ~ d * (s + 1/2) / 4 * value[code]."""
    weights = importance_weights(x, importance, 1)
    values, signs = even_magnitudes(x, weights)
    lanes, lane_weights = by_sub_block(values, 32), by_sub_block(weights, 32)
    some = np.flatnonzero(lanes.max(axis=0) >= _TINY)
    start = positive_scale(lanes[:, some], lane_weights[:, some], top=4)
    peak = start * f32(3)
    some, start, peak = some[~(peak <= 0)], start[~(peak <= 0)], peak[~(peak <= 0)]
    result = search_words(
        grid("IQ2_XXS"), lanes[:, some], lane_weights[:, some], trials=_XXS_TRIALS, peak=peak, scale=start
    )
    found = spread(*result, some=some, signs=signs, subs=8)
    d, scales = odd_multiples(found.scales, top=31)
    seven = (found.signs & 127).reshape(-1, 8, 4).astype(np.uint32) << np.array([0, 7, 14, 21], np.uint32)
    block = np.zeros(len(x), FORMATS["IQ2_XXS"].dtype)
    block["d"] = d
    halves = np.empty((len(x), 8, 2), "<u4")
    halves[:, :, 0] = found.words.astype(np.uint8).view("<u4")
    halves[:, :, 1] = (scales.astype(np.uint32) << 28) | np.bitwise_or.reduce(seven, axis=2)
    block["qs"] = halves.reshape(-1, 16).view("<u2")
    block["qs"][found.scales.max(axis=1) == 0] = 0
    return block.view(np.uint8).reshape(len(x), -1)


def encode_iq2_xs_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """d, 32 words of 9 bits with 7 sign bits above, sixteen 4-bit scales: x ~ d * (s + 1/2) / 4 * value[code]."""
    weights = importance_weights(x, importance, 1)
    found = search_blocks(grid("IQ2_XS"), x, weights, size=16, trials=_TRIALS, smallest=1e-15, even_signs=True)
    d, scales = odd_multiples(found.scales, top=31)
    block = np.zeros(len(x), FORMATS["IQ2_XS"].dtype)
    block["d"] = d
    block["qs"] = found.words | ((found.signs & 127).astype(np.int32) << 9)
    block["qs"][found.scales.max(axis=1) == 0] = 0
    block["scales"] = nibbles(scales)
    return block.view(np.uint8).reshape(len(x), -1)


def _encode_iq2_s(x: F32, weights: F32) -> U8:
    found = search_blocks(grid("IQ2_S"), x, weights, size=16, trials=_TRIALS, smallest=1e-8, even_signs=False)
    d, scales = odd_multiples(found.scales, top=31)
    high = (found.words >> 8).reshape(-1, 8, 4) << np.array([0, 2, 4, 6])
    block = np.zeros(len(x), FORMATS["IQ2_S"].dtype)
    block["d"] = d * f32(0.9875)
    block["qs"][:, :32] = found.words & 255
    block["qs"][:, 32:] = found.signs
    block["qh"] = np.bitwise_or.reduce(high, axis=2)
    block["scales"] = nibbles(scales)
    return block.view(np.uint8).reshape(len(x), -1)


def encode_iq2_s(x: F32) -> U8:
    """d, low bytes of 32 words, 256 signs, high pairs of the words, sixteen 4-bit scales: values as in IQ2_XS."""
    return _encode_iq2_s(x, f32(0.25) * squares_mean(x, 2)[:, None] + x * x)


def encode_iq2_s_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """As encode_iq2_s, by the importance of each weight."""
    return _encode_iq2_s(x, importance_weights(x, importance, 2))


def decode_iq2_xxs(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ2_XXS"].dtype)[:, 0]
    halves = np.ascontiguousarray(block["qs"]).view("<u4").reshape(-1, 8, 2)
    words = np.ascontiguousarray(halves[:, :, 0]).view(np.uint8).reshape(-1, 32)
    seven = (halves[:, :, 1, None] >> np.array([0, 7, 14, 21], np.uint32)) & 127
    d = _scaled(block["d"], halves[:, :, 1] >> 28)
    return signed_values(d, _VALUES[grid("IQ2_XXS").codes[words]], parity_signs()[seven])


def decode_iq2_xs(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ2_XS"].dtype)[:, 0]
    d = _scaled(block["d"], _from_nibbles(block["scales"]))
    return signed_values(d, _VALUES[grid("IQ2_XS").codes[block["qs"] & 511]], parity_signs()[block["qs"] >> 9])


def decode_iq2_s(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ2_S"].dtype)[:, 0]
    high = (block["qh"][:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    words = block["qs"][:, :32] | (high.reshape(-1, 32).astype(np.uint16) << 8)
    d = _scaled(block["d"], _from_nibbles(block["scales"]))
    return signed_values(d, _VALUES[grid("IQ2_S").codes[words]], block["qs"][:, 32:])


ENCODERS = {"IQ2_S": encode_iq2_s}
WEIGHTED_ENCODERS = {
    "IQ2_XXS": encode_iq2_xxs_weighted,
    "IQ2_XS": encode_iq2_xs_weighted,
    "IQ2_S": encode_iq2_s_weighted,
}
DECODERS = {"IQ2_XXS": decode_iq2_xxs, "IQ2_XS": decode_iq2_xs, "IQ2_S": decode_iq2_s}
