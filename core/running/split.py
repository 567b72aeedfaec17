"""A plan in several files: the parts that llama.cpp's gguf-split would cut its file into, and writing them at once."""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from core.errors import SnugError
from core.gguf import pad
from core.gguf_split import COUNT, MOST_PARTS, NO, TENSORS_COUNT, join_parts, part_name
from core.model import Metadata, ModelInfo, OutputTensor, Part
from core.paths import expanded
from core.plan import Plan, PlannedTensor, header_of, place
from core.running.output import PartFile, ahead_path, check_space, check_target, part_path

MOST_OPEN = 64
_UNITS = {"M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class PlannedPart:
    """One file of several, known to the byte. The tensors' offsets count from this part's data section."""

    path: Path
    header: bytes
    tensors: tuple[PlannedTensor, ...]

    @property
    def file_bytes(self) -> int:
        """Length of the finished part."""
        return len(self.header) + sum(pad(tensor.nbytes) for tensor in self.tensors)


def read_size(text: str) -> int:
    """Bytes of a size such as 2G or 500M: gigabytes and megabytes of a thousand. Raises SnugError for another."""
    match = re.fullmatch(r"0*([1-9]\d{0,11})([MG])", text.strip().upper())
    if not match:
        raise SnugError(f"{text!r} is no size of a part.", "Write megabytes or gigabytes, such as 500M or 2G.")
    return int(match[1]) * _UNITS[match[2]]


def plan_split(plan: Plan, max_bytes: int | None, target: Path | str) -> tuple[PlannedPart, ...]:
    """The parts of `plan`, named after `target`; one alone, with its very name, when all tensors fit into it (None:
    whatever their size).

    A part holds as many tensors as fit into `max_bytes`, not counting its header, and at least one: as gguf-split cuts.
    Raises SnugError when there would be more parts than can be numbered.
    """
    target = expanded(target)
    groups = [] if max_bytes is None else list(_groups(plan.tensors, max_bytes))
    if len(groups) < 2:
        return (PlannedPart(target, plan.header, plan.tensors),)
    if len(groups) > MOST_PARTS:
        raise SnugError(f"There would be {len(groups)} parts, more than {MOST_PARTS}.", "Allow larger parts.")
    prefix = target.name.removesuffix(".gguf")
    return tuple(
        _part(plan, tensors, target.with_name(part_name(prefix, number + 1, len(groups))), number, len(groups))
        for number, tensors in enumerate(groups)
    )


def _groups(tensors: Sequence[PlannedTensor], max_bytes: int) -> Iterator[list[PlannedTensor]]:
    group: list[PlannedTensor] = []
    size = 0
    for tensor in tensors:
        size += pad(tensor.nbytes)
        if group and size > max_bytes:
            yield group
            group, size = [], pad(tensor.nbytes)
        group.append(tensor)
    yield group


def _part(plan: Plan, tensors: list[PlannedTensor], path: Path, number: int, count: int) -> PlannedPart:
    keys = (
        *(plan.metadata if number == 0 else ()),
        Metadata(NO, "u16", number),
        Metadata(TENSORS_COUNT, "i32", len(plan.tensors)),
        Metadata(COUNT, "u16", count),
    )
    placed = place(tensors)
    return PlannedPart(path, header_of(keys, placed), placed)


def check_split_target(parts: Sequence[PlannedPart], *, sources: Sequence[Path], overwrite: bool) -> None:
    """Raises SnugError when one of the parts cannot be written, or the disk has no room for all."""
    for part in parts:
        check_target(part.path, part.file_bytes, sources=sources, overwrite=overwrite)
    left_over = [name(part.path) for part in parts for name in (part_path, ahead_path)]
    check_space(parts[0].path.parent, sum(part.file_bytes for part in parts), left_over=left_over)


class SplitFile:
    """Unfinished parts that are written as one: offsets are those in the file of `plan`, whose header is left out.

    Each part's room on the disk is taken at the start; leaving without finish() removes all, unless `keep` says that
    they stay.
    """

    def __init__(self, plan: Plan, parts: Sequence[PlannedPart], *, overwrite: bool) -> None:
        self.parts = parts
        self.files = [PartFile(part.path, part.file_bytes, overwrite=overwrite) for part in parts]
        self.keep = False
        firsts = (plan.tensors[number].offset for number in _first_tensors(parts))
        self._starts = [plan.header_bytes + offset for offset in firsts]
        self._data_start = plan.header_bytes
        self._awake: OrderedDict[int, None] = OrderedDict()
        self._unsynced: set[int] = set()
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> SplitFile:
        self.begin()
        return self

    def begin(self, *, resume: bool = False) -> None:
        """Takes the files; with `resume`, what is in them stays if they have the right length."""
        with ExitStack() as stack:
            for number, (part, file) in enumerate(zip(self.parts, self.files, strict=True)):
                file.is_resumed = file.keep = resume
                stack.enter_context(file).write(0, part.header)
                self._unsynced.add(number)
                self._use(number)
            self._stack = stack.pop_all()

    def _use(self, number: int) -> PartFile:
        """The part's file. Of many parts those that were used last are open; the first, whose lock is that of all,
        always is.
        """
        with self._lock:
            self._awake[number] = None
            self._awake.move_to_end(number)
            others = [other for other in self._awake if other not in (0, number)]
            for other in others[: max(0, len(self._awake) - MOST_OPEN)]:
                if self.files[other].rest():
                    del self._awake[other]
        return self.files[number]

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes `data`, of one tensor, at `offset` of the whole. Safe from several threads."""
        if offset >= self._data_start:
            number, at = self.locate(offset)
            self._use(number).write(at, data)
            with self._lock:
                self._unsynced.add(number)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of one tensor, at `offset` of the whole."""
        number, at = self.locate(offset)
        return self._use(number).read(at, count)

    def locate(self, offset: int) -> tuple[int, int]:
        """Number of the part that holds this byte of the whole, and where in it."""
        number = bisect_right(self._starts, offset) - 1
        return number, len(self.parts[number].header) + offset - self._starts[number]

    def sync(self) -> None:
        """Returns when all that was written before is on the disk."""
        with self._lock:
            numbers, self._unsynced = sorted(self._unsynced), set()
        for number in numbers:
            self._use(number).sync()

    def check_there(self) -> None:
        """Raises JobFailed when the parts are gone: nobody would find what is written; Halted when they have moved."""
        self.files[0].check_there()

    def as_model(self, model: ModelInfo) -> ModelInfo:
        """What the files hold by now, read back from their headers, named as `model` is."""
        found = join_parts([file.path for file in self.files])
        tensors = tuple(OutputTensor(t.name, t.shape, t.dtype, (Part(t),)) for t in found.tensors)
        return replace(
            model, path=found.files[0], metadata=found.metadata, tensors=tensors, files=found.files, is_gguf=True
        )

    def finish(self) -> None:
        """Gives the parts their final names, the first one last: where it is, all are."""
        finished: list[PartFile] = []
        try:
            for file in reversed(self.files):
                file.finish()
                finished.append(file)
        except BaseException:
            for file in finished:
                file.unfinish()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self.files:
            file.keep = self.keep
        self._stack.__exit__(kind, error, trace)


def _first_tensors(parts: Sequence[PlannedPart]) -> Iterator[int]:
    """The number, in the whole, of each part's first tensor."""
    number = 0
    for part in parts:
        yield number
        number += len(part.tensors)
