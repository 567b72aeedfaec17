"""ModelInfo + Recipe -> Plan: every output tensor with its format and its exact bytes, before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from core.cards.recipe_card import recipe_keys, source_keys, without_card, without_folder
from core.gguf import encode_header, encode_items, header_length, pad
from core.imatrix import ImportanceMatrix
from core.model import FLOATS as SOURCE_FLOATS
from core.model import Metadata, ModelInfo, OutputTensor
from core.recipes import FLOATS, NONE, Overrides, Recipe, choose_formats, find_recipe
from kernels import FORMATS

if TYPE_CHECKING:
    from core.memory import Shape as MemoryShape


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the file: `format` is a key of kernels.FORMATS, `offset` counts from the data section's start."""

    tensor: OutputTensor
    format: str
    offset: int
    nbytes: int

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def bits_per_weight(self) -> float:
        return FORMATS[self.format].bits_per_weight


@dataclass(frozen=True)
class Plan:
    """A whole file, known to the byte. The header, of `header_bytes`, is what comes before the data section, padding
    included: `metadata` and where the tensors are.
    """

    model: ModelInfo
    recipe: Recipe
    tensors: tuple[PlannedTensor, ...]
    header_bytes: int
    notes: tuple[str, ...] = ()
    metadata: tuple[Metadata, ...] = ()
    importance: ImportanceMatrix | None = None

    @cached_property
    def header(self) -> bytes:
        return header_of(self.metadata, self.tensors)

    @cached_property
    def tensor_bytes(self) -> int:
        """Sum of the tensors, without padding."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @cached_property
    def file_bytes(self) -> int:
        """Length of the finished file."""
        if not self.tensors:
            return self.header_bytes
        last = self.tensors[-1]
        return self.header_bytes + pad(last.offset + last.nbytes)

    @cached_property
    def shape(self) -> MemoryShape:
        """What of it decides memory, found once."""
        from core.memory import shape_of

        return shape_of(self)

    @cached_property
    def requantized(self) -> tuple[str, ...]:
        """The tensors whose source has lost precision before and that lose more here."""
        return tuple(t.name for t in self.tensors if t.tensor.dtype not in (t.format, *SOURCE_FLOATS))

    @property
    def bits_per_weight(self) -> float:
        """Average over all weights."""
        return self.tensor_bytes * 8 / max(1, self.model.parameters)


def make_plan(
    model: ModelInfo,
    recipe: Recipe,
    *,
    pure: bool = False,
    importance: ImportanceMatrix | None = None,
    overrides: Overrides = NONE,
    card: bool = True,
) -> Plan:
    """The plan of `recipe` for `model`; `pure` gives every tensor that may be quantized the base format, some rules
    ask whether there is an `importance` matrix, and `overrides` come before the recipe. With a `card` the file says
    how it was made (core/cards/recipe_card.py).

    Raises SnugError when a tensor cannot be written in the format that was asked for. Whether the plan can do with the
    importance that there is, check_importance says.
    """
    formats = choose_formats(model, recipe, pure=pure, has_importance=importance is not None, overrides=overrides)
    own = recipe_keys(recipe, pure=pure, importance=importance, tensors=len(model.tensors)) if card else ()
    return _plan(model, recipe, formats, keys=_keys_of(model, card=card), own=own, importance=importance)


def make_plans(
    model: ModelInfo, recipes: Iterable[Recipe], *, importance: ImportanceMatrix | None = None
) -> list[Plan]:
    """The plans of several recipes, each as `make_plan` makes it; a vocabulary is measured once."""
    keys, count = _keys_of(model, card=True), len(model.tensors)
    made = []
    for recipe in recipes:
        formats = choose_formats(model, recipe, has_importance=importance is not None)
        own = recipe_keys(recipe, pure=False, importance=importance, tensors=count)
        made.append(_plan(model, recipe, formats, keys=keys, own=own, importance=importance))
    return made


class _Keys(NamedTuple):
    """The keys of a model that its file keeps, what its card says of it, and the bytes of both in a header."""

    kept: tuple[Metadata, ...]
    card: tuple[Metadata, ...]
    nbytes: int


def _keys_of(model: ModelInfo, *, card: bool) -> _Keys:
    kept = without_card(model.metadata)
    own = source_keys(model) if card else ()
    return _Keys(kept, own, len(encode_items((*kept, *own))))


def _plan(
    model: ModelInfo,
    recipe: Recipe,
    formats: Mapping[str, str],
    *,
    keys: _Keys,
    own: tuple[Metadata, ...],
    importance: ImportanceMatrix | None,
) -> Plan:
    """`own`: what the card says of the recipe; () without a card."""
    sizes = ((tensor, formats[tensor.name]) for tensor in model.tensors)
    tensors = place(PlannedTensor(t, name, 0, FORMATS[name].row_bytes(t.columns) * t.rows) for t, name in sizes)
    decided = (
        Metadata("general.file_type", "u32", _file_type(model, recipe)),
        Metadata("general.quantization_version", "u32", 2),
        *(_measured(importance, with_path=not own) if importance else ()),
    )
    shapes = ((tensor.name, tensor.shape) for tensor in model.tensors)
    header_bytes = header_length(keys.nbytes + len(encode_items((*decided, *own))), shapes)
    said = (*keys.kept, *decided, *keys.card, *own)
    return Plan(model, recipe, tensors, header_bytes, _notes(recipe, tensors), said, importance)


def _measured(importance: ImportanceMatrix, *, with_path: bool) -> tuple[Metadata, ...]:
    """What llama-quantize says of an importance matrix; beside a card without folders, which are somebody's own."""
    if with_path:
        return importance.metadata
    datasets = tuple(map(without_folder, importance.datasets))
    return replace(importance, file=Path(importance.file).name, datasets=datasets).metadata


def place(tensors: Iterable[PlannedTensor]) -> tuple[PlannedTensor, ...]:
    """`tensors` one after the other, each on an aligned place of one data section."""
    placed, offset = [], 0
    for tensor in tensors:
        placed.append(replace(tensor, offset=offset))
        offset += pad(tensor.nbytes)
    return tuple(placed)


def header_of(metadata: Iterable[Metadata], tensors: Iterable[PlannedTensor]) -> bytes:
    """The header of a file that holds just these tensors."""
    return encode_header(metadata, [(t.name, t.tensor.shape, t.format, t.offset) for t in tensors])


def _notes(recipe: Recipe, tensors: Sequence[PlannedTensor]) -> tuple[str, ...]:
    """What a person should know before the start."""
    block = FORMATS[recipe.format].block_size
    odd = [t for t in tensors if len(t.tensor.shape) > 1 and t.tensor.columns % block and t.format != "F32"]
    if not odd:
        return ()
    taken = ", ".join(sorted({t.format for t in odd}))
    return (f"{len(odd)} tensors have rows that are no multiple of {block}: they take {taken}, not {recipe.format}.",)


def _file_type(model: ModelInfo, recipe: Recipe) -> int:
    """The recipe's number; a checkpoint in MXFP4 that is only converted keeps its experts so, and its number."""
    is_mxfp4 = not model.is_gguf and any(tensor.dtype == "MXFP4" for tensor in model.tensors)
    return find_recipe("MXFP4_MOE").file_type if is_mxfp4 and recipe.format in FLOATS else recipe.file_type
