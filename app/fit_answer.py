"""snug fit: what to take, why, how fast, what would change it and the line that runs it, in words and as values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.text import Text

import core
from app import report, words


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
    table.add_row("Sum", answer.arithmetic.words)
    table.add_row("Weights", answer.arithmetic.parts[0].words)
    if answer.speed is not None:
        for name, rate in _rates(answer.speed):
            table.add_row(name, f"{rate_range(rate)} ({rate.source}; confidence {rate.confidence})")
    table.add_row("Largest context", _largest(answer))
    for index, item in enumerate(answer.counterfactuals):
        table.add_row("" if index else "What would help", item.words)
    for line in answer.run_lines[:1]:
        table.add_row(line.program, Text(line.text))
    console.print(table)


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


def rate_range(rate: core.Rate) -> str:
    """19 to 36 tokens/s."""
    digits = 1 if rate.high < 10 else 0
    return f"{rate.low:.{digits}f} to {rate.high:.{digits}f} tokens/s"


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
