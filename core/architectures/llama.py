"""The Llama family: Llama 1 to 3, Mistral, and Mixtral's experts. GGUF architecture `llama`."""

from __future__ import annotations

from core.architectures.config import head_dim
from core.architectures.entry import Architecture, Config, Extra, Source
from core.architectures.shared import COMMON, PERMUTED, SHARED, VOCAB_SIZE, rope_dimensions, rope_freqs
from core.model import Metadata

_CODE_LLAMA_VOCABULARY = 32016


def _completed(config: Config) -> Config:
    """Llama's own class always has a head_dim; the others only where the config names one."""
    defaults = {"rope_theta": 10000.0, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6}
    config = defaults | {name: value for name, value in config.items() if value is not None}
    config.setdefault("num_key_value_heads", config.get("num_attention_heads"))
    if config.get("architectures") == ["LlamaForCausalLM"]:
        config.setdefault("head_dim", head_dim(config))
    return config


def _infilling(source: Source) -> Extra:
    if source.config.get("vocab_size") != _CODE_LLAMA_VOCABULARY:
        return Extra()
    return Extra((Metadata("tokenizer.ggml.eot_token_id", "u32", 32010),))


_LLAMA = Architecture(
    classes=(
        "LlamaForCausalLM",
        "LLaMAForCausalLM",
        "MistralForCausalLM",
        "MixtralForCausalLM",
        "IQuestCoderForCausalLM",
        "VLlama3ForCausalLM",
    ),
    arch="llama",
    keys=(*SHARED, VOCAB_SIZE),
    permuted=PERMUTED,
    config=_completed,
    extra=(*COMMON, rope_dimensions, rope_freqs, _infilling),
)

ENTRIES = (_LLAMA,)
