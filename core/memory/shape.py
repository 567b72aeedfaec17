"""What of a plan decides memory: its tensors by layer, and its dimensions. One pass; all else is arithmetic on it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from core.memory.windows import windowed_layers
from core.model import ModelInfo, OutputTensor

if TYPE_CHECKING:
    from core.plan import Plan

# Families without a cache: every token sees every other, at once.
CACHELESS = frozenset({
    "bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "modern-bert", "eurobert",
    "gemma-embedding", "t5encoder", "llama-embed", "dream", "llada", "llada-moe", "rnd1",
})  # fmt: skip

# Families that end with what they have made of each token.
WITHOUT_OUTPUT = frozenset({
    "bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "modern-bert", "eurobert",
    "t5encoder",
})  # fmt: skip

# Families that multiply by the input embedding where it lies, in RAM.
_ONE_TABLE = frozenset({"bitnet"})

# Families that keep a running state instead of a cache in every layer.
STATE_ONLY = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})

_INPUT = ("token_embd.", "token_types.", "position_embd.", "per_layer_token_embd.")
_FIRST_LAYER = ("token_embd_norm.", "per_layer_model_proj.", "per_layer_proj_norm.")
# Families that keep the norm of the output under that name.
_NORM_OF_OUTPUT = frozenset({"lfm2", "lfm2moe"})
_SHARED = ("rope_freqs.", "rope_factors_long.", "rope_factors_short.")


class Held(NamedTuple):
    """A tensor as memory sees it: `ne` as GGUF has it, the row length first; `name` without blk.N."""

    name: str
    format: str
    ne: tuple[int, ...]
    nbytes: int

    @property
    def weights(self) -> int:
        return prod(self.ne)


@dataclass(frozen=True)
class Shape:
    """`layers` hold tensors by their name without blk.N.; `input`, `output` and `shared` those of no layer.

    `shared` are small tables that every place with a layer has. Layers for predicting several tokens (`nextn`) are in
    the file and not loaded. `key` reads a GGUF key without its prefix. What is
    found out about the model is `remembered` for all its formats, what of this file's formats is `added_up`.
    """

    architecture: str
    layers: tuple[Mapping[str, Held], ...]
    blocks: int
    input: Mapping[str, Held]
    output: Mapping[str, Held]
    shared: Mapping[str, Held]
    key: Callable[..., Any] = field(repr=False, compare=False)
    remembered: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    added_up: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def numbers(self, name: str, default: int = 0) -> tuple[int, ...]:
        """A key that holds one number for all layers, or one for each; one number a layer."""
        return _numbers(self.key(name), len(self.layers), default)

    @cached_property
    def embedding(self) -> int:
        return int(self.key("embedding_length", 0))

    @cached_property
    def vocabulary(self) -> int:
        embedding = self.input.get("token_embd.weight")
        return embedding.ne[1] if embedding and len(embedding.ne) > 1 else int(self.key("vocab_size", 0))

    @cached_property
    def is_pooled(self) -> bool:
        """Whether it gives one vector a text."""
        return bool(self.key("pooling_type", 0))

    @cached_property
    def heads(self) -> tuple[int, ...]:
        return self.numbers("attention.head_count")

    @cached_property
    def kv_heads(self) -> tuple[int, ...]:
        found = self.key("attention.head_count_kv")
        return self.heads if found is None else _numbers(found, len(self.layers), 0)

    @cached_property
    def windowed(self) -> tuple[bool, ...]:
        """Whether a layer sees only the last tokens."""
        return windowed_layers(self.architecture, self.key, len(self.layers))

    @cached_property
    def window(self) -> int:
        """How many tokens such a layer sees."""
        return int(self.key("attention.sliding_window", 0) or (8192 if self.architecture == "llama4" else 0))

    @cached_property
    def key_lengths(self) -> tuple[int, ...]:
        return self._head_lengths("attention.key_length")

    @cached_property
    def value_lengths(self) -> tuple[int, ...]:
        return self._head_lengths("attention.value_length")

    def _head_lengths(self, name: str) -> tuple[int, ...]:
        """Weights of one head in each layer."""
        heads = max((*self.heads, 1))
        length = int(self.key(name, 0) or self.embedding // heads)
        inside = int(self.key(f"{name}_swa", 0) or length)
        return tuple(inside if windowed else length for windowed in self.windowed)

    @cached_property
    def is_mla(self) -> bool:
        """Whether the cache holds one compressed vector a token, from which keys and values are made."""
        return bool(self.key("attention.key_length_mla", 0))

    @cached_property
    def recurrent(self) -> tuple[bool, ...]:
        """Whether a layer keeps a running state."""
        return tuple(self._is_recurrent(layer) for layer in self.layers)

    def _is_recurrent(self, layer: Mapping[str, Held]) -> bool:
        return any(name in layer for name in ("ssm_conv1d.weight", "ssm_conv1d_q.weight", "shortconv.conv.weight"))

    @cached_property
    def attends(self) -> tuple[bool, ...]:
        """Whether a layer has attention with a cache or the use of another layer's."""
        return tuple(any(name.startswith("attn_output.") or name.startswith("attn_q.") for name in layer)
                     for layer in self.layers)  # fmt: skip

    @cached_property
    def cached(self) -> tuple[bool, ...]:
        """Whether a layer has a cache of its own: the last `shared_kv_layers` use that of a layer before them."""
        if self.architecture in CACHELESS or self.architecture in STATE_ONLY:
            return (False,) * len(self.layers)
        own = len(self.layers) - int(self.key("attention.shared_kv_layers", 0) or 0)
        return tuple(attends and index < own for index, attends in enumerate(self.attends))

    @cached_property
    def forms(self) -> tuple[int, ...]:
        """Equal numbers for layers with the same tensors, whatever their format."""
        if "forms" not in self.remembered:
            known: dict[tuple[object, ...], int] = {}
            forms = (tuple((name, held.ne) for name, held in layer.items()) for layer in self.layers)
            self.remembered["forms"] = tuple(known.setdefault(form, len(known)) for form in forms)
        found: tuple[int, ...] = self.remembered["forms"]
        return found

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Equal numbers for layers with the same tensors in the same formats."""
        known: dict[tuple[object, ...], int] = {}
        forms = (tuple((name, held.ne, held.format) for name, held in layer.items()) for layer in self.layers)
        return tuple(known.setdefault(form, len(known)) for form in forms)

    @cached_property
    def formats(self) -> int:
        """A number that tells files of the same model in different formats apart."""
        tables = (self.input, self.output, *self.layers)
        return hash(tuple(held.format for table in tables for held in table.values()))

    @cached_property
    def only_in_ram(self) -> frozenset[str]:
        """Names of a layer's tensors that no GPU gets, for CUDA does not know what is done with them."""
        layer = next((layer for layer, recurs in zip(self.layers, self.recurrent, strict=True) if recurs), {})
        unknown = {name for name in ("ssm_conv1d.weight", "shortconv.conv.weight")
                   if name in layer and not convolves(layer[name].ne[1])}  # fmt: skip
        decay = layer.get("ssm_a")
        if decay and "attn_gate.weight" not in layer:
            inner, state = int(self.key("ssm.inner_size", 0) or 0), int(self.key("ssm.state_size", 0) or 0)
            heads = decay.ne[-1]
            if not scans(state, inner // heads, heads, single=decay.ne[0] == 1):
                unknown.add("ssm_a")
        return frozenset(unknown)

    @cached_property
    def tied(self) -> Held | None:
        """The input embedding of a model that has no output matrix of its own."""
        if "output.weight" in self.output or self.architecture in WITHOUT_OUTPUT | _ONE_TABLE:
            return None
        return self.input.get("token_embd.weight")


def convolves(width: int) -> bool:
    """Whether CUDA has a convolution over so many channels."""
    return width % 128 == 0


def scans(state: int, head: int, heads: int, *, single: bool) -> bool:
    """Whether CUDA has such a scan; `single`: one decay a head, as in Mamba 2."""
    if single:
        return state in (96, 128, 256) and head % 16 == 0
    return state == 16 and head == 1 and heads % 128 == 0


def shape_of(plan: Plan) -> Shape:
    """One pass over the tensors."""
    model = plan.model
    blocks = int(model.key("block_count", 0))
    loaded = blocks - int(model.key("nextn_predict_layers", 0) or 0)
    remembered = _remembered(model)
    key = ("places", len(plan.tensors))
    if key not in remembered:
        # Tensors alike in all layers are one, by format.
        alike: dict[tuple[str, tuple[int, ...]], dict[str, Held]] = {}
        slots = [_slot(planned.tensor, model, loaded) for planned in plan.tensors]
        remembered[key] = [(*slot, alike.setdefault(slot[1:], {})) for slot in slots]
    tables: list[dict[str, Held]] = [{} for _ in range(loaded + _APART)]
    for planned, (place, name, ne, by_format) in zip(plan.tensors, remembered[key], strict=True):
        held = by_format.get(planned.format)
        if held is None:
            held = by_format[planned.format] = Held(name, planned.format, ne, planned.nbytes)
        tables[place][name] = held
    at_start, at_end, shared, _ = tables[loaded:]
    return Shape(model.architecture, tuple(tables[:loaded]), blocks, at_start, at_end, shared, model.key, remembered)


# Places after the layers: the input, the output, small tables, and what is not loaded.
_INPUT_PLACE, _OUTPUT_PLACE, _SHARED_PLACE, _NOT_LOADED, _APART = range(5)


def _slot(tensor: OutputTensor, model: ModelInfo, loaded: int) -> tuple[int, str, tuple[int, ...]]:
    """(place, name there, shape) of a tensor."""
    name, ne = tensor.name, tensor.shape[::-1]
    if name.startswith("blk."):
        _, number, rest = name.split(".", 2)
        return int(number) if int(number) < loaded else loaded + _NOT_LOADED, rest, ne
    if name.startswith(_FIRST_LAYER) and model.architecture not in _NORM_OF_OUTPUT and loaded:
        return 0, name, ne
    if name.startswith(_INPUT):
        return loaded + _INPUT_PLACE, name, ne
    return loaded + (_SHARED_PLACE if name.startswith(_SHARED) else _OUTPUT_PLACE), name, ne


# What was found out about a model serves all its formats; it is forgotten with the model.
_KNOWN: dict[int, tuple[weakref.ref[ModelInfo], dict[Any, Any]]] = {}


def _remembered(model: ModelInfo) -> dict[Any, Any]:
    known = _KNOWN.get(id(model))
    if known is None or known[0]() is not model:
        number = id(model)
        known = _KNOWN[number] = (weakref.ref(model, lambda _: _KNOWN.pop(number, None)), {})
    return known[1]


def _numbers(value: Any, count: int, default: int) -> tuple[int, ...]:
    if value is None:
        return (default,) * count
    if isinstance(value, (list, tuple)):
        return tuple(int(value[index]) if index < len(value) else 0 for index in range(count))
    return (int(value),) * count
