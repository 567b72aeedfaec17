"""Rows of a tensor, read from where the source stores them. The one place where weights enter the process."""

from __future__ import annotations

import os
import threading
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

import kernels
from core.errors import JobFailed, SnugError
from core.model import OutputTensor, TensorInfo

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class RowReader:
    """Reads rows by position, from several threads at once; keeps the source files open until closed."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> RowReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def raw(self, tensor: OutputTensor, first: int, count: int) -> Bytes:
        """The stored bytes of `count` rows from `first` on: uint8 [count, row bytes in the source's format]."""
        width = kernels.FORMATS[tensor.dtype].row_bytes(tensor.columns) if tensor.dtype != "F64" else 8 * tensor.columns
        slab = np.empty((count, width), np.uint8)
        done = 0
        while done < count:
            source, row = _locate(tensor, first + done)
            take = min(count - done, _rows(source) - row)
            self._fill(source, row * width, slab[done : done + take].reshape(-1))
            done += take
        return slab

    def rows(self, tensor: OutputTensor, first: int, count: int) -> Array:
        """`count` rows from `first` on as kernels.encode takes them (float32, float16, uint16 for bf16), ops applied.

        With ops, `first` and `count` must be multiples of step_of(tensor).
        """
        if not tensor.sources:
            values = np.array(tensor.values, np.float32).reshape(tensor.rows, tensor.columns)
            return values[first : first + count]
        slab = self.raw(tensor, first, count)
        if tensor.dtype not in _PLAIN:
            return kernels.decode(slab, tensor.dtype)
        return _apply(tensor, _native(slab.view(_PLAIN[tensor.dtype])))

    def _fill(self, source: TensorInfo, offset: int, buffer: Bytes) -> None:
        try:
            done = self._read(source.file, source.offset + offset, buffer)
        except OSError as error:
            raise JobFailed(
                f"{source.file} cannot be read any more: {error.strerror or error}.",
                "Check that the disk is still connected, then start again.",
            ) from error
        if done != len(buffer):
            raise JobFailed(
                f"{source.file} ends in the middle of {source.name}.",
                "The file changed or was cut short; download it again.",
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
        if hasattr(os, "preadv"):
            return os.preadv(self._open(path), [view], offset)
        with self._lock:  # Windows has no positioned read
            descriptor = self._open_locked(path)
            os.lseek(descriptor, offset, os.SEEK_SET)
            data = os.read(descriptor, len(view))
        view[: len(data)] = data
        return len(data)

    def _open(self, path: Path) -> int:
        with self._lock:
            return self._open_locked(path)

    def _open_locked(self, path: Path) -> int:
        if path not in self._files:
            self._files[path] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        return self._files[path]


def step_of(tensor: OutputTensor) -> int:
    """Of how many rows a slab must be a multiple."""
    if not tensor.ops or len(tensor.shape) == 1:
        return 1
    return max(op.step(_rows(tensor.sources[0])) for op in tensor.ops)


def can_copy(tensor: OutputTensor, format_name: str) -> bool:
    """Whether the stored bytes are what the file needs."""
    return bool(tensor.sources) and not tensor.ops and tensor.dtype == format_name


def as_float32(rows: Array) -> npt.NDArray[np.float32]:
    """What `RowReader.rows` gave, as float32 values."""
    if rows.dtype == np.uint16:
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return rows.astype(np.float32, copy=False)


def refuse_non_finite(tensor: OutputTensor, *, row: int, column: int) -> SnugError:
    """The error for a NaN or infinity in the source."""
    where = f" in {tensor.sources[0].file.name}" if tensor.sources else ""
    name = tensor.sources[0].name if tensor.sources else tensor.name
    return SnugError(
        f"The tensor {name}{where} holds a NaN or an infinity at row {row}, column {column}; "
        "such a model cannot be quantized.",
        "Download the file again; if it stays, the model itself is broken: tell its authors.",
    )


def _rows(source: TensorInfo) -> int:
    return prod(source.shape[:-1])


def _locate(tensor: OutputTensor, row: int) -> tuple[TensorInfo, int]:
    """The source that holds a row, and the row in it."""
    each = _rows(tensor.sources[0])
    return tensor.sources[row // each], row % each


def _native(rows: Array) -> Array:
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes an infinity, which encode refuses
        return rows.astype(np.float32) if rows.dtype == np.float64 else rows


def _apply(tensor: OutputTensor, rows: Array) -> Array:
    for op in tensor.ops:
        if len(tensor.shape) == 1:
            rows = op.apply(rows.reshape(-1, 1), rows=rows.size).reshape(rows.shape)
        else:
            rows = op.apply(rows, rows=_rows(tensor.sources[0]))
    return rows
