"""How soon a page of 20 verdicts is there on a line with 50 ms: python -m tests.bench.find. One line a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from core.known import shapes_of
from tests.fake_hub import FakeHub, FakeRepo

COUNT, LATENCY, RUNS = 20, 0.05, 3
# As many tensors as an 8B model has, but small ones: only names and shapes are read.
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
}  # fmt: skip


def files() -> dict[str, bytes]:
    header, end = {}, 0
    for name, shape in shapes_of(CONFIG).items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": len(text).to_bytes(8, "little") + text + bytes(end),
    }


def measure(fake: FakeHub, repos: list[FakeRepo], place: Path) -> tuple[float, int, int]:
    """(seconds for all verdicts, requests, bytes), by a process that has just given one verdict."""
    environment = {"HF_ENDPOINT": fake.url, "HF_HOME": str(place), "XDG_CACHE_HOME": str(place), "HF_TOKEN": ""}
    command = [sys.executable, "-m", "app", "hub"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env={**os.environ, **environment}, stdin=pipe, stdout=pipe, text=True) as desk:
        assert desk.stdin is not None
        assert desk.stdout is not None

        def ask(number: int, source: str) -> str:
            return json.dumps({"id": number, "ask": "glance", "with": {"source": source}}) + "\n"

        desk.stdin.write(ask(0, "Qwen/Qwen3-0.6B"))
        desk.stdin.flush()
        desk.stdout.readline()
        fake.log.clear()
        began = time.monotonic()
        desk.stdin.writelines(ask(number + 1, f"{repo.id}@{repo.commit}") for number, repo in enumerate(repos))
        desk.stdin.flush()
        assert all("answer" in json.loads(desk.stdout.readline()) for _ in repos)
        seconds = time.monotonic() - began
        desk.stdin.close()
    return seconds, len(fake.log), fake.sent()


def main() -> None:
    repos = [FakeRepo(f"org/model-{number}", {**files(), "number": str(number).encode()}) for number in range(COUNT)]
    with FakeHub(repos, latency=LATENCY) as fake:
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as place:
                seconds, requests, sent = measure(fake, repos, Path(place))
            print(
                f"{COUNT} verdicts in {seconds:.2f} s; a model takes {requests / COUNT} requests, {sent // COUNT} bytes"
            )


if __name__ == "__main__":
    main()
