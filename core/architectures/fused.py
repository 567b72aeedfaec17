"""Families with q, k and v in one tensor or names of their own: InternLM 2, Baichuan, EXAONE, Command R."""

from __future__ import annotations

from core.architectures.config import head_dim, number, required
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Ops, Source, Tensor
from core.architectures.shared import (
    BLOCK,
    COMMON,
    SHARED,
    VOCAB_SIZE,
    WITHOUT_FIRST_NORM,
    rope_dimensions,
    rope_freqs,
    sliding_window,
)
from core.model import Metadata
from core.tensor_ops import Flatten, Heads, RopePermute, Rows


def _internlm2_tensors(config: Config) -> tuple[Tensor, ...]:
    """Each group of query heads is followed by its key and its value head."""
    heads = required(config, "num_attention_heads")
    groups, d = required(config, "num_key_value_heads", "num_attention_heads"), head_dim(config)
    q = heads // groups * d
    wqkv = BLOCK + r"attention\.wqkv\.(weight|bias)"
    found: tuple[tuple[str, int, int, Ops], ...] = (
        ("attn_q", 0, q, (RopePermute(heads),)),
        ("attn_k", q, q + d, (RopePermute(groups),)),
        ("attn_v", q + d, q + 2 * d, ()),
    )
    return tuple(
        Tensor(wqkv, f"blk.{{0}}.{name}.{{1}}", (Heads(groups), Rows(start, stop), Flatten(), *turned))
        for name, start, stop, turned in found
    )


_INTERNLM2 = Architecture(
    classes=("InternLM2ForCausalLM",),
    arch="internlm2",
    keys=SHARED,
    tensors=_internlm2_tensors,
    extra=COMMON,
)


def _baichuan_tensors(config: Config) -> tuple[Tensor, ...]:
    heads, width = required(config, "num_attention_heads"), required(config, "hidden_size")
    packed = BLOCK + r"self_attn\.W_pack\.weight"
    found: tuple[tuple[str, Ops], ...] = (
        ("attn_q", (RopePermute(heads),)), ("attn_k", (RopePermute(heads),)), ("attn_v", ()),
    )  # fmt: skip
    return tuple(
        Tensor(packed, f"blk.{{0}}.{name}.weight", (Rows(i * width, (i + 1) * width), *turned))
        for i, (name, turned) in enumerate(found)
    )


_BAICHUAN = Architecture(
    classes=("BaichuanForCausalLM", "BaiChuanForCausalLM"),
    arch="baichuan",
    keys=(
        *SHARED,
        Key("attention.head_count_kv", "u32", ("num_key_value_heads", "num_attention_heads")),
        Key("tensor_data_layout", "str", (), "Meta AI original pth"),
    ),
    tensors=_baichuan_tensors,
    extra=(*COMMON, rope_dimensions),
)
_EXAONE = Architecture(
    classes=("ExaoneForCausalLM",),
    arch="exaone",
    keys=(
        *SHARED,
        Key("attention.layer_norm_rms_epsilon", "f32", ("layer_norm_epsilon", "rms_norm_eps")),
    ),
    extra=(*COMMON, rope_dimensions, rope_freqs),
)


def _exaone4_config(config: Config) -> Config:
    """A pattern such as LLLG says which layers look through a window, where layer_types does not."""
    pattern, layers = config.get("sliding_window_pattern"), required(config, "num_hidden_layers")
    if config.get("layer_types") or not pattern:
        return config
    local = (
        [pattern[layer % len(pattern)] == "L" for layer in range(layers)]
        if isinstance(pattern, str)
        else [(layer + 1) % pattern != 0 for layer in range(layers)]
    )
    return {**config, "layer_types": ["sliding_attention" if yes else "full_attention" for yes in local]}


_EXAONE4 = Architecture(
    classes=("Exaone4ForCausalLM",),
    arch="exaone4",
    keys=(*SHARED, VOCAB_SIZE),
    needed=WITHOUT_FIRST_NORM,
    config=_exaone4_config,
    extra=(*COMMON, rope_freqs, sliding_window),
)


def _cohere_scales(source: Source) -> Extra:
    scale = number(source.config, "logit_scale", 0.0625)
    return Extra(
        (
            Metadata(f"{source.arch}.logit_scale", "f32", scale),
            Metadata(f"{source.arch}.rope.scaling.type", "str", "none"),
        )
    )


_COHERE = Architecture(
    classes=("CohereForCausalLM",),
    arch="command-r",
    keys=(*SHARED, Key("context_length", "u32", ("model_max_length", "max_position_embeddings"))),
    extra=(*COMMON, _cohere_scales),
)
_COHERE2 = Architecture(
    classes=("Cohere2ForCausalLM",),
    arch="cohere2",
    keys=(*SHARED, VOCAB_SIZE, Key("attention.sliding_window", "u32", ("sliding_window",))),
    dropped=(Drop(r".*\.bias", "zero in every published model, and llama.cpp has no place for it"),),
    extra=(*COMMON, rope_dimensions, _cohere_scales),
)

ENTRIES = (_INTERNLM2, _BAICHUAN, _EXAONE, _EXAONE4, _COHERE, _COHERE2)
