"""MXFP4 and NVFP4: codes of FP4 (E2M1), and an 8-bit float as the scale of 32 or of 16 weights.

From quantize_row_*_ref and dequantize_row_* of ggml-quants.c and the 8-bit floats of ggml-impl.h. The levels are kept
doubled, so that they are integers, and every scale is half of what its byte says. GGML takes no square into account:
the scale follows from the largest magnitude alone.
"""

import numpy as np
from numpy.typing import NDArray

from kernels.formats import FORMATS
from kernels.reference.legacy import from_nibbles, nibbles

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

f32 = np.float32

LEVELS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
LARGEST_UE4M3 = 0x7E  # 448; one more is not a number


def nearest_level(x: F32, d: F32) -> I32:
    """The first code whose level times d [n] is nearest to the weights [n, k], in float32 arithmetic."""
    codes = np.zeros(x.shape, np.int32)
    best = np.abs(LEVELS[0] * d[:, None] - x)
    for code in range(1, 16):
        error = np.abs(LEVELS[code] * d[:, None] - x)
        better = error < best
        codes, best = np.where(better, code, codes), np.where(better, error, best)
    return codes


def e8m0_bits(peak: F32) -> U8:
    """The power of two that puts `peak` between 4 and 8: its exponent + 127, and 0 for zeros.

    The logarithm is rounded to float32 before it is cut to an integer, so the largest values below a power of two
    count as that power. Below 2**-125 the exponent is negative and wraps around, as C's cast does on x86.
    """
    exponent = np.floor(np.log2(peak.astype(np.float64)).astype(np.float32)) - f32(2) + f32(127)
    return np.where(peak > 0, exponent, 0).astype(np.int32).astype(np.uint8)


def e8m0_halves(e: U8) -> F32:
    """2**(e - 128), also of the byte 255 that the standard calls not a number."""
    return np.ldexp(f32(1), e.astype(np.int32) - 128)


def ue4m3_bits(values: F32) -> U8:
    """The unsigned E4M3 byte of values >= 0: halves are rounded up, and all from 248 on is the largest byte."""
    small = np.minimum(values * f32(512) + f32(0.5), f32(7)).astype(np.int32)
    rounded = ((values.view(np.int32) + (1 << 19)) >> 20) - (120 << 3)
    normal = np.where(rounded < 15 << 3, rounded, LARGEST_UE4M3)
    return np.where(values < f32(2.0**-6), small, normal).astype(np.uint8)


def ue4m3_halves(bits: U8) -> F32:
    """Half of an unsigned E4M3 value; the sign bit is ignored, and 127, not a number, counts as zero."""
    exponent, mantissa = (bits.astype(np.int32) >> 3) & 15, (bits & 7).astype(np.float32)
    small, normal = np.ldexp(mantissa, -10), np.ldexp(f32(1) + mantissa / f32(8), exponent - 8)
    return np.where(bits == 0x7F, f32(0), np.where(exponent == 0, small, normal))


def encode_mxfp4(x: F32) -> U8:
    """e, then 16 bytes of nibbles: x ~ 2**(e - 127) * fp4. The largest weight is cut to 6/4 of its power of two."""
    block = np.zeros(len(x), FORMATS["MXFP4"].dtype)
    block["e"] = e8m0_bits(np.abs(x).max(axis=1))
    block["qs"] = nibbles(nearest_level(x, e8m0_halves(block["e"])))
    return block.view(np.uint8).reshape(len(x), -1)


def decode_mxfp4(blocks: U8) -> F32:
    block = blocks.view(FORMATS["MXFP4"].dtype)[:, 0]
    return LEVELS[from_nibbles(block["qs"])] * e8m0_halves(block["e"])[:, None]


def encode_nvfp4(x: F32) -> U8:
    """Four scales of 16 weights, then their nibbles, 8 bytes each: x ~ ue4m3 * fp4, without a scale of the tensor."""
    parts = x.reshape(-1, 16)
    scales = ue4m3_bits(np.abs(parts).max(axis=1) / f32(6))
    codes = nearest_level(parts, ue4m3_halves(scales))
    block = np.zeros(len(x), FORMATS["NVFP4"].dtype)
    block["d"] = scales.reshape(-1, 4)
    block["qs"] = (codes[:, :8] | (codes[:, 8:] << 4)).reshape(-1, 32)
    return block.view(np.uint8).reshape(len(x), -1)


def decode_nvfp4(blocks: U8) -> F32:
    block = blocks.view(FORMATS["NVFP4"].dtype)[:, 0]
    codes = from_nibbles(block["qs"].reshape(-1, 8)).reshape(-1, 4, 16)
    values: F32 = LEVELS[codes] * ue4m3_halves(block["d"])[..., None]
    return values.reshape(-1, 64)


ENCODERS = {"MXFP4": encode_mxfp4, "NVFP4": encode_nvfp4}
DECODERS = {"MXFP4": decode_mxfp4, "NVFP4": decode_nvfp4}
