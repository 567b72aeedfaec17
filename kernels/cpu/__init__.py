"""Explicit SIMD through numba: the reference's bytes, a sub-block or a weight a lane. Importing this imports no numba.

A kernel is `kernel(x, out, first, last) -> int32`: it packs blocks first..last of the flat source x into the flat
bytes out, and gives the largest magnitude it met, as the bits of a float32, so that finiteness costs no pass of its
own. A weighted kernel is `kernel(x, importance, out, first, last)`, where importance has a float32 for each column.
"""

import importlib
import threading
from collections.abc import Mapping
from functools import cache as cached
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.cpu import cache, i_quants
from kernels.formats import BlockFormat

KERNELS: Mapping[str, tuple[str, str]] = {
    "F32": ("float", "f32"),
    "F16": ("float", "f16"),
    "BF16": ("float", "bf16"),
    "Q4_0": ("legacy", "q4_0"),
    "Q4_1": ("legacy", "q4_1"),
    "Q5_0": ("legacy", "q5_0"),
    "Q5_1": ("legacy", "q5_1"),
    "Q8_0": ("legacy", "q8_0"),
    "Q2_K": ("k_quants", "q2_k"),
    "Q3_K": ("k_quants", "q3_k"),
    "Q4_K": ("k_quants", "q4_k"),
    "Q5_K": ("k_quants", "q5_k"),
    "Q6_K": ("k_quants", "q6_k"),
    "MXFP4": ("fp4", "mxfp4"),
    "NVFP4": ("fp4", "nvfp4"),
    "TQ1_0": ("ternary", "tq1_0"),
    "TQ2_0": ("ternary", "tq2_0"),
    "Q2_0": ("ternary", "q2_0"),
    "Q1_0": ("one_bit", "q1_0"),
    **i_quants.KERNELS,
}

WEIGHTED_KERNELS: Mapping[str, tuple[str, str]] = {
    "Q4_0": ("legacy", "q4_0_weighted"),
    "Q4_1": ("legacy", "q4_1_weighted"),
    "Q5_0": ("legacy", "q5_0_weighted"),
    "Q5_1": ("legacy", "q5_1_weighted"),
    "Q2_K": ("k_quants", "q2_k_weighted"),
    "Q3_K": ("k_quants", "q3_k_weighted"),
    "Q4_K": ("k_quants", "q4_k_weighted"),
    "Q5_K": ("k_quants", "q5_k_weighted"),
    "Q6_K": ("k_quants", "q6_k_weighted"),
    **i_quants.WEIGHTED_KERNELS,
}

_INFINITE_BITS = 0x7F800000
_loading = threading.Lock()


def encode(
    rows: NDArray[np.generic],
    packed: NDArray[np.uint8],
    layout: BlockFormat,
    importance: NDArray[np.float32] | None = None,
) -> bool:
    """Packs the rows; False if a weight is not finite."""
    blocks = rows.size // layout.block_size
    kernel = _kernel(layout.name, weighted=importance is not None)
    return _run(kernel, _sources(rows, importance), packed.reshape(-1), blocks) < _INFINITE_BITS


def prepare(layout: BlockFormat, dtype: np.dtype, *, weighted: bool = False) -> None:
    """Loads the kernel of a format for a source dtype, compiling it if need be."""
    importance = np.empty(layout.block_size, np.float32) if weighted else None
    sources = _sources(np.empty((0, 0), dtype), importance)
    _run(_kernel(layout.name, weighted=weighted), sources, np.empty(0, np.uint8), 0)
    cache.mark(_name(layout.name, dtype, weighted))


def is_prepared(name: str, dtype: np.dtype, *, weighted: bool = False) -> bool:
    """Whether the kernel was compiled by this version on this machine before."""
    return cache.is_marked(_name(name, dtype, weighted))


def _name(format_name: str, dtype: np.dtype, weighted: bool) -> str:
    return f"{format_name}-{dtype.name}{'-weighted' * weighted}"


def _sources(rows: NDArray[np.generic], importance: NDArray[np.float32] | None) -> tuple[NDArray[np.generic], ...]:
    return (_flat(rows),) if importance is None else (_flat(rows), _flat(importance))


def _flat(rows: NDArray[np.generic]) -> NDArray[np.generic]:
    """One dimension, f16 as int16: the kernels tell f16 from bf16 by the sign of the dtype.

    Always aligned and read-only, because numba compiles a kernel anew for each of these properties of an array.
    """
    flat = rows.reshape(-1) if rows.flags.aligned else rows.flatten()
    flat = flat.view(np.int16 if rows.dtype == np.float16 else rows.dtype)
    flat.flags.writeable = False
    return flat


def _run(kernel: Any, sources: tuple[NDArray[np.generic], ...], out: NDArray[np.uint8], blocks: int) -> int:
    peak: int = call(kernel, *sources, out, 0, blocks)
    return peak


def call(kernel: Any, *arguments: Any) -> Any:
    """The result of a compiled function, also where it cannot be kept on disk."""
    try:
        return kernel(*arguments)
    except OSError:
        # It is compiled, but could not be kept on disk (full, or gone since): go on without.
        from numba.core.caching import NullCache

        kernel._cache = NullCache()
        return kernel(*arguments)


@cached
def load(module: str, function: str, *, package: str = __name__) -> Any:
    """A compiled function of a package of lanes. All are loaded here, one at a time: it changes a setting of numba."""
    with _loading, cache.in_use():
        return getattr(importlib.import_module(f"{package}.{module}"), function)


def _kernel(format_name: str, *, weighted: bool) -> Any:
    return load(*(WEIGHTED_KERNELS[format_name] if weighted else KERNELS[format_name]))
