"""The prediction against llama.cpp's own planner: a tiny model of every family that Snug makes but T5."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from core.headers import header_plan, open_headers
from core.memory import ALL_LAYERS, Settings, Shape, predict, refusal, rules_of, shape_of
from tests.core.memory.goldens import FILE

CONTENT: dict[str, Any] = json.loads(lzma.decompress(FILE.with_name("families.json.xz").read_bytes()))
NAMES = tuple(CONTENT["families"])
QUICK = ("llama-3.2", "gemma4-moe", "qwen3-vl", "deepseek-v3", "nemotron-3", "modernbert")
_FIGURES = ("weights_gpu", "weights_host", "kv_gpu", "kv_host", "compute_gpu", "compute_host")


@cache
def shape_by(name: str) -> Shape:
    family = CONTENT["families"][name]
    tensors = {tensor: {"dtype": dtype, "shape": shape} for tensor, (dtype, shape) in family["tensors"].items()}
    header = open_headers({"id": name, "config": family["config"], "tensors": tensors})
    return shape_of(header_plan(replace(header, quant="F16")))


def rows(name: str) -> Iterator[tuple[Settings, tuple[int | None, ...]]]:
    """(a setting, llama.cpp's figures)."""
    for row in CONTENT["families"][name]["rows"]:
        said = dict(zip(CONTENT["columns"], row, strict=True))
        figures = tuple(said.pop(figure) for figure in _FIGURES)
        experts = ALL_LAYERS if said.pop("cpu_moe") else 0
        yield Settings(**{**said, "has_gpu": bool(said["has_gpu"]), "host_experts": experts}), figures


def check(name: str) -> None:
    shape = shape_by(name)
    assert rules_of(shape)[1]
    for settings, figures in rows(name):
        if figures[0] is None:
            assert refusal(shape, settings), settings
            continue
        found = predict(shape, settings)
        gpu, host = found.gpu, found.host
        assert (gpu.weights, host.weights, gpu.kv, host.kv, gpu.compute, host.compute) == figures, settings


@pytest.mark.parametrize("name", QUICK)
def test_a_family_takes_what_llama_cpps_planner_says(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in QUICK])
def test_every_family_takes_what_llama_cpps_planner_says(name: str) -> None:
    check(name)


def test_a_family_without_rules_says_by_how_much_it_may_be_wrong() -> None:
    shape = replace(shape_by("llama-3.2"), architecture="of-tomorrow")
    assert predict(shape, Settings()).doubt > 0
