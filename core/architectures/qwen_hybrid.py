"""Qwen3-Next and Qwen3.5: gated delta networks in most layers, attention in every fourth, and a block for predicting
one token more (MTP) that is kept.
"""

from __future__ import annotations

from dataclasses import replace

from core.architectures.config import count, required
from core.architectures.entry import Architecture, Config, Extra, Key, Ops, Source, Tensor
from core.architectures.qwen import EXPERT_KEYS, fused_experts
from core.architectures.shared import BLOCK, COMMON, POST_ATTENTION, SHARED, rope_sections, turned_part
from core.model import Metadata
from core.tensor_ops import Add, Flatten, Heads, NegExp, Retile, RetileColumns, Rows, Squeeze

_PLUS_ONE = (Add(1.0),)
_LINEAR = BLOCK + r"linear_attn\."
_PARTS = (
    Key("ssm.conv_kernel", "u32", ("linear_conv_kernel_dim",)),
    Key("ssm.state_size", "u32", ("linear_key_head_dim",)),
    Key("ssm.group_count", "u32", ("linear_num_key_heads",)),
    Key("ssm.time_step_rank", "u32", ("linear_num_value_heads",)),
    Key("full_attention_interval", "u32", ("full_attention_interval",), 4),
)
_MTP_BLOCK = (
    (r"self_attn\.(q|k|v)_proj\.(weight|bias)", "attn_{0}.{1}"),
    (r"self_attn\.o_proj\.weight", "attn_output.weight"),
    (r"mlp\.(gate|up|down)_proj\.weight", "ffn_{0}.weight"),
    (r"mlp\.experts\.(gate|up|down)_proj\.weight", "ffn_{0}_exps.weight"),
    (r"mlp\.gate\.weight", "ffn_gate_inp.weight"),
    (r"mlp\.shared_expert\.(gate|up|down)_proj\.weight", "ffn_{0}_shexp.weight"),
    (r"mlp\.shared_expert_gate\.weight", "ffn_gate_inp_shexp.weight"),
)
_MTP_NORMS = (
    (r"mtp\.layers\.0\.self_attn\.(q|k)_norm\.weight", "attn_{0}_norm.weight"),
    (r"mtp\.layers\.0\.input_layernorm\.weight", "attn_norm.weight"),
    (r"mtp\.layers\.0\.post_attention_layernorm\.weight", "post_attention_norm.weight"),
    (r"mtp\.norm\.weight", "nextn.shared_head_norm.weight"),
    (r"mtp\.pre_fc_norm_embedding\.weight", "nextn.enorm.weight"),
    (r"mtp\.pre_fc_norm_hidden\.weight", "nextn.hnorm.weight"),
)


def _next_token_block(config: Config) -> tuple[Tensor, ...]:
    """The block for one token more, which llama.cpp counts as the one after the last."""
    block = f"blk.{required(config, 'num_hidden_layers')}."
    return (
        Tensor(r"mtp\.fc\.weight", block + "nextn.eh_proj.weight"),
        *(Tensor(rf"mtp\.layers\.0\.{pattern}", block + name) for pattern, name in _MTP_BLOCK),
        *(Tensor(pattern, block + name, _PLUS_ONE) for pattern, name in _MTP_NORMS),
        *fused_experts(config, r"mtp\.layers\.0\.", block),
    )


def _common_tensors(config: Config) -> tuple[Tensor, ...]:
    """The norms differ from one by what is stored, except that of the delta network."""
    return (
        *_next_token_block(config),
        *fused_experts(config, BLOCK, "blk.{0}."),
        replace(POST_ATTENTION, ops=_PLUS_ONE),
        Tensor(_LINEAR + r"norm\.weight", "blk.{0}.ssm_norm.weight"),
        Tensor(r".*norm\.weight", ops=_PLUS_ONE),
    )


def _next_tensors(config: Config) -> tuple[Tensor, ...]:
    """q, k, v and z stand together for each key head: all q, all k, all v become one tensor, all z another."""
    keys, values = (required(config, f"linear_num_{kind}_heads") for kind in ("key", "value"))
    k, v = required(config, "linear_key_head_dim"), required(config, "linear_value_head_dim") * (values // keys)
    q_rows, k_rows, v_rows, z_rows = (
        (Heads(keys), Rows(*at), Flatten())
        for at in ((0, k), (k, 2 * k), (2 * k, 2 * k + v), (2 * k + v, 2 * k + 2 * v))
    )
    fused = _LINEAR + r"in_proj_qkvz\.weight"
    return (
        Tensor(fused, "blk.{0}.attn_qkv.weight", parts=(q_rows, k_rows, v_rows)),
        Tensor(fused, "blk.{0}.attn_gate.weight", z_rows),
        Tensor(_LINEAR + r"A_log", "blk.{0}.ssm_a", (NegExp(),)),
        Tensor(_LINEAR + r"dt_bias", "blk.{0}.ssm_dt.bias"),
        Tensor(_LINEAR + r"conv1d\.weight", "blk.{0}.ssm_conv1d.weight", (Squeeze(),)),
        Tensor(_LINEAR + r"in_proj_ba\.weight", "blk.{0}.ssm_ba.weight"),
        *_common_tensors(config),
    )


def _tensors_35(config: Config) -> tuple[Tensor, ...]:
    """Value heads that share a key head stand together in the source, and as far apart as they can in the GGUF."""
    keys, values = (required(config, f"linear_num_{kind}_heads") for kind in ("key", "value"))
    shared = 2 * keys * required(config, "linear_key_head_dim")
    end = shared + values * required(config, "linear_value_head_dim")
    tiled: Ops = (Retile(keys, values // keys),) if values > keys else ()
    columns: Ops = (RetileColumns(keys, values // keys),) if values > keys else ()
    channels = ((Rows(0, shared),), (Rows(shared, end), *tiled)) if tiled else ((),)
    return (
        Tensor(_LINEAR + r"in_proj_qkv\.weight", "blk.{0}.attn_qkv.weight", parts=channels),
        Tensor(
            _LINEAR + r"conv1d\.weight",
            "blk.{0}.ssm_conv1d.weight",
            parts=tuple((Squeeze(), *ops) for ops in channels),
        ),
        Tensor(_LINEAR + r"in_proj_z\.weight", "blk.{0}.attn_gate.weight", tiled),
        Tensor(_LINEAR + r"in_proj_a\.weight", "blk.{0}.ssm_alpha.weight", tiled),
        Tensor(_LINEAR + r"in_proj_b\.weight", "blk.{0}.ssm_beta.weight", tiled),
        Tensor(_LINEAR + r"A_log", "blk.{0}.ssm_a", (*tiled, NegExp())),
        Tensor(_LINEAR + r"dt_bias", "blk.{0}.ssm_dt.bias", tiled),
        Tensor(_LINEAR + r"out_proj\.weight", "blk.{0}.ssm_out.weight", columns),
        *_common_tensors(config),
    )


def _hybrid_keys(source: Source) -> Extra:
    """Which layers have a state and no attention; the block for one token more counts where the files hold it."""
    config, arch = source.config, source.arch
    layers, interval = required(config, "num_hidden_layers"), count(config, "full_attention_interval", 4)
    more = int(any(name.startswith("mtp.layers.") for name in source.tensors))
    kinds = config.get("layer_types")
    if not isinstance(kinds, list):
        kinds = ["full" if (layer + 1) % interval == 0 else "linear_attention" for layer in range(layers)]
    inner = required(config, "linear_num_value_heads") * required(config, "linear_value_head_dim")
    counts = {"block_count": layers + more, "ssm.inner_size": inner}
    if more:
        counts["nextn_predict_layers"] = more
    recurrent = [kind == "linear_attention" for kind in kinds] + [False] * more
    return Extra(
        (
            *(Metadata(f"{arch}.{name}", "u32", value) for name, value in counts.items()),
            Metadata(f"{arch}.attention.recurrent_layers", "[bool]", recurrent),
        )
    )


def _sections_35(source: Source) -> Extra:
    """rope.dimension_sections, always."""
    default = Metadata(f"{source.arch}.rope.dimension_sections", "[i32]", [11, 11, 10, 0])
    return Extra((default, *rope_sections(source).keys))


_NEXT = Architecture(
    classes=("Qwen3NextForCausalLM",),
    arch="qwen3next",
    keys=(*EXPERT_KEYS, *_PARTS),
    tensors=_next_tensors,
    extra=(*COMMON, turned_part(0.25), _hybrid_keys),
)
_QWEN_35 = Architecture(
    classes=("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"),
    arch="qwen35",
    keys=(*SHARED, *_PARTS),
    tensors=_tensors_35,
    extra=(*COMMON, _sections_35, turned_part(0.25), _hybrid_keys),
)
_QWEN_35_MOE = Architecture(
    classes=("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
    arch="qwen35moe",
    keys=(*EXPERT_KEYS, *_PARTS),
    tensors=_tensors_35,
    extra=(*COMMON, _sections_35, turned_part(0.25), _hybrid_keys),
)

ENTRIES = (_NEXT, _QWEN_35, _QWEN_35_MOE)
