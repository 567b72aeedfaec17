"""Llama, and those that differ from it in names or a few numbers."""

from __future__ import annotations

from typing import Any

import torch

from tests.core.families.tables.edits import binary_weights, fused, internlm2_qkv, renamed, then, with_buffers
from tests.core.families.tables.shape import LLAMA_3_ROPE, SHAPE
from tests.core.families.tiny import ABSENT, TinyModel
from tests.core.families.vocabularies import BYTES, PIECES

_LLAMA = SHAPE | PIECES | {"model_type": "llama"}
_FULL = {"num_key_value_heads": 4}
_PIXTRAL = {
    "model_type": "pixtral",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "head_dim": 16,
    "image_size": 32,
    "patch_size": 16,
}
_MINISTRAL_ROPE: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 1000000.0,
    "factor": 16.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}
_GRANITE: dict[str, Any] = {
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "attention_multiplier": 0.125,
    "logits_scaling": 8.0,
}
_MINICPM = {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 32}

LLAMA_LIKE = (
    TinyModel("llama-2", "LlamaForCausalLM", _LLAMA, "pieces"),
    TinyModel(
        "llama-3.2",
        "LlamaForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "llama", "head_dim": 32, "rope_theta": 500000.0, "rope_scaling": LLAMA_3_ROPE}
        | {"tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel("llama-biases", "LlamaForCausalLM", _LLAMA | {"attention_bias": True, "mlp_bias": True}, "byte fallback"),
    TinyModel(
        "llama-linear-rope", "LlamaForCausalLM", _LLAMA | {"rope_scaling": {"type": "linear", "factor": 4.0}}, "pieces"
    ),
    TinyModel(
        "llama-5-spelling",
        "LlamaForCausalLM",
        {key: value for key, value in _LLAMA.items() if key != "rope_theta"}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 250000.0}, "dtype": "float32"},
        "pieces",
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
    TinyModel(
        "mistral-small-3.1",
        "Mistral3ForConditionalGeneration",
        {
            "model_type": "mistral3",
            "text_config": SHAPE | PIECES | {"model_type": "mistral", "head_dim": 32, "rope_theta": 1000000.0},
            "vision_config": _PIXTRAL,
            "tie_word_embeddings": False,
            "image_token_index": 4,
        },
        "pieces",
    ),
    TinyModel(
        "ministral-3",
        "Mistral3ForConditionalGeneration",
        {
            "model_type": "mistral3",
            "text_config": {key: value for key, value in (SHAPE | PIECES).items() if key != "rope_theta"}
            | {"model_type": "ministral3", "head_dim": 32, "rope_parameters": _MINISTRAL_ROPE},
            "vision_config": _PIXTRAL,
            "tie_word_embeddings": False,
            "image_token_index": 4,
        },
        "pieces",
    ),
    TinyModel(
        "smollm3",
        "SmolLM3ForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "smollm3", "num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0], "rope_theta": 5000000.0}
        | {"no_rope_layer_interval": 4, "tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "arcee",
        "ArceeForCausalLM",
        SHAPE | PIECES | {"model_type": "arcee", "hidden_act": "relu2", "head_dim": 16},
        "pieces",
    ),
    TinyModel(
        "internlm2",
        "LlamaForCausalLM",
        _LLAMA,
        "pieces",
        published={"architectures": ["InternLM2ForCausalLM"], "model_type": "internlm2", "bias": False},
        edit=then(
            internlm2_qkv,
            renamed(
                (r"embed_tokens", "tok_embeddings"),
                (r"^lm_head", "output"),
                (r"self_attn\.o_proj", "attention.wo"),
                (r"input_layernorm", "attention_norm"),
                (r"post_attention_layernorm", "ffn_norm"),
                (r"mlp\.gate_proj", "feed_forward.w1"),
                (r"mlp\.down_proj", "feed_forward.w2"),
                (r"mlp\.up_proj", "feed_forward.w3"),
            ),
        ),
    ),
    TinyModel(
        "internlm3",
        "LlamaForCausalLM",
        _LLAMA | {"head_dim": 32, "rope_theta": 50000000.0},
        "pieces",
        published={"architectures": ["InternLM3ForCausalLM"], "model_type": "internlm3", "bias": False}
        | {"qkv_bias": False, "rope_scaling": {"factor": 6.0, "rope_type": "dynamic"}},
    ),
    TinyModel(
        "baichuan",
        "LlamaForCausalLM",
        _LLAMA | _FULL | {"num_hidden_layers": 32, "intermediate_size": 64},
        "pieces",
        published={"architectures": ["BaichuanForCausalLM"], "model_type": "baichuan", "rope_theta": ABSENT}
        | {"num_key_value_heads": ABSENT, "model_max_length": 256},
        edit=fused(("q_proj", "k_proj", "v_proj"), "W_pack"),
    ),
    TinyModel(
        "exaone-3",
        "LlamaForCausalLM",
        _LLAMA | {"rope_theta": 1000000.0, "rope_scaling": LLAMA_3_ROPE},
        "bytes",
        published={"architectures": ["ExaoneForCausalLM"], "model_type": "exaone", "rms_norm_eps": ABSENT}
        | {"layer_norm_epsilon": 1e-5, "num_layers": 2, "num_hidden_layers": ABSENT, "activation_function": "silu"}
        | {"hidden_act": ABSENT, "head_dim": 16},
        edit=then(
            renamed(
                (r"^model\.embed_tokens", "transformer.wte"),
                (r"^model\.norm", "transformer.ln_f"),
                (r"^model\.layers", "transformer.h"),
                (r"self_attn\.o_proj", "attn.attention.out_proj"),
                (r"self_attn", "attn.attention"),
                (r"input_layernorm", "ln_1"),
                (r"post_attention_layernorm", "ln_2"),
                (r"mlp\.gate_proj", "mlp.c_fc_0"),
                (r"mlp\.up_proj", "mlp.c_fc_1"),
                (r"mlp\.down_proj", "mlp.c_proj"),
            ),
            with_buffers("rotary_emb.inv_freq", lambda: torch.ones(8), beside="q_proj.weight"),
        ),
    ),
    TinyModel(
        "minicpm",
        "GraniteForCausalLM",
        SHAPE
        | PIECES
        | {"model_type": "granite", "embedding_multiplier": 12.0, "residual_multiplier": 1.4 / 2**0.5}
        | {"attention_multiplier": 0.25, "logits_scaling": 2.0},
        "pieces",
        published={"architectures": ["MiniCPMForCausalLM"], "model_type": "minicpm", **_MINICPM}
        | dict.fromkeys(_GRANITE),
    ),
    TinyModel("granite", "GraniteForCausalLM", SHAPE | BYTES | _GRANITE | {"model_type": "granite"}, "bytes"),
    TinyModel(
        "granite-moe",
        "GraniteMoeForCausalLM",
        SHAPE
        | BYTES
        | _GRANITE
        | {"model_type": "granitemoe", "num_local_experts": 4, "num_experts_per_tok": 2, "tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "granite-moe-shared",
        "GraniteMoeSharedForCausalLM",
        SHAPE
        | BYTES
        | _GRANITE
        | {"model_type": "granitemoeshared", "num_local_experts": 4, "num_experts_per_tok": 2}
        | {"shared_intermediate_size": 96, "tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "seed-oss",
        "SeedOssForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "seed_oss", "head_dim": 32, "attention_bias": True, "attention_out_bias": False}
        | {"rope_theta": 10000000.0},
        "bytes",
    ),
    TinyModel(
        "apertus",
        "ApertusForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "apertus", "hidden_act": "xielu", "qk_norm": True, "post_norm": False}
        | {"rope_theta": 12000000.0, "rope_scaling": LLAMA_3_ROPE},
        "bytes",
    ),
    TinyModel(
        "bitnet",
        "BitNetForCausalLM",
        SHAPE | PIECES | {"model_type": "bitnet", "hidden_act": "silu", "tie_word_embeddings": True},
        "pieces",
        prepare=binary_weights,
        edit=renamed(("attn_sub_norm", "inner_attn_ln"), ("ffn_sub_norm", "ffn_layernorm")),
        published={"architectures": ["BitnetForCausalLM"]},
    ),
)
