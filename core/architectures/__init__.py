"""Model families. An entry says what a family says about itself; this page turns entries into keys and tensors.

To add a family: a file with one `Architecture` and a place in `ENTRIES`. Every source tensor must be used or dropped by
name, or it is an error: nothing is lost silently.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from core.architectures.config import is_number, required
from core.architectures.entry import Architecture, Config, Key
from core.architectures.llama import LLAMA
from core.errors import SnugError
from core.model import FLOATS, Metadata, OutputTensor, TensorInfo
from core.tensor_ops import RopePermute, TensorOp

ENTRIES: tuple[Architecture, ...] = (LLAMA,)
_ALWAYS_DROPPED = (r".*\.attention\.(masked_)?bias", r".*\.rotary_emb\.inv_freq")
_EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(.+)")


def find_architecture(config: Config) -> Architecture:
    """The entry for a config's class. Raises SnugError that names the class and the nearest supported one."""
    name = family_of(config)
    for entry in ENTRIES:
        if name in entry.classes:
            return entry
    known = [known for entry in ENTRIES for known in entry.classes]
    nearest = (difflib.get_close_matches(name, known, n=1, cutoff=0.0) or known)[0]
    raise SnugError(
        f"The model family {name} is not supported yet.",
        f"The nearest supported family is {nearest}. Supported: {', '.join(known)}.",
    )


def family_of(config: Config) -> str:
    """The Hugging Face class name in a config."""
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return names[0]
    return str(config.get("model_type") or "(none named in config.json)")


def map_keys(entry: Architecture, config: Config) -> list[Metadata]:
    """The `{arch}.*` keys that the entry's table says."""
    found = ((key, _value(key, config)) for key in entry.keys)
    return [Metadata(f"{entry.arch}.{key.name}", key.type, value) for key, value in found if value is not None]


def _value(key: Key, config: Config) -> Any:
    value = next((config[name] for name in key.sources if config.get(name) is not None), key.default)
    if value is None:
        return None
    if not is_number(value) or (key.type == "u32" and not isinstance(value, int)):
        raise SnugError(f"config.json's {key.sources[0]} is {value!r}, not a number.", "Download config.json again.")
    if key.type == "u32" and not 0 <= value < 2**32:
        raise SnugError(f"config.json's {key.sources[0]} is {value!r}, which is out of range.", "Download it again.")
    return value if key.type == "u32" else float(value)


def map_tensors(entry: Architecture, config: Config, sources: Sequence[TensorInfo]) -> list[OutputTensor]:
    """The GGUF tensors made of `sources`, in their order; experts of one layer are stacked in numeric order."""
    import gguf

    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == entry.arch)
    layers = required(config, "num_hidden_layers")
    if layers > len(sources):
        raise SnugError(
            f"config.json says that the model has {layers:,} layers, but there are {len(sources):,} tensors.",
            "Download the missing files into the folder, or check num_hidden_layers in config.json.",
        )
    names = gguf.get_tensor_name_map(arch, layers)
    dropped = [re.compile(pattern) for pattern in (*_ALWAYS_DROPPED, *entry.dropped)]
    groups: dict[str, list[tuple[int, TensorInfo]]] = {}
    for source in sources:
        if any(pattern.fullmatch(source.name) for pattern in dropped):
            continue
        match = _EXPERT.fullmatch(source.name)
        common, number = (f"{match[1]}.{match[3]}", int(match[2])) if match else (source.name, -1)
        groups.setdefault(common, []).append((number, source))
    return [
        _output(entry, config, names.get_name(common, try_suffixes=(".weight", ".bias")), common, parts)
        for common, parts in groups.items()
    ]


def _output(
    entry: Architecture, config: Config, name: str | None, common: str, parts: list[tuple[int, TensorInfo]]
) -> OutputTensor:
    if name is None:
        raise SnugError(
            f"The tensor {common} has no place in the architecture {entry.arch}.",
            "The model is a variant that Snug does not know yet; nothing was written.",
        )
    parts = sorted(parts, key=lambda part: part[0])
    first = parts[0][1]
    if any((part.shape, part.dtype) != (first.shape, first.dtype) for _, part in parts):
        raise SnugError(f"The experts of {common} differ in shape or type.", "Download the model again.")
    if first.dtype not in FLOATS:
        raise SnugError(
            f"The tensor {first.name} is stored as {first.dtype}, which Snug cannot read yet.",
            f"Use a version of the model in one of {', '.join(FLOATS)}.",
        )
    if not first.shape or 0 in first.shape:
        raise SnugError(f"The tensor {first.name} is empty: its shape is {list(first.shape)}.", "Download it again.")
    stacked = parts[0][0] >= 0
    if stacked:
        _check_experts(config, common, [number for number, _ in parts])
    shape = (len(parts), *first.shape) if stacked else first.shape
    return OutputTensor(name, shape, first.dtype, tuple(part for _, part in parts), _ops(entry, config, first))


def _check_experts(config: Config, common: str, numbers: list[int]) -> None:
    expected = required(config, "num_local_experts")
    if numbers != list(range(expected)):
        raise SnugError(
            f"Of {common} there are the experts {numbers}, but config.json says there are {expected}.",
            "Download the missing files into the folder.",
        )


def _ops(entry: Architecture, config: Config, source: TensorInfo) -> tuple[TensorOp, ...]:
    for part, key in entry.permuted:
        if part in source.name:
            heads = required(config, key, "num_attention_heads")
            if source.shape[0] % (2 * heads):
                raise SnugError(
                    f"{source.name} has {source.shape[0]} rows, which {heads} heads cannot share evenly.",
                    "config.json and the weights do not belong together; download both again.",
                )
            return (RopePermute(heads),)
    return ()


__all__ = ["ENTRIES", "Architecture", "family_of", "find_architecture", "map_keys", "map_tensors"]
