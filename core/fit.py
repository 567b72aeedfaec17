"""Will it run here? What a plan needs, held against what this machine has free: a verdict with its figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from core.hardware import Gpu, Hardware
from core.memory import (
    CELL,
    KV_TYPES,
    NOTHING,
    Needs,
    Prediction,
    Settings,
    Shape,
    predict,
    refusal,
    rules_of,
)

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

# CUDA's context, which no buffer shows, grows with a GPU's multiprocessors, as measured on cards of 34 to 188 of them;
# cuBLAS comes on top. By the most memory (GiB) of cards with so many.
_CONTEXT_PER_MULTIPROCESSOR = 3 * _MIB
_CUBLAS = 80 * _MIB
_MULTIPROCESSORS = ((16, 84), (24, 128), (32, 170))
_MOST_MULTIPROCESSORS = 188


class Verdict(StrEnum):
    """How well a model has room in its `place`: a GPU goes before RAM even where it is tighter, for it is faster."""

    FITS = "fits"
    TIGHT = "tight"
    SPLITS = "splits"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Fit:
    """A verdict with its figures, in bytes. Always: `total + free_after == budget`; free_after < 0 is what is missing.

    `doubt` is by how much they may be short, for a family without a rule of its own.
    The figures are those of `place`: "GPU", "CPU" or "GPU + CPU". `on_gpu` and `on_host` are the same by device, for a
    model that is whole on the GPU still keeps its input embedding and some buffers in RAM. `context` is in tokens.
    `unified`: the GPU works in the RAM, but may not hold all of it.
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
    doubt: int = 0
    unified: bool = False

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.overhead

    @property
    def free_after(self) -> int:
        return self.budget - self.total


def estimate_fit(plan: Plan, hardware: Hardware, *, context: int = 4096, kv_type: str = "f16") -> Fit:
    """Whether `plan` runs on `hardware` with room for `context` tokens; ValueError for a kv_type not in KV_TYPES."""
    return _judge(plan.shape, hardware, context=context, kv_type=kv_type)


def largest_context(plan: Plan, hardware: Hardware, *, kv_type: str = "f16") -> int:
    """The most tokens (a multiple of 256, at most what the model was trained for) with which `plan` runs; 0 if none."""
    shape = plan.shape
    low, high = 0, int(plan.model.key("context_length", 0)) // CELL
    while low < high:
        middle = (low + high + 1) // 2
        fit = _judge(shape, hardware, context=middle * CELL, kv_type=kv_type)
        low, high = (low, middle - 1) if fit.verdict is Verdict.NO else (middle, high)
    return low * CELL


def gpu_budget(hardware: Hardware) -> int:
    """Bytes for a model on the GPUs: what is free, less CUDA's context and a reserve of 3 % or 512 MiB on each."""
    return sum(_budget_of(gpu) for gpu in usable_gpus(hardware))


def ram_budget(hardware: Hardware) -> int:
    """Bytes for a model in RAM: what is available, less a tenth of the whole for the system (512 MiB to 2 GiB)."""
    reserve = max(min(2048 * _MIB, hardware.memory.total // 10), 512 * _MIB)
    return max(0, hardware.memory.available - reserve)


def usable_gpus(hardware: Hardware) -> list[Gpu]:
    """Cards with memory of their own and of one vendor, as one llama.cpp build drives them."""
    if not hardware.gpus:
        return []
    own = [gpu for gpu in hardware.gpus if not gpu.unified and _budget_of(gpu) > 0]
    vendor = max(own, key=_budget_of).vendor if own else ""
    return [gpu for gpu in own if gpu.vendor == vendor]


def metal_limit(hardware: Hardware) -> int:
    """Bytes of the RAM that macOS lets the GPU of an Apple chip hold; 0 where there is none."""
    return next((gpu.total for gpu in hardware.gpus if gpu.unified and gpu.vendor == "Apple"), 0)


def _budget_of(gpu: Gpu) -> int:
    return max(0, gpu.free - gpu_context(gpu.total) - max(512 * _MIB, gpu.total * 3 // 100))


@lru_cache
def gpu_context(total: int) -> int:
    """Bytes that a program takes on a GPU before it has any buffer, rather too much, by the memory of the GPU."""
    count = next((count for most, count in _MULTIPROCESSORS if total <= most * 1024 * _MIB), _MOST_MULTIPROCESSORS)
    return count * _CONTEXT_PER_MULTIPROCESSOR + _CUBLAS


def _repacked(hardware: Hardware) -> frozenset[str]:
    return _repacked_with(hardware.cpu.instructions)


@lru_cache
def _repacked_with(present: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(formats for name, formats in _REPACKED if name in present))


def _judge(shape: Shape, hardware: Hardware, *, context: int, kv_type: str) -> Fit:
    if kv_type not in KV_TYPES:
        raise ValueError(f"kv_type must be one of {', '.join(KV_TYPES)}, not {kv_type!r}")
    refused = "" if kv_type == "f16" else refusal(shape, Settings(kv_type=kv_type))
    if refused:
        # What llama.cpp does not run with this cache, it runs with the plain one.
        kv_type = "f16"
    cards = usable_gpus(hardware)
    ram, vram = ram_budget(hardware), sum(map(_budget_of, cards))
    placed = _Placing(shape, hardware, cards=len(cards), context=context, kv_type=kv_type)

    def fit(gpu_layers: int, place: str, budget: int) -> Fit:
        found = placed(gpu_layers)
        here = found.gpu if place == "GPU" else found.gpu + found.host
        splits = place == "GPU + CPU"
        layers = f"{gpu_layers} of {whole} layers on the GPU, the rest in RAM" if splits else ""
        return Fit(
            verdict=_verdict(here, budget, doubt=found.doubt, splits=splits),
            weights=here.weights,
            kv=here.kv,
            compute=here.compute + here.output,
            overhead=here.overhead,
            budget=budget,
            place=place,
            context=context,
            kv_type=kv_type,
            reason=_reason(here.total, budget, place, layers=layers) + _doubt(shape, refused),
            on_gpu=found.gpu,
            on_host=found.host,
            gpu_layers=gpu_layers,
            doubt=found.doubt,
        )

    whole = shape.blocks + 1
    most = _most_layers(placed, whole, vram) if vram else 0
    if not most:
        alone, limit = fit(0, "CPU", ram), metal_limit(hardware)
        if not limit or alone.total <= limit or alone.verdict is Verdict.NO:
            return alone
        return replace(fit(max(1, _most_layers(placed, whole, limit)), "GPU + CPU", ram), unified=True)
    found = placed(most)
    if most == whole and found.host.total <= ram:
        return fit(whole, "GPU", vram)
    # Whole layers do not fill the GPU to the brim: only what they do fill counts.
    return fit(most, "GPU + CPU", found.gpu.total + ram)


class _Placing:
    """What a model takes by the number of layers on the GPU."""

    def __init__(self, shape: Shape, hardware: Hardware, *, cards: int, context: int, kv_type: str) -> None:
        self.shape = shape
        self.cards = cards
        self.context, self.kv_type = context, kv_type
        self.repacked = _repacked(hardware)
        self.found: dict[int, Prediction] = {}

    def __call__(self, gpu_layers: int) -> Prediction:
        if gpu_layers not in self.found:
            self.found[gpu_layers] = self._predicted(gpu_layers)
        return self.found[gpu_layers]

    def _predicted(self, gpu_layers: int) -> Prediction:
        has_gpu = gpu_layers > 0
        repacked = frozenset() if has_gpu else self.repacked
        settings = Settings(self.context, self.kv_type, gpu_layers, has_gpu, brief=True, repacked=repacked)
        return predict(self.shape, settings, cards=max(1, self.cards) if has_gpu else 1, quick=has_gpu)


def _most_layers(placed: _Placing, whole: int, budget: int) -> int:
    """The most layers that the GPU holds; more layers never need less of it, but for the last step to all of them."""
    found = placed(whole).gpu
    if found.total <= budget:
        return whole
    low, high = 0, whole - 1
    # Layers are alike: where the mean one says that the edge lies, it is or is near.
    layer = max(1, (found.weights + found.kv) // whole)
    middle = high
    while low < high:
        left = budget - placed(middle).gpu.total
        low, high = (middle, high) if left >= 0 else (low, middle - 1)
        middle = min(max(middle + left // layer, low + 1), high)
    return low


def _verdict(here: Needs, budget: int, *, doubt: int, splits: bool) -> Verdict:
    left = budget - here.total
    if left < 0:
        return Verdict.NO
    if splits:
        return Verdict.SPLITS
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


def _doubt(shape: Shape, refused: str) -> str:
    """What a person should know about the figures."""
    rough = "" if rules_of(shape)[1] else f" A rough estimate: there is no rule for {shape.architecture} yet."
    return rough + (f" With a plain cache, for llama.cpp refuses this one: {refused}." if refused else "")


def _size(nbytes: int) -> str:
    return f"{nbytes / _GB:.1f} GB" if nbytes >= _GB else f"{max(1, round(nbytes / 1e6))} MB"
