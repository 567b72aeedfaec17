"""core.fit against llama.cpp's own planner, and the verdicts built on it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from core.fit import Fit, Verdict, estimate_fit, gpu_budget, gpu_context, largest_context, ram_budget
from core.hardware import Cpu, Gpu, Hardware, Memory
from core.memory import Needs, Settings, predict, shape_of
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
    return Plan(model, Recipe(preset, 0, preset, ""), tuple(tensors), 0)


def machine(*, ram: float = 64, vram: tuple[float, ...] = (), instructions: tuple[str, ...] = ("AVX2",)) -> Hardware:
    gpus = tuple(
        Gpu("Card", "NVIDIA", f"GPU-{i}", int(size * GIB), int(size * GIB), used_by_others=0, driver="1")
        for i, size in enumerate(vram)
    )
    memory = Memory(int(ram * GIB), int(ram * GIB), "system")
    return Hardware(Cpu("Processor", 8, 16, 16.0, instructions), memory, gpus)


def needs_of(name: str, row: list[Any]) -> tuple[Needs, Needs]:
    preset, gpu_layers, context, kv_type = row[:4]
    settings = Settings(
        context=context, kv_type=kv_type, gpu_layers=gpu_layers, has_gpu=gpu_layers > 0, repacked=REPACKED_AVX512
    )
    found = predict(shape_of(plan_of(name, preset)), settings)
    return found.gpu, found.host


def is_split(name: str, row: list[Any]) -> bool:
    return bool(0 < row[1] <= plan_of(name, row[0]).model.key("block_count"))


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_weights_and_cache_are_those_of_llama_cpp_to_the_byte(name: str) -> None:
    for row in GOLDEN["models"][name]["rows"]:
        gpu, host = needs_of(name, row)
        assert [*row[:4], gpu.weights, host.weights, gpu.kv, host.kv] == row[:8]


@pytest.mark.parametrize("name", GOLDEN["models"])
def test_the_compute_buffers_are_within_a_hundredth_of_llama_cpps(name: str) -> None:
    for row in GOLDEN["models"][name]["rows"]:
        gpu, host = needs_of(name, row)
        assert [gpu.compute, host.compute] == pytest.approx(row[8:10], rel=0.01), row


def verdict_of(fit: Fit) -> tuple[Verdict, str]:
    return fit.verdict, fit.place


def test_a_model_that_the_gpu_holds_goes_there_whole() -> None:
    fit = estimate_fit(plan_of("llama-3.1-8b"), machine(ram=32, vram=(16,)))
    assert verdict_of(fit) == (Verdict.FITS, "GPU")
    assert fit.gpu_layers == 33


def test_a_model_that_leaves_under_a_tenth_is_tight() -> None:
    assert verdict_of(estimate_fit(plan_of("llama-3.1-8b"), machine(vram=(6.2,)))) == (Verdict.TIGHT, "GPU")


def test_a_model_too_big_for_the_gpu_is_split_in_whole_layers() -> None:
    fit = estimate_fit(plan_of("llama-3.1-8b"), machine(vram=(4,)))
    assert verdict_of(fit) == (Verdict.SPLITS, "GPU + CPU")
    assert 0 < fit.gpu_layers < 33
    assert f"{fit.gpu_layers} of 33 layers on the GPU" in fit.reason


def test_a_gpu_too_small_for_one_layer_is_left_out() -> None:
    assert verdict_of(estimate_fit(plan_of("llama-3.1-8b"), machine(vram=(1,)))) == (Verdict.FITS, "CPU")


def test_a_gpu_without_memory_of_its_own_leaves_the_verdict_to_the_ram() -> None:
    unified = Gpu("Chip", "NVIDIA", "GPU-0", 64 * GIB, 64 * GIB, used_by_others=0, driver="1", unified=True)
    hardware = Hardware(machine().cpu, machine().memory, (unified,))
    assert verdict_of(estimate_fit(plan_of("llama-3.1-8b"), hardware)) == (Verdict.FITS, "CPU")


def test_what_macos_keeps_from_the_gpu_is_left_to_the_processor() -> None:
    chip = Gpu("M3", "Apple", "a", 16 * GIB, 16 * GIB, used_by_others=0, driver="", unified=True)
    hardware = Hardware(machine().cpu, machine(ram=36).memory, (chip,))
    small, large = plan_of("llama-3.1-8b"), plan_of("qwen2.5-32b")
    assert estimate_fit(small, hardware) == estimate_fit(small, replace(hardware, gpus=()))
    fit = estimate_fit(large, hardware)
    assert verdict_of(fit) == (Verdict.SPLITS, "GPU + CPU")
    assert 0 < fit.gpu_layers <= large.shape.blocks
    assert fit.on_gpu.total <= chip.total < fit.total < fit.budget
    assert fit.budget == estimate_fit(small, hardware).budget


def test_two_gpus_hold_together_what_one_cannot() -> None:
    plan = plan_of("llama-3.1-70b")
    assert estimate_fit(plan, machine(vram=(24,))).place == "GPU + CPU"
    assert estimate_fit(plan, machine(vram=(24, 24, 24))).place == "GPU"


def test_a_model_bigger_than_gpu_and_ram_together_does_not_run() -> None:
    fit = estimate_fit(plan_of("llama-3.1-70b"), machine(ram=16, vram=(8,)))
    assert verdict_of(fit) == (Verdict.NO, "GPU + CPU")
    assert fit.free_after < 0


def test_the_reason_says_what_is_used_and_what_is_left() -> None:
    fit = estimate_fit(plan_of("llama-3.1-8b"), machine(ram=16))
    assert fit.reason == "Needs 5.7 GB of the 15.5 GB of usable RAM; leaves 9.8 GB."


def test_the_reason_says_what_is_missing() -> None:
    fit = estimate_fit(plan_of("llama-3.1-8b"), machine(ram=4))
    assert fit.reason == "Needs 2.0 GB more than the usable RAM."


@pytest.mark.parametrize("vram", [(), (1,), (4,), (6.2,), (16,)])
@pytest.mark.parametrize("ram", [2, 8, 64])
def test_the_figures_always_add_up_to_the_budget(ram: float, vram: tuple[float, ...]) -> None:
    fit = estimate_fit(plan_of("llama-3.1-8b"), machine(ram=ram, vram=vram))
    assert fit.weights + fit.kv + fit.compute + fit.overhead + fit.free_after == fit.budget
    assert (fit.free_after < 0) == (fit.verdict is Verdict.NO)


def test_a_reserve_is_kept_for_the_system_and_for_the_driver() -> None:
    assert ram_budget(machine(ram=64)) == 62 * GIB
    assert ram_budget(machine(ram=4)) == 4 * GIB - 512 * MIB
    assert gpu_budget(machine(vram=(24,))) == 24 * GIB - gpu_context(24 * GIB) - 24 * GIB * 3 // 100


def test_a_bigger_gpu_has_a_bigger_context() -> None:
    sizes = [gpu_context(size * GIB) // MIB for size in (8, 16, 24, 32, 48, 96)]
    assert sizes == [332, 332, 464, 590, 644, 644]


def test_a_quantized_cache_takes_less() -> None:
    plan, hardware = plan_of("llama-3.1-8b"), machine()
    sizes = [estimate_fit(plan, hardware, kv_type=kv_type).kv for kv_type in ("f16", "q8_0", "q4_0")]
    assert sizes == [536870912, 285212672, 150994944]


def test_an_unknown_cache_format_is_refused() -> None:
    with pytest.raises(ValueError, match="kv_type must be one of"):
        estimate_fit(plan_of("llama-3.1-8b"), machine(), kv_type="f12")


def test_a_context_counts_in_steps_of_256() -> None:
    plan, hardware = plan_of("llama-3.1-8b"), machine()
    assert estimate_fit(plan, hardware, context=4000).kv == estimate_fit(plan, hardware, context=4096).kv


def test_a_tied_model_keeps_its_embedding_twice_where_the_processor_rearranges_it() -> None:
    plan = plan_of("llama-3.2-1b")
    shape = shape_of(plan)
    embedding = next(tensor for tensor in plan.tensors if tensor.name == "token_embd.weight")
    plain = predict(shape, Settings()).host
    repacked = predict(shape, Settings(repacked=frozenset({embedding.format}))).host
    assert repacked.weights - plain.weights == embedding.nbytes


def test_a_family_without_a_rule_is_said_to_be_an_estimate() -> None:
    fit = estimate_fit(plan_of("llama-3.1-8b", architecture="novel"), machine())
    assert fit.kv == 536870912
    assert fit.reason.endswith("A rough estimate: there is no rule for novel yet.")


def test_the_largest_context_is_the_last_one_that_runs() -> None:
    plan, hardware = plan_of("llama-3.1-8b"), machine(ram=16)
    largest = largest_context(plan, hardware)
    assert 0 < largest < 131072
    assert estimate_fit(plan, hardware, context=largest).verdict is not Verdict.NO
    assert estimate_fit(plan, hardware, context=largest + 256).verdict is Verdict.NO


def test_the_largest_context_is_at_most_what_the_model_was_trained_for() -> None:
    assert largest_context(plan_of("llama-2-7b"), machine(ram=256)) == 4096


def test_a_model_that_does_not_run_has_no_context() -> None:
    assert largest_context(plan_of("llama-3.1-70b"), machine(ram=8)) == 0


def test_an_estimate_takes_about_a_millisecond() -> None:
    plan, hardware = plan_of("llama-3.1-70b"), machine(vram=(24,))
    times = []
    for _ in range(7):
        start = time.perf_counter()
        estimate_fit(plan, hardware)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.005
