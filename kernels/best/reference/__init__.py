"""The definition of every search for lower error: plain numpy. One file a family, one function a format:

search(x: float32 [n, block_size], importance: the same shape or None, packed: uint8 [n, block_bytes], in place)
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from kernels.best.reference import k_quants
from kernels.formats import BlockFormat

Search = Callable[[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.uint8]], None]

SEARCHES: Mapping[str, Search] = {**k_quants.SEARCHES}


def improve(
    rows: NDArray[np.float32], packed: NDArray[np.uint8], layout: BlockFormat, importance: NDArray[np.float32] | None
) -> None:
    """Lowers the error of packed rows in place."""
    known = None if importance is None else np.tile(importance, (len(rows), 1)).reshape(-1, layout.block_size)
    blocks = packed.reshape(-1, layout.block_bytes)
    with np.errstate(all="ignore"):
        SEARCHES[layout.name](rows.reshape(-1, layout.block_size), known, blocks)
