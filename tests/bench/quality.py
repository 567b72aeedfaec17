"""What a recipe costs in what the model says: `python -m tests.bench.quality MODEL TEXT --calibration OTHER_TEXT`.

MODEL is a Llama folder with a SentencePiece tokenizer. Each recipe is made with the efforts exact and best, without an
importance matrix and with one measured on OTHER_TEXT (or given: --imatrix FILE), and run in llama.cpp over TEXT.
Columns: the mean Kullback-Leibler divergence of its next-token distribution from that of the unquantized model, over
the second half of every chunk; its standard error; perplexity over the unquantized model's; how often both think the
same token likeliest; and for best the KLD as a ratio to exact's, with the standard error of the difference.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray

import core
from tests.bench.forward import Forward
from tests.core.families.llama import Llama
from tests.imatrix import write_imatrix

RECIPES = ("Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_S", "Q2_K")
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """Of each scored token: log probabilities [tokens, vocabulary] and that of the token that came, [tokens]."""

    logs: F64
    actual: F64


@dataclass(frozen=True)
class Loss:
    """Of each scored token: the divergence, and whether the likeliest token is the same."""

    divergence: F64
    same: NDArray[np.bool_]
    perplexity_ratio: float

    def line(self) -> str:
        kld, error = self.divergence.mean(), standard_error(self.divergence)
        return f"{kld:9.6f} {error:9.6f} {self.perplexity_ratio:8.4f} {self.same.mean():7.2%}"


def standard_error(values: F64) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def chunks_of(folder: Path, text: Path, *, count: int, length: int) -> list[list[int]]:
    """The first chunks of a text, spread over it, each with the token that begins a text."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokens = pieces.encode(text.read_text(encoding="utf-8"))
    step = max(length, (len(tokens) - length) // max(1, count))
    starts = range(0, len(tokens) - length, step)
    return [[pieces.bos_id(), *tokens[start : start + length - 1]] for start in starts][:count]


def said(llama: Llama, file: Path, chunks: list[list[int]]) -> list[Said]:
    """What the model of a file says in the second half of each chunk."""
    return [_said(np.asarray(llama.run(file, tokens), np.float64), tokens) for tokens in chunks]


def _said(logits: F64, tokens: list[int]) -> Said:
    half = len(tokens) // 2
    logits = logits[half:-1]
    logits = logits - logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return Said(logs, logs[np.arange(len(logs)), tokens[half + 1 :]])


def loss(original: list[Said], quantized: list[Said]) -> Loss:
    pairs = list(zip(original, quantized, strict=True))
    divergence = np.concatenate([(np.exp(a.logs) * (a.logs - b.logs)).sum(axis=1) for a, b in pairs])
    same = np.concatenate([a.logs.argmax(axis=1) == b.logs.argmax(axis=1) for a, b in pairs])
    ratio = np.exp(np.concatenate([a.actual - b.actual for a, b in pairs]).mean())
    return Loss(divergence, same, float(ratio))


def make(source: Path, recipe: str, out: Path, **options: object) -> Path:
    job = core.QuantizeJob(str(source), recipe, str(out), overwrite=True, **options)  # type: ignore[arg-type]
    last = list(core.run(job))[-1]
    assert isinstance(last, core.Done), last
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--calibration", type=Path)
    source.add_argument("--imatrix", type=Path)
    parser.add_argument("--recipes", nargs="*", default=RECIPES)
    parser.add_argument("--chunks", type=int, default=32)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--pure", action="store_true", help="every tensor in the base format")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Llama() as llama:
        _measure(options, Path(folder), llama)


def _measure(options: argparse.Namespace, folder: Path, llama: Llama) -> None:
    size = {"count": options.chunks, "length": options.length}
    chunks = chunks_of(options.model, options.text, **size)
    full = make(options.model, "F32", folder / "f32.gguf")
    original = said(llama, full, chunks)
    perplexity = np.exp(-np.concatenate([s.actual for s in original]).mean())
    matrices = ["", *([str(options.imatrix)] if options.imatrix else [])]
    if options.calibration:
        forward = Forward(full)
        means = forward.measure(chunks_of(options.model, options.calibration, **size))
        matrices.append(str(write_imatrix(folder / "imatrix.gguf", means, chunks=options.chunks)))
    print(f"{options.model.name}: perplexity {perplexity:.2f}, {sum(len(s.actual) for s in original)} tokens scored")
    print(f"{'recipe':8} {'importance':10} {'effort':6} {'KLD':>9} {'+-':>9} {'PPL/PPL':>8} {'same':>7}  KLD/exact")
    for recipe in options.recipes:
        for matrix in matrices:
            losses = {}
            for effort in ("exact", "best"):
                file = make(options.model, recipe, folder / "q.gguf", imatrix=matrix, effort=effort, pure=options.pure)
                losses[effort] = loss(original, said(llama, file, chunks))
                head = f"{recipe:8} {'yes' if matrix else 'no':10} {effort:6}"
                print(head, losses[effort].line(), _compared(losses), flush=True)


def _compared(losses: dict[str, Loss]) -> str:
    if "best" not in losses:
        return ""
    exact = losses["exact"].divergence
    difference = losses["best"].divergence - exact
    return f"  {1 + difference.mean() / exact.mean():.3f} +- {standard_error(difference) / exact.mean():.3f}"


if __name__ == "__main__":
    main()
