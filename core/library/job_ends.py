"""How jobs ended, from the end of each history: what they made, and what they can go on with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.jobs.job import Job, PullJob, QuantizeJob
from core.jobs.job_folder import all_jobs

_LAST_BYTES = 1 << 20
_HUB = "hub:"


@dataclass(frozen=True, slots=True)
class JobEnd:
    """A job and the last event of its history, {} where it has not begun."""

    job: Job
    last: dict[str, Any]

    @property
    def goes_on(self) -> bool:
        """Whether it can go on with what it has left."""
        event = self.last.get("event")
        return event != "done" and (event != "failed" or self.last.get("resumable") is True)


def job_ends(root: Path) -> list[JobEnd]:
    """Every job under `root`; one whose folder cannot be read is passed over."""
    found = []
    for folder in all_jobs(root):
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            job = folder.read_job()
            if not isinstance(job, QuantizeJob) or os.path.isabs(job.target):
                found.append(JobEnd(job, _last_event(folder.path / "events.jsonl")))
    return found


def models_waited_for(ends: Iterable[JobEnd]) -> frozenset[str]:
    """The models of the Hub whose downloads will go on."""
    pulls = (end.job.source for end in ends if end.goes_on and (isinstance(end.job, PullJob) or _keeps(end.job)))
    return frozenset(source.removeprefix(_HUB).split("@")[0].split(":")[0] for source in pulls)


def _keeps(job: Job) -> bool:
    return isinstance(job, QuantizeJob) and job.keep_download and job.source.startswith(_HUB)


def _last_event(history: Path) -> dict[str, Any]:
    if not history.exists():
        return {}
    with history.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _LAST_BYTES))
        lines = file.read().splitlines()
    for line in reversed(lines):
        with suppress(ValueError, RecursionError):  # torn, as a crash leaves it
            if isinstance(found := json.loads(line), dict):
                return found
    return {}
