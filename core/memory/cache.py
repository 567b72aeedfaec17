"""What a model remembers: keys and values of each token, or a running state. To the byte.

Source: llama_kv_cache, llama_kv_cache_iswa and llama_memory_recurrent in llama.cpp, and the sizes in llama-hparams.cpp.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from core.memory.settings import CELL, KV_BLOCKS, Settings, padded
from core.memory.shape import Shape
from core.memory.weights import first_gpu_layer

_GPU_ROW = 512
_GPU_ALIGNMENT = 128
_STATE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cache:
    """Bytes, (on the GPU, in RAM): of layers that see all tokens, of those that see the last ones, and the state."""

    full: tuple[int, int] = (0, 0)
    windowed: tuple[int, int] = (0, 0)
    state: tuple[int, int] = (0, 0)

    @property
    def gpu(self) -> int:
        return self.full[0] + self.windowed[0] + self.state[0]

    @property
    def host(self) -> int:
        return self.full[1] + self.windowed[1] + self.state[1]


def cache(shape: Shape, settings: Settings) -> Cache:
    """The cache of all layers."""
    first = first_gpu_layer(shape, settings)
    key = ("cache", settings.context, settings.kv_type, first, settings.parallel, settings.unified, settings.ubatch,
           settings.flash, settings.swa_full, settings.kv_on_host)  # fmt: skip
    if key not in shape.remembered:
        shape.remembered[key] = _cache(shape, settings, first)
    found: Cache = shape.remembered[key]
    return found


def _cache(shape: Shape, settings: Settings, first: int) -> Cache:
    sums = {"full": [0, 0], "windowed": [0, 0], "state": [0, 0]}
    for index, layers in _alike(shape):
        on_host = len(layers) if settings.kv_on_host else bisect_left(layers, first)
        for place, count in enumerate((len(layers) - on_host, on_host)):
            if count and shape.cached[index]:
                kind = "windowed" if shape.windowed[index] else "full"
                sums[kind][place] += count * layer_bytes(shape, index, settings, on_gpu=place == 0)
            if count and shape.recurrent[index]:
                sums["state"][place] += count * state_width(shape) * _STATE_BYTES * settings.parallel
    return Cache(*(tuple(sums[kind]) for kind in ("full", "windowed", "state")))  # type: ignore[arg-type]


def _alike(shape: Shape) -> list[tuple[int, list[int]]]:
    """Layers that remember alike: (one of them, all of them in order)."""
    if "alike" not in shape.remembered:
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, kind in enumerate(zip(shape.cached, shape.windowed, shape.recurrent, shape.kv_heads,
                                         shape.key_lengths, shape.value_lengths, strict=True)):  # fmt: skip
            groups.setdefault(kind, []).append(index)
        shape.remembered["alike"] = [(layers[0], layers) for layers in groups.values()]
    found: list[tuple[int, list[int]]] = shape.remembered["alike"]
    return found


def window_cells(shape: Shape, settings: Settings) -> int:
    """Tokens that the cache of a layer with a window holds."""
    if settings.swa_full:
        return settings.cells
    slots = settings.parallel if settings.unified else 1
    return padded(min(settings.cells, shape.window * slots + settings.ubatch), CELL)


def layer_cells(shape: Shape, index: int, settings: Settings) -> int:
    """Tokens that the cache of one layer holds, for one stream."""
    return window_cells(shape, settings) if shape.windowed[index] else settings.cells


def widths(shape: Shape, index: int, *, flash: bool = True) -> tuple[int, ...]:
    """Weights a token and layer: of the key, and of the value unless it is a part of the key.

    Without flash attention, values are as wide as in the widest layer.
    """
    key = shape.key_lengths[index] * shape.kv_heads[index]
    if shape.is_mla:
        return (key,)
    if flash:
        return (key, shape.value_lengths[index] * shape.kv_heads[index])
    return (key, max(length * heads for length, heads in zip(shape.value_lengths, shape.kv_heads, strict=True)))


def layer_bytes(shape: Shape, index: int, settings: Settings, *, on_gpu: bool) -> int:
    """One layer's keys and values."""
    tokens = layer_cells(shape, index, settings) * settings.streams
    return sum(_tensor_bytes(width, tokens, settings.kv_type, on_gpu=on_gpu)
               for width in widths(shape, index, flash=settings.flash != "off"))  # fmt: skip


def _tensor_bytes(width: int, tokens: int, kv_type: str, *, on_gpu: bool) -> int:
    nbytes, weights = KV_BLOCKS[kv_type]
    exact = width * nbytes // weights * tokens
    if not on_gpu or weights == 1:
        return exact
    return padded(exact + -width % _GPU_ROW * nbytes // weights, _GPU_ALIGNMENT)


def state_width(shape: Shape) -> int:
    """Weights that a layer's state takes for one sequence."""
    return sum(state_widths(shape))


def state_widths(shape: Shape) -> tuple[int, int]:
    """Of a layer's state: (what its convolution looks back on, the running sum)."""
    convolution = int(shape.key("shortconv.l_cache", 0) or 0)
    if convolution:
        return (convolution - 1) * shape.embedding, 0
    kernel, inner = int(shape.key("ssm.conv_kernel", 0) or 0), int(shape.key("ssm.inner_size", 0) or 0)
    state, groups = int(shape.key("ssm.state_size", 0) or 0), int(shape.key("ssm.group_count", 0) or 0)
    head = int(shape.key("kda.head_dim", 0) or 0)
    if head:
        heads = max((*shape.heads, 0))
        return 3 * max(0, kernel - 1) * head * heads, head * head * heads
    return max(0, kernel - 1) * (inner + 2 * groups * state), state * inner
