"""gpt-oss's experts become GGML's MXFP4 blocks of the same values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import core
import kernels
from tests.core.sources.checkpoints import (
    Array,
    Tensors,
    assert_any_rows_equal_the_whole,
    bytes_read,
    integers,
    named,
    unpacked,
    values,
)

NAME = "model.layers.0.mlp.experts.down_proj"
LEVELS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def made(experts: int = 3, rows: int = 5, blocks: int = 2) -> tuple[Tensors, Array]:
    codes = integers(0, 15, (experts, rows, blocks, 32))
    exponents = integers(100, 140, (experts, rows, blocks), 3)
    packed = (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)
    tensors: Tensors = {NAME + "_blocks": ("U8", packed), NAME + "_scales": ("U8", exponents.astype(np.uint8))}
    weights = LEVELS[codes] * np.exp2(exponents - 127.0)[..., None]
    return tensors, weights.astype(np.float32).reshape(experts, rows, 32 * blocks)


def test_blocks_hold_the_same_values_in_ggmls_order(tmp_path: Path) -> None:
    tensors, weights = made()
    found = unpacked(tmp_path, tensors, quant_method="mxfp4")
    tensor = named(found, NAME)
    assert (found.method, tensor.dtype, tensor.shape) == ("MXFP4", "MXFP4", (3, 5, 64))
    whole = values(tensor)
    assert whole.shape == (15, 34)
    assert np.array_equal(kernels.decode(whole, "MXFP4"), weights.reshape(15, 64))
    assert_any_rows_equal_the_whole(tensor, whole)


def test_byte_j_of_a_block_holds_elements_j_and_j_plus_16(tmp_path: Path) -> None:
    codes = np.arange(32) % 16
    tensors: Tensors = {
        NAME + "_blocks": ("U8", (codes[0::2] | codes[1::2] << 4).astype(np.uint8).reshape(1, 1, 1, 16)),
        NAME + "_scales": ("U8", np.full((1, 1, 1), 130, np.uint8)),
    }
    block = values(named(unpacked(tmp_path, tensors), NAME))[0].tolist()
    assert block == [130, *(j | j << 4 for j in range(16))]


def test_rows_cost_their_own_blocks_only(tmp_path: Path) -> None:
    tensors, _ = made(rows=64)
    found = named(unpacked(tmp_path, tensors, quant_method="mxfp4"), NAME)
    assert bytes_read(found, 70, 4) == {NAME + "_blocks": 128, NAME + "_scales": 8}


@pytest.mark.parametrize(
    ("suffix", "dtype", "array"),
    [
        ("_scales", "U8", np.ones((3, 5, 3), np.uint8)),
        ("_scales", "F32", np.ones((3, 5, 2), np.float32)),
        ("_blocks", "U8", np.ones((3, 5, 2, 8), np.uint8)),
        ("_blocks", "I32", np.ones((3, 5, 2, 16), np.int32)),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, suffix: str, dtype: str, array: Array) -> None:
    tensors, _ = made()
    with pytest.raises(core.SnugError, match="cannot be unpacked"):
        unpacked(tmp_path, tensors | {NAME + suffix: (dtype, array)}, quant_method="mxfp4")


def test_missing_scales_are_named(tmp_path: Path) -> None:
    tensors, _ = made()
    del tensors[NAME + "_scales"]
    with pytest.raises(core.SnugError, match="down_proj_scales is missing"):
        unpacked(tmp_path, tensors, quant_method="mxfp4")
