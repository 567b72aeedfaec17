"""DeepSeek, gpt-oss, GLM, ERNIE, Llama 4 and others that mostly have experts."""

from __future__ import annotations

from typing import Any

from tests.core.families.tables.edits import (
    HEAD,
    HEAD_WITH_VOCABULARY,
    mxfp4_experts,
    next_token_layer,
    round_to_mxfp4,
)
from tests.core.families.tables.shape import LLAMA_3_ROPE, SHAPE, WINDOW
from tests.core.families.tiny import ABSENT, GELU, TinyModel
from tests.core.families.vocabularies import BYTES, PIECES

_YARN: dict[str, Any] = {
    "type": "yarn",
    "factor": 40,
    "beta_fast": 32,
    "beta_slow": 1,
    "original_max_position_embeddings": 32,
}
_DEEPSEEK: dict[str, Any] = {
    "num_key_value_heads": 4,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "moe_intermediate_size": 64,
    "n_routed_experts": 4,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 32,
    "q_lora_rank": 48,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "attention_bias": False,
}
_SOFTMAX = {"scoring_func": "softmax", "topk_method": "greedy", "norm_topk_prob": False, "aux_loss_alpha": 0.001}
_SIGMOID = {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True}
_GPT_OSS: dict[str, Any] = {
    "model_type": "gpt_oss",
    "head_dim": 16,
    "attention_bias": True,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "experts_per_token": 2,
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": WINDOW,
    "rope_theta": 150000.0,
    "swiglu_limit": 7.0,
    "initial_context_length": 32,
    "rope_scaling": {key: value for key, value in _YARN.items() if key != "type"}
    | {"rope_type": "yarn", "truncate": True},  # published: False; llama.cpp always does, which shows in small heads
}
_GLM_4 = SHAPE | BYTES | {"model_type": "glm4", "head_dim": 32, "partial_rotary_factor": 0.5, "attention_bias": True}
_GLM_MOE: dict[str, Any] = {
    "model_type": "glm4_moe",
    "head_dim": 32,
    "partial_rotary_factor": 0.5,
    "attention_bias": True,
    "use_qk_norm": True,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 64,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.5,
    "num_nextn_predict_layers": 1,
}
_ERNIE = SHAPE | PIECES | {"head_dim": 16, "rope_theta": 500000.0, "use_bias": False}
_ERNIE_EXPERTS: dict[str, Any] = {
    "moe_num_experts": 4,
    "moe_k": 2,
    "moe_intermediate_size": 64,
    "moe_num_shared_experts": 1,
    "moe_layer_start_index": 1,
    "moe_layer_end_index": 1,
    "moe_layer_interval": 1,
    "moe_use_aux_free": True,
}
_LLAMA_4: dict[str, Any] = {
    "num_hidden_layers": 4,
    "head_dim": 16,
    "intermediate_size": 64,
    "intermediate_size_mlp": 128,
    "num_local_experts": 4,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1,
    "rope_theta": 500000.0,
    "use_qk_norm": True,
    "no_rope_layers": [1, 1, 1, 0],
    "attention_chunk_size": 8192,
    "attn_temperature_tuning": True,
    "floor_scale": 8192,
    "attn_scale": 0.1,
}
_LLAMA_4_EYES: dict[str, Any] = {
    "model_type": "llama4_vision_model",
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "vision_output_dim": 32,
    "projector_input_dim": 32,
    "projector_output_dim": 32,
    "pixel_shuffle_ratio": 0.5,
}
_PADDLE_EYES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
_PADDLE_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0, "mrope_section": [2, 3, 3]}}
_GLM_EYES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "out_hidden_size": 64,
    "depth": 1,
    "num_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
_GLM_ROPE: dict[str, Any] = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    | {"mrope_section": [2, 1, 1]}
}
_GLM_OCR_ROPE: dict[str, Any] = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
    | {"mrope_section": [4, 2, 2]}
}
_HUNYUAN_ROPE: dict[str, Any] = {
    "type": "dynamic",
    "alpha": 1000.0,
    "factor": 1.0,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 0.0,
}
_EXAONE_4 = SHAPE | BYTES | {"model_type": "exaone4", "num_hidden_layers": 4, "rope_theta": 1000000.0}

MOE = (
    TinyModel(
        "deepseek-v2",
        "DeepseekV2ForCausalLM",
        SHAPE
        | BYTES
        | _DEEPSEEK
        | _SOFTMAX
        | {"model_type": "deepseek_v2", "routed_scaling_factor": 4.0}
        | {"rope_scaling": _YARN | {"mscale": 0.707, "mscale_all_dim": 0.707}},
        "bytes",
    ),
    TinyModel(
        "deepseek-v2-lite",
        "DeepseekV2ForCausalLM",
        SHAPE
        | BYTES
        | _DEEPSEEK
        | _SOFTMAX
        | {"model_type": "deepseek_v2", "num_hidden_layers": 27, "q_lora_rank": None, "intermediate_size": 64}
        | {"moe_intermediate_size": 32, "n_routed_experts": 2, "n_shared_experts": 1, "num_experts_per_tok": 1}
        | {"routed_scaling_factor": 1.0, "rope_scaling": _YARN | {"mscale": 0.707, "mscale_all_dim": 0.707}},
        "bytes",
    ),
    TinyModel(
        "deepseek-v3",
        "DeepseekV3ForCausalLM",
        SHAPE
        | BYTES
        | _DEEPSEEK
        | _SIGMOID
        | {"model_type": "deepseek_v3", "n_routed_experts": 8, "n_group": 4, "topk_group": 2, "n_shared_experts": 1}
        | {"routed_scaling_factor": 2.5, "num_nextn_predict_layers": 1}
        | {"rope_scaling": _YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}},
        "bytes",
        edit=next_token_layer("deepseek-v3", HEAD_WITH_VOCABULARY),
    ),
    TinyModel("gpt-oss", "GptOssForCausalLM", SHAPE | BYTES | _GPT_OSS, "bytes"),
    TinyModel(
        "gpt-oss-mxfp4",
        "GptOssForCausalLM",
        SHAPE | BYTES | _GPT_OSS | {"num_experts_per_tok": 4, "experts_per_token": 4},  # no choice that noise can flip
        "bytes",
        published={"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}},
        prepare=round_to_mxfp4,
        edit=mxfp4_experts,
        tolerance=GELU,
    ),
    TinyModel("glm4", "Glm4ForCausalLM", _GLM_4, "bytes"),
    TinyModel(
        "glm4-moe",
        "Glm4MoeForCausalLM",
        SHAPE | BYTES | _GLM_MOE,
        "bytes",
        edit=next_token_layer("glm4-moe", HEAD),
    ),
    TinyModel(
        "glm4-moe-lite",
        "Glm4MoeLiteForCausalLM",
        SHAPE
        | BYTES
        | _DEEPSEEK
        | {"model_type": "glm4_moe_lite", "n_shared_experts": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.8}
        | {"mlp_layer_types": ["dense", "sparse"], "num_nextn_predict_layers": 1},
        "bytes",
        edit=next_token_layer("glm4-moe-lite", HEAD_WITH_VOCABULARY),
    ),
    TinyModel(
        "glm", "GlmForCausalLM", SHAPE | BYTES | {"model_type": "glm", "head_dim": 16, "attention_bias": True}, "bytes"
    ),
    TinyModel(
        "solar-open",
        "SolarOpenForCausalLM",
        SHAPE
        | BYTES
        | {key: value for key, value in _GLM_MOE.items() if key != "partial_rotary_factor"}
        | {
            "model_type": "solar_open",
            "attention_bias": False,
            "first_k_dense_replace": 0,
            "num_nextn_predict_layers": 0,
        },
        "bytes",
    ),
    TinyModel(
        "minimax-m2",
        "MiniMaxM2ForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "minimax_m2", "head_dim": 32, "rotary_dim": 16, "num_local_experts": 4}
        | {
            "num_experts_per_tok": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "partial_rotary_factor": 0.5},
        },
        "bytes",
        published={
            "rope_parameters": ABSENT,
            "rope_theta": 5000000,
            "scoring_func": "sigmoid",
            "use_routing_bias": True,
            "use_qk_norm": True,
            "qk_norm_type": "per_layer",
        },
    ),
    TinyModel(
        "glm4v",
        "Glm4vForConditionalGeneration",
        {"model_type": "glm4v", "tie_word_embeddings": False, "vision_config": _GLM_EYES}
        | {"text_config": SHAPE | BYTES | {"model_type": "glm4v_text", "attention_bias": True} | _GLM_ROPE},
        "bytes",
    ),
    TinyModel(
        "glm-ocr",
        "GlmOcrForConditionalGeneration",
        {"model_type": "glm_ocr", "tie_word_embeddings": False, "vision_config": _GLM_EYES}
        | {"text_config": SHAPE | BYTES | {"model_type": "glm_ocr_text", "head_dim": 16} | _GLM_OCR_ROPE},
        "bytes",
    ),
    TinyModel(
        "youtu",
        "YoutuForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "youtu", "num_key_value_heads": 4, "kv_lora_rank": 32, "q_lora_rank": 48}
        | {"qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "afmoe",
        "AfmoeForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "afmoe", "num_hidden_layers": 5, "head_dim": 16, "moe_intermediate_size": 64, "num_experts": 4}
        | {"num_experts_per_tok": 2, "num_shared_experts": 1, "num_dense_layers": 1, "route_scale": 2.5}
        | {"global_attn_every_n_layers": 4, "sliding_window": WINDOW, "mup_enabled": True},
        "bytes",
        published={"route_norm": True, "score_func": "sigmoid", "n_group": 1, "topk_group": 1},
    ),
    TinyModel(
        "paddleocr",
        "PaddleOCRVLForConditionalGeneration",
        {"model_type": "paddleocr_vl", "tie_word_embeddings": True, "vision_config": _PADDLE_EYES}
        | {"text_config": _ERNIE | {"model_type": "paddleocr_vl_text", "tie_word_embeddings": True} | _PADDLE_ROPE},
        "pieces",
    ),
    TinyModel(
        "ernie4.5",
        "Ernie4_5ForCausalLM",
        _ERNIE | {"model_type": "ernie4_5", "tie_word_embeddings": True},
        "pieces",
    ),
    TinyModel(
        "ernie4.5-moe",
        "Ernie4_5_MoeForCausalLM",
        _ERNIE | _ERNIE_EXPERTS | {"model_type": "ernie4_5_moe", "tie_word_embeddings": True},
        "pieces",
    ),
    TinyModel(
        "dots1",
        "Dots1ForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "dots1", "num_key_value_heads": 4, "first_k_dense_replace": 1, "moe_intermediate_size": 64}
        | {"n_routed_experts": 4, "n_shared_experts": 2, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
        | {"norm_topk_prob": True, "routed_scaling_factor": 2.5, "sliding_window": None},
        "bytes",
        published={"scoring_func": "noaux_tc", "head_dim": 16},
    ),
    TinyModel("llama4", "Llama4ForCausalLM", SHAPE | BYTES | _LLAMA_4 | {"model_type": "llama4_text"}, "bytes"),
    TinyModel(
        "llama4-seeing",
        "Llama4ForConditionalGeneration",
        {"model_type": "llama4", "vision_config": _LLAMA_4_EYES, "image_token_index": 315, "tie_word_embeddings": False}
        | {"text_config": SHAPE | BYTES | _LLAMA_4 | {"model_type": "llama4_text", "interleave_moe_layer_step": 2}},
        "bytes",
        part="language_model",
    ),
    TinyModel(
        "hunyuan-dense",
        "HunYuanDenseV1ForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "hunyuan_v1_dense", "head_dim": 32, "use_qk_norm": True, "rope_scaling": _HUNYUAN_ROPE}
        | {"tie_word_embeddings": True, "attention_bias": False},
        "bytes",
    ),
    TinyModel(
        "hunyuan-moe",
        "HunYuanMoEV1ForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "hunyuan_v1_moe", "head_dim": 16, "use_qk_norm": True, "rope_scaling": _HUNYUAN_ROPE}
        | {"num_experts": 4, "moe_topk": [2, 2], "moe_intermediate_size": [128, 128], "num_shared_expert": [1, 1]}
        | {"tie_word_embeddings": True, "attention_bias": False},
        "bytes",
    ),
    TinyModel(
        "exaone-4-1.2b",
        "Exaone4ForCausalLM",
        _EXAONE_4
        | {"layer_types": ["full_attention"] * 4, "sliding_window": None, "sliding_window_pattern": None}
        | {"rope_scaling": LLAMA_3_ROPE, "tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "exaone-4-32b",
        "Exaone4ForCausalLM",
        _EXAONE_4
        | {"layer_types": ["sliding_attention"] * 3 + ["full_attention"], "sliding_window": WINDOW}
        | {"sliding_window_pattern": "LLLG"},
        "bytes",
        reason="llama.cpp uses windows and layers without positions only in the model of 64 layers",
    ),
)
