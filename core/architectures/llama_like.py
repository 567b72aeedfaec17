"""Families that are Llama with a difference: other norms, other activations, scales."""

from __future__ import annotations

from core.architectures.config import head_dim, number, required, rope
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Source, Tensor
from core.architectures.shared import (
    COMMON,
    PERMUTED,
    POST_ATTENTION,
    SHARED,
    VOCAB_SIZE,
    WITHOUT_FIRST_NORM,
    rope_dimensions,
    rope_factors,
    rope_freqs,
    rope_keys,
    sliding_window,
)
from core.model import Metadata
from core.tensor_ops import Add, Ternary


def _with_head_dim(config: Config) -> Config:
    return {"head_dim": head_dim(config), **config}


_ARCEE = Architecture(
    classes=("ArceeForCausalLM",),
    arch="arcee",
    keys=(*SHARED, VOCAB_SIZE),
    permuted=PERMUTED,
    config=_with_head_dim,
    extra=(*COMMON, rope_dimensions),
)
_SMOLLM3 = Architecture(
    classes=("SmolLM3ForCausalLM",),
    arch="smollm3",
    keys=(*SHARED, VOCAB_SIZE),
    permuted=PERMUTED,
    extra=(*COMMON, rope_dimensions),
)
_INTERNLM3 = Architecture(
    classes=("InternLM3ForCausalLM",),
    arch="llama",
    keys=(*SHARED, VOCAB_SIZE),
    permuted=PERMUTED,
    extra=(*COMMON, rope_dimensions),
)


def _ministral_scales(source: Source) -> Extra:
    """Ministral 3 says how YaRN and position scale its attention."""
    values = rope(source.config).values
    names = (("rope.scaling.yarn_log_multiplier", "mscale_all_dim"),
             ("attention.temperature_scale", "llama_4_scaling_beta"))  # fmt: skip
    found = ((key, name) for key, name in names if values.get(name) is not None)
    return Extra(tuple(Metadata(f"{source.arch}.{key}", "f32", number(values, name)) for key, name in found))


_MISTRAL3 = Architecture(
    classes=("Mistral3ForConditionalGeneration", "Ministral3ForCausalLM", "Ministral3ForConditionalGeneration"),
    arch="mistral3",
    keys=(*SHARED, VOCAB_SIZE),
    permuted=PERMUTED,
    extra=(*COMMON, rope_dimensions, _ministral_scales),
)


def _minicpm_scales(source: Source) -> Extra:
    config = source.config
    depth = number(config, "scale_depth", 1.4) / required(config, "num_hidden_layers") ** 0.5
    logits = required(config, "hidden_size") / number(config, "dim_model_base", 256)
    scales = (("embedding", number(config, "scale_emb", 12)), ("residual", depth), ("logit", logits))
    return Extra(tuple(Metadata(f"minicpm.{name}_scale", "f32", value) for name, value in scales))


_MINICPM = Architecture(
    classes=("MiniCPMForCausalLM",),
    arch="minicpm",
    keys=SHARED[:7],
    permuted=PERMUTED,
    extra=(rope_keys, rope_factors, _minicpm_scales),
)


def _minicpm3_sizes(source: Source) -> Extra:
    """Latent attention, kept as the model has it."""
    config, rotated = source.config, required(source.config, "qk_rope_head_dim")
    sizes = (
        ("attention.key_length", required(config, "qk_nope_head_dim") + rotated),
        ("rope.dimension_count", rotated),
    )
    return Extra(tuple(Metadata(f"minicpm3.{name}", "u32", size) for name, size in sizes))


_MINICPM3 = Architecture(
    classes=("MiniCPM3ForCausalLM",),
    arch="minicpm3",
    keys=(
        *SHARED[:7],
        VOCAB_SIZE,
        Key("attention.q_lora_rank", "u32", ("q_lora_rank",)),
        Key("attention.kv_lora_rank", "u32", ("kv_lora_rank",)),
    ),
    extra=(rope_factors, _minicpm3_sizes),
)
_OLMO = Architecture(
    classes=("OlmoForCausalLM",),
    arch="olmo",
    keys=(
        *SHARED,
        Key("attention.layer_norm_epsilon", "f32", (), 1e-5),
        Key("attention.clamp_kqv", "f32", ("clip_qkv",)),
    ),
    permuted=PERMUTED,
    needed=("token_embd.weight", "blk.{}.attn_q.weight"),
    extra=COMMON,
)
_OLMO2 = Architecture(
    classes=("Olmo2ForCausalLM", "Olmo3ForCausalLM"),
    arch="olmo2",
    keys=SHARED,
    needed=WITHOUT_FIRST_NORM,
    extra=(*COMMON, sliding_window),
)
_OLMOE = Architecture(
    classes=("OlmoeForCausalLM",),
    arch="olmoe",
    keys=(*SHARED, Key("attention.layer_norm_rms_epsilon", "f32", (), 1e-5)),
    extra=COMMON,
)


def _nemotron_rope(source: Source) -> Extra:
    """A part of each head turns; the scaling is said even where there is none."""
    config, settings = source.config, rope(source.config)
    part = number(config, "partial_rotary_factor", number(settings.values, "partial_rotary_factor", 0.5))
    size = int(part * required(config, "hidden_size")) // required(config, "num_attention_heads")
    keys = [Metadata("nemotron.rope.dimension_count", "u32", size)]
    if settings.type == "default":
        keys.append(Metadata("nemotron.rope.scaling.type", "str", "none"))
    return Extra(tuple(keys))


_NEMOTRON = Architecture(
    classes=("NemotronForCausalLM",),
    arch="nemotron",
    keys=(*SHARED, VOCAB_SIZE, Key("attention.layer_norm_epsilon", "f32", ("norm_eps",))),
    tensors=lambda config: (Tensor(r".*norm\.weight", ops=(Add(1.0),)),),
    extra=(*COMMON, _nemotron_rope),
)
_JAIS2 = Architecture(
    classes=("Jais2ForCausalLM",),
    arch="jais2",
    keys=SHARED,
    extra=(*COMMON, rope_dimensions),
)
_SEED_OSS = Architecture(
    classes=("SeedOssForCausalLM",),
    arch="seed_oss",
    keys=SHARED,
    tensors=lambda config: (POST_ATTENTION,),
    extra=COMMON,
)


def _xielu(source: Source) -> Extra:
    """The numbers of each layer's activation, which the files hold as tensors and the GGUF as arrays."""
    layers = required(source.config, "num_hidden_layers")
    keys = []
    for name in ("alpha_n", "alpha_p", "beta", "eps"):
        found = [source.read_values(f"model.layers.{layer}.mlp.act_fn.{name}") for layer in range(layers)]
        if all(found):
            keys.append(Metadata(f"xielu.{name}", "[f32]", [values[0] for values in found if values]))
    return Extra(tuple(keys))


_APERTUS = Architecture(
    classes=("ApertusForCausalLM",),
    arch="apertus",
    keys=(*SHARED, VOCAB_SIZE),
    dropped=(Drop(r".*\.act_fn\.(alpha_n|alpha_p|beta|eps)", "numbers of the activation, which become keys"),),
    extra=(*COMMON, rope_dimensions, rope_freqs, _xielu),
)
_BITNET = Architecture(
    classes=("BitnetForCausalLM",),
    arch="bitnet",
    keys=(
        *SHARED,
        VOCAB_SIZE,
        Key("rope.scaling.type", "str", (), "linear"),
        Key("rope.scaling.factor", "f32", (), 1.0),
    ),
    tensors=lambda config: (Tensor(r".*\.(q|k|v|o|up|gate|down)_proj\.weight", ops=(Ternary(),)),),
    extra=(rope_keys,),
)

ENTRIES = (
    _ARCEE, _SMOLLM3, _INTERNLM3, _MISTRAL3, _MINICPM, _MINICPM3, _OLMO, _OLMO2, _OLMOE, _NEMOTRON, _JAIS2, _SEED_OSS,
    _APERTUS, _BITNET,
)  # fmt: skip
