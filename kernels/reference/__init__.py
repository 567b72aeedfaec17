"""The definition of every format Snug can encode or decode: plain numpy, complete, readable, and GGML's bytes.

One file a family. A format is two functions on blocks:

    encode(blocks: float32 [n, block_size]) -> uint8 [n, block_bytes]
    decode(blocks: uint8 [n, block_bytes]) -> float32 [n, block_size]

and a third where GGML searches with importance weights:

    encode_weighted(blocks, importance: float32 [n, block_size], sigma2: float32 [n]) -> uint8 [n, block_bytes]

where sigma2 is the mean square of the row that a block is cut from: all of the row that GGML's search looks at.

Numeric contract, which every other backend repeats bit for bit: IEEE float32; no fused multiply-add, no fast-math;
correctly rounded division and square root; sums inside a block strictly left to right, which is why arrays run over
blocks and loops over the elements of a block; halves rounded to nearest even; among candidates the first best wins,
strictly; a block depends on nothing but itself (and sigma2), so any split of the rows gives the same bytes.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from kernels.reference import float as floats
from kernels.reference import fp4, i_quants, k_quants, legacy, one_bit, ternary

Encoder = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
WeightedEncoder = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], NDArray[np.uint8]]
Decoder = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_FAMILIES = (floats, legacy, k_quants, fp4, ternary, one_bit, i_quants)

ENCODERS: Mapping[str, Encoder] = {name: f for family in _FAMILIES for name, f in family.ENCODERS.items()}
WEIGHTED_ENCODERS: Mapping[str, WeightedEncoder] = {
    **legacy.WEIGHTED_ENCODERS,
    **k_quants.WEIGHTED_ENCODERS,
    **i_quants.WEIGHTED_ENCODERS,
}
DECODERS: Mapping[str, Decoder] = {name: f for family in _FAMILIES for name, f in family.DECODERS.items()}
