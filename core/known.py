"""Well-known models by their published shapes: enough for a verdict without asking anybody.

resources/data/curated.json has for each a line on what it is good at and the numbers of its config. Names and shapes of
the tensors follow from them (known_shapes.py); a tokenizer does not.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from core.headers import open_headers
from core.known_shapes import dtype_of, shapes_of
from core.model import ModelInfo

_FILE = Path(__file__).resolve().parent.parent / "resources" / "data" / "curated.json"


@cache
def _configs() -> dict[str, dict[str, Any]]:
    values = json.loads(_FILE.read_text(encoding="utf-8"))
    return {item["id"]: item["config"] for item in values if item.get("config")}


@cache
def known_notes() -> dict[str, str]:
    """What each of them is good at, by its name on the Hub."""
    return {item["id"]: item["note"] for item in json.loads(_FILE.read_text(encoding="utf-8"))}


def known_model(id: str) -> ModelInfo | None:
    """The model from its published shape, without a vocabulary; None where that is not known."""
    config = _configs().get(id)
    if config is None:
        return None
    tensors = {name: {"dtype": dtype_of(name), "shape": shape} for name, shape in shapes_of(config).items()}
    return open_headers({"id": id, "config": _with_factors(config), "tensors": tensors}).model


def _with_factors(config: dict[str, Any]) -> dict[str, Any]:
    """Phi's factors for long contexts: only how many there are counts for a size, so that they are not listed."""
    scaling = config.get("rope_scaling") or {}
    if scaling.get("type") != "longrope":
        return config
    head = config["hidden_size"] // config["num_attention_heads"]
    ones = [1.0] * int(head * config.get("partial_rotary_factor", 1.0) / 2)
    return {**config, "rope_scaling": {**scaling, "long_factor": ones, "short_factor": ones}}
