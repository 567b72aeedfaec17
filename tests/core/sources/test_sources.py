"""Which checkpoints are read, which are refused, and what the user is told."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core.model import TensorInfo
from core.sources import unpack
from tests.core.sources.checkpoints import Counted, Tensors, floats, named, unpacked, write
from tests.models import write_json

PLAIN: Tensors = {"model.norm.weight": ("F32", np.ones(8, np.float32))}
NAME = "model.layers.0.mlp.up_proj.weight"
FP8: Tensors = {
    **PLAIN,
    NAME: ("F8_E4M3", np.ones((4, 8), np.uint8)),
    NAME + "_scale": ("F32", np.ones(1, np.float32)),
}


def test_an_unquantized_checkpoint_goes_over_unchanged(tmp_path: Path) -> None:
    sources = write(tmp_path, PLAIN)
    found = unpack({}, sources)
    assert (found.tensors, found.notes, found.method) == (sources, (), None)


def test_the_warning_says_what_it_is_and_how_many_tensors(tmp_path: Path) -> None:
    (note,) = unpacked(tmp_path, FP8, quant_method="fp8").notes
    assert note.startswith("This checkpoint is quantized already (FP8; 1 of its tensors)")
    assert "adds its loss" in note


def test_the_model_that_the_card_names_is_in_the_warning(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nbase_model: Qwen/Qwen3-8B\n---\n")
    assert "made from Qwen/Qwen3-8B" in unpacked(tmp_path, FP8, quant_method="fp8").notes[0]


@pytest.mark.parametrize("method", ["aqlm", "hqq", "quip", "eetq", "vptq", "higgs", "torchao", "spqr", "brand-new"])
def test_methods_that_cannot_be_read_are_refused_by_name(tmp_path: Path, method: str) -> None:
    with pytest.raises(core.SnugError, match=method) as caught:
        unpacked(tmp_path, PLAIN, quant_method=method)
    assert "full-precision model" in caught.value.hint
    assert "GPTQ" in caught.value.hint


def test_a_method_that_cannot_be_read_names_the_original_too(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nbase_model: Qwen/Qwen3-8B\n---\n")
    with pytest.raises(core.SnugError) as caught:
        unpacked(tmp_path, PLAIN, quant_method="hqq")
    assert "Qwen/Qwen3-8B" in caught.value.hint


@pytest.mark.parametrize("settings", ["fp8", ["fp8"], 8])
def test_settings_that_are_no_table_are_refused(tmp_path: Path, settings: Any) -> None:
    with pytest.raises(core.SnugError, match="no table of settings"):
        unpack({"quantization_config": settings}, write(tmp_path, PLAIN))


def test_settings_that_name_no_method_are_refused(tmp_path: Path) -> None:
    with pytest.raises(core.SnugError, match="unknown"):
        unpacked(tmp_path, PLAIN, bits=4)


def test_settings_of_the_language_part_of_a_larger_model_count(tmp_path: Path) -> None:
    config = {"text_config": {"quantization_config": {"quant_method": "fp8"}}}
    assert unpack(config, write(tmp_path, FP8)).method == "FP8"


@pytest.mark.parametrize(
    ("file", "settings", "method"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 32}, "GPTQ"),
        ("quant_config.json", {"w_bit": 4, "q_group_size": 32, "version": "GEMM"}, "AWQ"),
        ("hf_quant_config.json", {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}, "ModelOpt"),
    ],
)
def test_settings_may_be_in_a_file_of_their_own(
    tmp_path: Path, file: str, settings: dict[str, Any], method: str
) -> None:
    write_json(tmp_path / file, settings)
    if method == "ModelOpt":
        assert unpacked(tmp_path, FP8).method == method
        return
    words = 8 if method == "AWQ" else 32
    tensors: Tensors = {
        "a.qweight": ("I32", np.zeros((32 if method == "AWQ" else 4, words), np.int32)),
        "a.qzeros": ("I32", np.zeros((1, 8 if method == "AWQ" else 4), np.int32)),
        "a.scales": ("F16", np.ones((1, 64 if method == "AWQ" else 32), np.float16)),
    }
    assert unpacked(tmp_path, tensors).method == method


def test_a_broken_file_of_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "quantize_config.json").write_text("{")
    with pytest.raises(core.SnugError, match=r"quantize_config\.json"):
        unpacked(tmp_path, PLAIN)


@pytest.mark.parametrize(("packing", "method"), [("auto_round:auto_gptq", "GPTQ"), ("auto_round:auto_awq", "AWQ")])
def test_autoround_is_read_where_it_packs_as_others_do(tmp_path: Path, packing: str, method: str) -> None:
    found = unpacked(tmp_path, PLAIN, quant_method="auto-round", packing_format=packing)
    assert method in found.notes[0]
    with pytest.raises(core.SnugError, match="auto-round, auto_round:fp8"):
        unpacked(tmp_path, PLAIN, quant_method="intel/auto-round", packing_format="auto_round:fp8")


def test_what_is_left_of_a_layer_not_understood_is_refused(tmp_path: Path) -> None:
    tensors = FP8 | {"odd.weight": ("U8", np.ones(4, np.uint8)), "odd.weight_scale": ("F32", np.ones(1, np.float32))}
    with pytest.raises(core.SnugError, match=r"odd\.weight_scale belongs to no"):
        unpacked(tmp_path, tensors, quant_method="fp8")


def test_a_weight_both_quantized_and_plain_is_refused(tmp_path: Path) -> None:
    base = "model.layers.0.mlp.up_proj"
    tensors: Tensors = {
        base + ".weight": ("F32", np.ones((4, 32), np.float32)),
        base + ".weight_packed": ("U8", np.ones((4, 16), np.uint8)),
        base + ".weight_scale": ("U8", np.ones((4, 1), np.uint8)),
    }
    with pytest.raises(core.SnugError, match="both quantized and plain"):
        unpacked(tmp_path, tensors, quant_method="compressed-tensors")


def test_tensors_of_an_adapter_are_refused_with_its_model_named(tmp_path: Path) -> None:
    tensors: Tensors = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": PLAIN["model.norm.weight"]}
    with pytest.raises(core.SnugError, match=r"LoRA adapter.*meta-llama/Llama-3\.2-1B") as caught:
        unpack({"base_model_name_or_path": "meta-llama/Llama-3.2-1B"}, write(tmp_path, tensors))
    assert "merge_and_unload" in caught.value.hint


def test_a_file_cut_short_in_a_state_is_refused(tmp_path: Path) -> None:
    key = NAME + ".quant_state.bitsandbytes__nf4"
    tensors: Tensors = {
        NAME: ("U8", np.ones((8, 1), np.uint8)),
        NAME + ".absmax": ("F32", np.ones(1, np.float32)),
        NAME + ".quant_map": ("F32", np.ones(16, np.float32)),
        key: ("U8", np.ones(40, np.uint8)),
    }
    sources = write(tmp_path, tensors)
    os.truncate(sources[0].file, sources[0].file.stat().st_size - 10)
    with pytest.raises(core.SnugError, match="ends in the middle"):
        unpack({}, sources)


def test_states_are_read_through_the_reader_that_is_given(tmp_path: Path) -> None:
    reader = Counted()
    tensors: Tensors = {
        NAME + "_packed": ("I32", np.zeros((2, 4), np.int32)),
        NAME + "_scale": ("F16", np.ones((2, 1), np.float16)),
        NAME + "_shape": ("I64", np.array([2, 32])),
    }
    unpack({"quantization_config": {"quant_method": "compressed-tensors"}}, write(tmp_path, tensors), reader)
    assert reader.bytes == {NAME + "_shape": 16}


def test_the_last_rows_of_a_tensor_larger_than_memory_take_little_of_it() -> None:
    """64 GiB of FP8: what is asked for is all that is read and held."""
    rows, columns = 1 << 22, 1 << 14
    codes = TensorInfo(NAME, "F8_E4M3", (rows, columns), Path("model.safetensors"), 0, rows * columns)
    scale = TensorInfo(NAME + "_scale_inv", "F32", (rows // 128, 128), codes.file, 0, rows * 4)

    def read(tensor: TensorInfo, first: int, count: int) -> Any:
        assert first + count == tensor.nbytes
        return np.full(count, 0x38, np.uint8)  # 1.0 in E4M3

    (tensor,) = unpack({"quantization_config": {"quant_method": "fp8"}}, [codes, scale]).tensors
    assert tensor.packed
    tracemalloc.start()
    found = tensor.packed.rows(read, rows - 64, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (64, columns)
    assert peak < 4 * found.nbytes


def test_random_scales_survive_being_cut_anywhere(tmp_path: Path) -> None:
    tensors: Tensors = {
        NAME: ("F8_E4M3", np.arange(256, dtype=np.uint8).reshape(16, 16) % 0x7F),
        NAME + "_scale_inv": ("F32", floats((4, 2))),
    }
    found = named(unpacked(tmp_path, tensors, quant_method="fp8", weight_block_size=[4, 8]), NAME)
    assert found.packed
    pieces = [found.packed.rows(Counted(), row, 1) for row in range(16)]
    assert np.array_equal(np.concatenate(pieces), found.packed.rows(Counted(), 0, 16))
