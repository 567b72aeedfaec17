"""IQ4_NL and IQ4_XS: 4-bit codes for sixteen unevenly spaced levels.

From quantize_row_iq4_nl_impl and dequantize_row_iq4_* of ggml-quants.c. A sub-block of 32 tries sixteen scales and
keeps the least-squares one of the best; the codes are then chosen for the scale as it is before f16 rounding.
"""

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import IQ4_LEVELS
from kernels.formats import FORMATS
from kernels.reference.k_quants import nearest_int, signed_peak, sum_in_order

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

f32 = np.float32
_ZERO, _ONE = f32(0), f32(1)
_TINY = f32(1e-15)  # GROUP_MAX_EPS: a smaller sub-block counts as zero
_LEVELS = IQ4_LEVELS.astype(np.float32)
_MIDDLES = (_LEVELS[1:] + _LEVELS[:-1]) / f32(2)


def nearest_level(values: F32) -> NDArray[np.uint8]:
    """The code of the nearest level; halfway the upper one; the highest for NaN.

    The distances that GGML compares are exact wherever they are nearly equal, so that counting the middles that a
    value is not below gives its answers.
    """
    codes = np.zeros(values.shape, np.uint8)
    for middle in _MIDDLES:
        codes += ~(values < middle)
    return codes


def _weighted_sums(x: F32, weights: F32, inverse: F32) -> tuple[F32, F32]:
    """sum(w q x) and sum(w q q) for the levels q nearest to x * inverse."""
    q = _LEVELS[nearest_level(inverse * x)]
    wq = weights * q
    return sum_in_order(wq * x), sum_in_order(wq * q)


def search_level_scale(x: F32, weights: F32) -> F32:
    """The scale of least weighted error over sixteen trials: [32, sub-blocks] -> [sub-blocks]."""
    peak = signed_peak(x.T)
    inverse = _ONE / (-peak / _LEVELS[0])
    sum_qx, sum_q2 = _weighted_sums(x, weights, inverse)
    scale = np.where(sum_q2 > 0, sum_qx / sum_q2, _ZERO)
    best = scale * sum_qx
    for k in range(-7, 8):
        inverse = (f32(k) + _LEVELS[0]) / peak
        sum_qx, sum_q2 = _weighted_sums(x, weights, inverse)
        better = (sum_q2 > 0) & (sum_qx * sum_qx > best * sum_q2)
        scale = np.where(better, sum_qx / sum_q2, scale)
        best = np.where(better, scale * sum_qx, best)
    return np.where(np.abs(peak) < _TINY, _ZERO, scale)


def importance_weights(x: F32, importance: F32, factor: float) -> F32:
    """importance * sqrt(sigma2 + x**2), where sigma2 is `factor` times the mean square of the block: [n, size]."""
    sigma2 = sum_in_order((x * x).T) * f32(factor / x.shape[1])
    weights: F32 = importance * np.sqrt(sigma2[:, None] + x * x)
    return weights


def _reciprocal(values: F32) -> F32:
    inverse: F32 = np.where(values != 0, _ONE / values, _ZERO)
    return inverse


def _by_sub_block(values: F32) -> F32:
    """[n, size] -> [32, n * size / 32]."""
    return np.ascontiguousarray(values.reshape(-1, 32).T)


def _nibbles(codes: NDArray[np.uint8]) -> U8:
    """Codes [n, subs, 32] as bytes [n, 16 * subs]: weight j of a sub-block low, weight j + 16 high."""
    packed: U8 = codes[:, :, :16] | (codes[:, :, 16:] << np.uint8(4))
    return packed.reshape(len(codes), -1)


def _levels_of(qs: U8) -> F32:
    """Levels [n, subs, 32] of bytes [n, 16 * subs]."""
    parts = qs.reshape(len(qs), -1, 16)
    levels: F32 = _LEVELS[np.concatenate([parts & 15, parts >> 4], axis=2)]
    return levels


def _encode_iq4_nl(x: F32, weights: F32) -> U8:
    scale = search_level_scale(_by_sub_block(x), _by_sub_block(weights))
    block = np.zeros(len(x), FORMATS["IQ4_NL"].dtype)
    block["d"] = scale
    codes = nearest_level(_reciprocal(scale)[:, None] * x)
    block["qs"] = _nibbles(codes.reshape(-1, 1, 32))
    return block.view(np.uint8).reshape(len(x), -1)


def _encode_iq4_xs(x: F32, weights: F32) -> U8:
    scales = search_level_scale(_by_sub_block(x), _by_sub_block(weights)).reshape(-1, 8)
    d = -signed_peak(scales) / f32(32)
    integers = np.clip(nearest_int(_reciprocal(d)[:, None] * scales), -32, 31)
    inverse = _reciprocal(d[:, None] * integers.astype(np.float32))
    biased = integers + 32
    block = np.zeros(len(x), FORMATS["IQ4_XS"].dtype)
    block["d"] = d
    block["scales_l"] = (biased[:, 0::2] & 15) | ((biased[:, 1::2] & 15) << 4)
    block["scales_h"] = ((biased >> 4) << (2 * np.arange(8))).sum(axis=1)
    block["qs"] = _nibbles(nearest_level(inverse[..., None] * x.reshape(-1, 8, 32)))
    return block.view(np.uint8).reshape(len(x), -1)


def encode_iq4_nl(x: F32) -> U8:
    """d, then 16 bytes of nibbles: x ~ d * level[q]."""
    return _encode_iq4_nl(x, x * x)


def encode_iq4_xs(x: F32) -> U8:
    """d, high pairs of the eight 6-bit scales, their low nibbles, 128 bytes of nibbles: x ~ d * (s - 32) * level[q]."""
    return _encode_iq4_xs(x, x * x)


def encode_iq4_nl_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """As encode_iq4_nl, by the importance of each weight."""
    return _encode_iq4_nl(x, importance_weights(x, importance, 2))


def encode_iq4_xs_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """As encode_iq4_xs, by the importance of each weight."""
    return _encode_iq4_xs(x, importance_weights(x, importance, 2))


def decode_iq4_nl(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ4_NL"].dtype)[:, 0]
    values: F32 = block["d"].astype(np.float32)[:, None] * _levels_of(block["qs"])[:, 0]
    return values


def decode_iq4_xs(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ4_XS"].dtype)[:, 0]
    low = np.stack([block["scales_l"] & 15, block["scales_l"] >> 4], axis=2).reshape(-1, 8)
    high = (block["scales_h"].astype(np.int32)[:, None] >> (2 * np.arange(8))) & 3
    scales = (low.astype(np.int32) | (high << 4)) - 32
    d = block["d"].astype(np.float32)[:, None] * scales.astype(np.float32)
    values: F32 = d[..., None] * _levels_of(block["qs"])
    return values.reshape(len(blocks), -1)


ENCODERS = {"IQ4_NL": encode_iq4_nl, "IQ4_XS": encode_iq4_xs}
WEIGHTED_ENCODERS = {"IQ4_NL": encode_iq4_nl_weighted, "IQ4_XS": encode_iq4_xs_weighted}
DECODERS = {"IQ4_NL": decode_iq4_nl, "IQ4_XS": decode_iq4_xs}
