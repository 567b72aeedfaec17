"""Weights by place, to the byte. Source: load_tensors and create_tensor in llama.cpp's loader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod

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
    rearranged = frozenset() if settings.has_gpu else settings.repacked
    key = (first, settings.host_experts, rearranged)
    found: tuple[int, int, int] | None = shape.added_up.get(key)
    if found is None:
        found = shape.added_up[key] = _weights(shape, first, settings.host_experts, rearranged)
    return found


def _weights(shape: Shape, first: int, host_experts: int, rearranged: frozenset[str]) -> tuple[int, int, int]:
    gpu = host = repacked = 0
    for layer, sums in enumerate(_sums(shape, rearranged), start=-1):
        if layer < first or layer < 0:
            host, repacked = host + sums.host, repacked + sums.repacked
        elif layer < host_experts:
            gpu, host = gpu + sums.gpu - sums.experts_gpu, host + sums.experts_host + sums.only_in_ram
        else:
            gpu, host = gpu + sums.gpu, host + sums.only_in_ram
    for held in shape.shared.values():
        gpu += gpu_bytes(held) if first < len(shape.layers) else 0
        host += host_bytes(held) if first > 0 else 0
    if shape.tied and first <= shape.blocks:
        gpu += gpu_bytes(shape.tied)
    elif shape.tied and may_repack(shape.tied, rearranged):
        repacked += host_bytes(shape.tied)
    elif shape.tied and shape.architecture in _TWICE:
        host += host_bytes(shape.tied)
    return gpu, host, repacked


@dataclass(frozen=True, slots=True)
class _Sums:
    """Bytes of one layer wherever it may lie; `experts` are those of its experts, `only_in_ram` those no GPU gets."""

    gpu: int
    host: int
    repacked: int
    experts_gpu: int
    experts_host: int
    only_in_ram: int


def _sums(shape: Shape, rearranged: frozenset[str]) -> list[_Sums]:
    """The input, each block and the output, added up once; blocks that are not loaded take nothing."""
    known: list[_Sums] | None = shape.added_up.get(rearranged)
    if known is None:
        not_loaded: list[dict[str, Held]] = [{}] * (shape.blocks - len(shape.layers))
        forms = (None, *shape.forms, *[None] * len(not_loaded), None)
        tables = (shape.input, *shape.layers, *not_loaded, shape.output)
        known = [_sum_of_form(shape, form, table, rearranged if index else frozenset())
                 for index, (form, table) in enumerate(zip(forms, tables, strict=True))]  # fmt: skip
        shape.added_up[rearranged] = known
    return known


def _sum_of_form(shape: Shape, form: int | None, table: Mapping[str, Held], rearranged: frozenset[str]) -> _Sums:
    """The sum, once for all layers of a form in the same formats, in whatever file."""
    if form is None:
        return _sum(table.values(), rearranged, shape.only_in_ram)
    key = ("sum", form, tuple([held.format for held in table.values()]), rearranged)
    found: _Sums | None = shape.remembered.get(key)
    if found is None:
        found = shape.remembered[key] = _sum(table.values(), rearranged, shape.only_in_ram)
    return found


def _sum(tensors: Iterable[Held], rearranged: frozenset[str], kept: frozenset[str]) -> _Sums:
    gpu = host = repacked = experts_gpu = experts_host = only_in_ram = 0
    for held in tensors:
        on_gpu, on_host, moved, is_expert = _one(held, rearranged)
        if held.name in kept:
            only_in_ram += on_host
        else:
            gpu += on_gpu
        if moved:
            repacked += on_host
        else:
            host += on_host
        if is_expert:
            experts_gpu, experts_host = experts_gpu + on_gpu, experts_host + on_host
    return _Sums(gpu, host, repacked, experts_gpu, experts_host, only_in_ram)


@lru_cache(maxsize=1 << 14)
def _one(held: Held, rearranged: frozenset[str]) -> tuple[int, int, bool, bool]:
    """(bytes on a GPU, in RAM, whether it is rearranged, whether it is of experts): the same for most layers."""
    return gpu_bytes(held), host_bytes(held), may_repack(held, rearranged), is_experts(held)


def is_experts(held: Held) -> bool:
    """Whether a tensor is what `--cpu-moe` keeps in RAM."""
    return _EXPERTS.search(held.name) is not None


def largest_copy(shape: Shape) -> int:
    """Bytes of the largest matrix that may be copied to a GPU for one operation."""
    if "copy" not in shape.added_up:
        # Most layers hold the same.
        once = {id(held): held for table in (*shape.layers, shape.output) for held in table.values()}
        tied = [shape.tied] if shape.tied else []
        shape.added_up["copy"] = max(map(gpu_bytes, (*once.values(), *tied)), default=0)
    return int(shape.added_up["copy"])


def stays_on_host(held: Held, layer: int, settings: Settings) -> bool:
    """Whether these are experts that are kept in RAM."""
    return layer < settings.host_experts and is_experts(held)


def may_repack(held: Held, formats: Iterable[str]) -> bool:
    """Whether llama.cpp rearranges a matrix for this processor."""
    return (
        held.format in formats
        and (len(held.ne) == 2 or (len(held.ne) == 3 and is_experts(held)))
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
    return padded(held.nbytes + missing * held.nbytes // prod(held.ne), _GPU_ALIGNMENT)
