"""The buffers of a model's graph, by playing llama.cpp's planning: graph, devices, lifetimes, best fitting gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from core.memory.allocate import Lifetimes, lifetimes, peaks
from core.memory.cache import window_cells
from core.memory.graph import Node
from core.memory.model_graph import model_graph
from core.memory.rules import rules_of
from core.memory.schedule import on_one_device, on_two_devices
from core.memory.settings import Settings
from core.memory.shape import Shape, convolves, scans
from core.memory.weights import first_gpu_layer, largest_copy

# Heads that CUDA's flash attention knows: of how many queries a key must serve a multiple, by size of (key, value).
_FLASH_HEADS = {**{(size, size): 1 for size in (40, 64, 72, 80, 96, 112, 128, 256)}, (192, 128): 8, (320, 256): 32}
# The same for sizes where it only has to serve more than one.
_FLASH_GROUPS = frozenset({(512, 512), (576, 512)})

# So many layers before one decide, as measured, where its results come to lie: in general, of layers with a state, and
# with copies of weights.
_LOOKS_BACK = 1
_LOOKS_BACK_OF_STATES = 2
_LOOKS_BACK_OF_COPIES = 4


_Found = TypeVar("_Found")


def compute(shape: Shape, settings: Settings) -> tuple[int, int]:
    """Bytes (on the GPU, in RAM)."""
    window = window_cells(shape, settings)
    key = (*_graph_key(shape, settings), settings.cells, window)
    found: tuple[int, int] | None = shape.remembered.get(key)
    if found is None:
        found = shape.remembered[key] = _planned_or(
            shape,
            lambda: peaks(_kept(shape, settings), cells=settings.cells, window=window),
            otherwise=lambda: bound(shape, settings),
        )
    return found


def _graph_key(shape: Shape, settings: Settings) -> tuple[object, ...]:
    """Equal for settings that give the same graph but for the length of its caches."""
    if _is_split(shape, settings):
        return (settings.graph, settings.kv_type, shape.formats if settings.copies else 0)
    # A quantized cache that lies where it is used is never copied: its format does not matter.
    return (settings.graph, settings.kv_type if settings.kv_on_host else settings.quantized_kv, 0)


def bound(shape: Shape, settings: Settings) -> tuple[int, int]:
    """For a family whose graph is not known: the widest moment of a layer, the masks and the logits, from above."""
    widest = max((held.ne[1] for layer in shape.layers for held in layer.values() if len(held.ne) > 1), default=0)
    row = 4 * (3 * widest + 6 * shape.embedding)
    masks = settings.tokens * 2 * (settings.cells + shape.embedding * 4)
    logits = 4 * shape.vocabulary * settings.tokens if settings.outputs == "all" else 0
    whole = settings.tokens * row + masks + logits
    if not settings.has_gpu:
        return 0, whole
    return whole + (largest_copy(shape) if first_gpu_layer(shape, settings) else 0), masks


def compute_of_split(shape: Shape, settings: Settings) -> tuple[int, int]:
    """The same for any number of layers on the GPU but none and all: rather too much, for all formats at once.

    The graph's own buffers hardly depend on the number; the largest matrix that is fetched comes on top.
    """
    at_large, placed = settings.graph
    by_number = rules_of(shape)[0].state
    key = ("split", at_large, placed[1:], settings.quantized_kv, settings.cells, placed[0] if by_number else 0)
    if key not in shape.remembered:
        shape.remembered[key] = _computed_of_split(shape, settings)
    gpu, host = shape.remembered[key]
    return gpu + largest_copy(shape), host


def _computed_of_split(shape: Shape, settings: Settings) -> tuple[int, int]:
    kv_type = "q8_0" if settings.quantized_kv else settings.kv_type
    half = replace(settings, gpu_layers=max(1, shape.blocks // 2), copies=False, kv_type=kv_type)
    # Where layers with attention are few, it depends on the number whether they find their cache beside them.
    asked = replace(settings, brief=False) if rules_of(shape)[0].state else half
    return compute(shape, replace(half, flash="on" if uses_flash(shape, asked) else "off"))


def _kept(shape: Shape, settings: Settings) -> Lifetimes:
    """The lifetimes, found once for all contexts: they are linear in it."""
    key = _graph_key(shape, settings)
    found = shape.remembered.get(key)
    if found is None:
        found = shape.remembered[key] = planned(shape, settings)
    return found


def _is_split(shape: Shape, settings: Settings) -> bool:
    return settings.has_gpu and (first_gpu_layer(shape, settings) > 0 or settings.host_experts > 0)


def planned(shape: Shape, settings: Settings) -> Lifetimes:
    """The lifetimes in the graph of a whole ubatch."""
    rules, _ = rules_of(shape)
    tokens = settings.tokens
    outputs = tokens if settings.outputs == "all" else settings.parallel
    flash = uses_flash(shape, settings)
    layers = telling_layers(shape, settings)
    b = model_graph(shape, settings, rules, flash=flash, tokens=tokens, outputs=outputs, layers=layers)
    if not settings.has_gpu:
        return lifetimes(b.graph, on_one_device(b.graph))
    return lifetimes(b.graph, on_two_devices(b.graph, supports=supports, fused=b.fused))


def telling_layers(shape: Shape, settings: Settings) -> list[int]:
    """As few layers as show every kind after every other: what comes again takes no more memory.

    An even number is left out at a time, for two neighbours often change places.
    """
    if not settings.brief:
        return list(range(len(shape.layers)))
    kinds = _kinds(shape, settings)
    last = len(kinds) - 1
    back = _LOOKS_BACK_OF_STATES if any(shape.recurrent) else _LOOKS_BACK
    if settings.copies and _is_split(shape, settings):
        back = _LOOKS_BACK_OF_COPIES
    seen: set[tuple[object, ...]] = set()
    kept: list[int] = []
    left_out = 0
    for index in range(len(kinds)):
        around = tuple(kinds[max(0, index - back) : index + 1])
        is_new = around not in seen
        seen.add(around)
        if is_new or index == last:
            kept += range(index - left_out % 2, index + 1)
            left_out = 0
        else:
            left_out += 1
    return kept


def _kinds(shape: Shape, settings: Settings) -> list[tuple[object, ...]]:
    """What of a layer a graph can tell from another."""
    first = first_gpu_layer(shape, settings)
    kinds: list[tuple[object, ...]] = []
    for index, form in enumerate(shape.forms):
        on_gpu = index >= first
        experts_stay = index < settings.host_experts
        copies = settings.copies and settings.has_gpu and (not on_gpu or experts_stay)
        kinds.append((shape.sizes[index] if copies else form, on_gpu, copies, experts_stay, shape.windowed[index],
                      shape.cached[index], shape.heads[index], shape.kv_heads[index]))  # fmt: skip
    return kinds


def uses_flash(shape: Shape, settings: Settings) -> bool:
    """What becomes of the wish for flash attention: "auto" is off where it would not run where its cache lies."""
    if settings.flash != "auto":
        return settings.flash == "on"
    if not settings.has_gpu or settings.quantized_kv:
        return True
    key = ("flash", settings.graph)
    if key not in shape.remembered:
        one = replace(settings, parallel=1, unified=False, context=0)
        shape.remembered[key] = _planned_or(shape, lambda: _flash_stays(shape, one), otherwise=lambda: True)
    return bool(shape.remembered[key])


def _planned_or(shape: Shape, plan: Callable[[], _Found], *, otherwise: Callable[[], _Found]) -> _Found:
    """What a plan gives, or something else for a family whose graph is not known."""
    try:
        return plan()
    except (IndexError, KeyError):
        if rules_of(shape)[1]:
            raise
        return otherwise()


def _flash_stays(shape: Shape, one: Settings) -> bool:
    """Whether attention would run where its cache lies, for one token."""
    rules, _ = rules_of(shape)
    first = first_gpu_layer(shape, one)
    if not rules.state or (first == 0 and not one.kv_on_host):
        # Attention goes where its layer is, but for what CUDA does not know.
        return all(
            knows_heads(shape, layer) for layer, attends in enumerate(shape.attends) if attends and layer >= first
        )
    # Between layers with a state it may be drawn to where their copies are.
    b = model_graph(shape, one, rules, flash=True, tokens=1, outputs=1,
                    layers=telling_layers(shape, one))  # fmt: skip
    on_two_devices(b.graph, supports=supports)
    return all(node.place == b.home(node.layer) for node in b.graph.nodes if node.op == "FLASH_ATTN_EXT")


def knows_heads(shape: Shape, layer: int) -> bool:
    """Whether CUDA's flash attention has heads as a layer's."""
    keys = 1 if shape.is_mla else shape.kv_heads[layer]
    return _flash_knows((shape.key_lengths[layer], shape.value_lengths[layer]), shape.heads[layer], keys)


def _flash_knows(sizes: tuple[int, int], queries: int, keys: int) -> bool:
    multiple = _FLASH_HEADS.get(sizes)
    return (queries // keys) % multiple == 0 if multiple else sizes in _FLASH_GROUPS and queries > keys


def supports(node: Node) -> bool:
    """Whether CUDA knows an operation."""
    if node.op == "FLASH_ATTN_EXT":
        return _flash_knows((node.sources[0].ne[0], node.ne[0]), node.ne[1], node.sources[1].ne[2])
    if node.op == "SSM_CONV":
        return convolves(node.ne[0])
    if node.op == "SSM_SCAN":
        state, seen, _, decay = node.sources[:4]
        if decay.ne[0] == 1:
            return scans(state.ne[0], seen.ne[0], seen.ne[1], single=True)
        return scans(state.ne[0], 1, state.ne[1], single=False)
    return True
