"""What a job needs of disks and memory, added up from its plan."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import kernels
from core.hardware import Hardware
from core.hardware.disk import disk_of, nearest_existing, volume_of
from core.hardware.machine import Disk
from core.jobs.job import QuantizeJob
from core.paths import cache_folder, expanded
from core.plan import Plan
from core.recipes import FLOATS
from core.rows import can_copy, encode_type
from core.running.encode import SLAB_WEIGHTS
from core.running.measured import Speeds
from core.running.output import RESERVE_BYTES, ahead_path, part_path
from core.running.slab_memory import check_memory, slabs_memory
from core.running.split import PlannedPart
from core.running.stream import AHEAD, MOST_THREADS, is_streamed
from core.running.stream import SLAB_WEIGHTS as STREAMED_WEIGHTS

MIB = 1 << 20
# Measured on Linux with CPython 3.11: the program with numpy, with and without numba and the kernels; for each byte of
# the header what its keys take as Python's objects, twice; and what a tensor of the source takes.
_PROGRAM, _WITHOUT_KERNELS = 172 * MIB, 48 * MIB
_HEADER_TIMES, _SOURCE_TENSOR = 10, 2000
_COMPILING, _COMPILER, MOST_COMPILERS = 60 * MIB, 150 * MIB, 4  # here, and in each process beside; how many
_KERNEL_BYTES = 400_000
_JOURNAL_LINE = 200
_VRAM_SLAB = 1 << 26  # weights; as kernels.gpu has it
_VRAM_CONTEXT = 500 * MIB


@dataclass(frozen=True, slots=True)
class Item:
    """A part of what is needed: `name` in words, bytes."""

    name: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a job needs of one thing. `kind`: disk, temporary, memory or vram; `place` in words or as a path."""

    kind: str
    place: str
    items: tuple[Item, ...]
    available: int
    total: int = 0

    @property
    def needed(self) -> int:
        return sum(item.nbytes for item in self.items)

    @property
    def missing(self) -> int:
        return max(0, self.needed - self.available)


@dataclass(frozen=True, slots=True)
class Asked:
    """A job and all that is known of it."""

    job: QuantizeJob
    plan: Plan
    parts: Sequence[PlannedPart]
    hardware: Hardware
    speeds: Speeds
    target: Disk

    def with_plan(self, plan: Plan) -> Asked:
        """The same job of another level."""
        from core.running.quantize import parts_of

        job = replace(self.job, recipe=plan.recipe.name)
        return replace(self, job=job, plan=plan, parts=parts_of(job, plan))

    @property
    def threads(self) -> int:
        return self.job.threads or max(1, ceil(self.hardware.cpu.usable_cores))

    @property
    def streamed(self) -> bool:
        return is_streamed(self.plan.model) and not self.job.keep_download


def gb(count: int) -> str:
    """Bytes as people count them, and to the byte where they are few."""
    return f"{count / 1e9:.2f} GB" if count >= 10**7 else f"{count:,} bytes"


# Disks


def disks_needed(asked: Asked) -> Iterator[Need]:
    """The target's, then others that take something; what is on the target's volume counts there."""
    folder = expanded(asked.job.target).parent
    here = volume_of(folder)
    items = [*_files(asked)]
    elsewhere: list[Need] = []
    for place, item in _temporary(asked):
        if volume_of(place) == here:
            items.append(item)
        else:
            elsewhere.append(
                Need("temporary", str(nearest_existing(place)), (item,), free_bytes(place), disk_of(place).total)
            )
    left_over = sum(_size(path) for path in (ahead_path(asked.job.target), *(part_path(p.path) for p in asked.parts)))
    yield Need("disk", str(folder), (*items, Item("kept free", RESERVE_BYTES)), free_bytes(folder) + left_over,
               asked.target.total)  # fmt: skip
    yield from elsewhere


def _files(asked: Asked) -> Iterator[Item]:
    for part in asked.parts:
        yield Item("the file" if len(asked.parts) == 1 else part.path.name, part.file_bytes)
    slabs = asked.plan.model.parameters // _slab_weights(asked) + len(asked.plan.tensors)
    yield Item("its journal", slabs * _JOURNAL_LINE)


def _temporary(asked: Asked) -> Iterator[tuple[Path, Item]]:
    """What else is written, and where."""
    if asked.job.keep_download and is_streamed(asked.plan.model):
        from core.hub.connection import connect

        yield connect().cache, Item("the download", asked.plan.model.source_bytes)
    if missing := len(missing_kernels(asked)):
        yield cache_folder(), Item("compiled kernels", missing * _KERNEL_BYTES)


def free_bytes(folder: Path) -> int:
    """Bytes that may be written there; 0 where nobody can say."""
    try:
        return shutil.disk_usage(nearest_existing(folder)).free
    except OSError:
        return 0


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


# Memory


def memory_needed(asked: Asked) -> Need:
    memory = asked.hardware.memory
    return Need("memory", "memory", (*held(asked), slabs_held(asked, asked.threads)), memory.available, memory.total)


def held(asked: Asked) -> Iterator[Item]:
    """What is there whatever the number of threads."""
    yield Item("the program", _WITHOUT_KERNELS if asked.job.backend == "reference" else _PROGRAM)
    sources = sum(len(planned.tensor.sources) for planned in asked.plan.tensors)
    yield Item("names and keys of the model", _HEADER_TIMES * asked.plan.header_bytes + _SOURCE_TENSOR * sources)
    if asked.plan.importance:
        yield Item("the importance matrix", sum(means.nbytes for means in asked.plan.importance.means.values()))
    if missing_kernels(asked):
        yield Item("compiling kernels", _COMPILING)


def slabs_held(asked: Asked, threads: int) -> Item:
    """Rows that are in work at once; at the end, those that are checked; before, other processes that compile."""
    beside = max(0, min(threads, MOST_COMPILERS, len(missing_kernels(asked))) - 1) * _COMPILER
    ahead = 0
    if asked.streamed:
        threads, ahead = min(threads, MOST_THREADS), AHEAD
    at_once = slabs_memory(asked.plan, _slab_weights(asked), count=threads + ahead)
    count = f"{threads + ahead} slabs of rows" if threads + ahead > 1 else "a slab of rows"
    return Item(count, max(at_once, check_memory(asked.plan), beside))


def _slab_weights(asked: Asked) -> int:
    return min(
        SLAB_WEIGHTS.get(asked.job.backend, SLAB_WEIGHTS["auto"]), STREAMED_WEIGHTS if asked.streamed else 1 << 62
    )


def missing_kernels(asked: Asked) -> set[tuple[str, str, bool]]:
    """What must be compiled first."""
    if asked.job.backend == "reference":
        return set()
    plan, matrix = asked.plan, asked.plan.importance
    wanted = {
        (
            p.format,
            encode_type(p.tensor).name,
            bool(matrix and p.format not in FLOATS and matrix.of(p.tensor) is not None),
        )
        for p in plan.tensors
        if not can_copy(p.tensor, p.format)
    }
    return {one for one in wanted if not _is_compiled(*one, effort=asked.job.effort)}


def _is_compiled(format: str, dtype: str, weighted: bool, *, effort: str) -> bool:
    return kernels.is_prepared([format], dtype, importance=weighted, effort=effort)


def vram_needed(asked: Asked) -> Iterator[Need]:
    """Only the backend that is asked for by name uses a GPU."""
    if asked.job.backend != "gpu" or not asked.hardware.gpus:
        return
    gpu = asked.hardware.gpus[0]
    largest = max((p.tensor.weights for p in asked.plan.tensors), default=0)
    weights = min(largest, _VRAM_SLAB)
    items = Item("the driver's context", _VRAM_CONTEXT), Item("weights, in and out", 6 * weights)
    yield Need("vram", gpu.name, items, gpu.free, gpu.total)
