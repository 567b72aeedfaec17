"""snug fit: what to take, why, how fast, what would change it and the line that runs it, in words and as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from rich.table import Table
from rich.text import Text

import core
from app import report, words
from app.pages.fit_answers import Asked, Judged, Unjudged, pace

_BAR = 40
# As on the page Fit, in the same order.
_PARTS = (
    ("w", "weights", "blue"),
    ("k", "KV cache", "green"),
    ("c", "compute", "yellow"),
    ("o", "overhead", "magenta"),
)
_COLUMNS = (
    ("", "right"), ("Model", "left"), ("Where", "left"), ("Weights", "right"), ("Level", "left"), ("Verdict", "left"),
    ("Memory", "right"), ("Tokens/s", "right"), ("Context up to", "right"),
)  # fmt: skip


def want_of(name: str) -> core.Want:
    """Raises SnugError for a wish that there is not."""
    if name not in tuple(core.Want):
        raise core.SnugError(f"--want {name} is not known.", f"Choose one of {', '.join(core.Want)}.")
    return core.Want(name)


def show(answer: core.Answer) -> None:
    """Below the table of all levels."""
    console = report.out()
    if answer.advice.recipe:
        console.print(Text("* " + answer.advice.sentences[0], "bold"), soft_wrap=True)
    for sentence in answer.advice.sentences[bool(answer.advice.recipe) :]:
        console.print(sentence, soft_wrap=True)
    table = report.facts()
    table.add_row("Verdict", _verdict(answer))
    table.add_row("Memory", _bar(answer.fit))
    table.add_row("Sum", answer.arithmetic.words)
    table.add_row("Weights", answer.arithmetic.parts[0].words)
    if answer.speed is not None:
        for name, rate in _rates(answer.speed):
            table.add_row(name, f"{pace(rate)}, from {rate.source}")
    table.add_row("Largest context", _largest(answer))
    for index, item in enumerate(answer.counterfactuals):
        table.add_row("" if index else "What would help", item.words)
    console.print(table)
    for line in answer.run_lines:
        console.print(Text.assemble((line.program, "bold"), f", {line.note}:"), soft_wrap=True)
        for text in line.text.splitlines():
            console.print(Text(f"  {text}"), soft_wrap=True)


def _verdict(answer: core.Answer) -> str:
    fit = answer.fit
    room = words.size(abs(fit.free_after)) + (" left" if fit.free_after >= 0 else " too much")
    band = words.size(answer.arithmetic.band)
    room = f"{words.size(fit.total)} of {words.size(fit.budget)}, {room}, tight below {band}"
    slower = f", about {answer.slowdown:.1f} times slower than whole on the GPU" if answer.slowdown > 1 else ""
    return f"{answer.plan.recipe.name} {fit.verdict.value}: {room}; {answer.placement.words}{slower}"


def _largest(answer: core.Answer) -> str:
    level = f"{answer.plan.recipe.name} with a cache in {answer.fit.kv_type}"
    if not answer.largest_context:
        return f"none in which {level} runs whole"
    return f"{words.tokens(answer.largest_context)} for {level}"


def _rates(speed: core.Speed) -> tuple[tuple[str, core.Rate], ...]:
    return ("Generation", speed.generation), ("With full context", speed.full), ("Prompt", speed.prompt)


def _bar(fit: core.Fit) -> Text:
    """What takes the memory, in its order: a letter for each part, dots for what is free, a bar for the limit."""
    full, text = max(fit.total, fit.budget, 1), Text()
    sizes = (fit.weights, fit.kv, fit.compute, fit.overhead)
    for (letter, _, style), end in zip(_PARTS, accumulate(sizes), strict=True):
        text.append(letter * (round(end / full * _BAR) - len(text)), style)
    limit = round(fit.budget / full * _BAR)
    text.append("." * (limit - len(text)))
    said = [f"{letter} {name} {words.size(size)}" for (letter, name, _), size in zip(_PARTS, sizes, strict=True)]
    said.append(f". free {words.size(max(0, fit.free_after))}")
    return Text.assemble(text[:limit], "|", text[limit:], "  ", ", ".join(said))


def show_ranking(rows: Sequence[Judged], lost: Sequence[Unjudged], hardware: core.Hardware, asked: Asked) -> None:
    """What they were judged with, then one line a model, the one that does most for this machine first."""
    console = report.out()
    console.print(f"Judged with {words.tokens(asked.context)} of context, or all that a model was trained for, "
                  f"the cache in {asked.kv_type}, on {_machine_words(hardware)}", soft_wrap=True)  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in _COLUMNS:
        table.add_column(title, justify="right" if side == "right" else "left", no_wrap=title != "Model")
    for row in rows:
        table.add_row(
            str(row.rank),
            row.name,
            row.wanted.where,
            words.parameters(row.parameters),
            row.level,
            report.verdict(row.fit.verdict.value),
            words.size(row.fit.total),
            row.speed_short,
            words.tokens(row.largest) if row.largest else "none whole",
        )
    console.print(table)
    for one in (one for one in lost if one.wanted.is_here):
        console.print(f"Not judged: {one.wanted.name}: {one.problem}", soft_wrap=True)
    if unseen := len([one for one in lost if not one.wanted.is_here]):
        known = words.count(unseen, "well-known model")
        console.print(f"{known} not judged: snug fit hub:ORG/NAME reads the headers of any.")


def _machine_words(hardware: core.Hardware) -> str:
    """What models were judged against, in a line."""
    whose, memory = "the machine that you asked about" if hardware.given else "this machine", hardware.memory
    gpus = [f"{gpu.name}, {words.size(gpu.free)} free of {words.size(gpu.total)}" for gpu in hardware.gpus]
    ram = f"{words.size(memory.available)} of RAM free of {words.size(memory.total)}"
    return f"{whose} ({'; '.join([ram, *(gpus or ['no GPU'])])})"


def ranking_values(
    rows: Sequence[Judged], lost: Sequence[Unjudged], hardware: core.Hardware, asked: Asked
) -> dict[str, Any]:
    return {
        "context": asked.context,
        "kv": asked.kv_type,
        "want": asked.want,
        "machine": hardware,
        "models": [
            {"rank": row.rank, "model": row.name, "source": row.key, "where": row.wanted.where,
             "parameters": row.parameters, "recipe": row.level, "is_made": row.is_made,
             "verdict": row.fit.verdict.value, "memory_bytes": row.fit.total, "budget_bytes": row.fit.budget,
             "context": row.fit.context, "kv": row.fit.kv_type, "reason": row.fit.reason,
             "speed": asdict(row.speed) if row.speed else None, "largest_context": row.largest}
            for row in rows
        ],
        "not_judged": [{"model": one.wanted.name, "source": one.key, "problem": one.problem} for one in lost],
    }  # fmt: skip


def values(answer: core.Answer) -> dict[str, Any]:
    fit = answer.fit
    return {
        "recipe": answer.plan.recipe.name,
        "context": fit.context,
        "kv": fit.kv_type,
        "want": answer.advice.want.value,
        "verdict": fit.verdict.value,
        "memory_bytes": fit.total,
        "budget_bytes": fit.budget,
        "band_bytes": answer.arithmetic.band,
        "recommended": answer.advice.recipe,
        "advice": list(answer.advice.sentences),
        "placement": answer.placement.words,
        "gpu_layers": answer.placement.gpu_layers,
        "cpu_moe_layers": answer.placement.host_experts,
        "slowdown": answer.slowdown,
        "speed": asdict(answer.speed) if answer.speed else None,
        "largest_context": answer.largest_context,
        "counterfactuals": [
            {"change": item.change.value, "words": item.words, "recipe": item.recipe, "amount": item.amount,
             "verdict": item.fit.verdict.value, "context": item.fit.context, "kv": item.fit.kv_type}
            for item in answer.counterfactuals
        ],
        "arithmetic": asdict(answer.arithmetic),
        "run_lines": {line.program: line.text for line in answer.run_lines},
    }  # fmt: skip
