"""Opening what people point at, and refusing it in words where it cannot work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core.gguf import encode_header
from tests.models import (
    SAMPLE,
    llama_shapes,
    make_llama,
    to_bits,
    weights,
    write_json,
    write_safetensors,
    write_weights,
)


def refused(path: Path, words: str) -> core.SnugError:
    with pytest.raises(core.SnugError, match=words) as caught:
        core.open_model(path)
    assert caught.value.hint, "says what to do"
    assert caught.value.exit_code == 2
    return caught.value


def test_the_sample_model_is_known_from_its_headers() -> None:
    model = core.open_model(SAMPLE)
    assert (model.family, model.architecture, model.dtype) == ("LlamaForCausalLM", "llama", "BF16")
    assert model.parameters == 2164480
    assert model.key("block_count") == 3
    assert model.keys["tokenizer.ggml.model"] == "llama"


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "does not exist")


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    refused(tmp_path, "not a model folder")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "holiday.jpg"
    file.write_bytes(b"\xff\xd8\xff")
    refused(file, "neither a model folder nor")


def test_weights_without_config_are_refused(tmp_path: Path) -> None:
    (make_llama(tmp_path) / "config.json").unlink()
    refused(tmp_path, "no config.json")


def test_a_folder_of_gguf_files_says_which_file_to_open(tmp_path: Path) -> None:
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    assert "model-Q4_K_M.gguf" in refused(tmp_path, "GGUF files").hint


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\x00\x01"])
def test_a_config_that_is_not_a_json_table_is_refused(tmp_path: Path, text: str) -> None:
    (make_llama(tmp_path) / "config.json").write_text(text)
    refused(tmp_path, "config.json")


def test_an_unsupported_family_is_named_with_the_nearest_supported_one(tmp_path: Path) -> None:
    error = refused(make_llama(tmp_path, architectures=["MistralForSequenceLM"]), "MistralForSequenceLM")
    assert "MistralForCausalLM" in error.hint


@pytest.mark.parametrize("architectures", [None, [], "LlamaForCausalLM", [3]])
def test_a_config_without_a_usable_family_is_refused(tmp_path: Path, architectures: Any) -> None:
    refused(make_llama(tmp_path, architectures=architectures), "not supported yet")


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "num_attention_heads"])
@pytest.mark.parametrize("value", [None, "many", -1, 0, 1.5, True])
def test_a_config_with_a_senseless_number_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    folder = make_llama(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {name: value}
    write_json(folder / "config.json", config)
    refused(folder, name)


def test_an_already_quantized_checkpoint_is_named(tmp_path: Path) -> None:
    refused(make_llama(tmp_path, quantization_config={"quant_method": "gptq"}), "gptq")


def test_pickles_alone_are_refused(tmp_path: Path) -> None:
    (make_llama(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    refused(tmp_path, "pickle")


def test_a_missing_tokenizer_says_which_files_to_add(tmp_path: Path) -> None:
    (make_llama(tmp_path) / "tokenizer.model").unlink()
    assert "tokenizer.json" in refused(tmp_path, "tokenizer").hint


def test_a_dtype_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    tensors = weights(llama_shapes(json.loads((folder / "config.json").read_text())))
    kinds = dict.fromkeys(tensors, "BF16")
    name = "model.layers.1.self_attn.v_proj.weight"
    tensors[name], kinds[name] = np.zeros(tensors[name].shape, np.uint8), "F8_E4M3"
    write_safetensors(folder / "model.safetensors", tensors, kinds)
    assert name in refused(folder, "F8_E4M3").message


def test_a_dtype_that_nobody_knows_is_named(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    tensors = weights(llama_shapes(json.loads((folder / "config.json").read_text())))
    kinds = dict.fromkeys(tensors, "BF16") | {"model.norm.weight": "F4_X"}
    write_safetensors(folder / "model.safetensors", tensors, kinds)
    refused(folder, "F4_X")


def test_a_tensor_without_a_place_is_an_error_not_a_loss(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    tensors = weights(llama_shapes(json.loads((folder / "config.json").read_text())))
    tensors["model.layers.0.self_attn.secret.weight"] = tensors["model.norm.weight"]
    write_weights(folder, tensors)
    refused(folder, "secret")


def test_buffers_that_every_converter_drops_are_dropped(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    tensors = weights(llama_shapes(json.loads((folder / "config.json").read_text())))
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = to_bits(np.ones(32), "BF16")
    write_weights(folder, tensors)
    assert len(core.open_model(folder).tensors) == 21


def test_a_layer_without_weights_is_noticed(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    tensors = weights(llama_shapes(json.loads((folder / "config.json").read_text())))
    write_weights(folder, {name: t for name, t in tensors.items() if "layers.1." not in name})
    refused(folder, "incomplete")


def test_a_missing_expert_is_noticed(tmp_path: Path) -> None:
    folder = make_llama(tmp_path, architectures=["MixtralForCausalLM"], num_local_experts=4, num_experts_per_tok=2)
    config = json.loads((folder / "config.json").read_text())
    tensors = weights(llama_shapes(config))
    write_weights(folder, {name: t for name, t in tensors.items() if ".0.block_sparse_moe.experts.2." not in name})
    refused(folder, "experts")


def test_config_and_weights_of_different_models_are_noticed(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | {"num_attention_heads": 7}
    write_json(folder / "config.json", config)
    refused(folder, "7 heads")


def test_a_readme_full_of_nonsense_does_not_stop_anything(tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "my-model")
    (folder / "README.md").write_text("---\nlicense: [}\n\x07: {{\n---\n")
    assert core.open_model(folder).parameters > 0


def test_one_of_the_folders_files_opens_the_folder(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    assert core.open_model(folder / "model.safetensors").path == folder
    assert core.open_model(folder / "config.json").path == folder


def test_a_gguf_opens_as_the_same_kind_of_thing(tmp_path: Path) -> None:
    out = tmp_path / "x.gguf"
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "F16", str(out)))
    assert isinstance(last, core.Done)
    model, source = core.open_model(out), core.open_model(SAMPLE)
    assert model.is_gguf
    assert model.parameters == source.parameters
    assert encode_header(model.metadata, []) == encode_header(source.metadata, [])
    assert [t.name for t in model.tensors] == [t.name for t in source.tensors]


def test_a_gguf_without_a_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.gguf"
    file.write_bytes(encode_header([], []))
    refused(file, "holds no model")
