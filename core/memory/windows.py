"""Which layers see only the last tokens. Source: the hyper-parameters of each model in llama.cpp's src/models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Every how many layers one sees all tokens, where the file does not say: the last of the group, or the first.
_LAST_IS_FULL = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gemma-embedding": 6, "gpt-oss": 2, "cohere2": 4, "olmo2": 4, "exaone4": 4,
    "exaone-moe": 4, "llama4": 4, "plamo3": 8, "afmoe": 4, "mellum": 4, "muse-glimmer": 4, "gemma4": 6,
}  # fmt: skip
_FIRST_IS_FULL = {"cohere2moe": 4, "smallthinker": 4, "laguna": 4, "modern-bert": 3}
# Of this family, only the model with so many layers has windows.
_EXAONE_WITH_WINDOWS = 64
# Families that name a window and do without it.
_IGNORED = frozenset({"phi3", "phimoe", "llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "starcoder2", "granite"})


def windowed_layers(architecture: str, key: Callable[..., Any], count: int) -> tuple[bool, ...]:
    """One answer a layer."""
    window = int(key("attention.sliding_window", 0) or 0)
    pattern = key("attention.sliding_window_pattern")
    if architecture == "exaone4" and count != _EXAONE_WITH_WINDOWS:
        return (False,) * count
    if architecture in _IGNORED or not (window or architecture == "llama4"):
        return (False,) * count
    if isinstance(pattern, (list, tuple)):
        return tuple(bool(pattern[index]) if index < len(pattern) else False for index in range(count))
    if architecture in _FIRST_IS_FULL:
        period = int(pattern or _FIRST_IS_FULL[architecture])
        return tuple(period > 1 and index % period > 0 for index in range(count))
    period = int(pattern or _LAST_IS_FULL.get(architecture, 1))
    return tuple(period == 0 or index % period < period - 1 for index in range(count))
