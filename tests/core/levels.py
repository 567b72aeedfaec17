"""Levels of real models, from their headers, and machines by their figures: what answers are tried on."""

from __future__ import annotations

from functools import cache

from core.hardware import Cpu, Gpu, Hardware, Holder, Memory
from core.plan import Plan, make_plans
from core.recipes import RECIPES
from tests.core.memory.goldens import header_of

GIB = 1024**3
NAMES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "Q2_K")


@cache
def levels(name: str, names: tuple[str, ...] = NAMES) -> tuple[Plan, ...]:
    """Plans of the model `name`, one for each of the recipes `names`."""
    return tuple(make_plans(header_of(name).model, [r for r in RECIPES if r.name in names]))


def level(name: str, recipe: str) -> Plan:
    return next(plan for plan in levels(name) if plan.recipe.name == recipe)


def machine(
    *,
    ram: float = 64,
    used: float = 0,
    bandwidth: float = 50,
    vram: tuple[float, ...] = (),
    used_vram: float = 0,
    holders: tuple[Holder, ...] = (),
) -> Hardware:
    """Sizes in GiB; the processor's memory in GB/s; cards with 900 GB/s that reckon with FP16 and BF16."""
    gpus = tuple(
        Gpu(
            "Card",
            "NVIDIA",
            f"GPU-{i}",
            int(size * GIB),
            int((size - used_vram) * GIB),
            used_by_others=int(used_vram * GIB),
            driver="1",
            bandwidth=900 * 10**9,
            formats=("FP16", "BF16"),
            holders=holders,
        )
        for i, size in enumerate(vram)
    )
    memory = Memory(int(ram * GIB), int((ram - used) * GIB), "system", bandwidth=int(bandwidth * 1e9), holders=holders)
    return Hardware(Cpu("Processor", 8, 16, 16.0, ("AVX2",)), memory, gpus)
