"""A job is a folder: history, retry, resume and bug reports all read it.

job.json       what the job is
events.jsonl   what became of it, written by the worker: every note and ending, of Progress one in ten seconds
now.json       the newest Progress, for a window that only looks on
orders.jsonl   what others than the worker's parent ask of it
owner          locked by the worker while it runs; says which process that is, and for which window it works
log.txt        what it printed
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.events import Event, Progress, checked, from_json, to_json
from core.jobs.job import Job, job_from, job_values
from core.running.lock import Lock, is_held, take_lock
from core.running.output import sync_folder

_END_OF_TIME = 1e10  # seconds; no calendar goes on for ever
_ANY_ERROR = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Owner:
    """The process `pid` that works on a job, for the `window` of that process id; 0: for none, or not known."""

    pid: int = 0
    window: int = 0


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

    def read_job(self) -> Job:
        """Raises ValueError, TypeError or OSError when job.json is missing or holds no job."""
        return job_from(json.loads((self.path / "job.json").read_text(encoding="utf-8")))

    def settle(self) -> None:
        """Returns when what the job is would outlast a loss of power. Raises OSError."""
        with (self.path / "job.json").open("rb+") as file:
            os.fsync(file.fileno())
        sync_folder(self.path)
        sync_folder(self.path.parent)

    # What became of it

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Adds one event; `sync`: returns when it is on the disk. A torn line before it does it no harm."""
        line = json.dumps({"time": time.time(), **to_json(event)}, ensure_ascii=False).encode() + b"\n"
        with (self.path / "events.jsonl").open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
            file.flush()
            if sync:
                os.fsync(file.fileno())

    def events(self) -> list[tuple[float, Event]]:
        """(seconds since the epoch, event) in order; a torn last line, as a crash leaves it, is passed over."""
        return self.events_after(0)[0]

    def events_after(self, offset: int) -> tuple[list[tuple[float, Event]], int]:
        """The events in the whole lines from byte `offset` on, and where to go on reading."""
        lines, offset = _lines_after(self.path / "events.jsonl", offset)
        return [event for line in lines if (event := _parse(line)) is not None], offset

    def show_progress(self, progress: Progress) -> None:
        """Says how far it is; only the newest is kept."""
        data = json.dumps(to_json(progress)).encode()
        with (self.path / "now.json").open("ab") as file:
            file.truncate(0)
            file.write(data)

    def shown_progress(self) -> Progress | None:
        """The newest Progress, where there is one that can be read."""
        try:
            event = from_json(json.loads((self.path / "now.json").read_bytes()))
        except _ANY_ERROR:
            return None
        return event if isinstance(event, Progress) else None

    # Who works on it

    def claim(self, owner: Owner) -> Lock | None:
        """The job for this process alone, or None while another has it. Raises OSError."""
        lock = take_lock(self.path / "owner")
        if lock is not None:
            name_owner(lock, owner)
        return lock

    def owner(self) -> Owner | None:
        """Who works on it now; None when nobody does."""
        if not is_held(self.path / "owner"):
            return None
        try:
            return checked(Owner, json.loads((self.path / "owner").read_bytes()))
        except _ANY_ERROR:
            return Owner()

    # What is asked of it

    def order(self, order: dict[str, Any]) -> None:
        """Asks whoever works on it. Raises OSError."""
        with (self.path / "orders.jsonl").open("ab") as file:
            file.write(json.dumps(order).encode() + b"\n")

    def orders_after(self, offset: int) -> tuple[list[dict[str, Any]], int]:
        """The orders in the whole lines from byte `offset` on, and where to go on reading."""
        lines, offset = _lines_after(self.path / "orders.jsonl", offset)
        return [order for line in lines if (order := _order(line)) is not None], offset

    def orders_end(self) -> int:
        """Where orders that are still to come will begin."""
        with suppress(OSError):
            return (self.path / "orders.jsonl").stat().st_size
        return 0


def name_owner(lock: Lock, owner: Owner) -> None:
    """Says in the job's folder who holds its lock now."""
    lock.write(json.dumps({"pid": owner.pid, "window": owner.window}).encode())


def _lines_after(path: Path, offset: int) -> tuple[list[bytes], int]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return data[:end].splitlines(), offset + end


def _order(line: bytes) -> dict[str, Any] | None:
    try:
        order = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return order if isinstance(order, dict) else None


def _parse(line: bytes) -> tuple[float, Event] | None:
    try:
        data: dict[str, Any] = json.loads(line.decode(errors="replace"))
        moment = float(data.pop("time"))
        return (moment, from_json(data)) if 0 <= moment < _END_OF_TIME else None
    except _ANY_ERROR:
        return None


def create(root: Path, job: Job) -> JobFolder:
    """A new folder under `root` with the job in it."""
    now = time.time()
    name = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    path = root / f"{name}-{int(now % 1 * 1e6):06d}{secrets.token_hex(2)}"  # in the order in which they were made
    path.mkdir(parents=True)
    write_job(JobFolder(path), job)
    return JobFolder(path)


def write_job(folder: JobFolder, job: Job) -> None:
    """Says what the job is, whole or not at all. Raises OSError."""
    part = folder.path / "job.json.part"
    part.write_text(json.dumps(job_values(job), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, folder.path / "job.json")


def all_jobs(root: Path) -> list[JobFolder]:
    """Every job under `root`, oldest first."""
    if not root.is_dir():
        return []
    return [JobFolder(path) for path in sorted(root.iterdir()) if (path / "job.json").is_file()]
