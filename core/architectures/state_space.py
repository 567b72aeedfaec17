"""State space models and their hybrids: Mamba 1 and 2, Falcon Mamba, Jamba, LFM2."""

from __future__ import annotations

from core.architectures.config import count, required
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Source, Tensor
from core.architectures.shared import COMMON, EXPERT_WIDTH, SHARED, TIED, VOCAB_SIZE
from core.model import Metadata
from core.tensor_ops import Column, NegExp, Reshape, Squeeze, TensorOp

MAMBA_CONTEXT = 1 << 20  # these models have no limit of their own
_MAMBA_KEYS = (
    Key("context_length", "u32", (), MAMBA_CONTEXT),
    Key("embedding_length", "u32", ("hidden_size", "d_model")),
    Key("feed_forward_length", "u32", (), 0),
    Key("attention.head_count", "u32", (), 0),
    Key("block_count", "u32", ("num_hidden_layers", "n_layer")),
    Key("ssm.conv_kernel", "u32", ("conv_kernel", "d_conv"), 4),
    Key("ssm.inner_size", "u32", ("intermediate_size", "d_inner")),
    Key("attention.layer_norm_rms_epsilon", "f32", ("layer_norm_epsilon", "rms_norm_eps"), 1e-5),
)


def state_space_tensors(*numbers: TensorOp) -> tuple[Tensor, ...]:
    """What all of them do: A from its logarithm, the convolution without its middle dimension.

    `numbers` is what else is done to A and D.
    """
    return (
        Tensor(r".*\.A_log", ops=(NegExp(), *numbers)),
        Tensor(r".*\.D", ops=numbers),
        Tensor(r".*\.conv1d\.weight", ops=(Squeeze(),)),
    )


def _tied(config: Config) -> tuple[Drop, ...]:
    return (TIED,) if config.get("tie_word_embeddings", True) else ()


def _mamba_config(config: Config) -> Config:
    width = required(config, "hidden_size", "d_model")
    defaults = {"intermediate_size": width * count(config, "expand", 2), "time_step_rank": -(-width // 16)}
    given = {name: value for name, value in config.items() if value is not None and value != "auto"}
    return defaults | given


_MAMBA = Architecture(
    classes=("MambaForCausalLM", "MambaLMHeadModel", "FalconMambaForCausalLM"),
    arch="mamba",
    keys=(
        *_MAMBA_KEYS,
        Key("ssm.state_size", "u32", ("state_size", "d_state"), 16),
        Key("ssm.time_step_rank", "u32", ("time_step_rank", "dt_rank")),
    ),
    tensors=lambda config: (*_tied(config), *state_space_tensors()),
    config=_mamba_config,
    extra=(
        lambda source: Extra(
            (Metadata("mamba.ssm.dt_b_c_rms", "bool", source.config.get("model_type") == "falcon_mamba"),)
        ),
    ),
)


def _mamba2_config(config: Config) -> Config:
    config = _mamba_config(config)
    return {**config, "time_step_rank": required(config, "intermediate_size") // count(config, "head_dim", 64)}


def _mamba2_tensors(config: Config) -> tuple[Tensor | Drop, ...]:
    groups = count(config, "n_groups", 1)
    norm = Tensor(r".*\.mixer\.norm\.weight", ops=(Reshape((groups, -1)),))
    return (*_tied(config), *state_space_tensors(Column()), norm)


_MAMBA2 = Architecture(
    classes=("Mamba2ForCausalLM",),
    arch="mamba2",
    keys=(
        *_MAMBA_KEYS,
        Key("ssm.state_size", "u32", ("state_size", "d_state"), 128),
        Key("ssm.time_step_rank", "u32", ("time_step_rank",)),
        Key("ssm.group_count", "u32", ("n_groups",), 1),
    ),
    tensors=_mamba2_tensors,
    renames=((r"\.dt_bias$", ".dt_proj.bias"),),
    config=_mamba2_config,
)


def _jamba_keys(source: Source) -> Extra:
    """Attention in every so many layers: the others have no heads that share keys and values."""
    config = source.config
    layers, heads = required(config, "num_hidden_layers"), required(config, "num_key_value_heads")
    period, offset = required(config, "attn_layer_period"), count(config, "attn_layer_offset", 0)
    width = required(config, "hidden_size")
    rank = config.get("mamba_dt_rank")
    numbers = {
        "ssm.inner_size": required(config, "mamba_expand") * width,
        "ssm.time_step_rank": rank if isinstance(rank, int) else -(-width // 16),
    }
    kv = [heads if layer % period == offset else 0 for layer in range(layers)]
    return Extra(
        (
            Metadata("jamba.attention.head_count_kv", "[i32]", kv),
            *(Metadata(f"jamba.{name}", "u32", value) for name, value in numbers.items()),
        )
    )


_JAMBA = Architecture(
    classes=("JambaForCausalLM",),
    arch="jamba",
    keys=(
        *(key for key in SHARED if not key.name.startswith("attention.key")),
        Key("ssm.conv_kernel", "u32", ("mamba_d_conv",), 4),
        Key("ssm.state_size", "u32", ("mamba_d_state",), 16),
    ),
    tensors=lambda config: state_space_tensors(),
    extra=(_jamba_keys,),
)


def _lfm2_keys(source: Source) -> Extra:
    """Convolutions in most layers: those have no heads. The feed-forward width is what the tensors say."""
    config = source.config
    layers, heads = required(config, "num_hidden_layers"), required(config, "num_key_value_heads")
    kinds = config.get("layer_types")
    attends = (
        [kind == "full_attention" for kind in kinds]
        if isinstance(kinds, list)
        else [layer in (config.get("full_attn_idxs") or ()) for layer in range(layers)]
    )
    width = source.tensors["model.layers.0.feed_forward.w1.weight"].shape[0]
    return Extra(
        (
            Metadata(f"{source.arch}.attention.head_count_kv", "[i32]", [heads if yes else 0 for yes in attends]),
            Metadata(f"{source.arch}.feed_forward_length", "u32", width),
        )
    )


def _lfm2_tensors(config: Config) -> tuple[Tensor, ...]:
    return (Tensor(r".*\.conv\.conv\.weight", ops=(Squeeze(),)),)


_LFM2_NEEDED = ("token_embd.weight", "token_embd_norm.weight", "blk.{}.attn_norm.weight")
_LFM2_KEYS = (*SHARED, VOCAB_SIZE, Key("shortconv.l_cache", "u32", ("conv_L_cache",)))
_LFM2 = Architecture(
    classes=("Lfm2ForCausalLM", "Lfm2VlForConditionalGeneration"),
    arch="lfm2",
    keys=_LFM2_KEYS,
    tensors=_lfm2_tensors,
    needed=_LFM2_NEEDED,
    extra=(*COMMON, _lfm2_keys),
)
_LFM2_MOE = Architecture(
    classes=("Lfm2MoeForCausalLM",),
    arch="lfm2moe",
    keys=(
        *_LFM2_KEYS,
        EXPERT_WIDTH,
        Key("leading_dense_block_count", "u32", ("num_dense_layers",)),
        Key("expert_gating_func", "u32", (), 2),
    ),
    tensors=_lfm2_tensors,
    renames=(
        (r"expert_bias$", "expert_bias.bias"),
        (r"(experts\.\d+)\.w1", r"\1.gate_proj"),
        (r"(experts\.\d+)\.w2", r"\1.down_proj"),
        (r"(experts\.\d+)\.w3", r"\1.up_proj"),
    ),
    needed=_LFM2_NEEDED,
    extra=(*COMMON, _lfm2_keys),
)

ENTRIES = (_MAMBA, _MAMBA2, _JAMBA, _LFM2, _LFM2_MOE)
