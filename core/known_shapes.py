"""Names and shapes of the tensors that a published config describes, family by family: what a layer is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Config = Mapping[str, Any]
Shapes = dict[str, list[int]]

# The norms of a layer, where they are not the usual two.
_AROUND = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
_NORMS = {"gemma2": _AROUND, "gemma3_text": _AROUND, "olmo2": _AROUND[1::2]}
_USUAL_NORMS = _AROUND[:2]
# Families with a bias for queries, keys and values; with a norm of each head of queries and keys, or of all at once;
# and those that store queries, keys and values, gate and up, as one matrix.
_BIASED = ("qwen2", "gpt_oss")
_NORMED = ("qwen3", "qwen3_moe", "gemma3_text")
_NORMED_WHOLE = ("olmo2",)
_FUSED = ("phi3",)
_MXFP4_BLOCK = 32


class Widths(NamedTuple):
    """How long all queries, keys and values of a token are, and the part that one head has."""

    queries: int
    keys: int
    head: int


def shapes_of(config: Config) -> Shapes:
    """Name -> shape of every tensor that a config of these families describes."""
    hidden = config["hidden_size"]
    shapes: Shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = [config["vocab_size"], hidden]
    for layer in range(config["num_hidden_layers"]):
        parts = _attention(config) | _feed_forward(config, layer) | _norms(config)
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in parts.items()}
    return shapes


def dtype_of(name: str) -> str:
    """Weights in MXFP4 are kept as bytes."""
    return "U8" if name.endswith(("_blocks", "_scales")) else "BF16"


def _norms(config: Config) -> Shapes:
    names = _NORMS.get(config["model_type"], _USUAL_NORMS)
    return {f"{name}.weight": [config["hidden_size"]] for name in names}


def _attention(config: Config) -> Shapes:
    kind, hidden = config["model_type"], config["hidden_size"]
    if kind == "deepseek_v2":
        return _latent_attention(config)
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    widths = Widths(head * config["num_attention_heads"], head * config["num_key_value_heads"], head)
    shapes: Shapes = {"self_attn.o_proj.weight": [hidden, widths.queries]}
    if kind in _FUSED:
        return shapes | {"self_attn.qkv_proj.weight": [widths.queries + 2 * widths.keys, hidden]}
    parts = {"q": widths.queries, "k": widths.keys, "v": widths.keys}
    shapes |= {f"self_attn.{part}_proj.weight": [width, hidden] for part, width in parts.items()}
    if kind in _BIASED:
        shapes |= {f"self_attn.{part}_proj.bias": [width] for part, width in parts.items()}
    if kind in _NORMED:
        shapes |= {f"self_attn.{part}_norm.weight": [head] for part in "qk"}
    if kind in _NORMED_WHOLE:
        shapes |= {f"self_attn.{part}_norm.weight": [parts[part]] for part in "qk"}
    if kind == "gpt_oss":
        shapes |= {"self_attn.o_proj.bias": [hidden], "self_attn.sinks": [config["num_attention_heads"]]}
    return shapes


def _latent_attention(config: Config) -> Shapes:
    """DeepSeek's: keys and values come from one short vector a token."""
    hidden, heads, latent = config["hidden_size"], config["num_attention_heads"], config["kv_lora_rank"]
    plain, turned, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    return {
        "self_attn.q_proj.weight": [heads * (plain + turned), hidden],
        "self_attn.kv_a_proj_with_mqa.weight": [latent + turned, hidden],
        "self_attn.kv_a_layernorm.weight": [latent],
        "self_attn.kv_b_proj.weight": [heads * (plain + value), latent],
        "self_attn.o_proj.weight": [hidden, heads * value],
    }


def _feed_forward(config: Config, layer: int) -> Shapes:
    hidden, inner, kind = config["hidden_size"], config["intermediate_size"], config["model_type"]
    if kind == "gpt_oss":
        return _packed_experts(config)
    if kind in _FUSED:
        return {"mlp.gate_up_proj.weight": [2 * inner, hidden], "mlp.down_proj.weight": [hidden, inner]}
    if kind == "mixtral":
        names = {"w1": "in", "w2": "out", "w3": "in"}
        return _experts("block_sparse_moe", names, config["num_local_experts"], hidden, inner)
    if kind == "qwen3_moe":
        return _experts("mlp", _USUAL_PARTS, config["num_experts"], hidden, config["moe_intermediate_size"])
    if kind == "deepseek_v2" and layer >= config["first_k_dense_replace"]:
        inner = config["moe_intermediate_size"]
        experts = _experts("mlp", _USUAL_PARTS, config["n_routed_experts"], hidden, inner)
        return experts | _matrices("mlp.shared_experts", _USUAL_PARTS, hidden, config["n_shared_experts"] * inner)
    return _matrices("mlp", _USUAL_PARTS, hidden, inner)


_USUAL_PARTS = {"gate_proj": "in", "up_proj": "in", "down_proj": "out"}


def _matrices(place: str, parts: Mapping[str, str], hidden: int, inner: int) -> Shapes:
    shapes = {"in": [inner, hidden], "out": [hidden, inner]}
    return {f"{place}.{name}.weight": shapes[way] for name, way in parts.items()}


def _experts(place: str, parts: Mapping[str, str], count: int, hidden: int, inner: int) -> Shapes:
    shapes: Shapes = {f"{place}.gate.weight": [count, hidden]}
    for number in range(count):
        shapes |= _matrices(f"{place}.experts.{number}", parts, hidden, inner)
    return shapes


def _packed_experts(config: Config) -> Shapes:
    """gpt-oss: all experts of a layer as one tensor, in blocks of MXFP4 with a scale for each."""
    hidden, inner, count = config["hidden_size"], config["intermediate_size"], config["num_local_experts"]
    shapes: Shapes = {"mlp.router.weight": [count, hidden], "mlp.router.bias": [count]}
    for name, rows, columns in (("gate_up_proj", 2 * inner, hidden), ("down_proj", hidden, inner)):
        blocks = columns // _MXFP4_BLOCK
        shapes |= {
            f"mlp.experts.{name}_blocks": [count, rows, blocks, _MXFP4_BLOCK // 2],
            f"mlp.experts.{name}_scales": [count, rows, blocks],
            f"mlp.experts.{name}_bias": [count, rows],
        }
    return shapes
