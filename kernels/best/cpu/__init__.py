"""The searches as SIMD lanes through numba: the bytes of the reference. Importing this imports no numba.

A kernel is `kernel(x, importance, out, first, last)`: it lowers the error of blocks first..last of the flat bytes
`out`, where x is flat float32. `importance` has one value a column, or none at all.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.cpu import cache, call, load
from kernels.formats import BlockFormat

KERNELS: Mapping[str, tuple[str, str]] = {
    "Q2_K": ("k_quants", "q2_k"),
    "Q3_K": ("k_quants", "q3_k"),
    "Q4_K": ("k_quants", "q4_k"),
    "Q5_K": ("k_quants", "q5_k"),
    "Q6_K": ("k_quants", "q6_k"),
    "Q4_0": ("blocks", "q4_0"),
    "Q5_0": ("blocks", "q5_0"),
    "Q8_0": ("blocks", "q8_0"),
    "Q4_1": ("lines", "q4_1"),
    "Q5_1": ("lines", "q5_1"),
    "IQ4_NL": ("blocks", "iq4_nl"),
    "TQ1_0": ("blocks", "tq1_0"),
    "TQ2_0": ("blocks", "tq2_0"),
    "Q2_0": ("blocks", "q2_0"),
    "Q1_0": ("blocks", "q1_0"),
    "MXFP4": ("blocks", "mxfp4"),
    "NVFP4": ("blocks", "nvfp4"),
    "IQ4_XS": ("i_quants", "iq4_xs"),
    "IQ3_XXS": ("grids", "iq3_xxs"),
    "IQ3_S": ("grids", "iq3_s"),
    "IQ2_XXS": ("grids", "iq2_xxs"),
    "IQ2_XS": ("grids", "iq2_xs"),
    "IQ2_S": ("grids", "iq2_s"),
    "IQ1_S": ("iq1", "iq1_s"),
    "IQ1_M": ("iq1", "iq1_m"),
}

_NO_IMPORTANCE = np.empty(0, np.float32)


def improve(
    rows: NDArray[np.float32], packed: NDArray[np.uint8], layout: BlockFormat, importance: NDArray[np.float32] | None
) -> None:
    """Lowers the error of packed rows in place."""
    known = _NO_IMPORTANCE if importance is None else importance
    call(_kernel(layout.name), _flat(rows), _flat(known), packed.reshape(-1), 0, rows.size // layout.block_size)


def _flat(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """One dimension, aligned and read-only: numba compiles a kernel anew for each of these properties of an array."""
    flat = values.reshape(-1) if values.flags.aligned and values.flags.c_contiguous else values.flatten()
    flat = flat.view()
    flat.flags.writeable = False
    return flat


def prepare(layout: BlockFormat) -> None:
    """Loads the search of a format, compiling it if need be. One kernel serves every source type, importance or not."""
    improve(np.empty((0, layout.block_size), np.float32), np.empty(0, np.uint8), layout, None)
    cache.mark(_name(layout.name))


def is_prepared(format_name: str) -> bool:
    """Whether the search was compiled by this version on this machine before."""
    return cache.is_marked(_name(format_name))


def _name(format_name: str) -> str:
    return f"{format_name}-best"


def _kernel(format_name: str) -> Any:
    return load(*KERNELS[format_name], package=__name__)
