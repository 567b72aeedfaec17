"""How fast a download is, against a plain read of the same bytes; and how soon verdicts are there.

    python -m tests.bench.download [--size MB] [--rounds N]

The server is a process of its own on this machine. `plain` reads with http.client and throws the bytes away; Snug
writes them to a new file, hashes them and syncs it. Both in turn, best of the rounds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

from core.events import Done
from core.hub import Hub, PullJob, hub_source, open_remote, pull
from tests.fake_hub import FakeHub, FakeRepo, sha256
from tests.models import CONFIG, llama_shapes

PIECE = 1 << 20
RATES = {"as fast as it goes": 0, "1 Gbit/s": 125_000_000, "100 Mbit/s": 12_500_000}
VERDICTS = 20
LATENCY = 0.05


def serve(pipe: Connection, repos: list[FakeRepo], rate: int, latency: float) -> None:
    with FakeHub(repos, rate=rate, latency=latency) as fake:
        pipe.send((fake.url, fake.storage_url))
        pipe.recv()
        pipe.send((len(fake.log), fake.sent()))


@contextmanager
def served(repos: list[FakeRepo], *, rate: int = 0, latency: float = 0) -> Iterator[tuple[str, str, Connection]]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(there, repos, rate, latency), daemon=True)
    process.start()
    try:
        yield *here.recv(), here
    finally:
        process.kill()
        process.join()


def plain(storage: str, data: bytes) -> float:
    """Seconds to read the file by one range."""
    connection = http.client.HTTPConnection(urlsplit(storage).netloc)
    began = time.perf_counter()
    connection.request("GET", f"/storage/{sha256(data)}?signature=1", headers={"Range": f"bytes=0-{len(data) - 1}"})
    answer, buffer = connection.getresponse(), bytearray(PIECE)
    while answer.readinto(buffer):
        pass
    connection.close()
    return time.perf_counter() - began


def snug(url: str, folder: Path, connections: int) -> tuple[float, float]:
    """Seconds of a download, and of the processor."""
    shutil.rmtree(folder, ignore_errors=True)
    began, busy = time.perf_counter(), time.process_time()
    *_, last = pull(PullJob("org/model", "model.safetensors", connections), hub=Hub(url, folder))
    assert isinstance(last, Done), last
    return time.perf_counter() - began, time.process_time() - busy


def throughput(size: int, rounds: int, folder: Path) -> None:
    data = random.Random(1).randbytes(PIECE) * -(-size // PIECE)
    data = data[:size]
    repo = FakeRepo("org/model", {"model.safetensors": data})
    sha256(data)
    for name, rate in RATES.items():
        with served([repo], rate=rate) as (url, storage, _):
            plains, ours = [], []
            for _round in range(rounds if rate != RATES["100 Mbit/s"] else 1):
                plains.append(plain(storage, data))
                ours.append(snug(url, folder / "cache", 1))
            best, (took, busy) = min(plains), min(ours)
            print(
                f"{name:20} plain {size / best / 1e6:7.0f} MB/s   snug {size / took / 1e6:7.0f} MB/s   "
                f"{best / took:6.1%}   {busy * 1e9 / size:5.2f} s of a core a GB"
            )


def model_headers(id: str) -> FakeRepo:
    """The headers of a model with 32 layers; its weights are zeros, for nobody reads them."""
    config = {**CONFIG, "num_hidden_layers": 32}
    header, at = {}, 0
    for name, shape in llama_shapes(config).items():
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + 2 * prod(shape)]}
        at += 2 * prod(shape)
    text = json.dumps(header).encode()
    weights = len(text).to_bytes(8, "little") + text + bytes(at)
    return FakeRepo(id, {"config.json": json.dumps(config).encode(), "model.safetensors": weights})


def verdicts(folder: Path) -> None:
    os.environ["XDG_CACHE_HOME"] = str(folder)
    repos = [model_headers(f"org/model-{number}") for number in range(VERDICTS)]
    for repo in repos:
        repo.commit  # noqa: B018 - hashed before the clock starts
        sha256(repo.files["model.safetensors"])
    with served(repos, latency=LATENCY) as (url, _, pipe), ThreadPoolExecutor(8) as pool:
        hub, began = Hub(url, folder), time.perf_counter()
        list(pool.map(lambda repo: open_remote(hub_source(repo.id), hub=hub, quick=True), repos))
        took = time.perf_counter() - began
        pipe.send(None)
        requests, sent = pipe.recv()
    print(
        f"{VERDICTS} models from headers at {LATENCY * 1000:.0f} ms a request: {took:.2f} s, "
        f"{requests / VERDICTS:.1f} requests and {sent / VERDICTS / 1e3:.0f} KB each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, metavar="MB")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        throughput(options.size * 1_000_000, options.rounds, Path(folder))
        verdicts(Path(folder))
    print(f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, with the file in memory")


if __name__ == "__main__":
    main()
