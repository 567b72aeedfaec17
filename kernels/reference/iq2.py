"""IQ2_XXS, IQ2_XS and IQ2_S: eight weights a grid word of 2-bit codes, signs apart. From ggml-quants.c."""

import numpy as np
from numpy.typing import NDArray

from kernels.codebooks import grid, parity_signs
from kernels.formats import FORMATS
from kernels.reference.iq3 import signed_values

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

f32 = np.float32
_VALUES = np.array([8, 25, 43], np.float32)


def _scaled(d: NDArray[np.float16], scales: NDArray[np.integer]) -> F32:
    values: F32 = d.astype(np.float32)[:, None] * (f32(0.5) + scales.astype(np.float32)) * f32(0.25)
    return values


def _from_nibbles(packed: U8) -> U8:
    return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1)


def decode_iq2_xxs(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ2_XXS"].dtype)[:, 0]
    halves = np.ascontiguousarray(block["qs"]).view("<u4").reshape(-1, 8, 2)
    words = np.ascontiguousarray(halves[:, :, 0]).view(np.uint8).reshape(-1, 32)
    seven = (halves[:, :, 1, None] >> np.array([0, 7, 14, 21], np.uint32)) & 127
    d = _scaled(block["d"], halves[:, :, 1] >> 28)
    return signed_values(d, _VALUES[grid("IQ2_XXS").codes[words]], parity_signs()[seven])


def decode_iq2_xs(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ2_XS"].dtype)[:, 0]
    d = _scaled(block["d"], _from_nibbles(block["scales"]))
    return signed_values(d, _VALUES[grid("IQ2_XS").codes[block["qs"] & 511]], parity_signs()[block["qs"] >> 9])


def decode_iq2_s(blocks: U8) -> F32:
    block = blocks.view(FORMATS["IQ2_S"].dtype)[:, 0]
    high = (block["qh"][:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    words = block["qs"][:, :32] | (high.reshape(-1, 32).astype(np.uint16) << 8)
    d = _scaled(block["d"], _from_nibbles(block["scales"]))
    return signed_values(d, _VALUES[grid("IQ2_S").codes[words]], block["qs"][:, 32:])


DECODERS = {"IQ2_XXS": decode_iq2_xxs, "IQ2_XS": decode_iq2_xs, "IQ2_S": decode_iq2_s}
