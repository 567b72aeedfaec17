"""The model a card names as the original, and adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
from core.sources import parent_of, refuse_adapter
from tests.models import write_json


@pytest.mark.parametrize(
    "card",
    [
        "---\nbase_model: owner/Name-7B\n---\ntext",
        "---\nlicense: mit\nbase_model: 'owner/Name-7B' # the original\nbase_model_relation: quantized\n---\n",
        "---\nbase_model:\n- owner/Name-7B\nlicense: mit\n---\n",
        "---\nbase_model:\n  - owner/Name-7B\n  - other/Model\nbase_model_relation: quantized\n---\n",
        "---\nbase_model: [owner/Name-7B]\n---\n",
        "\n---\r\nbase_model: owner/Name-7B\r\n---\r\n",
        "# Title\nThis is a quantized version of [Name 7B](https://huggingface.co/owner/Name-7B).",
        "- Original model: [Name 7B](https://huggingface.co/owner/Name-7B)",
        "Quantized version of [owner/Name-7B](https://huggingface.co/owner/Name-7B) to FP8.",
        "It was obtained by quantizing the weights of [Name](https://huggingface.co/owner/Name-7B) to INT4.",
        "An AWQ quantization of `owner/Name-7B`.",
        "Base model: owner/Name-7B.",
        "---\nlicense: mit\n---\n**Original Model:** https://huggingface.co/owner/Name-7B",
    ],
)
def test_the_original_is_found_in_front_matter_or_text(tmp_path: Path, card: str) -> None:
    (tmp_path / "README.md").write_text(card, newline="")
    assert parent_of(tmp_path) == "owner/Name-7B"


@pytest.mark.parametrize(
    "card",
    [
        "",
        "---\nlicense: mit\n---\nA model.",
        "---\nbase_model: owner/Name-7B\nbase_model_relation: finetune\n---\nA model.",
        "---\nbase_model: ./local\n---\n",
        "See https://huggingface.co/owner/Name-7B for more.",
        "---\nnever closed",
    ],
)
def test_a_card_that_does_not_say_names_none(tmp_path: Path, card: str) -> None:
    (tmp_path / "README.md").write_text(card)
    assert parent_of(tmp_path) is None


def test_without_a_readable_card_there_is_none(tmp_path: Path) -> None:
    assert parent_of(tmp_path) is None
    (tmp_path / "README.md").write_bytes(b"\xff\xfe\x00base_model: a/b")
    assert parent_of(tmp_path) is None


def test_an_adapter_is_refused_with_its_model_and_the_way_out(tmp_path: Path) -> None:
    write_json(tmp_path / "adapter_config.json", {"base_model_name_or_path": "owner/Name-7B", "peft_type": "LORA"})
    with pytest.raises(core.SnugError, match="belongs to owner/Name-7B") as caught:
        refuse_adapter(tmp_path)
    assert "merge_and_unload" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "[]", '{"base_model_name_or_path": 3}'])
def test_an_adapter_that_does_not_name_its_model_is_refused_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(core.SnugError, match="LoRA adapter"):
        refuse_adapter(tmp_path)


def test_an_adapters_weights_alone_are_enough(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(core.SnugError, match="LoRA adapter"):
        refuse_adapter(tmp_path)


def test_a_whole_model_beside_an_adapters_settings_passes(tmp_path: Path) -> None:
    refuse_adapter(tmp_path)
    write_json(tmp_path / "adapter_config.json", {})
    write_json(tmp_path / "config.json", {})
    refuse_adapter(tmp_path)
