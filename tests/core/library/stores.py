"""Stores as each tool fills them, small, in folders of the test's own; and what is measured of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import core.library.places
from core.gguf import encode_header, pad
from core.library import Places
from core.model import Metadata

COMMIT, OTHER = "a" * 40, "b" * 40


def gguf_bytes(seed: int = 0, *, family: str = "llama", file_type: int | None = 15, rows: int = 4) -> bytes:
    """A GGUF with one F32 and one Q4_K tensor, whose content the seed decides."""
    metadata = [Metadata("general.architecture", "str", family), Metadata("general.name", "str", f"Seed {seed}")]
    if file_type is not None:
        metadata.append(Metadata("general.file_type", "u32", file_type))
    first = pad(4 * 256)
    header = encode_header(metadata, [("norm", (256,), "F32", 0), ("weight", (rows, 256), "Q4_K", first)])
    return header + bytes(first) + bytes([seed % 256]) * (144 * rows)


def safetensors_bytes(names: Iterable[str] = ("w",), *, dtype: str = "BF16") -> bytes:
    header, offset = {}, 0
    for name in names:
        header[name] = {"dtype": dtype, "shape": [2, 4], "data_offsets": [offset, offset + 16]}
        offset += 16
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(range(16)) * (offset // 16)


def put(file: Path, content: bytes | str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def add_to_hub(
    cache: Path, repo: str, files: Mapping[str, bytes], *, commit: str = COMMIT, refs: Iterable[str] = ("main",)
) -> Path:
    """A snapshot as huggingface_hub leaves it; returns its folder."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for name, content in files.items():
        blob = put(folder / "blobs" / hashlib.sha256(content).hexdigest(), content)
        pointer = snapshot / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    for ref in refs:
        put(folder / "refs" / ref, commit)
    return snapshot


def add_to_ollama(store: Path, name: str, model: bytes, *, extra: bytes = b"MIT") -> Path:
    """A model as `ollama pull` leaves it; returns its manifest. `name` is HOST/NAMESPACE/MODEL/TAG."""
    layers = []
    for kind, content in (("model", model), ("license", extra)):
        digest = hashlib.sha256(content).hexdigest()
        put(store / "blobs" / f"sha256-{digest}", content)
        media = f"application/vnd.ollama.image.{kind}"
        layers.append({"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)})
    return put(store / "manifests" / name, json.dumps({"schemaVersion": 2, "layers": layers}))


def note_output(made: Path, target: Path) -> None:
    """As the command line notes a file that it has made."""
    with put(made, made.read_bytes() if made.exists() else b"").open("a") as file:
        file.write(json.dumps({"target": str(target), "file_bytes": target.stat().st_size}) + "\n")


def places_in(root: Path) -> Places:
    """A place of each kind below `root`."""
    folders = {name: (root / name,) for name in ("hub", "ollama", "lm_studio", "llama_cpp", "added", "outputs")}
    for (folder,) in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return Places(**folders, jobs=root / "jobs", made=root / "made.jsonl")


def lone_home(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """Makes `home` all that there is, with nothing in it; returns where its Hugging Face cache goes."""
    for name in ("HUGGINGFACE_HUB_CACHE", "HF_HOME", "OLLAMA_MODELS", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(core.library.places, "SERVICES", ())
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setenv("LLAMA_CACHE", str(home / "llama.cpp"))
    return home / "hub"


def bytes_below(*roots: Path) -> int:
    """Bytes of all regular files below the roots, each content once: what a disk would give back without them."""
    sizes = {}
    for root in roots:
        for place, _, names in os.walk(root):
            for name in names:
                path = Path(place, name)
                if not path.is_symlink():
                    status = path.stat()
                    sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def tree(root: Path) -> list[str]:
    """Every name below `root`."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))
