"""Llama and those that are Llama in all but names."""

from __future__ import annotations

from typing import Any

from tests.core.families.tiny import TinyModel
from tests.core.families.vocabularies import BYTES, PIECES

SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
LLAMA_3 = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 32,
    "rope_type": "llama3",
}

LLAMA_LIKE = (
    TinyModel("llama-2", "LlamaForCausalLM", SHAPE | PIECES | {"model_type": "llama"}, "pieces"),
    TinyModel(
        "llama-3.2",
        "LlamaForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "llama", "head_dim": 32, "rope_theta": 500000.0, "rope_scaling": LLAMA_3}
        | {"tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "llama-biases",
        "LlamaForCausalLM",
        SHAPE | PIECES | {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
        "byte fallback",
    ),
    TinyModel(
        "mistral",
        "MistralForCausalLM",
        SHAPE | PIECES | {"model_type": "mistral", "sliding_window": 4096, "rope_theta": 1000000.0},
        "pieces",
    ),
    TinyModel(
        "mixtral",
        "MixtralForCausalLM",
        SHAPE
        | PIECES
        | {"model_type": "mixtral", "rope_theta": 1000000.0, "num_local_experts": 4, "num_experts_per_tok": 2},
        "pieces",
    ),
)
