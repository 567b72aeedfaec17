"""Which files of a repository are downloaded."""

from __future__ import annotations

import pytest

from core.errors import SnugError
from core.hub import gguf_choices, hub_source, wanted_files
from core.hub.repo import RepoInfo, info_of
from tests.fake_hub import sibling

SMALL = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model.v3",
    "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template.jinja", "README.md", "LICENSE", "tekken.json",
    "additional_chat_templates/tool_use.jinja", "1_Pooling/config.json", "modules.json", "model.safetensors.index.json",
)  # fmt: skip
OTHER = (
    "pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "tf_model.h5",
    "flax_model.msgpack", "rust_model.ot", "original/params.json", "original/consolidated.00.pth", "onnx/model.onnx",
    "onnx/config.json", "consolidated.safetensors", "model.fp16.safetensors", "training_args.bin", "optimizer.pt",
    "trainer_state.json", "figures/plot.png", "modeling_x.py", ".gitattributes", "openvino_model.bin",
    "coreml/weights.safetensors", "events.out.tfevents.1", "tf_model.bin.index.json",
)  # fmt: skip
SHARDS = tuple(f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3))


def info(*names: str, choice: str = "") -> RepoInfo:
    listed = [sibling(name, name.encode()) for name in names]
    source = hub_source(f"org/model{f':{choice}' if choice else ''}")
    return info_of(source, {"id": "org/model", "sha": "a" * 40, "siblings": listed})


def chosen(found: RepoInfo, choice: str = "") -> list[str]:
    return sorted(file.name for file in wanted_files(found, choice))


def test_a_gguf_needs_config_tokenizer_and_one_set_of_weights() -> None:
    assert chosen(info(*SMALL, *OTHER, *SHARDS)) == sorted([*SMALL, *SHARDS])


def test_a_whole_file_is_preferred_to_a_set_without_an_index() -> None:
    assert chosen(info("config.json", "model.safetensors", *SHARDS)) == ["config.json", "model.safetensors"]


def test_a_publishers_own_copy_is_taken_only_where_there_is_nothing_else() -> None:
    own = tuple(f"consolidated-{number:05}-of-00002.safetensors" for number in (1, 2))
    assert chosen(info(*own, *SHARDS)) == sorted(SHARDS)
    assert chosen(info("consolidated.safetensors", "params.json")) == ["consolidated.safetensors", "params.json"]


def test_a_set_with_a_part_missing_is_refused() -> None:
    with pytest.raises(SnugError, match="2 of the 3 parts"):
        wanted_files(info(*SHARDS[:2]))


GGUFS = (
    "M-Q4_K_M.gguf", "M-Q8_0.gguf", "M.IQ2_XXS.gguf", "M-BF16-00001-of-00002.gguf", "M-BF16-00002-of-00002.gguf",
    "UD/M-UD-Q3_K_XL.gguf", "mmproj-M-f16.gguf", "M-imatrix.gguf", "README.md",
    "a, b.json",
)  # fmt: skip


def test_ggufs_are_named_by_their_quantization() -> None:
    found = {choice.label: [file.name for file in choice.files] for choice in gguf_choices(info(*GGUFS))}
    assert found == {
        "Q4_K_M": ["M-Q4_K_M.gguf"],
        "Q8_0": ["M-Q8_0.gguf"],
        "IQ2_XXS": ["M.IQ2_XXS.gguf"],
        "BF16": ["M-BF16-00001-of-00002.gguf", "M-BF16-00002-of-00002.gguf"],
        "Q3_K_XL": ["UD/M-UD-Q3_K_XL.gguf"],
    }


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("Q4_K_M", ["M-Q4_K_M.gguf"]),
        ("q4_k_m", ["M-Q4_K_M.gguf"]),
        ("bf16", ["M-BF16-00001-of-00002.gguf", "M-BF16-00002-of-00002.gguf"]),
        ("M-BF16-00002-of-00002.gguf", ["M-BF16-00001-of-00002.gguf", "M-BF16-00002-of-00002.gguf"]),
        ("Q8_0,README.md", ["M-Q8_0.gguf", "README.md"]),
        ("*.md", ["README.md"]),
        ("mmproj-M-f16.gguf", ["mmproj-M-f16.gguf"]),
        ("a, b.json", ["a, b.json"]),
    ],
)
def test_a_choice_is_a_name_a_pattern_or_a_quantization(choice: str, names: list[str]) -> None:
    assert chosen(info(*GGUFS), choice) == names
    assert chosen(info(*GGUFS, choice=choice)) == names


@pytest.mark.parametrize("choice", ["Q5_K_M", "none.gguf", "*.bin", "../etc/passwd"])
def test_a_choice_that_is_not_there_is_refused(choice: str) -> None:
    with pytest.raises(SnugError, match="no file and no quantization") as caught:
        wanted_files(info(*GGUFS), choice)
    assert "Q4_K_M" in caught.value.hint


def test_among_several_ggufs_one_must_be_chosen() -> None:
    with pytest.raises(SnugError, match="has 5 GGUF files") as caught:
        wanted_files(info(*GGUFS))
    assert "org/model:" in caught.value.hint
    assert chosen(info("M-Q4_K_M.gguf", "README.md")) == ["M-Q4_K_M.gguf"]


def test_pickles_are_refused_with_a_way_out() -> None:
    with pytest.raises(SnugError, match="PyTorch pickles") as caught:
        wanted_files(info("config.json", "pytorch_model.bin"))
    assert "safetensors" in caught.value.hint


def test_without_any_weights_that_is_said() -> None:
    with pytest.raises(SnugError, match="no weights"):
        wanted_files(info("README.md"))
    with pytest.raises(SnugError, match=r"only such as unet/model\.safetensors"):
        wanted_files(info("unet/model.safetensors"))


def test_a_name_that_is_listed_twice_is_taken_once() -> None:
    found = info("config.json", "model.safetensors", "config.json")
    assert [name for name, _ in found.refused] == ["config.json"]
    assert chosen(found) == ["config.json", "model.safetensors"]
