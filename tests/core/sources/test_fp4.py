"""NVFP4 and MXFP4 weights in rows: ModelOpt, Quark and compressed-tensors."""

from __future__ import annotations

from pathlib import Path

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

BASE = "model.layers.0.mlp.up_proj"
NAME = BASE + ".weight"
LEVELS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def codes(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Bytes, the first code in the low nibble, and the levels of all codes."""
    found = integers(0, 15, shape)
    return (found[:, 0::2] | found[:, 1::2] << 4).astype(np.uint8), LEVELS[found]


def e4m3(shape: tuple[int, int]) -> tuple[Array, Array]:
    made = (torch.from_numpy(floats(shape, 3)).abs() * 100).to(torch.float8_e4m3fn)
    return made.view(torch.uint8).numpy(), made.float().numpy()


def test_modelopts_second_scale_multiplies(tmp_path: Path) -> None:
    stored, levels = codes((5, 48))
    scale, exact = e4m3((5, 3))
    tensors: Tensors = {
        NAME: ("U8", stored),
        NAME + "_scale": ("F8_E4M3", scale),
        NAME + "_scale_2": ("F32", np.full((), 0.0123, np.float32)),
        BASE + ".input_scale": ("F32", np.ones((), np.float32)),
    }
    expected = levels * np.repeat(exact * np.float32(0.0123), 16, axis=1)
    found = unpacked(tmp_path, tensors, quant_method="modelopt", quant_algo="NVFP4")
    assert found.method == "ModelOpt"
    assert [tensor.name for tensor in found.tensors] == [NAME]
    assert_folds_to(found.tensors[0], expected)
    assert_folds_to(named(unpacked(tmp_path, tensors), NAME), expected)


def test_modelopts_fp8_layers_may_stand_beside(tmp_path: Path) -> None:
    made = torch.from_numpy(floats((4, 32))).to(torch.float8_e4m3fn)
    tensors: Tensors = {
        NAME: ("F8_E4M3", made.view(torch.uint8).numpy()),
        NAME + "_scale": ("F32", np.full((), 0.5, np.float32)),
    }
    found = unpacked(tmp_path, tensors, quant_method="modelopt", quant_algo="MIXED_PRECISION")
    assert_folds_to(named(found, NAME), made.float().numpy() * np.float32(0.5))


def test_compressed_tensors_global_scale_divides(tmp_path: Path) -> None:
    stored, levels = codes((5, 48))
    scale, exact = e4m3((5, 3))
    tensors: Tensors = {
        NAME + "_packed": ("U8", stored),
        NAME + "_scale": ("F8_E4M3", scale),
        NAME + "_global_scale": ("F32", np.array([317.7], np.float32)),
    }
    expected = levels * np.repeat(exact / np.float32(317.7), 16, axis=1)
    found = unpacked(tmp_path, tensors, quant_method="compressed-tensors", format="nvfp4-pack-quantized")
    assert_folds_to(named(found, NAME), expected)


@pytest.mark.parametrize(("method", "suffix"), [("compressed-tensors", "_packed"), ("quark", "")])
def test_mxfp4_scales_are_powers_of_two(tmp_path: Path, method: str, suffix: str) -> None:
    stored, levels = codes((5, 64))
    exponents = integers(0, 140, (5, 2)).astype(np.uint8)
    tensors: Tensors = {NAME + suffix: ("U8", stored), NAME + "_scale": ("U8", exponents)}
    powers = np.exp2(exponents.astype(np.float64) - 127).astype(np.float32)
    found = unpacked(tmp_path, tensors, quant_method=method)
    assert_folds_to(named(found, NAME), levels * np.repeat(powers, 32, axis=1))


def test_rows_cost_their_own_codes_and_scales_only(tmp_path: Path) -> None:
    tensors: Tensors = {NAME: ("U8", codes((64, 64))[0]), NAME + "_scale": ("U8", np.full((64, 2), 127, np.uint8))}
    found = named(unpacked(tmp_path, tensors, quant_method="quark"), NAME)
    assert bytes_read(found, 10, 3) == {NAME: 96, NAME + "_scale": 6}


@pytest.mark.parametrize(
    ("columns", "scale", "more"),
    [
        (48, ("F8_E4M3", np.ones((4, 3), np.uint8)), {}),
        (48, ("F8_E4M3", np.ones((4, 2), np.uint8)), {"_scale_2": ("F32", np.ones(1, np.float32))}),
        (48, ("F8_E4M3", np.ones((4, 3), np.uint8)), {"_scale_2": ("F32", np.ones(2, np.float32))}),
        (48, ("U8", np.ones((4, 3), np.uint8)), {}),
        (64, ("F32", np.ones((4, 2), np.float32)), {}),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    tmp_path: Path, columns: int, scale: tuple[str, Array], more: Tensors
) -> None:
    tensors: Tensors = {NAME: ("U8", codes((4, columns))[0]), NAME + "_scale": scale}
    tensors |= {NAME + suffix: array for suffix, array in more.items()}
    with pytest.raises(core.SnugError, match="cannot be unpacked"):
        unpacked(tmp_path, tensors, quant_method="modelopt")


def test_weights_scaled_for_their_inputs_are_refused(tmp_path: Path) -> None:
    tensors: Tensors = {
        NAME: ("U8", codes((4, 64))[0]),
        NAME + "_scale": ("U8", np.full((4, 2), 127, np.uint8)),
        BASE + ".pre_quant_scale": ("F32", np.ones(64, np.float32)),
    }
    with pytest.raises(core.SnugError, match="pre_quant_scale"):
        unpacked(tmp_path, tensors, quant_method="modelopt")
