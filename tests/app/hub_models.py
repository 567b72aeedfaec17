"""A small Hub for the page Find: what converts, what does not, what is gated, GGUF files, and many more to scroll."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import core
from tests.fake_hub import FakeHub, FakeRepo
from tests.models import CONFIG, SAMPLE, llama_shapes, make_llama, weights, write_weights

CARD = """---
license: apache-2.0
---
# A small model

It **writes** short texts. <script>alert(1)</script><img src="https://example.com/pixel.png">

![a picture](https://example.com/chart.png) ![a chart](chart.png) ![broken](broken.png)

See [the paper](https://example.com/paper) or [a file](file:///etc/passwd).

| test | score |
|---|---|
| one | 1.0 |
"""
FILLERS = 60


def chart() -> bytes:
    """A picture as PNG: a grey slope of 1200 by 400."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(min(255, 40 + (x + y) // 8) for x in range(1200)) for y in range(400))
    head = struct.pack(">IIBBBBB", 1200, 400, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def sample_files() -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in SAMPLE.iterdir() if path.is_file()}
    files |= {"chart.png": chart(), "broken.png": b"no picture"}
    return {**files, "README.md": CARD.encode(), "pytorch_model.bin": b"no" * 1000}


def row(number: int, parameters: int, **more: object) -> dict[str, object]:
    return {
        "downloads": 2_000_000 // number,
        "likes": 5000 // number,
        "trendingScore": 1000 - number,
        "lastModified": f"2026-{1 + number % 9:02d}-1{number % 9}T00:00:00.000Z",
        "safetensors": {"total": parameters},
        **more,
    }


def hub_models(folder: Path) -> list[FakeRepo]:
    """`folder` takes what has to be written first."""
    sample = sample_files()
    other = {**sample, "config.json": json.dumps({**CONFIG, "model_type": "x", "architectures": ["XForAll"]}).encode()}
    make_llama(folder, hidden_size=512, intermediate_size=1024, num_hidden_layers=4)
    write_weights(folder, weights(llama_shapes(json.loads((folder / "config.json").read_text()))), shards=2)
    (folder / "model.safetensors").unlink(missing_ok=True)
    larger = {path.name: path.read_bytes() for path in folder.iterdir()}
    ggufs = {
        f"small-{level}.gguf": b"GGUF" + bytes(size) for level, size in (("Q4_K_M", 1_500_000), ("Q8_0", 2_400_000))
    }
    based = ("gguf", "base_model:org/small", "base_model:quantized:org/small")
    return [
        FakeRepo("org/small", sample, row=row(1, 2_200_000), tags=("safetensors", "license:apache-2.0")),
        FakeRepo("org/larger-in-two-parts", larger, row=row(2, 9_000_000), tags=("safetensors", "license:mit")),
        FakeRepo("org/of-another-kind", other, row=row(3, 2_200_000), tags=("safetensors", "license:other")),
        FakeRepo("meta/gated", sample, gated="manual", row=row(4, 8 * 10**9), tags=("safetensors", "license:llama3.1")),
        FakeRepo("quants/small-GGUF", ggufs, row=row(5, 0), tags=based),
        *(
            FakeRepo(f"many/model-{number:02d}", {"config.json": b"{}"}, row=row(6 + number, 10**9 * (number + 1)))
            for number in range(FILLERS)
        ),
    ]


@contextmanager
def asking(fake: FakeHub, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FakeHub]:
    """This very process asks `fake`: huggingface_hub reads its environment once, perhaps long before."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", fake.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "own"))
    yield fake
    core.close_connections()


def hub_environment(fake: FakeHub, folder: Path) -> dict[str, str]:
    """What the process that asks the Hub must find in its environment."""
    return {
        "HF_ENDPOINT": fake.url,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_CACHE": str(folder / "cache"),
        "XDG_CACHE_HOME": str(folder / "own"),
        "HF_HUB_OFFLINE": "",
        "HF_TOKEN": "",
        "NO_PROXY": "127.0.0.1",
    }
