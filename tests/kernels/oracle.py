"""GGML itself, through the native library in the xllamacpp wheel: the judge of every byte."""

import ctypes
from pathlib import Path

import numpy as np
import xllamacpp
from numpy.typing import NDArray

from kernels import FORMATS


def _library() -> ctypes.CDLL:
    folder = Path(xllamacpp.__file__).parent
    candidates = [path for pattern in ("*.so", "*.pyd", "*.dylib") for path in sorted(folder.glob(pattern))]
    return ctypes.CDLL(str(candidates[0]))


_LIBRARY = _library()
_QUANTIZE = _LIBRARY.ggml_quantize_chunk
_QUANTIZE.restype = ctypes.c_size_t
_QUANTIZE.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]

_LIBRARY.ggml_blck_size.restype = ctypes.c_int64
_LIBRARY.ggml_type_size.restype = ctypes.c_size_t


def sizes(type_id: int) -> tuple[int, int]:
    """GGML's weights and bytes of a block."""
    return _LIBRARY.ggml_blck_size(type_id), _LIBRARY.ggml_type_size(type_id)


def quantize(x: NDArray[np.float32], name: str, importance: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """GGML's bytes of float32 rows, without an importance matrix or with one value a column."""
    packed = np.zeros((x.shape[0], FORMATS[name].row_bytes(x.shape[1])), np.uint8)
    quantize_into(x, packed, name, importance)
    return packed


def quantize_into(
    x: NDArray[np.float32], packed: NDArray[np.uint8], name: str, importance: NDArray[np.float32] | None = None
) -> None:
    """As `quantize`, into a buffer; releases the GIL."""
    weights = None if importance is None else importance.ctypes.data
    _QUANTIZE(FORMATS[name].type_id, x.ctypes.data, packed.ctypes.data, 0, *x.shape, weights)


def dequantize(data: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """GGML's values of packed rows."""
    function = getattr(_LIBRARY, f"dequantize_row_{name if name.endswith('_K') else name.lower()}".replace("Q", "q"))
    columns = data.shape[1] // FORMATS[name].block_bytes * FORMATS[name].block_size
    values = np.zeros((data.shape[0], columns), np.float32)
    function(ctypes.c_void_p(data.ctypes.data), ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(values.size))
    return values
