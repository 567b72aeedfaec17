"""Safetensors headers of a model folder: which tensors there are, and where. No weight is read.

A file is an 8-byte little-endian header length, a JSON header, then the data; offsets count from the data's start.
The header comes from a stranger, so every number in it is held against the file's real length.
Source of the layout: the safetensors README (huggingface/safetensors).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.model import TensorInfo
from core.sources.card import adapted_model, adapter_error

INDEX = "model.safetensors.index.json"
MAX_HEADER = 100_000_000
SIZES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_AGAIN = "Download the file again; it is cut short or damaged."
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_folder(folder: Path, lengths: Mapping[str, int] | None = None) -> tuple[list[TensorInfo], list[Path]]:
    """Every tensor of the checkpoint in `folder`, in the files' order, and the files.

    `lengths`: those of the whole files, by name, where the folder holds only their headers.
    """
    index = folder / INDEX
    files = _indexed_files(index) if index.exists() else _loose_files(folder)
    tensors = [tensor for file in files for tensor in read_file(file, (lengths or {}).get(file.name))]
    seen: dict[str, Path] = {}
    for tensor in tensors:
        if tensor.name in seen:
            raise SnugError(
                f"The tensor {tensor.name} is in both {seen[tensor.name].name} and {tensor.file.name}.",
                "Keep one set of safetensors files in the folder.",
            )
        seen[tensor.name] = tensor.file
    if index.exists():
        _check_index(index, seen)
    return tensors, files


def _weight_map(index: Path) -> dict[str, str]:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SnugError(f"{index} is not a readable index of safetensors files.", _AGAIN) from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise SnugError(f"{index} has no usable weight_map.", _AGAIN)
    return found


def _indexed_files(index: Path) -> list[Path]:
    names = sorted(set(_weight_map(index).values()))
    if any(Path(name).name != name for name in names):
        raise SnugError(f"{index} points outside its folder.", "Do not use this model: its index is not honest.")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise SnugError(
            f"{len(missing)} of {len(names)} files are missing in {index.parent}: {', '.join(missing[:4])}.",
            "Download the missing files into the folder.",
        )
    return [index.parent / name for name in names]


def _check_index(index: Path, seen: dict[str, Path]) -> None:
    listed = _weight_map(index)
    for name, file in listed.items():
        if name not in seen:
            raise SnugError(f"The tensor {name} is missing: {INDEX} says it is in {file}.", _AGAIN)
        if seen[name].name != file:
            raise SnugError(
                f"{INDEX} says that {name} is in {file}, but it is in {seen[name].name}.",
                "Download the index and the files of one revision together.",
            )
    extra = next((name for name in seen if name not in listed), None)
    if extra is not None:
        raise SnugError(
            f"The tensor {extra} is in {seen[extra].name} but not in {INDEX}.",
            "Download the index and the files of one revision together.",
        )


def _loose_files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    files = [file for file in found if file.name.startswith("model")] or found
    if not files:
        raise _no_weights(folder)
    if any(file.name.startswith("adapter_") for file in files):
        raise adapter_error(folder.name, adapted_model(folder))
    if len(files) > 1:
        _check_numbered(folder, files)
    return files


def _check_numbered(folder: Path, files: list[Path]) -> None:
    matches = [re.fullmatch(r".*-(\d+)-of-(\d+)\.safetensors", file.name) for file in files]
    numbers = {int(match[1]) for match in matches if match}
    totals = {int(match[2]) for match in matches if match}
    if not all(matches) or len(totals) != 1:
        raise SnugError(
            f"{folder} has {len(files)} safetensors files and no {INDEX} to say how they belong together.",
            f"Download {INDEX} too, or keep one set of files.",
        )
    missing = sorted(set(range(1, totals.pop() + 1)) - numbers)
    if missing:
        raise SnugError(
            f"Of the numbered safetensors files in {folder}, number {missing[0]} is missing.",
            "Download the missing files into the folder.",
        )


def _no_weights(folder: Path) -> SnugError:
    pickles = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickles:
        return SnugError(
            f"{folder} holds its weights only as PyTorch pickles ({', '.join(pickles[:3])}), which Snug does not open: "
            "loading a pickle can run any program on this computer.",
            "Get a safetensors version: look for .safetensors files at the model's page, under its branch "
            "refs/convert/safetensors or pull requests; or use the Hub's converter space (safetensors/convert).",
        )
    return SnugError(f"{folder} has no .safetensors files.", "Choose a folder with a model's weights in it.")


def read_file(file: Path, whole: int | None = None) -> list[TensorInfo]:
    """The tensors of one safetensors file, in the order of its header. `whole`: its length, if only that is there."""
    try:
        with file.open("rb") as stream:
            length = stream.seek(0, 2) if whole is None else whole
            stream.seek(0)
            header_length = int.from_bytes(stream.read(8), "little")
            if length < 8 or header_length > min(MAX_HEADER, length - 8):
                raise SnugError(
                    f"{file} is no safetensors file: it claims a header of {header_length:,} bytes, "
                    f"but the file has {length:,}.",
                    _AGAIN,
                )
            text = stream.read(header_length)
    except OSError as error:
        raise SnugError(
            f"{file} cannot be read: {error.strerror or error}.", "Check the path and permissions."
        ) from error
    start = 8 + header_length
    tensors = [_tensor(file, name, entry, start=start, length=length) for name, entry in _entries(file, text)]
    _check_overlap(file, tensors)
    return tensors


def _entries(file: Path, text: bytes) -> list[tuple[str, Any]]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SnugError(f"{file} is no safetensors file: its header is not JSON.", _AGAIN) from error
    if not isinstance(header, dict):
        raise SnugError(f"{file} is no safetensors file: its header is not a table of tensors.", _AGAIN)
    return [(name, entry) for name, entry in header.items() if name != "__metadata__"]


def _tensor(file: Path, name: str, entry: Any, *, start: int, length: int) -> TensorInfo:
    try:
        dtype, shape, (begin, end) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
        honest = all(type(number) is int and number >= 0 for number in (*shape, begin, end)) and begin <= end
    except (TypeError, KeyError, ValueError):
        honest = False
    if not honest:
        raise SnugError(f"{file}: the header's entry for {name} makes no sense.", _AGAIN)
    if start + end > length:
        raise SnugError(f"{file} is cut short: {name} ends at byte {start + end:,}, the file has {length:,}.", _AGAIN)
    if dtype not in SIZES:
        raise SnugError(
            f"{file}: the tensor {name} is of type {dtype[:40]}, which Snug does not know.",
            f"Use a version of the model in BF16 or F16. Known types: {', '.join(SIZES)}.",
        )
    if prod(shape) * SIZES[dtype] != end - begin:
        raise SnugError(
            f"{file}: the header gives {name} {end - begin:,} bytes, but {dtype} {list(shape)} "
            f"needs {prod(shape) * SIZES[dtype]:,}.",
            _AGAIN,
        )
    return TensorInfo(name, dtype, shape, file, start + begin, end - begin)


def _check_overlap(file: Path, tensors: list[TensorInfo]) -> None:
    end, before = 0, ""
    for tensor in sorted(tensors, key=lambda t: (t.offset, t.nbytes)):
        if tensor.offset < end:
            raise SnugError(f"{file}: the header lets {before} and {tensor.name} overlap.", _AGAIN)
        end, before = tensor.offset + tensor.nbytes, tensor.name
