"""Gemma 1 to 4."""

from __future__ import annotations

from typing import Any

from tests.core.families.tables.edits import as_part_of, renamed
from tests.core.families.tables.encoders import SENTENCE_BERT
from tests.core.families.tables.shape import SHAPE, WINDOW
from tests.core.families.tiny import GELU, TinyModel
from tests.core.families.vocabularies import GEMMA_PIECES

_GEMMA = {key: value for key, value in SHAPE.items() if key not in ("hidden_act", "tie_word_embeddings")} | GEMMA_PIECES
_GEMMA |= {"head_dim": 32, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh"}
_SCALED = {"query_pre_attn_scalar": 32, "sliding_window": WINDOW}
_GEMMA_3 = _GEMMA | _SCALED | {"num_hidden_layers": 6, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0}
_NO_THETA = {key: value for key, value in _GEMMA.items() if key != "rope_theta"}
_LINEAR = {"rope_type": "linear", "factor": 8.0}
_SIGLIP: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "vision_use_head": False,
}
_GEMMA_3N: dict[str, Any] = {
    "model_type": "gemma3n_text",
    "num_hidden_layers": 5,
    "intermediate_size": [1024] * 5,  # llama.cpp divides a variance by n - 1, transformers by n
    "layer_types": ["sliding_attention"] * 4 + ["full_attention"],
    "sliding_window": WINDOW,
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "vocab_size_per_layer_input": 320,
    "hidden_size_per_layer_input": 256,
    "num_kv_shared_layers": 0,
    "laurel_rank": 64,
    "altup_num_inputs": 4,
    "altup_active_idx": 0,
    "activation_sparsity_pattern": [0.95] * 5,
    "final_logit_softcapping": 30.0,
}
_GEMMA_4: dict[str, Any] = {
    "model_type": "gemma4_text",
    "num_hidden_layers": 4,
    "global_head_dim": 64,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": WINDOW,
    "final_logit_softcapping": 30.0,
    "vocab_size_per_layer_input": 320,
    "hidden_size_per_layer_input": 0,
    "attention_k_eq_v": False,
    "num_kv_shared_layers": 0,
    "enable_moe_block": False,
    "use_double_wide_mlp": False,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
    },
}
_GEMMA_4_EXPERTS: dict[str, Any] = {
    "enable_moe_block": True,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 64,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
}
_GEMMA_4_SMALL = {"hidden_size_per_layer_input": 32, "num_kv_shared_layers": 2, "use_double_wide_mlp": True}

GEMMA = (
    TinyModel("gemma", "GemmaForCausalLM", _GEMMA | {"model_type": "gemma"}, "gemma pieces", tolerance=GELU),
    TinyModel(
        "gemma2",
        "Gemma2ForCausalLM",
        _GEMMA
        | _SCALED
        | {"model_type": "gemma2", "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        | {"cache_implementation": "hybrid"},
        "gemma pieces",
        tolerance=GELU,
    ),
    TinyModel("gemma3", "Gemma3ForCausalLM", _GEMMA_3 | {"model_type": "gemma3_text"}, "gemma pieces", tolerance=GELU),
    TinyModel(
        "gemma3-seeing",
        "Gemma3ForConditionalGeneration",
        {"model_type": "gemma3", "vision_config": _SIGLIP, "mm_tokens_per_image": 4, "image_token_index": 310}
        | {
            "text_config": _GEMMA_3
            | {"model_type": "gemma3_text", "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
        },
        "gemma pieces",
        edit=renamed((r"^vision_tower\.", "vision_tower.vision_model.")),
        tolerance=GELU,
    ),
    TinyModel(
        "embedding-gemma",
        "Gemma3TextModel",
        _GEMMA_3 | {"model_type": "gemma3_text", "use_bidirectional_attention": True},
        "gemma pieces",
        kind="embeddings",
        files=SENTENCE_BERT,
        tolerance=GELU,
    ),
    TinyModel("gemma3n", "Gemma3nForCausalLM", _GEMMA | _GEMMA_3N, "gemma pieces", tolerance=GELU),
    TinyModel(
        "gemma3n-seeing",
        "Gemma3nForCausalLM",
        _GEMMA | _GEMMA_3N,
        "gemma pieces",
        published=as_part_of("Gemma3nForConditionalGeneration", "gemma3n", _GEMMA | _GEMMA_3N),
        edit=renamed((r"^model\.", "model.language_model.")),
        tolerance=GELU,
    ),
    TinyModel("gemma4", "Gemma4ForCausalLM", _NO_THETA | _GEMMA_4, "gemma json", tolerance=GELU),
    TinyModel("gemma4-small", "Gemma4ForCausalLM", _NO_THETA | _GEMMA_4 | _GEMMA_4_SMALL, "gemma json", tolerance=GELU),
    TinyModel("gemma4-moe", "Gemma4ForCausalLM", _NO_THETA | _GEMMA_4 | _GEMMA_4_EXPERTS, "gemma json", tolerance=GELU),
    TinyModel(
        "gemma4-seeing",
        "Gemma4ForCausalLM",
        _NO_THETA | _GEMMA_4 | _GEMMA_4_SMALL,
        "gemma json",
        published=as_part_of("Gemma4ForConditionalGeneration", "gemma4", _NO_THETA | _GEMMA_4 | _GEMMA_4_SMALL),
        edit=renamed((r"^model\.", "model.language_model.")),
        tolerance=GELU,
    ),
)
