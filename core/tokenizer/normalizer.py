"""What a tokenizer does to letters before it looks words up: llama.cpp asks for two things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.model import Metadata

_KEY = "tokenizer.ggml.normalizer"


def normalizer_keys(tokenizer: Mapping[str, Any]) -> list[Metadata]:
    """normalizer.lowercase and normalizer.strip_accents, where the tokenizer says them."""
    found: dict[str, bool] = {}
    _read(tokenizer.get("normalizer") or {}, found)
    return [Metadata(f"{_KEY}.{name}", "bool", value) for name, value in found.items()]


def _read(step: Mapping[str, Any], found: dict[str, bool]) -> None:
    match step.get("type"):
        case "Lowercase":
            found["lowercase"] = True
        case "BertNormalizer":
            found.update((n, step[n]) for n in ("lowercase", "strip_accents") if isinstance(step.get(n), bool))
        case "Sequence":
            for inner in step.get("normalizers") or []:
                _read(inner, found)
