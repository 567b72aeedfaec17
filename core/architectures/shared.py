"""What most families share: the keys that llama.cpp's converter writes for all of them, and rotary embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.architectures.config import Rope, fraction, head_dim, is_number, required, rope
from core.architectures.entry import Config, Drop, Extra, Key, Source, Tensor
from core.errors import SnugError
from core.model import Metadata, OutputTensor
from core.tensor_ops import Rows

SHARED = (
    Key("block_count", "u32", ("num_hidden_layers", "n_layers", "n_layer", "num_layers")),
    Key("context_length", "u32", ("max_position_embeddings", "n_ctx", "n_positions", "max_sequence_length",
                                  "model_max_length")),
    Key("embedding_length", "u32", ("hidden_size", "n_embd", "dim")),
    Key("feed_forward_length", "u32", ("prefix_dense_intermediate_size", "intermediate_size", "n_inner", "hidden_dim")),
    Key("attention.head_count", "u32", ("num_attention_heads", "n_head", "n_heads")),
    Key("attention.head_count_kv", "u32", ("num_key_value_heads", "n_kv_heads")),
    Key("attention.layer_norm_rms_epsilon", "f32", ("rms_norm_eps", "norm_eps")),
    Key("attention.layer_norm_epsilon", "f32", ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")),
    Key("expert_count", "u32", ("num_local_experts", "num_experts", "n_routed_experts")),
    Key("expert_used_count", "u32", ("num_experts_per_tok", "num_experts_per_token", "top_k_experts")),
    Key("expert_group_count", "u32", ("n_group",)),
    Key("expert_group_used_count", "u32", ("topk_group",)),
    Key("attention.key_length", "u32", ("head_dim",)),
    Key("attention.value_length", "u32", ("head_dim",)),
)  # fmt: skip
VOCAB_SIZE = Key("vocab_size", "u32", ("vocab_size",))
EXPERT_WIDTH = Key("expert_feed_forward_length", "u32", ("moe_intermediate_size",))
DENSE_FIRST = Key("leading_dense_block_count", "u32", ("first_k_dense_replace",))
SHARED_EXPERTS = Key("expert_shared_count", "u32", ("n_shared_experts",))
WEIGHTS_SCALE = Key("expert_weights_scale", "f32", ("routed_scaling_factor",))
WEIGHTS_NORM = Key("expert_weights_norm", "bool", ("norm_topk_prob",))

BLOCK = r"model\.layers\.(\d+)\."
WITHOUT_FIRST_NORM = ("token_embd.weight", "output_norm.weight", "blk.{}.attn_q.weight")
POST_ATTENTION = Tensor(BLOCK + r"post_attention_layernorm\.weight", "blk.{0}.post_attention_norm.weight")
NEXT_TOKENS = "a layer that guesses several tokens ahead, which no runner uses yet"
TIED = Drop(r"lm_head\.weight", "the same as the input embedding, which the runner uses for both")

PERMUTED = ((".q_proj.", "num_attention_heads"), (".k_proj.", "num_key_value_heads"))
ALWAYS_DROPPED = (
    Drop(r".*\.attention\.(masked_)?bias", "the causal mask, which every runner makes itself"),
    Drop(r".*\.rotary_emb\.(inv_freq|cos_cached|sin_cached)", "a cache of rotary angles, computed anew by the runner"),
)
USUAL_THETA = 10000.0
_GATING = {"softmax": 1, "sigmoid": 2, "noaux_tc": 2}
_YARN = (
    ("yarn_ext_factor", "extrapolation_factor"),
    ("yarn_attn_factor", "attention_factor"),
    ("yarn_beta_fast", "beta_fast"),
    ("yarn_beta_slow", "beta_slow"),
)


def rope_keys(source: Source) -> Extra:
    """rope.freq_base where the config names it, and the scaling that is said in keys (linear, YaRN, LongRoPE)."""
    settings = rope(source.config)
    keys = [] if settings.theta is None else [Metadata(f"{source.arch}.rope.freq_base", "f32", settings.theta)]
    return Extra((*keys, *_scaling_keys(source.arch, settings)))


def unusual_theta(source: Source) -> Extra:
    """rope.freq_base only where it is not the 10000 that llama.cpp takes without the key."""
    theta = rope(source.config).theta or source.config.get("rotary_emb_base") or USUAL_THETA
    if theta == USUAL_THETA:
        return Extra()
    return Extra((Metadata(f"{source.arch}.rope.freq_base", "f32", float(theta)),))


def _scaling_keys(arch: str, settings: Rope) -> list[Metadata]:
    """Llama 3's scaling is a tensor, and dynamic scaling is left to the runner."""
    if settings.type in ("default", "llama3", "dynamic", "mrope", "proportional"):
        return []
    if settings.type in ("longrope", "su"):
        return [Metadata(f"{arch}.rope.scaling.type", "str", "longrope")]
    if settings.type not in ("linear", "yarn"):
        raise SnugError(
            f"The rope scaling {settings.type!r} is not supported.",
            "Supported: default, linear, yarn, longrope, llama3, dynamic.",
        )
    keys = [
        Metadata(f"{arch}.rope.scaling.type", "str", settings.type),
        Metadata(f"{arch}.rope.scaling.factor", "f32", settings.number("factor")),
    ]
    if settings.type == "linear":
        return keys
    original = int(settings.number("original_max_position_embeddings"))
    keys.append(Metadata(f"{arch}.rope.scaling.original_context_length", "u32", original))
    given = ((key, name) for key, name in _YARN if settings.values.get(name) is not None)
    return keys + [Metadata(f"{arch}.rope.scaling.{key}", "f32", settings.number(name)) for key, name in given]


def turned_part(usual: float, *names: str) -> Callable[[Source], Extra]:
    """Gives rope.dimension_count: the part of a head that turns, in the config under one of the names, or `usual`."""

    def keys(source: Source) -> Extra:
        config, values = source.config, rope(source.config).values
        part = fraction(values, "partial_rotary_factor", fraction(config, "partial_rotary_factor", usual))
        part = next((fraction(config, name, usual) for name in names if config.get(name) is not None), part)
        return Extra((Metadata(f"{source.arch}.rope.dimension_count", "u32", int(part * head_dim(config))),))

    return keys


rope_dimensions = turned_part(1.0)


def halves(pattern: str, gate: str, up: str, width: int) -> tuple[Tensor, Tensor]:
    """Gate and up lie above each other in the tensors of this pattern."""
    return (
        Tensor(pattern, f"blk.{{0}}.{gate}.weight", (Rows(0, width),)),
        Tensor(pattern, f"blk.{{0}}.{up}.weight", (Rows(width, 2 * width),)),
    )


def without_tied_output(config: Config) -> tuple[Drop, ...]:
    """An output that is the embedding is left out where the config says so."""
    return (TIED,) if config.get("tie_word_embeddings") else ()


def rope_sections(source: Source) -> Extra:
    """rope.dimension_sections of multimodal rotary embeddings: how many pairs turn with time, height and width."""
    sections = rope(source.config).values.get("mrope_section")
    if not sections:
        return Extra()
    padded = [int(size) for size in sections] + [0] * (4 - len(sections))
    return Extra((Metadata(f"{source.arch}.rope.dimension_sections", "[i32]", padded),))


def expert_gating(source: Source) -> Extra:
    """expert_gating_func where the config names one."""
    name = source.config.get("scoring_func") or source.config.get("moe_router_activation_func")
    if name is None:
        return Extra()
    if name not in _GATING:
        raise SnugError(f"The expert gating {name!r} is not supported.", f"Supported: {', '.join(_GATING)}.")
    return Extra((Metadata(f"{source.arch}.expert_gating_func", "u32", _GATING[name]),))


def rope_freqs(source: Source) -> Extra:
    """Llama 3.1's rotary divisors as a tensor, float32 [head_dim / 2]: 1, `factor`, or a blend between."""
    settings = rope(source.config)
    if settings.type != "llama3":
        return Extra()
    values = _llama3_divisors(settings, head_dim(source.config))
    return Extra(tensors=(OutputTensor("rope_freqs.weight", (len(values),), "F32", values=values),))


def _llama3_divisors(settings: Rope, size: int) -> tuple[float, ...]:
    factor, low, high = (settings.number(name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    original = settings.number("original_max_position_embeddings")
    one = np.float32(1)
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    theta = 10000.0 if settings.theta is None else settings.theta
    frequencies = one / np.power(theta, exponents.astype(np.float64)).astype(np.float32)
    values = []
    for wavelength in (one / frequencies) * np.float32(2 * np.pi):
        if wavelength < original / high:
            values.append(1.0)
        elif wavelength > original / low:
            values.append(factor)
        else:
            smooth = ((one / wavelength) * np.float32(original) - np.float32(low)) / np.float32(high - low)
            values.append(float(one / ((one - smooth) / np.float32(factor) + smooth)))
    return tuple(values)


def rope_factors(source: Source) -> Extra:
    """LongRoPE's divisors for long and short contexts as tensors, float32 [rotated pairs] each."""
    values = rope(source.config).values
    if values.get("long_factor") is None and values.get("short_factor") is None:
        return Extra()
    made = []
    for name in ("long", "short"):
        found: Any = values.get(f"{name}_factor")
        if not isinstance(found, list) or not found or not all(is_number(value) for value in found):
            raise SnugError(f"config.json's rope {name}_factor is no list of numbers.", "Download config.json again.")
        factors = tuple(map(float, found))
        made.append(OutputTensor(f"rope_factors_{name}.weight", (len(factors),), "F32", values=factors))
    return Extra(tensors=tuple(made))


def sliding_window(source: Source) -> Extra:
    """attention.sliding_window and which layers have it, where layer_types says so."""
    window, kinds = source.config.get("sliding_window"), source.config.get("layer_types")
    if not window:
        return Extra()
    keys = [Metadata(f"{source.arch}.attention.sliding_window", "u32", required(source.config, "sliding_window"))]
    if isinstance(kinds, list):
        pattern = [kind == "sliding_attention" for kind in kinds]
        keys.append(Metadata(f"{source.arch}.attention.sliding_window_pattern", "[bool]", pattern))
    return Extra(tuple(keys))


COMMON = (rope_keys, expert_gating)
