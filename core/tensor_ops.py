"""The closed set of things a family may do to a tensor between the source and the GGUF.

Each op works on a slab of whole rows: `step(shape)` says of how many rows a slab must be a multiple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RopePermute:
    """Rows of q or k from Hugging Face's half-split rotary order to the interleaved pairs that llama.cpp expects.

    Per head of d rows: row 2i of the result is row i of the source, row 2i+1 is row i + d/2.
    """

    heads: int

    def step(self, rows: int) -> int:
        return rows // self.heads

    def apply(self, slab: Array, *, rows: int) -> Array:
        """slab: [whole heads * d, columns] of a tensor with `rows` rows; returns the same shape."""
        d = rows // self.heads
        halves = slab.reshape(-1, 2, d // 2, slab.shape[-1])
        return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(slab.shape)


TensorOp = RopePermute
