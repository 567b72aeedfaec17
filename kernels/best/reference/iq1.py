"""IQ1_S and IQ1_M with lower error: the search of the other grid formats, with levels that a shift moves up or down."""

import numpy as np

from kernels.best.halves import halves
from kernels.best.reference.grids import FAR, I32, Codes, Found, Lanes, Parts, best_keys, improve, of_halves, sums_of
from kernels.best.reference.parts import F32, U8, f32, lanes_of, smaller, sum_in_order
from kernels.best.searches import IQ1_M, IQ1_S, Words
from kernels.codebooks import grid
from kernels.formats import FORMATS
from kernels.reference.iq1 import decode_iq1_m, decode_iq1_s


def _lanes(x: F32, weights: F32, how: Words) -> Lanes:
    values = lanes_of(x, how.size)
    none = np.zeros((0, values.shape[1]))
    return Lanes(values, lanes_of(weights, how.size), none.astype(np.float32), none.astype(np.bool_))


def _scales_for(lanes: Lanes, levels: F32) -> F32:
    """The scales of least error for levels [n, 256]; where there is none above 0, one that fits the largest weight."""
    sum_qx, sum_q2 = sums_of(lanes, lanes_of(levels, len(lanes.x)))
    scale = sum_qx / sum_q2
    fitting: F32 = np.abs(lanes.x).max(axis=0) / f32(1.5)
    return np.where(scale > 0, scale, fitting)


def _base_iq1_s(lanes: Lanes, packed: U8) -> F32:
    block = packed.copy().view(FORMATS["IQ1_S"].dtype)[:, 0]
    block["d"] = 1
    block["qh"] &= 0x8FFF
    return _scales_for(lanes, decode_iq1_s(block.view(np.uint8).reshape(len(block), -1)))


def _base_iq1_m(lanes: Lanes, packed: U8) -> F32:
    block = packed.copy().view(FORMATS["IQ1_M"].dtype)[:, 0]
    block["scales"] = np.array([0, 0, 0xC000, 0x3000], "<u2").view(np.uint8)  # 1 in f16, and scales of 0
    return _scales_for(lanes, decode_iq1_m(block.view(np.uint8).reshape(len(block), -1)))


def _shifted(lanes: Lanes, scale: F32, levels: F32, how: Words) -> tuple[F32, F32]:
    """The least error of each group, and its levels [groups, 8, sub-blocks]."""
    words = grid(how.grid)
    x, weights = (values.reshape(-1, words.dims, len(scale)) for values in (lanes.x, lanes.weights))
    costs = []
    for i in range(words.dims):
        differences = [scale * level - x[:, i] for level in levels]
        costs.append([smaller(weights[:, i] * (d * d), FAR) for d in differences])
    first, second = of_halves(costs[: words.dims // 2], np.add), of_halves(costs[words.dims // 2 :], np.add)
    error, keys = best_keys(first, second, None, halves(how.grid))
    codes = (keys[:, None] >> (words.bits * np.arange(words.dims))[:, None]) & ((1 << words.bits) - 1)
    return error, levels[codes]


def _choose(lanes: Lanes, scale: F32, how: Words) -> F32:
    """The levels of least error, all of `shared` weights moved the same way."""
    levels, count = np.array(how.levels, np.float32), how.shared // 8
    up_error, up = _shifted(lanes, scale, levels + f32(how.shift), how)
    down_error, down = _shifted(lanes, scale, levels - f32(how.shift), how)
    errors = [sum_in_order(e.reshape(-1, count, len(scale)).swapaxes(0, 1)) for e in (up_error, down_error)]
    downwards = np.repeat(errors[1] < errors[0], count, axis=0)
    return np.where(downwards[:, None], down, up).reshape(lanes.x.shape)


def _codes(x: F32, found: Found, how: Words) -> tuple[I32, U8]:
    """Codes, and for each eight weights 1 where the shift is downwards."""
    levels = np.ascontiguousarray(found.levels.T).reshape(-1, 256)
    middles = np.rint(levels)
    return (middles + f32(1)).astype(np.int32), (levels < middles)[:, ::8].astype(np.uint8)


def _pack_iq1_s(block: np.ndarray, codes: Codes) -> None:
    high = np.bitwise_or.reduce((codes.words >> 8).reshape(-1, 8, 4) << np.array([0, 3, 6, 9]), axis=2)
    block["d"] = codes.d
    block["qs"] = codes.words & 255
    block["qh"] = high | (codes.scales << 12) | (codes.signs[:, ::4].astype(np.int32) << 15)


def _pack_iq1_m(block: np.ndarray, codes: Codes) -> None:
    high = (codes.words >> 8) | (codes.signs.astype(np.int32) << 3)
    packed = np.bitwise_or.reduce(codes.scales.reshape(-1, 4, 4) << np.array([0, 3, 6, 9]), axis=2)
    packed |= ((codes.d.view(np.uint16).astype(np.int32)[:, None] >> np.array([0, 4, 8, 12])) & 15) << 12
    block["qs"] = codes.words & 255
    block["qh"] = high[:, 0::2] | (high[:, 1::2] << 4)
    block["scales"] = packed.astype("<u2").view(np.uint8)


def search_iq1_s(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Eight weights a word, 32 weights a scale and a shift."""
    improve("IQ1_S", x, importance, packed, how=IQ1_S, parts=Parts(_lanes, _base_iq1_s, _choose, _codes, _pack_iq1_s))


def search_iq1_m(x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
    """Eight weights a word and a shift, 16 weights a scale."""
    improve("IQ1_M", x, importance, packed, how=IQ1_M, parts=Parts(_lanes, _base_iq1_m, _choose, _codes, _pack_iq1_m))


SEARCHES = {"IQ1_S": search_iq1_s, "IQ1_M": search_iq1_m}
