"""IQ1_S and IQ1_M: eight weights a grid word of three levels, shifted up or down by an eighth. From ggml-quants.c."""

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import grid
from kernels.formats import FORMATS

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

f32 = np.float32
_SHIFT = f32(0.125)


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


DECODERS = {"IQ1_S": decode_iq1_s, "IQ1_M": decode_iq1_m}
