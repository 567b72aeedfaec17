"""core.fit against llama.cpp's own planner, and the verdicts and recommendations built on it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from core.fit import (
    Fit,
    Needs,
    Verdict,
    estimate_fit,
    gpu_budget,
    largest_context,
    needs,
    ram_budget,
    recommend,
    shape_of,
)
from core.hardware import Cpu, Gpu, Hardware, Memory
from core.model import Metadata, ModelInfo, OutputTensor
from core.plan import Plan, PlannedTensor
from core.recipes import Recipe
from kernels import FORMATS

MIB = 1024**2
GIB = 1024**3
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "fit.json").read_text(encoding="utf-8"))
REPACKED_AVX512 = frozenset({"Q4_0", "Q4_K", "Q2_K", "IQ4_NL", "MXFP4"})


def numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def expand(entries: list[Any]) -> Iterator[tuple[str, Any]]:
    for template, value, *ranges in entries:
        for index in product(*map(list, map(numbers, ranges))):
            yield template.format(*index), value


def formats_of(folded: dict[str, Any], name: str) -> Iterator[str]:
    for template, value in folded.items():
        found = re.fullmatch(re.escape(template).replace(r"\{\}", r"(\d+)"), name)
        if found and isinstance(value, str):
            yield value
        elif found:
            yield from (format for format, ranges in value.items() if int(found[1]) in set(numbers(ranges)))


@cache
def plan_of(name: str, preset: str = "Q4_K_M", *, architecture: str = "") -> Plan:
    entry = GOLDEN["models"][name]
    family = architecture or entry["architecture"]
    keys = {f"{family}.{key.split('.', 1)[1]}": value for key, value in entry["keys"].items()}
    tensors, source = [], []
    for tensor_name, (dtype, ne) in expand(entry["tensors"]):
        tensor = OutputTensor(tensor_name, tuple(reversed(ne)), dtype)
        format = next(formats_of(entry["formats"][preset], tensor_name), dtype)
        nbytes = FORMATS[format].row_bytes(tensor.columns) * tensor.rows
        source.append(tensor)
        tensors.append(PlannedTensor(tensor, format, 0, nbytes))
    metadata = tuple(Metadata(key, "u32", value) for key, value in keys.items())
    model = ModelInfo(name, Path(name), family, family, "BF16", metadata, tuple(source), ())
    return Plan(model, Recipe(preset, 0, preset, ""), tuple(tensors), b"")


def machine(*, ram: float = 64, vram: tuple[float, ...] = (), instructions: tuple[str, ...] = ("AVX2",)) -> Hardware:
    gpus = tuple(
        Gpu("Card", "NVIDIA", f"GPU-{i}", int(size * GIB), int(size * GIB), used_by_others=0, driver="1")
        for i, size in enumerate(vram)
    )
    memory = Memory(int(ram * GIB), int(ram * GIB), "system")
    return Hardware(Cpu("Processor", 8, 16, 16.0, instructions), memory, gpus)


def needs_of(name: str, row: list[Any]) -> tuple[Needs, Needs]:
    preset, gpu_layers, context, kv_type = row[:4]
    shape = shape_of(plan_of(name, preset))
    return needs(shape, gpu_layers=gpu_layers, context=context, kv_type=kv_type, repacked=REPACKED_AVX512)


def is_split(name: str, row: list[Any]) -> bool:
    return 0 < row[1] <= plan_of(name, row[0]).model.key("block_count")


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_weights_and_cache_are_those_of_llama_cpp_to_the_byte(name: str) -> None:
    for row in GOLDEN["models"][name]["rows"]:
        gpu, host = needs_of(name, row)
        assert [*row[:4], gpu.weights, host.weights, gpu.kv, host.kv] == row[:8]


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_the_compute_buffer_is_within_a_tenth_of_llama_cpps(name: str) -> None:
    for row in GOLDEN["models"][name]["rows"]:
        gpu, host = needs_of(name, row)
        if not is_split(name, row):
            assert (row, gpu.compute + host.compute) == (row, pytest.approx(row[8] + row[9], rel=0.1, abs=8 * MIB))


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_a_split_model_is_never_given_too_little_compute_and_not_far_too_much(name: str) -> None:
    for row in GOLDEN["models"][name]["rows"]:
        gpu, host = needs_of(name, row)
        if is_split(name, row):
            assert row[8] <= gpu.compute <= 1.25 * row[8] + 160 * MIB
            assert row[9] <= host.compute <= 1.1 * row[9] + 16 * MIB
