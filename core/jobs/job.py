"""What a job is, as plain values: to quantize, to download, or to make a file again. job_folder.py keeps it on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from core.events import checked


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
COMPUTE, NETWORK = "compute", "network"


@dataclass(frozen=True, slots=True)
class QuantizeJob:
    """Everything that decides a quantization: the same job always makes the same bytes.

    `split_max_size`: the size of a part, such as 2G, of a file in several; "": one file.
    `keep_download`: a model of the Hub is downloaded first, and stays in the cache; else it is read while encoding.
    `card`: the file says how it was made; `hash_source`: its card has hashes of the source's whole files, for which
    they are read once more. `also`: further (recipe, target) of the same source, which is read once for all of them.
    """

    source: str
    recipe: str
    target: str
    pure: bool = False
    backend: str = "auto"
    threads: int = 0
    overwrite: bool = False
    allow_requantize: bool = False
    split_max_size: str = ""
    effort: str = "exact"
    imatrix: str = ""
    keep_download: bool = False
    card: bool = True
    hash_source: bool = False
    also: tuple[tuple[str, str], ...] = ()

    @property
    def each(self) -> tuple[QuantizeJob, ...]:
        """For each target the job that makes it alone."""
        further = (replace(self, recipe=recipe, target=target, also=()) for recipe, target in self.also)
        return (replace(self, also=()), *further)


def joined(jobs: Sequence[QuantizeJob]) -> QuantizeJob:
    """The one job, read once, for the targets of all of these: what `each` takes apart. At least one."""
    first, *others = jobs
    return replace(first, also=tuple((other.recipe, other.target) for other in others))


@dataclass(frozen=True, slots=True)
class PullJob:
    """Everything that decides a download. `choice`: files, patterns or a quantization, by commas; "" what Snug needs.

    `source` is "hub:ORG/NAME[@rev][:choice]".
    """

    source: str
    choice: str = ""
    connections: int = 4


@dataclass(frozen=True, slots=True)
class ReproduceJob:
    """Everything that decides making a file again from its recipe card, to see whether it comes out the same.

    `file`: the GGUF, or its card; `source`, `imatrix`: what it was made of; `place`: a folder for this job alone, where
    the new file lies while it is compared. It is removed afterwards.
    """

    file: str
    source: str
    place: str
    imatrix: str = ""
    threads: int = 0


Job = QuantizeJob | PullJob | ReproduceJob
_KINDS: dict[str, type[QuantizeJob] | type[PullJob] | type[ReproduceJob]] = {
    "quantize": QuantizeJob,
    "pull": PullJob,
    "reproduce": ReproduceJob,
}


def job_from(values: Any) -> Job:
    """The job of a dictionary as job.json holds it. ValueError or TypeError when it is none."""
    if not isinstance(values, dict):
        raise ValueError(f"not a job: {values!r}")
    kind = values.get("kind", "quantize")  # older files do not say
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{kind!r} is no kind of job")
    own = {name: _pairs(value) if name == "also" else value for name, value in values.items() if name != "kind"}
    return checked(_KINDS[kind], own)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Pairs of texts, which JSON has as lists. ValueError when they are none."""
    pairs = [tuple(pair) for pair in value if isinstance(pair, list)] if isinstance(value, list) else [()]
    if any([type(text) for text in pair] != [str, str] for pair in pairs) or len(pairs) != len(value):
        raise ValueError(f"{value!r} are no recipes and targets")
    return tuple(pairs)


def job_values(job: Job) -> dict[str, Any]:
    """The dictionary that job.json holds."""
    kind = next(name for name, kind in _KINDS.items() if isinstance(job, kind))
    values = {"kind": kind, **asdict(job)}
    if not values.get("also"):
        values.pop("also", None)  # so that an older Snug can read what it could do
    return values


def lanes_of(job: Job) -> frozenset[str]:
    """What a job keeps busy: of each lane, one job runs at a time."""
    if isinstance(job, PullJob):
        return frozenset({NETWORK})
    return frozenset({COMPUTE, NETWORK} if job.source.startswith("hub:") else {COMPUTE})


def model_name(source: str) -> str:
    """What people call the model: the repository's name, also for a folder of the Hub's cache, else the last name."""
    if source.startswith("hub:"):
        return source.removeprefix("hub:").split("@")[0].split(":")[0]
    path = PurePath(source)
    cached = next((name for name in path.parts if name.startswith("models--")), "")
    if cached and "snapshots" in path.parts:
        return cached.removeprefix("models--").replace("--", "/")
    return path.name
