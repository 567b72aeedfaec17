"""The line that jobs stand in: who comes next, and how someone is moved. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from app.job_record import JobRecord
from core import Job, JobState, PullJob, QuantizeJob, ReproduceJob, joined, lanes_of


def startable(records: Iterable[JobRecord]) -> list[JobRecord]:
    """The jobs of a line that can start now: in each lane one runs, and nobody overtakes who waits for that lane."""
    records = list(records)
    taken: set[str] = set()
    for record in records:
        if record.state == JobState.RUNNING:
            taken |= lanes_of(record.job)
    found = []
    for record in records:
        if record.state == JobState.PENDING:
            if not taken & (lanes := lanes_of(record.job)):
                found.append(record)
            taken |= lanes
        if len(taken) > 1:
            break
    return found


def ahead_of(record: JobRecord, records: Iterable[JobRecord]) -> int:
    """How many jobs of the line use the same lanes and will be done first."""
    lanes, ahead = lanes_of(record.job), 0
    for other in records:
        if other.id == record.id:
            break
        ahead += other.state in (JobState.RUNNING, JobState.PENDING) and bool(lanes & lanes_of(other.job))
    return ahead


def moved(ids: Sequence[str], id: str, before: str) -> list[str]:
    """The line with `id` put before `before`; at the end where that is none of them."""
    rest = [other for other in ids if other != id]
    position = rest.index(before) if before in rest else len(rest)
    return [*rest[:position], id, *rest[position:]]


def ordered(ids: Iterable[str], kept: Sequence[str]) -> list[str]:
    """`ids` as far as possible in the order `kept`; those that it does not know after the rest, as they come."""
    place = {id: number for number, id in enumerate(kept)}
    return sorted(ids, key=lambda id: place.get(id, len(place)))


def outputs_of(job: Job) -> frozenset[str]:
    """What no two open jobs may have in common: the files to be written or compared, or the model to be downloaded."""
    if isinstance(job, PullJob):
        return frozenset({f"{job.source} {job.choice}"})
    if isinstance(job, ReproduceJob):
        return frozenset({job.file})
    return frozenset(str(Path(each.target)) for each in job.each)


def unmade(job: Job, result: Mapping[str, Any]) -> Job:
    """The job without the levels that `result` says are made."""
    if not isinstance(job, QuantizeJob) or not result:
        return job
    made = {str(each.get("recipe", "")).casefold() for each in (result, *result.get("also", ()))}
    return joined([each for each in job.each if each.recipe.casefold() not in made] or job.each)


def copy_of(job: Job, taken: Collection[str]) -> Job:
    """The same job for other files: named with the first number that is free for all, on disk and in `taken`."""
    return _numbered(job, taken) if isinstance(job, QuantizeJob) else job


def for_model(job: QuantizeJob, source: str, taken: Collection[str]) -> QuantizeJob:
    """The same levels of another model, in files of its name; without an importance matrix, which is of one model."""
    from core import default_name, model_name

    name = model_name(source).rsplit("/", 1)[-1].removesuffix(".gguf").removesuffix(".safetensors")
    names = [Path(each.target).with_name(default_name(name, each.recipe)) for each in job.each]
    other = _in_files(replace(job, source=source, imatrix=""), names)
    return other if _is_free(other, taken) else _numbered(other, taken)


def _numbered(job: QuantizeJob, taken: Collection[str]) -> QuantizeJob:
    paths = [Path(each.target) for each in job.each]
    copies = (
        _in_files(job, [path.with_name(f"{path.stem}-{number}{path.suffix}") for path in paths]) for number in count(2)
    )
    return next(copy for copy in copies if _is_free(copy, taken))


def _in_files(job: QuantizeJob, names: Sequence[Path]) -> QuantizeJob:
    each = zip(job.each, names, strict=True)
    return joined([replace(one, target=str(name), overwrite=False) for one, name in each])


def _is_free(job: QuantizeJob, taken: Collection[str]) -> bool:
    return not any(Path(name).exists() or name in taken for name in outputs_of(job))


def with_level(job: QuantizeJob, recipe: str) -> QuantizeJob:
    """The job with one more level, which is made in the same reading."""
    return joined((*job.each, at_level(job, recipe)))


def at_level(job: QuantizeJob, recipe: str) -> QuantizeJob:
    """The same model at another level, in a file that is called by it."""
    target = Path(job.target)
    stem = target.stem.replace(job.recipe, recipe) if job.recipe in target.stem else f"{target.stem}-{recipe}"
    return replace(job, recipe=recipe, target=str(target.with_name(stem + target.suffix)), also=(), overwrite=False)
