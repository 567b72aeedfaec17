"""A recipe card as it was found, in a GGUF or in a JSON file of its own: the same for both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.card_file import MARK, Values, read_values
from core.card_source import CardSource, SourceFile
from core.errors import SnugError
from core.gguf import MAGIC
from core.gguf_split import SplitGguf, read_split
from core.paths import expanded
from core.recipe_card import BEST, CARD_VERSION, source_in


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
        version=str(keys["snug.version"]),
        kernels=str(keys["snug.kernels"]),
        recipe=str(keys["snug.recipe.name"]),
        pure=bool(keys["snug.recipe.pure"]),
        effort=BEST if keys["snug.recipe.best_effort"] else "exact",
        split_max_size="",
        source=source_in(found.metadata),
        imatrix=str(keys.get("quantize.imatrix.file", "")),
        imatrix_sha256=str(keys.get("snug.imatrix.sha256", "")),
        tensors=tuple(CardTensor(t.name, t.dtype, t.shape) for t in found.tensors),
        gguf=found,
    )
    return card, int(keys["snug.card.version"])


def _of_json(path: Path, values: Values) -> tuple[RecipeCard, int]:
    recipe, imatrix = values["recipe"], values["imatrix"] or {}
    card = RecipeCard(
        path=path,
        name=Path(str(values["file"]["name"])).name,
        version=str(values["snug"]["version"]),
        kernels=str(values["snug"]["kernels"]),
        recipe=str(recipe["name"]),
        pure=bool(recipe["pure"]),
        effort=str(recipe["effort"]),
        split_max_size=str(recipe["split_max_size"]),
        source=_source(values["source"]),
        imatrix=str(imatrix.get("file", "")),
        imatrix_sha256=str(imatrix.get("sha256", "")),
        tensors=tuple(_tensor(tensor) for tensor in values["tensors"]),
        headers=tuple(str(part["header_sha256"]) for part in values["file"]["parts"]),
    )
    return card, int(values[MARK])


def _source(values: dict[str, Any]) -> CardSource:
    files = tuple(SourceFile(str(f["name"]), int(f["bytes"]), str(f["sha256"])) for f in values["files"])
    return CardSource(str(values["repo"]), str(values["commit"]), files, values["sha256_of"] == "whole files")


def _tensor(values: dict[str, Any]) -> CardTensor:
    shape = tuple(int(size) for size in values["shape"])
    return CardTensor(str(values["name"]), str(values["format"]), shape, str(values["sha256"]))
