"""bitsandbytes checkpoints, quantized by bitsandbytes itself on the CPU, and one packed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bitsandbytes.functional as bnb
import numpy as np
import pytest
import torch

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

NAME = "model.layers.0.mlp.gate_proj.weight"
SETTINGS = {"quant_method": "bitsandbytes", "load_in_4bit": True}
DTYPES = {torch.float32: "F32", torch.uint8: "U8"}


def quantized(
    shape: tuple[int, ...], kind: str = "nf4", *, nested: bool = False, block: int = 64
) -> tuple[Tensors, Array]:
    """The tensors that bitsandbytes writes, and the float32 values that it reads back."""
    weights = torch.from_numpy(floats(shape))
    packed, state = bnb.quantize_4bit(weights, blocksize=block, quant_type=kind, compress_statistics=nested)
    tensors: Tensors = {NAME: ("U8", packed.numpy())}
    for key, value in state.as_dict(packed=True).items():
        tensors[f"{NAME}.{key}"] = (DTYPES[value.dtype], value.numpy())
    return tensors, bnb.dequantize_4bit(packed, state).numpy()


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("shape", [(64, 128), (7, 64), (9, 50)])
def test_values_are_those_of_bitsandbytes(tmp_path: Path, kind: str, nested: bool, shape: tuple[int, ...]) -> None:
    tensors, exact = quantized(shape, kind, nested=nested)
    found = unpacked(tmp_path, tensors, **SETTINGS)
    assert found.method == "bitsandbytes"
    assert [tensor.name for tensor in found.tensors] == [NAME]
    assert_folds_to(found.tensors[0], exact)


@pytest.mark.parametrize("nested", [False, True])
def test_blocks_run_on_from_row_to_row(tmp_path: Path, nested: bool) -> None:
    """bitsandbytes 0.50 on the CPU encodes rows of 96 so, and decodes them as if each began a block."""
    tensors, _ = quantized((7, 96), nested=nested)
    found = named(unpacked(tmp_path, tensors, **SETTINGS), NAME)
    codes = tensors[NAME][1].reshape(-1)
    absmax = tensors[NAME + ".absmax"][1]
    if nested:
        state = json.loads(tensors[NAME + ".quant_state.bitsandbytes__nf4"][1].tobytes())
        levels, scale = (tensors[NAME + end][1] for end in (".nested_quant_map", ".nested_absmax"))
        absmax = levels[absmax] * scale + np.float32(state["nested_offset"])
    exact = np.empty(7 * 96, np.float32)
    for i in range(7 * 96):
        code = codes[i // 2] & 15 if i % 2 else codes[i // 2] >> 4
        exact[i] = tensors[NAME + ".quant_map"][1][code] * absmax[i // 64]
    assert_folds_to(found, exact.reshape(7, 96))
    assert np.abs(exact.reshape(7, 96) - floats((7, 96))).max() < 0.16 * absmax.max()


@pytest.mark.parametrize("block", [32, 128])
def test_every_block_size_is_read(tmp_path: Path, block: int) -> None:
    tensors, exact = quantized((40, 256), block=block)
    assert_folds_to(named(unpacked(tmp_path, tensors, **SETTINGS), NAME), exact)


def test_more_than_256_nested_magnitudes_are_read(tmp_path: Path) -> None:
    tensors, exact = quantized((100, 192), nested=True)
    assert tensors[NAME + ".nested_absmax"][1].shape == (2,)
    assert_folds_to(named(unpacked(tmp_path, tensors, **SETTINGS), NAME), exact)


def test_codes_packed_by_hand_are_read_high_nibble_first(tmp_path: Path) -> None:
    codes, absmax, levels = integers(0, 15, (3, 64)), np.abs(floats((3,), 5)), np.sort(floats((16,), 6))
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [3, 64]}).encode()
    tensors: Tensors = {
        NAME: ("U8", (codes[:, 0::2] << 4 | codes[:, 1::2]).astype(np.uint8).reshape(-1, 1)),
        NAME + ".absmax": ("F32", absmax),
        NAME + ".quant_map": ("F32", levels),
        NAME + ".quant_state.bitsandbytes__nf4": ("U8", np.frombuffer(state, np.uint8)),
    }
    assert_folds_to(named(unpacked(tmp_path, tensors), NAME), levels[codes] * absmax[:, None])


def test_codes_stored_as_another_type_are_the_same_bytes(tmp_path: Path) -> None:
    tensors, exact = quantized((8, 64))
    tensors[NAME] = ("BF16", tensors[NAME][1].reshape(-1).view(np.uint16).reshape(-1, 1))
    assert_folds_to(named(unpacked(tmp_path, tensors, **SETTINGS), NAME), exact)


def test_rows_cost_their_own_codes_and_magnitudes_only(tmp_path: Path) -> None:
    tensors, _ = quantized((256, 128))
    found = named(unpacked(tmp_path, tensors, **SETTINGS), NAME)
    assert bytes_read(found, 100, 4) == {NAME: 4 * 64, NAME + ".absmax": 4 * 2 * 4, NAME + ".quant_map": 64}


def test_int8_values_are_those_of_bitsandbytes(tmp_path: Path) -> None:
    codes, magnitudes, _ = bnb.int8_vectorwise_quant(torch.from_numpy(floats((6, 40))).half())
    exact = bnb.int8_vectorwise_dequant(codes, magnitudes).numpy()
    base = NAME.removesuffix(".weight")
    tensors: Tensors = {
        NAME: ("I8", codes.numpy()),
        base + ".SCB": ("F32", magnitudes.numpy()),
        base + ".weight_format": ("U8", np.zeros((), np.uint8)),
    }
    found = unpacked(tmp_path, tensors, quant_method="bitsandbytes", load_in_8bit=True)
    assert [tensor.name for tensor in found.tensors] == [NAME]
    assert_folds_to(found.tensors[0], exact)
    tensors[base + ".weight_format"] = ("U8", np.full((), 2, np.uint8))
    with pytest.raises(core.SnugError, match="certain GPU"):
        unpacked(tmp_path, tensors, quant_method="bitsandbytes")


def with_state(**changes: Any) -> Tensors:
    tensors, _ = quantized((8, 64), nested=True)
    key = NAME + ".quant_state.bitsandbytes__nf4"
    state = json.loads(tensors[key][1].tobytes()) | changes
    return tensors | {key: ("U8", np.frombuffer(json.dumps(state).encode(), np.uint8))}


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [8, 65]},
        {"shape": [-8, -64]},
        {"shape": []},
        {"shape": "8x64"},
        {"blocksize": 32},
        {"blocksize": 0},
        {"blocksize": True},
        {"nested_blocksize": 4},
        {"nested_blocksize": None},
        {"nested_offset": "much"},
    ],
)
def test_a_state_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(core.SnugError, match="cannot be unpacked"):
        unpacked(tmp_path, with_state(**changes), **SETTINGS)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[]", b"12", b"[" * 60000])
def test_a_state_that_is_no_json_table_is_refused(tmp_path: Path, text: bytes) -> None:
    tensors, _ = quantized((8, 64))
    tensors[NAME + ".quant_state.bitsandbytes__nf4"] = ("U8", np.frombuffer(text, np.uint8))
    with pytest.raises(core.SnugError, match="cannot be unpacked"):
        unpacked(tmp_path, tensors, **SETTINGS)


@pytest.mark.parametrize("name", [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ""])
def test_a_missing_part_is_named(tmp_path: Path, name: str) -> None:
    tensors, _ = quantized((8, 64), nested=True)
    del tensors[NAME + name]
    with pytest.raises(core.SnugError, match="is missing"):
        unpacked(tmp_path, tensors, **SETTINGS)


def test_magnitudes_without_their_state_are_refused(tmp_path: Path) -> None:
    tensors, _ = quantized((8, 64))
    del tensors[NAME + ".quant_state.bitsandbytes__nf4"]
    with pytest.raises(core.SnugError, match="belongs to no quantized weight"):
        unpacked(tmp_path, tensors, **SETTINGS)
