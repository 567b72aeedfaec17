"""The effort "best" against GGML, error left and speed in the same run: `python -m tests.bench.best [format ...]`.

Error is measured as GGML minimises it for the format (tests/kernels/best/weights.py), over Student-t(5) weights; speed
is CPU time of one thread, GGML's and that of GGML's bytes and the search together, the best of several rounds.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import kernels
from kernels import best, reference
from tests.kernels import oracle
from tests.kernels.best.weights import errors, importance

COLUMNS = 4096


def weights(rows: int) -> NDArray[np.float32]:
    """Student-t(5) weights."""
    return (np.random.default_rng(0).standard_t(5, (rows, COLUMNS)) * 0.02).astype(np.float32)


def seconds(call: Callable[[], object], rounds: int) -> float:
    """The least CPU time of several calls."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def compare(name: str, x: NDArray[np.float32], *, known: bool, rounds: int) -> str:
    """One line of the table."""
    vector = importance(COLUMNS) if known else None
    ours = kernels.encode(x, name, importance=vector, backend="cpu", effort="best")
    theirs = oracle.quantize(x, name, vector)
    even = not known and name in reference.WEIGHTED_ENCODERS  # then the search takes every column for equal
    measure = np.ones(COLUMNS, np.float32) if even else vector
    left = errors(ours, x, name, measure).sum() / errors(theirs, x, name, measure).sum()
    fast = seconds(lambda: kernels.encode(x, name, importance=vector, backend="cpu", effort="best", out=ours), rounds)
    slow = seconds(lambda: oracle.quantize(x, name, vector), rounds)
    return f"{name:8} {'yes' if known else 'no':10} {left:6.3f} {x.size / fast / 1e6:10.1f} {slow / fast:6.2f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formats", nargs="*", default=[n for n in kernels.FORMATS if best.improvable(n)])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=128)
    options = parser.parse_args()
    x = weights(options.rows)
    print(f"{'format':8} {'importance':10} {'error':>6} {'M weights/s':>10} {'speed':>7}")
    for name in options.formats:
        for known in (False, True):
            if "cpu" in kernels.backends(name, importance=known):
                print(compare(name, x, known=known, rounds=options.rounds), flush=True)


if __name__ == "__main__":
    main()
