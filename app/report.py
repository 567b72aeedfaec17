"""What the command line prints: tables for people on stdout, problems and progress on stderr, plain values for JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

import core
from app import words

_VERDICT_STYLES = {"fits": "green", "tight": "yellow", "splits": "cyan", "no": "red"}


_FILE_WIDTH = 240
_SAY_SECONDS = 0.5
_LATE = ("write", "verify", "waiting")  # when nothing is read that could have a rate
_STAGES = ("encode", *_LATE)  # that go tensor by tensor; the others, file by file


def print_anything() -> None:
    """A name that the terminal's encoding does not have is shown by its numbers, and never ends the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; wide enough for every line where there is none. Names are never taken for markup."""
    stream = sys.stderr if stderr else sys.stdout
    piped = stream is None or not stream.isatty()
    width = _FILE_WIDTH if piped and "COLUMNS" not in os.environ else None
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def out() -> Console:
    return _console()


def _err() -> Console:
    return _console(stderr=True)


def problem(message: str, hint: str) -> None:
    """One sentence what is wrong, one what to do."""
    console = _err()
    console.print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
    if hint:
        console.print(Text(hint), soft_wrap=True)


def note(message: str) -> None:
    """Something worth knowing that is no error."""
    _err().print(Text(f"Note: {message}"), soft_wrap=True)


def _table(*columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)
    return table


def facts() -> Table:
    """Names and values; a long path is broken where the line ends, not shortened."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def machine(hardware: core.Hardware) -> None:
    cpu, memory = hardware.cpu, hardware.memory
    if hardware.given:
        out().print(f"Asked about another machine: {', '.join(hardware.given)} given by you.")
    table = facts()
    table.add_row("Processor", f"{cpu.name}, {cpu.physical_cores} cores ({cpu.usable_cores:g} usable)")
    table.add_row("Instructions", " ".join(cpu.instructions) or "none that matter to llama.cpp")
    table.add_row("Memory", f"{words.size(memory.available)} free of {words.size(memory.total)} ({memory.source})")
    for gpu in hardware.gpus:
        shared = " of the RAM" if gpu.unified else ""
        more = [f"{gpu.bandwidth / 1e9:,.0f} GB/s" if gpu.bandwidth else "", " ".join(gpu.formats)]
        figures = f"{words.size(gpu.free)} free of {words.size(gpu.total)}{shared}"
        table.add_row("GPU", ", ".join(filter(None, (f"{gpu.name}: {figures}", *more))))
    for disk in hardware.disks:
        table.add_row("Disk", f"{words.size(disk.free)} free of {words.size(disk.total)} at {disk.path}")
    for note in hardware.notes:
        table.add_row("Note", note)
    out().print(table)


def verdict(word: str) -> Text:
    return Text(word, _VERDICT_STYLES.get(word, ""))


def fit(model: core.ModelInfo, options: list[core.Option]) -> None:
    console = out()
    first, context = options[0].fit, min(option.fit.context for option in options)
    console.print(f"{model.name}: {words.parameters(model.parameters)} parameters, {model.family}")
    console.print(f"Judged with {words.tokens(context)} of context against {words.size(first.budget)} ({first.place})")
    table = _table("", "Recipe", "File", "Bits", "Memory", "Where", "Verdict", "Room", right=("File", "Bits", "Memory"))
    for option in options:
        table.add_row(
            "*" if option.recommended else "",
            f"{option.recipe.name}, with --imatrix" if option.lacks_importance else option.recipe.name,
            words.size(option.plan.file_bytes),
            f"{option.plan.bits_per_weight:.2f}",
            words.size(option.fit.total),
            option.fit.place,
            verdict(option.fit.verdict.value),
            _room(option.fit.free_after),
        )
    console.print(table)
    best = next((option for option in options if option.recommended), None)
    if best is None:
        console.print("No recipe fits this machine: choose a smaller model or a smaller context (--ctx).")
        return
    console.print(Text.assemble("* ", (best.recipe.name, "bold"), f" is recommended. {best.recipe.summary}"))


def _room(free_after: int) -> str:
    return f"{words.size(free_after)} left" if free_after >= 0 else f"{words.size(-free_after)} too much"


def fit_values(model: core.ModelInfo, options: list[core.Option]) -> dict[str, Any]:
    return {
        "model": model.name,
        "family": model.family,
        "parameters": model.parameters,
        "recipes": [
            {
                "recipe": option.recipe.name,
                "needs_imatrix": option.recipe.needs_importance,
                "file_bytes": option.plan.file_bytes,
                "bits_per_weight": option.plan.bits_per_weight,
                "memory_bytes": option.fit.total,
                "gpu": asdict(option.fit.on_gpu),
                "host": asdict(option.fit.on_host),
                "budget_bytes": option.fit.budget,
                "place": option.fit.place,
                "context": option.fit.context,
                "verdict": option.fit.verdict.value,
                "reason": option.reason,
                "recommended": option.recommended,
            }
            for option in options
        ],
    }


def plan(made: core.Plan, *, brief: bool = False) -> None:
    console = out()
    if not brief:
        table = _table("Tensor", "Shape", "Format", "Bits", "Bytes", right=("Bits", "Bytes"))
        for planned in made.tensors:
            shape = " x ".join(str(size) for size in planned.tensor.shape)
            table.add_row(planned.name, shape, planned.format, f"{planned.bits_per_weight:.2f}", f"{planned.nbytes:,}")
        console.print(table)
    table = _table("Format", "Tensors", "Bytes", right=("Tensors", "Bytes"))
    for name in dict.fromkeys(planned.format for planned in made.tensors):
        same = [planned.nbytes for planned in made.tensors if planned.format == name]
        table.add_row(name, str(len(same)), f"{sum(same):,}")
    console.print(table)
    console.print(f"{made.recipe.name}: {words.exact(made.file_bytes)} ({words.size(made.file_bytes)}), "
                  f"{made.bits_per_weight:.2f} bits a weight")  # fmt: skip
    for note in made.notes:
        console.print(f"Note: {note}")


def plan_values(made: core.Plan) -> dict[str, Any]:
    return {
        "model": made.model.name,
        "recipe": made.recipe.name,
        "file_bytes": made.file_bytes,
        "tensor_bytes": made.tensor_bytes,
        "header_bytes": made.header_bytes,
        "bits_per_weight": made.bits_per_weight,
        "notes": list(made.notes),
        "tensors": [
            {"name": p.name, "shape": list(p.tensor.shape), "format": p.format, "offset": p.offset, "bytes": p.nbytes}
            for p in made.tensors
        ],
    }


@contextlib.contextmanager
def progress(*, as_json: bool) -> Iterator[Callable[[core.Event], None]]:
    """A function that shows events on stderr: a bar on a terminal, notes alone elsewhere, JSON lines for machines."""
    console = _err()
    if as_json:
        yield _json_lines()
        return
    if not console.is_terminal:
        yield lambda event: console.print(event.text) if isinstance(event, core.Note) else None
        return
    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[words]}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Reading", words="", total=None)

        def show(event: core.Event) -> None:
            if isinstance(event, core.Note):
                bar.console.print(event.text)
            elif isinstance(event, core.Progress):
                done, total = (event.share, 1.0) if event.share else (event.bytes_done, event.bytes_total)
                bar.update(task, description=event.stage.capitalize(), words=progress_words(event),
                           total=total, completed=done)  # fmt: skip

        yield show


def _json_lines() -> Callable[[core.Event], None]:
    """Each event as a line; progress twice a second, and where a stage begins. How it ended, stdout says."""
    stage, said = "", 0.0

    def show(event: core.Event) -> None:
        nonlocal stage, said
        if isinstance(event, core.Progress):
            now = time.monotonic()
            if event.stage == stage and now - said < _SAY_SECONDS:
                return
            stage, said = event.stage, now
        if not isinstance(event, core.Done | core.Failed):
            print(json.dumps(core.to_json(event)), file=sys.stderr, flush=True)

    return show


def progress_words(event: core.Progress) -> str:
    """How much of what is done, how fast it goes, how long it took and will take."""
    parts = [f"{words.size(event.bytes_done)} of {words.size(event.bytes_total)}"]
    if event.tensors_total:
        thing = "tensor" if event.stage in _STAGES else "file"
        parts.append(f"{event.tensors_done} of {words.count(event.tensors_total, thing)}")
    if event.stage not in _LATE:
        parts.append(words.rate(event.rate))
    parts.append(f"{words.span(event.elapsed)} so far")
    if event.eta is not None:
        parts.append(f"{words.about(event.eta)} left")
    return " · ".join((*parts, event.tensor) if event.tensor else parts)


def result(values: dict[str, Any]) -> None:
    console = out()
    table = facts()
    table.add_row("File", Text(values["target"]))
    if len(values["parts"]) > 1:
        table.add_row("", f"the first of {len(values['parts'])} parts, to be opened by that one")
    table.add_row("Size", f"{words.exact(values['file_bytes'])} ({words.size(values['file_bytes'])}), "
                          f"{values['bits_per_weight']:.2f} bits a weight")  # fmt: skip
    table.add_row("Was", words.size(values["source_bytes"]))
    if "fetched" in values:
        table.add_row("Fetched", f"{words.size(values['fetched'])} from the Hub, nothing of it stored")
    table.add_row(
        "Took", f"{words.span(values['seconds'])}, {words.parameters(round(values['weights_per_second']))} weights/s"
    )
    table.add_row("Formats", ", ".join(f"{count} {name}" for name, count in values["formats"].items()))
    if values["imatrix"]:
        table.add_row("Importance", Text(values["imatrix"]))
    if values.get("card"):
        table.add_row("Recipe card", Text(values["card"]))
    table.add_row("Checked", "structure, bounds, finite scales, a sample of every tensor against the source")
    console.print(table)


def merged(values: dict[str, Any]) -> None:
    console = out()
    table = facts()
    table.add_row("File", Text(values["target"]))
    table.add_row("Size", f"{words.exact(values['file_bytes'])} ({words.size(values['file_bytes'])}), "
                          f"{values['tensors']} tensors of {len(values['parts'])} parts")  # fmt: skip
    table.add_row("Took", words.span(values["seconds"]))
    console.print(table)


def verify(found: core.VerifyReport) -> None:
    console = out()
    console.print(f"{found.path.name}: {words.exact(found.file_bytes)}, {found.tensors} tensors")
    for text in found.problems:
        console.print(Text.assemble(("Problem: ", "bold red"), text))
    if found.ok:
        console.print(Text("Whole and sane: structure, tensor bounds and scales are right.", "green"))
    if not found.errors:
        return
    table = _table("Format", "Tensors", "Relative error", "Worst", "Worst tensor",
                   right=("Tensors", "Relative error", "Worst"))  # fmt: skip
    for name in dict.fromkeys(error.format for error in found.errors):
        same = [error for error in found.errors if error.format == name]
        mean = statistics.fmean(error.rmse for error in same)
        table.add_row(name, str(len(same)), f"{mean:.3%}", f"{same[0].rmse:.3%}", same[0].name)
    console.print(table)


def verify_values(found: core.VerifyReport) -> dict[str, Any]:
    return {
        "file": str(found.path),
        "ok": found.ok,
        "file_bytes": found.file_bytes,
        "tensors": found.tensors,
        "formats": found.formats,
        "problems": list(found.problems),
        "errors": [
            {"name": e.name, "format": e.format, "rmse": e.rmse, "max_error": e.max_error} for e in found.errors
        ],
    }


def next_steps(target: Path) -> None:
    console = out()
    for line in (
        "The same for a model of yours:",
        "  snug fit FOLDER",
        "  snug quantize FOLDER --type Q4_K_M -o FILE.gguf",
        "Try the file in llama.cpp:",
        f"  llama-cli -m {shlex.quote(str(target))} -p 'Ownership is' -n 40 -no-cnv",
    ):
        console.print(line, soft_wrap=True)


def nothing() -> None:
    """A step that shows itself."""


def shown(step: Callable[..., None], *args: Any, title: str = "", **kwargs: Any) -> None:
    """Runs a step under its title."""
    if title:
        out().print(Text(f"\n{title}", "bold"))
    step(*args, **kwargs)


def silent(step: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Runs nothing: for --json."""
