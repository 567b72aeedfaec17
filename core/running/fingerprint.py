"""What a job is going to write and from what, in a few hashes: the same ones mean the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import kernels
from core.errors import Halted
from core.jobs.job import QuantizeJob
from core.model import TensorInfo
from core.plan import Plan
from core.running.split import PlannedPart
from core.running.stream import is_streamed

_BLOCK = 1 << 20
_MOST_HEADER = 1 << 30


def job_hash(job: QuantizeJob, plan: Plan, parts: Sequence[PlannedPart]) -> str:
    """Of everything but the weights that decides a byte: headers, where each tensor comes from, effort, importance,
    version. How many threads work on it, and on what, does not.
    """
    layout = hashlib.sha256()
    for planned in plan.tensors:
        tensor = planned.tensor
        said = [(part.source.file.name, part.source.name, part.source.dtype, part.ops) for part in tensor.parts]
        layout.update(repr((planned.name, planned.format, said, tensor.values)).encode())
    values = {
        "headers": [hashlib.sha256(part.header).hexdigest() for part in parts],
        "layout": layout.hexdigest(),
        "effort": job.effort,
        "importance": _importance_hash(plan),
        "versions": [_version(), kernels.version()],
    }
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _importance_hash(plan: Plan) -> str:
    digest = hashlib.sha256()
    for name, means in sorted(plan.importance.means.items()) if plan.importance else ():
        digest.update(f"{name} {means.shape} ".encode() + means.tobytes())
    return digest.hexdigest()


def source_marks(plan: Plan) -> list[dict[str, Any]]:
    """What tells a source from another, file by file: name, hash of its header, and size and time of the last change
    of files on this disk; of those on the Hub the commit. Raises Halted when one cannot be read.
    """
    first: dict[Path, int] = {}
    for source in _stored(plan):
        first[source.file] = min(first.get(source.file, source.offset), source.offset)
    commit = _commit(plan)
    return [_mark(file, first.get(file, 0), commit) for file in plan.model.files]


def changed_file(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> str:
    """The name of a file that is no longer what it was; "" when all are."""
    if list(before) == list(now):
        return ""
    different = [mark for mark in (*now, *before) if mark not in before or mark not in now]
    return str(different[0].get("name", "")) if different else str(now[0]["name"] if now else "")


def _stored(plan: Plan) -> Iterator[TensorInfo]:
    for planned in plan.tensors:
        for source in planned.tensor.sources:
            yield from source.packed.parts if source.packed else (source,)


def _commit(plan: Plan) -> str:
    return plan.model.files[0].parent.name if is_streamed(plan.model) else ""


def _mark(file: Path, header_bytes: int, commit: str) -> dict[str, Any]:
    mark: dict[str, Any] = {"name": file.name, "header": _hash(file, header_bytes)}
    if commit:
        return mark | {"commit": commit}
    try:
        found = file.stat()
    except OSError as error:
        raise _gone(file, error) from error
    return mark | {"size": found.st_size, "changed": found.st_mtime_ns}


def _hash(file: Path, count: int) -> str:
    """SHA-256 of the first `count` bytes."""
    left, digest = min(count, _MOST_HEADER), hashlib.sha256()
    try:
        with file.open("rb") as stored:
            while left > 0 and (block := stored.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
    except OSError as error:
        raise _gone(file, error) from error
    return digest.hexdigest()


def _gone(file: Path, error: OSError) -> Halted:
    return Halted(
        f"{file} cannot be read any more: {error.strerror or error}.",
        "Check that the disk is still connected, then go on.",
    )


@cache
def _version() -> str:
    try:
        return metadata.version("snug")
    except metadata.PackageNotFoundError:
        return ""
