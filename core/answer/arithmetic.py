"""The sum behind a verdict, in words that add up: "8.0 B weights x 4.89 bits / 8 = 4.9 GB", and so for each part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.fit import Fit
from core.memory import CELL
from core.memory.settings import padded

if TYPE_CHECKING:
    from core.plan import Plan


@dataclass(frozen=True, slots=True)
class Part:
    """One line: `nbytes` of it, on the GPU and in RAM, and how it comes about."""

    name: str
    nbytes: int
    gpu: int
    host: int
    words: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`parts` add up to `total`, which is the model's need in all places together."""

    parts: tuple[Part, ...]
    total: int
    band: int
    words: str


def band_of(fit: Fit) -> int:
    """Bytes that must stay free for "fits": within them, an estimate cannot tell, and the verdict is "tight"."""
    return max(fit.budget // 10, fit.doubt)


def arithmetic_of(plan: Plan, fit: Fit) -> Arithmetic:
    """Every part of what `plan` takes, with its sum."""
    gpu, host = fit.on_gpu, fit.on_host
    said = {
        "weights": _weights_words(plan, gpu.weights + host.weights),
        "kv": _kv_words(plan, fit, gpu.kv + host.kv),
        "compute": "buffers for what is being computed",
        "output": "one row of scores for the next token",
        "overhead": "the program, its word list and the table of the cache",
    }
    parts = tuple(
        Part(name, getattr(gpu, name) + getattr(host, name), getattr(gpu, name), getattr(host, name), words)
        for name, words in said.items()
    )
    total = gpu.total + host.total
    line = " + ".join(f"{_size(part.nbytes)} {part.name}" for part in parts if part.nbytes)
    return Arithmetic(parts, total, band_of(fit), f"{line} = {_size(total)}")


def _kv_words(plan: Plan, fit: Fit, held: int) -> str:
    """What is remembered grows with the context, but for windows and running states."""
    shape, cells = plan.shape, padded(fit.context, CELL)
    if not any(shape.cached) and not any(shape.recurrent):
        return "nothing is remembered between tokens"
    if any(shape.recurrent):
        return f"{cells:,} tokens of context in {fit.kv_type}, and a running state that does not grow"
    if any(shape.windowed):
        return f"{cells:,} tokens of context in {fit.kv_type}; some layers keep only the last {shape.window:,}"
    return f"{cells:,} tokens x {held / cells / 1e3:.1f} kB in {fit.kv_type} = {_size(held)}"


def _weights_words(plan: Plan, held: int) -> str:
    nbytes, count = plan.tensor_bytes, plan.model.parameters
    words = f"{_count(count)} weights x {plan.bits_per_weight:.2f} bits / 8 = {_size(nbytes)}"
    more = held - nbytes
    if more > nbytes // 1000:
        return f"{words}, and {_size(more)} that are held twice: the word list's matrix, or what is laid out anew"
    return words if more >= -nbytes // 1000 else f"{words}, of which {_size(-more)} are not loaded"


def _count(number: int) -> str:
    return f"{number / 1e9:.1f} B" if number >= 1e9 else f"{number / 1e6:.1f} M"


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 10**9 else f"{nbytes / 1e6:.1f} MB"
