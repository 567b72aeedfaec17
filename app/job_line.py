"""The line that jobs stand in: who comes next, and how someone is moved. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from app.job_record import JobRecord
from core import Job, JobState, PullJob, QuantizeJob, ReproduceJob, lanes_of


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
    first, *further = [each for each in job.each if each.recipe.casefold() not in made] or job.each
    return replace(first, also=tuple((each.recipe, each.target) for each in further))


def copy_of(job: Job, taken: Collection[str]) -> Job:
    """The same job for other files: named with the first number that is free for all, on disk and in `taken`."""
    if not isinstance(job, QuantizeJob):
        return job
    first, *further = next(names for number in count(2) if _are_free(names := _numbered(job, number), taken))
    also = tuple((recipe, str(name)) for (recipe, _), name in zip(job.also, further, strict=True))
    return replace(job, target=str(first), also=also, overwrite=False)


def for_model(job: QuantizeJob, source: str, taken: Collection[str]) -> QuantizeJob:
    """The same levels of another model, in files of its name; without an importance matrix, which is of one model."""
    from core import default_name, model_name

    name = model_name(source).rsplit("/", 1)[-1].removesuffix(".gguf").removesuffix(".safetensors")
    targets = [str(Path(each.target).with_name(default_name(name, each.recipe))) for each in job.each]
    also = tuple(zip((recipe for recipe, _ in job.also), targets[1:], strict=True))
    other = replace(job, source=source, target=targets[0], also=also, imatrix="", overwrite=False)
    if _are_free(map(Path, targets), taken):
        return other
    numbered = copy_of(other, taken)
    assert isinstance(numbered, QuantizeJob)
    return numbered


def _numbered(job: QuantizeJob, number: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for path in (Path(each.target) for each in job.each)]


def _are_free(names: Iterable[Path], taken: Collection[str]) -> bool:
    return not any(name.exists() or str(name) in taken for name in names)


def with_level(job: QuantizeJob, recipe: str) -> QuantizeJob:
    """The job with one more level, which is made in the same reading."""
    more = at_level(job, recipe)
    return replace(job, also=(*job.also, (more.recipe, more.target)))


def at_level(job: QuantizeJob, recipe: str) -> QuantizeJob:
    """The same model at another level, in a file that is called by it."""
    target = Path(job.target)
    stem = target.stem.replace(job.recipe, recipe) if job.recipe in target.stem else f"{target.stem}-{recipe}"
    return replace(job, recipe=recipe, target=str(target.with_name(stem + target.suffix)), also=(), overwrite=False)
