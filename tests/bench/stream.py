"""How well a stream from the Hub keeps the line and the kernels busy at once.

    python -m tests.bench.stream [--layers N] [--type T] [--rates MB/s ...]

The server is a process of its own on this machine, with a limit on each connection. `network` reads the same ranges
and throws them away, `encode` makes the file from the folder, `stream` does both at once: without overlap it would
take their sum, with a perfect one the longer of the two.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import core
from core.jobs.job import QuantizeJob
from core.running.quantize import check_job, run
from core.running.stream import AHEAD, SLAB_WEIGHTS, open_stream
from tests.bench.download import served
from tests.fake_hub import FakeRepo
from tests.models import make_llama

SHAPE = {"hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 32, "num_key_value_heads": 8}
LATENCY = 0.05


def network(plan: core.Plan) -> float:
    """Seconds to read every source tensor once by as many threads as a stream has, in pieces of a slab."""
    stream = open_stream(plan.model, lambda: False)
    assert stream
    each = 2 * SLAB_WEIGHTS
    sources = [source for planned in plan.tensors for source in planned.tensor.sources]
    pieces = [(s, at, min(each, s.nbytes - at)) for s in sources for at in range(0, s.nbytes, each)]
    began = time.perf_counter()
    with stream, ThreadPoolExecutor(AHEAD + len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda piece: len(stream.read(*piece)), pieces))
    return time.perf_counter() - began


def made(source: str, recipe: str, out: Path) -> tuple[float, float]:
    """Seconds until all is encoded, and until it is checked too."""
    began, encoded = time.perf_counter(), 0.0
    for event in run(QuantizeJob(source, recipe, str(out), overwrite=True, card=False)):
        if isinstance(event, core.Progress) and event.stage == "encode" and event.bytes_done == 0:
            began = time.perf_counter()
        if isinstance(event, core.Progress) and event.stage == "write":
            encoded = time.perf_counter() - began
    assert isinstance(event, core.Done), event
    return encoded, time.perf_counter() - began


def measure(folder: Path, recipe: str, rate: int) -> None:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    total = sum(map(len, files.values()))
    out = folder.parent / "out.gguf"
    encode, _ = made(str(folder), recipe, out)
    encode = min(encode, made(str(folder), recipe, out)[0])
    expected = out.read_bytes()
    with served([FakeRepo("org/model", files)], rate=rate, latency=LATENCY) as (url, _, _):
        del files
        os.environ |= {"HF_ENDPOINT": url, "HF_HOME": str(folder.parent / "hf")}
        plan = check_job(QuantizeJob("hub:org/model", recipe, str(out), overwrite=True))
        line = network(plan)
        stream, whole = made("hub:org/model", recipe, out)
    same = "the same bytes" if out.read_bytes() == expected else "OTHER BYTES"
    ideal = max(line, encode)
    print(
        f"{total / 1e6:,.0f} MB, {rate / 1e6:.0f} MB/s a connection: network {line:.2f} s, encode {encode:.2f} s, "
        f"stream {stream:.2f} s ({ideal / stream:.0%} of a perfect overlap, sum {line + encode:.2f} s), "
        f"with its check {whole:.2f} s; {same}",
        flush=True,
    )


def memory(folder: Path, recipe: str, url: str) -> None:
    """Peak RSS of a process that does nothing but a stream."""
    os.environ |= {"HF_ENDPOINT": url, "HF_HOME": str(folder.parent / "hf")}
    made("hub:org/model", recipe, folder.parent / "alone.gguf")
    status = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would be the parent's, where that is larger
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(f"peak RSS of a stream: {peak / 1024:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--rates", type=int, nargs="*", default=[5, 20])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = make_llama(Path(place) / "model", shards=2, num_hidden_layers=asked.layers, **SHAPE)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        with served([FakeRepo("org/model", files)]) as (url, _, _):
            del files
            process = get_context("spawn").Process(target=memory, args=(folder, asked.type, url))
            process.start()
            process.join()
        for rate in asked.rates:  # the Hub of a process is found once, so each has one of its own
            process = get_context("spawn").Process(target=measure, args=(folder, asked.type, rate * 10**6))
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
