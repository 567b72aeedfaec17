"""TQ1_0, TQ2_0 and Q2_0: every weight is -1, 0 or 1 times the largest magnitude of its block.

From quantize_row_*_ref and dequantize_row_* of ggml-quants.c. Meant for models trained with three levels; for others
most weights round to 0. Q2_0 can hold a fourth level, 2, which its encoder never uses.
"""

import numpy as np
from numpy.typing import NDArray

from kernels.formats import FORMATS
from kernels.reference.k_quants import pack_pairs_of_bits, unpack_pairs_of_bits
from kernels.reference.legacy import reciprocal

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

f32 = np.float32

_POWERS = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]
_PAIR_SHIFTS = np.array([0, 2, 4, 6], np.uint8)
_TQ1_PARTS = ((0, 5, 32), (160, 5, 16), (240, 4, 4))  # first weight, trits a byte, bytes


def three_levels(x: F32, *, unknown: int) -> tuple[F32, I32]:
    """The largest magnitude [n], and 0, 1 or 2 for what rounds to -1, 0 or 1 times it, halves away from zero.

    Where 1 / d overflows (d is subnormal) all codes are `unknown`: what C's cast makes of an infinity.
    """
    d = np.abs(x).max(axis=1)
    inverse = reciprocal(d)[:, None]
    scaled = x * inverse
    codes = 1 + (scaled >= f32(0.5)).astype(np.int32) - (scaled <= f32(-0.5)).astype(np.int32)
    return d, np.where(np.isinf(inverse), unknown, codes)


def pack_trits(codes: I32) -> U8:
    """Up to five codes below 3 a byte, [n, k, m] -> [n, m], as the fraction 0.t0t1t2t3t4 in base 3 of 256, rounded up.

    So a trit is had back by multiplying with a power of 3 and taking what a further 3 carries out of the byte.
    """
    number = np.zeros((codes.shape[0], codes.shape[2]), np.int32)
    for k in range(5):
        number = number * 3 + (codes[:, k] if k < codes.shape[1] else 0)
    return ((number * 256 + 242) // 243).astype(np.uint8)


def unpack_trits(packed: U8, count: int) -> U8:
    """The first `count` trits of each byte: [n, m] -> [n, count * m]."""
    shifted = packed[:, None, :] * _POWERS[:count]  # modulo 256
    return ((shifted.astype(np.uint16) * 3) >> 8).astype(np.uint8).reshape(len(packed), -1)


def encode_tq1_0(x: F32) -> U8:
    """48 bytes of five trits, 4 of four, d. The trits of a byte are 32 weights apart, then 16, in qh 4."""
    d, codes = three_levels(x, unknown=1)
    parts = [pack_trits(codes[:, at : at + k * m].reshape(-1, k, m)) for at, k, m in _TQ1_PARTS]
    block = np.zeros(len(x), FORMATS["TQ1_0"].dtype)
    block["qs"] = np.concatenate(parts[:2], axis=1)
    block["qh"] = parts[2]
    block["d"] = d
    return block.view(np.uint8).reshape(len(x), -1)


def decode_tq1_0(blocks: U8) -> F32:
    block = blocks.view(FORMATS["TQ1_0"].dtype)[:, 0]
    qs, qh = block["qs"], block["qh"]
    codes = np.concatenate([unpack_trits(qs[:, :32], 5), unpack_trits(qs[:, 32:], 5), unpack_trits(qh, 4)], axis=1)
    return _values(codes, block["d"])


def encode_tq2_0(x: F32) -> U8:
    """64 bytes of four 2-bit codes, 32 weights apart, then d: x ~ d * (q - 1)."""
    block = np.zeros(len(x), FORMATS["TQ2_0"].dtype)
    block["d"], codes = three_levels(x, unknown=1)
    block["qs"] = pack_pairs_of_bits(codes)
    return block.view(np.uint8).reshape(len(x), -1)


def decode_tq2_0(blocks: U8) -> F32:
    block = blocks.view(FORMATS["TQ2_0"].dtype)[:, 0]
    return _values(unpack_pairs_of_bits(block["qs"]), block["d"])


def encode_q2_0(x: F32) -> U8:
    """d, then 16 bytes of 2-bit codes, four neighbours a byte, the first lowest: x ~ d * (q - 1)."""
    block = np.zeros(len(x), FORMATS["Q2_0"].dtype)
    block["d"], codes = three_levels(x, unknown=0)
    block["qs"] = np.bitwise_or.reduce(codes.reshape(-1, 16, 4) << _PAIR_SHIFTS, axis=2)
    return block.view(np.uint8).reshape(len(x), -1)


def decode_q2_0(blocks: U8) -> F32:
    block = blocks.view(FORMATS["Q2_0"].dtype)[:, 0]
    codes = (block["qs"][:, :, None] >> _PAIR_SHIFTS) & np.uint8(3)
    return _values(codes.reshape(-1, 64), block["d"])


def _values(codes: U8, d: NDArray[np.float16]) -> F32:
    return (codes.view(np.int8) - np.int8(1)).astype(np.float32) * d.astype(np.float32)[:, None]


ENCODERS = {"TQ1_0": encode_tq1_0, "TQ2_0": encode_tq2_0, "Q2_0": encode_q2_0}
DECODERS = {"TQ1_0": decode_tq1_0, "TQ2_0": decode_tq2_0, "Q2_0": decode_q2_0}
