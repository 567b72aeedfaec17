"""IQ3_XXS and IQ3_S: four weights a grid word of 3-bit codes, signs apart. From ggml-quants.c."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import grid, parity_signs
from kernels.formats import FORMATS
from kernels.reference.grid_search import Found, Trials, importance_weights, nibbles, odd_multiples, search_blocks

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

f32 = np.float32
_XXS_TRIALS = Trials(count=15, step=0.2, refine="off grid")
_S_TRIALS = Trials(count=9, step=0.2, refine="all")
_XXS_VALUES = np.array([4, 12, 20, 28, 36, 44, 52, 62], np.float32)


def _encode_iq3_xxs(x: F32, weights: F32) -> U8:
    found = search_blocks(grid("IQ3_XXS"), x, weights, size=32, trials=_XXS_TRIALS, smallest=1e-8, even_signs=True)
    d, scales = odd_multiples(found.scales, top=31)
    signs = (found.signs & 127).reshape(-1, 8, 4).astype(np.uint32) << np.array([0, 7, 14, 21], np.uint32)
    rest = (scales.astype(np.uint32) << 28) | np.bitwise_or.reduce(signs, axis=2)
    block = np.zeros(len(x), FORMATS["IQ3_XXS"].dtype)
    block["d"] = d * f32(1.0125)
    block["qs"][:, :64] = found.words
    block["qs"][:, 64:] = rest.astype("<u4").view(np.uint8)
    block["qs"][found.scales.max(axis=1) == 0] = 0
    return block.view(np.uint8).reshape(len(x), -1)


def _encode_iq3_s(x: F32, weights: F32) -> U8:
    found = search_blocks(grid("IQ3_S"), x, weights, size=32, trials=_S_TRIALS, smallest=1e-45, even_signs=False)
    d, scales = odd_multiples(found.scales, top=31)
    block = np.zeros(len(x), FORMATS["IQ3_S"].dtype)
    block["d"] = d * f32(1.033)
    block["qh"] = np.packbits((found.words >> 8).astype(np.uint8), axis=1, bitorder="little")
    block["qs"] = _zeros_last(found.words & 255, found)
    block["signs"] = _zeros_last(found.signs, found)
    block["scales"] = nibbles(scales)
    return block.view(np.uint8).reshape(len(x), -1)


def _zeros_last(values: NDArray[Any], found: Found) -> NDArray[Any]:
    """Values [n, k] with those of sub-blocks that are zero moved behind all others.

    GGML does not step over the bytes of such a sub-block, though its decoder does: a quirk that is part of the bytes.
    """
    order = np.argsort(~found.some, axis=1, kind="stable")
    parts = values.reshape(len(values), found.some.shape[1], -1)
    return np.take_along_axis(parts, order[:, :, None], axis=1).reshape(values.shape)


def encode_iq3_xxs(x: F32) -> U8:
    """d, 64 words, then for each 32 weights 28 sign bits and a 4-bit scale: x ~ d * (s + 1/2) / 2 * value[code]."""
    return _encode_iq3_xxs(x, x * x)


def encode_iq3_s(x: F32) -> U8:
    """d, low bytes of 64 words, their ninth bits, 256 signs, eight 4-bit scales: x ~ d * (2 s + 1) * (2 code + 1)."""
    return _encode_iq3_s(x, x * x)


def encode_iq3_xxs_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """As encode_iq3_xxs, by the importance of each weight."""
    return _encode_iq3_xxs(x, importance_weights(x, importance, 2))


def encode_iq3_s_weighted(x: F32, importance: F32, sigma2: F32) -> U8:
    """As encode_iq3_s, by the importance of each weight."""
    return _encode_iq3_s(x, importance_weights(x, importance, 2))


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


ENCODERS = {"IQ3_XXS": encode_iq3_xxs, "IQ3_S": encode_iq3_s}
WEIGHTED_ENCODERS = {"IQ3_XXS": encode_iq3_xxs_weighted, "IQ3_S": encode_iq3_s_weighted}
DECODERS = {"IQ3_XXS": decode_iq3_xxs, "IQ3_S": decode_iq3_s}
