"""Small tokenizers of every kind, as files of a model folder: 320 tokens each, those from 5 to 295 plain text."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece

SIZE = 320

# The ids that a config of each kind names.
BYTES = {"vocab_size": SIZE, "bos_token_id": 312, "eos_token_id": 313, "pad_token_id": 314}
PIECES = {"vocab_size": SIZE, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GEMMA_PIECES = {"vocab_size": SIZE, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
WORDS = {"vocab_size": SIZE, "pad_token_id": 0}
ROBERTA = {"vocab_size": SIZE, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
T5_PIECES = {"vocab_size": SIZE, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}

_SPECIALS = (
    "<|begin|>",
    "<|endoftext|>",
    "<|pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|user|>",
    "[gMASK]",
    "<|observation|>",
)
_QWEN_2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEXT = """The river runs past the old mill and under the stone bridge. In spring the water is high and brown.
A model reads a text and says what may come next: one word, then another, until somebody stops it.
Numbers like 7, 42 and 1999 are cut into digits; names like Ada, Alan and Grace are cut into letters.
We measure twice and cut once, for a board that is cut short will never be long again.
If the sun shines on the first day of May, the harvest will be good, or so the farmers say.""".splitlines()


def write_tokenizer(folder: Path, kind: str) -> None:
    """The files of a tokenizer of this kind: a key of KINDS."""
    KINDS[kind](folder)


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def _added(texts: dict[str, int]) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": number, "content": text, **flags} for text, number in texts.items()]


def _tokenizer(model: dict[str, Any], added: dict[str, int], **parts: Any) -> dict[str, Any]:
    empty = {"truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None, "post_processor": None}
    return {"version": "1.0", "added_tokens": _added(added), **empty, "decoder": None, **parts, "model": model}


# ---- byte-level BPE -------------------------------------------------------------------------------------------------


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte, in the order of its vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + at) for at in range(len(other))]


_MERGES = [(a, b) for a in "aeiou" for b in "nrstlmcd"] + [("Ġ", letter) for letter in "abcdefghilmnoprs"]
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def _byte_level_bpe(vocabulary: dict[str, int]) -> dict[str, Any]:
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False}
    return model | {"vocab": vocabulary, "merges": [f"{a} {b}" for a, b in _MERGES]}


def _byte_level(folder: Path, splitter: dict[str, Any]) -> None:
    vocabulary = {text: number for number, text in enumerate(_byte_letters() + [a + b for a, b in _MERGES])}
    added = {text: len(vocabulary) + at for at, text in enumerate(_SPECIALS)}
    parts = {"pre_tokenizer": splitter, "post_processor": _BYTE_LEVEL, "decoder": _BYTE_LEVEL}
    _write(folder / "tokenizer.json", _tokenizer(_byte_level_bpe(vocabulary), added, **parts))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096}
    specials = {"bos_token": _SPECIALS[0], "eos_token": _SPECIALS[1], "pad_token": _SPECIALS[2]}
    _write(folder / "tokenizer_config.json", config | specials)


def _roberta_bytes(folder: Path) -> None:
    """GPT-2's bytes after four special tokens."""
    heads = ["<s>", "<pad>", "</s>", "<unk>"]
    texts = heads + _byte_letters() + [a + b for a, b in _MERGES]
    vocabulary = {text: number for number, text in enumerate(texts)}
    vocabulary |= {f"madeupword{n}": n for n in range(len(texts), SIZE - 1)} | {"<mask>": SIZE - 1}
    added = {text: vocabulary[text] for text in (*heads, "<mask>")}
    processor: dict[str, Any] = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
    parts: dict[str, Any] = {"pre_tokenizer": _BYTE_LEVEL, "decoder": _BYTE_LEVEL}
    parts |= {"post_processor": processor | {"trim_offsets": True, "add_prefix_space": False}}
    _write(folder / "tokenizer.json", _tokenizer(_byte_level_bpe(vocabulary), added, **parts))
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    specials |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "RobertaTokenizer", **specials})


def _gpt_2(folder: Path) -> None:
    _byte_level(folder, _BYTE_LEVEL)


def _qwen_2(folder: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": _QWEN_2}, "behavior": "Isolated", "invert": False}
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    _byte_level(folder, {"type": "Sequence", "pretokenizers": [split, letters]})


# ---- SentencePiece --------------------------------------------------------------------------------------------------


@cache
def _trained(**options: Any) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_TEXT * 4), model_writer=model, minloglevel=2, num_threads=1, **options
    )
    return model.getvalue()


def _bpe_pieces(folder: Path, **ids: int) -> None:
    trained = _trained(vocab_size=SIZE, model_type="bpe", byte_fallback=True, **ids)
    (folder / "tokenizer.model").write_bytes(trained)
    config = {"add_bos_token": True, "add_eos_token": False, "model_max_length": 4096, "legacy": False}
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"} | config | specials)


def _pieces(folder: Path) -> None:
    _bpe_pieces(folder)


def _gemma_pieces(folder: Path) -> None:
    texts = {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
    _bpe_pieces(folder, pad_id=0, eos_id=1, bos_id=2, unk_id=3, **texts)  # type: ignore[arg-type]
    specials = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    decoder = {n: {"content": text, "special": True} for n, text in enumerate(("<pad>", "<eos>", "<bos>", "<unk>"))}
    config = {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False}
    _write(folder / "tokenizer_config.json", config | specials | {"added_tokens_decoder": decoder})


def _byte_fallback(folder: Path) -> None:
    """What `_pieces` is, as the tokenizer.json that transformers makes of it; no tokenizer.model."""
    model = sentencepiece.SentencePieceProcessor(
        model_proto=_trained(vocab_size=SIZE, model_type="bpe", byte_fallback=True)
    )
    vocabulary = {model.id_to_piece(number): number for number in range(SIZE)}
    _write_byte_fallback(folder, vocabulary, {"<unk>": 0, "<s>": 1, "</s>": 2})
    config = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False}
    _write(folder / "tokenizer_config.json", config | {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})


def _gemma_json(folder: Path) -> None:
    """Gemma 4's kind: byte-fallback BPE in tokenizer.json alone."""
    texts = {"pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>"}
    trained = _trained(
        vocab_size=SIZE, model_type="bpe", byte_fallback=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3, **texts
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=trained)
    vocabulary = {model.id_to_piece(number): number for number in range(SIZE)}
    specials = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    _write_byte_fallback(folder, vocabulary, {text: vocabulary[text] for text in specials.values()})
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "GemmaTokenizer", **specials})


def _write_byte_fallback(folder: Path, vocabulary: dict[str, int], added: dict[str, int]) -> None:
    merges = [
        f"{text[:cut]} {text[cut:]}"
        for text in vocabulary
        if text not in added and not text.startswith("<0x")
        for cut in range(1, len(text))
        if text[:cut] in vocabulary and text[cut:] in vocabulary
    ]
    model: dict[str, Any] = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None}
    model |= {"end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True}
    model |= {"vocab": vocabulary, "merges": merges}
    blank = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, blank]}
    _write(folder / "tokenizer.json", _tokenizer(model, added, normalizer=normalizer))


def _unigram(folder: Path) -> None:
    """T5's."""
    trained = _trained(
        vocab_size=SIZE, model_type="unigram", hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1
    )
    (folder / "spiece.model").write_bytes(trained)
    specials = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, **specials})


def _roberta_pieces(folder: Path) -> None:
    """XLM-R's: a unigram model whose special tokens stand in fairseq's order."""
    trained = _trained(vocab_size=SIZE - 2, model_type="unigram", hard_vocab_limit=False)
    (folder / "sentencepiece.bpe.model").write_bytes(trained)
    model = sentencepiece.SentencePieceProcessor(model_proto=trained)
    heads = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [[text, 0.0] for text in heads]
    pieces += [[model.id_to_piece(number), model.get_score(number)] for number in range(3, model.get_piece_size())]
    pieces += [[f"<filler{number}>", 0.0] for number in range(len(pieces), SIZE - 1)] + [["<mask>", 0.0]]
    added = {text: number for number, (text, _) in enumerate(pieces) if text in (*heads, "<mask>")}
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    parts = {"pre_tokenizer": space, "decoder": space, "post_processor": _template("<s>", "</s>", added)}
    unigram = {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False}
    _write(folder / "tokenizer.json", _tokenizer(unigram, added, **parts))
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    specials |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer", **specials})


# ---- WordPiece ------------------------------------------------------------------------------------------------------


def _words(folder: Path) -> None:
    heads = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-"
    texts = dict.fromkeys([*heads, *letters, *("##" + letter for letter in letters)])
    texts |= dict.fromkeys(word for line in _TEXT for word in line.lower().replace(".", "").replace(",", "").split())
    vocabulary = {text: number for number, text in enumerate(texts)}
    vocabulary |= {f"[unused{number}]": number for number in range(len(vocabulary), SIZE)}
    (folder / "vocab.txt").write_text("".join(f"{text}\n" for text in vocabulary), encoding="utf-8")
    model: dict[str, Any] = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    model |= {"max_input_chars_per_word": 100, "vocab": vocabulary}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    added = {text: vocabulary[text] for text in heads}
    parts: dict[str, Any] = {"normalizer": normalizer | {"strip_accents": None, "lowercase": True}}
    parts |= {"pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": _template("[CLS]", "[SEP]", added)}
    _write(folder / "tokenizer.json", _tokenizer(model, added, **parts))
    specials = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "unk", "cls", "sep", "mask")}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **specials})


def _template(first: str, last: str, ids: dict[str, int]) -> dict[str, Any]:
    def special(text: str, type_id: int = 0) -> dict[str, Any]:
        return {"SpecialToken": {"id": text, "type_id": type_id}}

    a, b = ({"Sequence": {"id": name, "type_id": at}} for at, name in enumerate("AB"))
    single = [special(first), a, special(last)]
    tokens = {text: {"id": text, "ids": [ids[text]], "tokens": [text]} for text in (first, last)}
    pair = [*single, b, special(last, 1)]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


KINDS: dict[str, Callable[[Path], None]] = {
    "bytes": _gpt_2,
    "qwen2 bytes": _qwen_2,
    "pieces": _pieces,
    "gemma pieces": _gemma_pieces,
    "gemma json": _gemma_json,
    "byte fallback": _byte_fallback,
    "unigram": _unigram,
    "roberta bytes": _roberta_bytes,
    "roberta pieces": _roberta_pieces,
    "words": _words,
}
