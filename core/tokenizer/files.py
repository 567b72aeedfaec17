"""The tokenizer's files, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from core.errors import SnugError

SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
PIECES_FILES = ("tokenizer.model", "tokenizer.model.v3")
UNIGRAM_FILES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model")


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder says about its tokenizer: tokenizer.json, tokenizer_config.json and added_tokens.json as mappings,
    empty where the file is missing. A tokenizer.json that is missing may have been made from older files."""

    folder: Path
    tokenizer: Mapping[str, Any]
    config: Mapping[str, Any]
    added: Mapping[str, int]
    has_config: bool

    def first(self, names: tuple[str, ...]) -> Path | None:
        """The first of these files that is there."""
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    @cached_property
    def added_tokens(self) -> list[Mapping[str, Any]]:
        """Added tokens of tokenizer.json: {id, content, special ...} each."""
        return list(self.tokenizer.get("added_tokens") or [])

    @cached_property
    def decoder(self) -> dict[int, Mapping[str, Any]]:
        """Added tokens of tokenizer_config.json by id."""
        return {int(number): token for number, token in (self.config.get("added_tokens_decoder") or {}).items()}

    @cached_property
    def added_ids(self) -> dict[str, int]:
        """Added token -> id, from all files."""
        ids = {token["content"]: number for number, token in self.decoder.items()}
        for token in self.added_tokens:
            ids.setdefault(token["content"], token["id"])
        return ids

    @cached_property
    def special_texts(self) -> dict[str, str]:
        """Kind -> text of the special tokens in tokenizer_config.json, each a string or an object with "content"."""
        texts = {}
        for kind in SPECIAL_KINDS:
            entry = self.config.get(f"{kind}_token")
            text = entry.get("content") if isinstance(entry, Mapping) else entry
            if isinstance(text, str):
                texts[kind] = text
        return texts

    @property
    def model_type(self) -> str:
        """BPE, WordPiece, Unigram; "" without a tokenizer.json."""
        model = self.tokenizer.get("model")
        return str(model.get("type") or "BPE") if model else ""


def read_json(file: Path) -> dict[str, Any]:
    """The object in `file`, {} when there is no such file. Raises SnugError when it is no JSON object."""
    if not file.is_file():
        return {}
    try:
        value = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise SnugError(f"{file} is not readable JSON: {error}.", f"Download {file.name} again.") from error
    if not isinstance(value, dict):
        raise SnugError(f"{file} holds no JSON object.", f"Download {file.name} again.")
    return value


def read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SnugError(f"{file} is not UTF-8 text.", f"Download {file.name} again.") from error
    except OSError as error:
        raise _unreadable(file, error) from error


def read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> SnugError:
    return SnugError(f"{file} cannot be read: {error.strerror or error}.", "Check its permissions.")
