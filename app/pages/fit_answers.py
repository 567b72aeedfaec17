"""What the page Fit works out off the UI thread: models from their headers, a row for each, and one answer in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app import words
from app.tables.fit_grid import Cell

if TYPE_CHECKING:
    from core import Answer, Calibration, Fit, Hardware, ModelInfo, Part, Plan, Rate, Speed

# What runs whole comes first, then what splits.
_GROUP = {"fits": 0, "tight": 0, "splits": 1, "no": 2}


@dataclass(frozen=True)
class Asked:
    """What a person wants of every model. `want` is a value of core.Want."""

    want: str = "balanced"
    context: int = 4096
    kv_type: str = "f16"


@dataclass(frozen=True)
class Source:
    """A model to judge, with its plan at every level; `problem` says why it cannot be judged."""

    path: Path
    model: ModelInfo | None = None
    plans: tuple[Plan, ...] = field(default=(), repr=False)
    problem: str = ""


@dataclass(frozen=True)
class Judged:
    """One row: the level for this machine and how it does. `rank` counts from 1."""

    path: Path
    model: ModelInfo
    level: str
    why: str
    fit: Fit
    speed: Speed | None
    largest: int
    quality: float
    sum_line: str
    rank: int = 0

    @property
    def speed_short(self) -> str:
        return _few(self.speed.generation) if self.speed else ""

    @property
    def speed_likely(self) -> float:
        return self.speed.generation.likely if self.speed else 0.0

    @property
    def speed_in_words(self) -> str:
        return pace(self.speed.generation) if self.speed else "It does not run."


@dataclass(frozen=True)
class Full:
    """Everything about the chosen model; `grids` by cache."""

    path: Path
    asked: Asked
    answer: Answer
    grids: dict[str, tuple[tuple[Cell, ...], ...]]


def open_sources(paths: Sequence[Path]) -> list[Source]:
    """Reads the headers at `paths`; one that cannot be read says so and keeps no other up."""
    return [_open(path) for path in paths]


def _open(path: Path) -> Source:
    import core

    try:
        return source_of_model(core.open_model(path))
    except (core.SnugError, OSError) as error:
        return Source(path, problem=words.problem(error).message)


def source_of_model(model: ModelInfo) -> Source:
    """The model with a plan for every recipe."""
    import core

    plans = tuple(core.make_plans(model, core.RECIPES))
    return Source(model.path, model, plans)


def judge(sources: Sequence[Source], asked: Asked, hardware: Hardware, calibration: Calibration | None) -> list[Judged]:
    """A row for each model, the one that does most for this machine first: what runs whole, then what splits."""
    rows = [_judged(source, asked, hardware, calibration) for source in sources if source.plans]
    rows.sort(key=lambda row: (_GROUP[row.fit.verdict], -row.quality))
    return [replace(row, rank=number + 1) for number, row in enumerate(rows)]


def _judged(source: Source, asked: Asked, hardware: Hardware, calibration: Calibration | None) -> Judged:
    import core

    assert source.model is not None
    answer = _answer(source, asked, hardware, calibration)
    recipe = answer.plan.recipe
    return Judged(
        source.path,
        source.model,
        level=recipe.name,
        why=recipe.summary,
        fit=answer.fit,
        speed=answer.speed,
        largest=answer.largest_context,
        quality=core.quality_of(source.model, recipe.name),
        sum_line=sum_line(answer.plan, answer.fit),
    )


def answer_in_full(source: Source, asked: Asked, hardware: Hardware, calibration: Calibration | None) -> Full:
    """The recommendation with its reasons, and the grids."""
    return Full(source.path, asked, _answer(source, asked, hardware, calibration), _grids(source, hardware))


def _answer(source: Source, asked: Asked, hardware: Hardware, calibration: Calibration | None) -> Answer:
    import core

    return core.answer_for(
        source.plans,
        hardware,
        context=asked.context,
        kv_type=asked.kv_type,
        want=core.Want(asked.want),
        calibration=calibration,
    )


def _grids(source: Source, hardware: Hardware) -> dict[str, tuple[tuple[Cell, ...], ...]]:
    """For each cache, every level by every context that the model was trained for."""
    import core

    assert source.model is not None
    trained = int(source.model.key("context_length", 0) or 0)
    contexts = [c for c in core.CONTEXTS if not trained or c <= trained] or [core.CONTEXTS[0]]
    grid = core.verdict_grid(source.plans, hardware, contexts=contexts)

    def row(plan: Plan, kv_type: str) -> tuple[Cell, ...]:
        return tuple(_cell(plan, grid.cells[plan.recipe.name, count, kv_type], count, kv_type) for count in contexts)

    return {kv_type: tuple(row(plan, kv_type) for plan in source.plans) for kv_type in grid.kv_types}


def _cell(plan: Plan, fit: Fit, context: int, kv_type: str) -> Cell:
    return Cell(
        plan.recipe.name,
        context,
        kv_type,
        str(fit.verdict),
        fit.total,
        fit.budget,
        fit.place,
        fit.reason,
        sum_line(plan, fit),
    )


def sum_line(plan: Plan, fit: Fit) -> str:
    """The parts and their sum, with what of it counts against the budget."""
    import core

    return core.arithmetic_of(plan, fit).words + _on_gpu(fit)


def _on_gpu(fit: Fit) -> str:
    """What of the sum is on the GPU, where only that is held against the budget."""
    return f", of it {words.size(fit.on_gpu.total)} on the GPU" if fit.place == "GPU" else ""


def sum_lines(answer: Answer) -> list[str]:
    """How the memory is worked out: a line for each part, and their sum."""
    lines = [_part_line(part) for part in answer.arithmetic.parts if part.nbytes]
    return [*lines, answer.arithmetic.words + _on_gpu(answer.fit)]


def _part_line(part: Part) -> str:
    name = "KV cache" if part.name == "kv" else part.name.capitalize()
    split = f" ({words.size(part.gpu)} on the GPU, {words.size(part.host)} in RAM)" if part.gpu and part.host else ""
    return f"{name} {words.size(part.nbytes)}{split}: {part.words}"


def band_line(answer: Answer) -> str:
    """The band, and on which side of it this is."""
    fit, band = answer.fit, words.size(answer.arithmetic.band)
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
