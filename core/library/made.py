"""Files made with Snug, known by their own recipe cards: the keys in a GGUF, or the JSON file beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.library.item import LibraryItem, Origin, StoredFile, look_at
from core.library.reading import read_table

CARD_ENDING = ".snug.json"
NOT_MADE, UNKNOWN_SOURCE = "", "?"
_VERSION, _REPO, _MARK = "snug.card.version", "snug.source.repo", "snug_card"


def source_in(keys: Mapping[str, Any]) -> str:
    """The repository that Snug made a GGUF with these keys of; UNKNOWN_SOURCE or NOT_MADE."""
    return str(keys.get(_REPO) or UNKNOWN_SOURCE) if _VERSION in keys else NOT_MADE


def with_card(item: LibraryItem, source: str) -> LibraryItem:
    """`item`, Snug's own where its card says so and it lies in no other tool's store, with its card among its files.

    `source`: what its header says, as `source_in` gives it.
    """
    if item.origin not in (Origin.SNUG, Origin.FOLDER) or item.path.suffix.lower() != ".gguf":
        return item
    card = _card_beside(item)
    if item.origin is Origin.FOLDER and source == NOT_MADE and card is None:
        return item
    files = (*item.files, card) if card else item.files
    repo = item.repo or source.removeprefix(UNKNOWN_SOURCE)
    return replace(item, origin=Origin.SNUG, root=item.path.parent, files=files, repo=repo, removal="")


def _card_beside(item: LibraryItem) -> StoredFile | None:
    """The card of this very file: of a split one, the parts share the card of the name that was asked for."""
    title = item.name.rpartition("/")[2]
    for name in (title, f"{title}.gguf") if len(item.weights) > 1 else (item.path.name,):
        path = item.path.with_name(name + CARD_ENDING)
        card = look_at(path) if os.path.lexists(path) else None
        if card is not None and _names(path, item):
            return card
    return None


def _names(card: Path, item: LibraryItem) -> bool:
    try:
        values = read_table(card)
        parts = values["file"]["parts"]
        sizes = {str(part["name"]): int(part["bytes"]) for part in parts}
        return _MARK in values and sizes == {file.path.name: file.size for file in item.weights}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
