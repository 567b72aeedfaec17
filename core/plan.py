"""ModelInfo + Recipe -> Plan: every output tensor with its format and its exact bytes, before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from core.gguf import encode_header, pad
from core.model import FLOATS as SOURCE_FLOATS
from core.model import Metadata, ModelInfo, OutputTensor
from core.recipes import FLOATS, NONE, Overrides, Recipe, choose_formats, find_recipe
from kernels import FORMATS


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
    """A whole file, known to the byte. `header` is what comes before the data section, padding included."""

    model: ModelInfo
    recipe: Recipe
    tensors: tuple[PlannedTensor, ...]
    header: bytes
    notes: tuple[str, ...] = ()

    @cached_property
    def tensor_bytes(self) -> int:
        """Sum of the tensors, without padding."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @cached_property
    def file_bytes(self) -> int:
        """Length of the finished file."""
        if not self.tensors:
            return len(self.header)
        last = self.tensors[-1]
        return len(self.header) + pad(last.offset + last.nbytes)

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
    has_importance: bool = False,
    overrides: Overrides = NONE,
) -> Plan:
    """The plan of `recipe` for `model`; `pure` gives every tensor that may be quantized the base format, some rules
    ask `has_importance`: whether there is an importance matrix, and `overrides` come before the recipe.

    Raises SnugError when a tensor cannot be written in the format that was asked for.
    """
    formats = choose_formats(model, recipe, pure=pure, has_importance=has_importance, overrides=overrides)
    tensors, offset = [], 0
    for tensor in model.tensors:
        name = formats[tensor.name]
        nbytes = FORMATS[name].row_bytes(tensor.columns) * tensor.rows
        tensors.append(PlannedTensor(tensor, name, offset, nbytes))
        offset += pad(nbytes)
    header = encode_header(_metadata(model, recipe), [(t.name, t.tensor.shape, t.format, t.offset) for t in tensors])
    return Plan(model, recipe, tuple(tensors), header, _notes(recipe, tensors))


def _notes(recipe: Recipe, tensors: list[PlannedTensor]) -> tuple[str, ...]:
    """What a person should know before the start."""
    block = FORMATS[recipe.format].block_size
    odd = [t for t in tensors if len(t.tensor.shape) > 1 and t.tensor.columns % block and t.format != "F32"]
    if not odd:
        return ()
    taken = ", ".join(sorted({t.format for t in odd}))
    return (f"{len(odd)} tensors have rows that are no multiple of {block}: they take {taken}, not {recipe.format}.",)


def _metadata(model: ModelInfo, recipe: Recipe) -> list[Metadata]:
    return [
        *model.metadata,
        Metadata("general.file_type", "u32", _file_type(model, recipe)),
        Metadata("general.quantization_version", "u32", 2),
    ]


def _file_type(model: ModelInfo, recipe: Recipe) -> int:
    """The recipe's number; a checkpoint in MXFP4 that is only converted keeps its experts so, and its number."""
    is_mxfp4 = not model.is_gguf and any(tensor.dtype == "MXFP4" for tensor in model.tensors)
    return find_recipe("MXFP4_MOE").file_type if is_mxfp4 and recipe.format in FLOATS else recipe.file_type
