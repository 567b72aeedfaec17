"""Encoders for embeddings and reranking, and T5."""

from __future__ import annotations

from typing import Any

import torch

from tests.core.families.tables.shape import SHAPE
from tests.core.families.tiny import ABSENT, GELU, TinyModel
from tests.core.families.vocabularies import BYTES, ROBERTA, T5_PIECES, WORDS

_BERT: dict[str, Any] = {
    "hidden_act": "gelu",
    "hidden_size": 64,
    "intermediate_size": 128,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
}
_ROBERTA = _BERT | ROBERTA | {"layer_norm_eps": 1e-5, "max_position_embeddings": 130, "type_vocab_size": 1}
_T5: dict[str, Any] = {
    "model_type": "t5",
    "d_ff": 128,
    "d_kv": 16,
    "d_model": 64,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-6,
    "n_positions": 256,
    "num_heads": 4,
    "num_layers": 2,
    "num_decoder_layers": 2,  # llama.cpp fails on more than encoder layers
    "relative_attention_num_buckets": 32,
}
SENTENCE_BERT: dict[str, Any] = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ],
    "1_Pooling/config.json": {
        "word_embedding_dimension": 64,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
    },
}

_MODERN: dict[str, Any] = {
    "model_type": "modernbert",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "hidden_activation": "gelu",
    "norm_eps": 1e-5,
    "global_rope_theta": 160000.0,
    "local_rope_theta": 10000.0,
    "local_attention": 16,
    "global_attn_every_n_layers": 3,
}

ENCODERS = (
    TinyModel(
        "nomic",
        "NomicBertModel",
        {"model_type": "nomic_bert", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        | {"num_attention_heads": 4, "max_position_embeddings": 256, "type_vocab_size": 2, "layer_norm_eps": 1e-12}
        | WORDS,
        "words",
        published=dict.fromkeys(("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"))
        | {"n_embd": 64, "n_inner": 128, "n_layer": 2, "n_head": 4, "n_positions": 8192, "max_trained_positions": 2048}
        | {
            "layer_norm_epsilon": 1e-12,
            "layer_norm_eps": ABSENT,
            "rotary_emb_base": 1000,
            "activation_function": "swiglu",
        }
        | {"max_position_embeddings": ABSENT},
        kind="embeddings",
        files=SENTENCE_BERT,
    ),
    TinyModel(
        "eurobert",
        "EuroBertModel",
        SHAPE | BYTES | {"model_type": "eurobert", "head_dim": 16},
        "bytes",
        kind="embeddings",
    ),
    TinyModel("modernbert", "ModernBertModel", _MODERN | ROBERTA, "roberta bytes", kind="embeddings", tolerance=GELU),
    TinyModel(
        "modernbert-reranker",
        "ModernBertForSequenceClassification",
        _MODERN | ROBERTA | {"num_labels": 1, "classifier_pooling": "mean"},
        "roberta bytes",
        kind="scores",
        tolerance=GELU,
    ),
    TinyModel(
        "bert",
        "BertModel",
        _BERT | WORDS | {"model_type": "bert"},
        "words",
        edit=lambda weights, _: weights | {"embeddings.position_ids": torch.arange(128)[None]},
        files=SENTENCE_BERT,
        kind="embeddings",
        tolerance=GELU,
    ),
    TinyModel(
        "bert-masked",
        "BertForMaskedLM",
        _BERT | WORDS | {"model_type": "bert"},
        "words",
        part="bert",
        kind="embeddings",
        tolerance=GELU,
    ),
    TinyModel(
        "bert-reranker",
        "BertForSequenceClassification",
        _BERT | WORDS | {"model_type": "bert", "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
        "words",
        kind="scores",
        reason="llama.cpp takes BERT's classifier without the layer before it, and its converter drops that",
        tolerance=GELU,
    ),
    TinyModel(
        "distilbert",
        "DistilBertModel",
        WORDS
        | {"model_type": "distilbert", "activation": "gelu", "dim": 64, "hidden_dim": 128, "n_heads": 4, "n_layers": 2}
        | {"max_position_embeddings": 128, "sinusoidal_pos_embds": False},
        "words",
        kind="embeddings",
        tolerance=GELU,
    ),
    TinyModel(
        "roberta",
        "RobertaModel",
        _ROBERTA | {"model_type": "roberta"},
        "roberta bytes",
        kind="embeddings",
        tolerance=GELU,
    ),
    TinyModel(
        "xlm-roberta",
        "XLMRobertaModel",
        _ROBERTA | {"model_type": "xlm-roberta"},
        "roberta pieces",
        kind="embeddings",
        tolerance=GELU,
    ),
    TinyModel(
        "xlm-roberta-reranker",
        "XLMRobertaForSequenceClassification",
        _ROBERTA | {"model_type": "xlm-roberta", "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
        "roberta pieces",
        kind="scores",
        tolerance=GELU,
    ),
    TinyModel(
        "t5",
        "T5ForConditionalGeneration",
        _T5 | T5_PIECES | {"feed_forward_proj": "relu", "tie_word_embeddings": True},
        "unigram",
        kind="decoder",
        scale=64**0.5,
    ),
    TinyModel(
        "flan-t5",
        "T5ForConditionalGeneration",
        _T5 | T5_PIECES | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        "unigram",
        kind="decoder",
        tolerance=GELU,
    ),
    TinyModel(
        "umt5",
        "UMT5ForConditionalGeneration",
        _T5 | T5_PIECES | {"model_type": "umt5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        "unigram",
        kind="decoder",
        tolerance=GELU,
    ),
    TinyModel(
        "t5-encoder",
        "T5EncoderModel",
        {key: value for key, value in (_T5 | T5_PIECES).items() if key != "num_decoder_layers"}
        | {"feed_forward_proj": "relu"},
        "unigram",
        kind="encoder",
    ),
)
