"""Will it run here? What a plan needs, held against what this machine has free: a verdict with its figures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from core.hardware import Gpu, Hardware
from core.needs import CELL, KV_TYPES, NOTHING, Needs, Shape, needs, shape_of

if TYPE_CHECKING:
    from core.plan import Plan

_MIB = 1024**2
_GB = 10**9

# Weights that llama.cpp rearranges for the processor at loading, in memory of their own: (needs, formats).
_REPACKED: tuple[tuple[str, frozenset[str]], ...] = (
    ("AVX2", frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})),
    ("AVX512F", frozenset({"Q2_K"})),
    ("AMX_INT8", frozenset({"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"})),
    ("DOTPROD", frozenset({"Q4_0", "IQ4_NL", "MXFP4", "Q8_0", "Q4_K", "Q5_K", "Q6_K"})),
)

# CUDA's context and cuBLAS, which no buffer shows.
_GPU_CONTEXT = 330 * _MIB


class Verdict(StrEnum):
    FITS = "fits"
    TIGHT = "tight"
    SPLITS = "splits"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Fit:
    """A verdict with its figures, in bytes. Always: `total + free_after == budget`; free_after < 0 is what is missing.

    The figures are those of `place`: "GPU", "CPU" or "GPU + CPU". `on_gpu` and `on_host` are the same by device, for a
    model that is whole on the GPU still keeps its input embedding and some buffers in RAM. `context` is in tokens.
    """

    verdict: Verdict
    weights: int
    kv: int
    compute: int
    overhead: int
    budget: int
    place: str
    context: int
    kv_type: str
    reason: str
    on_gpu: Needs = NOTHING
    on_host: Needs = NOTHING
    gpu_layers: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.overhead

    @property
    def free_after(self) -> int:
        return self.budget - self.total


def estimate_fit(plan: Plan, hardware: Hardware, *, context: int = 4096, kv_type: str = "f16") -> Fit:
    """Whether `plan` runs on `hardware` with room for `context` tokens; ValueError for a kv_type not in KV_TYPES."""
    return _judge(shape_of(plan), hardware, context=context, kv_type=kv_type)


def largest_context(plan: Plan, hardware: Hardware, *, kv_type: str = "f16") -> int:
    """The most tokens (a multiple of 256, at most what the model was trained for) with which `plan` runs; 0 if none."""
    shape = shape_of(plan)
    low, high = 0, int(plan.model.key("context_length", 0)) // CELL
    while low < high:
        middle = (low + high + 1) // 2
        fit = _judge(shape, hardware, context=middle * CELL, kv_type=kv_type)
        low, high = (low, middle - 1) if fit.verdict is Verdict.NO else (middle, high)
    return low * CELL


def gpu_budget(hardware: Hardware) -> int:
    """Bytes for a model on the GPUs: what is free, less CUDA's context and a reserve of 3 % or 512 MiB on each."""
    return sum(_budget_of(gpu) for gpu in _usable_gpus(hardware))


def ram_budget(hardware: Hardware) -> int:
    """Bytes for a model in RAM: what is available, less a tenth of the whole for the system (512 MiB to 2 GiB)."""
    reserve = max(min(2048 * _MIB, hardware.memory.total // 10), 512 * _MIB)
    return max(0, hardware.memory.available - reserve)


def _usable_gpus(hardware: Hardware) -> list[Gpu]:
    """Cards with memory of their own and of one vendor, as one llama.cpp build drives them."""
    own = [gpu for gpu in hardware.gpus if not gpu.unified and _budget_of(gpu) > 0]
    vendor = max(own, key=_budget_of).vendor if own else ""
    return [gpu for gpu in own if gpu.vendor == vendor]


def _budget_of(gpu: Gpu) -> int:
    return max(0, gpu.free - _GPU_CONTEXT - max(512 * _MIB, gpu.total * 3 // 100))


def _repacked(hardware: Hardware) -> frozenset[str]:
    present = hardware.cpu.instructions
    return frozenset().union(*(formats for name, formats in _REPACKED if name in present))


def _judge(shape: Shape, hardware: Hardware, *, context: int, kv_type: str) -> Fit:
    if kv_type not in KV_TYPES:
        raise ValueError(f"kv_type must be one of {', '.join(KV_TYPES)}, not {kv_type!r}")
    cards, ram, vram = len(_usable_gpus(hardware)), ram_budget(hardware), gpu_budget(hardware)

    def placed(gpu_layers: int) -> tuple[Needs, Needs]:
        repacked = frozenset() if gpu_layers else _repacked(hardware)
        gpu, host = needs(shape, gpu_layers=gpu_layers, context=context, kv_type=kv_type, repacked=repacked)
        # Every card works with buffers of its own.
        return gpu + Needs(compute=gpu.compute * max(0, cards - 1)), host

    def fit(gpu_layers: int, place: str, budget: int) -> Fit:
        gpu, host = placed(gpu_layers)
        here = gpu if place == "GPU" else gpu + host
        splits = place == "GPU + CPU"
        verdict = _verdict(here, budget, exact=shape.exact, splits=splits)
        layers = f"{gpu_layers} of {whole} layers on the GPU, the rest in RAM" if splits else ""
        return Fit(
            verdict=verdict,
            weights=here.weights,
            kv=here.kv,
            compute=here.compute,
            overhead=here.overhead,
            budget=budget,
            place=place,
            context=context,
            kv_type=kv_type,
            reason=_reason(here.total, budget, place, layers=layers) + _doubt(shape),
            on_gpu=gpu,
            on_host=host,
            gpu_layers=gpu_layers,
        )

    whole = len(shape.layers) + 1
    most = _most_layers(placed, whole, vram) if vram else 0
    if not most:
        return fit(0, "CPU", ram)
    gpu, host = placed(most)
    if most == whole and host.total <= ram:
        return fit(whole, "GPU", vram)
    # Whole layers do not fill the GPU to the brim: only what they do fill counts.
    return fit(most, "GPU + CPU", gpu.total + ram)


def _most_layers(placed: Any, whole: int, budget: int) -> int:
    """The most layers that the GPU holds; more layers never need less of it, but for the last step to all of them."""
    if placed(whole)[0].total <= budget:
        return whole
    low, high = 0, whole - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if placed(middle)[0].total <= budget else (low, middle - 1)
    return low


def _verdict(here: Needs, budget: int, *, exact: bool, splits: bool) -> Verdict:
    left = budget - here.total
    if left < 0:
        return Verdict.NO
    if splits:
        return Verdict.SPLITS
    doubt = 0 if exact else (here.kv + here.compute) // 4
    return Verdict.TIGHT if left < max(budget // 10, doubt) else Verdict.FITS


def _reason(total: int, budget: int, place: str, *, layers: str) -> str:
    where = {"GPU": "usable GPU memory", "CPU": "usable RAM", "GPU + CPU": "usable GPU memory and RAM"}[place]
    if total > budget:
        return f"Needs {_size(total - budget)} more than the {where}."
    if layers:
        return f"Needs {_size(total)}, too much for the GPU alone: {layers}."
    # What is left is the difference of the rounded figures, so that the sentence adds up for its reader.
    left = round(budget, -8) - round(total, -8) if total >= _GB else budget - total
    return f"Needs {_size(total)} of the {_size(budget)} of {where}; leaves {_size(left)}."


def _doubt(shape: Shape) -> str:
    return "" if shape.exact else f" An estimate: there is no exact rule for {shape.architecture} yet."


def _size(nbytes: int) -> str:
    return f"{nbytes / _GB:.1f} GB" if nbytes >= _GB else f"{max(1, round(nbytes / 1e6))} MB"
