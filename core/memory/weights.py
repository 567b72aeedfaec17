"""Weights by place, to the byte. Source: load_tensors and create_tensor in llama.cpp's loader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from core.memory.settings import Settings, padded
from core.memory.shape import Held, Shape

_EXPERTS = re.compile(r"ffn_(up|down|gate|gate_up)_(ch|)exps")
_HOST_ALIGNMENT = 32
_GPU_ALIGNMENT = 128
_FLOATS = frozenset({"F32", "F16", "BF16"})
# CUDA reads quantized rows in pieces of that many weights.
_GPU_ROW = 512
# Families that make the output before the input embedding: it is counted twice wherever it is.
_TWICE = frozenset({"gemma3n", "gemma4"})
# Tensors that are no factor of a product are never rearranged.
_NOT_MULTIPLIED = re.compile(r"norm|bias|ssm_a$|ssm_d$|conv1d|shortconv\.conv|rope|scale|position_embd|token_types"
                             r"|attn_sinks|altup_correct_scale|exp_probs")  # fmt: skip


def first_gpu_layer(shape: Shape, settings: Settings) -> int:
    """The first layer on the GPU; one after all blocks is the output."""
    return max(0, shape.blocks + 1 - settings.gpu_layers)


def weights(shape: Shape, settings: Settings) -> tuple[int, int, int]:
    """Bytes (on the GPU, in RAM as in the file, in RAM rearranged for the processor)."""
    first = first_gpu_layer(shape, settings)
    gpu = host = repacked = 0
    rearranged = frozenset() if settings.has_gpu else settings.repacked
    for held, layer in _placed(shape):
        if layer >= first and not stays_on_host(held, layer, settings):
            gpu += gpu_bytes(held)
        elif layer >= 0 and may_repack(held, rearranged):
            repacked += host_bytes(held)
        else:
            host += host_bytes(held)
    if shape.tied and first <= shape.blocks:
        gpu += gpu_bytes(shape.tied)
    elif shape.tied and may_repack(shape.tied, rearranged):
        repacked += host_bytes(shape.tied)
    elif shape.tied and shape.architecture in _TWICE:
        host += host_bytes(shape.tied)
    for held in shape.shared.values():
        gpu += gpu_bytes(held) if first < len(shape.layers) else 0
        host += host_bytes(held) if first > 0 else 0
    return gpu, host, repacked


def _placed(shape: Shape) -> Iterator[tuple[Held, int]]:
    """Every tensor that is loaded, with its layer: -1 for the input, the number of blocks for the output."""
    yield from ((held, -1) for held in shape.input.values())
    for index, layer in enumerate(shape.layers):
        yield from ((held, index) for held in layer.values())
    yield from ((held, shape.blocks) for held in shape.output.values())


def stays_on_host(held: Held, layer: int, settings: Settings) -> bool:
    """Whether these are experts that are kept in RAM."""
    return layer < settings.host_experts and _EXPERTS.search(held.name) is not None


def may_repack(held: Held, formats: Iterable[str]) -> bool:
    """Whether llama.cpp rearranges a matrix for this processor."""
    return (
        held.format in formats
        and (len(held.ne) == 2 or (len(held.ne) == 3 and _EXPERTS.search(held.name) is not None))
        and held.ne[1] % 8 == 0
        and _NOT_MULTIPLIED.search(held.name) is None
    )


def host_bytes(held: Held) -> int:
    return padded(held.nbytes, _HOST_ALIGNMENT)


def gpu_bytes(held: Held) -> int:
    """CUDA fills the last row of a quantized tensor up to 512 weights and starts every tensor at a multiple of 128."""
    columns = held.ne[0]
    missing = -columns % _GPU_ROW
    if not missing or held.format in _FLOATS:
        return padded(held.nbytes, _GPU_ALIGNMENT)
    return padded(held.nbytes + missing * held.nbytes // held.weights, _GPU_ALIGNMENT)
