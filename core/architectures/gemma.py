"""Gemma 1 to 4, Gemma 3n, and EmbeddingGemma."""

from __future__ import annotations

from statistics import NormalDist

from core.architectures.config import count, fraction, number, required, rope
from core.architectures.encoders import pooling
from core.architectures.entry import Architecture, Config, Extra, Key, Source, Tensor
from core.architectures.shared import BLOCK, COMMON, EXPERT_WIDTH, SHARED, TIED, sliding_window, unusual_theta
from core.model import Metadata, OutputTensor, Part
from core.tensor_ops import Add, Rows

_SOFTCAPS = (
    Key("attn_logit_softcapping", "f32", ("attn_logit_softcapping",)),
    Key("final_logit_softcapping", "f32", ("final_logit_softcapping",)),
)
_OWN_KEYS = tuple(key for key in SHARED if not key.name.startswith(("expert", "attention.layer_norm_epsilon")))
_AROUND_NORMS = tuple(
    Tensor(BLOCK + source + r"\.weight", "blk.{0}." + target + ".weight")
    for source, target in (
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_attention_layernorm", "post_attention_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
    )
)
_FAR, _NEAR = 1e30, 1.0


def _completed(**defaults: float) -> dict[str, float]:
    return {"head_dim": 256, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "max_position_embeddings": 8192, **defaults}


def _with(defaults: dict[str, float], config: Config) -> Config:
    return defaults | {name: value for name, value in config.items() if value is not None}


def _plus_one(config: Config) -> tuple[Tensor, ...]:
    """Norms are stored as what they differ from one by; rows of the embedding that no token has are cut off."""
    around = (Tensor(row.pattern, row.target, (Add(1.0),)) for row in _AROUND_NORMS)
    return (*around, Tensor(r".*norm\.weight", ops=(Add(1.0),)), *_embedding(config))


def _first_plus_one(config: Config) -> tuple[Tensor, ...]:
    """Gemma 1 names its norms as Llama does."""
    return (Tensor(r".*norm\.weight", ops=(Add(1.0),)), *_embedding(config))


def _embedding(config: Config) -> tuple[Tensor, ...]:
    rows = config.get("vocab_size")
    return (Tensor(r"model\.embed_tokens\.weight", ops=(Rows(0, rows),)),) if isinstance(rows, int) else ()


def _tokens_only(source: Source) -> Extra:
    """Without a tokenizer.model, the embedding ends with the last token of tokenizer.json."""
    tokenizer = source.read_json("tokenizer.json")
    embedding = next((found for name, found in source.tensors.items() if name.endswith("embed_tokens.weight")), None)
    if embedding is None or "tokenizer.model" in source.files or not isinstance(tokenizer, dict):
        return Extra()
    tokens = {*tokenizer["model"]["vocab"], *(token["content"] for token in tokenizer.get("added_tokens") or ())}
    if len(tokens) >= embedding.shape[0]:
        return Extra()
    part = Part(embedding, (Rows(0, len(tokens)),))
    return Extra(tensors=(OutputTensor("token_embd.weight", part.shape, embedding.dtype, (part,)),))


def _near_theta(source: Source) -> Extra:
    """rope.freq_base of the layers that see all, and rope.freq_base_swa of those with a sliding window."""
    far, near = rope(source.config).theta, rope(source.config, "sliding_attention").theta
    nested = isinstance((source.config.get("rope_parameters") or {}).get("sliding_attention"), dict)
    near = near if nested else number(source.config, "rope_local_base_freq", 1e4)
    keys = (("freq_base", far), ("freq_base_swa", near))
    return Extra(tuple(Metadata(f"{source.arch}.rope.{name}", "f32", value) for name, value in keys if value))


_GEMMA = Architecture(
    classes=("GemmaForCausalLM",),
    arch="gemma",
    keys=_OWN_KEYS,
    tensors=_first_plus_one,
    dropped=(TIED,),
    config=lambda config: _with(_completed(), config),
    extra=(unusual_theta,),
)
_GEMMA_2 = Architecture(
    classes=("Gemma2ForCausalLM",),
    arch="gemma2",
    keys=(*_OWN_KEYS, *_SOFTCAPS, Key("attention.sliding_window", "u32", ("sliding_window",))),
    tensors=_plus_one,
    dropped=(TIED,),
    config=lambda config: _with(
        _completed(attn_logit_softcapping=50.0, final_logit_softcapping=30.0, sliding_window=4096), config
    ),
    extra=(unusual_theta,),
)


def _completed_3(config: Config) -> Config:
    """What published configs of the models that see leave out."""
    more = {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262208, "sliding_window": 4096}
    return _with(_completed(rope_theta=1e6, max_position_embeddings=131072, **more), config)


_GEMMA_3_KEYS = (*_OWN_KEYS, *_SOFTCAPS, Key("attention.sliding_window", "u32", ("sliding_window",)))
_GEMMA_3 = Architecture(
    classes=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    arch="gemma3",
    keys=_GEMMA_3_KEYS,
    tensors=_plus_one,
    config=_completed_3,
    extra=(*COMMON, _near_theta, _tokens_only),
)
_EMBEDDING_GEMMA = Architecture(
    classes=("Gemma3TextModel",),
    arch="gemma-embedding",
    keys=_GEMMA_3_KEYS,
    tensors=_plus_one,
    renames=((r"^(layers|embed_tokens|norm)\.", r"model.\1."),),
    config=_completed_3,
    extra=(*COMMON, _near_theta, _tokens_only, pooling),
)


def _completed_3n(config: Config) -> Config:
    defaults = _completed(rope_theta=1e6, max_position_embeddings=32768, sliding_window=512)
    return _with(defaults | {"vocab_size": 262400}, config)


def _sparsity(source: Source) -> Extra:
    """activation_sparsity_scale: how many standard deviations above the mean a layer's activation must be."""
    shares = source.config.get("activation_sparsity_pattern")
    if not isinstance(shares, list):
        shares = [0.95] * 10 + [0.0] * (required(source.config, "num_hidden_layers") - 10)
    scales = [NormalDist().inv_cdf(share) if share > 0 else float("-inf") for share in map(float, shares)]
    return Extra((Metadata("gemma3n.activation_sparsity_scale", "[f32]", scales),))


_LAYER_INPUT = Key("embedding_length_per_layer_input", "u32", ("hidden_size_per_layer_input",), 0)
_SHARED_KV = Key("attention.shared_kv_layers", "u32", ("num_kv_shared_layers",), 0)
_GEMMA_3N = Architecture(
    classes=("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"),
    arch="gemma3n",
    keys=(
        *_OWN_KEYS,
        _SOFTCAPS[1],
        _LAYER_INPUT,
        _SHARED_KV,
        Key("altup.active_idx", "u32", ("altup_active_idx",), 0),
        Key("altup.num_inputs", "u32", ("altup_num_inputs",), 4),
    ),
    tensors=lambda config: (
        *_AROUND_NORMS,
        # The embedding has rows for pictures and sound; the one for each layer has not, and llama.cpp wants as many.
        Tensor(r"model\.embed_tokens\.weight", pad_to=required(config, "vocab_size")),
        Tensor(r"model\.embed_tokens_per_layer\.weight", pad_to=required(config, "vocab_size")),
        Tensor(r"model\.altup_projections\.weight", "altup_proj.weight"),
        Tensor(r"model\.altup_unembed_projections\.weight", "altup_unembd_proj.weight"),
        Tensor(BLOCK + r"altup\.correct_output_scale", "blk.{0}.altup_correct_scale.weight"),
    ),
    stacks=(r"(model\.altup_(?:unembed_)?projections\.)(\d+)\.(weight)",),
    config=_completed_3n,
    extra=(*COMMON, _near_theta, sliding_window, _sparsity),
)


def _completed_4(config: Config) -> Config:
    defaults = _completed(max_position_embeddings=131072, sliding_window=512, global_head_dim=512)
    return _with(defaults, config)


def _near_and_far(source: Source) -> Extra:
    """Layers with a sliding window differ from those that see all: in heads, in their width, in their rotation."""
    config, arch = source.config, source.arch
    far, near = required(config, "global_head_dim"), required(config, "head_dim")
    part = fraction(rope(config).values, "partial_rotary_factor", 0.25)
    narrow = ("rope.dimension_count_swa", "attention.key_length_swa", "attention.value_length_swa")
    keys = [Metadata(f"{arch}.{name}", "u32", near) for name in narrow]
    keys.append(Metadata(f"{arch}.rope.dimension_count", "u32", far))
    if config.get("num_global_key_value_heads") is not None and config.get("attention_k_eq_v"):
        shared, few = (required(config, name) for name in ("num_global_key_value_heads", "num_key_value_heads"))
        heads = [few if kind == "sliding_attention" else shared for kind in config["layer_types"]]
        keys.append(Metadata(f"{arch}.attention.head_count_kv", "[i32]", heads))
    turned = int(far * part) // 2
    values = (_NEAR,) * turned + (_FAR,) * (far // 2 - turned)
    return Extra(tuple(keys), (OutputTensor("rope_freqs.weight", (len(values),), "F32", values=values),))


def _wide_layers(source: Source) -> Extra:
    """Layers that take keys and values from an earlier one may be twice as wide."""
    config = source.config
    if not config.get("use_double_wide_mlp"):
        return Extra()
    layers, width = required(config, "num_hidden_layers"), required(config, "intermediate_size")
    own = layers - count(config, "num_kv_shared_layers", 0)
    widths = [width if layer < own else 2 * width for layer in range(layers)]
    return Extra((Metadata(f"{source.arch}.feed_forward_length", "[i32]", widths),))


_GEMMA_4 = Architecture(
    classes=("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
    arch="gemma4",
    keys=(
        *SHARED,
        Key("attention.key_length", "u32", ("global_head_dim",)),
        Key("attention.value_length", "u32", ("global_head_dim",)),
        EXPERT_WIDTH,
        _SOFTCAPS[1],
        _LAYER_INPUT,
        _SHARED_KV,
    ),
    tensors=lambda config: (
        *_AROUND_NORMS,
        *_embedding(config),
        Tensor(BLOCK + r"experts\.down_proj", "blk.{0}.ffn_down_exps.weight"),
        Tensor(BLOCK + r"experts\.gate_up_proj", "blk.{0}.ffn_gate_up_exps.weight"),
        Tensor(BLOCK + r"router\.scale", "blk.{0}.ffn_gate_inp.scale"),
        Tensor(BLOCK + r"router\.proj\.weight", "blk.{0}.ffn_gate_inp.weight"),
        Tensor(BLOCK + r"router\.per_expert_scale", "blk.{0}.ffn_down_exps.scale"),
        Tensor(BLOCK + r"layer_scalar", "blk.{0}.layer_output_scale.weight"),
    ),
    config=_completed_4,
    extra=(*COMMON, _near_theta, sliding_window, _near_and_far, _wide_layers),
)

ENTRIES = (_GEMMA, _GEMMA_2, _GEMMA_3, _EMBEDDING_GEMMA, _GEMMA_3N, _GEMMA_4)
