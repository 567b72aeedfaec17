"""The sum behind a verdict, in words that add up: "8.0 B weights x 4.89 bits / 8 = 4.9 GB", and so for each part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.fit import Fit

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
        "kv": f"{fit.context:,} tokens of context in {fit.kv_type}",
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
