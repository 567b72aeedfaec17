"""Falcon and Falcon-H1."""

from __future__ import annotations

from core.architectures.config import HEADS, number, required
from core.architectures.entry import Architecture, Config, Extra, Key, Ops, Tensor
from core.architectures.shared import BLOCK, COMMON, SHARED, VOCAB_SIZE, unusual_theta
from core.architectures.state_space import state_space_tensors
from core.errors import SnugError
from core.model import Metadata
from core.tensor_ops import Column, Flatten, Heads, Reshape, Rows, Scale

_FALCON_CONTEXT = 2048


def _falcon_config(config: Config) -> Config:
    """The number of key-value heads: said, or one, or as many as there are heads. ALiBi, as in Falcon-RW, is refused:
    llama.cpp has rotary Falcons only.
    """
    if config.get("alibi") or config.get("bias"):
        raise SnugError(
            "Falcon models with ALiBi or biases (Falcon-RW) cannot run in llama.cpp.", "Choose another model."
        )
    heads, width = required(config, *HEADS), required(config, "hidden_size")
    shared = config.get("num_kv_heads") or config.get("n_head_kv")
    grouped = config.get("new_decoder_architecture") or (config.get("n_head_kv") and "num_kv_heads" not in config)
    if not grouped:
        shared = 1 if config.get("multi_query", True) else heads
    wide = config.get("ffn_hidden_size") or 4 * width
    return {**config, "num_key_value_heads": shared or heads, "intermediate_size": wide}


def _falcon_tensors(config: Config) -> tuple[Tensor, ...]:
    """query_key_value has for each key-value head its queries, the key and the value."""
    heads, shared = required(config, *HEADS), required(config, "num_key_value_heads")
    if shared == 1:
        return ()
    size, queries = required(config, "hidden_size") // heads, heads // shared
    ends = (0, queries * size, (queries + 1) * size, (queries + 2) * size)
    parts = tuple((Heads(shared), Rows(ends[at], ends[at + 1]), Flatten()) for at in range(3))
    return (Tensor(r".*\.query_key_value\.weight", parts=parts),)


_FALCON = Architecture(
    classes=("FalconForCausalLM", "RWForCausalLM"),
    arch="falcon",
    keys=(
        *SHARED[:6],
        Key("context_length", "u32", (), _FALCON_CONTEXT),
        Key("attention.layer_norm_epsilon", "f32", ("layer_norm_epsilon",), 1e-5),
    ),
    tensors=_falcon_tensors,
    config=_falcon_config,
    extra=(unusual_theta, lambda source: Extra((Metadata("falcon.tensor_data_layout", "str", "jploski"),))),
)


def _scaled(*factors: float) -> Ops:
    return tuple(Scale(factor) for factor in factors if factor != 1.0)


def _h1_tensors(config: Config) -> tuple[Tensor, ...]:
    """The model's multipliers go into its weights: llama.cpp knows none of them."""
    named = {
        name: number(config, f"{name}_multiplier", 1.0)
        for name in ("embedding", "lm_head", "key", "attention_in", "attention_out", "ssm_in", "ssm_out")
    }
    gate, down = (float(value) for value in config.get("mlp_multipliers") or (1.0, 1.0))
    into, out = named["attention_in"], named["attention_out"]
    layer, groups = r"model\.layers\.\d+\.", required(config, "mamba_n_groups")
    return (
        Tensor(r"model\.embed_tokens\.weight", ops=_scaled(named["embedding"])),
        Tensor(r"lm_head\.weight", ops=_scaled(named["lm_head"])),
        Tensor(layer + r"self_attn\.[qv]_proj\.weight", ops=_scaled(into)),
        Tensor(layer + r"self_attn\.k_proj\.weight", ops=_scaled(named["key"], into)),
        Tensor(layer + r"self_attn\.o_proj\.weight", ops=_scaled(out)),
        Tensor(layer + r"feed_forward\.gate_proj\.weight", ops=_scaled(gate)),
        Tensor(layer + r"feed_forward\.down_proj\.weight", ops=_scaled(down)),
        Tensor(layer + r"mamba\.out_proj\.weight", ops=_scaled(named["ssm_out"])),
        Tensor(layer + r"mamba\.in_proj\.weight", parts=_h1_in_parts(config, named["ssm_in"])),
        Tensor(BLOCK + r"mamba\.norm\.weight", "blk.{0}.ssm_norm.weight", (Reshape((groups, -1)),)),
        Tensor(BLOCK + r"mamba\.dt_bias", "blk.{0}.ssm_dt.bias"),
        Tensor(BLOCK + r"pre_ff_layernorm\.weight", "blk.{0}.ffn_norm"),
        *state_space_tensors(Column()),
    )


def _h1_in_parts(config: Config, whole: float) -> tuple[Ops, ...]:
    """Mamba's input has five parts, each with a multiplier: gate, x, B, C, dt."""
    inner, heads = required(config, "mamba_d_ssm"), required(config, "mamba_n_heads")
    states = required(config, "mamba_n_groups") * required(config, "mamba_d_state")
    factors = [float(value) for value in config.get("ssm_multipliers") or (1.0,) * 5]
    parts, start = [], 0
    for size, factor in zip((inner, inner, states, states, heads), factors, strict=True):
        parts.append((Rows(start, start + size), *_scaled(whole, factor)))
        start += size
    return tuple(parts)


def _h1_config(config: Config) -> Config:
    inner = config.get("mamba_d_ssm") or required(config, "mamba_expand") * required(config, "hidden_size")
    size = required(config, "hidden_size") // required(config, "num_attention_heads")
    return {"head_dim": size, **config, "mamba_d_ssm": inner}


_FALCON_H1 = Architecture(
    classes=("FalconH1ForCausalLM",),
    arch="falcon-h1",
    keys=(
        *SHARED,
        VOCAB_SIZE,
        Key("ssm.conv_kernel", "u32", ("mamba_d_conv",)),
        Key("ssm.inner_size", "u32", ("mamba_d_ssm",)),
        Key("ssm.state_size", "u32", ("mamba_d_state",)),
        Key("ssm.time_step_rank", "u32", ("mamba_n_heads",)),
        Key("ssm.group_count", "u32", ("mamba_n_groups",)),
    ),
    tensors=_h1_tensors,
    config=_h1_config,
    extra=COMMON,
)

ENTRIES = (_FALCON, _FALCON_H1)
