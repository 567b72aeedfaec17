"""IQ1_S and IQ1_M: eight weights a grid word of three levels, shifted up or down by an eighth.

From quantize_row_iq1_*_impl and dequantize_row_iq1_* of ggml-quants.c. The weights of a sub-block are sorted; every
way to cut them in three, with every shift, is tried; then groups that spell no word take the best word near them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import grid
from kernels.formats import FORMATS
from kernels.reference.grid_search import by_sub_block, importance_weights, keys_of, nearest_words, odd_multiples
from kernels.reference.k_quants import sum_in_order

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

f32 = np.float32
_ZERO = f32(0)
_SHIFT = f32(0.125)
_LEVELS = np.array([-1, 0, 1], np.float32)
_LOWEST = np.finfo(np.float32).min


@dataclass
class _Best:
    """The best cut so far of each sub-block: [s]; the lower cut is -1 where none was found."""

    scale: F32
    score: F32
    low: I32
    high: I32
    shift: I32

    def consider(self, sum_qx: F32, sum_q2: F32, *, low: int, high: int, shift: int) -> None:
        """Takes a cut where it is better."""
        better = (sum_q2 > 0) & (sum_qx * sum_qx > self.score * sum_q2)
        self.scale = np.where(better, sum_qx / sum_q2, self.scale)
        self.score = np.where(better, self.scale * sum_qx, self.score)
        self.low, self.high = np.where(better, low, self.low), np.where(better, high, self.high)
        self.shift = np.where(better, shift, self.shift)


def _no_cut(peak: F32) -> _Best:
    none = np.full(peak.shape, -1, np.int32)
    return _Best(peak, np.full(peak.shape, _LOWEST, np.float32), none, none, none)


def _running_sums(terms: F32) -> F32:
    """[k, s] -> [k + 1, s], starting with 0, each one term more."""
    sums = np.zeros((len(terms) + 1, terms.shape[1]), np.float32)
    for k, term in enumerate(terms):
        sums[k + 1] = sums[k] + term
    return sums


def _best_cut_of_32(x: F32, weights: F32) -> _Best:
    """For IQ1_S: sorted weights [32, s]; shift 0 is upwards, 1 downwards."""
    sum_x, sum_w = _running_sums(weights * x), _running_sums(weights)
    best = _no_cut(np.abs(x).max(axis=0))
    for low in range(33):
        for high in range(low, 33):
            thirds_x = sum_x[low] - sum_x[0], sum_x[high] - sum_x[low], sum_x[32] - sum_x[high]
            thirds_w = sum_w[low] - sum_w[0], sum_w[high] - sum_w[low], sum_w[32] - sum_w[high]
            for shift, (a, b, c) in enumerate((_LEVELS + _SHIFT, _LEVELS - _SHIFT)):
                sum_qx = thirds_x[0] * a + thirds_x[1] * b + thirds_x[2] * c
                sum_q2 = thirds_w[0] * a * a + thirds_w[1] * b * b + thirds_w[2] * c * c
                best.consider(sum_qx, sum_q2, low=low, high=high, shift=shift)
    return best


def _best_cut_of_16(x: F32, weights: F32, place: NDArray[np.intp]) -> _Best:
    """For IQ1_M: sorted weights [16, s] and where they were; shift 0..3 has a bit for each eight, 2 for the first.

    The sums of each eight are those for the third level alone, corrected by what lies below the two cuts; a level is 1
    below the next.
    """
    eights = [_Eight(x, np.where(place >= 8, _ZERO, weights)), _Eight(x, np.where(place >= 8, weights, _ZERO))]
    best = _no_cut(np.abs(x).max(axis=0))
    for low in range(17):
        for high in range(low, 17):
            sums = [[eight.sums(low, high, downwards) for downwards in (0, 1)] for eight in eights]
            for shift in range(4):
                (first_qx, first_q2), (second_qx, second_q2) = sums[0][shift // 2], sums[1][shift % 2]
                best.consider(first_qx + second_qx, first_q2 + second_q2, low=low, high=high, shift=shift)
    return best


class _Eight:
    """Sums over the part of sixteen sorted weights that lies in one eight."""

    def __init__(self, x: F32, weights: F32) -> None:
        self._x, self._w = _running_sums(weights * x), _running_sums(weights)
        self._levels = _LEVELS + _SHIFT, _LEVELS - _SHIFT

    def sums(self, low: int, high: int, downwards: int) -> tuple[F32, F32]:
        """sum(w q x) and sum(w q q) for the levels q that two cuts give."""
        a, b, c = self._levels[downwards]
        sum_qx = self._x[16] * c - (self._x[high] + self._x[low])
        below_low = (a * a - b * b) * self._w[low] + self._w[16] * c * c
        return sum_qx, (b * b - c * c) * self._w[high] + below_low


def _codes_of_cut(best: _Best, order: NDArray[np.intp], flip: NDArray[np.bool_]) -> I32:
    """Codes [size, s] in the weights' own order; `flip` where the scale changes its sign."""
    rank = np.arange(len(order))[:, None]
    ranked = (rank >= best.low).astype(np.int32) + (rank >= best.high)
    codes = np.empty_like(ranked)
    np.put_along_axis(codes, order, ranked, axis=0)
    return np.where(flip, 2 - codes, codes)


def _downwards(shift: I32, groups: int) -> NDArray[np.bool_]:
    """Which groups [groups, s] are shifted downwards: all alike in IQ1_S, each by its bit in IQ1_M."""
    if groups == 4:
        return np.broadcast_to(shift == 1, (groups, len(shift)))
    return np.stack([shift >= 2, shift % 2 == 1])


def _search(x: F32, weights: F32) -> tuple[F32, I32, I32, NDArray[np.bool_]]:
    """Scales [s], words [groups, s] and shifts [s] of sub-blocks [size, s], and for which a cut was found."""
    words = grid("IQ1_S")
    size, groups = len(x), len(x) // 8
    order = np.argsort(x, axis=0, kind="stable")
    arranged = np.take_along_axis(x, order, axis=0), np.take_along_axis(weights, order, axis=0)
    best = _best_cut_of_32(*arranged) if size == 32 else _best_cut_of_16(*arranged, order)
    negative = best.scale < 0
    scale, shift = np.abs(best.scale), np.where(negative, (1 if size == 32 else 3) - best.shift, best.shift)
    keys = keys_of(_codes_of_cut(best, order, negative), words)
    found = words.word_of_key[keys]
    group, lane = np.nonzero(found < 0)
    by_group = (groups, 8, x.shape[1])
    offset = np.where(_downwards(shift, groups), -_SHIFT, _SHIFT)
    found[group, lane] = nearest_words(
        words,
        keys[group, lane],
        points=words.codes - f32(1),
        x=x.reshape(by_group)[group, :, lane],
        weights=weights.reshape(by_group)[group, :, lane],
        scale=scale[lane],
        offset=offset[group, lane],
    )
    q = (words.codes[found] - f32(1) + offset[..., None]).transpose(0, 2, 1).reshape(size, -1)
    wq = weights * q
    sum_qx, sum_q2 = sum_in_order(wq * x), sum_in_order(wq * q)
    again = np.isin(np.arange(x.shape[1]), lane) & (sum_qx > 0) & (sum_q2 > 0)
    scale = np.where(again, sum_qx / sum_q2, scale)
    return np.where(np.isnan(scale), _ZERO, scale), found, shift, best.low >= 0


def _search_blocks(x: F32, weights: F32, *, size: int, smallest: float) -> tuple[F32, I32, I32]:
    """Scales [n, subs], words [n, 32] and shifts [n, subs] of blocks [n, 256]; 0 where a sub-block counts as zero."""
    lanes, lane_weights = by_sub_block(x, size), by_sub_block(weights, size)
    some = np.flatnonzero(np.abs(lanes).max(axis=0) >= f32(smallest))
    scale, words, shift, cut = _search(lanes[:, some], lane_weights[:, some])
    all_scales, all_shifts = np.zeros(lanes.shape[1], np.float32), np.zeros(lanes.shape[1], np.int32)
    all_words = np.zeros((lanes.shape[1], size // 8), np.int32)
    some = some[cut]
    all_scales[some], all_words[some], all_shifts[some] = scale[cut], words.T[cut], shift[cut]
    n = len(x)
    return all_scales.reshape(n, -1), all_words.reshape(n, -1), all_shifts.reshape(n, -1)


def encode_iq1_s_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """d, low bytes of 32 words; for each 32 weights their high bits, a 3-bit scale and the shift.

    x ~ d * (2 s + 1) * (code - 1 +- 1/8).
    """
    scales, words, shifts = _search_blocks(x, importance_weights(x, importance, 2), size=32, smallest=1e-12)
    d, integers = odd_multiples(scales, top=15)
    high = np.bitwise_or.reduce((words >> 8).reshape(-1, 8, 4) << np.array([0, 3, 6, 9]), axis=2)
    block = np.zeros(len(x), FORMATS["IQ1_S"].dtype)
    block["d"] = d * f32(1.125)
    block["qs"] = words & 255
    downwards = np.where((scales.max(axis=1) != 0)[:, None], shifts, 0)
    block["qh"] = high | (integers << 12) | (downwards << 15)
    return block.view(np.uint8).reshape(len(x), -1)


def encode_iq1_m_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """Low bytes of 32 words; for each their high bits and a shift; 3-bit scales with the f16 d in nibbles above them.

    Values as in IQ1_S. d is fitted to all weights once everything else is chosen.
    """
    weights = importance_weights(x, importance, 2)
    scales, words, shifts = _search_blocks(x, weights, size=16, smallest=1e-7)
    d, integers = odd_multiples(scales, top=15)
    offset = np.where(_downwards(shifts.reshape(-1), 2).T.reshape(-1, 32), -_SHIFT, _SHIFT)
    multiple = np.repeat(2 * integers + 1, 2, axis=1).astype(np.float32)
    levels = grid("IQ1_S").codes[words] - f32(1) + offset[..., None]
    q = (levels * multiple[..., None]).reshape(x.shape)
    wq = weights * q
    sum_qx, sum_q2 = sum_in_order((wq * x).T), sum_in_order((wq * q).T)
    d = np.where(sum_q2 > 0, sum_qx / sum_q2, d) * f32(1.1125)
    high = (words >> 8) | (np.where(offset < 0, 8, 0))
    packed = np.bitwise_or.reduce(integers.reshape(-1, 4, 4) << np.array([0, 3, 6, 9]), axis=2)
    bits = d.astype(np.float16).view(np.uint16).astype(np.int32)[:, None]
    packed |= ((bits >> np.array([0, 4, 8, 12])) & 15) << 12
    block = np.zeros(len(x), FORMATS["IQ1_M"].dtype)
    block["qs"] = words & 255
    block["qh"] = high[:, 0::2] | (high[:, 1::2] << 4)
    block["scales"] = packed.astype("<u2").view(np.uint8)
    none = scales.max(axis=1) == 0
    block["scales"][none] = 0
    block["qh"][none] &= 0x77
    return block.view(np.uint8).reshape(len(x), -1)


def _values(d: F32, words: NDArray[np.integer], minus: NDArray[np.bool_]) -> F32:
    """d, words and whether the shift is downwards, each [n, 32]: [n, 256]."""
    levels = grid("IQ1_S").codes[words].astype(np.float32) - f32(1)
    shift = np.where(minus, -_SHIFT, _SHIFT)
    values: F32 = d[..., None] * (levels + shift[..., None])
    return values.reshape(len(d), 256)


def decode_iq1_s(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ1_S"].dtype)[:, 0]
    qh = block["qh"]
    high = (qh[:, :, None] >> np.array([0, 3, 6, 9], np.uint16)) & 7
    words = block["qs"] | (high.reshape(-1, 32) << 8)
    d = block["d"].astype(np.float32)[:, None] * (2 * ((qh >> 12) & 7) + 1).astype(np.float32)
    return _values(np.repeat(d, 4, axis=1), words, np.repeat(qh >= 0x8000, 4, axis=1))


def decode_iq1_m(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ1_M"].dtype)[:, 0]
    high = np.stack([block["qh"] & 15, block["qh"] >> 4], axis=2).reshape(-1, 32)
    words = block["qs"] | ((high & 7).astype(np.uint16) << 8)
    packed = np.ascontiguousarray(block["scales"]).view("<u2")
    scales = (packed[:, :, None] >> np.array([0, 3, 6, 9], np.uint16)) & 7
    d = _spread_scale(packed).astype(np.float32)[:, None] * (2 * scales.reshape(-1, 16) + 1).astype(np.float32)
    return _values(np.repeat(d, 2, axis=1), words, high >= 8)


def _spread_scale(packed: NDArray[np.uint16]) -> NDArray[np.float16]:
    """The f16 whose four nibbles are the top ones of four words."""
    nibbles = (packed >> 12) << np.array([0, 4, 8, 12], np.uint16)
    bits: NDArray[np.uint16] = np.bitwise_or.reduce(nibbles, axis=1)
    return bits.view(np.float16)


WEIGHTED_ENCODERS = {"IQ1_S": encode_iq1_s_weighted, "IQ1_M": encode_iq1_m_weighted}
DECODERS = {"IQ1_S": decode_iq1_s, "IQ1_M": decode_iq1_m}
