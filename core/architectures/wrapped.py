"""Models that see or hear, built around a language model of a family of its own: config.json says which by the
`model_type` of its text part.
"""

from __future__ import annotations

from typing import Any

from core.architectures.entry import Config

# The classes whose language model is nothing but the one that it says.
WRAPPERS = frozenset(
    (
        "AudioFlamingo3ForConditionalGeneration", "AyaVisionForConditionalGeneration",
        "Cohere2VisionForConditionalGeneration", "Exaone4_5_ForConditionalGeneration",
        "GotOcr2ForConditionalGeneration", "GraniteSpeechForConditionalGeneration",
        "Idefics3ForConditionalGeneration", "InternVLForConditionalGeneration", "JanusForConditionalGeneration",
        "LightOnOcrForConditionalGeneration", "LightOnOCRForConditionalGeneration", "LlavaForConditionalGeneration",
        "LlavaNextForConditionalGeneration", "LlavaNextVideoForConditionalGeneration",
        "LlavaOnevisionForConditionalGeneration", "MiniCPMV4_6ForConditionalGeneration",
        
        "Qwen2AudioForConditionalGeneration", "Qwen3ASRForConditionalGeneration", "SmolVLMForConditionalGeneration",
        "VideoLlavaForConditionalGeneration", "VipLlavaForConditionalGeneration",
        "VoxtralForConditionalGeneration",
    )
)  # fmt: skip


def _shape(
    vocabulary: int, width: int, inner: int, layers: int, heads: int, shared: int, context: int
) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "max_position_embeddings": context,
    }


# By model_type: the class, and what it takes where config.json is silent, for Hugging Face saves only what differs from
# that. Source: the configuration classes of transformers.
_TEXT: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", _shape(32000, 4096, 11008, 32, 32, 32, 2048) | {"rms_norm_eps": 1e-6}),
    "mistral": ("MistralForCausalLM", _shape(32000, 4096, 14336, 32, 32, 8, 131072) | {"rms_norm_eps": 1e-6}),
    "qwen2": ("Qwen2ForCausalLM", _shape(151936, 4096, 22016, 32, 32, 32, 32768) | {"rms_norm_eps": 1e-6}),
    "qwen3": (
        "Qwen3ForCausalLM",
        _shape(151936, 4096, 22016, 32, 32, 32, 32768) | {"rms_norm_eps": 1e-6, "head_dim": 128},
    ),
    "cohere": (
        "CohereForCausalLM",
        _shape(256000, 8192, 22528, 40, 64, 64, 8192) | {"layer_norm_eps": 1e-5, "rope_theta": 500000.0},
    ),
    "cohere2": (
        "Cohere2ForCausalLM",
        _shape(256000, 8192, 22528, 40, 64, 64, 8192)
        | {"layer_norm_eps": 1e-5, "head_dim": 128, "sliding_window": 4096, "rope_theta": 10000.0},
    ),
    "granite": (
        "GraniteForCausalLM",
        _shape(32000, 4096, 11008, 32, 32, 32, 2048)
        | {"rms_norm_eps": 1e-6, "embedding_multiplier": 1.0, "residual_multiplier": 1.0}
        | {"attention_multiplier": 1.0, "logits_scaling": 1.0},
    ),
    "exaone4": ("Exaone4ForCausalLM", {}),
    "gpt_oss": ("GptOssForCausalLM", {}),
    "qwen3_5_text": ("Qwen3_5ForCausalLM", {}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {}),
    "smollm3": ("SmolLM3ForCausalLM", {}),
}  # fmt: skip


def unwrapped(config: dict[str, Any], text: Config) -> dict[str, Any]:
    """A flat config of one of these classes as that of its language model, whose own part `text` is."""
    names = config.get("architectures")
    found = _TEXT.get(str(text.get("model_type")))
    if found is None or not isinstance(names, list) or not names or str(names[0]) not in WRAPPERS:
        return config
    name, defaults = found
    return {**defaults, **{key: value for key, value in config.items() if value is not None}, "architectures": [name]}
