"""How fast the GPU kernels are, on a GPU machine: `python -m tests.bench.gpu [--json] [format ...]`.

GB/s are bytes of bf16 input a second, from and to GPU memory. The yardstick is a copy of the same input from GPU memory
to GPU memory, in the same run: no encoder can be faster than reading its input. Before a format is timed, its bytes are
held to those of the CPU on a part of the weights.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable

import numpy as np
import torch

import kernels
from kernels import gpu

COLUMNS = 4096


def weights(rows: int) -> torch.Tensor:
    """Normal weights with a few outliers, bf16, on the GPU."""
    random = torch.Generator("cuda").manual_seed(0)
    x = torch.randn(rows, COLUMNS, generator=random, device="cuda") * 0.02
    outliers = torch.rand(x.shape, generator=random, device="cuda") < 5e-4
    return torch.where(outliers, x * 12, x).to(torch.bfloat16)


def milliseconds(call: Callable[[], object], *, rounds: int) -> float:
    """The median time of a call on the GPU, after two calls that compile and warm up."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    for start, end in marks:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in marks)


def has_same_bytes(name: str, x: torch.Tensor) -> bool:
    """Whether the first rows are packed as the CPU packs them."""
    part = x[:64]
    bits = part.view(torch.int16).cpu().numpy().view(np.uint16)
    return np.array_equal(gpu.encode(part, name).cpu().numpy(), kernels.encode(bits, name))


def measure(name: str, x: torch.Tensor, *, rounds: int, copy_ms: float) -> dict:
    """Speed of one format, and whether its bytes are right."""
    packed = torch.empty((len(x), kernels.FORMATS[name].row_bytes(COLUMNS)), dtype=torch.uint8, device="cuda")
    peak = torch.zeros(1, dtype=torch.int32, device="cuda")
    taken = milliseconds(lambda: gpu.launch(x, packed, peak, name), rounds=rounds)
    return {
        "format": name,
        "ms": taken,
        "gb_per_s": x.numel() * x.element_size() / taken / 1e6,
        "of_copy": copy_ms / taken,
        "same_bytes": has_same_bytes(name, x),
    }


def as_line(row: dict) -> str:
    """One result as a row of the table."""
    same = "equal" if row["same_bytes"] else "DIFFERENT"
    return f"{row['format']:8} {row['ms']:9.3f} {row['gb_per_s']:9.1f} {row['of_copy']:8.2f}x  {same}"


def main() -> int:
    encodable = [name for name in gpu.KERNELS if kernels.encodable(name)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formats", nargs="*", default=encodable)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=32768, help=f"of {COLUMNS} weights")
    options = parser.parse_args()
    if not gpu.available():
        print("No GPU that torch and triton can use: nothing was measured.", file=sys.stderr)
        return 1
    x = weights(options.rows)
    target = torch.empty_like(x)
    copy_ms = milliseconds(lambda: target.copy_(x), rounds=options.rounds)
    results = [measure(name, x, rounds=options.rounds, copy_ms=copy_ms) for name in options.formats]
    head = {"gpu": torch.cuda.get_device_name(), "weights": x.numel(), "copy_ms": copy_ms}
    if options.json:
        print(json.dumps({**head, "results": results}, indent=2))
        return 0
    print(f"{head['gpu']}, {x.numel() / 1e6:.0f} M weights, bf16 input; a copy takes {copy_ms:.3f} ms")
    print(f"{'format':8} {'ms':>9} {'GB/s':>9} {'of copy':>9}  bytes")
    print("\n".join(as_line(row) for row in results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
