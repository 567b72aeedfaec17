"""What one family says about itself, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.model import Metadata, OutputTensor

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One GGUF key `{arch}.{name}`: the first of `sources` that the config holds, as a value of `type`.

    `default` is used when the config holds none of them; None leaves the key out.
    """

    name: str
    type: str
    sources: tuple[str, ...]
    default: float | int | None = None


@dataclass(frozen=True, slots=True)
class Architecture:
    """A family: its Hugging Face classes, its GGUF architecture, its keys and what happens to its tensors.

    `permuted` names the source tensors (by a part of their name) whose rows go from half-split to interleaved rotary
    order, with the config key that counts their heads. `dropped` are regular expressions of tensors that are left out
    on purpose. `extra` may add keys and tensors that no table can say.
    """

    classes: tuple[str, ...]
    arch: str
    keys: tuple[Key, ...]
    permuted: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    extra: Callable[[Config], tuple[list[Metadata], list[OutputTensor]]] | None = None
