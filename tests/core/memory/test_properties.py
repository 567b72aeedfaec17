"""What must hold of any prediction, whatever the model."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from core.fit import Fit, Verdict, estimate_fit
from core.hardware import Cpu, Gpu, Hardware, Memory
from core.memory import KV_TYPES, Settings, predict, refusal
from tests.core.memory.goldens import MIB, NAMES, plan_of, rows, shape_by, truth

pytestmark = pytest.mark.slow

GIB = 1024**3
MODELS = ("llama-3.2-1b", "gemma-3-4b", "qwen3-30b-a3b", "deepseek-v2-lite", "lfm2-1.2b", "mamba2-2.7b", "qwen3.5-9b")
PLACES = ("CPU", "GPU + CPU", "GPU")
ORDER = (Verdict.NO, Verdict.SPLITS, Verdict.TIGHT, Verdict.FITS)


def machine(*, ram: float, vram: float = 0, instructions: tuple[str, ...] = ("AVX2", "AVX512F")) -> Hardware:
    gpu = Gpu("Card", "NVIDIA", "GPU-0", int(vram * GIB), int(vram * GIB), used_by_others=0, driver="1")
    memory = Memory(int(ram * GIB), int(ram * GIB), "system")
    return Hardware(Cpu("Processor", 8, 16, 16.0, instructions), memory, (gpu,) if vram else ())


def rank(fit: Fit) -> tuple[int, int]:
    """Better is more: first where it runs, for a GPU is many times faster, then how well it fits there."""
    return (0, 0) if fit.verdict is Verdict.NO else (1 + PLACES.index(fit.place), ORDER.index(fit.verdict))


@pytest.mark.parametrize("name", MODELS)
def test_more_context_never_takes_less_memory(name: str) -> None:
    shape = shape_by(name, "Q4_K_M")
    for kv_type in ("f16", "q8_0"):
        if not refusal(shape, Settings(kv_type=kv_type)):
            found = [predict(shape, Settings(context=1024 * step, kv_type=kv_type)) for step in (1, 4, 9, 16, 64)]
            sums = [(one.gpu + one.host).total for one in found]
            assert sums == sorted(sums)


@pytest.mark.parametrize("name", MODELS)
def test_more_memory_never_worsens_a_verdict(name: str) -> None:
    plan = plan_of(name, "Q4_K_M")
    for vram in (0.0, 4.0):
        ranks = [rank(estimate_fit(plan, machine(ram=ram, vram=vram))) for ram in (1, 4, 8, 24, 64)]
        assert ranks == sorted(ranks)
    ranks = [rank(estimate_fit(plan, machine(ram=64, vram=vram))) for vram in (2, 6, 12, 24, 48)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("name", MODELS)
def test_layers_on_the_gpu_and_in_ram_are_all_layers(name: str) -> None:
    shape = shape_by(name, "Q4_K_M")
    for layers in (1, shape.blocks // 2, shape.blocks + 1):
        found = predict(shape, Settings(gpu_layers=layers, has_gpu=True))
        assert found.gpu.kv + found.host.kv == predict(shape, Settings(has_gpu=True)).host.kv
        assert found.gpu.total == found.gpu.buffers + found.gpu.overhead
        assert found.host.buffers == sum((found.host.weights, found.host.kv, found.host.compute, found.host.output))


def test_experts_in_ram_are_missing_on_the_gpu() -> None:
    shape = shape_by("qwen3-30b-a3b", "Q4_K_M")
    whole = Settings(gpu_layers=shape.blocks + 1, has_gpu=True)
    sums = [predict(shape, replace(whole, host_experts=layers)).gpu.weights for layers in (0, 10, 48, 1000)]
    assert sums == sorted(sums, reverse=True)
    assert sums[2] == sums[3]


@pytest.mark.parametrize("name", MODELS)
def test_the_quick_way_is_never_far_below_the_exact_one(name: str) -> None:
    shape = shape_by(name, "Q4_K_M")
    exact = Settings(gpu_layers=shape.blocks // 2, has_gpu=True)
    quick = predict(shape, replace(exact, brief=True), quick=True)
    found = predict(shape, exact)
    assert quick.gpu.total >= found.gpu.total - 16 * MIB
    assert quick.host.total >= found.host.total - 16 * MIB


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_every_cache_format_is_known(kv_type: str) -> None:
    assert predict(shape_by("llama-3.2-1b", "Q4_K_M"), Settings(kv_type=kv_type)).host.kv > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_machine_that_grows_in_any_way_never_ranks_a_model_lower(name: str) -> None:
    """Steps of RAM and of GPU memory at random; a first GPU moves a model there, where it is faster, if tighter."""
    chance = random.Random(name)
    plan = plan_of(name, "Q4_K_M")
    for _ in range(6):
        ram, vram = chance.uniform(0.5, 8), chance.choice((0.0, chance.uniform(0.5, 6)))
        last = (0, 0)
        for _ in range(6):
            now = rank(estimate_fit(plan, machine(ram=ram, vram=vram)))
            assert now >= last, (ram, vram)
            last = now
            ram, vram = ram + chance.choice((0, chance.uniform(0, 12))), vram + chance.choice((0, chance.uniform(0, 8)))


@pytest.mark.slow
def test_no_budget_that_lacks_the_memory_is_told_to_hold_a_model_nor_the_other_way_round() -> None:
    """1,000 random pairs of machine and setting, around what llama.cpp's planner takes, which is the truth."""
    chance = random.Random(7)
    settings = [(name, row) for name in NAMES for row in rows(name) if _is_usual(row)]
    judged, false_fits, false_noes = 0, [], []
    for name, row in chance.choices(settings, k=1000):
        here = truth(row, "total") if row["device"] == "cpu" else row["weights_gpu"] + row["compute_gpu"] + _kv(row)
        there = chance.uniform(0.8, 1.4) * here / GIB + chance.uniform(0.5, 3)
        hardware = machine(ram=there if row["device"] == "cpu" else 640, vram=there if row["device"] == "gpu" else 0)
        fit = estimate_fit(plan_of(name, row["preset"]), hardware, context=row["n_ctx"], kv_type=row["kv"])
        if fit.kv_type != row["kv"] or fit.place not in ("CPU", "GPU"):
            continue
        if fit.place == "CPU" and row["device"] == "gpu":
            continue
        judged += 1
        if fit.verdict is not Verdict.NO and here > fit.budget:
            false_fits.append((name, row))
        if fit.verdict is Verdict.NO and here + fit.overhead <= fit.budget:
            false_noes.append((name, row))
    assert judged > 500
    assert not false_fits
    assert len(false_noes) <= judged // 100


def _is_usual(row: dict[str, object]) -> bool:
    """Settings as a person's runner has them, and all of the model in one place."""
    return (
        not row["error"]
        and row["preset"] in ("Q4_K_M", "Q8_0", "MXFP4_MOE")
        and (row["n_ubatch"], row["n_parallel"], row["flash_attn_asked"], row["outputs"]) == (512, 1, "auto", "one")
        and (row["device"] == "cpu" or (row["weights_gpu"] != 0 and row["kv_host"] == 0 and not row["cpu_moe"]))
        and not row["swa_full"]
    )


def _kv(row: dict[str, int]) -> int:
    return row["kv_gpu"] + row["kv_swa_gpu"] + row["state_gpu"]
