"""GLM: ChatGLM, GLM-4 with and without experts or eyes, GLM-OCR, and Solar Open, which is one of them."""

from __future__ import annotations

from dataclasses import replace

from core.architectures.config import fraction, head_dim, number, required, rope
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Source, Tensor
from core.architectures.experts import SIGMOID, more_layers, next_token_layers
from core.architectures.shared import (
    BLOCK,
    COMMON,
    DENSE_FIRST,
    EXPERT_WIDTH,
    POST_ATTENTION,
    SHARED,
    SHARED_EXPERTS,
    USUAL_THETA,
    WEIGHTS_NORM,
    WEIGHTS_SCALE,
    rope_dimensions,
    rope_sections,
    turned_part,
)
from core.model import Metadata
from core.tensor_ops import RopeHalves

_half_rotated = turned_part(0.5)
_GLM4 = Architecture(
    classes=("Glm4ForCausalLM",),
    arch="glm4",
    keys=SHARED,
    extra=(*COMMON, _half_rotated),
)


def _as_halves(config: Config) -> tuple[Tensor, ...]:
    """Rotary embeddings with sections turn halves in llama.cpp, so q and k have to come in that order."""
    if not rope(config).values.get("mrope_section"):
        return ()
    size, said = head_dim(config), fraction(config, "partial_rotary_factor", 0.5)
    part = fraction(rope(config).values, "partial_rotary_factor", said)
    heads = (("q", "num_attention_heads"), ("k", "num_key_value_heads"))
    return tuple(
        Tensor(
            BLOCK + rf"self_attn\.{letter}_proj\.(weight|bias)",
            f"blk.{{0}}.attn_{letter}.{{1}}",
            (RopeHalves(required(config, name), int(size * part)),),
        )
        for letter, name in heads
    )


_GLM4_SEEING = replace(
    _GLM4,
    classes=("Glm4vForConditionalGeneration", "GlmOcrForConditionalGeneration"),
    tensors=lambda config: (next_token_layers(config), *_as_halves(config)),
    extra=(*COMMON, _half_rotated, rope_sections),
)


def _chatglm_rope(source: Source) -> Extra:
    """Half of each head turns; the remote code's config raises the base by a ratio."""
    config, theta = source.config, rope(source.config).theta or USUAL_THETA
    size = required(config, "kv_channels") if "kv_channels" in config else head_dim(config)
    part = fraction(rope(config).values, "partial_rotary_factor", fraction(config, "partial_rotary_factor", 0.5))
    return Extra(
        (
            Metadata("chatglm.rope.dimension_count", "u32", int(size * part)),
            Metadata("chatglm.rope.freq_base", "f32", theta * number(config, "rope_ratio", 1)),
        )
    )


_CHATGLM = Architecture(
    classes=("ChatGLMModel", "ChatGLMForConditionalGeneration", "GlmForCausalLM"),
    arch="chatglm",
    keys=(
        *SHARED,
        Key("context_length", "u32", ("seq_length", "max_position_embeddings")),
        Key("feed_forward_length", "u32", ("ffn_hidden_size", "intermediate_size")),
        Key("attention.head_count_kv", "u32", ("multi_query_group_num", "num_key_value_heads", "num_attention_heads")),
        Key("attention.layer_norm_rms_epsilon", "f32", ("layernorm_epsilon", "rms_norm_eps")),
    ),
    renames=((r"^transformer\.", ""),),
    dropped=(Drop(r"rotary_pos_emb\.inv_freq", "a cache of rotary angles, computed anew by the runner"),),
    extra=(_chatglm_rope,),
)


def _glm_layers(source: Source) -> Extra:
    """The layer that guesses ahead stays in, where the files hold it."""
    layers = required(source.config, "num_hidden_layers")
    more = range(layers, layers + more_layers(source.config))
    there = sum(any(f"layers.{layer}." in name for name in source.tensors) for layer in more)
    keys = [Metadata(f"{source.arch}.block_count", "u32", layers + there)]
    if there:
        keys.append(Metadata(f"{source.arch}.nextn_predict_layers", "u32", there))
    return Extra(tuple(keys))


_GLM4_MOE = Architecture(
    classes=("Glm4MoeForCausalLM", "Glm4vMoeForConditionalGeneration"),
    arch="glm4moe",
    keys=(
        *SHARED,
        EXPERT_WIDTH,
        SHARED_EXPERTS,
        DENSE_FIRST,
        WEIGHTS_SCALE,
        WEIGHTS_NORM,
        SIGMOID,
    ),
    tensors=lambda config: (POST_ATTENTION,),
    extra=(*COMMON, _half_rotated, rope_sections, _glm_layers),
)
_SOLAR_OPEN = replace(_GLM4_MOE, classes=("SolarOpenForCausalLM",), extra=(*COMMON, rope_dimensions, _glm_layers))

ENTRIES = (_CHATGLM, _GLM4, _GLM4_SEEING, _GLM4_MOE, _SOLAR_OPEN)
