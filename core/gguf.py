"""The GGUF container: header to bytes, bytes to header. The data section is for others to fill.

Layout (version 3, little-endian): magic, version, counts, key-values, tensor infos, padding, data. Source: the GGUF
specification of the ggml project. Reading trusts nothing: every count and offset is held against the file's length.
"""

from __future__ import annotations

import errno
import mmap
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from core.errors import SnugError
from core.model import Metadata, TensorInfo
from kernels import FORMATS

ALIGNMENT = 32
MAGIC = b"GGUF"
MAX_DIMENSIONS = 4

_SCALARS = {
    "u8": (0, "B"),
    "i8": (1, "b"),
    "u16": (2, "H"),
    "i16": (3, "h"),
    "u32": (4, "I"),
    "i32": (5, "i"),
    "f32": (6, "f"),
    "bool": (7, "?"),
    "u64": (10, "Q"),
    "i64": (11, "q"),
    "f64": (12, "d"),
}
_STRING, _ARRAY = 8, 9
_BY_ID = {number: (name, code) for name, (number, code) in _SCALARS.items()}


def pad(length: int, alignment: int = ALIGNMENT) -> int:
    """`length` rounded up to the alignment."""
    return -(-length // alignment) * alignment


def encode_header(metadata: Iterable[Metadata], tensors: Sequence[tuple[str, tuple[int, ...], str, int]]) -> bytes:
    """The bytes before the data section. A tensor is (name, shape with the row length last, format, data offset)."""
    items = list(metadata)
    parts = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(items)), encode_items(items)]
    for name, shape, format_name, offset in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        parts.append(_string(name) + dimensions + struct.pack("<IQ", FORMATS[format_name].type_id, offset))
    header = b"".join(parts)
    return header + bytes(pad(len(header)) - len(header))


def encode_items(metadata: Iterable[Metadata]) -> bytes:
    """The key-values as a header holds them."""
    return b"".join(_string(item.key) + _typed(item.type, item.value) for item in metadata)


def header_length(items_bytes: int, tensors: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    """Length of a header whose key-values take `items_bytes`. A tensor is (name, shape)."""
    start = len(MAGIC) + struct.calcsize("<IQQ") + items_bytes
    fixed = struct.calcsize("<QIIQ")
    return pad(start + sum(fixed + len(_bytes(name)) + 8 * len(shape) for name, shape in tensors))


def _string(text: str) -> bytes:
    data = _bytes(text)
    return struct.pack("<Q", len(data)) + data


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _typed(kind: str, value: Any) -> bytes:
    if kind == "str":
        return struct.pack("<I", _STRING) + _string(value)
    if not kind.startswith("["):
        number, code = _SCALARS[kind]
        return struct.pack("<I" + code, number, value)
    element = kind[1:-1]
    if element == "str":
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))
    number, code = _SCALARS[element]
    return struct.pack(f"<IIQ{len(value)}{code}", _ARRAY, number, len(value), *value)


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says before its data. `data_offset` counts from the file's start, `length` is the file's."""

    version: int
    metadata: tuple[Metadata, ...]
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    length: int


class CutHeader(Exception):
    """The header goes on beyond the bytes that are there."""


def read_header(path: Path, whole: int | None = None) -> GgufHeader:
    """The header of `path`. Raises SnugError when it is no GGUF, is cut short, or a tensor is out of place.

    `whole`: the length of the file where `path` holds only its first bytes; CutHeader when those are too few.
    """
    return _read(path, _Cursor, whole)


def skim_header(path: Path) -> GgufHeader:
    """The same with every array empty, which is quicker where there is a large vocabulary."""
    return _read(path, _Skimmer, None)


def _read(path: Path, kind: type[_Cursor], whole: int | None) -> GgufHeader:
    if path.is_dir():
        raise SnugError(f"{path} is a folder, not a GGUF file.", "Give the .gguf file itself.")
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            if length < 24:
                raise SnugError(
                    f"{path} is too short to be a GGUF file ({length} bytes).", "Download or make it again."
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return kind(path, view, whole).header()
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        raise SnugError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path and permissions."
        ) from error


class _Cursor:
    """Reads forward through the header; every read past the end is an error with the file's name."""

    def __init__(self, path: Path, view: mmap.mmap, whole: int | None = None) -> None:
        self.path = path
        self.view = view
        self.length = len(view) if whole is None else whole
        self.position = 0

    def header(self) -> GgufHeader:
        if self.view[:4] != MAGIC:
            raise SnugError(f"{self.path} is not a GGUF file.", "Choose a .gguf file or a model folder.")
        self.position = 4
        (version,) = self.take("I")
        if version not in (2, 3):
            raise SnugError(
                f"{self.path} has GGUF version {version}; versions 2 and 3 can be read.",
                "A big-endian or very old file: make it again with a current converter.",
            )
        tensor_count, item_count = self.take("QQ")
        self.fits(tensor_count * 24 + item_count * 13, "its counts")
        metadata = tuple(self.item() for _ in range(item_count))
        self.unique((item.key for item in metadata), "key")
        infos = [self.tensor() for _ in range(tensor_count)]
        self.unique((info[0] for info in infos), "tensor")
        alignment = self.alignment(metadata)
        start = pad(self.position, alignment)
        tensors = tuple(self.located(*info, start=start, alignment=alignment) for info in infos)
        self.check_overlap(tensors)
        return GgufHeader(version, metadata, tensors, start, self.length)

    def damaged(self, what: str) -> SnugError:
        return SnugError(f"{self.path} is damaged: {what}.", "Download or make it again.")

    def fits(self, length: int, what: str) -> None:
        if length > self.length - self.position:
            raise self.damaged(f"{what} run past the end of the file (byte {self.position} of {self.length})")
        if length > len(self.view) - self.position:
            raise CutHeader

    def unique(self, names: Iterable[str], what: str) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise self.damaged(f"the {what} {name} occurs twice")
            seen.add(name)

    def take(self, code: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + code)
        self.fits(size, "values")
        values = struct.unpack_from("<" + code, self.view, self.position)
        self.position += size
        return values

    def text(self) -> str:
        (length,) = self.take("Q")
        self.fits(length, "a text")
        self.position += length
        return self.view[self.position - length : self.position].decode("utf-8", "surrogateescape")

    def item(self) -> Metadata:
        key = self.text()
        (number,) = self.take("I")
        if number == _ARRAY:
            return Metadata(key, *self.array(key))
        return Metadata(key, "str" if number == _STRING else self.scalar(number, key)[0], self.value(number))

    def scalar(self, number: int, key: str) -> tuple[str, str]:
        if number not in _BY_ID:
            raise self.damaged(f"the key {key} has the unknown type {number}")
        return _BY_ID[number]

    def value(self, number: int) -> Any:
        return self.text() if number == _STRING else self.take(_BY_ID[number][1])[0]

    def array(self, key: str) -> tuple[str, list[Any]]:
        number, count = self.take("IQ")
        if number == _STRING:
            self.fits(count * 8, f"the elements of {key}")
            return "[str]", [self.text() for _ in range(count)]
        name, code = self.scalar(number, key)
        self.fits(count * struct.calcsize("<" + code), f"the elements of {key}")
        return f"[{name}]", list(self.take(f"{count}{code}"))

    def alignment(self, metadata: Iterable[Metadata]) -> int:
        value = next((item.value for item in metadata if item.key == "general.alignment"), ALIGNMENT)
        if not isinstance(value, int) or value < 8 or value & (value - 1):
            raise self.damaged(f"general.alignment is {value!r}, not a power of two from 8 on")
        return value

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.text()
        (dimensions,) = self.take("I")
        if dimensions > MAX_DIMENSIONS:
            raise self.damaged(f"the tensor {name} has {dimensions} dimensions")
        shape = self.take(f"{dimensions}Q")
        number, offset = self.take("IQ")
        return name, tuple(reversed(shape)), number, offset

    def located(
        self, name: str, shape: tuple[int, ...], number: int, offset: int, *, start: int, alignment: int
    ) -> TensorInfo:
        format_name = format_names().get(number)
        if format_name is None:
            raise SnugError(
                f"{self.path}: the tensor {name} has the format number {number}, which Snug does not know.",
                "Update Snug, or make the file again in another format.",
            )
        if offset % alignment:
            raise self.damaged(f"the tensor {name} starts at {offset}, which is not a multiple of {alignment}")
        block = FORMATS[format_name].block_size
        columns = shape[-1] if shape else 1
        if columns % block:
            raise self.damaged(
                f"the tensor {name} has rows of {columns}, not a multiple of {block} as {format_name} needs"
            )
        nbytes = FORMATS[format_name].row_bytes(columns) * prod(shape[:-1])
        if start + offset + nbytes > self.length:
            missing = start + offset + nbytes - self.length
            raise self.damaged(f"the tensor {name} runs {missing} bytes past the end of the file")
        return TensorInfo(name, format_name, shape, self.path, start + offset, nbytes)

    def check_overlap(self, tensors: Iterable[TensorInfo]) -> None:
        end, before = 0, ""
        for tensor in sorted(tensors, key=lambda t: t.offset):
            if tensor.offset < end:
                raise self.damaged(f"the tensors {before} and {tensor.name} overlap")
            end, before = tensor.offset + tensor.nbytes, tensor.name


class _Skimmer(_Cursor):
    """Passes over the elements of arrays."""

    def array(self, key: str) -> tuple[str, list[Any]]:
        number, count = self.take("IQ")
        if number != _STRING:
            name, code = self.scalar(number, key)
            self.skip(count * struct.calcsize("<" + code), key)
            return f"[{name}]", []
        self.fits(count * 8, f"the elements of {key}")
        unpack, view, last = struct.Struct("<Q").unpack_from, self.view, len(self.view) - 8
        position = self.position
        for _ in range(count):
            if position > last:
                break
            position += 8 + unpack(view, position)[0]
        self.skip(position - self.position, key)
        return "[str]", []

    def skip(self, length: int, key: str) -> None:
        self.fits(length, f"the elements of {key}")
        self.position += length


@cache
def format_names() -> dict[int, str]:
    """Format name by GGML type number."""
    return {block_format.type_id: name for name, block_format in FORMATS.items()}
