"""The columns of the page Library: one row a model; and of the inspector: one row a key, one row a tensor."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from app import words
from app.tables.row_model import Column

if TYPE_CHECKING:
    from core import InspectedKey, LibraryItem, TensorInfo


def shape_words(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{length:,}" for length in shape) or "one value"


def _formats(item: LibraryItem) -> str:
    lines = [f"{words.count(s.tensors, 'tensor')} in {s.format}: {words.size(s.nbytes)}" for s in item.summary.formats]
    return "\n".join(lines)


def _badge(item: LibraryItem) -> str:
    if not item.problem:
        return ""
    return "Incomplete" if item.problem.endswith("missing.") else "Damaged"


LIBRARY_COLUMNS: tuple[Column[LibraryItem], ...] = (
    Column(
        "Model",
        lambda item: item.name,
        220,
        sort=lambda item: item.name.casefold(),
        tooltip=lambda item: f"{item.name}\n{item.path}",
        spoken=lambda item: f"{item.name}, {item.problem}" if item.problem else item.name,
        strong=lambda item: True,
        badge=_badge,
        stretch=True,
    ),
    Column("Family", lambda item: item.summary.family, 80),
    Column("Quantization", lambda item: item.summary.label or _badge(item), 100, tooltip=_formats),
    Column(
        "Size",
        lambda item: words.size(item.size),
        80,
        sort=lambda item: item.size,
        tooltip=lambda item: words.exact(item.size),
        right=True,
    ),
    Column("Where", lambda item: str(item.origin), 132, tooltip=lambda item: str(item.root)),
    Column(
        "Last used",
        lambda item: words.moment(item.used)[:10],
        92,
        sort=lambda item: item.used,
        tooltip=lambda item: words.moment(item.used),
        right=True,
    ),
)

KEY_COLUMNS: tuple[Column[InspectedKey], ...] = (
    Column("Key", lambda key: key.key, 240, tooltip=lambda key: key.key),
    Column("Type", lambda key: key.type, 64),
    Column("Value", lambda key: key.text, 240, tooltip=lambda key: (key.whole or key.text)[:2000], stretch=True),
)

TENSOR_COLUMNS: tuple[Column[TensorInfo], ...] = (
    Column("Tensor", lambda tensor: tensor.name, 220, tooltip=lambda tensor: tensor.name, stretch=True),
    Column("Format", lambda tensor: tensor.dtype, 80),
    Column(
        "Shape",
        lambda tensor: shape_words(tensor.shape),
        140,
        sort=lambda tensor: prod(tensor.shape),
        right=True,
    ),
    Column(
        "Size",
        lambda tensor: words.size(tensor.nbytes),
        80,
        sort=lambda tensor: tensor.nbytes,
        tooltip=lambda tensor: f"{words.exact(tensor.nbytes)} from byte {tensor.offset:,} of {tensor.file.name}",
        right=True,
    ),
)
