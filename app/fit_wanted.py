"""Which models are judged for the page Fit and for `snug fit` without a model, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from app import words
from app.pages.fit_answers import FOUND, KNOWN, Wanted

if TYPE_CHECKING:
    from core import LibraryItem

_KINDS = ("GGUF", "safetensors")


def wanted_models(
    items: Iterable[LibraryItem], recent: Iterable[Path], found: Iterable[tuple[str, str]], known: Mapping[str, str]
) -> Iterator[Wanted]:
    """Those of the library first, then `recent` ones, `found` (what to ask for, ORG/NAME), and `known` with a note.

    What is here is not listed again as one of the Hub.
    """
    here = [item for item in items if item.summary.kind in _KINDS and not item.problem]
    paths = {str(item.path) for item in here}
    names = {item.repo for item in here if item.summary.kind == "safetensors"}
    for item in here:
        yield Wanted(str(item.path), item.name, label=item.summary.label if item.summary.kind == "GGUF" else "")
    for path in recent:
        if str(path) not in paths:
            yield Wanted(str(path), path.name, note=words.path(path))
    for source, name in found:
        if name not in names:
            names.add(name)
            yield Wanted(source, name, FOUND)
    for name, note in known.items():
        if name not in names:
            yield Wanted(name, name, KNOWN, note=note)
