"""Making one file of the parts of a split GGUF: one streaming pass, as a generator of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import Cancelled, JobFailed, SnugError
from core.events import Done, Event, Failed, Progress
from core.gguf import encode_header, pad, read_header
from core.gguf_split import read_split
from core.model import Metadata, TensorInfo
from core.paths import expanded
from core.running.output import PartFile, check_target

_CHUNK = 8 << 20
_PROGRESS_SECONDS = 0.1


@dataclass(frozen=True)
class Merge:
    """The file to be: `header`, then every tensor at its offset in the data section."""

    target: Path
    files: tuple[Path, ...]
    header: bytes
    tensors: tuple[tuple[TensorInfo, int], ...]

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.nbytes for tensor, _ in self.tensors)

    @property
    def file_bytes(self) -> int:
        return len(self.header) + sum(pad(tensor.nbytes) for tensor, _ in self.tensors)


def check_merge(first: Path | str, target: Path | str, *, overwrite: bool = False) -> Merge:
    """What a merge would write; raises SnugError when it cannot work. `first` is any of the parts. Writes nothing."""
    first = expanded(first)
    if not first.is_file():
        raise SnugError(f"{first} is no file.", "Give one of the parts, such as NAME-00001-of-00003.gguf.")
    metadata, tensors, files = read_split(first.parent.resolve() / first.name)
    if len(files) == 1:
        raise SnugError(f"{first.name} is no part of a split GGUF: it is whole.", "There is nothing to merge.")
    made = _merge(expanded(target), metadata, tensors, files)
    check_target(made.target, made.file_bytes, sources=files, overwrite=overwrite)
    return made


def _merge(
    target: Path, metadata: tuple[Metadata, ...], tensors: tuple[TensorInfo, ...], files: tuple[Path, ...]
) -> Merge:
    """The keys of the first part without those of the split: where they came from one file, that very file."""
    placed, offset = [], 0
    for tensor in tensors:
        placed.append((tensor, offset))
        offset += pad(tensor.nbytes)
    keys = [item for item in metadata if item.key != "general.alignment"]  # that of the parts may not be ours
    header = encode_header(keys, [(tensor.name, tensor.shape, tensor.dtype, at) for tensor, at in placed])
    return Merge(target, files, header, tuple(placed))


def merge_gguf(
    first: Path | str,
    target: Path | str,
    *,
    overwrite: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """Events of merging the parts that `first` is one of into `target`, the last one Done or Failed."""
    try:
        yield from _run(check_merge(first, target, overwrite=overwrite), overwrite=overwrite, cancelled=cancelled)
    except Cancelled:
        yield Failed("Cancelled. Nothing was written.", cancelled=True)
    except SnugError as error:
        yield Failed(error.message, error.hint, exit_code=error.exit_code)
    except MemoryError:
        yield Failed("The computer ran out of memory.", "Close other programs, then start again.", exit_code=1)


def _run(merge: Merge, *, overwrite: bool, cancelled: Callable[[], bool]) -> Iterator[Event]:
    meter = _Meter(merge)
    yield meter.event("merge", "")  # from here on there is something to sweep up
    with PartFile(merge.target, merge.file_bytes, overwrite=overwrite) as part:
        part.write(0, merge.header)
        yield from _copy_all(merge, part, meter, cancelled)
        yield meter.event("write", "")
        part.sync()
        _check_written(part.path, merge)
        part.finish()
    yield Done(
        {
            "target": str(merge.target.resolve()),
            "parts": [file.name for file in merge.files],
            "file_bytes": merge.file_bytes,
            "tensors": len(merge.tensors),
            "seconds": time.monotonic() - meter.started,
        }
    )


def _copy_all(merge: Merge, part: PartFile, meter: _Meter, cancelled: Callable[[], bool]) -> Iterator[Event]:
    for tensor, offset in merge.tensors:
        at = len(merge.header) + offset
        for data in _chunks(tensor):
            if cancelled():
                raise Cancelled
            part.write(at, data)
            at += len(data)
            meter.done += len(data)
            if meter.is_due():
                yield meter.event("merge", tensor.name)
        meter.tensors_done += 1


def _chunks(tensor: TensorInfo) -> Iterator[bytes]:
    """The bytes of a tensor, a few megabytes at a time. Raises JobFailed when its file ends too early."""
    left = tensor.nbytes
    try:
        with tensor.file.open("rb") as file:
            file.seek(tensor.offset)
            while left:
                data = file.read(min(_CHUNK, left))
                if not data:
                    raise JobFailed(
                        f"{tensor.file.name} became shorter while it was read.", "Download it again, then start again."
                    )
                left -= len(data)
                yield data
    except OSError as error:
        raise JobFailed(
            f"{tensor.file} cannot be read: {error.strerror or error}.", "Check the disk, then start again."
        ) from error


def _check_written(path: Path, merge: Merge) -> None:
    """Raises JobFailed unless the new file's header says what it should."""
    found = [(t.name, t.shape, t.dtype, t.nbytes) for t in read_header(path).tensors]
    if found != [(t.name, t.shape, t.dtype, t.nbytes) for t, _ in merge.tensors]:
        raise JobFailed(
            "The merged file did not pass its check.", "Nothing was kept. Check the disk, then start again."
        )


class _Meter:
    """Counts bytes and says how fast they go: on average since the start, so the time left does not jump."""

    def __init__(self, merge: Merge) -> None:
        self.started = time.monotonic()
        self.total = merge.tensor_bytes
        self.tensors = len(merge.tensors)
        self.done = self.tensors_done = 0
        self.last_event = 0.0

    def is_due(self) -> bool:
        return time.monotonic() - self.last_event >= _PROGRESS_SECONDS

    def event(self, stage: str, tensor: str) -> Progress:
        self.last_event = time.monotonic()
        elapsed = self.last_event - self.started
        rate = self.done / max(1e-9, elapsed)
        eta = (self.total - self.done) / rate if self.done and stage == "merge" else None
        return Progress(stage, tensor, self.tensors_done, self.tensors, self.done, self.total, rate, eta, elapsed)
