"""Tokens a second, before a model runs: from bytes read a token and each memory's bandwidth; prompts by arithmetic.

Generation: t = t0 + sum over devices of bytes read / (bandwidth * efficiency of the format), plus what is remembered of
the tokens before. Prompt: t = 2 * active weights / arithmetic rate, plus attention, and what must cross the bus first.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from core.answer.placement import Placement
from core.hardware import Confidence, Hardware
from core.hardware.measure import memory_bandwidth
from core.memory import Settings, Shape
from core.memory.cache import cache
from core.memory.shape import Held

if TYPE_CHECKING:
    from core.plan import Plan

# What a program reads of its peak bandwidth when it reads this format, F16 being 1: llama.cpp's own table of
# tokens a second by file type on one machine (tools/quantize/README.md), times the bytes of each.
_EFFICIENCY = {
    "F32": 1.0, "F16": 1.0, "BF16": 1.0, "Q8_0": 0.93, "Q6_K": 0.83, "Q5_K": 0.82, "Q4_K": 0.77, "IQ4_XS": 0.74,
    "IQ4_NL": 0.74, "Q3_K": 0.55, "IQ3_S": 0.57, "IQ3_XXS": 0.52, "Q2_K": 0.54, "IQ2_S": 0.47, "IQ2_XS": 0.44,
    "IQ2_XXS": 0.41, "IQ1_M": 0.36, "IQ1_S": 0.34,
}  # fmt: skip
_EFFICIENCY_ELSE = 0.77
# 109 published runs of dense models on one GPU: t = 1.36 * bytes / bandwidth + 0.7 ms, most of them with Q4_K_M.
_GPU_SHARE = 0.74 / 0.76
_GPU_MOST = 0.92
_GPU_FIXED_SECONDS = 0.7e-3
# A prompt is worked off in batches of that many tokens, each with so much for starting.
_BATCH = 512
_GPU_BATCH_SECONDS = 2e-3
# Experts are many small matrices: in public runs of such models they are read, and prompts worked off, so much slower.
_EXPERT_READS = 0.5
_EXPERT_PROMPT = 0.33
# Where the processor reads: the share of what copying gets, and what a core decodes of quantized weights in a second:
# with AVX-512 as llama.cpp did on one core of an EPYC (Zen 4), 22e9 in Q8_0 and 29e9 in Q4_K_M; else by the width.
_CPU_SHARE = 0.8
_CPU_FIXED_SECONDS = 0.3e-3
_CPU_WEIGHTS_PER_CORE = {"AVX512_VNNI": 25e9, "AVX2": 16e9, "DOTPROD": 16e9}
_CPU_WEIGHTS_ELSE = 4e9
# Where nobody measured: two channels of DDR4 or DDR5.
_USUAL_RAM = 45e9
_USUAL_CARD = 300e9
# Operations of a prompt a second and core, by what the processor has, best first; there, llama.cpp did 67e9 to 92e9.
_CPU_OPERATIONS = {"AMX_INT8": 400e9, "AVX512_VNNI": 80e9, "AVX2": 50e9, "DOTPROD": 50e9}
_CPU_OPERATIONS_ELSE = 8e9
# Operations of a prompt for each byte of bandwidth: rounded from public llama-bench runs of 7 and 8 billion weights,
# right within a factor of two: (vendor, format that only such cards have, operations a byte), first match.
_OPERATIONS_PER_BYTE = (
    ("NVIDIA", "FP8", 110.0), ("NVIDIA", "BF16", 65.0), ("NVIDIA", "FP16", 50.0), ("NVIDIA", "INT8", 33.0),
    ("NVIDIA", "", 20.0), ("Apple", "", 21.0), ("AMD", "", 38.0), ("Intel", "", 35.0), ("", "", 40.0),
)  # fmt: skip
# PCIe 4 with 16 lanes, as it is met: weights in RAM cross it for every batch of a prompt.
_BUS = 25e9
# How far off, as a logarithm: (below, above).
_SPREAD = {Confidence.HIGH: (0.07, 0.07), Confidence.MEDIUM: (0.4, 0.3), Confidence.LOW: (0.7, 0.6)}
_EXPERTS = re.compile(r"_(ch|)exps\.")
_TYPICAL_FILL = 2048


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a second: most likely, and the range that four of five machines lie in. `source` in words."""

    low: float
    likely: float
    high: float
    confidence: Confidence
    source: str


@dataclass(frozen=True, slots=True)
class Speed:
    """`generation` with a short conversation, `full` with the whole context in use, `prompt` for reading one.

    `read_bytes` are read for each token; `weights` take part in it.
    """

    generation: Rate
    full: Rate
    prompt: Rate
    read_bytes: int
    weights: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """What this machine did in a short trial: bytes/s that its cores copy, operations/s that they multiply."""

    bandwidth: float
    operations: float


def calibrate(hardware: Hardware, *, seconds: float = 1.0) -> Calibration:
    """Measures this machine's memory and cores, in two seconds at most."""
    cores = _cores(hardware)
    part = min(max(seconds, 0.05), 1.6) / 2
    return Calibration(memory_bandwidth(cores, available=hardware.memory.available, seconds=min(part, 0.3)),
                       _multiplications(part))  # fmt: skip


def estimate_speed(
    plan: Plan,
    hardware: Hardware,
    placement: Placement,
    *,
    context: int,
    kv_type: str = "f16",
    calibration: Calibration | None = None,
    generation: float = 0,
    prompt: float = 0,
) -> Speed:
    """Speed of `plan` laid out by `placement`. `generation` and `prompt` are measured tokens/s, where there are any."""
    shape = plan.shape
    machine = _Machine(hardware, placement, calibration)
    read = read_per_token(shape, placement)
    usual, full = (_remembered(shape, placement, tokens, kv_type) for tokens in (min(_TYPICAL_FILL, context), context))
    weights = active_weights(shape)
    rates = [machine.generation(read, remembered, weights) for remembered in (usual, full)]
    if generation:
        rates = [_measured(generation), _scaled(rates[1], generation / rates[0].likely)]
    reading = _measured(prompt) if prompt else machine.prompt(shape, placement, weights, min(context, _TYPICAL_FILL))
    total = sum(read.gpu.values()) + sum(read.host.values()) + usual[0] + usual[1]
    return Speed(rates[0], rates[1], reading, total, weights)


@dataclass(frozen=True, slots=True)
class Read:
    """Bytes of weights that one token reads, by format, on the GPUs and in RAM; `held` are all that RAM holds.

    `experts` is the part of what is read that are experts, 0 to 1.
    """

    gpu: Counter[str]
    host: Counter[str]
    held: int
    experts: float = 0


def read_per_token(shape: Shape, placement: Placement) -> Read:
    """Every weight that one token meets: all matrices but the input embedding, of experts those that are used."""
    gpu: Counter[str] = Counter()
    host: Counter[str] = Counter()
    held = experts = 0
    share = _used_share(shape)
    first = max(0, placement.blocks + 1 - placement.gpu_layers)
    tables = [*enumerate(shape.layers), (placement.blocks, shape.output)]
    for layer, tensor in ((layer, tensor) for layer, table in tables for tensor in table.values()):
        expert = _is_expert(tensor)
        on_gpu = layer >= first and not (expert and layer < placement.host_experts)
        read = round(tensor.nbytes * (share if expert else 1))
        (gpu if on_gpu else host)[tensor.format] += read
        experts += read if expert else 0
        held += 0 if on_gpu else tensor.nbytes
    if shape.tied:
        (gpu if first <= placement.blocks else host)[shape.tied.format] += shape.tied.nbytes
    return Read(gpu, host, held, experts / max(1, sum(gpu.values()) + sum(host.values())))


def active_weights(shape: Shape) -> int:
    """Weights that one token is multiplied with."""
    share = _used_share(shape)
    tables: Iterable[Iterable[Held]] = (table.values() for table in (*shape.layers, shape.output))
    used = sum(round(prod(held.ne) * (share if _is_expert(held) else 1)) for table in tables for held in table)
    return used + (prod(shape.tied.ne) if shape.tied else 0)


def _is_expert(held: Held) -> bool:
    return _EXPERTS.search(held.name) is not None


def _used_share(shape: Shape) -> float:
    count = int(shape.key("expert_count", 0) or 0)
    return int(shape.key("expert_used_count", 0) or 0) / count if count else 1.0


def _remembered(shape: Shape, placement: Placement, tokens: int, kv_type: str) -> tuple[int, int]:
    """Bytes of what is remembered of `tokens`, (on the GPUs, in RAM): all of it is read for the next token."""
    found = cache(shape, Settings(context=tokens, kv_type=kv_type, gpu_layers=placement.gpu_layers, has_gpu=True))
    return found.gpu, found.host


class _Machine:
    """What this machine does in a second, by device."""

    def __init__(self, hardware: Hardware, placement: Placement, calibration: Calibration | None) -> None:
        self.cores = _cores(hardware)
        self.instructions = frozenset(hardware.cpu.instructions)
        self.calibration = calibration
        self.cards = placement.cards or ((placement.unified,) if placement.unified else ())
        self.in_ram = placement.unified is None
        self.ram = float(calibration.bandwidth if calibration else 0) or float(hardware.memory.bandwidth)
        known = all(gpu.bandwidth for gpu in self.cards)
        # Cards work one after the other, each on its part: as one card of their mean.
        each = [gpu.bandwidth or (_USUAL_CARD if self.in_ram else self.ram or _USUAL_RAM) for gpu in self.cards]
        self.vram = len(each) / sum(1 / rate for rate in each) if each else 0.0
        measured = bool(self.ram)
        sure = (known or not self.cards) and (measured or not self.in_ram or (placement.is_whole and bool(self.cards)))
        self.confidence = Confidence.MEDIUM if sure else Confidence.LOW
        self.ram = self.ram or _USUAL_RAM

    def generation(self, read: Read, remembered: tuple[int, int], weights: int) -> Rate:
        on_gpu, on_host = (read.gpu, read.host) if self.in_ram else (read.gpu + read.host, Counter[str]())
        kv_gpu, kv_host = remembered if self.in_ram else (sum(remembered), 0)
        seconds = 0.0
        if self.cards:
            seconds += _GPU_FIXED_SECONDS * len(self.cards)
            # With experts kept in RAM, what is on the GPU is mostly the rest.
            slower = 1 + read.experts * (1 / _EXPERT_READS - 1) * (not on_host)
            seconds += slower * sum(size / (self.vram * _gpu_efficiency(name)) for name, size in on_gpu.items())
            seconds += kv_gpu / (self.vram * _GPU_MOST)
        if on_host:
            total = sum(read.gpu.values()) + sum(read.host.values())
            decoded = weights * sum(on_host.values()) / max(1, total) / (self.cores * self._weights_per_core())
            seconds += _CPU_FIXED_SECONDS + max((sum(on_host.values()) + kv_host) / (self.ram * _CPU_SHARE), decoded)
        return self._rate(1 / max(seconds, 1e-6), "bytes read a token, by each memory's bandwidth")

    def prompt(self, shape: Shape, placement: Placement, weights: int, tokens: int) -> Rate:
        inside = weights - sum(prod(held.ne) for held in shape.output.values() if len(held.ne) > 1)
        inside -= prod(shape.tied.ne) if shape.tied else 0
        heads = sum(h * k for h, k, kept in zip(shape.heads, shape.key_lengths, shape.cached, strict=True) if kept)
        operations = 2 * max(inside, 1) + 4 * heads * tokens / 2
        if not self.cards:
            return self._rate(self._cpu_operations() / operations, "the processor's arithmetic", rough=True)
        read = read_per_token(shape, placement)
        slower = 1 + read.experts * (1 / _EXPERT_PROMPT - 1)
        seconds = slower * operations / self._gpu_operations() + _GPU_BATCH_SECONDS / _BATCH
        if self.in_ram:
            # What lies in RAM crosses the bus once for every batch of tokens.
            seconds += read.held / _BUS / _BATCH
        return self._rate(1 / seconds, "the GPU's arithmetic, and the bus where weights are in RAM", rough=True)

    def _weights_per_core(self) -> float:
        return next((v for name, v in _CPU_WEIGHTS_PER_CORE.items() if name in self.instructions), _CPU_WEIGHTS_ELSE)

    def _cpu_operations(self) -> float:
        each = next((v for name, v in _CPU_OPERATIONS.items() if name in self.instructions), _CPU_OPERATIONS_ELSE)
        return self.calibration.operations if self.calibration else self.cores * each

    def _gpu_operations(self) -> float:
        gpu = self.cards[0]
        return self.vram * next(rate for vendor, format, rate in _OPERATIONS_PER_BYTE
                                if vendor in ("", gpu.vendor) and (not format or format in gpu.formats))  # fmt: skip

    def _rate(self, likely: float, source: str, *, rough: bool = False) -> Rate:
        confidence = Confidence.LOW if rough and not (self.calibration and not self.cards) else self.confidence
        below, above = _SPREAD[confidence]
        return Rate(likely * math.exp(-below), likely, likely * math.exp(above), confidence, source)


def _gpu_efficiency(format: str) -> float:
    return min(_GPU_MOST, _GPU_SHARE * _EFFICIENCY.get(format, _EFFICIENCY_ELSE))


def _measured(rate: float) -> Rate:
    below, above = _SPREAD[Confidence.HIGH]
    return Rate(rate * math.exp(-below), rate, rate * math.exp(above), Confidence.HIGH, "measured on this machine")


def _scaled(rate: Rate, factor: float) -> Rate:
    return replace(rate, low=rate.low * factor, likely=rate.likely * factor, high=rate.high * factor)


def _cores(hardware: Hardware) -> int:
    return max(1, min(hardware.cpu.physical_cores, int(hardware.cpu.usable_cores)))


def _multiplications(seconds: float) -> float:
    """Operations/s of all cores in products of float matrices: llama.cpp's of integers are about as fast."""
    import time

    import numpy as np

    left = np.ones((512, 512), dtype=np.float32)
    until = time.perf_counter() + seconds
    best, done = math.inf, 0
    while done < 3 or time.perf_counter() < until:
        start = time.perf_counter()
        left @ left
        best, done = min(best, time.perf_counter() - start), done + 1
    return 2 * 512**3 / best
