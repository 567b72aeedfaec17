"""What a family says about its tokenizer, as data: which files come first, and which keys no file gives.

Each constant names the Hugging Face classes it is for; `rules_for` finds them. A class that is not named has DEFAULT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["pieces", "json pieces", "raw pieces", "byte level", "ranks", "words", "unigram", "none"]
"""Where a vocabulary comes from:

pieces        a SentencePiece model: tokenizer.model
json pieces   the same (BPE with byte fallback) in tokenizer.json
raw pieces    json pieces, for a runner that merges them by rank
byte level    byte-level BPE in tokenizer.json, or in vocab.json and merges.txt
ranks         byte-level BPE as a list of ranked bytes: tekken.json, tiktoken's files
words         WordPiece in tokenizer.json or vocab.txt
unigram       a SentencePiece unigram model: spiece.model, sentencepiece.bpe.model, tokenizer.model, tokenizer.json
none          a model that has no vocabulary
"""


@dataclass(frozen=True, slots=True)
class TokenizerRules:
    """`kinds` are tried in this order; the first that the folder has is taken.

    model           tokenizer.ggml.model, where it is not the kind's own
    pre_unknown     tokenizer.ggml.pre of a splitting that Snug does not know
    pre_ranks       tokenizer.ggml.pre of ranks: only the family's code says how it splits
    space_prefix    add_space_prefix: a value, "config" for add_prefix_space of tokenizer_config.json, "model" for
                    add_dummy_prefix of the SentencePiece model
    ids             ids of special tokens (bos, eos, unk, sep, pad, mask, eot, eom), whatever the files say
    texts           texts of special tokens whose ids no file gives
    own_texts       special tokens that the tokenizer's class has by itself
    turn_end        the token that ends the model's turn: it is EOS where the vocabulary has it
    config_ids      special tokens whose ids stand under another name in config.json
    first_eos_ends  of several EOS in generation_config.json the first ends the model's turn: it is EOT
    adds            which of bos, eos, sep are added, whatever the files say
    adds_unsaid     the same, where no file says so
    plain_added     added tokens are control only if special; those of tokenizer.json lie over a SentencePiece model's
    visible         tokens that a runner must show: user-defined instead of control
    type_count      writes token_type_count: a number, or "config" for type_vocab_size of config.json
    stand_in        the repository whose tokenizer the family uses when its own has none
    at_rows         other rules for a vocabulary of that size
    """

    kinds: tuple[Kind, ...] = ("pieces", "json pieces", "byte level", "ranks", "words", "unigram")
    model: str = ""
    pre_unknown: str = ""
    pre_ranks: str = ""
    space_prefix: bool | Literal["config", "model"] | None = None
    ids: tuple[tuple[str, int], ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    own_texts: tuple[str, ...] = ()
    turn_end: str = ""
    config_ids: tuple[tuple[str, str], ...] = ()
    first_eos_ends: bool = False
    adds: tuple[tuple[str, bool], ...] = ()
    adds_unsaid: tuple[tuple[str, bool], ...] = ()
    plain_added: bool = False
    visible: tuple[str, ...] = ()
    type_count: int | Literal["config"] | None = None
    stand_in: str = ""
    at_rows: tuple[tuple[int, TokenizerRules], ...] = ()

    def at(self, rows: int) -> TokenizerRules:
        """The rules for a vocabulary of `rows`."""
        return dict(self.at_rows).get(rows, self)


DEFAULT = TokenizerRules()
"""Most families: the converter reads their tokenizer.json."""

_COPIES_PREFIX = TokenizerRules(space_prefix="config")
CODE_LLAMA = replace(_COPIES_PREFIX, ids=(("eot", 32010),))
"""Code Llama: its vocabulary of 32016 is the only place that says so."""

SMALL_GRANITE = replace(_COPIES_PREFIX, adds=(("bos", False),))
"""Granite's first small models (and SmolLM, of as many rows) say no word about BOS and must not get one."""

LLAMA = replace(_COPIES_PREFIX, at_rows=((32016, CODE_LLAMA), (49152, SMALL_GRANITE)))
"""Llama, Mistral, Mixtral, Ministral 3, Granite (dense and MoE), SmolLM3, Arcee, Apertus: Llama's order of files."""

ERNIE = _COPIES_PREFIX
"""Ernie 4.5, dense and MoE."""

PHI2 = TokenizerRules(adds_unsaid=(("bos", False),))
"""PhiForCausalLM."""

PHI3 = TokenizerRules(plain_added=True)
"""Phi 3 and 3.5, Phi 4 (byte-level), Phi MoE."""

INTERNLM2 = TokenizerRules(space_prefix="model", plain_added=True, turn_end="<|im_end|>")
"""InternLM2ForCausalLM."""

INTERNLM3 = TokenizerRules(space_prefix="config", turn_end="<|im_end|>")
"""InternLM3ForCausalLM."""

GEMMA = TokenizerRules(space_prefix=False, ids=(("eot", 107),))
"""GemmaForCausalLM."""

GEMMA3 = TokenizerRules(space_prefix=False)
"""Gemma 2, 3 and 3n. A vocabulary shorter than the embedding is for the family's entry to cut the embedding to."""

GEMMA4 = TokenizerRules(
    kinds=("raw pieces",),
    model="gemma4",
    space_prefix=False,
    adds=(("bos", True),),
    visible=(
        "<|channel>",
        "<channel|>",
        "<|tool_call>",
        "<tool_call|>",
        "<|tool_response>",
        "<tool_response|>",
        '<|"|>',
    ),
)
"""Gemma 4: BPE over raw characters, with merges."""

NEMOTRON = TokenizerRules(ids=(("pad", 0), ("unk", 1)))
"""NemotronForCausalLM (Minitron)."""

NEMOTRON_H = TokenizerRules(kinds=("byte level", "pieces"), adds=(("bos", True),))
"""NemotronHForCausalLM without experts."""

_ENDS = "<|endoftext|>"
GLM4 = TokenizerRules(texts=(("eos", _ENDS), ("eot", "<|user|>"), ("unk", _ENDS), ("bos", _ENDS)))
"""GLM 4 0414, GLM 4.1V and GLM OCR, GLM Edge; SOLAR Open has its own."""

GLM4_MOE = TokenizerRules(texts=(("bos", "[gMASK]"), ("eot", "<|user|>"), ("unk", _ENDS), ("eom", "<|observation|>")))
"""GLM 4.5 to 5 (MoE, Lite, DSA, 4.5V)."""

SOLAR_OPEN = TokenizerRules(texts=(("eos", _ENDS), ("eot", _ENDS), ("unk", "<unk>"), ("bos", "<|startoftext|>")))
"""SolarOpenForCausalLM."""

CHATGLM = TokenizerRules(
    kinds=("byte level", "ranks", "pieces"),
    pre_ranks="chatglm-bpe",
    texts=(("eos", _ENDS), ("eot", "<|user|>"), ("unk", _ENDS)),
    adds_unsaid=(("bos", False),),
)
"""GLM 4 9B (ChatGLMModel, GlmForCausalLM): tiktoken's ranks, or a tokenizer.json."""

QWEN = TokenizerRules(
    kinds=("ranks", "byte level"), pre_ranks="qwen2", texts=(("bos", _ENDS), ("eos", _ENDS), ("unk", _ENDS))
)
"""QWenLMHeadModel, the first Qwen: tiktoken's ranks."""

DEEPSEEK = TokenizerRules(kinds=("byte level", "ranks"), pre_ranks="kimi-k2")
"""DeepSeek V2 and V3, and Kimi, which has their classes and tiktoken's ranks."""

HUNYUAN_MOE = TokenizerRules(kinds=("ranks", "byte level"), pre_ranks="hunyuan", ids=(("bos", 127959),))
"""HunYuanMoEV1ForCausalLM: tiktoken's ranks, and a wrong BOS in config.json."""

HUNYUAN_DENSE = TokenizerRules(
    kinds=("byte level", "ranks"),
    config_ids=(("eos", "eod_token_id"),),
    first_eos_ends=True,
    pre_unknown="hunyuan-dense",
    pre_ranks="hunyuan",
)
"""HunYuanDenseV1ForCausalLM, HunYuan VL."""

BLOOM = TokenizerRules(own_texts=("<s>", "</s>", "<unk>", "<pad>"))
"""BloomForCausalLM."""

FALCON_H1 = TokenizerRules(kinds=("byte level",), pre_unknown="falcon-h1")
"""FalconH1ForCausalLM: four tokenizers, one rule."""

MAMBA = TokenizerRules(kinds=("byte level", "pieces"), stand_in="EleutherAI/gpt-neox-20b")
"""Mamba, Falcon Mamba: published folders often have no tokenizer."""

MAMBA2 = TokenizerRules(kinds=("pieces", "byte level"), stand_in="EleutherAI/gpt-neox-20b")
"""Mamba 2, Granite 4 hybrid, Bamba."""

JAMBA = TokenizerRules(kinds=("pieces", "json pieces"))
"""JambaForCausalLM."""

BERT = TokenizerRules(kinds=("words", "unigram", "byte level"), type_count="config")
"""BERT, DistilBERT (MiniLM, BGE); its multilingual kin have XLM-R's vocabulary."""

ROBERTA = TokenizerRules(kinds=("byte level", "words", "unigram"), type_count="config")
"""RobertaModel and its classifiers: byte-level BPE."""

XLM_R = TokenizerRules(kinds=("unigram", "byte level", "words"), type_count="config")
"""XLM-RoBERTa: unigram in fairseq's order (E5, BGE M3, rerankers)."""

JINA_BERT = TokenizerRules(kinds=("words", "byte level"), type_count="config")
"""JinaBertModel, JinaBertForMaskedLM."""

MODERN_BERT = TokenizerRules(
    kinds=("byte level", "raw pieces"), adds_unsaid=(("bos", True), ("eos", True), ("sep", True))
)
"""ModernBERT; mmBERT has Gemma's vocabulary."""

EUROBERT = TokenizerRules(kinds=("byte level",), adds_unsaid=(("bos", False),))
"""EuroBertModel, JinaEmbeddingsV5Model."""

T5 = TokenizerRules(kinds=("unigram", "pieces"))
"""T5, mT5, UMT5 with and without decoder; Pile-T5's model is BPE."""

_BY_CLASS: tuple[tuple[TokenizerRules, tuple[str, ...]], ...] = (
    (LLAMA, (
        "LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel", "VLlama3ForCausalLM", "IQuestCoderForCausalLM",
        "LlavaForConditionalGeneration", "VoxtralForConditionalGeneration", "MistralForCausalLM", "MistralModel",
        "MixtralForCausalLM", "Mistral3ForConditionalGeneration", "Ministral3ForCausalLM", "MinistralForCausalLM",
        "GraniteForCausalLM", "GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM", "SmolLM3ForCausalLM",
        "ArceeForCausalLM", "ApertusForCausalLM",
    )),
    (ERNIE, ("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM", "Ernie4_5_MoeForCausalLM",
             "PaddleOCRVLForConditionalGeneration")),
    (PHI2, ("PhiForCausalLM",)),
    (PHI3, ("Phi3ForCausalLM", "Phi4ForCausalLMV", "Phi4MMForCausalLM", "PhiMoEForCausalLM", "PhimoeForCausalLM")),
    (INTERNLM2, ("InternLM2ForCausalLM",)),
    (INTERNLM3, ("InternLM3ForCausalLM",)),
    (GEMMA, ("GemmaForCausalLM",)),
    (GEMMA3, ("Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "Gemma3TextModel",
              "Gemma3nForCausalLM", "Gemma3nForConditionalGeneration")),
    (GEMMA4, ("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration")),
    (NEMOTRON, ("NemotronForCausalLM",)),
    (GLM4, ("Glm4ForCausalLM", "Glm4vForConditionalGeneration", "GlmOcrForConditionalGeneration",
            "GlmasrModel")),
    (GLM4_MOE, ("Glm4MoeForCausalLM", "Glm4vMoeForConditionalGeneration", "Glm4MoeLiteForCausalLM",
                "GlmMoeDsaForCausalLM")),
    (SOLAR_OPEN, ("SolarOpenForCausalLM",)),
    (CHATGLM, ("ChatGLMModel", "ChatGLMForConditionalGeneration", "GlmForCausalLM")),
    (QWEN, ("QWenLMHeadModel",)),
    (DEEPSEEK, ("DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "KimiVLForConditionalGeneration",
                "KimiK25ForConditionalGeneration", "KimiLinearForCausalLM")),
    (HUNYUAN_MOE, ("HunYuanMoEV1ForCausalLM",)),
    (HUNYUAN_DENSE, ("HunYuanDenseV1ForCausalLM", "HunYuanVLForConditionalGeneration")),
    (BLOOM, ("BloomForCausalLM", "BloomModel")),
    (FALCON_H1, ("FalconH1ForCausalLM",)),
    (MAMBA, ("MambaForCausalLM", "MambaLMHeadModel", "FalconMambaForCausalLM")),
    (MAMBA2, ("Mamba2ForCausalLM", "GraniteMoeHybridForCausalLM", "BambaForCausalLM")),
    (JAMBA, ("JambaForCausalLM",)),
    (BERT, ("BertModel", "BertForMaskedLM", "BertForSequenceClassification", "DistilBertModel",
            "DistilBertForMaskedLM", "DistilBertForSequenceClassification", "NeoBERT", "NeoBERTLMHead",
            "NomicBertModel")),
    (ROBERTA, ("RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification")),
    (XLM_R, ("XLMRobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaForSequenceClassification", "CamembertModel",
             "CamembertForMaskedLM")),
    (JINA_BERT, ("JinaBertModel", "JinaBertForMaskedLM")),
    (MODERN_BERT, ("ModernBertModel", "ModernBertForMaskedLM", "ModernBertForSequenceClassification")),
    (EUROBERT, ("EuroBertModel", "JinaEmbeddingsV5Model")),
    (T5, ("T5ForConditionalGeneration", "T5WithLMHeadModel", "T5EncoderModel", "MT5ForConditionalGeneration",
          "MT5EncoderModel", "UMT5ForConditionalGeneration", "UMT5EncoderModel", "UMT5Model")),
)  # fmt: skip
_RULES = {name: rules for rules, names in _BY_CLASS for name in names}


def rules_for(config: Mapping[str, Any]) -> TokenizerRules:
    """The rules of the class that config.json names; DEFAULT for one that has none of its own."""
    name = next(iter(config.get("architectures") or []), "")
    if name == "NemotronHForCausalLM":
        return DEFAULT if "num_experts_per_tok" in config else NEMOTRON_H
    return _RULES.get(name, DEFAULT)
