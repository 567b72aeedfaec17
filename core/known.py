"""Well-known models by their published shapes: enough for a verdict without asking anybody.

resources/data/curated.json has for each a line on what it is good at and, where its weights have one of the layouts
below, the numbers of its config. Names and shapes of the tensors follow from them; a tokenizer does not.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from core.headers import open_headers
from core.model import ModelInfo

_FILE = Path(__file__).resolve().parent.parent / "resources" / "data" / "curated.json"
_BIASED = ("qwen2",)
_NORMED = ("qwen3", "qwen3_moe")


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
    tensors = {name: {"dtype": "BF16", "shape": shape} for name, shape in shapes_of(config).items()}
    return open_headers({"id": id, "config": config, "tensors": tensors}).model


def shapes_of(config: dict[str, Any]) -> dict[str, list[int]]:
    """Name -> shape of every tensor that a config of these families describes."""
    hidden = config["hidden_size"]
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = [config["vocab_size"], hidden]
    for layer in range(config["num_hidden_layers"]):
        for name, shape in (_attention(config) | _feed_forward(config)).items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    return shapes


def _attention(config: dict[str, Any]) -> dict[str, list[int]]:
    hidden, kind = config["hidden_size"], config["model_type"]
    size = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = size * config["num_attention_heads"], size * config["num_key_value_heads"]
    widths = {"q": queries, "k": keys, "v": keys}
    shapes = {f"self_attn.{part}_proj.weight": [width, hidden] for part, width in widths.items()}
    shapes["self_attn.o_proj.weight"] = [hidden, queries]
    shapes |= {f"{part}_layernorm.weight": [hidden] for part in ("input", "post_attention")}
    if kind in _BIASED:
        shapes |= {f"self_attn.{part}_proj.bias": [width] for part, width in widths.items()}
    if kind in _NORMED:
        shapes |= {f"self_attn.{part}_norm.weight": [size] for part in "qk"}
    return shapes


def _feed_forward(config: dict[str, Any]) -> dict[str, list[int]]:
    hidden, inner, kind = config["hidden_size"], config["intermediate_size"], config["model_type"]
    if kind == "mixtral":
        parts, router, count = {"w1": "in", "w2": "out", "w3": "in"}, "block_sparse_moe", config["num_local_experts"]
    elif kind == "qwen3_moe":
        parts = {"gate_proj": "in", "up_proj": "in", "down_proj": "out"}
        router, count, inner = "mlp", config["num_experts"], config["moe_intermediate_size"]
    else:
        parts, router, count = {"gate_proj": "in", "up_proj": "in", "down_proj": "out"}, "mlp", 0
    shapes = {"in": [inner, hidden], "out": [hidden, inner]}
    if not count:
        return {f"{router}.{name}.weight": shapes[way] for name, way in parts.items()}
    experts = {f"{router}.experts.{n}.{name}.weight": shapes[way] for n in range(count) for name, way in parts.items()}
    return experts | {f"{router}.gate.weight": [count, hidden]}
