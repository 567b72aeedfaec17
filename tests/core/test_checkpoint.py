"""Opening what people point at, and refusing it in words where it cannot work."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import core
from core.gguf import encode_header
from core.model import Metadata
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


def test_a_checkpoint_quantized_in_a_way_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    refused(make_llama(tmp_path, quantization_config={"quant_method": "aqlm"}), "aqlm")


def test_a_checkpoint_that_only_says_it_is_quantized_is_taken_with_a_note(tmp_path: Path) -> None:
    model = core.open_model(make_llama(tmp_path, quantization_config={"quant_method": "gptq", "bits": 4}))
    assert any("GPTQ" in note for note in model.notes)


def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    shapes = llama_shapes(json.loads((folder / "config.json").read_text()))
    write_weights(folder, weights(shapes | {"vision_tower.patches.weight": (4, 4)}))
    model = core.open_model(folder)
    assert [name for name, _ in model.dropped] == ["vision_tower.patches.weight"]
    assert any("vision_tower.patches.weight" in note and "language model only" in note for note in model.notes)


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
    tensors[name], kinds[name] = np.zeros(tensors[name].shape, np.uint8), "U8"
    write_safetensors(folder / "model.safetensors", tensors, kinds)
    assert name in refused(folder, "U8").message


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
    *_, last = core.run(core.QuantizeJob(str(SAMPLE), "F16", str(out), card=False))
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


@pytest.mark.parametrize(("path", "words"), [("x" * 300, "cannot be opened"), ("~nobody-here/model", "home folder")])
def test_a_path_that_no_system_takes_is_refused(path: str, words: str) -> None:
    refused(Path(path), words)


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """The sample as the Hugging Face cache keeps it: links with names to files with hashes."""
    blobs = tmp_path / "models--org--Tiny-Llama-2M" / "blobs"
    snapshot = blobs.parent / "snapshots" / ("0123456789abcdef" * 3)[:40]
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(SAMPLE.iterdir())):
        (blobs / f"{number:040x}").write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
    return snapshot


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_of_the_hugging_face_cache_opens_its_folder(cached: Path, name: str) -> None:
    assert core.open_model(cached / name).path == cached


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_model_of_the_hugging_face_cache_has_the_name_of_its_repository(cached: Path, tmp_path: Path) -> None:
    plain = tmp_path / "Tiny-Llama-2M"
    shutil.copytree(SAMPLE, plain)
    assert core.open_model(cached).name == "Tiny Llama 2M"
    assert core.open_model(cached).metadata == core.open_model(plain).metadata


@pytest.mark.parametrize("license", ["3", "[a, 2]", '"\\uD800"', "{a: b}"])
def test_a_readme_with_odd_front_matter_is_no_obstacle(license: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path / "m")
    (folder / "README.md").write_text(f"---\nlicense: {license}\n---\n")
    core.make_plan(core.open_model(folder), core.find_recipe("Q8_0"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**5}, "100,000 layers"),
        ({"head_dim": 10**12}, "head_dim"),
        ({"rms_norm_eps": 1e300}, "rms_norm_eps"),
        ({"rope_theta": float("inf")}, "rope_theta"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "factor"),
    ],
)
def test_numbers_beyond_all_reason_are_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    write_json(folder / "config.json", json.loads((folder / "config.json").read_text()) | changes)
    refused(folder, words)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "tokenizer_config.json"])
def test_json_nested_too_deep_is_refused(name: str, tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    (folder / name).write_text("[" * 200_000)
    refused(folder, name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a POSIX system")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.model"])
def test_a_file_that_cannot_be_read_says_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, opened = make_llama(tmp_path), io.open

    def refuse(file: Any, *args: Any, **options: Any) -> Any:
        if str(file).endswith(name):
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return opened(file, *args, **options)

    monkeypatch.setattr(io, "open", refuse)
    assert "Permission denied" in refused(folder, name).message


ODD_KEYS = [
    ("block_count", "u64", 10**9),
    ("block_count", "str", "x"),
    ("block_count", "f32", float("inf")),
    ("attention.head_count", "[str]", ["a"]),
    ("attention.key_length", "[f32]", [1.0]),
    ("feed_forward_length", "f32", float("nan")),
    ("context_length", "i32", -5),
    ("vocab_size", "u64", 2**63),
]


@pytest.mark.parametrize(("name", "kind", "value"), ODD_KEYS)
def test_gguf_keys_of_the_wrong_kind_are_refused(name: str, kind: str, value: Any, tmp_path: Path) -> None:
    file = _gguf(tmp_path, Metadata("general.architecture", "str", "llama"), Metadata(f"llama.{name}", kind, value))
    refused(file, f"llama.{name}")


def test_a_gguf_whose_vocabulary_is_no_list_or_that_is_a_part_without_its_name_is_refused(tmp_path: Path) -> None:
    arch = Metadata("general.architecture", "str", "llama")
    refused(_gguf(tmp_path, arch, Metadata("tokenizer.ggml.tokens", "u32", 7)), "no list")
    refused(_gguf(tmp_path, arch, Metadata("split.count", "u16", 3)), "parts")


def _gguf(folder: Path, *keys: Metadata) -> Path:
    (folder / "odd.gguf").write_bytes(encode_header(keys, [("token_embd.weight", (1, 8), "F32", 0)]) + bytes(32))
    return folder / "odd.gguf"
