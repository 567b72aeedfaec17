"""How a model is laid out where it does not fit whole: experts in RAM before whole layers, cards by their memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from core.fit import Fit, Verdict, gpu_budget, ram_budget, usable_gpus
from core.hardware import Gpu, Hardware
from core.memory import ALL_LAYERS, Needs, Settings, Shape, predict

if TYPE_CHECKING:
    from core.plan import Plan


@dataclass(frozen=True, slots=True)
class Placement:
    """`gpu_layers` as llama.cpp counts them: the output is one. The experts of the first `host_experts` blocks are in
    RAM. `cards` hold the GPU's part, in equal shares of their free memory; `unified` is a GPU that works in the RAM.
    """

    gpu_layers: int
    host_experts: int
    gpu: Needs
    host: Needs
    blocks: int
    cards: tuple[Gpu, ...] = ()
    unified: Gpu | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every layer is on a GPU, but perhaps for experts."""
        return self.gpu_layers > self.blocks or (self.unified is not None and not self.gpu_layers)

    @property
    def words(self) -> str:
        """Where the layers are, for people."""
        if self.unified is not None and self.is_whole:
            return f"in the RAM that {self.unified.name} shares"
        if self.host_experts:
            return f"all layers on the GPU, the experts of {self.host_experts} of {self.blocks} in RAM"
        if self.is_whole:
            return "whole on the GPU" if len(self.cards) < 2 else f"whole on {len(self.cards)} GPUs"
        if self.gpu_layers:
            return f"{self.gpu_layers} of {self.blocks + 1} layers on the GPU, the rest in RAM"
        return "in RAM"


def place_model(plan: Plan, hardware: Hardware, fit: Fit) -> Placement:
    """Where `fit` puts the model; a mixture of experts that splits keeps its experts in RAM instead of whole layers."""
    shape = plan.shape
    cards = tuple(usable_gpus(hardware)) if fit.gpu_layers else ()
    unified = _unified(hardware) if not cards else None
    placed = Placement(fit.gpu_layers, 0, fit.on_gpu, fit.on_host, shape.blocks, cards, unified)
    if fit.place != "GPU + CPU" or not has_experts(shape):
        return placed
    return _experts_in_ram(shape, hardware, fit, placed) or placed


def as_placed(fit: Fit, placement: Placement, hardware: Hardware) -> Fit:
    """`fit` with the figures and the reason of `placement`, where that keeps experts in RAM instead of whole layers."""
    if not placement.host_experts:
        return fit
    gpu, host = placement.gpu, placement.host
    here = gpu + host
    budget = gpu.total + ram_budget(hardware)
    return replace(
        fit,
        weights=here.weights,
        kv=here.kv,
        compute=here.compute + here.output,
        overhead=here.overhead,
        budget=budget,
        reason=_split_reason(fit, here.total, placement.words, missing=here.total - budget),
        on_gpu=gpu,
        on_host=host,
        gpu_layers=placement.gpu_layers,
    )


def reason_at_a_glance(plan: Plan, fit: Fit) -> str:
    """The reason of `fit` without looking for the best split: of a mixture's, that experts go to RAM."""
    if fit.verdict is not Verdict.SPLITS or not has_experts(plan.shape) or fit.unified:
        return fit.reason
    return _split_reason(fit, fit.total, "all layers on the GPU, experts in RAM")


def _split_reason(fit: Fit, total: int, where: str, *, missing: int = 0) -> str:
    """As estimate_fit says it, and the same after its first sentence."""
    rest = fit.reason.partition(". ")[2]
    said = f"Needs {_size(total)}, too much for the GPU alone: {where}."
    if missing > 0:
        said = f"Needs {_size(missing)} more than the usable GPU memory and RAM."
    return f"{said} {rest}".rstrip()


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 10**9 else f"{max(1, round(nbytes / 1e6))} MB"


def has_experts(shape: Shape) -> bool:
    return any("exps" in name for layer in shape.layers for name in layer)


def _experts_in_ram(shape: Shape, hardware: Hardware, fit: Fit, placed: Placement) -> Placement | None:
    """All layers on the GPU with the experts of as few as possible in RAM; None where even all of them are too few."""
    vram, ram = gpu_budget(hardware), ram_budget(hardware)

    @cache
    def needs(host_experts: int) -> tuple[Needs, Needs]:
        settings = Settings(context=fit.context, kv_type=fit.kv_type, gpu_layers=ALL_LAYERS, has_gpu=True,
                            host_experts=host_experts, brief=True)  # fmt: skip
        found = predict(shape, settings, cards=max(1, len(placed.cards)))
        return found.gpu, found.host

    low, high = 1, len(shape.layers)
    left = vram - needs(high)[0].total
    if left < 0:
        return None
    # Layers are alike: where the mean one says that the edge lies, it is or is near.
    experts = sum(held.nbytes for layer in shape.layers for name, held in layer.items() if "exps" in name)
    mean = max(1, experts // len(shape.layers))
    middle = high
    while low < high:
        middle = min(max(middle - left // mean, low), high - 1)
        left = vram - needs(middle)[0].total
        low, high = (low, middle) if left >= 0 else (middle + 1, high)
    gpu, host = needs(low)
    if fit.verdict is not Verdict.NO and host.total > ram:
        return None
    return Placement(shape.blocks + 1, low, gpu, host, shape.blocks, placed.cards)


def _unified(hardware: Hardware) -> Gpu | None:
    """A GPU that shares the RAM and is worth using: one whose memory's bandwidth is known, or Apple's."""
    shared = [gpu for gpu in hardware.gpus if gpu.unified]
    return next((gpu for gpu in shared if gpu.bandwidth or gpu.vendor == "Apple"), None)
