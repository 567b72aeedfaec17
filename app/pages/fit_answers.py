"""What the page Fit asks and is answered: models to judge, a row for each, and everything about one of them.

Nothing here computes: that is app/fit_desk.py, in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from app import words

if TYPE_CHECKING:
    from core import Advice, Arithmetic, Counterfactual, Fit, Part, Placement, Rate, RunLine, Speed

# Where a model is.
HERE, KNOWN, FOUND = "This computer", "Well-known", "Found"
# What runs whole comes first, then what splits.
_GROUP = {"fits": 0, "tight": 0, "splits": 1, "no": 4}
# Tokens a second below which people wait for each word; what is slower comes after all that is not.
READING_PACE = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants of every model. `want` is a value of core.Want."""

    want: str = "balanced"
    context: int = 4096
    kv_type: str = "f16"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to judge. `key` is its path, or ORG/NAME[@commit] of one on the Hub; `label` the level of a GGUF file."""

    key: str
    name: str
    where: str = HERE
    label: str = ""
    note: str = ""

    @property
    def is_here(self) -> bool:
        return self.where == HERE


@dataclass(frozen=True, slots=True)
class Judged:
    """One row: the level for this machine and how it does. `rank` counts from 1; `is_made`: the file is that level."""

    wanted: Wanted
    parameters: int
    level: str
    is_made: bool
    why: str
    fit: Fit
    speed: Speed | None
    largest: int
    quality: float
    sum_line: str
    rank: int = 0

    @property
    def key(self) -> str:
        return self.wanted.key

    @property
    def name(self) -> str:
        return self.wanted.name

    @property
    def speed_short(self) -> str:
        return _few(self.speed.generation) if self.speed else ""

    @property
    def speed_likely(self) -> float:
        return self.speed.generation.likely if self.speed else 0.0

    @property
    def speed_in_words(self) -> str:
        return pace(self.speed.generation) if self.speed else "It does not run."


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A model that cannot be judged, and why."""

    wanted: Wanted
    problem: str

    @property
    def key(self) -> str:
        return self.wanted.key


@dataclass(frozen=True, slots=True)
class Cell:
    """One verdict: `needs` of `usable` bytes, in `place`; `sum_line` is how that is worked out.

    `parts`: bytes of weights, cache, compute and overhead, which are what is needed; `band` must stay free to fit.
    """

    level: str
    context: int
    kv_type: str
    verdict: str
    needs: int
    usable: int
    place: str
    reason: str
    sum_line: str
    parts: tuple[int, int, int, int] = (0, 0, 0, 0)
    band: int = 0

    @property
    def explained(self) -> str:
        """How the verdict comes about."""
        return f"{self.in_words}. {self.sum_line}. Band: {words.size(self.band)}."

    @property
    def in_words(self) -> str:
        """For a screen reader: all that the cell says by its place and colour."""
        head = f"{self.level}, {words.tokens(self.context)}, cache {self.kv_type}"
        return f"{head}: {self.verdict.capitalize()}, needs {words.size(self.needs)} of {words.size(self.usable)}"


@dataclass(frozen=True, slots=True)
class Full:
    """Everything about one model, as core.Answer has it but for the plan. `grids` by cache: a row of cells a level."""

    wanted: Wanted
    asked: Asked
    level: str
    is_made: bool
    advice: Advice
    fit: Fit
    placement: Placement
    speed: Speed | None
    slowdown: float
    largest: int
    counterfactuals: tuple[Counterfactual, ...]
    arithmetic: Arithmetic
    run_lines: tuple[RunLine, ...]
    grids: dict[str, tuple[tuple[Cell, ...], ...]] = field(repr=False)

    @property
    def key(self) -> str:
        return self.wanted.key


def ranked(rows: Iterable[Judged]) -> list[Judged]:
    """What does most for this machine first: models that run whole, that split, that are slow, that do not run."""
    ordered = sorted(rows, key=lambda row: (_group(row), -row.quality, row.fit.total, row.name))
    return [replace(row, rank=number + 1) for number, row in enumerate(ordered)]


def _group(row: Judged) -> int:
    slow = row.speed is not None and row.speed.generation.likely < READING_PACE
    return _GROUP[row.fit.verdict] + (2 if slow else 0)


def on_gpu(fit: Fit) -> str:
    """What of the sum is on the GPU, where only that is held against the budget."""
    return f", of it {words.size(fit.on_gpu.total)} on the GPU" if fit.place == "GPU" else ""


def sum_lines(full: Full) -> list[str]:
    """How the memory is worked out: a line for each part, and their sum."""
    lines = [_part_line(part) for part in full.arithmetic.parts if part.nbytes]
    return [*lines, full.arithmetic.words + on_gpu(full.fit)]


def _part_line(part: Part) -> str:
    name = "KV cache" if part.name == "kv" else part.name.capitalize()
    split = f" ({words.size(part.gpu)} on the GPU, {words.size(part.host)} in RAM)" if part.gpu and part.host else ""
    return f"{name} {words.size(part.nbytes)}{split}: {part.words}"


def band_line(full: Full) -> str:
    """The band, and on which side of it this is."""
    fit, band = full.fit, words.size(full.arithmetic.band)
    if fit.free_after < 0:
        return f"{words.size(-fit.free_after)} are missing; the band of the estimate is {band}."
    left = f"{words.size(fit.free_after)} would be left"
    return f"{left}. Band: {band}; with less than that left, an estimate cannot tell, and Snug says Tight."


def pace(rate: Rate) -> str:
    """A range with what is most likely, and how sure it is: 10 to 16 tokens/s, likely 12 (medium confidence)."""
    return f"{_few(rate)} tokens/s, likely {_figure(rate.likely)} ({rate.confidence} confidence)"


def _few(rate: Rate) -> str:
    return f"{_figure(rate.low)} to {_figure(rate.high)}"


def _figure(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else f"{float(f'{number:.2g}'):,.0f}"
