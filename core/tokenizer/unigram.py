"""SentencePiece unigram vocabularies (T5, XLM-R): from a model file, or from tokenizer.json."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from core.model import Metadata
from core.tokenizer.files import UNIGRAM_FILES, TokenizerFiles
from core.tokenizer.piece_file import PieceFile, read_piece_file
from core.tokenizer.pieces import prepends_by_splitter
from core.tokenizer.rules import TokenizerRules
from core.tokenizer.vocabulary import (
    ADDED_SCORE,
    Token,
    TokenType,
    fill,
    head_keys,
    is_special,
    score_key,
    text_key,
    type_count_keys,
    type_key,
)

_FAIRSEQ = "sentencepiece.bpe.model"
_SHOWN = 8  # so many tokens tell one order from another
_FAIRSEQ_HEAD = (
    Token("<s>", TokenType.CONTROL),
    Token("<pad>", TokenType.CONTROL),
    Token("</s>", TokenType.CONTROL),
    Token("<unk>", TokenType.UNKNOWN),
)


def has_unigram(files: TokenizerFiles) -> bool:
    return files.model_type == "Unigram" or files.first(UNIGRAM_FILES[:2]) is not None


def read_unigram(files: TokenizerFiles, config: Mapping[str, Any], rows: int, rules: TokenizerRules) -> list[Metadata]:
    """Keys of the vocabulary and of how text is made ready."""
    file = files.first(UNIGRAM_FILES)
    model = _json_model(files) if file is None else read_piece_file(file)
    tokens = dict(enumerate(model.pieces))
    if file is not None and file.name == _FAIRSEQ:
        tokens = _fairseq(tokens, files, rows)
    tokens.update((n, Token(text, TokenType.USER_DEFINED, ADDED_SCORE)) for text, n in files.added.items() if n < rows)
    filled = fill(tokens, rows)
    keys = [*head_keys("t5", "default"), text_key(filled), score_key(filled), type_key(filled)]
    return [*keys, *_settings(model, type_count_keys(config, rules))]


def _fairseq(tokens: dict[int, Token], files: TokenizerFiles, rows: int) -> dict[int, Token]:
    """fairseq's order: <s> <pad> </s> <unk>, then the pieces; the row of <mask> stays unused, as the converter has it.

    Another order (CamemBERT's) shows in tokenizer.json, which is then taken.
    """
    ordered = [*_FAIRSEQ_HEAD, *fill(tokens, rows)[len(_FAIRSEQ_HEAD) - 1 : -1]]
    if files.model_type == "Unigram":
        listed = _json_model(files).pieces
        if [token.text for token in listed[:_SHOWN]] != [token.text for token in ordered[:_SHOWN]]:
            return dict(enumerate(listed))
    return dict(enumerate(ordered))


def _settings(model: PieceFile, count: list[Metadata]) -> Iterator[Metadata]:
    yield Metadata("tokenizer.ggml.add_space_prefix", "bool", model.dummy_prefix)
    yield from count
    yield Metadata("tokenizer.ggml.remove_extra_whitespaces", "bool", model.extra_blanks_go)
    if model.charsmap:
        yield Metadata("tokenizer.ggml.precompiled_charsmap", "[u8]", list(model.charsmap))


def _json_model(files: TokenizerFiles) -> PieceFile:
    """What the model file would say, from tokenizer.json."""
    model = files.tokenizer["model"]
    pieces = [Token(text, TokenType.NORMAL, float(score)) for text, score in model["vocab"]]
    added = {int(token["id"]): token for token in files.added_tokens}
    for number, token in sorted(added.items()):
        kind = TokenType.CONTROL if is_special(token) else TokenType.USER_DEFINED
        pieces.extend(Token(f"[PAD{n}]", TokenType.UNUSED, -10000.0) for n in range(len(pieces), number + 1))
        score = pieces[number].score if pieces[number].type is TokenType.NORMAL else ADDED_SCORE
        pieces[number] = Token(token["content"], kind, score)
    unknown = model.get("unk_id")
    if unknown is not None:
        pieces[unknown] = Token(pieces[unknown].text, TokenType.UNKNOWN, pieces[unknown].score)
    splitter = files.tokenizer.get("pre_tokenizer") or {}
    steps = list(_steps(files.tokenizer.get("normalizer") or {}, "normalizers"))
    charsmap = next((s["precompiled_charsmap"] for s in steps if s.get("precompiled_charsmap")), "")
    return PieceFile(
        pieces,
        is_unigram=True,
        dummy_prefix=prepends_by_splitter(splitter),
        extra_blanks_go=_removes_blanks(steps, list(_steps(splitter, "pretokenizers"))),
        charsmap=b64decode(charsmap),
    )


def _steps(step: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """The step, or those of a sequence."""
    for inner in step.get(name, [step]):
        yield from _steps(inner, name) if name in inner else (inner,)


def _removes_blanks(normalizer: list[Mapping[str, Any]], splitter: list[Mapping[str, Any]]) -> bool:
    """Whether runs of blanks become one: by a rule, or because words are cut at them."""
    by_rule = any(s.get("type") == "Replace" and s.get("pattern", {}).get("Regex") == " {2,}" for s in normalizer)
    return by_rule or any(s.get("type") in ("WhitespaceSplit", "Whitespace") for s in splitter)
