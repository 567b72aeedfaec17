"""Will it run here? What a plan needs in llama.cpp, by place, and how that compares with what this machine has free.

The formulas follow llama.cpp's own allocation (ggml 0.25): weights and KV cache to the byte, the compute buffer by what
drives it and rather too much than too little. One slot, a ubatch of 512, flash attention on, as in llama-server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.hardware import Gpu, Hardware

if TYPE_CHECKING:
    from core.plan import Plan, PlannedTensor

_MIB = 1024**2

# Families whose attention, feed-forward and memory are exactly those of the formulas below.
_EXACT = frozenset({
    "llama", "qwen2", "qwen3", "ernie4_5", "granite", "minicpm", "olmo2", "phi3", "smollm3", "stablelm",
})  # fmt: skip

_UBATCH = 512
_MASK_BYTES = 2
_CELL = 256

# (bytes, weights) of a block of the cache's number format.
_KV_BLOCKS = {"f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q5_1": (24, 32), "q5_0": (22, 32),
              "q4_1": (20, 32), "q4_0": (18, 32)}  # fmt: skip
KV_TYPES = tuple(_KV_BLOCKS)

# Weights that llama.cpp rearranges for the processor at loading, in memory of their own: (needs, formats).
_REPACKED: tuple[tuple[str, frozenset[str]], ...] = (
    ("AVX2", frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})),
    ("AVX512F", frozenset({"Q2_K"})),
    ("AMX_INT8", frozenset({"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"})),
    ("DOTPROD", frozenset({"Q4_0", "IQ4_NL", "MXFP4", "Q8_0", "Q4_K", "Q5_K", "Q6_K"})),
)

# What no buffer shows: CUDA's context and cuBLAS on a GPU; the process and the tokenizer in RAM.
_GPU_CONTEXT = 330 * _MIB
_PROCESS = 96 * _MIB
_TOKENIZER_PER_TOKEN = 430
_BOOKKEEPING_PER_CELL = 52
_COMPUTE_SLACK = _MIB // 4


class Verdict(StrEnum):
    FITS = "fits"
    TIGHT = "tight"
    SPLITS = "splits"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a model takes in one place, in bytes."""

    weights: int = 0
    kv: int = 0
    compute: int = 0
    overhead: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.overhead

    def __add__(self, other: Needs) -> Needs:
        return Needs(
            self.weights + other.weights,
            self.kv + other.kv,
            self.compute + other.compute,
            self.overhead + other.overhead,
        )


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
    on_gpu: Needs = Needs()
    on_host: Needs = Needs()
    gpu_layers: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute + self.overhead

    @property
    def free_after(self) -> int:
        return self.budget - self.total


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a plan decides memory. Bytes or, where said, weights; one entry a layer in the tuples.

    `rope` are small tables that every place with a layer has. `copy` is the output matrix of a model that has none of
    its own: the input embedding a second time. `embedding`, `query`, `feed_forward` and `kv_widths` are weights a
    token; `feed_forward` counts every intermediate result that the widest feed-forward block holds at once.
    """

    architecture: str
    layers: tuple[int, ...]
    layers_on_gpu: tuple[int, ...]
    input: int
    output: int
    output_on_gpu: int
    rope: int
    rope_on_gpu: int
    copy: PlannedTensor | None
    kv_widths: tuple[tuple[int, int], ...]
    embedding: int
    query: int
    feed_forward: int
    vocabulary: int
    largest: int

    @property
    def exact(self) -> bool:
        return self.architecture in _EXACT


def estimate_fit(plan: Plan, hardware: Hardware, *, context: int = 4096, kv_type: str = "f16") -> Fit:
    """Whether `plan` runs on `hardware` with room for `context` tokens; ValueError for a kv_type not in KV_TYPES."""
    return _judge(shape_of(plan), hardware, context=context, kv_type=kv_type)


def largest_context(plan: Plan, hardware: Hardware, *, kv_type: str = "f16") -> int:
    """The most tokens (a multiple of 256, at most what the model was trained for) with which `plan` runs; 0 if none."""
    shape = shape_of(plan)
    low, high = 0, int(plan.model.key("context_length", 0)) // _CELL
    while low < high:
        middle = (low + high + 1) // 2
        fit = _judge(shape, hardware, context=middle * _CELL, kv_type=kv_type)
        low, high = (low, middle - 1) if fit.verdict is Verdict.NO else (middle, high)
    return low * _CELL


def shape_of(plan: Plan) -> Shape:
    """One pass over the tensors; everything after it is arithmetic."""
    key = plan.model.key
    count = int(key("block_count", 0))
    named = {tensor.name: tensor for tensor in plan.tensors}
    on_host, on_gpu = Counter[int | str](), Counter[int | str]()
    for tensor in plan.tensors:
        place = _place(tensor.name)
        on_host[place] += _host_bytes(tensor)
        on_gpu[place] += _gpu_bytes(tensor)
    embedding, heads = int(key("embedding_length", 0)), _numbers(key("attention.head_count", 0), count)
    head = embedding // max(1, *heads, 1)
    return Shape(
        architecture=plan.model.architecture,
        layers=tuple(on_host[layer] for layer in range(count)),
        layers_on_gpu=tuple(on_gpu[layer] for layer in range(count)),
        input=on_host["input"],
        output=on_host["output"],
        output_on_gpu=on_gpu["output"],
        rope=on_host["rope"],
        rope_on_gpu=on_gpu["rope"],
        copy=None if "output.weight" in named else named.get("token_embd.weight"),
        kv_widths=_kv_widths(key, heads=heads, head=head),
        embedding=embedding,
        query=max(0, *heads, 0) * int(key("attention.key_length", head)),
        feed_forward=_feed_forward(key, named),
        vocabulary=int(key("vocab_size", 0)) or _rows(named.get("token_embd.weight")),
        largest=max((t.nbytes for t in plan.tensors if t.name.startswith("blk.")), default=0),
    )


def _place(name: str) -> int | str:
    """A layer's number, or "input", "output" or "rope"."""
    if name.startswith("blk."):
        return int(name.split(".", 2)[1])
    if name.startswith(("token_", "position_", "per_layer_token_")):
        return "input"
    return "rope" if name.startswith("rope_") else "output"


def needs(
    shape: Shape, *, gpu_layers: int, context: int, kv_type: str, repacked: frozenset[str] = frozenset()
) -> tuple[Needs, Needs]:
    """(on the GPU, in RAM) with the last `gpu_layers` layers on the GPU: the output counts as one, and goes first.

    `repacked` are the formats that this processor has rearranged, which matters only without a GPU.
    """
    cells, total = _padded(context, _CELL), len(shape.layers)
    cut = max(0, total + 1 - gpu_layers)
    on_gpu, on_host = _compute(shape, gpu_layers=gpu_layers, cells=cells, kv_type=kv_type)
    host = Needs(
        weights=shape.input
        + sum(shape.layers[:cut])
        + (shape.rope if cut else 0)
        + (0 if gpu_layers else shape.output + _copy(shape, repacked)),
        kv=sum(_kv_bytes(widths, cells, kv_type) for widths in shape.kv_widths[:cut]),
        compute=on_host,
        overhead=_PROCESS + shape.vocabulary * (_TOKENIZER_PER_TOKEN + 4) + cells * _BOOKKEEPING_PER_CELL,
    )
    if not gpu_layers:
        return Needs(), host
    copy = _gpu_bytes(shape.copy) if shape.copy else 0
    return Needs(
        weights=sum(shape.layers_on_gpu[cut:]) + (shape.rope_on_gpu if cut < total else 0) + shape.output_on_gpu + copy,
        kv=sum(_kv_bytes(widths, cells, kv_type, on_gpu=True) for widths in shape.kv_widths[cut:]),
        compute=on_gpu,
    ), host


def _compute(shape: Shape, *, gpu_layers: int, cells: int, kv_type: str) -> tuple[int, int]:
    """(GPU, RAM) bytes of the graph's buffers: the widest moment of one layer, and the attention mask."""
    rows = min(_UBATCH, cells)
    mask, unit = rows * cells * _MASK_BYTES, rows * 4
    wide = (shape.feed_forward + 2 * shape.embedding + shape.query) * unit
    if not gpu_layers:
        return 0, mask + wide + shape.embedding * unit + _COMPUTE_SLACK
    # CUDA's flash attention keeps one layer's quantized keys and values as f16.
    widest = max((k + v for k, v in shape.kv_widths), default=0)
    scratch = 0 if kv_type in ("f16", "bf16", "f32") else 2 * widest * cells
    attention = scratch + 4 * max(shape.query, shape.embedding) * unit
    host = mask + 2 * shape.embedding * unit + _COMPUTE_SLACK
    if gpu_layers > len(shape.layers):
        return mask + max(wide, attention) + _COMPUTE_SLACK, host
    host += shape.embedding * unit
    # Long prompts are worked off on the GPU for the layers in RAM too: it needs room for a copy of what they read.
    read = max((_kv_bytes(widths, cells, kv_type) for widths in shape.kv_widths), default=0)
    return max(2 * mask + wide + shape.embedding * unit + shape.largest, 3 * mask + read * 3 // 2 + attention), host


def _copy(shape: Shape, repacked: frozenset[str]) -> int:
    copy = shape.copy
    return _host_bytes(copy) if copy and copy.format in repacked and _rows(copy) % 8 == 0 else 0


def _host_bytes(tensor: PlannedTensor) -> int:
    return _padded(tensor.nbytes, 32)


def _gpu_bytes(tensor: PlannedTensor) -> int:
    """CUDA fills the last row of a quantized tensor up to 512 weights and starts every tensor at a multiple of 128."""
    columns = tensor.tensor.columns
    missing = -columns % 512
    if not missing or tensor.format in ("F32", "F16", "BF16"):
        return _padded(tensor.nbytes, 128)
    return _padded(tensor.nbytes + missing * tensor.nbytes // tensor.tensor.weights, 128)


@lru_cache(maxsize=1024)
def _kv_bytes(widths: tuple[int, int], cells: int, kv_type: str, *, on_gpu: bool = False) -> int:
    """One layer's keys and values; `widths` are weights a token."""
    nbytes, weights = _KV_BLOCKS[kv_type]
    exact = sum(width * nbytes // weights * cells for width in widths)
    if not on_gpu or weights == 1:
        return exact
    return exact + sum(_padded(-width % 512 * nbytes // weights, 128) for width in widths)


def _kv_widths(key: Any, *, heads: list[int], head: int) -> tuple[tuple[int, int], ...]:
    k, v = int(key("attention.key_length", head)), int(key("attention.value_length", head))
    kv_heads = _numbers(key("attention.head_count_kv", None), len(heads)) or heads
    return tuple((count * k, count * v) for count in kv_heads)


def _feed_forward(key: Any, named: dict[str, PlannedTensor]) -> int:
    width = max(_numbers(key("feed_forward_length", 0), 1), default=0)
    expert = int(key("expert_feed_forward_length", 0)) or width
    # A gated block has its two halves and their product at once, a plain one its input and its output.
    plain = "blk.0.ffn_gate.weight" not in named and _rows(named.get("blk.0.ffn_up.weight")) == width
    return (2 if plain else 3) * max(width, expert * int(key("expert_used_count", 0)))


def _numbers(value: Any, count: int) -> list[int]:
    """A key that holds one number for all layers, or one for each."""
    if value is None:
        return []
    return [int(item) for item in value] if isinstance(value, (list, tuple)) else [int(value)] * count


def _rows(tensor: PlannedTensor | None) -> int:
    return tensor.tensor.rows if tensor else 0


def _padded(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


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
    if kv_type not in _KV_BLOCKS:
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
        return f"Needs {_gb(max(_tenths(total - budget), 1))} more than the {where}."
    have, want = _tenths(budget), _tenths(total)
    if layers:
        return f"Needs {_gb(want)}, too much for the GPU alone: {layers}."
    return f"Needs {_gb(want)} of the {_gb(have)} of {where}; leaves {_gb(have - want)}."


def _doubt(shape: Shape) -> str:
    return "" if shape.exact else f" An estimate: there is no exact rule for {shape.architecture} yet."


def _tenths(nbytes: int) -> int:
    return round(nbytes / 1e8)


def _gb(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10} GB"


_LAST = ("Q2_K", "Q2_K_S", "IQ2", "IQ1", "TQ")

# (fewer parameters than, formats that keep a model of that size good, first choice first).
_GOOD: tuple[tuple[float, tuple[str, ...]], ...] = (
    (3e9, ("Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M")),
    (10e9, ("Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q8_0")),
    (30e9, ("Q5_K_M", "Q5_K_S", "Q4_K_M", "Q6_K", "Q8_0")),
    (65e9, ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")),
    (float("inf"), ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q5_K_M", "Q5_K_S", "Q6_K", "Q8_0")),
)
# Below that: still usable, best first; K-quants before the older formats of the same size.
_USABLE = (
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_1", "Q4_0",
    "MXFP4_MOE", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS",
)  # fmt: skip


def recommend(plans: Sequence[Plan], fits: Sequence[Fit]) -> int | None:
    """The index of the recipe to take, or None when none runs.

    A good format that fits comes before one that is tight; both before a lower format; that before splitting; and
    two bits a weight come last. Unquantized files are never recommended.
    """
    if not plans:
        return None
    good = next(names for limit, names in _GOOD if plans[0].model.parameters < limit)
    low = tuple(name for name in _USABLE if name not in good)
    last = tuple(dict.fromkeys(plan.recipe.name for plan in plans if plan.recipe.name.startswith(_LAST)))
    running = (Verdict.FITS, Verdict.TIGHT)
    steps = [(names, verdict) for names in (good, low) for verdict in running]
    steps += [(names, Verdict.SPLITS) for names in (good, low)]
    steps += [(last, verdict) for verdict in (*running, Verdict.SPLITS)]
    wanted = [(name, verdict) for names, verdict in steps for name in names]
    have = {(plan.recipe.name, fit.verdict): i for i, (plan, fit) in enumerate(zip(plans, fits, strict=True))}
    return next((have[choice] for choice in wanted if choice in have), None)
