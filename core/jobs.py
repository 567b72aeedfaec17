"""A job is a folder: job.json, events.jsonl, log.txt. History, retry and bug reports all read that folder."""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.events import Event, checked, from_json, to_json


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_END_OF_TIME = 1e10  # seconds; no calendar goes on for ever
ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class QuantizeJob:
    """Everything that decides a quantization: the same job always makes the same bytes.

    `split_max_size`: the size of a part, such as 2G, of a file in several; "": one file.
    `keep_download`: a model of the Hub is downloaded first, and stays in the cache; else it is read while encoding.
    `card`: the file says how it was made; `hash_source`: its card has hashes of the source's whole files, for which
    they are read once more.
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


@dataclass(frozen=True, slots=True)
class JobFolder:
    """One job on disk."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def read_job(self) -> QuantizeJob:
        """Raises ValueError, TypeError or OSError when job.json is missing or holds no job."""
        return job_from(json.loads((self.path / "job.json").read_text(encoding="utf-8")))

    def append(self, event: Event) -> None:
        """Adds one event; the last one of a finished job is Done or Failed."""
        line = json.dumps({"time": time.time(), **to_json(event)}, ensure_ascii=False)
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def events(self) -> list[tuple[float, Event]]:
        """(seconds since the epoch, event) in order; a torn last line, as a crash leaves it, is passed over."""
        path = self.path / "events.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [event for line in lines if (event := _parse(line)) is not None]


def _parse(line: str) -> tuple[float, Event] | None:
    try:
        data: dict[str, Any] = json.loads(line)
        moment = float(data.pop("time"))
        return (moment, from_json(data)) if 0 <= moment < _END_OF_TIME else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def job_from(values: Any) -> QuantizeJob:
    """The job of a dictionary as job.json holds it. ValueError or TypeError when it is none."""
    if not isinstance(values, dict):
        raise ValueError(f"not a job: {values!r}")
    return checked(QuantizeJob, values)


def job_line(job: QuantizeJob) -> bytes:
    """The line on stdin that tells a worker its job."""
    return json.dumps(asdict(job)).encode() + b"\n"


def create(root: Path, job: QuantizeJob) -> JobFolder:
    """A new folder under `root` with the job in it."""
    path = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    path.mkdir(parents=True)
    part = path / "job.json.part"
    part.write_text(json.dumps(asdict(job), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path / "job.json")
    return JobFolder(path)


def all_jobs(root: Path) -> list[JobFolder]:
    """Every job under `root`, oldest first."""
    if not root.exists():
        return []
    return [JobFolder(path) for path in sorted(root.iterdir()) if (path / "job.json").is_file()]
