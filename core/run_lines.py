"""The lines that run a file as it was judged: llama.cpp, Ollama, LM Studio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.fit import Fit
from core.placement import Placement

if TYPE_CHECKING:
    from core.plan import Plan


@dataclass(frozen=True, slots=True)
class RunLine:
    """`text` is to be copied as it is; `note` says where it goes."""

    program: str
    text: str
    note: str


def run_lines(plan: Plan, fit: Fit, placement: Placement, *, path: str = "") -> tuple[RunLine, ...]:
    """For llama.cpp, Ollama and LM Studio, in this order."""
    return ()
