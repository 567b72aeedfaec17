"""IQ3_XXS and IQ3_S: four weights a grid word of 3-bit codes, signs apart. From ggml-quants.c."""

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import grid, parity_signs
from kernels.formats import FORMATS

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

f32 = np.float32
_XXS_VALUES = np.array([4, 12, 20, 28, 36, 44, 52, 62], np.float32)


def decode_iq3_xxs(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ3_XXS"].dtype)[:, 0]
    rest = np.ascontiguousarray(block["qs"][:, 64:]).view("<u4")
    seven = (rest[:, :, None] >> np.array([0, 7, 14, 21], np.uint32)) & 127
    scale = f32(0.5) + (rest >> 28).astype(np.float32)
    d = block["d"].astype(np.float32)[:, None] * scale * f32(0.5)
    words = _XXS_VALUES[grid("IQ3_XXS").codes[block["qs"][:, :64]]]
    return signed_values(d, words, parity_signs()[seven])


def decode_iq3_s(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ3_S"].dtype)[:, 0]
    high = np.unpackbits(block["qh"], axis=1, bitorder="little").astype(np.uint16)
    codes = grid("IQ3_S").codes[block["qs"] | (high << 8)]
    scales = np.stack([block["scales"] & 15, block["scales"] >> 4], axis=2).reshape(-1, 8)
    d = block["d"].astype(np.float32)[:, None] * (1 + 2 * scales).astype(np.float32)
    return signed_values(d, (2 * codes + 1).astype(np.float32), block["signs"])


def signed_values(d: F32, words: F32, signs: U8) -> F32:
    """d [n, subs] times words [n, ...] with sign bits [n, ...], a bit a weight: [n, 256]."""
    n = len(d)
    minus = np.unpackbits(np.ascontiguousarray(signs).reshape(n, 32), axis=1, bitorder="little")
    scaled = d[:, :, None] * words.reshape(n, d.shape[1], -1)
    values: F32 = scaled.reshape(n, 256) * np.where(minus, f32(-1), f32(1))
    return values


DECODERS = {"IQ3_XXS": decode_iq3_xxs, "IQ3_S": decode_iq3_s}
