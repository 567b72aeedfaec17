"""What the headers of an item say: kind, family, quantization. Remembered on disk, so that a file is read once.

A remembered answer counts for the same path, size and time of change. Reading a header counts as use of the file for
the system; `last_used` knows better.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import SnugError
from core.gguf import skim_header
from core.library.item import FormatShare, LibraryItem, StoredFile, Summary, in_words
from core.library.made import NOT_MADE, source_in, with_card
from core.library.reading import read_table
from core.model import TensorInfo
from core.recipes import RECIPES
from core.shards import INDEX, read_file

VERSION = 3
_SLACK = 5.0  # seconds between reading a header and the time of use that the system notes for it
_LABELS = {recipe.file_type: recipe.name for recipe in RECIPES}
_METHODS = {"gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "fp8": "FP8", "mxfp4": "MXFP4"}
_PLAIN = ("F64", "F32", "F16", "BF16")


class FileFacts(NamedTuple):
    """What one file's header says; `used` and `read`: when it had been used before, and when its header was read.

    `source`: what Snug made it of, as `made.source_in` gives it.
    """

    kind: str
    family: str
    label: str
    parameters: int
    formats: tuple[tuple[str, int, int], ...]
    problem: str
    used: float
    read: float
    source: str = ""


@dataclass
class HeaderMemory:
    """Facts by file. `seen` are those of this scan, which alone are kept."""

    known: dict[str, FileFacts]
    seen: dict[str, FileFacts]
    is_new: bool = False

    def facts(self, file: StoredFile) -> FileFacts:
        """What `file` says, read only if it is not known yet."""
        key = f"{file.real}|{file.size}|{file.modified}"
        if key not in self.seen:
            self.is_new |= key not in self.known
            self.seen[key] = self.known.get(key) or _read(file)
        return self.seen[key]


def load_memory(path: Path | None) -> HeaderMemory:
    """What was remembered at `path`; nothing where that is missing or spoiled.

    A line each: one large JSON would be read in one go, and the window waits meanwhile.
    """
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines() if path else ["{}"]
        if json.loads(first).get("version") != VERSION:
            return HeaderMemory({}, {})
        return HeaderMemory({key: _facts_from(values) for key, values in map(json.loads, lines)}, {})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return HeaderMemory({}, {})


def _facts_from(values: Any) -> FileFacts:
    kind, family, label, parameters, formats, problem, used, read, source = values
    shares = tuple((str(name), int(tensors), int(nbytes)) for name, tensors, nbytes in formats)
    texts = str(kind), str(family), str(label), int(parameters)
    return FileFacts(*texts, shares, str(problem), float(used), float(read), str(source))


def save_memory(path: Path, memory: HeaderMemory) -> None:
    """Keeps what was seen, whole or not at all. Raises OSError."""
    if not memory.is_new and len(memory.seen) == len(memory.known):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps({"version": VERSION}) + "\n")
        file.writelines(json.dumps(entry) + "\n" for entry in memory.seen.items())
    os.replace(part, path)


def with_summary(item: LibraryItem, memory: HeaderMemory) -> LibraryItem:
    """`item` with what its headers say, whose it is, and when it was used last. Never raises for a bad file."""
    facts = [memory.facts(file) for file in item.weights]
    item = with_card(item, facts[0].source if facts else NOT_MADE)
    used = max((last_used(file, fact) for file, fact in zip(item.weights, facts, strict=True)), default=0.0)
    summary = _summary(item, facts)
    problem = item.problem or summary.problem
    return replace(item, summary=summary, problem=problem, used=used or max((f.used for f in item.files), default=0.0))


def last_used(file: StoredFile, facts: FileFacts) -> float:
    """When the file was used, not counting our own look at its header."""
    was_us = facts.read - _SLACK <= file.used <= facts.read + _SLACK
    return max(facts.used if was_us else file.used, file.modified / 1e9)


def _read(file: StoredFile) -> FileFacts:
    used = file.used
    try:
        found = _read_kind(file)
    except (SnugError, MemoryError, OSError) as error:
        kind = "GGUF" if _is_gguf(file) else "safetensors" if file.path.suffix == ".safetensors" else "other"
        found = FileFacts(kind, "", "", 0, (), _problem(error, file), 0.0, 0.0)
    return found._replace(used=used, read=time.time())


def _problem(error: Exception, file: StoredFile) -> str:
    """The error in words, with the name that people know the file by."""
    if isinstance(error, SnugError):
        return error.message.replace(str(file.real), file.path.name)
    return in_words(error) if isinstance(error, OSError) else "Its header is too large to be read."


def _is_gguf(file: StoredFile) -> bool:
    if file.path.suffix.lower() == ".gguf":
        return True
    try:
        with file.real.open("rb") as stream:
            return stream.read(4) == b"GGUF"
    except OSError:
        return False


def _read_kind(file: StoredFile) -> FileFacts:
    if _is_gguf(file):
        return _gguf_facts(file)
    if file.path.suffix == ".safetensors":
        tensors = read_file(file.real)
        return FileFacts("safetensors", "", "", _weights(tensors), _shares(tensors), "", 0.0, 0.0)
    return FileFacts("other", "", "", 0, (), "", 0.0, 0.0)


def _gguf_facts(file: StoredFile) -> FileFacts:
    header = skim_header(file.real)
    keys = {item.key: item.value for item in header.metadata}
    family = str(keys.get("general.architecture", ""))
    role = str(keys.get("general.type", "model"))
    number = keys.get("general.file_type")
    label = _LABELS.get(number, "") if isinstance(number, int) and role == "model" else ""
    if role != "model":
        family = f"{family} {role}".strip()
    shares = _shares(header.tensors)
    label, weights = label or main_format(shares), _weights(header.tensors)
    return FileFacts("GGUF", family, label, weights, shares, "", 0.0, 0.0, source_in(keys))


def _weights(tensors: Iterable[TensorInfo]) -> int:
    return sum(prod(tensor.shape) for tensor in tensors)


def _shares(tensors: Iterable[TensorInfo]) -> tuple[tuple[str, int, int], ...]:
    """(format, tensors, bytes), the one with most bytes first."""
    count, nbytes = Counter[str](), Counter[str]()
    for tensor in tensors:
        count[tensor.dtype] += 1
        nbytes[tensor.dtype] += tensor.nbytes
    return tuple((name, count[name], size) for name, size in nbytes.most_common())


def main_format(shares: Iterable[tuple[str, int, int]]) -> str:
    """The format of most bytes."""
    return max(shares, key=lambda share: share[2], default=("", 0, 0))[0]


def _summary(item: LibraryItem, facts: list[FileFacts]) -> Summary:
    shares = _together(facts)
    kinds = [fact.kind for fact in facts if fact.kind != "other"]
    kind = kinds[0] if kinds else "other"
    config = _config(item) if kind != "GGUF" else {}
    family = next((fact.family for fact in facts if fact.family), "") or _family(config)
    label = next((fact.label for fact in facts if fact.label), "") or _method(config) or main_format(shares)
    problem = next((fact.problem for fact in facts if fact.problem), "") or _missing(item)
    parameters = sum(fact.parameters for fact in facts) if not _method(config) else 0
    return Summary(kind, family, label, parameters, tuple(FormatShare(*share) for share in shares), problem)


def _together(facts: Iterable[FileFacts]) -> list[tuple[str, int, int]]:
    count, nbytes = Counter[str](), Counter[str]()
    for fact in facts:
        for name, tensors, size in fact.formats:
            count[name] += tensors
            nbytes[name] += size
    return [(name, count[name], size) for name, size in nbytes.most_common()]


def _config(item: LibraryItem) -> Mapping[str, Any]:
    names = [file.real for file in item.files if file.path == item.path / "config.json"]
    try:
        return read_table(names[0]) if names else {}
    except (OSError, ValueError):
        return {}


def _family(config: Mapping[str, Any]) -> str:
    classes = config.get("architectures")
    if isinstance(config.get("model_type"), str):
        return str(config["model_type"])
    return str(classes[0]) if isinstance(classes, list) and classes else ""


def _method(config: Mapping[str, Any]) -> str:
    """The quantization that config.json names, such as GPTQ 4-bit."""
    settings = config.get("quantization_config")
    if not isinstance(settings, Mapping) or not isinstance(settings.get("quant_method"), str):
        return ""
    name, bits = settings["quant_method"], settings.get("bits", settings.get("w_bit"))
    return f"{_METHODS.get(name, name)}{f' {bits}-bit' if isinstance(bits, int) else ''}"


def _missing(item: LibraryItem) -> str:
    """What the index of a checkpoint lists and the folder lacks."""
    there = {file.path.name: file for file in item.files if file.path.parent == item.path}
    if INDEX not in there:
        return ""
    try:
        listed = read_table(there[INDEX].real)["weight_map"]
        wanted = {name for name in listed.values() if isinstance(name, str)}
    except (OSError, ValueError, KeyError, AttributeError):
        return f"{INDEX} cannot be read."
    lacking = len(wanted - there.keys())
    return f"{lacking} of {len(wanted)} files with weights are missing." if lacking else ""
