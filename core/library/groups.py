"""Which files in a folder are one model: the parts of a split GGUF, every other GGUF by itself, the rest together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_PART = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE | re.DOTALL)
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".npz")


class Group(NamedTuple):
    """Names that belong together. `expected`: how many there must be, as their names say."""

    title: str
    names: tuple[Path, ...]
    expected: int


def gguf_groups(names: Iterable[Path]) -> list[Group]:
    """The GGUF models among `names`."""
    groups: dict[tuple[Path, str, int], list[Path]] = {}
    for name in names:
        if name.suffix.lower() == ".gguf":
            match = _PART.fullmatch(name.name)
            title, count = (match["prefix"], int(match["count"])) if match else (name.name, 1)
            groups.setdefault((name.parent, title, count), []).append(name)
    return [Group(title, tuple(sorted(found)), count) for (_, title, count), found in sorted(groups.items())]


def weight_names(names: Iterable[Path]) -> list[Path]:
    """The weights among `names` that are no GGUF."""
    return [name for name in names if name.suffix.lower() in WEIGHTS]


def missing_words(group: Group) -> str:
    lacking = group.expected - len(group.names)
    return f"{lacking} of {group.expected} parts are missing." if lacking > 0 else ""
