"""What a job of several targets needs: room for all their files, the memory of one, the time of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from core.hardware import Hardware, detect
from core.hardware.disk import volume_of
from core.jobs.job import QuantizeJob
from core.paths import expanded
from core.plan import Plan
from core.running.job_needs import Item, Need, free_bytes
from core.running.measured import Speeds
from core.running.preflight import Duration, Preflight, preflight_of, problem_of, warning_of

_SHARED = ("kept free", "the download", "compiled kernels")
_FOR_ALL = ("stream", "threads", "split")  # ways out that are not of one target alone


def preflight_all(
    job: QuantizeJob, plans: Sequence[Plan], hardware: Hardware | None = None, *, speeds: Speeds | None = None
) -> Preflight:
    """As preflight_of, for all targets of a job together; `plans`: one for each."""
    if not job.also:
        return preflight_of(job, hardware, plan=plans[0], speeds=speeds)
    hardware = hardware or detect()
    each = [preflight_of(one, hardware, plan=plan, speeds=speeds) for one, plan in zip(job.each, plans, strict=True)]
    needs = (*_disks(each), *_largest(each))
    own = (text for found in each for text in found.problems)
    together = [text for need in needs if (text := problem_of(need))]
    ways = {other.kind: replace(other, job=_with_way(job, other.job)) for found in each for other in found.alternatives}
    return Preflight(
        job,
        sum(found.file_bytes for found in each),
        sum(found.files for found in each),
        needs,
        _time([found.time for found in each]),
        tuple(dict.fromkeys((*together, *own))),
        tuple(text for need in needs if (text := warning_of(need))),
        tuple(way for kind, way in ways.items() if kind in _FOR_ALL),
    )


def _with_way(job: QuantizeJob, one: QuantizeJob) -> QuantizeJob:
    return replace(job, keep_download=one.keep_download, threads=one.threads, split_max_size=one.split_max_size)


def _disks(each: Sequence[Preflight]) -> Iterator[Need]:
    """A need for each volume: the files of all targets there, and once what they share."""
    volumes: dict[object, list[Need]] = {}
    for found in each:
        for need in found.needs:
            if need.kind in ("disk", "temporary"):
                named = replace(need, items=tuple(_called(item, found.job) for item in need.items))
                volumes.setdefault(volume_of(Path(need.place)), []).append(named)
    for needs in volumes.values():
        first = min(needs, key=lambda need: need.kind != "disk")
        free = free_bytes(Path(first.place))
        items = [item for need in needs for item in need.items]
        own = [item for item in items if item.name not in _SHARED]
        shared = {item.name: item for item in sorted(items, key=lambda item: item.nbytes) if item.name in _SHARED}
        yield replace(
            first, items=(*own, *shared.values()), available=free + sum(max(0, need.available - free) for need in needs)
        )


def _called(item: Item, job: QuantizeJob) -> Item:
    name = expanded(job.target).name
    return replace(item, name={"the file": name, "its journal": f"{name}'s journal"}.get(item.name, item.name))


def _largest(each: Sequence[Preflight]) -> Iterator[Need]:
    """The rows in work are those of one target after the other."""
    for kind in ("memory", "vram"):
        needs = [need for found in each for need in found.needs if need.kind == kind]
        if needs:
            yield max(needs, key=lambda need: need.needed)


def _time(each: Sequence[Duration]) -> Duration:
    low, likely, high = (sum(getattr(one, name) for one in each) for name in ("low", "likely", "high"))
    return Duration(low, likely, high, each[0].source, each[0].network_bytes)
