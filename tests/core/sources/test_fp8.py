"""FP8 checkpoints: torch's own codes, scales for the tensor, the row, and blocks with ragged edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import core
from core.sources import unpack
from tests.core.sources.checkpoints import (
    Array,
    Tensors,
    assert_folds_to,
    bytes_read,
    floats,
    named,
    unpacked,
    values,
    write,
)

ROWS, COLUMNS = 150, 260
NAME = "model.layers.0.self_attn.q_proj.weight"
BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}


def codes(shape: tuple[int, ...], dtype: torch.dtype = torch.float8_e4m3fn) -> tuple[Array, Array]:
    """FP8 codes and the float32 values that torch gives them."""
    made = torch.from_numpy(floats(shape) * 20).to(dtype)
    return made.view(torch.uint8).numpy(), made.float().numpy()


def by_hand(exact: Array, scale: Array, rows: int, columns: int) -> Array:
    """Weight by weight, in float32."""
    out = np.empty_like(exact)
    for i in range(exact.shape[0]):
        for j in range(0, exact.shape[1], columns):
            out[i, j : j + columns] = exact[i, j : j + columns] * scale[i // rows, j // columns]
    return out


def test_blocks_of_128_with_ragged_edges_are_multiplied_by_their_scales(tmp_path: Path) -> None:
    stored, exact = codes((ROWS, COLUMNS))
    scale = np.abs(floats((2, 3), 3))
    found = unpacked(tmp_path, {NAME: ("F8_E4M3", stored), NAME + "_scale_inv": ("F32", scale)}, **BLOCKS)
    assert [tensor.name for tensor in found.tensors] == [NAME]
    assert found.method == "FP8"
    assert_folds_to(found.tensors[0], by_hand(exact, scale, 128, 128))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_scale_counts_for_the_whole_tensor(tmp_path: Path, shape: tuple[int, ...]) -> None:
    stored, exact = codes((5, 24))
    scale = np.full(shape, 0.37, np.float32)
    found = unpacked(tmp_path, {NAME: ("F8_E4M3", stored), NAME + "_scale": ("F32", scale)}, quant_method="fp8")
    assert_folds_to(named(found, NAME), exact * np.float32(0.37))


@pytest.mark.parametrize("shape", [(7,), (7, 1)])
def test_a_scale_a_row_counts_for_its_row(tmp_path: Path, shape: tuple[int, ...]) -> None:
    stored, exact = codes((7, 24))
    scale = floats((7,), 4)
    tensors: Tensors = {NAME: ("F8_E4M3", stored), NAME + "_scale": ("F32", scale.reshape(shape))}
    found = unpacked(tmp_path, tensors, quant_method="fbgemm_fp8")
    assert_folds_to(named(found, NAME), exact * scale[:, None])


def test_scales_may_be_bfloat16_or_powers_of_two(tmp_path: Path) -> None:
    stored, exact = codes((130, 130))
    exponents = np.array([[120, 127], [130, 0]], np.uint8)
    tensors: Tensors = {
        "a.weight": ("F8_E4M3", stored),
        "a.weight_scale_inv": ("F8_E8M0", exponents),
        "b.weight": ("F8_E4M3", stored),
        "b.weight_scale_inv": ("BF16", np.array([0x3FC0], np.uint16)),
    }
    found = unpacked(tmp_path, tensors, **BLOCKS)
    powers = np.exp2(exponents.astype(np.float64) - 127).astype(np.float32)
    assert_folds_to(named(found, "a.weight"), by_hand(exact, powers, 128, 128))
    assert_folds_to(named(found, "b.weight"), exact * np.float32(1.5))


def test_blocks_of_another_size_are_taken_from_the_settings(tmp_path: Path) -> None:
    stored, exact = codes((40, 50))
    scale = floats((2, 4), 5)
    found = unpacked(
        tmp_path,
        {NAME: ("F8_E4M3", stored), NAME + "_scale_inv": ("F32", scale)},
        quant_method="fp8",
        weight_block_size=[32, 16],
    )
    assert_folds_to(named(found, NAME), by_hand(exact, scale, 32, 16))


def test_stacked_experts_have_stacked_scales(tmp_path: Path) -> None:
    stored, exact = codes((3, 130, 140))
    scale = floats((3, 2, 2), 6)
    name = "model.layers.0.mlp.experts.gate_up_proj"
    found = unpacked(tmp_path, {name: ("F8_E4M3", stored), name + "_scale_inv": ("F32", scale)}, **BLOCKS)
    assert_folds_to(named(found, name), np.stack([by_hand(exact[e], scale[e], 128, 128) for e in range(3)]))


def test_stacked_experts_may_have_a_scale_each(tmp_path: Path) -> None:
    stored, exact = codes((3, 6, 16))
    scale = floats((3,), 6)
    tensors: Tensors = {"experts.down_proj": ("F8_E4M3", stored), "experts.down_proj_scale": ("F32", scale)}
    found = unpacked(tmp_path, tensors, quant_method="fp8")
    assert_folds_to(named(found, "experts.down_proj"), exact * scale[:, None, None])


def test_e5m2_codes_are_torchs(tmp_path: Path) -> None:
    stored, exact = codes((4, 16), torch.float8_e5m2)
    tensors: Tensors = {NAME: ("F8_E5M2", stored), NAME + "_scale": ("F32", np.ones(1, np.float32))}
    assert_folds_to(named(unpacked(tmp_path, tensors, quant_method="fp8"), NAME), exact)


def test_scales_of_activations_and_of_the_cache_are_left_out_and_counted(tmp_path: Path) -> None:
    stored, _ = codes((4, 16))
    one = ("F32", np.ones(1, np.float32))
    tensors: Tensors = {
        NAME: ("F8_E4M3", stored),
        NAME + "_scale": one,
        NAME.replace("weight", "input_scale"): one,
        "model.layers.0.self_attn.k_scale": one,
        "model.norm.weight": ("BF16", np.zeros(16, np.uint16)),
    }
    found = unpacked(tmp_path, tensors, quant_method="fp8", activation_scheme="static")
    assert [tensor.name for tensor in found.tensors] == [NAME, "model.norm.weight"]
    assert "2 scales" in found.notes[1]


def test_mistrals_names_are_known(tmp_path: Path) -> None:
    stored, exact = codes((4, 16))
    tensors: Tensors = {
        "layers.0.attention.wq.weight": ("F8_E4M3", stored),
        "layers.0.attention.wq.qscale_weight": ("F32", np.full((), 0.5, np.float32)),
        "layers.0.attention.wq.qscale_act": ("F32", np.ones((), np.float32)),
    }
    found = unpacked(tmp_path, tensors, quant_method="fp8")
    assert len(found.tensors) == 1
    assert_folds_to(found.tensors[0], exact * np.float32(0.5))


def test_a_plain_cast_without_settings_and_scales_is_read_as_it_is(tmp_path: Path) -> None:
    stored, exact = codes((4, 16))
    found = unpacked(tmp_path, {NAME: ("F8_E4M3", stored)})
    assert found.method == "FP8"
    assert_folds_to(named(found, NAME), exact)


def test_a_code_that_is_no_number_stays_none_for_encode_to_refuse(tmp_path: Path) -> None:
    tensors: Tensors = {"a.weight": ("F8_E4M3", np.full((1, 2), 0x7F, np.uint8))}
    tensors["a.weight_scale"] = ("F32", np.ones(1, np.float32))
    assert np.isnan(values(named(unpacked(tmp_path, tensors, quant_method="fp8"), "a.weight"))).all()


def test_rows_cost_their_own_codes_and_scales_only(tmp_path: Path) -> None:
    stored, _ = codes((512, 256))
    tensors: Tensors = {NAME: ("F8_E4M3", stored), NAME + "_scale_inv": ("F32", floats((4, 2)))}
    found = named(unpacked(tmp_path, tensors, **BLOCKS), NAME)
    assert found.nbytes == 512 * 256 + 32
    assert bytes_read(found, 130, 10) == {NAME: 2560, NAME + "_scale_inv": 8}
    assert bytes_read(found, 120, 10) == {NAME: 2560, NAME + "_scale_inv": 16}


@pytest.mark.parametrize("shape", [(3, 2), (2, 5), (1, 2, 2), (0,), (0, 1), (2, 0)])
def test_a_scale_that_does_not_fit_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    stored, _ = codes((256, 256))
    tensors: Tensors = {NAME: ("F8_E4M3", stored), NAME + "_scale_inv": ("F32", np.ones(shape, np.float32))}
    with pytest.raises(core.SnugError, match=r"q_proj\.weight cannot be unpacked"):
        unpacked(tmp_path, tensors, **BLOCKS)


def test_a_missing_scale_is_named(tmp_path: Path) -> None:
    stored, _ = codes((4, 16))
    with pytest.raises(core.SnugError, match="weight_scale_inv is missing"):
        unpacked(tmp_path, {NAME: ("F8_E4M3", stored)}, **BLOCKS)


def test_a_scale_of_strange_type_is_refused(tmp_path: Path) -> None:
    stored, _ = codes((4, 16))
    sources = write(tmp_path, {NAME: ("F8_E4M3", stored), NAME + "_scale": ("BOOL", np.ones(1, np.uint8))})
    with pytest.raises(core.SnugError, match="BOOL"):
        unpack({"quantization_config": {"quant_method": "fp8"}}, sources)
