"""Q1_0: the sign of each weight, and the mean magnitude of 128.

From quantize_row_q1_0_ref and dequantize_row_q1_0 of ggml-quants.c. Meant for models trained with two levels.
"""

import numpy as np
from numpy.typing import NDArray

from kernels.formats import FORMATS
from kernels.reference.k_quants import sum_in_order

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def encode_q1_0(x: F32) -> U8:
    """d, then 16 bytes of bits in weight order, lowest first: x ~ d where set, else -d. Zeros of both signs are set."""
    block = np.zeros(len(x), FORMATS["Q1_0"].dtype)
    block["d"] = sum_in_order(np.abs(x.T)) / np.float32(128)
    block["qs"] = np.packbits(x >= 0, axis=1, bitorder="little")
    return block.view(np.uint8).reshape(len(x), -1)


def decode_q1_0(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q1_0"].dtype)[:, 0]
    d = block["d"].astype(np.float32)[:, None]
    bits = np.unpackbits(np.ascontiguousarray(block["qs"]), axis=1, bitorder="little")
    return np.where(bits == 1, d, -d)


ENCODERS = {"Q1_0": encode_q1_0}
DECODERS = {"Q1_0": decode_q1_0}
