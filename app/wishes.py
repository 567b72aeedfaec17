"""What the user wants of a model, as chosen on the page Fit: every page that judges heeds it."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QSettings

from app import words
from app.store import stored_number

# The page Fit keeps its choices under these names.
WANT, CONTEXT, CACHE = "fit/want", "fit/context", "fit/cache"


def wished(store: QSettings, context: int) -> dict[str, Any]:
    """The fields of core.Wish; `context` where none has been chosen."""
    return {
        "context": stored_number(store, CONTEXT, context),
        "kv_type": str(store.value(CACHE, "f16")),
        "want": str(store.value(WANT, "balanced")),
    }


def about_verdicts(asked: dict[str, Any]) -> str:
    """What verdicts are about, in words: "this machine, 4,096 tokens of context"."""
    machine = "the machine that you asked about" if asked["machine"] else "this machine"
    wish = asked["wish"]
    cache = "" if wish["kv_type"] == "f16" else f", its cache in {wish['kv_type']}"
    return f"{machine}, {words.tokens(wish['context'])} of context{cache}"
