"""How long `snug quantize` takes on a 1B-shaped Llama folder, process start included, and what memory it peaks at.

    python -m tests.bench.end_to_end [--recipe Q4_K_M] [--threads 0] [--folder DIR] [--runs 3] [--also Q8_0]

With --also, the time of both files in one job against that of a job for each.

The folder (2 GB of bf16) is written on the first run and kept if --folder names a place for it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.models import CONFIG, llama_shapes, make_llama, write_json

SHAPE = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 4096,
}
ROOT = Path(__file__).resolve().parents[2]


def write_model(folder: Path) -> int:
    """The folder, unless it is there already; returns the number of weights."""
    shapes = llama_shapes(CONFIG | SHAPE)
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    file = folder / "model.safetensors"
    if file.exists() and file.stat().st_size > 2 * count:
        return count
    make_llama(folder, vocab_size=1536)
    write_json(folder / "config.json", CONFIG | SHAPE)
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    random = np.random.default_rng(1)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            values = random.standard_normal(shape, np.float32) * np.float32(0.02)
            values[random.random(shape, np.float32) < 5e-4] *= 8
            out.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    return count


def measure(folder: Path, threads: int, *recipes: str) -> tuple[float, int, int]:
    """(seconds, peak resident bytes, bytes of the files) of one process."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        wanted = [word for recipe in recipes for word in ("-t", recipe, "-o", str(Path(place) / f"{recipe}.gguf"))]
        command = [sys.executable, "-m", "app", "quantize", str(folder), *wanted, "--json"]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--threads", str(threads)], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        assert status == 0, "snug quantize failed"
        return seconds, usage.ru_maxrss * 1024, sum(file.stat().st_size for file in Path(place).glob("*.gguf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="Q4_K_M")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--also", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = options.folder or Path(place) / "llama-1b-shaped"
        count = write_model(folder)
        both = (options.recipe, options.also) if options.also else ()
        measure(folder, options.threads, *(both or (options.recipe,)))  # compiles the kernels and warms the page cache
        for _ in range(options.runs):
            seconds, peak, size = measure(folder, options.threads, options.recipe)
            print(f"{options.recipe}: {seconds:.2f} s, {count / seconds / 1e6:.0f} M weights/s, "
                  f"peak RSS {peak / 2**20:.0f} MiB, file {size / 1e6:.1f} MB")  # fmt: skip
            if both:
                other, *_ = measure(folder, options.threads, options.also)
                together, peak, _ = measure(folder, options.threads, *both)
                print(f"{' and '.join(both)}: {seconds + other:.2f} s by two jobs ({other:.2f} s for {options.also}), "
                      f"{together:.2f} s by one, {together / (seconds + other):.2f} times as long, "
                      f"peak RSS {peak / 2**20:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
