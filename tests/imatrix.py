"""Importance matrices for the tests, in both containers."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

import core


def seeded_means(model: core.ModelInfo, *, seed: int = 5) -> dict[str, np.ndarray]:
    """Name -> float32 [experts, columns], spread as those of real models are; embeddings and output are left out."""
    random = np.random.default_rng(seed)
    means = {}
    for tensor in model.tensors:
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1 and "gate_inp" not in tensor.name:
            experts = tensor.shape[0] if len(tensor.shape) > 2 else 1
            means[tensor.name] = random.lognormal(0, 1.5, (experts, tensor.columns)).astype(np.float32)
    return means


def write_imatrix(
    file: Path, means: Mapping[str, np.ndarray], *, counts: Mapping[str, np.ndarray] | None = None, chunks: int = 7
) -> Path:
    """A GGUF as llama-imatrix writes it; `counts` (float32 [experts]) are 512 where not given."""
    writer = gguf.GGUFWriter(file, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["some text.txt", "more.txt"])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in means.items():
        times = (counts or {}).get(name, np.full(len(values), 512, np.float32)).reshape(-1, 1)
        writer.add_tensor(f"{name}.in_sum2", values * times)
        writer.add_tensor(f"{name}.counts", times)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def write_legacy(file: Path, means: Mapping[str, np.ndarray], *, calls: int = 3, ending: bytes | None = None) -> Path:
    """A .dat file; `ending` takes the place of the number of chunks and the data set's name."""
    parts = [struct.pack("<i", len(means))]
    for name, values in means.items():
        parts.append(struct.pack("<i", len(name)) + name.encode())
        parts.append(struct.pack("<ii", calls, values.size) + (values * np.float32(calls)).astype("<f4").tobytes())
    dataset = b"old text.txt"
    parts.append(struct.pack("<ii", 9, len(dataset)) + dataset if ending is None else ending)
    file.write_bytes(b"".join(parts))
    return file
