"""How near the prediction of memory is, and how fast: `python -m tests.bench.fit [--quick]`.

Truth is llama.cpp's own planner for 60 models (tests/core/golden/fit). Beside it: the naive formula (parameters times
bits, keys and values of every head and layer, half a gigabyte), the public VRAM formula found by regression over 19,517
measurements (oobabooga's; for models that are whole on a GPU), and what llama-fit-params says of a processor alone (the
planner without what it has rearranged).
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import time
from collections.abc import Iterable
from typing import Any

from core.fit import estimate_fit
from core.hardware import Cpu, Gpu, Hardware, Memory
from core.memory.shape import Shape
from core.recipes import RECIPES
from tests.core.memory.goldens import MIB, NAMES, plan_of, predicted, rows, shape_by, truth

GIB = 1024**3
_BITS = {"Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.7, "Q4_K_M": 4.64, "Q4_0": 4.5, "IQ4_XS": 4.25, "Q3_K_M": 3.9,
         "Q2_K": 3.0, "MXFP4_MOE": 4.25, "source": 16.0}  # fmt: skip
LEVELS = tuple(recipe.name for recipe in RECIPES if not recipe.needs_importance)[:20]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every tenth setting")
    errors = accuracy(step=10 if parser.parse_args().quick else 1)
    print(f"{'':34}{'settings':>9}{'median':>9}{'95 %':>9}{'worst':>9}")
    for what, found in errors.items():
        print(line(what, found))
    speed()


def line(what: str, found: list[float]) -> str:
    found = sorted(found)
    shares = (statistics.median(found), found[int(0.95 * (len(found) - 1))], found[-1])
    return f"{what:34}{len(found):>9}" + "".join(f"{share:>9.2%}" for share in shares)


def accuracy(*, step: int) -> dict[str, list[float]]:
    """Errors as shares of the truth, by what is compared."""
    errors: dict[str, list[float]] = {}

    def note(what: str, found: float, wanted: float) -> None:
        errors.setdefault(what, []).append(abs(found - wanted) / max(wanted, 1))

    for name in NAMES:
        for row in list(rows(name))[::step]:
            if row["error"]:
                continue
            found = predicted(name, row)
            gpu, host = found.gpu, found.host
            note("Snug, weights", gpu.weights + host.weights, truth(row, "weights"))
            note("Snug, cache and state", gpu.kv + host.kv, truth(row, "kv"))
            note("Snug, compute buffers", gpu.compute + host.compute, truth(row, "compute"))
            note("Snug, total", gpu.buffers + host.buffers, truth(row, "total"))
            note("naive formula, total", naive(shape_by(name, row["preset"]), name, row), truth(row, "total"))
            if row["device"] == "cpu" and row["weights_repack"]:
                note(
                    "llama-fit-params, total on a CPU", truth(row, "total") - row["weights_repack"], truth(row, "total")
                )
            if is_whole_on_gpu(name, row):
                note(
                    "public VRAM formula, on the GPU", regression(shape_by(name, row["preset"]), name, row), on_gpu(row)
                )
                note("Snug, on the GPU", gpu.buffers, on_gpu(row))
    return errors


def on_gpu(row: dict[str, Any]) -> int:
    return int(sum(row[f"{part}_gpu"] for part in ("weights", "kv", "kv_swa", "state", "compute")))


def is_whole_on_gpu(name: str, row: dict[str, Any]) -> bool:
    usual = (row["cpu_moe"], row["n_ubatch"], row["n_parallel"], row["outputs"]) == (0, 512, 1, "one")
    return usual and row["n_gpu_layers"] > shape_by(name, row["preset"]).blocks and not row["no_kv_offload"]


def naive(shape: Shape, name: str, row: dict[str, Any]) -> float:
    """Parameters times bits, keys and values of every head and layer, and half a gigabyte."""
    parameters = plan_of(name, row["preset"]).model.parameters
    bits = _BITS[row["preset"].partition(":")[0]]
    item = 2 if row["kv"] == "f16" else 1.0625
    heads = max((*shape.kv_heads, 0))
    head = int(shape.key("attention.key_length_mla", 0) or max((*shape.key_lengths, 0)))
    return parameters * bits / 8 + 2 * shape.blocks * heads * head * row["n_ctx"] * item + 0.5e9


def regression(shape: Shape, name: str, row: dict[str, Any]) -> float:
    """oobabooga's formula, in bytes, less the 400 MiB of CUDA's context that it counts."""
    layers, bits = shape.blocks, 16 if row["kv"] == "f16" else 8
    size = plan_of(name, row["preset"]).file_bytes / MIB
    heads = max((*shape.kv_heads, 0))
    each = size / layers - 17.9955 + 3.1486e-5 * heads * bits * row["n_ctx"]
    share = max(0.969, bits - (math.floor(50.778 * shape.embedding / row["n_ctx"]) + 9.988))
    return (each * (layers + share) + 1516.5 - 400) * MIB


def speed() -> None:
    """40 models x 20 levels x 6 contexts x 3 cache formats, on a processor and on a GPU."""
    gpu = Gpu("Card", "NVIDIA", "GPU-0", 24 * GIB, 24 * GIB, used_by_others=0, driver="1")
    cpu, memory = Cpu("Processor", 8, 16, 16.0, ("AVX2",)), Memory(64 * GIB, 64 * GIB, "system")
    plans = [plan_of(name, level) for name in NAMES[:40] for level in LEVELS]
    gc.set_threshold(100_000, 50, 100)  # as in the process that judges for the window
    for what, hardware in (("a processor", Hardware(cpu, memory, ())), ("a GPU", Hardware(cpu, memory, (gpu,)))):
        seconds, count = timed(plans, hardware)
        print(f"{count:,} verdicts for {what}: {seconds:.2f} s of processor time, {seconds / count * 1e6:.0f} us each")


def timed(plans: Iterable[Any], hardware: Hardware) -> tuple[float, int]:
    start, count = time.process_time(), 0
    for plan in plans:
        for context in (2048, 4096, 8192, 16384, 32768, 65536):
            for kv_type in ("f16", "q8_0", "q4_0"):
                estimate_fit(plan, hardware, context=context, kv_type=kv_type)
                count += 1
    return time.process_time() - start, count


if __name__ == "__main__":
    main()
