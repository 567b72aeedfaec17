"""The effort "best": codes with less error than GGML's in the same format.

`improve` gets GGML's bytes and replaces each block for which the search finds less weighted error, so no block is ever
worse. Without importance it must not be worse with all weights alike either: GGML's own measure for that case is mostly
the squares of the weights, and a thorough search by it alone leaves the small ones to chance (KLD doubles in IQ3_S).

searches.py holds what the formats look for, as data; reference/ is the definition in plain numpy, cpu/ the same in SIMD
lanes, byte for byte. The numeric contract is that of the package, except that sums over the sub-blocks of a superblock
add pairs, then pairs of pairs, and that the deciding error of a block is summed in double precision.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.best import cpu, reference
from kernels.formats import BlockFormat
from kernels.reference.float import bf16_values

_CHUNK = 1 << 18  # weights at a time, in whole rows: bounds the float32 copy of 16-bit rows


def improvable(format: str) -> bool:
    """Whether there is a search for the format; the bytes of others stay as they are."""
    return format in reference.SEARCHES


def improve(
    rows: NDArray[np.generic],
    packed: NDArray[np.uint8],
    layout: BlockFormat,
    *,
    importance: NDArray[np.float32] | None = None,
    backend: str = "cpu",
) -> None:
    """Lowers the error of packed rows in place, where a search for the format exists.

    `rows` [rows, columns] is float32, float16 or uint16 (bf16 bits), all finite; `packed` uint8 [rows, row_bytes] is
    what `encode` gave for them and for `importance` [columns]. `backend` is "cpu" or "reference".
    """
    if not improvable(layout.name) or rows.size == 0:
        return
    run = cpu.improve if backend == "cpu" else reference.improve
    step = max(1, _CHUNK // rows.shape[1])
    for start in range(0, len(rows), step):
        run(_float32(rows[start : start + step]), packed[start : start + step], layout, importance)


def _float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    return bf16_values(rows) if rows.dtype == np.uint16 else rows.astype(np.float32, copy=False)
