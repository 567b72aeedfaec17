"""GPT-2 and its kin: GPT-NeoX, Bloom, MPT, StarCoder 1 and 2, StableLM, CodeShell."""

from __future__ import annotations

from collections.abc import Mapping

from core.architectures.config import HEADS, count, required
from core.architectures.entry import Architecture, Config, Drop, Key, Ops, Tensor
from core.architectures.shared import BLOCK, COMMON, SHARED, turned_part, unusual_theta
from core.tensor_ops import Flatten, Heads, Rows, Transpose

_SHARED = {key.name: key for key in SHARED}
_WIDTH = ("hidden_size", "n_embd", "n_embed", "d_model")
_EPSILON = Key("attention.layer_norm_epsilon", "f32", ("layer_norm_epsilon", "layer_norm_eps", "norm_eps"), 1e-5)
_KEYS = (
    _SHARED["block_count"],
    _SHARED["context_length"],
    Key("embedding_length", "u32", _WIDTH),
    Key("feed_forward_length", "u32", ("n_inner", "intermediate_size", "wide")),
    _SHARED["attention.head_count"],
    _EPSILON,
)
_KV = Key("attention.head_count_kv", "u32", ("num_key_value_heads",))
_MASK = Drop(r".*\.attn\.(masked_)?bias", "the causal mask, which every runner makes itself")
_WITHOUT_PREFIX = (r"^transformer\.", "")


def _with_width(config: Config) -> Config:
    """A feed-forward part is four times as wide as the model, where the config does not say."""
    return {"wide": 4 * required(config, *_WIDTH), **config}


def by_kind(heads: int, size: int) -> tuple[Ops, ...]:
    """Rows in the order [head, (q, k, v), size] as all q, all k, all v."""
    return tuple((Heads(heads), Rows(at * size, (at + 1) * size), Flatten()) for at in range(3))


def _each_head(config: Config) -> tuple[Tensor, ...]:
    heads = required(config, *HEADS)
    size = required(config, *_WIDTH) // heads
    return (Tensor(r".*\.query_key_value\.(weight|bias)", parts=by_kind(heads, size)),)


_GPT_2 = Architecture(
    classes=("GPT2LMHeadModel",),
    arch="gpt2",
    keys=_KEYS,
    tensors=lambda config: (
        Tensor(r"h\.(\d+)\.attn\.c_attn\.weight", "blk.{0}.attn_qkv.weight", (Transpose(),)),
        Tensor(r"h\.(\d+)\.attn\.c_proj\.weight", "blk.{0}.attn_output.weight", (Transpose(),)),
        Tensor(r"h\.(\d+)\.mlp\.c_fc\.weight", "blk.{0}.ffn_up.weight", (Transpose(),)),
        Tensor(r"h\.(\d+)\.mlp\.c_proj\.weight", "blk.{0}.ffn_down.weight", (Transpose(),)),
    ),
    dropped=(_MASK,),
    renames=(_WITHOUT_PREFIX,),
    config=_with_width,
)


_GPT_NEOX = Architecture(
    classes=("GPTNeoXForCausalLM",),
    arch="gptneox",
    keys=(*_KEYS, Key("use_parallel_residual", "bool", ("use_parallel_residual",), True)),
    tensors=_each_head,
    config=_with_width,
    extra=(turned_part(0.25, "rotary_pct"), unusual_theta),
)
_BLOOM = Architecture(
    classes=("BloomForCausalLM", "BloomModel"),
    arch="bloom",
    keys=(
        *_KEYS,
        Key("context_length", "u32", ("seq_length",), 2048),
        Key("attention.head_count_kv", "u32", HEADS),
    ),
    tensors=_each_head,
    renames=(_WITHOUT_PREFIX,),
    config=_with_width,
)


def _mpt_config(config: Config) -> Config:
    """Attention has settings of its own, and ALiBi's bias is 0 where it is not used."""
    attention = config.get("attn_config")
    attention = attention if isinstance(attention, Mapping) else {}
    bias = attention.get("alibi_bias_max", 8) if attention.get("alibi") else 0
    width = required(config, "d_model") * count(config, "expansion_ratio", 4)
    return {
        **config,
        "wide": width,
        "alibi": bias,
        "kv": attention.get("kv_n_heads"),
        "clip": attention.get("clip_qkv"),
    }


_MPT = Architecture(
    classes=("MPTForCausalLM", "MptForCausalLM"),
    arch="mpt",
    keys=(
        *_KEYS,
        Key("context_length", "u32", ("max_seq_len",)),
        Key("attention.head_count_kv", "u32", ("kv",)),
        Key("attention.clamp_kqv", "f32", ("clip",)),
        Key("attention.max_alibi_bias", "f32", ("alibi",)),
    ),
    config=_mpt_config,
)


def _star_config(config: Config) -> Config:
    """All heads of StarCoder share one key and one value; other models of its class may not."""
    heads = required(config, *HEADS)
    return {**_with_width(config), "num_key_value_heads": 1 if config.get("multi_query", True) else heads}


def _star_tensors(config: Config) -> tuple[Tensor, ...]:
    heads = required(config, *HEADS)
    if config["num_key_value_heads"] == 1:
        return ()
    parts = by_kind(heads, required(config, *_WIDTH) // heads)
    return (Tensor(r"transformer\.h\.(\d+)\.attn\.c_attn\.(weight|bias)", "blk.{0}.attn_qkv.{1}", parts=parts),)


_STARCODER = Architecture(
    classes=("GPTBigCodeForCausalLM",),
    arch="starcoder",
    keys=(*_KEYS, _KV),
    tensors=_star_tensors,
    dropped=(_MASK,),
    config=_star_config,
)
_STARCODER_2 = Architecture(
    classes=("Starcoder2ForCausalLM",),
    arch="starcoder2",
    keys=SHARED,
    extra=COMMON,
)


_STABLELM = Architecture(
    classes=("StableLmForCausalLM", "StableLMEpochForCausalLM"),
    arch="stablelm",
    keys=(*_KEYS, _KV, Key("use_parallel_residual", "bool", ("use_parallel_residual",), False)),
    tensors=lambda config: (
        Tensor(BLOCK + r"self_attn\.(q|k)_layernorm\.norms\.weight", "blk.{0}.attn_{1}_norm.weight"),
    ),
    stacks=(r"(.*\.[qk]_layernorm\.norms\.)(\d+)\.(weight)",),
    config=_with_width,
    extra=(turned_part(0.25, "rope_pct"), unusual_theta),
)
_CODESHELL = Architecture(
    classes=("CodeShellForCausalLM",),
    arch="codeshell",
    keys=(
        *_KEYS,
        Key("attention.head_count_kv", "u32", ("num_query_groups",)),
        Key("rope.freq_base", "f32", (), 10000.0),
        Key("rope.scaling.type", "str", (), "linear"),
        Key("rope.scaling.factor", "f32", (), 1.0),
    ),
    dropped=(_MASK,),
    config=_with_width,
)

ENTRIES = (_GPT_2, _GPT_NEOX, _BLOOM, _MPT, _STARCODER, _STARCODER_2, _STABLELM, _CODESHELL)
