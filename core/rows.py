"""Rows of a tensor, read from where the source stores them. The one place where weights enter the process."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

import kernels
from core.errors import Halted, SnugError
from core.model import OutputTensor, Part, ReadBytes, TensorInfo
from core.running.failures import reading_failed
from core.tensor_ops import Computed, apply_all, chunks, flat_rows

MOST_OPEN = 64
Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
_Read = Callable[[TensorInfo, int, int], Array]

_ENCODE_INPUT = {"BF16": np.uint16, "F16": np.float16}
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class RowReader:
    """Reads rows by position, from several threads at once; keeps the source files open until closed.

    `read` replaces how stored bytes are had, where the files themselves are elsewhere.
    """

    def __init__(self, read: ReadBytes | None = None) -> None:
        self._elsewhere = read
        self._files: OrderedDict[Path, _Open] = OrderedDict()  # the one that was used last is the last
        self._lock = threading.Lock()
        self._own = threading.local()

    def __enter__(self) -> RowReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            os.close(file.descriptor)
        self._files.clear()

    @contextmanager
    def once(self) -> Iterator[None]:
        """Within, this thread reads nothing twice: neither stored bytes nor rows, which nobody may change then."""
        self._own.bytes, self._own.rows = {}, {}
        try:
            yield
        finally:
            del self._own.bytes, self._own.rows

    def raw(self, tensor: OutputTensor, first: int, count: int) -> Bytes:
        """The stored bytes of `count` rows from `first` on, moved into place: uint8 [count, row bytes of its format].

        Only where can_copy(tensor, its dtype).
        """
        return self._gather(tensor, first, count, self._stored)

    def rows(self, tensor: OutputTensor, first: int, count: int) -> Array:
        """`count` rows from `first` on as kernels.encode takes them (float32, float16, uint16 for bf16), ops applied.

        With ops, `first` and `count` should be multiples of step_of(tensor): else rows are read twice.
        """
        if not tensor.parts:
            values = np.array(tensor.values, np.float32).reshape(tensor.rows, tensor.columns)
            return values[first : first + count]
        kept: dict[tuple[str, int, int], Array] | None = getattr(self._own, "rows", None)
        if kept is None:
            return self._gather(tensor, first, count, self._values)
        place = tensor.name, first, count
        if place not in kept:
            kept[place] = self._gather(tensor, first, count, self._values)
        return kept[place]

    def _gather(self, tensor: OutputTensor, first: int, count: int, read: _Read) -> Array:
        """Rows of the parts that hold them, one after the other; those of a vector are one row."""
        if len(tensor.shape) == 1:
            return np.concatenate([self._of_part(part, 0, 1, read).reshape(1, -1) for part in tensor.parts], axis=1)
        found, start = [], 0
        for part in tensor.parts:
            rows = _rows_of(part)
            begin, end = max(first, start), min(first + count, start + rows)
            if begin < end:
                found.append(self._of_part(part, begin - start, end - start, read))
            start += rows
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _of_part(self, part: Part, begin: int, end: int, read: _Read) -> Array:
        """Rows `begin` to `end` of the part: the chunks that hold them, through the ops, without what is too much."""
        source, rows = part.source, _rows_of(part)
        start, shape, ops = part.window
        if not ops:
            return read(source, start + begin, end - begin)
        if len(shape) == 1:
            column = read(source, 0, 1).reshape(shape[0], -1)
            return apply_all(ops, column, shape).reshape(rows, -1)[begin:end]
        count, _ = chunks(shape, ops)
        each, stored = rows // count, flat_rows(shape) // count
        low, high = begin // each, -(-end // each)
        slab = read(source, start + low * stored, (high - low) * stored)
        return apply_all(ops, slab, shape)[begin - low * each : end - low * each]

    def _stored(self, source: TensorInfo, first: int, count: int) -> Bytes:
        """Rows as they are stored: uint8 [count, row bytes]."""
        if source.packed:
            return source.packed.rows(self._bytes, first, count)
        columns = source.shape[-1]
        width = 8 * columns if source.dtype == "F64" else kernels.FORMATS[source.dtype].row_bytes(columns)
        return self._bytes(source, first * width, count * width).reshape(count, width)

    def _values(self, source: TensorInfo, first: int, count: int) -> Array:
        if source.packed and source.dtype == "F32":
            return source.packed.rows(self._bytes, first, count)
        slab = self._stored(source, first, count)
        if source.dtype not in _PLAIN:
            return kernels.decode(slab, source.dtype)
        return _native(slab.view(_PLAIN[source.dtype]))

    def _bytes(self, source: TensorInfo, offset: int, count: int) -> Bytes:
        kept: dict[tuple[str, int, int], Bytes] | None = getattr(self._own, "bytes", None)
        if kept is None:
            return self._fetched(source, offset, count)
        place = source.name, offset, count
        if place not in kept:
            kept[place] = self._fetched(source, offset, count)
        return kept[place]

    def _fetched(self, source: TensorInfo, offset: int, count: int) -> Bytes:
        if self._elsewhere:
            return self._elsewhere(source, offset, count)
        buffer = np.empty(count, np.uint8)
        self._fill(source, offset, buffer)
        return buffer

    def _fill(self, source: TensorInfo, offset: int, buffer: Bytes) -> None:
        try:
            done = self._read(source.file, source.offset + offset, buffer)
        except OSError as error:
            raise reading_failed(error, source.file) from error
        if done != len(buffer):
            raise Halted(
                f"{source.file} ends in the middle of {source.name}.",
                "The file changed or was cut short: put it back as it was and resume, or download it and start again.",
            )

    def _read(self, path: Path, offset: int, buffer: Bytes) -> int:
        """Fills `buffer` from `offset` on; fewer bytes only at the end of the file."""
        done = 0
        while done < len(buffer):
            count = self._read_once(path, offset + done, buffer[done:].data)
            if count == 0:
                break
            done += count
        return done

    def _read_once(self, path: Path, offset: int, view: memoryview) -> int:
        with self._use(path) as descriptor:
            if hasattr(os, "preadv"):
                return os.preadv(descriptor, [view], offset)
            with self._lock:  # Windows has no positioned read
                os.lseek(descriptor, offset, os.SEEK_SET)
                data = os.read(descriptor, len(view))
        view[: len(data)] = data
        return len(data)

    @contextmanager
    def _use(self, path: Path) -> Iterator[int]:
        """The open file. Of many, those that were used last stay open."""
        with self._lock:
            if path not in self._files:
                self._files[path] = _Open(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
            file = self._files[path]
            self._files.move_to_end(path)
            file.users += 1
            self._close_some()
        try:
            yield file.descriptor
        finally:
            with self._lock:
                file.users -= 1

    def _close_some(self) -> None:
        idle = [path for path, file in self._files.items() if not file.users]
        for path in idle[: max(0, len(self._files) - MOST_OPEN)]:
            os.close(self._files.pop(path).descriptor)


@dataclass(slots=True)
class _Open:
    descriptor: int
    users: int = 0


def step_of(tensor: OutputTensor) -> int:
    """Of how many rows a slab should be a multiple, so that nothing is read twice."""
    return max((_chunk_rows(part) for part in tensor.parts), default=1)


def _chunk_rows(part: Part) -> int:
    _, shape, ops = part.window
    return 1 if not ops or len(shape) == 1 else _rows_of(part) // chunks(shape, ops)[0]


def can_copy(tensor: OutputTensor, format_name: str) -> bool:
    """Whether the stored bytes are what the file needs."""
    return (
        bool(tensor.parts)
        and tensor.dtype == format_name
        and not any(part.source.packed and format_name == "F32" for part in tensor.parts)
        and all(op.moves for part in tensor.parts for op in part.ops)
    )


def encode_type(tensor: OutputTensor) -> np.dtype[Any]:
    """What `RowReader.rows` gives of a tensor, bf16 as its bits: which kernels its encoding needs."""
    computed = not tensor.parts or any(isinstance(op, Computed) for part in tensor.parts for op in part.ops)
    return np.dtype(np.float32 if computed else _ENCODE_INPUT.get(tensor.dtype, np.float32))


def refuse_non_finite(tensor: OutputTensor, *, row: int, column: int) -> SnugError:
    """The error for a NaN or infinity in the source."""
    where = f" in {tensor.sources[0].file.name}" if tensor.sources else ""
    name = tensor.sources[0].name if tensor.sources else tensor.name
    return SnugError(
        f"The tensor {name}{where} holds a NaN or an infinity at row {row}, column {column}; "
        "such a model cannot be quantized.",
        "Download the file again; if it stays, the model itself is broken: tell its authors.",
    )


def _rows_of(part: Part) -> int:
    """How many rows it gives; a vector is one."""
    return prod(part.shape[:-1])


def _native(rows: Array) -> Array:
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes an infinity, which encode refuses
        return rows.astype(np.float32) if rows.dtype == np.float64 else rows
