"""BitNet b1.58 weights packed offline, in both senses of their scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from tests.core.sources.checkpoints import Array, Tensors, assert_folds_to, bytes_read, integers, named, unpacked

NAME = "model.layers.0.self_attn.q_proj.weight"


def made(rows: int = 20, columns: int = 12, scale: float = 1.375) -> tuple[Tensors, Array]:
    codes = integers(-1, 1, (rows, columns))
    packed = np.zeros((rows // 4, columns), np.uint8)
    for row in range(rows):
        packed[row % (rows // 4)] |= ((codes[row] + 1) << 2 * (row // (rows // 4))).astype(np.uint8)
    bits = (np.array([scale], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return {NAME: ("U8", packed), NAME + "_scale": ("BF16", bits)}, codes.astype(np.float32)


def test_the_plain_scale_divides(tmp_path: Path) -> None:
    tensors, codes = made()
    found = unpacked(tmp_path, tensors, quant_method="bitnet")
    assert found.method == "BitNet b1.58"
    assert "TQ1_0" in found.notes[0]
    assert_folds_to(named(found, NAME), codes / np.float32(1.375))


def test_the_scale_of_an_automatic_layer_multiplies(tmp_path: Path) -> None:
    tensors, codes = made()
    settings: dict[str, Any] = {"linear_class": "autobitlinear", "quantization_mode": "offline"}
    found = unpacked(tmp_path, tensors, quant_method="bitnet", **settings)
    assert_folds_to(named(found, NAME), codes * np.float32(1.375))


def test_weights_not_packed_yet_go_over_with_a_note(tmp_path: Path) -> None:
    tensors: Tensors = {NAME: ("F32", np.ones((4, 4), np.float32))}
    found = unpacked(tmp_path, tensors, quant_method="bitnet", quantization_mode="online")
    assert found.tensors[0].packed is None
    assert found.method is None
    assert "stored unquantized" in found.notes[0]


def test_rows_cost_their_own_bytes_only(tmp_path: Path) -> None:
    tensors, _ = made(rows=256)
    found = named(unpacked(tmp_path, tensors, quant_method="bitnet"), NAME)
    assert bytes_read(found, 62, 4) == {NAME: 48, NAME + "_scale": 2}


def test_a_missing_or_strange_scale_is_refused(tmp_path: Path) -> None:
    tensors, _ = made()
    with pytest.raises(core.SnugError, match="not one number"):
        unpacked(tmp_path, tensors | {NAME + "_scale": ("F32", np.ones(2, np.float32))}, quant_method="bitnet")
    with pytest.raises(core.SnugError, match="weight_scale is missing"):
        unpacked(tmp_path, {NAME: tensors[NAME]}, quant_method="bitnet")
