"""The I-quants' reference gives GGML's bytes, with and without an importance matrix, and GGML's values back."""

import ctypes

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.formats import FORMATS
from kernels.reference import i_quants
from tests.kernels import inputs, oracle

IMPORTANCE = np.random.default_rng(1).lognormal(size=inputs.COLUMNS).astype(np.float32)


def ggml_values(data: NDArray[np.uint8], name: str) -> NDArray[np.float32]:
    """GGML's values of packed blocks."""
    values = np.zeros((len(data), FORMATS[name].block_size), np.float32)
    function = getattr(oracle._LIBRARY, f"dequantize_row_{name.lower()}")
    function(ctypes.c_void_p(data.ctypes.data), ctypes.c_void_p(values.ctypes.data), ctypes.c_int64(values.size))
    return values


def ggml_bytes(x: NDArray[np.float32], name: str, importance: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """GGML's bytes of rows, in a buffer that was not empty before."""
    packed = np.full((len(x), FORMATS[name].row_bytes(x.shape[1])), 0x5A, np.uint8)
    matrix = None if importance is None else importance.ctypes.data
    oracle._QUANTIZE(FORMATS[name].type_id, x.ctypes.data, packed.ctypes.data, 0, *x.shape, matrix)
    return packed


def our_bytes(x: NDArray[np.float32], name: str, importance: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """The reference's bytes of rows."""
    size = FORMATS[name].block_size
    blocks = x.reshape(-1, size)
    with np.errstate(all="ignore"):
        if importance is None:
            packed = i_quants.ENCODERS[name](blocks)
        else:
            columns = np.broadcast_to(importance, x.shape).reshape(-1, size)
            packed = i_quants.WEIGHTED_ENCODERS[name](blocks, columns, np.zeros(len(blocks), np.float32))
    return packed.reshape(len(x), -1)


def assert_same_rows(x: NDArray[np.float32], name: str, importance: NDArray[np.float32] | None) -> None:
    different = (our_bytes(x, name, importance) != ggml_bytes(x, name, importance)).any(axis=1)
    assert {inputs.case_of_row(row) for row in np.flatnonzero(different)} == set()


@pytest.mark.parametrize("name", i_quants.DECODERS)
def test_values_of_random_bytes_are_those_of_ggml(name: str) -> None:
    data = np.random.default_rng(3).integers(0, 256, (512, FORMATS[name].block_bytes), np.uint8)
    with np.errstate(all="ignore"):
        ours, theirs = i_quants.DECODERS[name](data), ggml_values(data, name)
    assert ours.dtype == np.float32
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    number = ~np.isnan(ours)
    assert np.array_equal(ours.view(np.uint32)[number], theirs.view(np.uint32)[number])


@pytest.mark.parametrize("name", i_quants.ENCODERS)
def test_bytes_are_those_of_ggml(name: str) -> None:
    assert_same_rows(inputs.all_weights(), name, None)


@pytest.mark.parametrize("name", i_quants.WEIGHTED_ENCODERS)
def test_bytes_by_importance_are_those_of_ggml(name: str) -> None:
    assert_same_rows(inputs.all_weights(), name, IMPORTANCE)


@pytest.mark.parametrize("name", i_quants.WEIGHTED_ENCODERS)
def test_columns_without_importance_do_no_harm(name: str) -> None:
    importance = IMPORTANCE.copy()
    importance[:300] = importance[400::3] = 0
    assert_same_rows(inputs.all_weights(), name, importance)
