"""F32, F16 and BF16: a block is one weight, and encoding is one rounding."""

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def bf16_bits(values: F32) -> NDArray[np.uint16]:
    """The bf16 bit patterns nearest to `values`, halves to even, subnormals kept (ggml_fp32_to_bf16)."""
    bits = values.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))) >> 16
    quiet_nan = (bits >> 16) | 64
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(is_nan, quiet_nan, rounded).astype(np.uint16)


def bf16_values(bits: NDArray[np.uint16]) -> F32:
    """The float32 values of bf16 bit patterns, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode_f32(x: F32) -> U8:
    return x.astype("<f4").view(np.uint8)


def decode_f32(blocks: U8) -> F32:
    return blocks.view("<f4").astype(np.float32)


def encode_f16(x: F32) -> U8:
    return x.astype("<f2").view(np.uint8)


def decode_f16(blocks: U8) -> F32:
    return blocks.view("<f2").astype(np.float32)


def encode_bf16(x: F32) -> U8:
    return bf16_bits(x).astype("<u2").view(np.uint8)


def decode_bf16(blocks: U8) -> F32:
    return bf16_values(blocks.view("<u2"))


ENCODERS = {"F32": encode_f32, "F16": encode_f16, "BF16": encode_bf16}
DECODERS = {"F32": decode_f32, "F16": decode_f16, "BF16": decode_bf16}
