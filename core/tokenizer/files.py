"""The tokenizer's files, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import SnugError


@dataclass(frozen=True)
class TokenizerFiles:
    """What a folder says about its tokenizer: tokenizer.model's path and tokenizer.json, tokenizer_config.json and
    added_tokens.json as mappings, empty where the file is missing."""

    folder: Path
    model: Path | None
    tokenizer: Mapping[str, Any]
    config: Mapping[str, Any]
    added: Mapping[str, int]
    has_config: bool

    @property
    def added_tokens(self) -> list[Mapping[str, Any]]:
        """Added tokens of tokenizer.json: {id, content, special ...} each."""
        return list(self.tokenizer.get("added_tokens") or [])

    @property
    def decoder(self) -> dict[int, Mapping[str, Any]]:
        """Added tokens of tokenizer_config.json by id."""
        return {int(number): token for number, token in (self.config.get("added_tokens_decoder") or {}).items()}


def read_files(folder: Path) -> TokenizerFiles:
    model, config = folder / "tokenizer.model", folder / "tokenizer_config.json"
    return TokenizerFiles(
        folder,
        model=model if model.is_file() else None,
        tokenizer=read_json(folder / "tokenizer.json"),
        config=read_json(config),
        added=read_json(folder / "added_tokens.json"),
        has_config=config.is_file(),
    )


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
