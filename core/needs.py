"""What a plan takes in llama.cpp, by place: weights, KV cache, compute buffer and what no buffer shows.

The formulas follow llama.cpp's own allocation (ggml 0.25): weights and KV cache to the byte, the compute buffer by what
drives it and rather too much than too little. One slot, a ubatch of 512, flash attention on, as in llama-server.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.plan import Plan, PlannedTensor

_MIB = 1024**2

# Families whose attention, feed-forward and memory are exactly those of the formulas below.
_EXACT = frozenset({
    "llama", "qwen2", "qwen3", "ernie4_5", "granite", "minicpm", "olmo2", "phi3", "smollm3", "stablelm",
})  # fmt: skip

_UBATCH = 512
_MASK_BYTES = 2
CELL = 256

# (bytes, weights) of a block of the cache's number format.
KV_BLOCKS = {"f32": (4, 1), "f16": (2, 1), "bf16": (2, 1), "q8_0": (34, 32), "q5_1": (24, 32), "q5_0": (22, 32),
              "q4_1": (20, 32), "q4_0": (18, 32)}  # fmt: skip
KV_TYPES = tuple(KV_BLOCKS)

# What no buffer shows, beside the context of a GPU: the process and the tokenizer.
_PROCESS = 96 * _MIB
_TOKENIZER_PER_TOKEN = 430
_BOOKKEEPING_PER_CELL = 52
_COMPUTE_SLACK = _MIB // 4


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


NOTHING = Needs()


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
    cells, total = _padded(context, CELL), len(shape.layers)
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
    nbytes, weights = KV_BLOCKS[kv_type]
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
