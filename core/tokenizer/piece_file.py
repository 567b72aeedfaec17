"""SentencePiece's model file: its pieces, and the settings that the library does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor

from core.errors import SnugError
from core.tokenizer.files import read_bytes
from core.tokenizer.vocabulary import Token, TokenType

_TRAINER, _NORMALIZER = 2, 3  # messages of the model
_MODEL_TYPE = 3  # of the trainer
_CHARSMAP, _DUMMY_PREFIX, _EXTRA_BLANKS = 2, 3, 4  # of the normalizer
_UNIGRAM = 1
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}


@dataclass(frozen=True)
class PieceFile:
    """Pieces in order, and how text is made ready: `charsmap` is SentencePiece's table of replacements."""

    pieces: list[Token]
    is_unigram: bool
    dummy_prefix: bool
    extra_blanks_go: bool
    charsmap: bytes


def read_piece_file(file: Path) -> PieceFile:
    """Raises SnugError when the file is no SentencePiece model or is damaged."""
    data = read_bytes(file)
    model = SentencePieceProcessor()
    try:
        if not data:
            raise ValueError
        model.LoadFromSerializedProto(data)
        pieces = [Token(model.IdToPiece(n), _type(model, n), model.GetScore(n)) for n in range(model.GetPieceSize())]
        fields = dict(_fields(data))
        trainer, normalizer = (dict(_fields(fields.get(number, b""))) for number in (_TRAINER, _NORMALIZER))
    except (IndexError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise SnugError(
            f"{file} is no SentencePiece model, or it is damaged.", f"Download {file.name} again."
        ) from error
    return PieceFile(
        pieces,
        is_unigram=trainer.get(_MODEL_TYPE, _UNIGRAM) == _UNIGRAM,
        dummy_prefix=bool(normalizer.get(_DUMMY_PREFIX, 1)),
        extra_blanks_go=bool(normalizer.get(_EXTRA_BLANKS, 1)),
        charsmap=normalizer.get(_CHARSMAP, b""),
    )


def _type(model: Any, number: int) -> TokenType:
    if model.IsUnknown(number):
        return TokenType.UNKNOWN
    if model.IsControl(number):
        return TokenType.CONTROL
    if model.IsUnused(number):
        return TokenType.UNUSED
    return TokenType.BYTE if model.IsByte(number) else TokenType.NORMAL


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protocol buffer: whole numbers, and bytes for messages and text."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
        elif kind == _LENGTH:
            length, at = _varint(data, at)
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            at += _FIXED[kind]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, and where the next field begins."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
