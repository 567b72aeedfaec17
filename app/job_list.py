"""The jobs that a window knows: a record of each, and the line of those that are still to be done. No Qt, no files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from app.job_line import moved, ordered, outputs_of
from app.job_record import JobRecord
from core import JobState


class JobList:
    """A record is in the line as long as its job is not over."""

    def __init__(self) -> None:
        self._records: dict[str, JobRecord] = {}
        self.line: list[str] = []  # ids of the open jobs, in the order in which they will be done

    def __getitem__(self, id: str) -> JobRecord:
        return self._records[id]

    def get(self, id: str) -> JobRecord | None:
        return self._records.get(id)

    def ids(self) -> Collection[str]:
        return self._records.keys()

    def put(self, record: JobRecord) -> None:
        """Takes the place of what was known of the job; a new one comes last in the line, one that is over leaves."""
        id = record.id
        if record.is_over and id in self.line:
            self.line.remove(id)
            self._records.pop(id)  # the newest that is over is the first of them
        elif not record.is_over and id not in self.line:
            self.line.append(id)
        self._records[id] = record

    def put_earlier(self, records: Iterable[JobRecord], order: Sequence[str]) -> list[JobRecord]:
        """Puts those that are not known before the others, the open ones in this order; gives them."""
        new = {record.id: record for record in records if record.id not in self._records}
        self._records = {**new, **self._records}
        self.line = [*ordered((record.id for record in new.values() if not record.is_over), order), *self.line]
        return list(new.values())

    def drop(self, id: str) -> None:
        del self._records[id]

    def move(self, id: str, before: str) -> bool:
        """Puts a job of the line before another one, or at its end; whether it is in the line at all."""
        if id not in self.line or id == before:
            return False
        self.line = moved(self.line, id, before)
        return True

    def open_jobs(self) -> list[JobRecord]:
        """Those that run, wait or are paused, in the order in which they will be done."""
        return [self._records[id] for id in self.line]

    def all(self) -> list[JobRecord]:
        """Those that run, those that wait in the order in which they will be done, then what is over, newest first."""
        open_ones = self.open_jobs()
        running = [record for record in open_ones if record.state == JobState.RUNNING]
        waiting = [record for record in open_ones if record.state != JobState.RUNNING]
        return [*running, *waiting, *(record for record in reversed(self._records.values()) if record.is_over)]

    def taken(self, *, but: str = "") -> set[str]:
        """What the open jobs make, without the job `but`."""
        return {name for record in self.open_jobs() if record.id != but for name in outputs_of(record.job)}
