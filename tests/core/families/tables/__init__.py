"""Which families are proved, each by one tiny model; a file for each group of families."""

from __future__ import annotations

from tests.core.families.tables.encoders import ENCODERS
from tests.core.families.tables.gemma import GEMMA
from tests.core.families.tables.hybrid import HYBRID
from tests.core.families.tables.llama_like import LLAMA_LIKE
from tests.core.families.tables.moe import MOE
from tests.core.families.tables.phi_gpt import PHI_GPT
from tests.core.families.tables.qwen import QWEN
from tests.core.families.tables.wrapped import WRAPPED
from tests.core.families.tiny import TinyModel

FAMILIES: dict[str, TinyModel] = {
    family.name: family for family in (*LLAMA_LIKE, *QWEN, *GEMMA, *PHI_GPT, *MOE, *HYBRID, *ENCODERS, *WRAPPED)
}

PENDING: frozenset[str] = frozenset()
"""Those that Snug does not convert yet."""
