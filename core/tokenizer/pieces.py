"""SentencePiece vocabularies: from tokenizer.model, or from a byte-fallback BPE in tokenizer.json."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor

from core.errors import SnugError
from core.model import Metadata
from core.tokenizer.files import TokenizerFiles, read_bytes
from core.tokenizer.vocabulary import (
    Token,
    TokenType,
    added_token,
    check_rows,
    fill,
    head_keys,
    score_key,
    text_key,
    type_key,
)

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "\u2581"


def read_model_pieces(files: TokenizerFiles, rows: int) -> list[Metadata]:
    """Keys of the vocabulary in tokenizer.model, with what the JSON files add to it."""
    assert files.model is not None
    tokens = dict(enumerate(_load(files.model)))
    check_rows(tokens, rows)
    # A token beyond the embedding could never be used: fine-tunes often list one, and the converter passes over it too.
    tokens.update((n, token) for n, token in _added(files) if n < rows)
    return _keys(fill(tokens, rows))


def is_byte_fallback(tokenizer: Mapping[str, Any]) -> bool:
    """True for a tokenizer.json that was made from a SentencePiece BPE model."""
    model = tokenizer.get("model") or {}
    return model.get("type") == "BPE" and bool(model.get("byte_fallback"))


def read_json_pieces(files: TokenizerFiles, rows: int) -> list[Metadata]:
    """Keys of a byte-fallback BPE. A piece scores minus the rank of the merge that makes it.

    That is what SentencePiece's own files hold, so llama.cpp merges in the order of the original tokenizer; its
    converter writes -1000 everywhere and loses the order.
    """
    model = files.tokenizer["model"]
    ranks = _merge_ranks(model["merges"])
    last = len(model["merges"])
    tokens = {n: _piece(text, ranks.get(text, last), model.get("unk_token")) for text, n in model["vocab"].items()}
    tokens.update((t["id"], added_token(t["content"], special=bool(t.get("special")))) for t in files.added_tokens)
    tokens.update((n, token) for n, token in _added(files) if n < rows)
    keys = _keys(fill(tokens, rows))
    if not _prepends_space(files.tokenizer):
        keys.append(Metadata("tokenizer.ggml.add_space_prefix", "bool", False))
    return keys


def _load(file: Path) -> list[Token]:
    data = read_bytes(file)
    if not data:
        raise _damaged(file)
    model = SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(data)
        return [Token(model.IdToPiece(n), _type(model, n), model.GetScore(n)) for n in range(model.GetPieceSize())]
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise _damaged(file) from error


def _damaged(file: Path) -> SnugError:
    return SnugError(f"{file} is no SentencePiece model, or it is damaged.", f"Download {file.name} again.")


def _type(model: Any, number: int) -> TokenType:
    if model.IsUnknown(number):
        return TokenType.UNKNOWN
    if model.IsControl(number):
        return TokenType.CONTROL
    if model.IsUnused(number):
        return TokenType.UNUSED
    return TokenType.BYTE if model.IsByte(number) else TokenType.NORMAL


def _added(files: TokenizerFiles) -> Iterator[tuple[int, Token]]:
    """What added_tokens.json and then tokenizer_config.json put over the vocabulary."""
    for text, number in files.added.items():
        yield number, Token(text, TokenType.USER_DEFINED, -1000.0)
    for number, token in files.decoder.items():
        yield number, added_token(token["content"], special=bool(token.get("special")))


def _keys(tokens: list[Token]) -> list[Metadata]:
    return [*head_keys("llama", "default"), text_key(tokens), score_key(tokens), type_key(tokens)]


def _merge_ranks(merges: list[str] | list[list[str]]) -> dict[str, int]:
    """Rank of the first merge that makes each piece."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), rank)
    return ranks


def _piece(text: str, rank: int, unknown: str | None) -> Token:
    if text == unknown:
        return Token(text, TokenType.UNKNOWN)
    if _BYTE.fullmatch(text):
        return Token(text, TokenType.BYTE)
    return Token(text, TokenType.NORMAL, -float(rank))


def _prepends_space(tokenizer: Mapping[str, Any]) -> bool:
    """Whether text gets a blank in front, which llama.cpp does unless told not to."""
    normalizer, splitter = tokenizer.get("normalizer") or {}, tokenizer.get("pre_tokenizer") or {}
    if any(step.get("prepend") == _SPACE for step in normalizer.get("normalizers", [normalizer])):
        return True
    steps = splitter.get("pretokenizers", [splitter])
    return any(s.get("type") == "Metaspace" and s.get("prepend_scheme", "always") != "never" for s in steps)
