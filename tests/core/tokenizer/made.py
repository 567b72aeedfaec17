"""Small tokenizers of every kind, as files of a model folder, trained on the torture text."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, pre_tokenizers, trainers

from core.tokenizer.splitting_names import Splitting
from tests.core.tokenizer.torture import LINES

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
GPT_2_WORDS = {**BYTES, "use_regex": True}
_NO_PARTS = {"truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None, "post_processor": None}
_BPE = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
_BPE |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
_SPACE = "\u2581"

# The class of letters of DeepSeek's first tokenizers, by code point: it has letters that look like others.
_DEEPSEEK_LETTERS = (
    r"A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377"
    r"\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556"
    r"\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"
    r"\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    r"\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    r"\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"
    r"\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"
    r"\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    r"\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    r"\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_SHORTENED = {
    r"\s?[A-Za-z": rf"\s?[{_DEEPSEEK_LETTERS.encode('ascii').decode('unicode_escape')}]+",
    r"\s?[!-/:-~": "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
}


def write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def tokenizer(model: Mapping[str, Any], added: Mapping[str, int], **parts: Any) -> dict[str, Any]:
    """A tokenizer.json; added tokens are special."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokens = [{"id": number, "content": text, **flags} for text, number in added.items()]
    return {"version": "1.0", "added_tokens": tokens, **_NO_PARTS, "decoder": None, **parts, "model": model}


def template(first: str, last: str, ids: Mapping[str, int]) -> dict[str, Any]:
    """A post-processor that puts these tokens around a text; "" for none."""

    def special(text: str) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": text, "type_id": 0}}] if text else []

    a, b = ({"Sequence": {"id": name, "type_id": at}} for at, name in enumerate("AB"))
    tokens = {text: {"id": text, "ids": [ids[text]], "tokens": [text]} for text in (first, last) if text}
    single = [*special(first), a, *special(last)]
    pair = [*single, *special(first), b, *special(last)]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


# ---- byte-level BPE -------------------------------------------------------------------------------------------------


@cache
def _merged(splitter: str = json.dumps(BYTES)) -> tuple[dict[str, int], list[Any]]:
    """A vocabulary trained under this pre_tokenizer. Without one its tokens run over all that rules cut at: wrong cuts
    give other tokens."""
    parts = {"pre_tokenizer": json.loads(splitter)}
    raw = Tokenizer.from_str(json.dumps(tokenizer({**_BPE, "vocab": {}, "merges": []}, {}, **parts)))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1600, initial_alphabet=alphabet, show_progress=False, special_tokens=[])
    raw.train_from_iterator([*LINES.values()] * 2 + LINES["digits"].split() * 3, trainer)
    model = json.loads(raw.to_str())["model"]
    return model["vocab"], model["merges"]


def byte_level(rule: Splitting, *, takes_words: bool = False, own_words: bool = False) -> dict[str, Any]:
    """A tokenizer.json that splits by the rule, and has what tells the rule from others that cut alike. With
    `own_words` its vocabulary was trained under the rule."""
    steps = [_step(line) for line in rule.steps]
    splitter = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
    vocabulary, merges = _merged(json.dumps(splitter)) if own_words else _merged()
    names = [rule.marker] * bool(rule.marker) + ["<bos>"] * bool(rule.adds_bos)
    added = {text: len(vocabulary) + at for at, text in enumerate(names)}
    processor = template("<bos>", "", added) if rule.adds_bos else None
    model = {**_BPE, "ignore_merges": takes_words, "vocab": dict(vocabulary), "merges": list(merges)}
    parts = {"pre_tokenizer": splitter, "post_processor": processor, "decoder": GPT_2_WORDS}
    return tokenizer(model, added, **parts)


def _step(line: str) -> dict[str, Any]:
    match line:
        case "bytes":
            return BYTES
        case "gpt-2 words":
            return GPT_2_WORDS
        case "each digit" | "digits":
            return {"type": "Digits", "individual_digits": line == "each digit"}
    kind, pattern = line.split(" ", 1)
    if kind == "punctuation":
        return {"type": "Punctuation", "behavior": pattern}
    pattern = next((full for start, full in _SHORTENED.items() if pattern.startswith(start)), pattern)
    joins_next = pattern.startswith("MergedWithNext ")
    return {
        "type": "Split",
        "pattern": {"Regex": pattern.removeprefix("MergedWithNext ")},
        "behavior": "MergedWithNext" if joins_next else "Isolated",
        "invert": False,
    }


@cache
def ranked() -> dict[bytes, int]:
    """The vocabulary as tiktoken has it: bytes -> rank, the single bytes first."""
    vocabulary, _ = _merged()
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}
    tokens = sorted(vocabulary, key=lambda text: (len(text) > 1, vocabulary[text]))
    return {bytes(letters[letter] for letter in text): rank for rank, text in enumerate(tokens)}


# ---- SentencePiece --------------------------------------------------------------------------------------------------


@cache
def trained(kind: str, *, size: int = 700, identity: bool = False, **options: Any) -> bytes:
    """A SentencePiece model: kind bpe (with byte fallback) or unigram."""
    model = io.BytesIO()
    text = [line for text in LINES.values() for line in text.split("\n") for _ in range(6)]
    text += LINES["apostrophes"].split() * 4
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        byte_fallback=kind == "bpe",
        normalization_rule_name="identity" if identity else "nmt_nfkc",
        remove_extra_whitespaces=not identity,
        character_coverage=0.98 if kind == "bpe" else 1.0,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return model.getvalue()


def byte_fallback(*, prefix: bool, **options: Any) -> dict[str, Any]:
    """The tokenizer.json of a trained BPE model; with `prefix`, text gets a blank in front, as Llama's does."""
    model = sentencepiece.SentencePieceProcessor(model_proto=trained("bpe", identity=True, **options))
    size = model.get_piece_size()
    vocabulary = {model.id_to_piece(number): number for number in range(size)}
    controls = {model.id_to_piece(n): n for n in range(size) if model.is_control(n) or model.is_unknown(n)}
    cuts = [(text[:at], text[at:]) for text in vocabulary if text not in controls for at in range(1, len(text))]
    pairs = [(a, b) for a, b in cuts if a in vocabulary and b in vocabulary and not (a + b).startswith("<0x")]
    pairs.sort(key=lambda pair: (-model.get_score(vocabulary["".join(pair)]), vocabulary[pair[0]]))
    unknown = model.id_to_piece(model.unk_id())
    bpe = {**_BPE, "unk_token": unknown, "fuse_unk": True, "byte_fallback": True}
    blank = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    steps = [{"type": "Prepend", "prepend": _SPACE}, blank] if prefix else [blank]
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    return tokenizer(
        {**bpe, "vocab": vocabulary, "merges": [list(pair) for pair in pairs]},
        controls,
        normalizer={"type": "Sequence", "normalizers": steps},
        decoder=decoder,
    )


def unigram(pieces: list[tuple[str, float]], added: Mapping[str, int], unknown: int, **parts: Any) -> dict[str, Any]:
    """A tokenizer.json of a unigram model."""
    space = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": True}
    splitter = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]}
    model = {"type": "Unigram", "unk_id": unknown, "vocab": [list(piece) for piece in pieces], "byte_fallback": False}
    return tokenizer(model, added, **{"pre_tokenizer": splitter, "decoder": space, **parts})


# ---- WordPiece ------------------------------------------------------------------------------------------------------

WORD_SPECIALS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}


def words(*, lowercase: bool) -> dict[str, Any]:
    """A tokenizer.json of BERT's kind."""
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    normalizer |= {"strip_accents": None, "lowercase": lowercase}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    model |= {"max_input_chars_per_word": 100, "vocab": {}}
    parts = {"normalizer": normalizer, "pre_tokenizer": {"type": "BertPreTokenizer"}}
    empty = Tokenizer.from_str(json.dumps(tokenizer(model, {}, **parts)))
    trainer = trainers.WordPieceTrainer(vocab_size=500, show_progress=False, special_tokens=[*WORD_SPECIALS])
    empty.train_from_iterator([*LINES.values()] * 2, trainer)
    vocabulary = json.loads(empty.to_str())["model"]["vocab"]
    processor = template("[CLS]", "[SEP]", WORD_SPECIALS)
    return tokenizer({**model, "vocab": vocabulary}, WORD_SPECIALS, post_processor=processor, **parts)
