"""Encoders for embeddings and reranking (BERT, DistilBERT, RoBERTa, XLM-R), and T5."""

from __future__ import annotations

from dataclasses import replace

from core.architectures.config import count, number, required, rope
from core.architectures.entry import Architecture, Config, Drop, Extra, Key, Source, Tensor
from core.architectures.shared import SHARED, USUAL_THETA, VOCAB_SIZE, rope_keys
from core.errors import SnugError
from core.model import Metadata
from core.tensor_ops import Rows

_POOLING = (("pooling_mode_mean_tokens", 1), ("pooling_mode_cls_token", 2), ("pooling_mode_lasttoken", 3))
_DUMMY_LABELS = {"0": "LABEL_0", "1": "LABEL_1"}


def pooling(source: Source) -> Extra:
    """pooling_type, from the Sentence Transformers files: 1 mean, 2 the first token, 3 the last."""
    modules = source.read_json("modules.json")
    if not isinstance(modules, list):
        return Extra()
    paths = [module.get("path") for module in modules if str(module.get("type", "")).endswith("Pooling")]
    settings = source.read_json(f"{paths[0]}/config.json") if paths else None
    found = [value for name, value in _POOLING if isinstance(settings, dict) and settings.get(name)]
    return Extra((Metadata(f"{source.arch}.pooling_type", "u32", found[0]),)) if found else Extra()


def _labels(source: Source) -> Extra:
    """The names of a classifier's outputs, unless they are the two that a config has by default."""
    labels = source.config.get("id2label")
    if not isinstance(labels, dict) or {str(k): v for k, v in labels.items()} == _DUMMY_LABELS:
        return Extra()
    names = [str(labels[number]) for number in sorted(labels, key=int)]
    return Extra((Metadata(f"{source.arch}.classifier.output_labels", "[str]", names),))


_BERT_KEYS = (*SHARED[:5], SHARED[7], Key("attention.causal", "bool", (), False))
_BERT_RENAMES = (
    (r"^(bert|distilbert|roberta)\.", ""),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"^classifier\.(weight|bias)$", r"classifier.out_proj.\1"),
)
_BERT_DROPPED = (
    Drop(r"embeddings\.position_ids", "a list of numbers, which every runner counts itself"),
    Drop(r"pooler\.dense\.(weight|bias)", "a layer that embeddings do not use"),
    Drop(r"(cls|lm_head|vocab_\w+)\..*", "the head for guessing masked words, which embeddings do not use"),
)
_BERT_NEEDED = ("token_embd.weight", "token_embd_norm.weight", "blk.{}.attn_output_norm.weight")

_BERT = Architecture(
    classes=("BertModel", "BertForMaskedLM", "BertForSequenceClassification", "CamembertModel"),
    arch="bert",
    keys=_BERT_KEYS,
    renames=_BERT_RENAMES,
    dropped=_BERT_DROPPED,
    needed=_BERT_NEEDED,
    extra=(pooling, _labels),
)
_DISTILBERT = Architecture(
    classes=("DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification"),
    arch="bert",
    keys=(*_BERT_KEYS, Key("attention.layer_norm_epsilon", "f32", (), 1e-12)),
    renames=_BERT_RENAMES,
    dropped=_BERT_DROPPED,
    needed=_BERT_NEEDED,
    extra=(pooling, _labels),
)


def _first_position(config: Config) -> int:
    """RoBERTa counts positions from one after the padding token's id on."""
    return count(config, "pad_token_id", 0) + 1


def _roberta_config(config: Config) -> Config:
    positions = required(config, "max_position_embeddings")
    return {**config, "max_position_embeddings": positions - _first_position(config), "positions": positions}


_ROBERTA = Architecture(
    classes=(
        "RobertaModel",
        "RobertaForSequenceClassification",
        "RobertaForMaskedLM",
        "XLMRobertaModel",
        "XLMRobertaForSequenceClassification",
        "XLMRobertaForMaskedLM",
    ),
    arch="bert",
    keys=_BERT_KEYS,
    renames=_BERT_RENAMES,
    dropped=_BERT_DROPPED,
    needed=_BERT_NEEDED,
    config=_roberta_config,
    tensors=lambda config: (
        Tensor(r"embeddings\.position_embeddings\.weight", ops=(Rows(_first_position(config), config["positions"]),)),
    ),
    extra=(pooling, _labels),
)


def _modern_keys(source: Source) -> Extra:
    """Every third layer, or so, sees all; the others have a window and turn with another base."""
    config, arch = source.config, source.arch
    nested = rope(config, "sliding_attention")
    bases = {
        "freq_base": number(config, "global_rope_theta", rope(config).theta or 160000.0),
        "freq_base_swa": number(config, "local_rope_theta", nested.theta or USUAL_THETA),
    }
    kinds = config.get("layer_types")
    every = kinds.index("full_attention", 1) if isinstance(kinds, list) and "full_attention" in kinds[1:] else 3
    return Extra(
        (
            *(Metadata(f"{arch}.rope.{name}", "f32", base) for name, base in bases.items()),
            Metadata(
                f"{arch}.attention.sliding_window_pattern", "u32", count(config, "global_attn_every_n_layers", every)
            ),
        )
    )


_MODERN_HEAD = Drop(r"(head|decoder)\..*", "the head for guessing masked words, which embeddings do not use")
_MODERN = Architecture(
    classes=("ModernBertModel", "ModernBertForMaskedLM"),
    arch="modern-bert",
    keys=(
        *_BERT_KEYS,
        Key("attention.layer_norm_epsilon", "f32", ("norm_eps",), 1e-5),
        Key("attention.sliding_window", "u32", ("local_attention",), 128),
        Key("rope.scaling.type", "str", (), "none"),
        Key("hidden_activation", "str", ("hidden_activation",)),
        VOCAB_SIZE,
    ),
    renames=((r"^model\.", ""), (r"^classifier\.(weight|bias)$", r"classifier.out_proj.\1")),
    dropped=(_MODERN_HEAD,),
    needed=("token_embd.weight", "token_embd_norm.weight", "output_norm.weight", "blk.{}.attn_qkv.weight"),
    extra=(_modern_keys, pooling, _labels),
)


def _averaging(config: Config) -> Config:
    """llama.cpp classifies the mean of all tokens; a model that looks at the first one would give other scores."""
    if config.get("classifier_pooling", "cls") != "mean":
        raise SnugError(
            "This ModernBERT classifies by its first token, which llama.cpp does not.",
            "Choose a model with classifier_pooling mean, such as Alibaba-NLP/gte-reranker-modernbert-base.",
        )
    return config


_MODERN_RERANKER = replace(_MODERN, classes=("ModernBertForSequenceClassification",), dropped=(), config=_averaging)


_EUROBERT = Architecture(
    classes=("EuroBertModel", "EuroBertForMaskedLM"),
    arch="eurobert",
    keys=(*SHARED, Key("attention.causal", "bool", (), False), Key("rope.scaling.type", "str", (), "none")),
    renames=((r"^model\.", ""),),
    dropped=(Drop(r"lm_head\..*", "the head for guessing masked words, which embeddings do not use"),),
    extra=(rope_keys, pooling),
)


_NOMIC = Architecture(
    classes=("NomicBertModel",),
    arch="nomic-bert",
    keys=(
        *_BERT_KEYS,
        Key("context_length", "u32", ("max_trained_positions", "n_positions")),
        Key("rope.freq_base", "f32", ("rotary_emb_base",), 1000.0),
    ),
    renames=_BERT_RENAMES,
    dropped=_BERT_DROPPED,
    needed=_BERT_NEEDED,
    when=lambda config: not config.get("moe_every_n_layers"),
    extra=(pooling,),
)
_T5_KEYS = (
    Key("context_length", "u32", ("n_positions",), 512),
    Key("embedding_length", "u32", ("d_model",)),
    Key("feed_forward_length", "u32", ("d_ff",)),
    Key("block_count", "u32", ("num_layers",)),
    Key("attention.head_count", "u32", ("num_heads",)),
    Key("attention.key_length", "u32", ("d_kv",)),
    Key("attention.value_length", "u32", ("d_kv",)),
    Key("attention.layer_norm_epsilon", "f32", ("layer_norm_epsilon",), 1e-6),
    Key("attention.layer_norm_rms_epsilon", "f32", ("layer_norm_epsilon",), 1e-6),
    Key("attention.relative_buckets_count", "u32", ("relative_attention_num_buckets",), 32),
)
_T5_SHARED = Drop(r"(encoder|decoder)\.embed_tokens\.weight", "the same as the shared embedding")
_T5 = Architecture(
    classes=("T5ForConditionalGeneration", "T5WithLMHeadModel", "MT5ForConditionalGeneration",
             "UMT5ForConditionalGeneration"),
    arch="t5",
    keys=(
        *_T5_KEYS,
        Key("decoder_block_count", "u32", ("num_decoder_layers", "num_layers")),
        Key("decoder_start_token_id", "u32", ("decoder_start_token_id",), 0),
    ),
    dropped=(_T5_SHARED,),
    needed=("token_embd.weight", "enc.output_norm.weight", "enc.blk.{}.attn_norm.weight"),
)  # fmt: skip
_T5_ENCODER = Architecture(
    classes=("T5EncoderModel", "MT5EncoderModel", "UMT5EncoderModel"),
    arch="t5encoder",
    keys=_T5_KEYS,
    dropped=(_T5_SHARED,),
    needed=("token_embd.weight", "enc.output_norm.weight", "enc.blk.{}.attn_norm.weight"),
)

ENTRIES = (_BERT, _DISTILBERT, _ROBERTA, _MODERN, _MODERN_RERANKER, _EUROBERT, _NOMIC, _T5, _T5_ENCODER)
