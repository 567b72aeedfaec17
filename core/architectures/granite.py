"""IBM's Granite: dense, with experts, and hybrids of Mamba 2 and attention; NVIDIA's Nemotron-H, another of those."""

from __future__ import annotations

from dataclasses import replace

from core.architectures.config import count, required, unusable
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Source, Tensor
from core.architectures.shared import (
    BLOCK,
    COMMON,
    EXPERT_WIDTH,
    NEXT_TOKENS,
    PERMUTED,
    SHARED,
    SHARED_EXPERTS,
    VOCAB_SIZE,
    WEIGHTS_NORM,
    WEIGHTS_SCALE,
    halves,
    rope_dimensions,
)
from core.architectures.state_space import MAMBA_CONTEXT, state_space_tensors
from core.model import Metadata
from core.tensor_ops import Column, Reshape

_SCALES = (
    Key("attention.scale", "f32", ("attention_multiplier",)),
    Key("embedding_scale", "f32", ("embedding_multiplier",)),
    Key("residual_scale", "f32", ("residual_multiplier",)),
    Key("logit_scale", "f32", ("logits_scaling",)),
)
_KEYS = (*(key for key in SHARED if key.name.split(".")[-1] not in ("key_length", "value_length")), VOCAB_SIZE)
_SHARED_WIDTH = Key("expert_shared_feed_forward_length", "u32", ("shared_intermediate_size",))

_DENSE = Architecture(
    classes=("GraniteForCausalLM",),
    arch="granite",
    keys=(*_KEYS, *_SCALES),
    permuted=PERMUTED,
    dropped=(Drop(r"encoder\..*", "a part that hears: Snug converts the language model only"),),
    extra=(*COMMON, rope_dimensions),
)


def _feed_forward(config: Config) -> tuple[Tensor, ...]:
    """Without experts the shared network is the only one, and has its names."""
    shared, both = count(config, "shared_intermediate_size", 0), BLOCK + r"shared_mlp\.input_linear\.weight"
    if not config.get("num_local_experts"):
        down = Tensor(BLOCK + r"shared_mlp\.output_linear\.weight", "blk.{0}.ffn_down.weight")
        return (*halves(both, "ffn_gate", "ffn_up", shared), down)
    width, experts = required(config, "intermediate_size"), BLOCK + r"block_sparse_moe\.input_linear\.weight"
    return (
        *halves(experts, "ffn_gate_exps", "ffn_up_exps", width),
        *(halves(both, "ffn_gate_shexp", "ffn_up_shexp", shared) if shared else ()),
    )


_MOE = Architecture(
    classes=("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"),
    arch="granitemoe",
    keys=(*_KEYS, *_SCALES, _SHARED_WIDTH),
    tensors=_feed_forward,
    permuted=PERMUTED,
    extra=(*COMMON, rope_dimensions),
)


def _hybrid_tensors(config: Config) -> tuple[Tensor, ...]:
    norm = Tensor(r".*\.mamba\.norm\.weight", ops=(Reshape((required(config, "mamba_n_groups"), -1)),))
    return (*_feed_forward(config), *state_space_tensors(Column()), norm)


def _hybrid_keys(source: Source) -> Extra:
    """Attention in the layers that layer_types names; Mamba needs no positions and no limit of the context."""
    config, arch = source.config, source.arch
    attends = [kind == "attention" for kind in config["layer_types"]]
    heads = required(config, "num_key_value_heads")
    keys = [
        Metadata(f"{arch}.attention.head_count_kv", "[i32]", [heads if yes else 0 for yes in attends]),
        Metadata(f"{arch}.ssm.inner_size", "u32", count(config, "mamba_expand", 2) * required(config, "hidden_size")),
        Metadata(f"{arch}.rope.scaling.finetuned", "bool", all(attends)),
    ]
    if not config.get("num_local_experts"):
        keys.append(Metadata(f"{arch}.feed_forward_length", "u32", required(config, "shared_intermediate_size")))
    if not all(attends):
        keys.append(Metadata(f"{arch}.context_length", "u32", MAMBA_CONTEXT))
    return Extra(tuple(keys))


_HYBRID = Architecture(
    classes=("GraniteMoeHybridForCausalLM",),
    arch="granitehybrid",
    keys=(
        *_KEYS,
        *_SCALES,
        _SHARED_WIDTH,
        Key("ssm.conv_kernel", "u32", ("mamba_d_conv",)),
        Key("ssm.state_size", "u32", ("mamba_d_state",)),
        Key("ssm.group_count", "u32", ("mamba_n_groups",)),
        Key("ssm.time_step_rank", "u32", ("mamba_n_heads",)),
    ),
    tensors=_hybrid_tensors,
    permuted=PERMUTED,
    renames=((r"\.dt_bias$", ".dt_proj.bias"),),
    extra=(*COMMON, rope_dimensions, _hybrid_keys),
)


_BLOCKS = {
    **{"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"},
    **{name: name for name in ("mamba", "attention", "mlp", "moe")},
    **{"linear_attention": "mamba", "full_attention": "attention"},
}


def _nemotron_h_config(config: Config) -> Config:
    """Each block is one thing: Mamba 2, attention, a feed-forward network or experts; a letter or a word says which."""
    blocks = config.get("hybrid_override_pattern") or config.get("layers_block_type") or ()
    kinds = [_BLOCKS.get(block, "") for block in blocks if block != "|"]
    if not kinds or "" in kinds:
        raise unusable("hybrid_override_pattern", blocks)
    size = config.get("head_dim") or config.get("attention_head_dim")
    return {**config, "num_hidden_layers": len(kinds), "kinds": kinds, "head_dim": size}


def _nemotron_h_keys(source: Source) -> Extra:
    config, arch, kinds = source.config, source.arch, source.config["kinds"]
    heads, width = (
        required(config, "num_key_value_heads"),
        required(config, "moe_intermediate_size", "intermediate_size"),
    )
    inner = required(config, "mamba_num_heads") * required(config, "mamba_head_dim")
    keys = [
        Metadata(f"{arch}.attention.head_count_kv", "[i32]", [heads if kind == "attention" else 0 for kind in kinds]),
        Metadata(f"{arch}.feed_forward_length", "[i32]", [width if kind in ("mlp", "moe") else 0 for kind in kinds]),
        Metadata(f"{arch}.ssm.inner_size", "u32", inner),
        Metadata(f"{arch}.rope.scaling.finetuned", "bool", False),
        Metadata(
            f"{arch}.rope.dimension_count", "u32",
            required(config, "hidden_size") // required(config, "num_attention_heads"),
        ),
    ]  # fmt: skip
    return Extra(tuple(keys))


def _nemotron_h_tensors(config: Config) -> tuple[Tensor | Drop, ...]:
    norm = Tensor(r".*\.mixer\.norm\.weight", ops=(Reshape((required(config, "n_groups"), -1)),))
    return (Drop(r"mtp\..*", NEXT_TOKENS), *state_space_tensors(Column()), norm)


_NEMOTRON_H = Architecture(
    classes=("NemotronHForCausalLM",),
    arch="nemotron_h",
    keys=(
        *SHARED,
        VOCAB_SIZE,
        Key("context_length", "u32", (), MAMBA_CONTEXT),
        Key("attention.layer_norm_rms_epsilon", "f32", ("layer_norm_epsilon", "rms_norm_eps")),
        Key("ssm.conv_kernel", "u32", ("conv_kernel",)),
        Key("ssm.state_size", "u32", ("ssm_state_size",)),
        Key("ssm.group_count", "u32", ("n_groups",)),
        Key("ssm.time_step_rank", "u32", ("mamba_num_heads",)),
    ),
    tensors=_nemotron_h_tensors,
    renames=(
        (r"\.dt_bias$", ".dt_proj.bias"),
        (r"^model\.(embeddings|norm_f|layers)\.", r"backbone.\1."),
        (r"^backbone\.(layers\.\d+)\.mixer\.experts\.", r"model.\1.mlp.experts."),
    ),
    when=lambda config: not config.get("num_experts_per_tok"),
    config=_nemotron_h_config,
    extra=(_nemotron_h_keys,),
)
_NEMOTRON_H_MOE = replace(
    _NEMOTRON_H,
    arch="nemotron_h_moe",
    keys=(
        *_NEMOTRON_H.keys,
        EXPERT_WIDTH,
        Key("expert_shared_feed_forward_length", "u32", ("moe_shared_expert_intermediate_size",)),
        SHARED_EXPERTS,
        WEIGHTS_NORM,
        WEIGHTS_SCALE,
        Key("moe_latent_size", "u32", ("moe_latent_size",)),
    ),
    when=lambda config: bool(config.get("num_experts_per_tok")),
)

ENTRIES = (_DENSE, _MOE, _HYBRID, _NEMOTRON_H, _NEMOTRON_H_MOE)
