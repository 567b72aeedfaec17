"""Entries turned into keys and tensors. Every source tensor is used or dropped by name: nothing is lost silently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from core.architectures.config import LARGEST, is_number, unusable
from core.architectures.entry import Architecture, Config, Drop, Key, Ops, Source, Tensor
from core.architectures.shared import ALWAYS_DROPPED, SHARED
from core.errors import SnugError
from core.model import FLOATS, Metadata, OutputTensor, Part, ReadBytes, TensorInfo
from core.tensor_ops import RopePermute

_RENAMES = (
    (r"language_model\.", ""),
    (r"^model\.text_model\.", "model."),
    (r"e_score_correction_bias", "e_score_correction.bias"),
)
_STACKS = (r"(.*\.experts\.)(\d+)\.(.+)",)
_SEES_OR_HEARS = "a part that sees or hears: Snug converts the language model only"
_NOT_LANGUAGE = Drop(
    r"((model|thinker)\.)?(visual|vision_.*?|audio_.*?|vision|audio|multi_modal_projector|mm_projector|projector"
    r"|embed_vision|embed_audio|vit|mlp1|patch_embed|image_newline|connector|multi_modal.*?|vpm|resampler|apm|tts"
    r"|talker|token2wav|code2wav|aligner|generation_.*?|vqmodel)(\..*)?",
    _SEES_OR_HEARS,
)
_READABLE = (*FLOATS, "MXFP4")
_LAYERS = SHARED[0].sources
_EACH_LAYER = ("feed_forward_length", "attention.head_count", "attention.head_count_kv")  # may differ by layer
_WHOLE, _REAL = (int,), (int, float)
_RANGES: dict[str, tuple[tuple[type, ...], float, float]] = {
    "u32": (_WHOLE, 0, 2**32 - 1),
    "i32": (_WHOLE, -(2**31), 2**31 - 1),
    "f32": (_REAL, -LARGEST, LARGEST),
}


@dataclass(frozen=True)
class Mapped:
    """`keys` and `tensors` of the GGUF, and the source tensors that are left out, each with its reason."""

    keys: tuple[Metadata, ...]
    tensors: tuple[OutputTensor, ...]
    dropped: tuple[tuple[str, str], ...]


def map_model(entry: Architecture, source: Source) -> Mapped:
    """All `{arch}.*` keys and all tensors. Raises SnugError for a model that is not as the family has it."""
    table = {key.name: _metadata(key, source) for key in entry.keys}
    extras = [make(source) for make in entry.extra]
    found = [item for item in table.values() if item] + [item for extra in extras for item in extra.keys]
    keys = {item.key: item for item in found}
    check_values(found)
    blocks = _blocks(source, keys)
    tensors, dropped = _map_tensors(entry, source, blocks, keys)
    made = {tensor.name: tensor for extra in extras for tensor in extra.tensors}
    kept = (tensor for tensor in tensors if tensor.name not in made)
    return Mapped(tuple(keys.values()), (*made.values(), *kept), tuple(dropped))


def _metadata(key: Key, source: Source) -> Metadata | None:
    config = source.config
    value = next((config[name] for name in key.sources if config.get(name) is not None), key.default)
    if value is None:
        return None
    name = f"{source.arch}.{key.name}"
    if isinstance(value, list) and key.name in _EACH_LAYER:
        kind = "i32" if key.type == "u32" else "f32"
        return Metadata(name, f"[{kind}]", [_checked(key, item) for item in value])
    return Metadata(name, key.type, _checked(key, value))


def _checked(key: Key, value: Any) -> Any:
    if key.type in ("bool", "str"):
        if isinstance(value, bool if key.type == "bool" else str):
            return value
        raise unusable(key.sources[0], value)
    if key.type == "u32" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not is_number(value) or (key.type == "u32" and not isinstance(value, int)):
        raise unusable(key.sources[0], value)
    if key.type == "u32" and not 0 <= value < 2**32:
        raise unusable(key.sources[0], value)
    return value if key.type == "u32" else float(value)


def check_values(items: Iterable[Metadata]) -> None:
    """Raises SnugError for a number that a GGUF cannot hold: what a stranger wrote is reckoned with."""
    for item in items:
        kind = item.type.strip("[]")
        if kind not in _RANGES:
            continue
        types, low, high = _RANGES[kind]
        for value in item.value if item.type.startswith("[") else (item.value,):
            if type(value) not in types or not (low <= value <= high or value == float("-inf")):
                raise SnugError(
                    f"The model's files make {item.key} {str(value)[:40]}, which no GGUF can hold.",
                    "Download config.json and the tokenizer of this model again.",
                )


def _blocks(source: Source, keys: dict[str, Metadata]) -> int:
    item = keys.get(f"{source.arch}.block_count")
    if item is None or item.value < 1:
        said = next((source.config[name] for name in _LAYERS if name in source.config), None)
        raise unusable(_LAYERS[0], said)
    decoder = keys.get(f"{source.arch}.decoder_block_count")
    layers = max(int(item.value), int(decoder.value) if decoder else 0)
    if layers > len(source.tensors):
        raise SnugError(
            f"config.json says that the model has {layers:,} layers (num_hidden_layers), "
            f"but there are {len(source.tensors):,} tensors.",
            "Download the missing files into the folder, or check num_hidden_layers in config.json.",
        )
    return layers


@dataclass
class _Group:
    """The numbered source tensors that become one, or a single one with the number -1."""

    members: list[tuple[int, TensorInfo]]

    @property
    def stacked(self) -> bool:
        return self.members[0][0] >= 0


def _map_tensors(
    entry: Architecture, source: Source, blocks: int, keys: dict[str, Metadata]
) -> tuple[list[OutputTensor], list[tuple[str, str]]]:
    import gguf

    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == source.arch)
    names = gguf.get_tensor_name_map(arch, blocks)
    rows = [row for row in entry.tensors(source.config) if isinstance(row, Tensor)]
    groups, dropped = _grouped(entry, source)
    rules = [(re.compile(row.pattern), row) for row in rows]
    experts = keys.get(f"{source.arch}.expert_count")
    tensors = []
    for common, group in groups.items():
        group.members.sort(key=lambda member: member[0])
        _check_group(common, group, experts.value if experts else None)
        for name, row in _targets(entry, source.config, rules, names, common):
            tensors.append(_output(name, group, row))
    return tensors, dropped


def _grouped(entry: Architecture, source: Source) -> tuple[dict[str, _Group], list[tuple[str, str]]]:
    own = [row for row in entry.tensors(source.config) if isinstance(row, Drop)]
    drops = [(re.compile(drop.pattern), drop.reason) for drop in (*ALWAYS_DROPPED, *own, *entry.dropped, _NOT_LANGUAGE)]
    renames = [(re.compile(pattern), new) for pattern, new in (*_RENAMES, *entry.renames)]
    stacks = [re.compile(pattern) for pattern in (*entry.stacks, *_STACKS)]
    any_drop = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in drops))
    any_rename = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in renames))
    groups: dict[str, _Group] = {}
    dropped = []
    for stored, tensor in source.tensors.items():
        name = stored
        for pattern, new in renames if any_rename.search(name) else ():
            name = pattern.sub(new, name)
        if any_drop.fullmatch(name):
            dropped.append((stored, next(reason for pattern, reason in drops if pattern.fullmatch(name))))
            continue
        match = next((match for match in (pattern.fullmatch(name) for pattern in stacks) if match), None)
        common, number = (f"{match[1]}{match[3]}", int(match[2])) if match else (name, -1)
        groups.setdefault(common, _Group([])).members.append((number, tensor))
    return groups, dropped


def _targets(
    entry: Architecture, config: Config, rules: list[tuple[re.Pattern[str], Tensor]], names: Any, common: str
) -> Iterator[tuple[str, Tensor]]:
    """The GGUF tensors that a source becomes: their names and what is done."""
    first = next((pattern for pattern, _ in rules if pattern.fullmatch(common)), None)
    found = [row for pattern, row in rules if first is not None and pattern.pattern == first.pattern]
    for row in found or [Tensor(common, ops=_permutation(entry, config, common))]:
        match = first.fullmatch(common) if first else None
        name = row.target.format(*(match.groups() if match else ())) if row.target else None
        name = name or names.get_name(common, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise SnugError(
                f"The tensor {common} has no place in the architecture {entry.arch}.",
                "The model is a variant that Snug does not know yet; nothing was written.",
            )
        yield name, row


def _permutation(entry: Architecture, config: Config, name: str) -> Ops:
    for part, key in entry.permuted:
        if part in name:
            heads = config.get(key) or config.get("num_attention_heads")
            if not isinstance(heads, int) or heads < 1:
                raise unusable(key, heads)
            return (RopePermute(heads),)
    return ()


@dataclass(frozen=True, slots=True)
class _Zeros:
    """Rows that are stored nowhere: zeros of the tensor's type."""

    like: TensorInfo
    columns: int
    parts: tuple[TensorInfo, ...] = ()

    def rows(self, read: ReadBytes, first: int, count: int) -> npt.NDArray[Any]:
        if self.like.dtype == "F32":
            return np.zeros((count, self.columns), np.float32)
        size = self.like.nbytes // prod(self.like.shape)
        return np.zeros((count, size * self.columns), np.uint8)


def _output(name: str, group: _Group, row: Tensor) -> OutputTensor:
    first, chains = group.members[0][1], row.chains
    try:
        one = [Part(first, ops).shape for ops in chains]
    except SnugError as error:
        raise SnugError(f"{first.name}: {error.message}", error.hint) from error
    shape = one[0] if len(one) == 1 else (sum(shape[0] for shape in one), *one[0][1:])
    parts = tuple(Part(tensor, ops) for _, tensor in group.members for ops in chains)
    if row.pad_to > shape[0]:
        zeros = replace(
            first, shape=(row.pad_to - shape[0], *shape[1:]), offset=0, nbytes=0, packed=_Zeros(first, shape[-1])
        )
        parts, shape = (*parts, Part(zeros)), (row.pad_to, *shape[1:])
    return OutputTensor(name, (len(group.members), *shape) if group.stacked else shape, first.dtype, parts)


def _check_group(common: str, group: _Group, experts: Any) -> None:
    first = group.members[0][1]
    if len({(tensor.shape, tensor.dtype) for _, tensor in group.members}) > 1:
        raise SnugError(f"The parts of {common} differ in shape or type.", "Download the model again.")
    if first.dtype not in _READABLE:
        raise SnugError(
            f"The tensor {first.name} is stored as {first.dtype}, which Snug cannot read.",
            f"Use a version of the model in one of {', '.join(FLOATS)}.",
        )
    if not first.shape or 0 in first.shape:
        raise SnugError(f"The tensor {first.name} is empty: its shape is {list(first.shape)}.", "Download it again.")
    if not group.stacked:
        if len(group.members) > 1:
            raise SnugError(
                f"{group.members[1][1].name} and {first.name} are the same tensor.", "Download the model again."
            )
        return
    numbers = [number for number, _ in group.members]
    is_expert = ".experts." in first.name and isinstance(experts, int)
    expected = experts if is_expert else len(numbers)
    if len(numbers) != expected or numbers != list(range(expected)):
        raise SnugError(
            f"Of {common} there are the numbers {_shown(numbers)}, but there should be {expected}.",
            "Download the missing files into the folder.",
        )


def _shown(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")


def check_complete(entry: Architecture, mapped: Mapped) -> None:
    """Raises SnugError when a tensor that every model of the family has is missing, or one comes twice."""
    counts = Counter(tensor.name for tensor in mapped.tensors)
    blocks = next(item.value for item in mapped.keys if item.key.endswith(".block_count"))
    wanted = [name for name in entry.needed if "{" not in name]
    wanted += [name.format(block) for block in range(blocks) for name in entry.needed if "{" in name]
    missing = [name for name in wanted if name not in counts]
    if missing:
        raise SnugError(
            f"The weights are incomplete: nothing becomes {missing[0]}"
            + (f" and {len(missing) - 1} more." if len(missing) > 1 else "."),
            "Download the missing files into the folder, or check num_hidden_layers in config.json.",
        )
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise SnugError(
            f"Two source tensors would both become {twice[0]}.", "The model is a variant Snug does not know."
        )
