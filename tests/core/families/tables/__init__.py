"""Which families are proved, each by one tiny model; a file for each kind of family."""

from __future__ import annotations

from tests.core.families.tables.llama_like import LLAMA_LIKE
from tests.core.families.tiny import TinyModel

FAMILIES: dict[str, TinyModel] = {family.name: family for family in (*LLAMA_LIKE,)}

PENDING: frozenset[str] = frozenset()
"""Those that Snug does not convert yet."""
