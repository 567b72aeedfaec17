"""A recipe card as it was found, in a GGUF or in a JSON file of its own: the same for both."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.cards.card_file import MARK, Values, read_values
from core.cards.card_source import CardSource, SourceFile
from core.cards.recipe_card import BEST, CARD_VERSION, source_in
from core.errors import SnugError
from core.gguf import MAGIC
from core.gguf_split import SplitGguf, read_split
from core.paths import expanded

_MOST_TEXT = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class CardTensor:
    """A tensor as the card has it; `sha256` of its bytes is "" where only the file itself could tell."""

    name: str
    format: str
    shape: tuple[int, ...]
    sha256: str = ""


@dataclass(frozen=True)
class RecipeCard:
    """`gguf` is the file itself where the card was read from it, in all its parts; `headers` are the SHA-256 of the
    headers of all parts, where the card has them.
    """

    path: Path
    name: str
    version: str
    kernels: str
    recipe: str
    pure: bool
    effort: str
    split_max_size: str
    source: CardSource
    imatrix: str
    imatrix_sha256: str
    tensors: tuple[CardTensor, ...]
    headers: tuple[str, ...] = ()
    gguf: SplitGguf | None = None


def read_card(file: Path | str) -> RecipeCard:
    """The card in a GGUF, or in the JSON file beside one. Raises SnugError when there is none that can be read."""
    path = expanded(file)
    try:
        with path.open("rb") as opened:
            is_gguf = opened.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise SnugError(f"{path} cannot be read: {error.strerror or error}.", "Check the path.") from error
    try:
        card, version = _of_gguf(path) if is_gguf else _of_json(path, read_values(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SnugError(f"The recipe card in {path.name} is damaged ({error!r}).", "Get the file again.") from error
    if version > CARD_VERSION:
        raise SnugError(f"The recipe card in {path.name} is of a newer Snug ({card.version}).", "Update Snug.")
    return card


def _of_gguf(path: Path) -> tuple[RecipeCard, int]:
    found = read_split(path)
    keys = {item.key: item.value for item in found.metadata}
    if "snug.card.version" not in keys:
        raise SnugError(f"{path.name} carries no recipe card.", "Only Snug writes them, unless it is told --no-card.")
    card = RecipeCard(
        path=path,
        name=path.name,
        version=_text(keys["snug.version"]),
        kernels=_text(keys["snug.kernels"]),
        recipe=_text(keys["snug.recipe.name"]),
        pure=bool(keys["snug.recipe.pure"]),
        effort=BEST if keys["snug.recipe.best_effort"] else "exact",
        split_max_size="",
        source=_checked(source_in(found.metadata)),
        imatrix=_text(keys.get("quantize.imatrix.file", "")),
        imatrix_sha256=_text(keys.get("snug.imatrix.sha256", "")),
        tensors=tuple(CardTensor(_text(t.name), t.dtype, t.shape) for t in found.tensors),
        gguf=found,
    )
    return card, int(keys["snug.card.version"])


def _of_json(path: Path, values: Values) -> tuple[RecipeCard, int]:
    recipe, imatrix = values["recipe"], values["imatrix"] or {}
    card = RecipeCard(
        path=path,
        name=_file_name(values["file"]["name"]),
        version=_text(values["snug"]["version"]),
        kernels=_text(values["snug"]["kernels"]),
        recipe=_text(recipe["name"]),
        pure=bool(recipe["pure"]),
        effort=_text(recipe["effort"]),
        split_max_size=_text(recipe["split_max_size"]),
        source=_source(values["source"]),
        imatrix=_text(imatrix.get("file", "")),
        imatrix_sha256=_text(imatrix.get("sha256", "")),
        tensors=tuple(_tensor(tensor) for tensor in values["tensors"]),
        headers=tuple(_text(part["header_sha256"]) for part in values["file"]["parts"]),
    )
    return card, int(values[MARK])


def _source(values: dict[str, Any]) -> CardSource:
    files = tuple(SourceFile(_text(f["name"]), int(f["bytes"]), _text(f["sha256"])) for f in values["files"])
    return CardSource(_text(values["repo"]), _text(values["commit"]), files, values["sha256_of"] == "whole files")


def _checked(source: CardSource) -> CardSource:
    for text in (source.repo, source.commit, *(file.name for file in source.files)):
        _text(text)
    return source


def _tensor(values: dict[str, Any]) -> CardTensor:
    shape = tuple(int(size) for size in values["shape"])
    return CardTensor(_text(values["name"]), _text(values["format"]), shape, _text(values["sha256"]))


def _text(value: Any) -> str:
    """A stranger's text, to be shown as it is. ValueError for what a terminal would obey."""
    if not isinstance(value, str) or len(value) > _MOST_TEXT or _CONTROL.search(value):
        raise ValueError("a text that is none")
    return value


def _file_name(value: Any) -> str:
    """A name without a folder. ValueError for any other."""
    name = _text(value)
    if not name or name in (".", "..") or Path(name).name != name:
        raise ValueError("a file name that is none")
    return name
