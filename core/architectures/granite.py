"""IBM's Granite: dense, with experts, and hybrids of Mamba 2 and attention; NVIDIA's Nemotron-H, another of those."""

from __future__ import annotations

from core.architectures.config import count, required
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Source, Tensor
from core.architectures.shared import BLOCK, COMMON, PERMUTED, SHARED, VOCAB_SIZE, halves, rope_dimensions
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


def _nemotron_h_keys(source: Source) -> Extra:
    """The pattern has a letter for each block: M is Mamba 2, * attention, - a feed-forward network."""
    config, arch, pattern = source.config, source.arch, str(source.config.get("hybrid_override_pattern", ""))
    heads, width = required(config, "num_key_value_heads"), required(config, "intermediate_size")
    inner = required(config, "mamba_num_heads") * required(config, "mamba_head_dim")
    keys = [
        Metadata(f"{arch}.attention.head_count_kv", "[i32]", [heads if letter == "*" else 0 for letter in pattern]),
        Metadata(f"{arch}.feed_forward_length", "[i32]", [width if letter == "-" else 0 for letter in pattern]),
        Metadata(f"{arch}.ssm.inner_size", "u32", inner),
        Metadata(f"{arch}.rope.scaling.finetuned", "bool", False),
        Metadata(f"{arch}.rope.dimension_count", "u32", config["hidden_size"] // config["num_attention_heads"]),
    ]
    return Extra(tuple(keys))


def _nemotron_h_tensors(config: Config) -> tuple[Tensor, ...]:
    norm = Tensor(r".*\.mixer\.norm\.weight", ops=(Reshape((required(config, "n_groups"), -1)),))
    return (*state_space_tensors(Column()), norm)


_NEMOTRON_H = Architecture(
    classes=("NemotronHForCausalLM",),
    arch="nemotron_h",
    keys=(
        *SHARED,
        VOCAB_SIZE,
        Key("context_length", "u32", (), MAMBA_CONTEXT),
        Key("attention.layer_norm_rms_epsilon", "f32", ("layer_norm_epsilon", "rms_norm_eps")),
        Key("attention.key_length", "u32", ("attention_head_dim", "head_dim")),
        Key("attention.value_length", "u32", ("attention_head_dim", "head_dim")),
        Key("ssm.conv_kernel", "u32", ("conv_kernel",)),
        Key("ssm.state_size", "u32", ("ssm_state_size",)),
        Key("ssm.group_count", "u32", ("n_groups",)),
        Key("ssm.time_step_rank", "u32", ("mamba_num_heads",)),
    ),
    tensors=_nemotron_h_tensors,
    renames=((r"\.dt_bias$", ".dt_proj.bias"),),
    when=lambda config: not config.get("n_routed_experts"),
    extra=(_nemotron_h_keys,),
)

ENTRIES = (_DENSE, _MOE, _HYBRID, _NEMOTRON_H)
