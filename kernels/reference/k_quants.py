"""Q2_K to Q6_K: 256 weights, sub-blocks of 16 or 32 with small integer scales, and f16 scales of those scales.

From quantize_row_*_K_ref and dequantize_row_*_K of ggml-quants.c. A sub-block's scale (and minimum) is searched in
float32, then rounded to an integer of the superblock's scale, then the codes are chosen again for the rounded scale.
Where a rounded scale is zero the codes of the search stay: they carry no value, but they are GGML's bytes.

In the searches an array is [elements, sub-blocks]: a loop or a sum over the first axis walks one sub-block left to
right.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.formats import FORMATS

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

f32, u8 = np.float32, np.uint8
_ZERO, _ONE = f32(0), f32(1)
_MAGIC = f32(12582912)  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits
_BIT_SHIFTS = np.arange(8, dtype=np.uint8)[:, None]
_PAIR_SHIFTS = np.array([[0], [2], [4], [6]], np.uint8)  # 2-bit codes share a byte four at a time
_TINY = f32(1e-15)  # GROUP_MAX_EPS: a smaller sub-block counts as zero


def nearest_int(values: F32) -> I32:
    """The nearest integer, halves to even, by GGML's bit trick, whose answers outside +-2**22 are part of the bytes."""
    return ((values + _MAGIC).view(np.int32) & 0x7FFFFF) - 0x400000


def _lanes(x: F32, size: int) -> F32:
    """Superblocks [n, 256] as sub-blocks side by side: [size, n * 256/size]."""
    return np.ascontiguousarray(x.reshape(-1, size).T)


def sum_in_order(terms: F32) -> F32:
    """The sum over the first axis, one term after the other."""
    total = np.zeros(terms.shape[1:], np.float32)
    for term in terms:
        total = total + term
    return total


def largest(values: F32) -> F32:
    """The largest value of each row that is above 0, else 0; [n, k] -> [n]. A NaN never wins."""
    best = np.zeros(len(values), np.float32)
    for column in values.T:
        best = np.where(column > best, column, best)
    return best


def signed_peak(values: F32) -> F32:
    """The first value of the largest magnitude of each row, with its sign; [n, k] -> [n]. A NaN never wins."""
    magnitude, peak = np.zeros(len(values), np.float32), np.zeros(len(values), np.float32)
    for column in values.T:
        better = np.abs(column) > magnitude
        magnitude = np.where(better, np.abs(column), magnitude)
        peak = np.where(better, column, peak)
    return peak


# Scale and minimum: x ~ scale * q - minimum, q in 0..levels (make_qkx2_quants).


@dataclass(frozen=True)
class Affine:
    """How a search over scale and minimum goes: candidate k divides `levels + first + step * k` by the range."""

    levels: int
    first: float
    candidates: int
    absolute: bool = False  # mean absolute error instead of squared
    step: float = 0.1
    clip_first: bool = False  # candidates clip before they round: no wrapping, and a NaN is code 0


def search_scale_and_minimum(x: F32, weights: F32, how: Affine) -> tuple[F32, F32, I32]:
    """The (scale, minimum, codes) of least weighted error: [elements, sub-blocks] -> [s], [s], [elements, s]."""
    low = high = x[0]
    for v in x[1:]:
        low, high = np.where(v < low, v, low), np.where(v > high, v, high)
    low = np.where(low > 0, _ZERO, low)
    sum_w, sum_x = sum_in_order(weights), sum_in_order(weights * x)
    flat = high == low

    inverse: F32 = f32(how.levels) / (high - low)
    scale: F32 = _ONE / inverse
    codes = _codes(x, inverse, low, how)
    best = _error(x, weights, codes, scale, low, how)
    for k in range(how.candidates):
        # `low` is the best minimum so far, not the smallest weight: later candidates build on earlier ones.
        inverse = (f32(how.first) + f32(how.step) * f32(k) + f32(how.levels)) / (high - low)
        trial = _clipped_first(x, inverse, low, how) if how.clip_first else _codes(x, inverse, low, how)
        wl = weights * trial
        sum_l, sum_l2, sum_xl = sum_in_order(wl), sum_in_order(wl * trial), sum_in_order(wl * x)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        trial_scale: F32 = np.divide(sum_w * sum_xl - sum_x * sum_l, determinant)
        trial_low: F32 = np.divide(sum_l2 * sum_x - sum_l * sum_xl, determinant)
        positive = trial_low > 0
        trial_scale = np.where(positive, sum_xl / sum_l2, trial_scale)
        trial_low = np.where(positive, _ZERO, trial_low)
        error = _error(x, weights, trial, trial_scale, trial_low, how)
        better = (determinant > 0) & (error < best) & ~flat
        best, scale = np.where(better, error, best), np.where(better, trial_scale, scale)
        low, codes = np.where(better, trial_low, low), np.where(better, trial, codes)
    return np.where(flat, _ZERO, scale), -low, np.where(flat, 0, codes.astype(np.int32))


def _codes(x: F32, inverse: F32, low: F32, how: Affine) -> F32:
    return np.clip(nearest_int(inverse * (x - low)), 0, how.levels).astype(np.float32)


def _clipped_first(x: F32, inverse: F32, low: F32, how: Affine) -> F32:
    values = inverse * (x - low)
    return nearest_int(np.where(values > 0, np.minimum(values, f32(how.levels)), _ZERO)).astype(np.float32)


def _error(x: F32, weights: F32, codes: F32, scale: F32, low: F32, how: Affine) -> F32:
    difference = scale * codes + low - x
    return sum_in_order(weights * (np.abs(difference) if how.absolute else difference * difference))


_Q2 = Affine(levels=3, first=-0.5, candidates=16, absolute=True)
_Q4 = Affine(levels=15, first=-1.0, candidates=21)
_Q5 = Affine(levels=31, first=-0.5, candidates=16)


def with_importance(levels: int) -> Affine:
    """The finer search that GGML makes when it knows what matters (make_qkx3_quants)."""
    return Affine(levels=levels, first=-0.9, candidates=37, step=0.05, clip_first=True)


def importance_weights(x: F32, importance: F32, sigma2: F32) -> F32:
    """What an error of each weight counts: importance * sqrt(sigma2 + x**2), [n, size]; sigma2 [n]."""
    weights: F32 = importance * np.sqrt(sigma2[:, None] + x * x)
    return weights


def _block_weights(x: F32, importance: F32, factor: float) -> F32:
    """The same, where sigma2 is `factor` times the mean square of the superblock itself."""
    sigma2 = f32(factor) * sum_in_order((x * x).T) / f32(x.shape[1])
    return importance_weights(x, importance, sigma2)


def _search_subblocks(x: F32, size: int, how: Affine) -> tuple[F32, F32, I32]:
    """Scales [n, 256/size], minima alike and codes [n, 256/size, size] of superblocks x [n, 256]."""
    lanes = _lanes(x, size)
    weights = np.abs(lanes)
    if not how.absolute:
        weights = np.sqrt(sum_in_order(lanes * lanes) / f32(size)) + weights
    scales, minima, codes = search_scale_and_minimum(lanes, weights, how)
    count = x.shape[1] // size
    return scales.reshape(-1, count), minima.reshape(-1, count), codes.T.reshape(-1, count, size)


def _search_weighted(x: F32, weights: F32, size: int, how: Affine) -> tuple[F32, F32, I32, F32]:
    """As _search_subblocks, by given weights [n, 256]; and their sums [n, 256/size]."""
    lanes, lane_weights = _lanes(x, size), _lanes(weights, size)
    scales, minima, codes = search_scale_and_minimum(lanes, lane_weights, how)
    count = x.shape[1] // size
    sums = sum_in_order(lane_weights).reshape(-1, count)
    return scales.reshape(-1, count), minima.reshape(-1, count), codes.T.reshape(-1, count, size), sums


def fit_integers(values: F32, weights: F32, top: int) -> tuple[F32, I32]:
    """The (scale, integers 0..top) of values [n, k] that are not negative, by least weighted error (make_qp_quants).

    A negative value, which only rounding brings about, has an integer that GGML wraps to a byte: it counts as it is
    where it is new, and as the byte from then on.
    """
    x, w = values.T, weights.T
    peak = np.zeros(x.shape[1], np.float32)
    for v in x:
        peak = np.where(peak > v, peak, v)  # a NaN passes unless a later value takes its place
    inverse, scale = f32(top) / peak, _ONE / (f32(top) / peak)
    best = _integer_error(x, w, scale, (nearest_int(inverse * x) & 255).astype(np.float32))
    for k in [*range(-4, 0), *range(1, 5)]:
        trial: F32 = (f32(0.1) * f32(k) + f32(top)) / peak
        error = _integer_error(x, w, _ONE / trial, _at_most(top, trial * x))
        better = error < best
        best, inverse = np.where(better, error, best), np.where(better, trial, inverse)
    scale, integers = _descend_integers(x, w, _at_most(top, inverse * x), top)
    tiny = peak < _TINY
    return np.where(tiny, _ZERO, scale), np.where(tiny, 0, integers.astype(np.int32)).T


def _at_most(top: int, values: F32) -> F32:
    return np.minimum(nearest_int(values), top).astype(np.float32)


def _as_byte(integers: F32) -> F32:
    return (integers.astype(np.int32) & 255).astype(np.float32)


def _integer_error(x: F32, w: F32, scale: F32, integers: F32) -> F32:
    difference = x - scale * integers
    return sum_in_order(w * difference * difference)


def _descend_integers(x: F32, w: F32, first: F32, top: int) -> tuple[F32, F32]:
    """The scale and integers after five sweeps of moves of one integer that each lower the error."""
    sum_lx, sum_l2 = sum_in_order(w * x * first), sum_in_order(w * first * first)
    integers = _as_byte(first)
    for _ in range(5):
        for i in range(len(x)):
            old = integers[i]
            rest_lx, rest_l2 = sum_lx - w[i] * x[i] * old, sum_l2 - w[i] * old * old
            new = _at_most(top, x[i] * rest_l2 / rest_lx)
            new_lx, new_l2 = rest_lx + w[i] * x[i] * new, rest_l2 + w[i] * new * new
            better = (rest_lx > 0) & (rest_l2 > 0) & (new != old)
            better &= new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2
            integers[i] = np.where(better, _as_byte(new), old)
            sum_lx, sum_l2 = np.where(better, new_lx, sum_lx), np.where(better, new_l2, sum_l2)
    return np.where(sum_l2 > 0, sum_lx / sum_l2, _ZERO), integers


def _recode(x: F32, *, d: F32, minimum: F32, codes: I32, levels: int) -> I32:
    """Codes for rounded scales d and minima [n, subs]; those of the search stay where d is 0."""
    parts = x.reshape(codes.shape)
    again = np.clip(nearest_int((parts + minimum[..., None]) / d[..., None]), 0, levels)
    return np.where((d != 0)[..., None], again, codes)


def _six_bit(values: F32) -> tuple[NDArray[np.float16], I32]:
    """Values [n, 8] as an f16 scale [n] and integers 0..63."""
    top = largest(values)
    inverse = np.where(top > 0, f32(63) / top, _ZERO)
    return (top / f32(63)).astype(np.float16), np.minimum(nearest_int(inverse[:, None] * values) & 255, 63)


def pack_six_bit(scales: I32, minima: I32) -> U8:
    """Eight 6-bit scales and minima in 12 bytes: four whole ones each, the upper four in nibbles and top bits."""
    upper = (scales[:, 4:] & 15) | ((minima[:, 4:] & 15) << 4)
    first = scales[:, :4] | ((scales[:, 4:] >> 4) << 6)
    second = minima[:, :4] | ((minima[:, 4:] >> 4) << 6)
    return np.concatenate([first, second, upper], axis=1).astype(np.uint8)


def unpack_six_bit(packed: U8) -> tuple[I32, I32]:
    p = packed.astype(np.int32)
    first, second, upper = p[:, :4], p[:, 4:8], p[:, 8:]
    scales = np.concatenate([first & 63, (upper & 15) | ((first >> 6) << 4)], axis=1)
    minima = np.concatenate([second & 63, (upper >> 4) | ((second >> 6) << 4)], axis=1)
    return scales, minima


def _encode_six_bit(x: F32, name: str, how: Affine) -> tuple[np.ndarray, I32]:
    """The common part of Q4_K and Q5_K: a block with all but its codes, and the codes [n, 4 pairs, 2, 32]."""
    scales, minima, codes = _search_subblocks(x, 32, how)
    block = np.zeros(len(x), FORMATS[name].dtype)
    block["d"], ls = _six_bit(scales)
    block["dmin"], lm = _six_bit(minima)
    block["scales"] = pack_six_bit(ls, lm)
    return block, _recode_six_bit(x, block, codes, how.levels)


def _encode_six_bit_weighted(x: F32, importance: F32, name: str, how: Affine) -> tuple[np.ndarray, I32]:
    weights = _block_weights(x, importance, 2)
    scales, minima, codes, sums = _search_weighted(x, weights, 32, how)
    block = np.zeros(len(x), FORMATS[name].dtype)
    block["d"], ls = fit_integers(scales, sums, 63)
    block["dmin"], lm = fit_integers(minima, sums, 63)
    top = 63 if name == "Q5_K" else 255  # GGML clips the bytes of Q5_K; those of Q4_K run into each other
    block["scales"] = pack_six_bit(np.minimum(ls, top), np.minimum(lm, top))
    return block, _recode_six_bit(x, block, codes, how.levels)


def _recode_six_bit(x: F32, block: np.ndarray, codes: I32, levels: int) -> I32:
    ls, lm = unpack_six_bit(block["scales"])
    d = block["d"].astype(np.float32)[:, None] * ls.astype(np.float32)
    minimum = block["dmin"].astype(np.float32)[:, None] * lm.astype(np.float32)
    return _recode(x, d=d, minimum=minimum, codes=codes, levels=levels).reshape(-1, 4, 2, 32)


def encode_q4_k(x: F32) -> U8:
    """d, dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles: x ~ d * scale * q - dmin * minimum."""
    return _q4_k_bytes(*_encode_six_bit(x, "Q4_K", _Q4))


def encode_q4_k_weighted(x: F32, importance: F32, _sigma2: F32) -> U8:
    return _q4_k_bytes(*_encode_six_bit_weighted(x, importance, "Q4_K", with_importance(15)))


def _q4_k_bytes(block: np.ndarray, codes: I32) -> U8:
    block["qs"] = (codes[:, :, 0] | (codes[:, :, 1] << 4)).reshape(-1, 128)
    return block.view(np.uint8).reshape(len(block), -1)


def encode_q5_k(x: F32) -> U8:
    """Q4_K with a fifth bit in qh: bit s of byte j belongs to weight j of sub-block s."""
    return _q5_k_bytes(*_encode_six_bit(x, "Q5_K", _Q5))


def encode_q5_k_weighted(x: F32, importance: F32, _sigma2: F32) -> U8:
    return _q5_k_bytes(*_encode_six_bit_weighted(x, importance, "Q5_K", with_importance(31)))


def _q5_k_bytes(block: np.ndarray, codes: I32) -> U8:
    block["qs"] = ((codes[:, :, 0] & 15) | ((codes[:, :, 1] & 15) << 4)).reshape(-1, 128)
    fifth = codes.reshape(-1, 8, 32) >> 4
    block["qh"] = stacked_bits(fifth, 1)
    return block.view(np.uint8).reshape(len(block), -1)


def _affine_values(codes: U8, d: F32, minimum: F32) -> F32:
    return (d[..., None] * codes.astype(np.float32) - minimum[..., None]).reshape(len(codes), -1)


def _decode_six_bit(block: np.ndarray, codes: U8) -> F32:
    scales, minima = unpack_six_bit(block["scales"])
    d = block["d"].astype(np.float32)[:, None] * scales.astype(np.float32)
    minimum = block["dmin"].astype(np.float32)[:, None] * minima.astype(np.float32)
    return _affine_values(codes.reshape(-1, 8, 32), d, minimum)


def _nibble_pairs(qs: U8) -> U8:
    pairs = qs.reshape(-1, 4, 1, 32)
    return np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)


def decode_q4_k(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q4_K"].dtype)[:, 0]
    return _decode_six_bit(block, _nibble_pairs(block["qs"]))


def decode_q5_k(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q5_K"].dtype)[:, 0]
    fifth = (block["qh"][:, None, :] >> _BIT_SHIFTS) & u8(1)
    return _decode_six_bit(block, _nibble_pairs(block["qs"]) | (fifth << u8(4)))


def stacked_bits(parts: I32, width: int) -> U8:
    """Codes [n, k, m] as bytes [n, m]: part k shifted up by `width * k` bits."""
    shifts = width * np.arange(parts.shape[1], dtype=np.int32)
    merged: I32 = np.bitwise_or.reduce(parts << shifts[:, None], axis=1)
    return merged.astype(np.uint8)


def _four_bit(values: F32) -> tuple[NDArray[np.float16], I32]:
    """Values [n, 16] as an f16 scale [n] and integers, meant to be 0..15."""
    top = largest(values)
    integers = nearest_int((f32(15) / top)[:, None] * values)
    return np.where(top > 0, top / f32(15), _ZERO).astype(np.float16), np.where((top > 0)[:, None], integers, 0)


def pack_pairs_of_bits(codes: I32) -> U8:
    """2-bit codes [n, 256] as [n, 64]: byte j of a half holds weights j, j + 32, j + 64, j + 96 of that half."""
    return stacked_bits(codes.reshape(-1, 4, 32), 2).reshape(-1, 64)


def unpack_pairs_of_bits(qs: U8) -> U8:
    halves = qs.reshape(-1, 2, 1, 32)
    return ((halves >> _PAIR_SHIFTS) & u8(3)).reshape(-1, 256)


def encode_q2_k(x: F32) -> U8:
    """16 bytes of 4-bit scale and minimum, 64 bytes of 2-bit codes, d, dmin: x ~ d * scale * q - dmin * minimum."""
    scales, minima, codes = _search_subblocks(x, 16, _Q2)
    block = np.zeros(len(x), FORMATS["Q2_K"].dtype)
    block["d"], ls = _four_bit(scales)
    block["dmin"], lm = _four_bit(minima)
    return _q2_k_bytes(x, block, ((ls & 255) | (lm << 4)) & 255, codes)


def encode_q2_k_weighted(x: F32, importance: F32, _sigma2: F32) -> U8:
    weights = _block_weights(x, importance, 1)
    scales, minima, codes, sums = _search_weighted(x, weights, 16, with_importance(3))
    block = np.zeros(len(x), FORMATS["Q2_K"].dtype)
    block["d"], ls = fit_integers(scales, sums, 15)
    block["dmin"], lm = fit_integers(minima, sums, 15)
    return _q2_k_bytes(x, block, (ls | (lm << 4)) & 255, codes)


def _q2_k_bytes(x: F32, block: np.ndarray, packed: I32, codes: I32) -> U8:
    block["scales"] = packed
    d = block["d"].astype(np.float32)[:, None] * (packed & 15).astype(np.float32)
    minimum = block["dmin"].astype(np.float32)[:, None] * (packed >> 4).astype(np.float32)
    block["qs"] = pack_pairs_of_bits(_recode(x, d=d, minimum=minimum, codes=codes, levels=3))
    return block.view(np.uint8).reshape(len(x), -1)


def decode_q2_k(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q2_K"].dtype)[:, 0]
    d = block["d"].astype(np.float32)[:, None] * (block["scales"] & 15).astype(np.float32)
    minimum = block["dmin"].astype(np.float32)[:, None] * (block["scales"] >> 4).astype(np.float32)
    return _affine_values(unpack_pairs_of_bits(block["qs"]).reshape(-1, 16, 16), d, minimum)


# Scale alone: x ~ scale * q, q in -half..half-1.


def search_scale(x: F32, weights: F32, half: int) -> tuple[F32, I32]:
    """The (scale, codes + half) of least weighted error over 19 trial scales (make_qx_quants): [elements, s] -> [s]."""
    peak = signed_peak(x.T)
    wx = weights * x
    inverse = f32(-half) / peak
    codes = _clipped(inverse * x, half)
    sum_lx, sum_l2 = sum_in_order(wx * codes), sum_in_order(weights * codes * codes)
    scale = np.where(sum_l2 != 0, sum_lx / sum_l2, _ZERO)
    best = scale * sum_lx
    for k in [*range(-9, 0), *range(1, 10)]:
        inverse = -(f32(half) + f32(0.1) * f32(k)) / peak
        trial = _clipped(inverse * x, half)
        sum_lx, sum_l2 = sum_in_order(wx * trial), sum_in_order(weights * trial * trial)
        better = (sum_l2 > 0) & (sum_lx * sum_lx > best * sum_l2)
        scale = np.where(better, sum_lx / sum_l2, scale)
        best = np.where(better, scale * sum_lx, best)
        codes = np.where(better, trial, codes)
    zero = np.abs(peak) < _TINY
    return np.where(zero, _ZERO, scale), np.where(zero, 0, codes.astype(np.int32) + half)


def _clipped(values: F32, half: int) -> F32:
    return np.clip(nearest_int(values), -half, half - 1).astype(np.float32)


def encode_q6_k(x: F32) -> U8:
    """128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d: x ~ d * scale * (q - 32)."""
    return _encode_q6_k(x, x * x)


def encode_q6_k_weighted(x: F32, importance: F32, _sigma2: F32) -> U8:
    """Unlike its kin, GGML takes the importance as the weight itself."""
    return _encode_q6_k(x, importance)


def _encode_q6_k(x: F32, weights: F32) -> U8:
    scales, codes = search_scale(_lanes(x, 16), _lanes(weights, 16), 32)
    scales, codes = scales.reshape(-1, 16), codes.T.reshape(-1, 16, 16)
    peak = signed_peak(scales)
    inverse = f32(-128) / peak
    block = np.zeros(len(x), FORMATS["Q6_K"].dtype)
    block["d"] = _ONE / inverse
    block["scales"] = np.minimum(nearest_int(inverse[:, None] * scales), 127).astype(np.int8)
    d = block["d"].astype(np.float32)[:, None] * block["scales"].astype(np.float32)
    again = np.clip(nearest_int(x.reshape(codes.shape) / d[..., None]), -32, 31) + 32
    quarters = np.where((d != 0)[..., None], again, codes).reshape(-1, 2, 4, 32)
    low, high = quarters & 15, quarters >> 4
    block["ql"] = np.concatenate([low[:, :, 0:2] | (low[:, :, 2:4] << 4)], axis=2).reshape(-1, 128)
    block["qh"] = stacked_bits(high.reshape(-1, 4, 32), 2).reshape(-1, 64)
    packed = block.view(np.uint8).reshape(len(x), -1)
    packed[np.abs(peak) < _TINY] = 0
    return packed


def _scaled(codes: NDArray[np.int8], d: F32) -> F32:
    """Codes of 256 weights times the scales [n, 16] of their sub-blocks."""
    values: F32 = d[..., None] * codes.reshape(-1, 16, 16).astype(np.float32)
    return values.reshape(-1, 256)


def decode_q6_k(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q6_K"].dtype)[:, 0]
    ql, qh = block["ql"].reshape(-1, 2, 2, 32), block["qh"].reshape(-1, 2, 1, 32)
    low = np.concatenate([ql & 15, ql >> 4], axis=2)
    high = (qh >> _PAIR_SHIFTS) & 3
    codes = (low | (high << 4)).view(np.int8) - np.int8(32)
    d = block["d"].astype(np.float32)[:, None] * block["scales"].astype(np.float32)
    return _scaled(codes, d)


def descend_scale(x: F32, half: int) -> tuple[F32, I32]:
    """The (scale, codes + half) after five sweeps of single-code moves that each lower the error (make_q3_quants)."""
    peak = signed_peak(x.T)
    weights = x * x
    wx = weights * x
    codes = _clipped((f32(-half) / peak) * x, half)
    sum_lx, sum_l2 = sum_in_order(wx * codes), sum_in_order(weights * codes * codes)
    for _ in range(5):
        # A sub-block that did not change in one sweep does not change in the next, so no lane needs to stop early.
        for i in range(len(x)):
            old = codes[i]
            rest_lx, rest_l2 = sum_lx - wx[i] * old, sum_l2 - weights[i] * old * old
            new = _clipped(x[i] * rest_l2 / rest_lx, half)
            new_lx, new_l2 = rest_lx + wx[i] * new, rest_l2 + weights[i] * new * new
            better = (rest_lx > 0) & (new != old) & (new_l2 > 0)
            better &= new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2
            codes[i] = np.where(better, new, old)
            sum_lx, sum_l2 = np.where(better, new_lx, sum_lx), np.where(better, new_l2, sum_l2)
    zero = np.abs(peak) < _TINY
    scale = np.where((sum_l2 > 0) & ~zero, sum_lx / sum_l2, _ZERO)
    return scale, np.where(zero, 0, codes.astype(np.int32) + half)


def pack_q3_scales(scales: I32) -> U8:
    """Sixteen 6-bit scales in 12 bytes: low nibbles of the first and last eight, then high bit pairs, four a byte."""
    low, high = scales & 15, scales >> 4
    nibbles = low[:, :8] | (low[:, 8:] << 4)
    pairs = stacked_bits(high.reshape(-1, 4, 4), 2)
    return np.concatenate([nibbles.astype(np.uint8), pairs], axis=1)


def unpack_q3_scales(packed: U8) -> I32:
    p = packed.astype(np.int32)
    low = np.concatenate([p[:, :8] & 15, p[:, :8] >> 4], axis=1)
    high = np.concatenate([(p[:, 8:] >> (2 * k)) & 3 for k in range(4)], axis=1)
    scales: I32 = (low | (high << 4)) - 32
    return scales


def encode_q3_k(x: F32) -> U8:
    """32 bytes of third bits, 64 of 2-bit codes, 12 of 6-bit scales, d: x ~ d * (scale - 32) * (q - 4)."""
    scales, codes = descend_scale(_lanes(x, 16), 4)
    scales, codes = scales.reshape(-1, 16), codes.T.reshape(-1, 16, 16)
    peak = signed_peak(scales)
    inverse = f32(-32) / peak
    some = (peak != 0)[:, None]
    integers = np.clip(nearest_int(inverse[:, None] * scales).astype(np.int8).astype(np.int32), -32, 31)
    block = np.zeros(len(x), FORMATS["Q3_K"].dtype)
    block["scales"] = np.where(some, pack_q3_scales(integers + 32), 0)
    block["d"] = np.where(some[:, 0], _ONE / inverse, _ZERO)
    return _q3_k_bytes(x, block, codes)


def encode_q3_k_weighted(x: F32, importance: F32, _sigma2: F32) -> U8:
    weights = _block_weights(x, importance, 2)
    lane_weights = _lanes(weights, 16)
    scales, codes = search_scale(_lanes(x, 16), lane_weights, 4)
    sums = sum_in_order(lane_weights)
    d, integers = search_scale(scales.reshape(-1, 16).T, sums.reshape(-1, 16).T, 32)
    block = np.zeros(len(x), FORMATS["Q3_K"].dtype)
    block["d"], block["scales"] = d, pack_q3_scales(integers.T)
    return _q3_k_bytes(x, block, codes.T.reshape(-1, 16, 16))


def _q3_k_bytes(x: F32, block: np.ndarray, codes: I32) -> U8:
    d = block["d"].astype(np.float32)[:, None] * unpack_q3_scales(block["scales"]).astype(np.float32)
    again = np.clip(nearest_int(x.reshape(codes.shape) / d[..., None]), -4, 3) + 4
    final = np.where((d != 0)[..., None], again, codes).reshape(-1, 256)
    block["hmask"] = np.packbits((final >> 2).astype(np.uint8).reshape(-1, 8, 32), axis=1, bitorder="little")[:, 0]
    block["qs"] = pack_pairs_of_bits(final & 3)
    return block.view(np.uint8).reshape(len(x), -1)


def decode_q3_k(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q3_K"].dtype)[:, 0]
    third = (block["hmask"][:, None, :] >> _BIT_SHIFTS) & u8(1)
    codes = (unpack_pairs_of_bits(block["qs"]) | (third.reshape(-1, 256) << 2)).view(np.int8) - np.int8(4)
    d = block["d"].astype(np.float32)[:, None] * unpack_q3_scales(block["scales"]).astype(np.float32)
    return _scaled(codes, d)


ENCODERS = {
    "Q2_K": encode_q2_k,
    "Q3_K": encode_q3_k,
    "Q4_K": encode_q4_k,
    "Q5_K": encode_q5_k,
    "Q6_K": encode_q6_k,
}
WEIGHTED_ENCODERS = {
    "Q2_K": encode_q2_k_weighted,
    "Q3_K": encode_q3_k_weighted,
    "Q4_K": encode_q4_k_weighted,
    "Q5_K": encode_q5_k_weighted,
    "Q6_K": encode_q6_k_weighted,
}
DECODERS = {
    "Q2_K": decode_q2_k,
    "Q3_K": decode_q3_k,
    "Q4_K": decode_q4_k,
    "Q5_K": decode_q5_k,
    "Q6_K": decode_q6_k,
}
