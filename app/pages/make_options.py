"""What the table of the page Make shows, worked out off the UI thread, and where its files go at first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.pages.fit_answers import Asked

if TYPE_CHECKING:
    from core import ImportanceMatrix, ModelInfo, Option, Override, Plan


_PURPOSE = "Choose how small it shall be, or tick several. Every size is exact;"
_FOR_THIS = "the verdict is for this machine."
_FOR_ANOTHER = "the verdict is for another machine, which you asked about on the page Machine."
_WANTS = {"quality": "best quality", "balanced": "", "context": "the longest context"}


def purpose_of(asked: Asked, given: Override | None) -> str:
    """What the page is for, and what its verdicts are about."""
    wish = [f"{_WANTS[asked.want]} is wanted"] if _WANTS[asked.want] else []
    wish += [f"the cache is in {asked.kv_type}"] if asked.kv_type != "f16" else []
    said = f" As on the page Fit, {' and '.join(wish)}." if wish else ""
    return f"{_PURPOSE} {_FOR_ANOTHER if given else _FOR_THIS}{said}"


def plans_of(model: ModelInfo, importance: ImportanceMatrix | None, before: list[Plan]) -> list[Plan]:
    """A plan for every recipe: those from before, while the model and its importance are the same."""
    import core

    return before or core.make_plans(model, core.RECIPES, importance=importance)


def judged(plans: Callable[[], list[Plan]], asked: Asked, given: Override | None) -> list[Option]:
    """A row for every plan, judged for this machine or the one `given`."""
    import core

    hardware = core.override(core.detect(), given) if given else core.detect()
    return core.options_of(plans(), hardware, context=asked.context, kv_type=asked.kv_type, want=core.Want(asked.want))


def wanted_row(options: list[Option], before: Option | None) -> str:
    """The row to select: what the user had chosen, or what is recommended now."""
    if before is not None and not before.recommended:
        return before.recipe.name
    recommended = (option.recipe.name for option in options if option.recommended)
    return next(recommended, before.recipe.name if before else options[0].recipe.name)


def first_folder(source: Path, *, last: str) -> Path:
    """Where the first file goes: the last place, or beside the source, but never into Snug's own files or a cache."""
    from core import sample_folder

    if last and Path(last).is_dir():
        return Path(last)
    beside = source.parent
    is_cache = beside.name == "snapshots"
    if source == sample_folder() or is_cache or not os.access(beside, os.W_OK):
        return Path.home()
    return beside
