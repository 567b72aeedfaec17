"""What a check says of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import core
from app import cli
from tests.models import llama_shapes, make_llama, weights, write_weights


def test_a_check_counts_what_headers_say(tmp_path: Path) -> None:
    found = core.check_model(make_llama(tmp_path))
    assert (found.family, found.architecture, found.layers) == ("LlamaForCausalLM", "llama", 2)
    assert found.parameters == found.active_parameters == core.open_model(tmp_path).parameters
    assert found.tokenizer == "SentencePiece BPE"
    assert found.left_out == ()


def test_a_check_names_what_is_left_out_and_why(tmp_path: Path) -> None:
    shapes = llama_shapes(json.loads((make_llama(tmp_path) / "config.json").read_text()))
    seeing = {f"vision_tower.layers.{i}.weight": (4, 4) for i in range(3)}
    write_weights(tmp_path, weights(shapes | seeing))
    (item,) = core.check_model(tmp_path).left_out
    assert (item.tensors, item.first) == (3, "vision_tower.layers.0.weight")
    assert "language model only" in item.reason


def test_of_experts_a_token_meets_only_some(tmp_path: Path) -> None:
    experts = {"architectures": ["MixtralForCausalLM"], "num_local_experts": 4, "num_experts_per_tok": 2}
    found = core.check_model(make_llama(tmp_path, **experts))
    assert found.experts == 4
    assert found.active_parameters < found.parameters


def test_the_command_prints_one_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(make_llama(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert "LlamaForCausalLM" in out
    assert len(out.splitlines()) < 24


def test_the_command_refuses_an_unknown_family_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", str(make_llama(tmp_path, architectures=["LlamoForCausalLM"])), "--json"]) == 2
    assert "LlamoForCausalLM" in json.loads(capsys.readouterr().out)["error"]
