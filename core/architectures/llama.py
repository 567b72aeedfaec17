"""The Llama family: Llama 1 to 3, Mistral, and Mixtral's experts. GGUF architecture `llama`."""

from __future__ import annotations

import numpy as np

from core.architectures.config import Rope, head_dim, rope
from core.architectures.entry import Architecture, Config, Key
from core.errors import SnugError
from core.model import Metadata, OutputTensor

_KEYS = (
    Key("block_count", "u32", ("num_hidden_layers",)),
    Key("context_length", "u32", ("max_position_embeddings",), 2048),
    Key("embedding_length", "u32", ("hidden_size",)),
    Key("feed_forward_length", "u32", ("intermediate_size",)),
    Key("attention.head_count", "u32", ("num_attention_heads",)),
    Key("attention.head_count_kv", "u32", ("num_key_value_heads", "num_attention_heads")),
    Key("attention.layer_norm_rms_epsilon", "f32", ("rms_norm_eps",), 1e-6),
    Key("expert_count", "u32", ("num_local_experts",)),
    Key("expert_used_count", "u32", ("num_experts_per_tok",)),
    Key("vocab_size", "u32", ("vocab_size",)),
)
_YARN = (
    ("yarn_ext_factor", "extrapolation_factor"),
    ("yarn_attn_factor", "attention_factor"),
    ("yarn_beta_fast", "beta_fast"),
    ("yarn_beta_slow", "beta_slow"),
)
_CODE_LLAMA_VOCABULARY = 32016


def _extra(config: Config) -> tuple[list[Metadata], list[OutputTensor]]:
    settings, size = rope(config), head_dim(config)
    keys = [
        Metadata("llama.rope.freq_base", "f32", settings.theta),
        Metadata("llama.rope.dimension_count", "u32", size),
        *_head_keys(config, size),
        *_scaling_keys(settings),
    ]
    if config.get("vocab_size") == _CODE_LLAMA_VOCABULARY:
        keys.append(Metadata("tokenizer.ggml.eot_token_id", "u32", 32010))
    return keys, [_rope_freqs(config)] if settings.type == "llama3" else []


def _head_keys(config: Config, size: int) -> list[Metadata]:
    """Llama's own class always has a head_dim; the others only where the config names one."""
    if config.get("head_dim") is None and "LlamaForCausalLM" not in config.get("architectures", ()):
        return []
    return [Metadata(f"llama.attention.{name}_length", "u32", size) for name in ("key", "value")]


def _scaling_keys(settings: Rope) -> list[Metadata]:
    """Linear and YaRN scaling are keys, Llama 3's is a tensor, and dynamic scaling is left to the runner."""
    if settings.type in ("default", "llama3", "dynamic"):
        return []
    if settings.type not in ("linear", "yarn"):
        raise SnugError(
            f"The rope scaling {settings.type!r} is not supported for the Llama family yet.",
            "Supported: default, linear, yarn, llama3, dynamic.",
        )
    keys = [
        Metadata("llama.rope.scaling.type", "str", settings.type),
        Metadata("llama.rope.scaling.factor", "f32", settings.number("factor")),
    ]
    if settings.type == "linear":
        return keys
    original = int(settings.number("original_max_position_embeddings"))
    keys.append(Metadata("llama.rope.scaling.original_context_length", "u32", original))
    given = ((key, name) for key, name in _YARN if settings.values.get(name) is not None)
    return keys + [Metadata(f"llama.rope.scaling.{key}", "f32", settings.number(name)) for key, name in given]


def _rope_freqs(config: Config) -> OutputTensor:
    """Divisors of the rotary frequencies, float32 [head_dim / 2]: 1, `factor`, or a blend between (Llama 3.1)."""
    settings, size = rope(config), head_dim(config)
    factor, low, high = (settings.number(name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    original = settings.number("original_max_position_embeddings")
    one = np.float32(1)
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    frequencies = one / np.power(settings.theta, exponents.astype(np.float64)).astype(np.float32)
    values = []
    for wavelength in (one / frequencies) * np.float32(2 * np.pi):
        if wavelength < original / high:
            values.append(1.0)
        elif wavelength > original / low:
            values.append(factor)
        else:
            smooth = ((one / wavelength) * np.float32(original) - np.float32(low)) / np.float32(high - low)
            values.append(float(one / ((one - smooth) / np.float32(factor) + smooth)))
    return OutputTensor("rope_freqs.weight", (len(values),), "F32", values=tuple(values))


LLAMA = Architecture(
    classes=("LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"),
    arch="llama",
    keys=_KEYS,
    permuted=((".q_proj.", "num_attention_heads"), (".k_proj.", "num_key_value_heads")),
    extra=_extra,
)
