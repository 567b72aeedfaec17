"""A GGUF in several files: finding all parts from any one of them, and reading them as one.

Names and keys are those of llama.cpp's gguf-split: NAME-00001-of-00003.gguf; every part says split.no (from 0),
split.count and split.tensors.count (of all parts together); the other keys are in the first part alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.errors import SnugError
from core.gguf import GgufHeader, read_header
from core.model import Metadata, TensorInfo

NO, COUNT, TENSORS_COUNT = SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")
MOST_PARTS = 0xFFFF
_NAME = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_AGAIN = "Download the parts again, all of the same model, into one folder."


class SplitGguf(NamedTuple):
    """All parts as one: the keys without split.*, every tensor with the file it is in, the files in order."""

    metadata: tuple[Metadata, ...]
    tensors: tuple[TensorInfo, ...]
    files: tuple[Path, ...]


def part_name(prefix: str, number: int, count: int) -> str:
    """The file name of part `number`, from 1 on."""
    return f"{prefix}-{number:05}-of-{count:05}.gguf"


def is_part(keys: Iterable[Metadata]) -> bool:
    """True for the keys of a part. A merged file may say that it has 0 parts; one of one is whole."""
    count = _values(keys).get(COUNT, 1)
    return isinstance(count, int) and count > 1


def read_split(path: Path, lengths: Mapping[str, int] | None = None) -> SplitGguf:
    """The whole model that `path` is a part of, from the headers of all parts; a file that is no part is the whole.

    `lengths`: those of the whole files, by name, where only their headers are there. Raises SnugError when a part is
    missing, damaged or of another model.
    """
    header = read_header(path, (lengths or {}).get(path.name))
    if not is_part(header.metadata):
        return SplitGguf(tuple(_without_split(header.metadata)), header.tensors, (path,))
    return join_parts(_all_parts(path, _values(header.metadata)), lengths)


def join_parts(files: Sequence[Path], lengths: Mapping[str, int] | None = None) -> SplitGguf:
    """These files, whatever they are called, as one. Raises SnugError unless they are the parts of one model."""
    headers = [read_header(file, (lengths or {}).get(file.name)) for file in files]
    if len(files) > 1:
        _check_parts(files, headers)
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    return SplitGguf(tuple(_without_split(headers[0].metadata)), tensors, tuple(files))


def _values(metadata: Iterable[Metadata]) -> dict[str, Any]:
    return {item.key: item.value for item in metadata}


def _without_split(metadata: Iterable[Metadata]) -> Iterator[Metadata]:
    return (item for item in metadata if item.key not in SPLIT_KEYS)


def _all_parts(path: Path, keys: dict[str, Any]) -> tuple[Path, ...]:
    """The files of all parts, which must be there and named alike."""
    count, number = keys[COUNT], keys.get(NO)
    match = _NAME.fullmatch(path.name)
    if not isinstance(number, int) or not match or (int(match["number"]), int(match["count"])) != (number + 1, count):
        wanted = part_name(match["prefix"] if match else path.stem, number + 1 if isinstance(number, int) else 1, count)
        raise SnugError(
            f"{path.name} is one of {count} parts of a model, but its name does not say which.",
            f"Give every part the name it had, such as {wanted}.",
        )
    files = tuple(path.with_name(part_name(match["prefix"], i + 1, count)) for i in range(min(count, MOST_PARTS)))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SnugError(
            f"{path.name} is one of {count} parts, and {missing[0]}{others} cannot be found in {path.parent}.",
            "Download the missing parts into the same folder.",
        )
    return files


def _check_parts(files: Sequence[Path], headers: Sequence[GgufHeader]) -> None:
    """Raises SnugError unless the parts belong together."""
    first = _values(headers[0].metadata)
    for number, (file, header) in enumerate(zip(files, headers, strict=True)):
        keys = _values(header.metadata)
        if keys.get(NO) != number:
            raise SnugError(f"{file.name} says that it is part {keys.get(NO)}, from 0 on.", _AGAIN)
        other = next((key for key in keys if key != NO and key in first and keys[key] != first[key]), "")
        if other or not {COUNT, TENSORS_COUNT} <= keys.keys() or keys[COUNT] != len(files):
            raise SnugError(f"{file.name} is a part of another model than {files[0].name}.", _AGAIN)
    _check_tensors(files, headers, expected=first[TENSORS_COUNT])


def _check_tensors(files: Sequence[Path], headers: Sequence[GgufHeader], *, expected: object) -> None:
    seen: dict[str, Path] = {}
    for file, header in zip(files, headers, strict=True):
        for tensor in header.tensors:
            before = seen.setdefault(tensor.name, file)
            if before != file:
                raise SnugError(f"The tensor {tensor.name} is in {before.name} and in {file.name}.", _AGAIN)
    if len(seen) != expected:
        raise SnugError(f"The parts of {files[0].name} hold {len(seen)} tensors, not {expected} as they say.", _AGAIN)
