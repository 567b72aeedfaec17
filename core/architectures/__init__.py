"""Model families. An entry says what a family says about itself; mapping.py turns entries into keys and tensors.

To add a family: an `Architecture` in the file of its kin (or a new file), and its place in `ENTRIES`. What its tensors
need is said with the ops of core.tensor_ops; what no table can say goes into a function of `extra`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from core.architectures import (
    encoders,
    experts,
    falcon,
    fused,
    gemma,
    glm,
    gpt,
    granite,
    llama,
    llama_like,
    phi,
    qwen,
    qwen_hybrid,
    state_space,
)
from core.architectures.config import flat_config
from core.architectures.entry import Architecture, Config, Source
from core.architectures.mapping import Mapped, check_complete, check_values, map_model
from core.errors import SnugError

_FILES = (
    llama,
    llama_like,
    granite,
    fused,
    experts,
    glm,
    qwen,
    qwen_hybrid,
    gemma,
    phi,
    gpt,
    falcon,
    state_space,
    encoders,
)
ENTRIES: tuple[Architecture, ...] = tuple(entry for file in _FILES for entry in file.ENTRIES)


def find_architecture(config: Config) -> Architecture:
    """The entry for a flat config. Raises SnugError that names the class and the nearest supported one."""
    name = family_of(config)
    for entry in ENTRIES:
        if name in entry.classes and entry.when(config):
            return entry
    known = sorted({known for entry in ENTRIES for known in entry.classes})
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
    raise SnugError(
        f"The model family {name} is not supported yet.",
        f"The nearest of {len(known)} supported families: {', '.join(nearest)}.",
    )


def family_of(config: Mapping[str, Any]) -> str:
    """The Hugging Face class name in a config."""
    names = config.get("architectures")
    if isinstance(names, list) and names and isinstance(names[0], str):
        return names[0]
    return str(config.get("model_type") or "(none named in config.json)")


__all__ = [
    "ENTRIES",
    "Architecture",
    "Mapped",
    "Source",
    "check_complete",
    "check_values",
    "family_of",
    "find_architecture",
    "flat_config",
    "map_model",
]
