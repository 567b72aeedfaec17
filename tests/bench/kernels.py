"""How fast the cpu kernels are, against GGML in the same run: `python -m tests.bench.kernels [--json] [format ...]`.

The same bf16-valued weights go to both sides, and with --importance the same importance matrix; GGML gets the weights
as float32, the only input it takes, and its conversion is not counted. A figure is the best of several rounds that
alternate between the two, so that both meet the same machine.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from llvmlite.binding import get_host_cpu_name
from numba import config
from numpy.typing import NDArray

import kernels
from tests.kernels import oracle

_OLDER = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
_NEWER = ("MXFP4", "NVFP4", "TQ1_0", "TQ2_0", "Q2_0", "Q1_0", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S")
FORMATS = (*_OLDER, *_NEWER)
ONLY_WEIGHTED = ("IQ2_XS", "IQ2_XXS", "IQ1_S", "IQ1_M")
COLUMNS = 4096
LONG_ENOUGH = 0.05  # seconds: what threads need to start is small beside it


def weights(rows: int) -> NDArray[np.uint16]:
    """Normal weights with a few outliers, as bf16 bits."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, COLUMNS), np.float32) * np.float32(0.02)
    x[rng.random(x.shape, np.float32) < 5e-4] *= 12
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def importance() -> NDArray[np.float32]:
    """One number a column, spread as those of real models are: over a few orders of magnitude."""
    return np.random.default_rng(1).lognormal(0, 1.5, COLUMNS).astype(np.float32)


def seconds(call: Callable[[slice], None], parts: list[slice], clock: Callable[[], float]) -> float:
    """The mean time of `call` over all parts, one thread a part, repeated for LONG_ENOUGH: that of the slowest part."""
    start = time.perf_counter()
    call(parts[0])
    repeats = 1 + int(LONG_ENOUGH / (time.perf_counter() - start))

    def repeat(part: slice) -> float:
        start = clock()
        for _ in range(repeats):
            call(part)
        return clock() - start

    with ThreadPoolExecutor(len(parts)) as pool:
        return max(pool.map(repeat, parts)) / repeats


def compare(
    name: str,
    source: NDArray[np.uint16],
    vector: NDArray[np.float32] | None,
    *,
    threads: int,
    rounds: int,
    clock: Callable[[], float],
) -> dict:
    """Speeds of one format, and whether the bytes agree."""
    floats = (source.astype(np.uint32) << 16).view(np.float32)
    ours = np.zeros((len(source), kernels.FORMATS[name].row_bytes(COLUMNS)), np.uint8)
    theirs = np.zeros_like(ours)
    parts = np.array_split(np.arange(len(source)), threads)
    parts = [slice(part[0], part[-1] + 1) for part in parts]

    def run_ours(part: slice) -> None:
        kernels.encode(source[part], name, importance=vector, backend="cpu", out=ours[part])

    def run_theirs(part: slice) -> None:
        oracle.quantize_into(floats[part], theirs[part], name, vector)

    times = [tuple(seconds(run, parts, clock) for run in (run_ours, run_theirs)) for _ in range(rounds + 1)][1:]
    fast, slow = (min(column) for column in zip(*times, strict=True))
    return {
        "format": name,
        "threads": threads,
        "snug": source.size / fast / 1e6,
        "ggml": source.size / slow / 1e6,
        "ratio": slow / fast,
        "same_bytes": bool(np.array_equal(ours, theirs)),
    }


def as_line(row: dict) -> str:
    """One result as a row of the table."""
    same = "equal" if row["same_bytes"] else "DIFFERENT"
    speeds = f"{row['snug']:9.1f} {row['ggml']:9.1f} {row['ratio']:6.1f}x"
    return f"{row['format']:8} {row['threads']:7} {speeds}  {same}"


def instruction_set() -> str:
    """The widest vector instructions of this CPU."""
    from kernels.cpu.lanes import FEATURES

    known = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("sse4.2", "SSE4.2"), ("neon", "NEON"))
    return next((name for flag, name in known if f"+{flag}" in FEATURES.split(",")), "baseline")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formats", nargs="*")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--importance", action="store_true")
    parser.add_argument("--cpu-time", action="store_true", help="of each thread, where others use the machine too")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    names = options.formats or (FORMATS + ONLY_WEIGHTED if options.importance else FORMATS)
    source = weights(options.rows)
    vector = importance() if options.importance else None
    kernels.prepare(names, source.dtype, importance=options.importance)
    clock = time.thread_time if options.cpu_time else time.perf_counter
    results = []
    head = {"cpu": config.CPU_NAME or get_host_cpu_name(), "isa": instruction_set(), "cores": os.cpu_count()}
    head["importance"] = options.importance
    if not options.json:
        inputs = "bf16 input and importance" if options.importance else "bf16 input"
        print(f"{head['cpu']}, {head['isa']}, {head['cores']} cores; M weights/s, {inputs}")
        print(f"{'format':8} {'threads':>7} {'Snug':>9} {'GGML':>9} {'ratio':>7}  bytes")
    for name in names:
        for threads in options.threads:
            row = compare(name, source, vector, threads=threads, rounds=options.rounds, clock=clock)
            results.append(row)
            if not options.json:
                print(as_line(row), flush=True)
    if options.json:
        print(json.dumps({**head, "results": results}, indent=2))


if __name__ == "__main__":
    main()
