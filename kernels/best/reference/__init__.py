"""The definition of every search for lower error: plain numpy. One file a family, one function a format:

search(x: float32 [n, block_size], importance: the same shape or None, packed: uint8 [n, block_bytes], in place)
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from kernels.best.reference import blocks, grids, i_quants, iq1, k_quants, lines
from kernels.best.reference.frame import row_means
from kernels.formats import BlockFormat

F32 = NDArray[np.float32]
Search = Callable[[F32, F32 | None, F32 | None, NDArray[np.uint8]], None]

_FAMILIES = (blocks, lines, k_quants, i_quants, grids, iq1)

SEARCHES: Mapping[str, Search] = {name: search for family in _FAMILIES for name, search in family.SEARCHES.items()}


def improve(
    rows: NDArray[np.float32], packed: NDArray[np.uint8], layout: BlockFormat, importance: NDArray[np.float32] | None
) -> None:
    """Lowers the error of packed rows in place."""
    blocks, known, means = packed.reshape(-1, layout.block_bytes), None, None
    with np.errstate(all="ignore"):
        if importance is not None:
            known = np.tile(importance, (len(rows), 1)).reshape(-1, layout.block_size)
            means = np.repeat(row_means(rows), len(blocks) // len(rows))
        SEARCHES[layout.name](rows.reshape(-1, layout.block_size), known, means, blocks)
