"""State-space models, and those that mix them with attention."""

from __future__ import annotations

from typing import Any

from tests.core.families.tables.edits import renamed
from tests.core.families.tables.shape import SHAPE
from tests.core.families.tiny import ABSENT, TinyModel
from tests.core.families.vocabularies import BYTES, PIECES

_MAMBA: dict[str, Any] = {
    "conv_kernel": 4,
    "expand": 2,
    "hidden_act": "silu",
    "hidden_size": 64,
    "layer_norm_epsilon": 1e-5,
    "num_hidden_layers": 2,
    "use_bias": False,
    "use_conv_bias": True,
}
_SSM: dict[str, Any] = {
    "mamba_d_conv": 4,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
}
_GRANITE: dict[str, Any] = {
    "model_type": "granitemoehybrid",
    "layer_types": ["mamba", "attention"],
    "mamba_chunk_size": 256,
    "mamba_d_head": 32,
    "mamba_n_groups": 1,
    "mamba_n_heads": 4,
    "normalization_function": "rmsnorm",
    "shared_intermediate_size": 96,
    "attention_multiplier": 0.125,
    "embedding_multiplier": 12.0,
    "logits_scaling": 8.0,
    "residual_multiplier": 0.22,
}
_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_MULTIPLIERS: dict[str, Any] = {
    "embedding_multiplier": 5.0,
    "lm_head_multiplier": 0.05,
    "key_multiplier": 0.4,
    "attention_in_multiplier": 1.5,
    "attention_out_multiplier": 0.9,
    "ssm_in_multiplier": 1.25,
    "ssm_out_multiplier": 0.6,
    "ssm_multipliers": [0.7, 0.5, 0.6, 1.2, 0.8],
    "mlp_multipliers": [0.9, 0.6],
}

_NEMOTRON_H: dict[str, Any] = {
    "model_type": "nemotron_h",
    "head_dim": 16,
    "mlp_hidden_act": "relu2",
    "layer_norm_epsilon": 1e-5,
    "mamba_num_heads": 8,
    "mamba_head_dim": 16,
    "n_groups": 2,
    "ssm_state_size": 16,
    "conv_kernel": 4,
    "expand": 2,
    "chunk_size": 16,
    "use_conv_bias": True,
    "time_step_min": 1e-9,  # transformers takes no step to be shorter, unlike llama.cpp and NVIDIA's own code
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "moe_intermediate_size": 64,
    "moe_shared_expert_intermediate_size": 96,
    "num_experts_per_tok": 2,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
}
_NO_EXPERTS = dict.fromkeys(
    ("n_routed_experts", "n_shared_experts", "moe_intermediate_size", "num_experts_per_tok", "norm_topk_prob"), ABSENT
)

HYBRID = (
    TinyModel(
        "nemotron-h",
        "NemotronHForCausalLM",
        SHAPE | BYTES | _NEMOTRON_H | {"layers_block_type": ["mamba", "mlp", "attention", "mlp"]},
        "bytes",
        published=_NO_EXPERTS
        | {"hybrid_override_pattern": "M-*-", "layers_block_type": ABSENT, "num_hidden_layers": 4},
    ),
    TinyModel(
        "nemotron-3",
        "NemotronHForCausalLM",
        SHAPE | BYTES | _NEMOTRON_H | {"layers_block_type": ["mamba", "moe", "attention", "moe"]},
        "bytes",
        published={"hybrid_override_pattern": "ME*E", "layers_block_type": ABSENT, "num_hidden_layers": 4},
    ),
    TinyModel(
        "mamba",
        "MambaForCausalLM",
        _MAMBA | BYTES | {"model_type": "mamba", "state_size": 16, "time_step_rank": 4, "intermediate_size": 128},
        "bytes",
    ),
    TinyModel(
        "mamba-original",
        "MambaForCausalLM",
        _MAMBA | BYTES | {"model_type": "mamba", "state_size": 16, "time_step_rank": 4, "intermediate_size": 128},
        "bytes",
        published=dict.fromkeys(_MAMBA)
        | {"architectures": ["MambaLMHeadModel"], "model_type": ABSENT, "state_size": ABSENT, "time_step_rank": ABSENT}
        | {"intermediate_size": ABSENT, "d_model": 64, "n_layer": 2, "ssm_cfg": {}, "rms_norm": True}
        | {"residual_in_fp32": True, "fused_add_norm": True, "pad_vocab_size_multiple": 8},
        edit=renamed((r"\.embeddings\.", ".embedding.")),
    ),
    TinyModel(
        "falcon-mamba",
        "FalconMambaForCausalLM",
        _MAMBA
        | BYTES
        | {"model_type": "falcon_mamba", "state_size": 16, "time_step_rank": 4, "intermediate_size": 128}
        | {"mixer_rms_eps": 1e-6, "use_mambapy": False, "tie_word_embeddings": False, "pad_vocab_size_multiple": 8},
        "bytes",
    ),
    TinyModel(
        "mamba2",
        "Mamba2ForCausalLM",
        _MAMBA
        | BYTES
        | {"model_type": "mamba2", "state_size": 16, "num_heads": 4, "head_dim": 32, "n_groups": 2}
        | {"chunk_size": 32, "tie_word_embeddings": False, "rms_norm": True},
        "bytes",
    ),
    TinyModel(
        "jamba",
        "JambaForCausalLM",
        SHAPE
        | PIECES
        | _SSM
        | {"model_type": "jamba", "num_hidden_layers": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False}
        | {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1}
        | {"num_experts": 4, "num_experts_per_tok": 2, "rms_norm_eps": 1e-6},
        "pieces",
    ),
    TinyModel(
        "falcon-h1",
        "FalconH1ForCausalLM",
        SHAPE
        | BYTES
        | _SSM
        | _MULTIPLIERS
        | {"model_type": "falcon_h1", "head_dim": 16, "mamba_d_ssm": 128, "mamba_d_head": 32, "mamba_n_heads": 4}
        | {"mamba_n_groups": 1, "mamba_chunk_size": 32, "mamba_rms_norm": False, "mamba_norm_before_gate": False}
        | {"rope_theta": 100000000000.0},
        "bytes",
    ),
    TinyModel(
        "granite-4-hybrid",
        "GraniteMoeHybridForCausalLM",
        SHAPE | BYTES | _SSM | _GRANITE | _EXPERTS | {"position_embedding_type": "nope", "tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "granite-4-dense-hybrid",
        "GraniteMoeHybridForCausalLM",
        SHAPE
        | BYTES
        | _SSM
        | _GRANITE
        | {"num_local_experts": 0, "num_experts_per_tok": 0, "position_embedding_type": "nope"}
        | {"tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "lfm2",
        "Lfm2ForCausalLM",
        {key: value for key, value in SHAPE.items() if key not in ("rms_norm_eps", "hidden_act")}
        | BYTES
        | {"model_type": "lfm2", "norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "rope_theta": 1000000.0}
        | {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False, "block_dim": 64}
        | {"tie_word_embeddings": True, "tie_embedding": True},
        "bytes",
    ),
    TinyModel(
        "lfm2-moe",
        "Lfm2MoeForCausalLM",
        {key: value for key, value in SHAPE.items() if key not in ("rms_norm_eps", "hidden_act")}
        | BYTES
        | {"model_type": "lfm2_moe", "norm_eps": 1e-5, "conv_bias": False, "conv_L_cache": 3, "rope_theta": 1000000.0}
        | {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3, "num_dense_layers": 1}
        | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "norm_topk_prob": True}
        | {"use_expert_bias": True, "routed_scaling_factor": 1.0, "tie_word_embeddings": True},
        "bytes",
    ),
)
