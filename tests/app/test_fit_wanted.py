"""Which models the page Fit judges, and in which order."""

from __future__ import annotations

from pathlib import Path

from app.fit_wanted import wanted_models
from app.pages.fit_answers import FOUND, HERE, KNOWN
from core import LibraryItem
from core.library import Origin, Summary


def item(name: str, kind: str = "safetensors", **said: str) -> LibraryItem:
    path = Path("/models") / name
    label, problem = said.get("label", ""), said.get("problem", "")
    repo = said.get("repo", "")
    return LibraryItem(name, name, Origin.HUB, path, path, (), repo=repo, problem=problem,
                       summary=Summary(kind, label=label))  # fmt: skip


def test_what_is_here_comes_first_and_each_model_once() -> None:
    items = [item("a", repo="org/a"), item("b.gguf", "GGUF", label="Q4_K_M", repo="org/b")]
    found, known = [(f"org/c@{'1' * 40}", "org/c"), ("org/a", "org/a")], {"org/a": "", "org/b": "good"}
    wanted = list(wanted_models(items, [Path("/models/a"), Path("/else/d")], found, known))
    assert [(one.key, one.where) for one in wanted] == [
        ("/models/a", HERE),
        ("/models/b.gguf", HERE),
        ("/else/d", HERE),
        (f"org/c@{'1' * 40}", FOUND),
        ("org/b", KNOWN),
    ]
    assert (wanted[1].label, wanted[4].note) == ("Q4_K_M", "good")


def test_what_cannot_be_opened_is_left_out() -> None:
    items = [item("a", problem="cut off"), item("b", "other")]
    assert list(wanted_models(items, [], [], {})) == []
