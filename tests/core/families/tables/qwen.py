"""Qwen 2, 2.5, 3, 3-Next and 3.5: dense, with experts, and the language part of those that see."""

from __future__ import annotations

from typing import Any

from tests.core.families.tables.edits import mirrored, omni, qwen_next_token, renamed
from tests.core.families.tables.shape import SHAPE
from tests.core.families.tiny import ABSENT, TinyModel
from tests.core.families.vocabularies import BYTES

_QWEN = SHAPE | BYTES | {"rope_theta": 1000000.0, "use_sliding_window": False, "max_window_layers": 2}
_EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
_NARROW = {"moe_intermediate_size": 48}
_SHARED = {"shared_expert_intermediate_size": 96}
_LINEAR: dict[str, Any] = {
    "rms_norm_eps": 1e-6,  # llama.cpp takes it for the norm of q and k as well, where transformers has this number
    "num_hidden_layers": 4,
    "head_dim": 32,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_value_head_dim": 16,
}
_LAYERS = ["linear_attention", "linear_attention", "linear_attention", "full_attention"]
_QWEN_35_ROPE: dict[str, Any] = {
    "rope_type": "default",
    "rope_theta": 10000000.0,
    "partial_rotary_factor": 0.5,
    "mrope_interleaved": True,
    "mrope_section": [4, 2, 2],
}
_NO_THETA = {key: value for key, value in (SHAPE | BYTES).items() if key != "rope_theta"}
_QWEN_35 = (
    _NO_THETA
    | _LINEAR
    | {"layer_types": _LAYERS, "rope_parameters": _QWEN_35_ROPE, "attn_output_gate": True, "mtp_num_hidden_layers": 1}
)
_SEEING: dict[str, Any] = {
    "image_token_id": 315,
    "video_token_id": 316,
    "vision_start_token_id": 317,
    "vision_end_token_id": 318,
    "tie_word_embeddings": False,
}
_EYES: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 8,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
    "num_position_embeddings": 16,
    "hidden_act": "gelu_pytorch_tanh",
    "deepstack_visual_indexes": [0],
}
_QWEN_2_EYES: dict[str, Any] = {
    "depth": 1,
    "embed_dim": 32,
    "hidden_size": 64,
    "mlp_ratio": 2,
    "num_heads": 2,
    "patch_size": 8,
    "spatial_merge_size": 2,
}
_QWEN_25_EYES = {key: _EYES[key] for key in _EYES if key not in ("num_position_embeddings", "deepstack_visual_indexes")}
_MROPE = {"rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}
_MROPE_3 = {"rope_scaling": {"rope_type": "default", "mrope_section": [8, 4, 4], "mrope_interleaved": True}}

_ROTATED = 6e-3
"""llama.cpp computes qwen2vl less exactly: a file that calls the same weights qwen2 is off by 5e-6 only."""

QWEN = (
    TinyModel("qwen2", "Qwen2ForCausalLM", _QWEN | {"model_type": "qwen2"}, "qwen2 bytes"),
    TinyModel(
        "qwen2.5-yarn",
        "Qwen2ForCausalLM",
        _QWEN
        | {"model_type": "qwen2", "tie_word_embeddings": True}
        | {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}},
        "qwen2 bytes",
    ),
    TinyModel("qwen3", "Qwen3ForCausalLM", _QWEN | {"model_type": "qwen3", "head_dim": 32}, "qwen2 bytes"),
    TinyModel(
        "qwen3-embedding",
        "Qwen3ForCausalLM",
        _QWEN | {"model_type": "qwen3", "head_dim": 32, "tie_word_embeddings": True},
        "qwen2 bytes",
        edit=renamed((r"^model\.", "")),
    ),
    TinyModel(
        "qwen2-moe",
        "Qwen2MoeForCausalLM",
        _QWEN | _EXPERTS | _SHARED | {"model_type": "qwen2_moe", "norm_topk_prob": False},
        "qwen2 bytes",
    ),
    TinyModel(
        "qwen3-moe",
        "Qwen3MoeForCausalLM",
        _QWEN | _EXPERTS | {"model_type": "qwen3_moe", "head_dim": 32, "norm_topk_prob": True},
        "qwen2 bytes",
    ),
    TinyModel(
        "qwen3-next",
        "Qwen3NextForCausalLM",
        _QWEN
        | _EXPERTS
        | _SHARED
        | _LINEAR
        | {"model_type": "qwen3_next", "norm_topk_prob": True, "partial_rotary_factor": 0.25},
        "qwen2 bytes",
        edit=qwen_next_token,
    ),
    TinyModel(
        "qwen3.5",
        "Qwen3_5ForConditionalGeneration",
        {"model_type": "qwen3_5", **_SEEING, "text_config": _QWEN_35 | {"model_type": "qwen3_5_text"}}
        | {"vision_config": _EYES | {"model_type": "qwen3_5", "deepstack_visual_indexes": []}},
        "qwen2 bytes",
        edit=qwen_next_token,
    ),
    TinyModel(
        "qwen3.5-text",
        "Qwen3_5ForCausalLM",
        _QWEN_35 | {"model_type": "qwen3_5_text"},
        "qwen2 bytes",
        edit=qwen_next_token,
    ),
    TinyModel(
        "qwen3.5-moe-text",
        "Qwen3_5MoeForCausalLM",
        _QWEN_35 | _EXPERTS | _SHARED | {"model_type": "qwen3_5_moe_text"},
        "qwen2 bytes",
        edit=qwen_next_token,
    ),
    TinyModel(
        "qwen3.5-moe",
        "Qwen3_5MoeForConditionalGeneration",
        {"model_type": "qwen3_5_moe", **_SEEING}
        | {"text_config": _QWEN_35 | _EXPERTS | _SHARED | {"model_type": "qwen3_5_moe_text"}}
        | {"vision_config": _EYES | {"model_type": "qwen3_5_moe", "deepstack_visual_indexes": []}},
        "qwen2 bytes",
        edit=qwen_next_token,
    ),
    TinyModel(
        "qwen2-vl",
        "Qwen2VLForConditionalGeneration",
        _QWEN | _MROPE | _SEEING | {"model_type": "qwen2_vl", "vision_config": _QWEN_2_EYES},
        "qwen2 bytes",
        tolerance=_ROTATED,
    ),
    TinyModel(
        "qwen2.5-vl",
        "Qwen2_5_VLForConditionalGeneration",
        _QWEN | _MROPE | _SEEING | {"model_type": "qwen2_5_vl", "vision_config": _QWEN_25_EYES},
        "qwen2 bytes",
        tolerance=_ROTATED,
    ),
    TinyModel(
        "qwen2.5-omni",
        "Qwen2_5_VLForConditionalGeneration",
        _QWEN | _MROPE | _SEEING | {"model_type": "qwen2_5_vl", "vision_config": _QWEN_25_EYES},
        "qwen2 bytes",
        published=dict.fromkeys(_QWEN)
        | {"architectures": ["Qwen2_5OmniModel"], "model_type": "qwen2_5_omni", "rope_scaling": ABSENT}
        | {"thinker_config": {"model_type": "qwen2_5_omni_thinker", "text_config": _QWEN | _MROPE}}
        | {"talker_config": {"hidden_size": 32}, "token2wav_config": {}},
        edit=omni,
        tolerance=_ROTATED,
    ),
    TinyModel(
        "qwen3-vl",
        "Qwen3VLForConditionalGeneration",
        {"model_type": "qwen3_vl", **_SEEING, "vision_config": _EYES | {"model_type": "qwen3_vl"}}
        | {"text_config": _QWEN | _MROPE_3 | {"model_type": "qwen3_vl_text", "head_dim": 32}},
        "qwen2 bytes",
    ),
    TinyModel(
        "qwen3-vl-moe",
        "Qwen3VLMoeForConditionalGeneration",
        {"model_type": "qwen3_vl_moe", **_SEEING, "vision_config": _EYES | {"model_type": "qwen3_vl_moe"}}
        | {"text_config": _QWEN | _EXPERTS | _MROPE_3 | _NARROW | {"model_type": "qwen3_vl_moe_text", "head_dim": 32}},
        "qwen2 bytes",
        edit=mirrored(r"experts\.(gate_up|down)_proj$"),
    ),
)
