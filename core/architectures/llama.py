"""The Llama family: Llama 1 to 3, Mistral, and Mixtral's experts. GGUF architecture `llama`."""

from __future__ import annotations

import numpy as np

from core.architectures.config import head_dim, rope
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


def _rope(config: Config) -> tuple[list[Metadata], list[OutputTensor]]:
    settings, size = rope(config), head_dim(config)
    keys = [
        Metadata("llama.rope.freq_base", "f32", settings.theta),
        Metadata("llama.attention.key_length", "u32", size),
        Metadata("llama.attention.value_length", "u32", size),
        Metadata("llama.rope.dimension_count", "u32", size),
    ]
    if settings.type == "linear":
        keys.append(Metadata("llama.rope.scaling.type", "str", "linear"))
        keys.append(Metadata("llama.rope.scaling.factor", "f32", settings.number("factor")))
    elif settings.type == "llama3":
        return keys, [_rope_freqs(config)]
    elif settings.type != "default":
        raise SnugError(
            f"The rope scaling {settings.type!r} is not supported for the Llama family yet.",
            "Supported: default, linear, llama3.",
        )
    return keys, []


def _rope_freqs(config: Config) -> OutputTensor:
    """Divisors of the rotary frequencies, float32 [head_dim / 2]: 1, `factor`, or a blend between (Llama 3.1)."""
    settings, size = rope(config), head_dim(config)
    factor, low, high = (settings.number(name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    original = settings.number("original_max_position_embeddings")
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    wavelengths = np.float32(2 * np.pi) * np.power(np.float32(settings.theta), exponents, dtype=np.float32)
    values = []
    for wavelength in wavelengths:
        if wavelength < original / high:
            values.append(1.0)
        elif wavelength > original / low:
            values.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            values.append(float(1 / ((1 - smooth) / factor + smooth)))
    return OutputTensor("rope_freqs.weight", (len(values),), "F32", values=tuple(values))


LLAMA = Architecture(
    classes=("LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"),
    arch="llama",
    keys=_KEYS,
    permuted=((".q_proj.", "num_attention_heads"), (".k_proj.", "num_key_value_heads")),
    extra=_rope,
)
