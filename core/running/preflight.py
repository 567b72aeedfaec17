"""Before a job starts: what it needs of disks and memory, how long it takes, and what would work where it cannot.

Bytes of the disk are exact: they are the Plan's. Memory is what was measured of this program, plus the slabs of rows
that are in work at once; tests hold it to what processes really peak at. Time is a range.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import psutil

from core.errors import SnugError
from core.hardware import Hardware, detect
from core.hardware.disk import disk_of, volume_of
from core.jobs.job import QuantizeJob
from core.paths import expanded
from core.plan import Plan, make_plan, make_plans
from core.recipes import RECIPES
from core.running.job_needs import (
    MOST_COMPILERS,
    Asked,
    Item,
    Need,
    disks_needed,
    free_bytes,
    gb,
    held,
    memory_needed,
    missing_kernels,
    slabs_held,
    vram_needed,
)
from core.running.measured import VERIFY_RATE, WRITE_RATE, Speeds, kind_of, load_speeds, units_of
from core.running.stream import is_streamed

_START_SECONDS = 0.8
_COMPILE_SECONDS = 3.0  # of one kernel
# Of what was measured and of what a table says: how far off, as factors.
_SPREAD = {True: (0.7, 1.6), False: (0.5, 2.5)}
_FILE_LIMITS = {"vfat": (1 << 32) - 1, "msdos": (1 << 32) - 1, "fat32": (1 << 32) - 1, "fat": (1 << 32) - 1}
_SPLIT_SIZE = "4G"
_BESIDE = ("its journal", "kept free", "the download", "compiled kernels")  # on a disk with what is made
_TRAINED_IN = ("TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "MXFP4_MOE")  # of a model that was not, little would be left


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds: most likely, and a range. `source` in words; `network_bytes` come on top, as fast as the line is."""

    low: float
    likely: float
    high: float
    source: str
    network_bytes: int = 0

    @property
    def words(self) -> str:
        """From so much to so much, as people say it."""
        (low, unit), (high, last) = _spoken(self.low), _spoken(self.high)
        span = f"{low} to {high} {unit}" if unit == last else f"{low} {unit} to {high} {last}"
        if high == "1" and unit == "s":
            span = "about a second"
        return f"{span}, and what the network takes for {gb(self.network_bytes)}" if self.network_bytes else span


def _spoken(seconds: float) -> tuple[str, str]:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") if seconds < 10 * size else f"{seconds / size:.0f}", unit
    return f"{max(1, ceil(seconds))}", "s"


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way: `kind` is recipe, folder, threads, split or stream, `value` the choice, `job` the job with it."""

    kind: str
    value: str
    words: str
    job: QuantizeJob


@dataclass(frozen=True, slots=True)
class Preflight:
    """`problems` say why the job cannot work, with the arithmetic; `warnings` what may go wrong. Both in sentences."""

    job: QuantizeJob
    file_bytes: int
    files: int
    needs: tuple[Need, ...]
    time: Duration
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    def need(self, kind: str) -> Need | None:
        return next((need for need in self.needs if need.kind == kind), None)

    @property
    def words(self) -> str:
        """What it takes, in one sentence."""
        memory = self.need("memory")
        assert memory
        disks = [need for need in self.needs if need.kind == "disk"]
        places = ", ".join(
            f"{gb(sum(item.nbytes for item in files_in(need)))} of the {gb(need.available)} free in {need.place}"
            for need in disks
        )
        kept = sum(item.nbytes for need in self.needs for item in need.items if item.name == "the download")
        places += f", {gb(kept)} for the download that is kept" if kept else ""
        return f"Takes {places}, about {gb(memory.needed)} of memory, and {self.time.words}."

    def refusal(self) -> SnugError:
        """The first problem as an error, with the ways out."""
        ways = "; ".join(other.words for other in self.alternatives)
        return SnugError(
            self.problems[0],
            f"What would work: {ways}." if ways else "Free some space, or choose another disk or a smaller level.",
        )


def preflight_of(
    job: QuantizeJob,
    hardware: Hardware | None = None,
    *,
    plan: Plan | None = None,
    speeds: Speeds | None = None,
) -> Preflight:
    """What `job` needs and how long it takes, on this machine as it is now or on `hardware`. Writes nothing.

    `plan` where it is made already. Raises SnugError when the job makes no sense at all.
    """
    from core.running.quantize import parts_of, plan_job, plan_jobs  # which asks this module before it starts

    if job.also:
        from core.running.preflight_all import preflight_all

        return preflight_all(job, plan_jobs(job), hardware, speeds=speeds)
    plan = plan or plan_job(job)
    hardware = hardware or detect()
    target = disk_of(expanded(job.target).parent)
    asked = Asked(job, plan, parts_of(job, plan), hardware, load_speeds() if speeds is None else speeds, target)
    needs = (*disks_needed(asked), memory_needed(asked), *vram_needed(asked))
    problems = (*_too_large(asked), *(text for need in needs if (text := problem_of(need))))
    warnings = tuple(text for need in needs if (text := warning_of(need)))
    others = tuple(_alternatives(asked, needs, too_large=bool(_too_large(asked)))) if problems or warnings else ()
    files = sum(part.file_bytes for part in asked.parts)
    return Preflight(job, files, len(asked.parts), needs, _time(asked), tuple(problems), warnings, others)


def _too_large(asked: Asked) -> tuple[str, ...]:
    """What is wrong where the file system takes no file of that size."""
    limit = _FILE_LIMITS.get(asked.target.file_system)
    largest = max(part.file_bytes for part in asked.parts)
    if limit is None or largest <= limit:
        return ()
    folder, kind = expanded(asked.job.target).parent, asked.target.file_system
    return (f"The disk of {folder} is formatted as {kind}, which holds no file above {gb(limit)}: "
            f"this one has {gb(largest)}.",)  # fmt: skip


# Verdicts


def files_in(need: Need) -> list[Item]:
    """The files to be made among what a disk must hold."""
    return [item for item in need.items if item.name not in _BESIDE and not item.name.endswith("'s journal")]


def problem_of(need: Need) -> str:
    """Why it cannot work, with the arithmetic."""
    if need.kind in ("disk", "temporary") and need.missing:
        files = files_in(need) or list(need.items)
        more = need.needed - sum(item.nbytes for item in files)
        names = f"{len(files)} files" if len(files) > 1 else files[0].name
        verb = "need" if len(files) > 1 else "needs"
        return (f"The disk is too small: {names} {verb} {gb(need.needed - more)}"
                f"{f' and what goes with it {gb(more)}' if more else ''}, {need.place} has {gb(need.available)} free, "
                f"{gb(need.missing)} are missing.")  # fmt: skip
    if need.kind == "memory" and need.needed > need.total > 0:
        return (f"The memory is too small: the job needs about {gb(need.needed)} ({_sum(need.items)}), "
                f"and this machine has {gb(need.total)}.")  # fmt: skip
    return ""


def warning_of(need: Need) -> str:
    """What may go wrong."""
    if need.kind == "memory" and need.total >= need.needed > need.available:
        return (f"Memory is short: the job needs about {gb(need.needed)} ({_sum(need.items)}), and "
                f"{gb(need.available)} are free. Close other programs.")  # fmt: skip
    if need.kind == "vram" and need.missing:
        return (f"{need.place} has {gb(need.available)} free, and {gb(need.needed)} are needed: what has no room there "
                "is done by the processor.")  # fmt: skip
    return ""


def _sum(items: Iterable[Item]) -> str:
    return " + ".join(f"{item.name} {gb(item.nbytes)}" for item in items if item.nbytes)


# Alternatives


def _alternatives(asked: Asked, needs: Sequence[Need], *, too_large: bool) -> Iterator[Alternative]:
    short = {need.kind: need for need in needs if need.missing}
    if too_large:
        words = f"write parts of at most {_SPLIT_SIZE} (--split-max-size {_SPLIT_SIZE})"
        yield Alternative("split", _SPLIT_SIZE, words, replace(asked.job, split_max_size=_SPLIT_SIZE))
    if (disk := short.get("disk")) or short.get("temporary"):
        yield from _without_download(asked)
    if disk:
        yield from _smaller(asked)
        yield from _elsewhere(asked, disk)
    if "memory" in short:
        yield from _fewer_threads(asked, short["memory"])


def _without_download(asked: Asked) -> Iterator[Alternative]:
    if asked.job.keep_download:
        yield Alternative("stream", "", "read from the Hub while encoding, and keep no download",
                          replace(asked.job, keep_download=False))  # fmt: skip


def _smaller(asked: Asked) -> Iterator[Alternative]:
    """The largest level below the wished one that fits, with all that goes with it."""
    smaller = [plan for plan in _plans(asked) if plan.file_bytes < asked.plan.file_bytes]
    for plan in sorted(smaller, key=lambda plan: -plan.file_bytes):
        if all(not need.missing for need in disks_needed(asked.with_plan(plan))):
            name = plan.recipe.name
            yield Alternative("recipe", name, f"take {name} ({gb(plan.file_bytes)})", replace(asked.job, recipe=name))
            return


def _plans(asked: Asked) -> list[Plan]:
    """Of all levels that may be offered for any model."""
    model, job, importance = asked.plan.model, asked.job, asked.plan.importance
    levels = [
        recipe for recipe in RECIPES if recipe.name not in _TRAINED_IN and (importance or not recipe.needs_importance)
    ]
    if not job.pure and job.card:
        return make_plans(model, levels, importance=importance)
    return [make_plan(model, recipe, pure=job.pure, importance=importance, card=job.card) for recipe in levels]


def _elsewhere(asked: Asked, disk: Need) -> Iterator[Alternative]:
    """The folder with most room on another volume."""
    here = volume_of(Path(disk.place))
    others = [folder for folder in _folders(asked.hardware) if volume_of(folder) != here and os.access(folder, os.W_OK)]
    found = [(free, folder) for folder in others if (free := free_bytes(folder)) >= disk.needed]
    if found:
        free, folder = max(found)
        target = str(folder / expanded(asked.job.target).name)
        yield Alternative("folder", str(folder), f"write to {folder}, which has {gb(free)} free",
                          replace(asked.job, target=target))  # fmt: skip


def _folders(hardware: Hardware) -> list[Path]:
    """Folders of a person on each disk that one may write to, for files that stay."""
    mounts = [Path(part.mountpoint) for part in _partitions() if not part.mountpoint.startswith(("/boot", "/snap"))]
    return [folder for folder in (Path.home(), *(disk.path for disk in hardware.disks), *mounts) if folder.is_dir()]


def _partitions() -> Sequence[Any]:
    """Disks of this machine: nothing in memory, nothing made up by the system."""
    try:
        return psutil.disk_partitions(all=False)
    except OSError:
        return ()


def _fewer_threads(asked: Asked, memory: Need) -> Iterator[Alternative]:
    fixed = sum(item.nbytes for item in held(asked))
    fits = [n for n in range(1, asked.threads) if fixed + slabs_held(asked, n).nbytes <= memory.available]
    if fits:
        most = max(fits)
        needed = fixed + slabs_held(asked, most).nbytes
        threads = "a single thread" if most == 1 else f"{most} threads"
        yield Alternative("threads", str(most), f"use {threads}, which need {gb(needed)} (--threads {most})",
                          replace(asked.job, threads=most))  # fmt: skip


# Time


def _time(asked: Asked) -> Duration:
    kinds = {p.name: kind_of(p, asked.plan, asked.job) for p in asked.plan.tensors}
    instructions, speeds = asked.hardware.cpu.instructions, asked.speeds
    threads = max(1.0, min(asked.threads, asked.hardware.cpu.usable_cores))
    seconds, known = 0.0, 0.0
    for planned in asked.plan.tensors:
        kind = kinds[planned.name]
        took = units_of(planned, kind, planned.tensor.rows) / speeds.of(kind, instructions=instructions) / threads
        seconds += took
        known += took * (kind in speeds.speeds)
    measured = known > 0.8 * seconds
    size = asked.plan.file_bytes
    rest = size / (speeds.write or asked.target.write or WRITE_RATE) + size / (speeds.verify or VERIFY_RATE)
    rest += _START_SECONDS + _COMPILE_SECONDS * len(missing_kernels(asked)) / min(threads, MOST_COMPILERS)
    low, high = _SPREAD[measured]
    likely = seconds + rest
    source = "what jobs on this machine took" if measured else "what a core of another machine did"
    network = asked.plan.model.source_bytes if is_streamed(asked.plan.model) else 0
    return Duration(likely * low, likely, likely * high, source, network)


__all__ = ["Alternative", "Duration", "Item", "Need", "Preflight", "gb", "preflight_of"]
