"""core.answer.placement: experts in RAM before whole layers."""

from __future__ import annotations

from core.answer.placement import Placement, as_placed, place_model, reason_at_a_glance
from core.fit import estimate_fit, gpu_budget, ram_budget
from tests.core.levels import level, machine


def placed(name: str, **sizes: object) -> Placement:
    hardware = machine(**sizes)  # type: ignore[arg-type]
    plan = level(name, "Q4_K_M")
    return place_model(plan, hardware, estimate_fit(plan, hardware, context=8192))


def test_a_mixture_that_splits_keeps_all_layers_on_the_gpu_and_some_experts_in_ram() -> None:
    found = placed("qwen3-30b-a3b", vram=(12,))
    assert found.gpu_layers == 49
    assert 0 < found.host_experts < 48
    assert found.words == f"all layers on the GPU, the experts of {found.host_experts} of 48 in RAM"
    assert found.gpu.total <= gpu_budget(machine(vram=(12,)))
    assert found.host.total <= ram_budget(machine())


def test_more_memory_on_the_gpu_never_leaves_more_experts_in_ram() -> None:
    counts = [placed("qwen3-30b-a3b", vram=(size,)).host_experts for size in (6, 8, 10, 12, 16)]
    assert counts == sorted(counts, reverse=True)


def test_a_dense_model_splits_by_layers() -> None:
    found = placed("llama-3.1-8b", vram=(4,))
    assert found.host_experts == 0
    assert 0 < found.gpu_layers < 33
    assert not found.is_whole


def test_without_a_gpu_all_is_in_ram() -> None:
    found = placed("qwen3-30b-a3b")
    assert (found.gpu_layers, found.host_experts, found.words) == (0, 0, "in RAM")


def test_cards_are_named_where_there_are_several() -> None:
    assert placed("llama-3.1-70b", vram=(24, 24, 24)).words == "whole on 3 GPUs"


def test_the_reason_and_the_figures_are_those_of_the_placement() -> None:
    plan, hardware = level("qwen3-30b-a3b", "Q4_K_M"), machine(vram=(12,))
    layers = estimate_fit(plan, hardware, context=8192)
    found = place_model(plan, hardware, layers)
    fit = as_placed(layers, found, hardware)
    assert fit.reason.endswith(f"too much for the GPU alone: {found.words}.")
    assert (fit.on_gpu, fit.on_host, fit.gpu_layers) == (found.gpu, found.host, found.gpu_layers)
    assert fit.total == (found.gpu + found.host).total
    assert fit.verdict is layers.verdict
    assert fit.free_after >= 0
    assert reason_at_a_glance(plan, layers).endswith("all layers on the GPU, experts in RAM.")


def test_a_dense_split_is_told_as_it_was_judged() -> None:
    plan, hardware = level("llama-3.1-8b", "Q4_K_M"), machine(vram=(4,))
    fit = estimate_fit(plan, hardware, context=8192)
    found = place_model(plan, hardware, fit)
    assert as_placed(fit, found, hardware) is fit
    assert reason_at_a_glance(plan, fit) == fit.reason
    assert found.words in fit.reason
