"""Formats with one scale a block or sub-block and nothing above it: from absmax to the scale of least error.

Q4_0, Q5_0, Q8_0, IQ4_NL, TQ1_0, TQ2_0, Q2_0 and Q1_0 have an f16 scale: from several starts it is fitted to the levels
nearest for it. MXFP4 and NVFP4 have 8-bit scales: those near the usual one are all tried.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernels.best.reference.frame import Found, Level, Pack, between, improve, weigh
from kernels.best.reference.parts import F32, HUGE, ONE_F, U8, ZERO, f32, half, lanes_of, sum_in_order
from kernels.best.searches import (
    IQ4_NL,
    MXFP4,
    NVFP4,
    Q1_0,
    Q2_0,
    Q4_0,
    Q5_0,
    Q8_0,
    TQ1_0,
    TQ2_0,
    Scan,
    Single,
)
from kernels.codebooks import IQ4_LEVELS
from kernels.formats import FORMATS
from kernels.reference.fp4 import LEVELS as FP4
from kernels.reference.fp4 import ue4m3_bits, ue4m3_halves
from kernels.reference.k_quants import pack_pairs_of_bits
from kernels.reference.legacy import nibbles, with_fifth_bit
from kernels.reference.ternary import _TQ1_PARTS, pack_trits

I32 = np.ndarray

IQ4 = IQ4_LEVELS.astype(np.float32)
IQ4_MIDDLES = (IQ4[1:] + IQ4[:-1]) / f32(2)
_FP4_MIDDLES = (FP4[1:8] + FP4[:7]) / f32(2)


def _fit(x: F32, weights: F32, level: Level, d: F32) -> tuple[F32, F32, F32]:
    """With the nearest levels: the error, sum(w q x) and sum(w q q) of each lane."""
    q = level(x * (ONE_F / d))
    difference = d * q - x
    wq = weights * q
    return sum_in_order(weights * (difference * difference)), sum_in_order(wq * x), sum_in_order(wq * q)


def _peaks(x: F32, weights: F32) -> tuple[F32, F32]:
    """The largest magnitude of each lane that counts at all, and the first weight that has it."""
    magnitude: F32 = np.zeros_like(x[0])
    peak: F32 = magnitude
    for v, w in zip(x, weights, strict=True):
        found = (np.abs(v) > magnitude) & (w > 0)
        magnitude, peak = np.where(found, np.abs(v), magnitude), np.where(found, v, peak)
    return magnitude, peak


def _single(x: F32, weights: F32, how: Single, level: Level) -> Found:
    """The f16 scale of each block."""
    _, peak = _peaks(x, weights)
    best, best_d = np.full_like(peak, HUGE), np.zeros_like(peak)
    for base in (peak, ZERO - peak)[: how.sides]:
        for k in range(how.starts):
            q = level(x * ((f32(how.first) + f32(how.step) * f32(k)) / base))
            wq = weights * q
            sum_lx, sum_l2 = sum_in_order(wq * x), sum_in_order(wq * q)
            for _ in range(how.rounds + 1):
                d = half(np.divide(sum_lx, sum_l2))
                error, sum_lx, sum_l2 = _fit(x, weights, level, d)
                better = error < best
                best, best_d = np.where(better, error, best), np.where(better, d, best_d)
    return _found(best_d)


def _scan(x: F32, weights: F32, how: Scan, scale_near: Callable[[F32, int], F32]) -> Found:
    """The 8-bit scale of each lane, halved as levels are doubled."""
    magnitude, _ = _peaks(x, weights)
    best, best_d = np.full_like(magnitude, HUGE), np.zeros_like(magnitude)
    for k in range(-how.below, how.above + 1):
        d = scale_near(magnitude, k)
        error, _, _ = _fit(x, weights, _fp4_level, d)
        better = error < best
        best, best_d = np.where(better, error, best), np.where(better, d, best_d)
    return _found(best_d)


def _found(d: F32) -> Found:
    return np.ones_like(d), np.zeros_like(d), d, np.zeros_like(d)


# Levels, and scales of 8 bits.


def iq4_level(quotient: F32) -> F32:
    level = np.full_like(quotient, IQ4[0])
    for middle, above in zip(IQ4_MIDDLES, IQ4[1:], strict=True):
        level = np.where(quotient < middle, level, above)
    return level


def _fp4_level(quotient: F32) -> F32:
    level = np.zeros_like(quotient)
    for middle, above in zip(_FP4_MIDDLES, FP4[1:8], strict=True):
        level = np.where(np.abs(quotient) > middle, above, level)
    return np.copysign(level, quotient)


def _sign_level(quotient: F32) -> F32:
    return np.where(quotient >= 0, ONE_F, -ONE_F)


def _power_near(magnitude: F32, k: int) -> F32:
    """Half of the power of two that puts the magnitude between 4 and 8, times 2**k."""
    exponent = (magnitude.view(np.int32) >> 23) + (k - 3)
    bits: I32 = (np.clip(exponent, 1, 253) << 23).astype(np.int32)
    return bits.view(np.float32)


def _e4m3_near(magnitude: F32, k: int) -> F32:
    """Half of the unsigned E4M3 value k bytes above the one nearest to a sixth of the magnitude."""
    usual = ue4m3_bits(np.divide(magnitude, f32(6))).astype(np.int32)
    return ue4m3_halves(np.clip(usual + k, 1, 126).astype(np.uint8)).astype(np.float32)


# Bytes.


def _block(name: str, found: Found) -> np.ndarray:
    block = np.zeros(len(found[2]), FORMATS[name].dtype)
    block["d"] = found[2]
    return block


def _bytes(block: np.ndarray) -> U8:
    return block.view(np.uint8).reshape(len(block), -1)


def _pack_q4_0(found: Found, levels: F32) -> U8:
    block = _block("Q4_0", found)
    block["qs"] = nibbles(levels.astype(np.int32) + 8)
    return _bytes(block)


def _pack_q5_0(found: Found, levels: F32) -> U8:
    block = _block("Q5_0", found)
    block["qs"], block["qh"] = with_fifth_bit(levels.astype(np.int32) + 16)
    return _bytes(block)


def _pack_q8_0(found: Found, levels: F32) -> U8:
    block = _block("Q8_0", found)
    block["qs"] = levels
    return _bytes(block)


def _pack_iq4_nl(found: Found, levels: F32) -> U8:
    block = _block("IQ4_NL", found)
    block["qs"] = nibbles(np.searchsorted(IQ4, levels).astype(np.int32))
    return _bytes(block)


def _pack_tq2_0(found: Found, levels: F32) -> U8:
    block = _block("TQ2_0", found)
    block["qs"] = pack_pairs_of_bits(levels.astype(np.int32) + 1)
    return _bytes(block)


def _pack_tq1_0(found: Found, levels: F32) -> U8:
    block, codes = _block("TQ1_0", found), levels.astype(np.int32) + 1
    parts = [pack_trits(codes[:, at : at + k * m].reshape(-1, k, m)) for at, k, m in _TQ1_PARTS]
    block["qs"], block["qh"] = np.concatenate(parts[:2], axis=1), parts[2]
    return _bytes(block)


def _pack_q2_0(found: Found, levels: F32) -> U8:
    block, codes = _block("Q2_0", found), levels.astype(np.int32) + 1
    block["qs"] = np.bitwise_or.reduce(codes.reshape(-1, 16, 4) << np.array([0, 2, 4, 6]), axis=2)
    return _bytes(block)


def _pack_q1_0(found: Found, levels: F32) -> U8:
    block = _block("Q1_0", found)
    block["qs"] = np.packbits(levels > 0, axis=1, bitorder="little")
    return _bytes(block)


def _fp4_codes(levels: F32) -> I32:
    codes: I32 = np.searchsorted(FP4[:8], np.abs(levels)).astype(np.int32)
    return np.where(levels < 0, codes | 8, codes)


def _pack_mxfp4(found: Found, levels: F32) -> U8:
    block = np.zeros(len(levels), FORMATS["MXFP4"].dtype)
    block["e"] = (found[2].view(np.int32) >> 23) + 1
    block["qs"] = nibbles(_fp4_codes(levels))
    return _bytes(block)


def _pack_nvfp4(found: Found, levels: F32) -> U8:
    block, scale = np.zeros(len(levels), FORMATS["NVFP4"].dtype), found[2]
    large = (scale.view(np.int32) - (119 << 23)) >> 20
    block["d"] = np.where(scale >= f32(2.0**-7), large, (scale * f32(1024)).astype(np.int32)).reshape(-1, 4)
    parts = _fp4_codes(levels).reshape(-1, 4, 2, 8)
    block["qs"] = (parts[:, :, 0] | (parts[:, :, 1] << 4)).reshape(-1, 32)
    return _bytes(block)


@dataclass(frozen=True)
class _Search:
    """The search of a format: blocks, their importance, the mean squares of their rows, and the bytes to improve."""

    name: str
    how: Single | Scan
    level: Level
    pack: Pack
    scale_near: Callable[[F32, int], F32] = _power_near

    def __call__(self, x: F32, importance: F32 | None, means: F32 | None, packed: U8) -> None:
        lanes = lanes_of(x, self.how.size)
        weights = weigh(lanes, importance, means, self.how)
        if isinstance(self.how, Single):
            found = _single(lanes, weights, self.how, self.level)
        else:
            found = _scan(lanes, weights, self.how, self.scale_near)
        improve(
            lanes,
            weights,
            packed,
            name=self.name,
            how=self.how,
            found=found,
            level=self.level,
            pack=self.pack,
            important=importance is not None,
        )


_ALL = (
    _Search("Q4_0", Q4_0, between(-8, 7), _pack_q4_0),
    _Search("Q5_0", Q5_0, between(-16, 15), _pack_q5_0),
    _Search("Q8_0", Q8_0, between(-128, 127), _pack_q8_0),
    _Search("IQ4_NL", IQ4_NL, iq4_level, _pack_iq4_nl),
    _Search("TQ1_0", TQ1_0, between(-1, 1), _pack_tq1_0),
    _Search("TQ2_0", TQ2_0, between(-1, 1), _pack_tq2_0),
    _Search("Q2_0", Q2_0, between(-1, 2), _pack_q2_0),
    _Search("Q1_0", Q1_0, _sign_level, _pack_q1_0),
    _Search("MXFP4", MXFP4, _fp4_level, _pack_mxfp4, _power_near),
    _Search("NVFP4", NVFP4, _fp4_level, _pack_nvfp4, _e4m3_near),
)
SEARCHES = {search.name: search for search in _ALL}
