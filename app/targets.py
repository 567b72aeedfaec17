"""Which files `snug quantize` is asked to make: a name for each type, one pattern for all, or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import core


def targets_of(source: str, recipes: Sequence[str], outs: Sequence[str]) -> list[tuple[str, str]]:
    """(recipe, file) for each of `recipes`. Raises SnugError when names and types do not go together."""
    if len(recipes) == len(outs):
        return list(zip(recipes, outs, strict=True))
    if len(outs) != 1:
        raise core.SnugError(
            f"There are {len(recipes)} types and {len(outs)} files.",
            "Give one --out for each --type, a folder, or a pattern: -o '{name}-{type}.gguf'.",
        )
    return [(recipe, _named(outs[0], source, recipe)) for recipe in recipes]


def _named(out: str, source: str, recipe: str) -> str:
    if "{type}" in out:
        name = _model_name(source) if "{name}" in out else ""
        return out.replace("{name}", name).replace("{type}", recipe)
    if out.endswith("/") or Path(out).expanduser().is_dir():
        return str(Path(out) / core.default_name(_model_name(source), recipe))
    raise core.SnugError(
        f"{out} is one name for several files.", "Give a folder, or a pattern with the type: -o '{name}-{type}.gguf'."
    )


def _model_name(source: str) -> str:
    """As a file may be called."""
    return core.open_model(source).name.rsplit("/", 1)[-1]
