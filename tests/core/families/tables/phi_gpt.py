"""Phi, the GPTs and their kin."""

from __future__ import annotations

from typing import Any

import torch

from tests.core.families.tables.edits import fused, phi_moe_of_llama_cpp, renamed, then, with_buffers, without
from tests.core.families.tables.shape import SHAPE, WINDOW
from tests.core.families.tiny import ABSENT, GELU, TinyModel
from tests.core.families.vocabularies import BYTES, PIECES

_FULL = {"num_key_value_heads": 4}
_NO_RMS = {key: value for key, value in SHAPE.items() if key != "rms_norm_eps"}
_PHI_3 = SHAPE | PIECES | {"model_type": "phi3", "original_max_position_embeddings": 256, "sliding_window": 256}
_LONG: dict[str, Any] = {
    "type": "longrope",
    "long_factor": [1.0 + 0.3 * at for at in range(8)],
    "short_factor": [1.0 + 0.1 * at for at in range(8)],
}
# llama.cpp makes room for 512 tokens: with room for more than this it takes the factors for long contexts.
_LONG_CONTEXT = {"max_position_embeddings": 8192, "original_max_position_embeddings": 512, "sliding_window": 8192}
_GPT_2: dict[str, Any] = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "n_ctx": 256,
    "n_embd": 64,
    "n_head": 4,
    "n_layer": 2,
    "n_positions": 256,
    "layer_norm_epsilon": 1e-5,
}
_FALCON: dict[str, Any] = {
    "model_type": "falcon",
    "alibi": False,
    "apply_residual_connection_post_layernorm": False,
    "bias": False,
    "hidden_size": 64,
    "layer_norm_epsilon": 1e-5,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "parallel_attn": True,
}
_NEOX = _NO_RMS | BYTES | {"model_type": "gpt_neox", "hidden_act": "gelu", "layer_norm_eps": 1e-5}
_NEOX |= {"rotary_emb_base": 10000, "rotary_pct": 0.25}
_BARE = renamed((r"^transformer\.", ""))
_HEADLESS = then(_BARE, without(r"^lm_head"))

_AS_CODESHELL = renamed(
    (r"model\.layers", "transformer.h"),
    (r"self_attn\.o_proj", "attn.c_proj"),
    (r"input_layernorm", "ln_1"),
    (r"post_attention_layernorm", "ln_2"),
    (r"model\.norm", "transformer.ln_f"),
    (r"model\.embed_tokens", "transformer.wte"),
)

PHI_GPT = (
    TinyModel(
        "phi2",
        "PhiForCausalLM",
        _NO_RMS
        | BYTES
        | _FULL
        | {"model_type": "phi", "hidden_act": "gelu_new", "intermediate_size": 256, "layer_norm_eps": 1e-5}
        | {"partial_rotary_factor": 0.5, "qk_layernorm": False},
        "bytes",
        tolerance=GELU,
    ),
    TinyModel("phi-mini", "Phi3ForCausalLM", _PHI_3, "pieces"),
    TinyModel("phi-mini-long", "Phi3ForCausalLM", _PHI_3 | _LONG_CONTEXT | {"rope_scaling": _LONG}, "pieces"),
    TinyModel(
        "phi4-mini",
        "Phi3ForCausalLM",
        SHAPE
        | BYTES
        | _LONG_CONTEXT
        | {"model_type": "phi3", "partial_rotary_factor": 0.75, "tie_word_embeddings": True}
        | {"rope_scaling": {key: value[:6] if isinstance(value, list) else value for key, value in _LONG.items()}},
        "bytes",
    ),
    TinyModel(
        "phimoe",
        "PhimoeForCausalLM",
        SHAPE
        | PIECES
        | {"model_type": "phimoe", "num_local_experts": 4, "num_experts_per_tok": 2, "lm_head_bias": True}
        | {"attention_bias": True, "original_max_position_embeddings": 256, "sliding_window": 256},
        "pieces",
        published={"architectures": ["PhiMoEForCausalLM"]},
        prepare=phi_moe_of_llama_cpp,
    ),
    TinyModel("gpt2", "GPT2LMHeadModel", _GPT_2 | BYTES, "bytes", edit=_HEADLESS, tolerance=GELU),
    TinyModel(
        "gpt2-buffers",
        "GPT2LMHeadModel",
        _GPT_2 | BYTES,
        "bytes",
        edit=then(
            with_buffers("attn.bias", lambda: torch.ones(1, 1, 256, 256).tril(), beside="attn.c_attn.weight"),
            with_buffers("attn.masked_bias", lambda: torch.tensor(-1e4), beside="attn.c_attn.weight"),
        ),
        tolerance=GELU,
    ),
    TinyModel(
        "gpt-neox",
        "GPTNeoXForCausalLM",
        _NEOX | {"use_parallel_residual": True},
        "bytes",
        edit=then(
            with_buffers("attention.bias", lambda: torch.ones(1, 1, 8, 8).tril(), beside="attention.dense.weight"),
            with_buffers("attention.rotary_emb.inv_freq", lambda: torch.ones(2), beside="attention.dense.weight"),
        ),
        tolerance=GELU,
    ),
    TinyModel(
        "gpt-neox-serial", "GPTNeoXForCausalLM", _NEOX | {"use_parallel_residual": False}, "bytes", tolerance=GELU
    ),
    TinyModel(
        "falcon-7b",
        "FalconForCausalLM",
        _FALCON | BYTES | {"multi_query": True, "new_decoder_architecture": False},
        "bytes",
        tolerance=GELU,
    ),
    TinyModel(
        "falcon-40b",
        "FalconForCausalLM",
        _FALCON | BYTES | {"multi_query": True, "new_decoder_architecture": True, "num_kv_heads": 2},
        "bytes",
        tolerance=GELU,
    ),
    TinyModel(
        "mpt",
        "MptForCausalLM",
        BYTES
        | {"model_type": "mpt", "d_model": 64, "n_heads": 4, "n_layers": 2, "expansion_ratio": 4, "max_seq_len": 256}
        | {"no_bias": True, "attn_config": {"alibi": True, "alibi_bias_max": 8, "clip_qkv": 1.5}},
        "bytes",
        published={"architectures": ["MPTForCausalLM"]},
        tolerance=GELU,
    ),
    TinyModel(
        "bloom",
        "BloomForCausalLM",
        BYTES
        | {"model_type": "bloom", "hidden_size": 64, "n_layer": 2, "n_head": 4, "layer_norm_epsilon": 1e-5}
        | {"seq_length": 256, "apply_residual_connection_post_layernorm": False},
        "bytes",
        edit=_HEADLESS,
        tolerance=GELU,
    ),
    TinyModel(
        "starcoder",
        "GPTBigCodeForCausalLM",
        _GPT_2 | BYTES | {"model_type": "gpt_bigcode", "multi_query": True, "activation_function": "gelu_pytorch_tanh"},
        "bytes",
        tolerance=GELU,
    ),
    TinyModel(
        "starcoder-all-heads",
        "GPTBigCodeForCausalLM",
        _GPT_2
        | BYTES
        | {"model_type": "gpt_bigcode", "multi_query": False, "activation_function": "gelu_pytorch_tanh"},
        "bytes",
        tolerance=GELU,
    ),
    TinyModel(
        "starcoder2",
        "Starcoder2ForCausalLM",
        _NO_RMS
        | BYTES
        | {"model_type": "starcoder2", "hidden_act": "gelu_pytorch_tanh", "norm_epsilon": 1e-5, "use_bias": True}
        | {"sliding_window": 256, "tie_word_embeddings": True, "mlp_type": "default"},
        "bytes",
        tolerance=GELU,
    ),
    TinyModel(
        "codeshell",
        "Starcoder2ForCausalLM",
        _NO_RMS
        | BYTES
        | {"model_type": "starcoder2", "hidden_act": "gelu_pytorch_tanh", "norm_epsilon": 1e-5, "use_bias": True}
        | {"sliding_window": 256, "mlp_type": "default"},
        "bytes",
        published=dict.fromkeys(_NO_RMS)
        | {"architectures": ["CodeShellForCausalLM"], "model_type": "codeshell", "norm_epsilon": ABSENT}
        | {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256, "num_query_groups": 2, "n_inner": 128}
        | {"layer_norm_epsilon": 1e-5, "position_embedding_type": "rope", "group_query_attention": True},
        edit=then(fused(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "attn.c_attn"), _AS_CODESHELL),
        tolerance=GELU,
    ),
    TinyModel(
        "stablelm2-1.6b",
        "StableLmForCausalLM",
        _NO_RMS
        | BYTES
        | {"model_type": "stablelm", "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.25, "use_qkv_bias": True}
        | {"use_parallel_residual": False, "qk_layernorm": False},
        "bytes",
    ),
    TinyModel(
        "stablelm2-12b",
        "StableLmForCausalLM",
        _NO_RMS
        | BYTES
        | {"model_type": "stablelm", "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.25, "use_qkv_bias": False}
        | {"use_parallel_residual": True, "qk_layernorm": True},
        "bytes",
    ),
    TinyModel("olmo", "OlmoForCausalLM", _NO_RMS | BYTES | {"model_type": "olmo", "clip_qkv": 1.5}, "bytes"),
    TinyModel("olmo2", "Olmo2ForCausalLM", SHAPE | BYTES | _FULL | {"model_type": "olmo2"}, "bytes"),
    TinyModel(
        "olmo3",
        "Olmo3ForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "olmo3", "num_hidden_layers": 4, "sliding_window": WINDOW, "rope_theta": 500000.0}
        | {"layer_types": ["sliding_attention"] * 3 + ["full_attention"]},
        "bytes",
    ),
    TinyModel(
        "olmo3-yarn",
        "Olmo3ForCausalLM",
        SHAPE
        | BYTES
        | {"model_type": "olmo3", "num_hidden_layers": 4, "sliding_window": WINDOW, "rope_theta": 500000.0}
        | {"layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
        | {
            "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}
            | {"attention_factor": 1.2079441541679836, "beta_fast": 32.0, "beta_slow": 1.0}
        },
        "bytes",
    ),
    TinyModel(
        "olmoe",
        "OlmoeForCausalLM",
        SHAPE
        | BYTES
        | _FULL
        | {"model_type": "olmoe", "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": False},
        "bytes",
    ),
    TinyModel(
        "command-r",
        "CohereForCausalLM",
        _NO_RMS
        | BYTES
        | {"model_type": "cohere", "layer_norm_eps": 1e-5, "logit_scale": 0.0625, "use_qk_norm": False}
        | {"tie_word_embeddings": True, "model_max_length": 256},
        "bytes",
    ),
    TinyModel(
        "command-r-plus",
        "CohereForCausalLM",
        _NO_RMS
        | BYTES
        | {"model_type": "cohere", "layer_norm_eps": 1e-5, "logit_scale": 0.8333, "use_qk_norm": True}
        | {
            "num_hidden_layers": 64,
            "tie_word_embeddings": True,
            "model_max_length": 256,
        }  # llama.cpp wants 64 for norms
        | {"intermediate_size": 64},
        "bytes",
    ),
    TinyModel(
        "command-r7b",
        "Cohere2ForCausalLM",
        _NO_RMS
        | BYTES
        | {"model_type": "cohere2", "layer_norm_eps": 1e-5, "logit_scale": 0.25, "head_dim": 16}
        | {"num_hidden_layers": 4, "sliding_window": WINDOW, "sliding_window_pattern": 4}
        | {"layer_types": ["sliding_attention"] * 3 + ["full_attention"], "tie_word_embeddings": True},
        "bytes",
    ),
    TinyModel(
        "jais2",
        "Jais2ForCausalLM",
        _NO_RMS
        | BYTES
        | {
            "model_type": "jais2",
            "num_key_value_heads": 4,
            "hidden_act": "relu2",
            "layer_norm_eps": 1e-5,
            "head_dim": 16,
        },
        "bytes",
    ),
    TinyModel(
        "nemotron",
        "NemotronForCausalLM",
        _NO_RMS
        | PIECES
        | {"model_type": "nemotron", "hidden_act": "relu2", "norm_eps": 1e-5, "head_dim": 16}
        | {"partial_rotary_factor": 0.5},
        "pieces",
    ),
)
