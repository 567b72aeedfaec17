"""AWQ checkpoints, packed here nibble by nibble as AutoAWQ does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from tests.core.sources.checkpoints import (
    Array,
    Tensors,
    assert_folds_to,
    bytes_read,
    floats,
    integers,
    named,
    unpacked,
)

BASE = "model.layers.0.mlp.down_proj"
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
SETTINGS = {"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm", "zero_point": True}


def pack(numbers: Array) -> Array:
    """[n, 8 * m] -> int32 [n, m]."""
    found = np.zeros((len(numbers), numbers.shape[1] // 8), np.uint32)
    for place, column in enumerate(ORDER):
        found |= numbers[:, column::8].astype(np.uint32) << np.uint32(4 * place)
    return found.view(np.int32)


def made(inputs: int = 96, outputs: int = 40, size: int = 32) -> tuple[Tensors, Array]:
    groups = -(-inputs // size)
    codes, zeros = integers(0, 15, (inputs, outputs)), integers(0, 15, (groups, outputs), 3)
    scales = floats((groups, outputs), 4).astype(np.float16)
    tensors: Tensors = {
        BASE + ".qweight": ("I32", pack(codes)),
        BASE + ".qzeros": ("I32", pack(zeros)),
        BASE + ".scales": ("F16", scales),
    }
    weights = np.empty((outputs, inputs), np.float32)
    for i in range(inputs):
        weights[:, i] = (codes[i] - zeros[i // size]).astype(np.float32) * scales[i // size].astype(np.float32)
    return tensors, weights


@pytest.mark.parametrize(("inputs", "size"), [(96, 32), (80, 32), (96, 96)])
def test_nibbles_come_back_in_the_order_of_the_outputs(tmp_path: Path, inputs: int, size: int) -> None:
    tensors, weights = made(inputs, size=size)
    found = unpacked(tmp_path, tensors, **SETTINGS | {"group_size": size})
    assert found.method == "AWQ"
    assert [tensor.name for tensor in found.tensors] == [BASE + ".weight"]
    assert_folds_to(found.tensors[0], weights)


def test_it_is_told_from_gptq_without_settings(tmp_path: Path) -> None:
    tensors, weights = made()
    found = unpacked(tmp_path, tensors)
    assert found.method == "AWQ"
    assert_folds_to(found.tensors[0], weights)


def test_rows_cost_their_own_part_of_every_stored_row(tmp_path: Path) -> None:
    tensors, _ = made(outputs=512)
    found = named(unpacked(tmp_path, tensors, **SETTINGS), BASE + ".weight")
    assert bytes_read(found, 100, 8) == {
        BASE + ".qweight": 96 * 2 * 4,
        BASE + ".qzeros": 3 * 2 * 4,
        BASE + ".scales": 3 * 8 * 2,
    }


@pytest.mark.parametrize("settings", [{"version": "gemv"}, {"bits": 8}, {"bits": "x"}, {"version": "marlin"}])
def test_other_layouts_are_refused_by_name(tmp_path: Path, settings: dict[str, Any]) -> None:
    tensors, _ = made()
    with pytest.raises(core.SnugError, match=str(*settings.values())):
        unpacked(tmp_path, tensors, **SETTINGS | settings)


@pytest.mark.parametrize(
    ("name", "dtype", "array"),
    [
        (".scales", "F16", np.ones((3, 8), np.float16)),
        (".scales", "F16", np.ones((5, 40), np.float16)),
        (".qzeros", "I32", np.ones((3, 4), np.int32)),
        (".qweight", "I64", np.ones((96, 5), np.int64)),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, name: str, dtype: str, array: Array) -> None:
    tensors, _ = made()
    with pytest.raises(core.SnugError, match="cannot be unpacked"):
        unpacked(tmp_path, tensors | {BASE + name: (dtype, array)}, **SETTINGS)


def test_scales_that_divide_activations_are_refused_not_forgotten(tmp_path: Path) -> None:
    tensors, _ = made()
    tensors["transformer.h.0.mlp.act.scales"] = ("F16", np.ones(4, np.float16))
    with pytest.raises(core.SnugError, match=r"act\.scales belongs to no"):
        unpacked(tmp_path, tensors, **SETTINGS)
