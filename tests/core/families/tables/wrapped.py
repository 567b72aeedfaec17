"""Models that see or hear around a language model of a family of its own."""

from __future__ import annotations

from typing import Any

from tests.core.families.tables.shape import SHAPE
from tests.core.families.tiny import TinyModel
from tests.core.families.vocabularies import BYTES, PIECES

_EYES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
_CLIP = _EYES | {"model_type": "clip_vision_model", "projection_dim": 32}
_SIGLIP = _EYES | {"model_type": "siglip_vision_model", "projection_dim": 64}
_PIXTRAL = _EYES | {"model_type": "pixtral", "head_dim": 16}
_EARS: dict[str, Any] = {
    "d_model": 32,
    "hidden_size": 32,
    "intermediate_size": 64,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_mel_bins": 16,
    "max_source_positions": 32,
}
_COHERE = {key: value for key, value in SHAPE.items() if key not in ("rms_norm_eps", "tie_word_embeddings")} | BYTES
_COHERE |= {"model_type": "cohere2", "head_dim": 16, "sliding_window": 8, "logit_scale": 0.25}
_COHERE |= {"num_hidden_layers": 4, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]}
_LLAMA = SHAPE | PIECES | {"model_type": "llama"}
_QWEN_2 = SHAPE | BYTES | {"model_type": "qwen2"}
_QWEN_3 = SHAPE | BYTES | {"model_type": "qwen3", "head_dim": 32}


def _wrapped(name: str, model: str, text: dict[str, Any], *, scale: float = 1.0, **config: Any) -> TinyModel:
    tokenizer = "pieces" if text["bos_token_id"] == PIECES["bos_token_id"] else "bytes"
    whole = {"model_type": name, "text_config": text, "tie_word_embeddings": False}
    return TinyModel(name, model, whole | config, tokenizer, scale=scale)


WRAPPED = (
    _wrapped("llava", "LlavaForConditionalGeneration", _LLAMA, vision_config=_CLIP),
    _wrapped(
        "llava_next",
        "LlavaNextForConditionalGeneration",
        SHAPE | PIECES | {"model_type": "mistral", "sliding_window": None},
        vision_config=_CLIP,
        image_grid_pinpoints=[[32, 32]],
    ),
    _wrapped(
        "llava_onevision",
        "LlavaOnevisionForConditionalGeneration",
        _QWEN_2,
        vision_config=_SIGLIP,
        image_grid_pinpoints=[[32, 32]],
    ),
    _wrapped(
        "aya_vision",
        "AyaVisionForConditionalGeneration",
        _COHERE,
        vision_config=_SIGLIP,
        tie_word_embeddings=True,
        downsample_factor=2,
        scale=_COHERE["logit_scale"],  # transformers forgets it where Cohere's model is a part
    ),
    _wrapped(
        "smolvlm", "SmolVLMForConditionalGeneration", _LLAMA, vision_config=_EYES | {"model_type": "smolvlm_vision"}
    ),
    _wrapped(
        "idefics3", "Idefics3ForConditionalGeneration", _LLAMA, vision_config=_EYES | {"model_type": "idefics3_vision"}
    ),
    _wrapped(
        "internvl", "InternVLForConditionalGeneration", _QWEN_3, vision_config=_EYES | {"model_type": "internvl_vision"}
    ),
    _wrapped("lighton_ocr", "LightOnOcrForConditionalGeneration", _QWEN_3, vision_config=_PIXTRAL),
    _wrapped(
        "voxtral",
        "VoxtralForConditionalGeneration",
        _LLAMA | {"head_dim": 16},
        audio_config=_EARS | {"model_type": "voxtral_encoder"},
    ),
    _wrapped(
        "got_ocr2",
        "GotOcr2ForConditionalGeneration",
        _QWEN_2,
        vision_config=_EYES | {"model_type": "got_ocr2_vision", "output_channels": 16},
    ),
    _wrapped(
        "cohere2_vision",
        "Cohere2VisionForConditionalGeneration",
        _COHERE,
        vision_config=_SIGLIP,
        tie_word_embeddings=True,
        downsample_factor=2,
        scale=_COHERE["logit_scale"],  # transformers forgets it where Cohere's model is a part
    ),
    _wrapped(
        "janus",
        "JanusForConditionalGeneration",
        _LLAMA,
        vision_config=_EYES | {"model_type": "janus_vision_model", "projection_dim": 64},
    ),
    _wrapped(
        "qwen3_asr",
        "Qwen3ASRForConditionalGeneration",
        _QWEN_3,
        audio_config=_EARS | {"model_type": "qwen3_asr_encoder"},
    ),
    _wrapped(
        "audioflamingo3",
        "AudioFlamingo3ForConditionalGeneration",
        _QWEN_2,
        audio_config=_EARS | {"model_type": "audioflamingo3_encoder"},
    ),
    _wrapped(
        "granite_speech",
        "GraniteSpeechForConditionalGeneration",
        SHAPE | BYTES | {"model_type": "granite"},
        encoder_config={
            "model_type": "granite_speech_encoder",
            "hidden_dim": 32,
            "num_layers": 1,
            "num_heads": 2,
            "dim_head": 16,
            "output_dim": 8,
            "input_dim": 16,
        },
        projector_config={
            "model_type": "blip_2_qformer",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "encoder_hidden_size": 32,
        },
    ),
    _wrapped(
        "qwen2_audio",
        "Qwen2AudioForConditionalGeneration",
        _QWEN_2,
        audio_config=_EARS | {"model_type": "qwen2_audio_encoder"},
    ),
)
