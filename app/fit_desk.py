"""The process that judges models for the window: its headers, plans and sums hold up no other, however many there are.

In: (number, "judge", "answer" or "calibrate", values). Out: (number, "row", value) any number of times, then (number,
"done", value) or (number, "problem", Problem). The newest list replaces the one before, of which no more is said. When
stdin closes, nobody asks any more, and the process ends.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import core
from app import words
from app.fit_lines import packed, unpacked
from app.pages.fit_answers import KNOWN, Asked, Cell, Full, Judged, Unjudged, Wanted, on_gpu

Say = Callable[[int, str, Any], None]
# Plans at every level are kept of so many models: those that were looked at last.
_MOST_IN_FULL = 4
_NICE = 5


@dataclass
class Source:
    """A model with its levels, or with the one that its file is. `stamp` tells whether it is still the same."""

    model: core.ModelInfo
    stamp: tuple[int, ...]
    levels: core.Levels
    stored: core.Plan | None = None

    def choose(self, asked: Asked, hardware: core.Hardware) -> core.Choice:
        """What to take; where nothing runs, the least."""
        wish: dict[str, Any] = {"context": asked.context, "kv_type": asked.kv_type, "want": core.Want(asked.want)}
        if self.stored:
            chosen = core.choose([self.stored], hardware, **wish)
        else:
            chosen = core.choose_among(self.levels, hardware, **wish)
        if chosen is not None:
            return chosen
        least = self.stored or core.least_level(self.levels)
        within = core.judged_context(self.model, asked.context)
        return core.Choice(least, core.estimate_fit(least, hardware, context=within, kv_type=asked.kv_type))

    def plans(self) -> list[core.Plan]:
        return [self.stored] if self.stored else self.levels.all()


class Desk:
    """Opens models once and judges them; what is asked first about one model goes before the rest of a list."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._sources: dict[str, Source] = {}
        self._in_full: list[str] = []
        self._judging: tuple[int, Iterator[Judged | Unjudged]] | None = None
        self._measured: core.Calibration | None = None

    @property
    def is_busy(self) -> bool:
        return self._judging is not None

    def take(self, number: int, what: str, values: dict[str, Any]) -> None:
        """One request: a list is begun, for `step`; everything else is answered at once."""
        if what == "judge":
            self._judging = (number, self._rows(**values))
            return
        try:
            self._say(number, "done", _ACTIONS[what](self, **values))
        except Exception as error:
            self._fail(number, error)

    def step(self) -> None:
        """The next row of the list."""
        if self._judging is None:
            return
        number, rows = self._judging
        try:
            row = next(rows, None)
        except Exception as error:
            self._judging = None
            self._fail(number, error)
            return
        if row is None:
            self._judging = None
        self._say(number, "done" if row is None else "row", row)

    def _fail(self, number: int, error: Exception) -> None:
        problem = words.problem(error)
        print(problem.details, file=sys.stderr, end="")
        self._say(number, "problem", problem)

    def _rows(self, wanted: Sequence[Wanted], asked: Asked, hardware: core.Hardware) -> Iterator[Judged | Unjudged]:
        for one in wanted:
            try:
                yield judged(one, self._open(one), asked, hardware, self._speed_of(hardware))
            except (core.SnugError, OSError) as error:
                self._sources.pop(one.key, None)
                yield Unjudged(one, words.problem(error).message)
        keys = {one.key for one in wanted}
        self._sources = {key: source for key, source in self._sources.items() if key in keys}

    def _speed_of(self, hardware: core.Hardware) -> core.Calibration | None:
        """What was measured counts for the machine it was measured on."""
        return None if hardware.given else self._measured or core.kept_calibration(hardware)

    def answer(self, wanted: Wanted, asked: Asked, hardware: core.Hardware) -> Full:
        """Everything about one model."""
        source = self._open(wanted)
        self._in_full = [*(key for key in self._in_full if key != wanted.key), wanted.key]
        for key in self._in_full[:-_MOST_IN_FULL]:
            if (other := self._sources.get(key)) is not None:
                other.levels = core.Levels(other.model)
        self._in_full = self._in_full[-_MOST_IN_FULL:]
        return answered(wanted, source, asked, hardware, self._speed_of(hardware))

    def calibrate(self, hardware: core.Hardware) -> None:
        """Tries this machine; what it did counts from now on, here and elsewhere."""
        self._measured = core.calibrate(hardware)
        with suppress(OSError):
            core.keep_calibration(hardware, self._measured)

    def _open(self, wanted: Wanted) -> Source:
        stamp = _stamp(Path(wanted.key)) if wanted.is_here else ()
        source = self._sources.get(wanted.key)
        if source is None or source.stamp != stamp:
            source = self._sources[wanted.key] = _source(wanted, stamp)
        return source


_ACTIONS: dict[str, Callable[..., Any]] = {"answer": Desk.answer, "calibrate": Desk.calibrate}


def _source(wanted: Wanted, stamp: tuple[int, ...]) -> Source:
    """Raises SnugError for what is no model that can be judged."""
    if wanted.is_here:
        model = core.open_quickly(wanted.key)
    elif wanted.where == KNOWN and (known := core.known_model(wanted.key)) is not None:
        model = known
    else:
        model = _kept(wanted.key)
    if str(model.keys.get("general.type", "model")) != "model" or not model.key("block_count"):
        raise core.SnugError("It is no language model by itself.", "Open the model that it belongs to.")
    model = _without_words(model)
    source = Source(model, stamp, core.Levels(model))
    if model.is_gguf and model.quantized_formats:
        label = wanted.label or (core.level_of(model.path) if wanted.is_here else "")
        source.stored = core.stored_plan(model, label)
    return source


def _without_words(model: core.ModelInfo) -> core.ModelInfo:
    """Without its word list, which no sum needs: those of hundreds of models would fill the memory that is judged."""
    kept = (item for item in model.metadata if not (item.key.startswith("tokenizer.") and item.type.startswith("[")))
    return replace(model, metadata=tuple(kept))


def _kept(id: str) -> core.ModelInfo:
    """A model of the Hub whose headers were read before, for a verdict or to be made; nothing is asked."""
    source, hub = core.hub_source(id), replace(core.connect(), offline=True)
    with suppress(core.SnugError):
        return core.open_remote(source, hub=hub, quick=True)
    try:
        return core.open_remote(source, hub=hub)
    except core.SnugError as error:
        if "HF_HUB_OFFLINE" not in error.message:
            raise
        raise core.SnugError(f"The headers of {id} have not been read yet.", "Look at it on the page Find.") from error


def _stamp(path: Path) -> tuple[int, ...]:
    """Another one for another content. Raises OSError when there is nothing."""
    files = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
    return tuple(number for found in map(os.stat, files) for number in (found.st_mtime_ns, found.st_size))


def judged(
    wanted: Wanted, source: Source, asked: Asked, hardware: core.Hardware, calibration: core.Calibration | None
) -> Judged:
    """The row of one model."""
    chosen = source.choose(asked, hardware)
    plan, fit = chosen.plan, chosen.fit
    placement = core.place_model(plan, hardware, fit)
    seen = core.as_placed(fit, placement, hardware)
    other = core.judged_with(fit, context=asked.context, kv_type=asked.kv_type)
    speed = None
    if fit.verdict is not core.Verdict.NO:
        speed = core.estimate_speed(plan, hardware, placement, context=fit.context, kv_type=fit.kv_type,
                                    calibration=calibration)  # fmt: skip
    return Judged(
        wanted,
        source.model.parameters,
        level=plan.recipe.name,
        is_made=source.stored is not None,
        why=plan.recipe.summary,
        fit=replace(seen, reason=seen.reason + other),
        speed=speed,
        largest=core.longest_context(plan, hardware, kv_type=fit.kv_type),
        quality=core.quality_of(source.model, plan.recipe.name),
        sum_line=_sum_line(plan, seen),
    )


def answered(
    wanted: Wanted, source: Source, asked: Asked, hardware: core.Hardware, calibration: core.Calibration | None
) -> Full:
    """The recommendation with its reasons, and the grids."""
    plans = source.plans()
    answer = core.answer_for(
        plans,
        hardware,
        context=asked.context,
        kv_type=asked.kv_type,
        want=core.Want(asked.want),
        calibration=calibration,
        path=wanted.key if source.stored and wanted.is_here else "",
    )
    return Full(
        wanted,
        asked,
        level=answer.plan.recipe.name,
        is_made=source.stored is not None,
        advice=answer.advice,
        fit=answer.fit,
        placement=answer.placement,
        speed=answer.speed,
        slowdown=answer.slowdown,
        largest=answer.largest_context,
        counterfactuals=answer.counterfactuals,
        arithmetic=answer.arithmetic,
        run_lines=answer.run_lines,
        grids=_grids(source.model, plans, hardware),
    )


def _grids(
    model: core.ModelInfo, plans: Sequence[core.Plan], hardware: core.Hardware
) -> dict[str, tuple[tuple[Cell, ...], ...]]:
    """For each cache, every level by every context that the model was trained for."""
    trained = int(model.key("context_length", 0) or 0)
    contexts = [c for c in core.CONTEXTS if not trained or c <= trained] or [trained]
    grid = core.verdict_grid(plans, hardware, contexts=contexts)

    def row(plan: core.Plan, kv_type: str) -> tuple[Cell, ...]:
        return tuple(_cell(plan, grid.cells[plan.recipe.name, count, kv_type], count, kv_type) for count in contexts)

    return {kv_type: tuple(row(plan, kv_type) for plan in plans) for kv_type in grid.kv_types}


def _cell(plan: core.Plan, fit: core.Fit, context: int, kv_type: str) -> Cell:
    return Cell(
        plan.recipe.name,
        context,
        kv_type,
        str(fit.verdict),
        fit.total,
        fit.budget,
        fit.place,
        core.reason_at_a_glance(plan, fit),
        _sum_line(plan, fit),
        (fit.weights, fit.kv, fit.compute, fit.overhead),
        core.band_of(fit),
    )


def _sum_line(plan: core.Plan, fit: core.Fit) -> str:
    """The parts and their sum, with what of it counts against the budget."""
    return core.arithmetic_of(plan, fit).words + on_gpu(fit)


def serve(lines: Iterator[bytes], say: Say) -> None:
    """Answers until `lines` end."""
    asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in lines:
            asked.put(line)
        asked.put(None)

    threading.Thread(target=listen, daemon=True).start()
    desk = Desk(say)
    while True:
        try:
            line = asked.get(block=not desk.is_busy)
        except queue.Empty:
            desk.step()
            continue
        if line is None:
            return
        desk.take(*unpacked(line))


def main() -> int:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(OSError, AttributeError):
        os.nice(_NICE)  # the window goes first

    def say(*said: Any) -> None:
        out.write(packed(*said))
        out.flush()

    gc.set_threshold(100_000, 50, 100)  # what is opened stays
    with suppress(BrokenPipeError):
        serve(iter(sys.stdin.buffer.readline, b""), say)
    os._exit(0)
