"""Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: 32 weights, one scale, codes by one rounding.

From quantize_row_*_ref, quantize_row_*_impl and dequantize_row_* of ggml-quants.c. Codes are chosen with the float32
scale, which is then stored as f16. With importance the scale is searched as in the K-quants; Q8_0 has no such search.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from kernels.formats import FORMATS
from kernels.reference.k_quants import importance_weights, search_scale, search_scale_and_minimum, with_importance

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

_ONE, _HALF = np.float32(1), np.float32(0.5)


def truncated(values: F32) -> I32:
    """C's (int) cast as x86 does it, kept to the low byte's meaning: what is out of range becomes 0."""
    return np.where(np.abs(values) < 2**23, values, _ONE * 0).astype(np.int32)


def reciprocal(d: F32) -> F32:
    """1 / d, and 0 where d is 0."""
    return np.where(d != 0, _ONE / d, np.float32(0))


def signed_peak(x: F32) -> F32:
    """The first weight of the largest magnitude in each block, with its sign; +0 for zeros: [n, 32] -> [n]."""
    first = np.argmax(np.abs(x), axis=1)
    peak = x[np.arange(len(x)), first]
    return np.where(peak == 0, np.float32(0), peak)


def extremes(x: F32) -> tuple[F32, F32]:
    """The first smallest and first largest weight of each block.

    A scan, because the sign of a zero counts and min() and max() of numpy promise none.
    """
    low = high = x[:, 0]
    for column in x.T[1:]:
        low = np.where(column < low, column, low)
        high = np.where(column > high, column, high)
    return low, high


def with_fifth_bit(codes: I32) -> tuple[U8, U8]:
    """5-bit codes [n, 32] as (qs [n, 16], qh [n, 4]): low nibbles, and the fifth bits in weight order."""
    qh = np.packbits((codes >> 4).astype(np.uint8), axis=1, bitorder="little")
    return nibbles(codes & 15), qh


def nibbles(codes: I32) -> U8:
    """4-bit codes [n, 32] as [n, 16]: weight j in the low nibble of byte j, weight j + 16 in the high one."""
    return (codes[:, :16] | (codes[:, 16:] << 4)).astype(np.uint8)


def from_nibbles(qs: U8) -> U8:
    return np.concatenate([qs & 15, qs >> 4], axis=1)


def from_fifth_bit(qs: U8, qh: U8) -> U8:
    fifth = np.unpackbits(np.ascontiguousarray(qh), axis=1, bitorder="little")
    return from_nibbles(qs) | (fifth << np.uint8(4))


def _encode_symmetric(x: F32, *, name: str, half_range: int) -> U8:
    """q = x / d + half_range, where the weight of largest magnitude gets code 0 exactly."""
    d = signed_peak(x) / np.float32(-half_range)
    scaled = x * reciprocal(d)[:, None] + np.float32(half_range + 0.5)
    codes = np.minimum(truncated(scaled), 2 * half_range - 1)
    return _packed(name, codes, d=d)


def _search_symmetric(x: F32, importance: F32, sigma2: F32, *, name: str, half_range: int) -> U8:
    weights = importance_weights(x, importance, sigma2)
    d, codes = search_scale(_lanes(x), _lanes(weights), half_range)
    return _packed(name, codes.T, d=d)


def _encode_with_minimum(x: F32, *, name: str, levels: int) -> U8:
    """q = (x - m) / d, where m is the smallest weight and d spreads the range over the levels."""
    m, high = extremes(x)
    d = (high - m) / np.float32(levels)
    scaled = (x - m[:, None]) * reciprocal(d)[:, None] + _HALF
    codes = np.minimum(truncated(scaled), levels)
    return _packed(name, codes, d=d, m=m)


def _search_with_minimum(x: F32, importance: F32, sigma2: F32, *, name: str, levels: int) -> U8:
    weights = importance_weights(x, importance, sigma2)
    d, minimum, codes = search_scale_and_minimum(_lanes(x), _lanes(weights), with_importance(levels))
    return _packed(name, codes.T, d=d, m=-minimum)


def _lanes(blocks: F32) -> F32:
    return np.ascontiguousarray(blocks.T)


def _packed(name: str, codes: I32, **scales: F32) -> U8:
    block = np.zeros(len(codes), FORMATS[name].dtype)
    for field, values in scales.items():
        block[field] = values
    if "qh" in (block.dtype.names or ()):
        block["qs"], block["qh"] = with_fifth_bit(codes)
    else:
        block["qs"] = nibbles(codes)
    return block.view(np.uint8).reshape(len(block), -1)


def encode_q4_0(x: F32) -> U8:
    """d, then 16 bytes of nibbles: x ~ d * (q - 8)."""
    return _encode_symmetric(x, name="Q4_0", half_range=8)


def encode_q5_0(x: F32) -> U8:
    """d, 4 bytes of fifth bits, 16 bytes of nibbles: x ~ d * (q - 16)."""
    return _encode_symmetric(x, name="Q5_0", half_range=16)


def encode_q4_1(x: F32) -> U8:
    """d, m, 16 bytes of nibbles: x ~ d * q + m."""
    return _encode_with_minimum(x, name="Q4_1", levels=15)


def encode_q5_1(x: F32) -> U8:
    """d, m, 4 bytes of fifth bits, 16 bytes of nibbles: x ~ d * q + m."""
    return _encode_with_minimum(x, name="Q5_1", levels=31)


def encode_q8_0(x: F32) -> U8:
    """d, then 32 signed bytes: x ~ d * q. Rounds halves away from zero (roundf)."""
    d = np.abs(x).max(axis=1) / np.float32(127)
    scaled = x * reciprocal(d)[:, None]
    whole = np.trunc(scaled)
    away = np.where(np.abs(scaled - whole) >= _HALF, np.copysign(_ONE, scaled), np.float32(0))
    block = np.zeros(len(x), FORMATS["Q8_0"].dtype)
    block["d"] = d
    block["qs"] = truncated(whole + away).astype(np.int8)
    return block.view(np.uint8).reshape(len(x), -1)


def decode_q8_0(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q8_0"].dtype)[:, 0]
    return block["qs"].astype(np.float32) * _column(block["d"])


def decode_q4_0(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q4_0"].dtype)[:, 0]
    return _centred(from_nibbles(block["qs"]), 8) * _column(block["d"])


def decode_q4_1(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q4_1"].dtype)[:, 0]
    return from_nibbles(block["qs"]).astype(np.float32) * _column(block["d"]) + _column(block["m"])


def decode_q5_0(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q5_0"].dtype)[:, 0]
    return _centred(from_fifth_bit(block["qs"], block["qh"]), 16) * _column(block["d"])


def decode_q5_1(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q5_1"].dtype)[:, 0]
    codes = from_fifth_bit(block["qs"], block["qh"])
    return codes.astype(np.float32) * _column(block["d"]) + _column(block["m"])


def _centred(codes: U8, middle: int) -> F32:
    return (codes.view(np.int8) - np.int8(middle)).astype(np.float32)


def _column(scales: NDArray[np.float16]) -> F32:
    return scales.astype(np.float32)[:, None]


ENCODERS = {
    "Q4_0": encode_q4_0,
    "Q4_1": encode_q4_1,
    "Q5_0": encode_q5_0,
    "Q5_1": encode_q5_1,
    "Q8_0": encode_q8_0,
}
WEIGHTED_ENCODERS = {
    "Q4_0": partial(_search_symmetric, name="Q4_0", half_range=8),
    "Q4_1": partial(_search_with_minimum, name="Q4_1", levels=15),
    "Q5_0": partial(_search_symmetric, name="Q5_0", half_range=16),
    "Q5_1": partial(_search_with_minimum, name="Q5_1", levels=31),
}
DECODERS = {
    "Q4_0": decode_q4_0,
    "Q4_1": decode_q4_1,
    "Q5_0": decode_q5_0,
    "Q5_1": decode_q5_1,
    "Q8_0": decode_q8_0,
}
