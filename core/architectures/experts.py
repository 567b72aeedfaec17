"""Families that mostly come with experts: DeepSeek V2 and V3, gpt-oss, Llama 4, MiniMax, ERNIE, dots, HunYuan."""

from __future__ import annotations

from dataclasses import replace

from core.architectures.config import count, head_dim, number, required, rope
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Ops, Source, Tensor
from core.architectures.shared import (
    BLOCK,
    COMMON,
    DENSE_FIRST,
    EXPERT_WIDTH,
    NEXT_TOKENS,
    SHARED,
    SHARED_EXPERTS,
    VOCAB_SIZE,
    WEIGHTS_NORM,
    WEIGHTS_SCALE,
    expert_gating,
    halves,
    rope_dimensions,
    rope_freqs,
    rope_keys,
    rope_sections,
    without_tied_output,
)
from core.model import Metadata
from core.tensor_ops import Heads, Reshape, Rows, Transpose


def more_layers(config: Config) -> int:
    """How many layers that guess ahead there are: one, at most a few."""
    return min(count(config, "num_nextn_predict_layers", 0), 9)


def next_token_layers(config: Config) -> Drop:
    """The layers after the last one of the model proper."""
    first = required(config, "num_hidden_layers")
    numbers = "|".join(str(first + number) for number in range(more_layers(config) or 1))
    return Drop(rf"model\.layers\.({numbers})\..*", NEXT_TOKENS)


def _deepseek_tensors(config: Config) -> tuple[Tensor | Drop, ...]:
    """kv_b holds, head by head, what makes keys of the latent vector (used mirrored) and what makes values of it."""
    heads, nope = required(config, "num_attention_heads"), required(config, "qk_nope_head_dim")
    values = required(config, "v_head_dim")
    kv_b = BLOCK + r"self_attn\.kv_b_proj\.weight"
    return (
        next_token_layers(config),
        *without_tied_output(config),
        Tensor(kv_b, "blk.{0}.attn_k_b.weight", (Heads(heads), Rows(0, nope), Transpose())),
        Tensor(kv_b, "blk.{0}.attn_v_b.weight", (Heads(heads), Rows(nope, nope + values))),
    )


def _latent_attention(source: Source) -> Extra:
    """Latent attention looks like one key and value head to the cache."""
    config = source.config
    rotated, latent = required(config, "qk_rope_head_dim"), required(config, "kv_lora_rank")
    sizes = {
        "attention.head_count_kv": 1,
        "attention.key_length": latent + rotated,
        "attention.value_length": latent,
        "attention.key_length_mla": required(config, "qk_nope_head_dim") + rotated,
        "attention.value_length_mla": required(config, "v_head_dim"),
        "rope.dimension_count": rotated,
    }
    keys = [Metadata(f"{source.arch}.{name}", "u32", size) for name, size in sizes.items()]
    values = rope(config).values
    if values.get("mscale_all_dim"):
        scale = 0.1 * number(values, "mscale_all_dim")
        keys.append(Metadata(f"{source.arch}.rope.scaling.yarn_log_multiplier", "f32", scale))
    if config.get("norm_topk_prob"):
        keys.append(Metadata(f"{source.arch}.expert_weights_norm", "bool", True))
    return Extra(tuple(keys))


_DEEPSEEK = Architecture(
    classes=("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"),
    arch="deepseek2",
    keys=(
        *SHARED,
        VOCAB_SIZE,
        EXPERT_WIDTH,
        DENSE_FIRST,
        SHARED_EXPERTS,
        WEIGHTS_SCALE,
        Key("attention.q_lora_rank", "u32", ("q_lora_rank",)),
        Key("attention.kv_lora_rank", "u32", ("kv_lora_rank",)),
    ),
    tensors=_deepseek_tensors,
    extra=(*COMMON, _latent_attention),
)
_YOUTU = replace(
    _DEEPSEEK,
    classes=("YoutuForCausalLM",),
    config=lambda config: {  # the attention of DeepSeek without its experts
        "first_k_dense_replace": required(config, "num_hidden_layers"),
        "moe_intermediate_size": 0,
        "n_shared_experts": 0,
        **config,
    },
)
SIGMOID = Key("expert_gating_func", "u32", (), 2)
_GLM4_MOE_LITE = replace(_DEEPSEEK, classes=("Glm4MoeLiteForCausalLM",), keys=(*_DEEPSEEK.keys, SIGMOID))


def _gpt_oss_tensors(config: Config) -> tuple[Tensor, ...]:
    """Gate and up alternate, row by row; unpacked experts are stored mirrored."""
    experts, width = required(config, "num_local_experts"), required(config, "intermediate_size")
    settings = config.get("quantization_config")
    packed = isinstance(settings, dict) and settings.get("quant_method") == "mxfp4"
    mirrored: Ops = () if packed else (Transpose(),)
    weight = BLOCK + r"mlp\.experts\.gate_up_proj"
    bias = weight + "_bias"
    rows = []
    for first, name in enumerate(("gate", "up")):
        half = Rows(first, 2 * width, 2)
        column = (Reshape((experts, 2 * width, 1)), half, Reshape((experts, width)))
        rows.append(Tensor(weight, f"blk.{{0}}.ffn_{name}_exps.weight", (*mirrored, half)))
        rows.append(Tensor(bias, f"blk.{{0}}.ffn_{name}_exps.bias", column))
    down = BLOCK + r"mlp\.experts\.down_proj"
    return (
        *rows,
        Tensor(down, "blk.{0}.ffn_down_exps.weight", mirrored),
        Tensor(down + "_bias", "blk.{0}.ffn_down_exps.bias"),
        Tensor(BLOCK + r"self_attn\.sinks", "blk.{0}.attn_sinks.weight"),
    )


_GPT_OSS = Architecture(
    classes=("GptOssForCausalLM",),
    arch="gpt-oss",
    keys=(
        *SHARED,
        Key("attention.sliding_window", "u32", ("sliding_window",)),
        Key("expert_feed_forward_length", "u32", ("intermediate_size",)),
        Key("expert_used_count", "u32", ("num_experts_per_tok", "experts_per_token")),
    ),
    tensors=_gpt_oss_tensors,
    extra=COMMON,
)


def _llama4_tensors(config: Config) -> tuple[Tensor, ...]:
    """Experts are stored mirrored, gate and up beside each other."""
    width = required(config, "intermediate_size")
    experts = BLOCK + r"feed_forward\.experts\."
    return (
        Tensor(experts + "gate_up_proj", "blk.{0}.ffn_gate_exps.weight", (Transpose(), Rows(0, width))),
        Tensor(experts + "gate_up_proj", "blk.{0}.ffn_up_exps.weight", (Transpose(), Rows(width, 2 * width))),
        Tensor(experts + "down_proj", "blk.{0}.ffn_down_exps.weight", (Transpose(),)),
    )


_LLAMA4 = Architecture(
    classes=("Llama4ForCausalLM", "Llama4ForConditionalGeneration"),
    arch="llama4",
    keys=(
        *SHARED,
        VOCAB_SIZE,
        Key("feed_forward_length", "u32", ("intermediate_size_mlp",)),
        Key("expert_feed_forward_length", "u32", ("intermediate_size",)),
        Key("interleave_moe_layer_step", "u32", ("interleave_moe_layer_step",), 1),
        Key("rope.dimension_count", "u32", ("head_dim",)),
    ),
    tensors=_llama4_tensors,
    extra=(*COMMON, rope_freqs),
)


def _minimax_rope(source: Source) -> Extra:
    """The part of a head that turns is said as a number of dimensions."""
    if source.config.get("rotary_dim") is None:
        return rope_dimensions(source)
    return Extra((Metadata("minimax-m2.rope.dimension_count", "u32", required(source.config, "rotary_dim")),))


_MINIMAX_M2 = Architecture(
    classes=("MiniMaxM2ForCausalLM",),
    arch="minimax-m2",
    keys=(*SHARED, Key("expert_feed_forward_length", "u32", ("intermediate_size",)), SIGMOID),
    extra=(rope_keys, _minimax_rope),
)
_AFMOE = Architecture(
    classes=("AfmoeForCausalLM",),
    arch="afmoe",
    keys=(
        *SHARED,
        VOCAB_SIZE,
        EXPERT_WIDTH,
        Key("expert_shared_count", "u32", ("num_shared_experts",)),
        Key("leading_dense_block_count", "u32", ("num_dense_layers",)),
        Key("expert_weights_norm", "bool", ("route_norm",), True),
        Key("expert_weights_scale", "f32", ("route_scale",)),
        Key("attention.sliding_window", "u32", ("sliding_window",)),
        SIGMOID,
    ),
    renames=((r"expert_bias$", "expert_bias.bias"),),
    extra=(rope_keys, rope_dimensions),
)
_DOTS1 = Architecture(
    classes=("Dots1ForCausalLM",),
    arch="dots1",
    keys=(*SHARED, EXPERT_WIDTH, DENSE_FIRST, SHARED_EXPERTS, WEIGHTS_SCALE, WEIGHTS_NORM),
    extra=COMMON,
)


def _ernie_tensors(config: Config) -> tuple[Tensor | Drop, ...]:
    """Some files hold q, k and v in one tensor, and gate and up."""
    size = head_dim(config)
    q, kv = required(config, "num_attention_heads") * size, required(config, "num_key_value_heads") * size
    qkv = BLOCK + r"self_attn\.qkv_proj\.(weight|bias)"
    ranges = (("attn_q", 0, q), ("attn_k", q, q + kv), ("attn_v", q + kv, q + 2 * kv))
    return (
        Drop(r"model\.mtp_.*", NEXT_TOKENS),
        *without_tied_output(config),
        *(Tensor(qkv, f"blk.{{0}}.{name}.{{1}}", (Rows(start, stop),)) for name, start, stop in ranges),
        *halves(BLOCK + r"mlp\.up_gate_proj\.weight", "ffn_gate", "ffn_up", required(config, "intermediate_size")),
        *halves(
            BLOCK + r"mlp\.shared_experts\.up_gate_proj\.weight",
            "ffn_gate_shexp",
            "ffn_up_shexp",
            _ernie_shared(config),
        ),
        *halves(BLOCK + r"mlp\.experts\.up_gate_proj\.weight", "ffn_gate_exps", "ffn_up_exps", _ernie_width(config)),
    )


def _ernie_shared(config: Config) -> int:
    """Width of the shared experts together."""
    return _ernie_width(config) * count(config, "moe_num_shared_experts", 1)


def _ernie_width(config: Config) -> int:
    return count(config, "moe_intermediate_size", 1)


_ERNIE_RENAMES = ((r"^ernie\.", "model."),)
_ERNIE = Architecture(
    classes=("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"),
    arch="ernie4_5",
    keys=SHARED,
    tensors=_ernie_tensors,
    renames=_ERNIE_RENAMES,
    extra=COMMON,
)


def _ernie_experts(source: Source) -> Extra:
    if not source.config.get("moe_num_shared_experts"):
        return Extra()
    width = _ernie_shared(source.config)
    return Extra((Metadata(f"{source.arch}.expert_shared_feed_forward_length", "u32", width),))


_PADDLE_OCR = replace(
    _ERNIE,
    classes=("PaddleOCRVLForConditionalGeneration",),
    arch="paddleocr",
    dropped=(Drop(r"mlp_AR\..*", "a part that sees: Snug converts the language model only"),),
    extra=(*COMMON, rope_sections),
)
_ERNIE_MOE = Architecture(
    classes=("Ernie4_5_MoeForCausalLM",),
    arch="ernie4_5-moe",
    keys=(
        *SHARED,
        Key("expert_count", "u32", ("moe_num_experts",)),
        Key("expert_used_count", "u32", ("moe_k",)),
        Key("interleave_moe_layer_step", "u32", ("moe_layer_interval",)),
        Key("leading_dense_block_count", "u32", ("moe_layer_start_index",)),
        Key("expert_shared_count", "u32", ("moe_num_shared_experts",)),
        EXPERT_WIDTH,
    ),
    tensors=_ernie_tensors,
    renames=_ERNIE_RENAMES,
    extra=(*COMMON, _ernie_experts),
)

_HUNYUAN_CONTEXT = 1 << 18


def _hunyuan_rope(source: Source) -> Extra:
    """Dynamic scaling with `alpha` is a higher base frequency, as trained: NTK-aware, theta * alpha^(d / (d - 2))."""
    settings, arch = rope(source.config), source.arch
    if settings.type != "dynamic" or not settings.values.get("alpha"):
        return rope_keys(source)
    d = head_dim(source.config)
    theta = 10000.0 if settings.theta is None else settings.theta
    return Extra(
        (
            Metadata(f"{arch}.rope.freq_base", "f32", theta * settings.number("alpha") ** (d / (d - 2))),
            Metadata(f"{arch}.rope.scaling.type", "str", "none"),
            Metadata(f"{arch}.rope.scaling.factor", "f32", 1.0),
            Metadata(f"{arch}.rope.scaling.original_context_length", "u32", _HUNYUAN_CONTEXT),
            Metadata(f"{arch}.context_length", "u32", _HUNYUAN_CONTEXT),
        )
    )


_HUNYUAN = Architecture(
    classes=("HunYuanDenseV1ForCausalLM",),
    arch="hunyuan-dense",
    keys=SHARED,
    tensors=without_tied_output,
    extra=(_hunyuan_rope,),
)


def _hunyuan_moe_config(config: Config) -> Config:
    """Some of its numbers are lists with one for each layer, all the same."""
    lists = {name: value[0] for name, value in config.items() if isinstance(value, list) and name in _PER_LAYER}
    return {**config, **lists}


_PER_LAYER = ("moe_topk", "moe_intermediate_size", "num_shared_expert")
_HUNYUAN_MOE = Architecture(
    classes=("HunYuanMoEV1ForCausalLM",),
    arch="hunyuan-moe",
    keys=(
        *SHARED,
        EXPERT_WIDTH,
        Key("expert_used_count", "u32", ("moe_topk",)),
        Key("expert_shared_count", "u32", ("num_shared_expert",)),
        Key("expert_shared_feed_forward_length", "u32", ("intermediate_size",)),
    ),
    tensors=without_tied_output,
    config=_hunyuan_moe_config,
    extra=(_hunyuan_rope, expert_gating),
)

ENTRIES = (
    _DEEPSEEK, _YOUTU, _GLM4_MOE_LITE, _GPT_OSS, _LLAMA4, _MINIMAX_M2, _AFMOE, _DOTS1, _ERNIE, _PADDLE_OCR, _ERNIE_MOE,
    _HUNYUAN, _HUNYUAN_MOE,
)  # fmt: skip
